import { nearest } from "../options.ts";
import { UsageError } from "./command.ts";
import { formatHelp } from "./command_help.ts";
import { commands } from "./commands.ts";
import { usage } from "./usage.ts";

/** 使い方の誤りの終了コード。 */
const WRONG_USAGE = 2;

/**
 * @param word 副コマンドの名前。知らない語なら、近い名前と一覧を示す。
 * @returns 終了コード。
 */
export async function runCommand(word: string, args: readonly string[]): Promise<number> {
  const command = commands.get(word);
  if (command === undefined) {
    const near = nearest(word, [...commands.keys(), "serve"]);
    console.error(
      `unknown command: ${word}${near === undefined ? "" : ` (did you mean ${near}?)`}\n\n${usage(commands.values())}`,
    );
    return WRONG_USAGE;
  }
  if (args.includes("--help") || args.includes("-h")) {
    console.log(formatHelp(command));
    return 0;
  }
  try {
    return await command.run(args);
  } catch (error) {
    const misused =
      error instanceof UsageError ||
      (error instanceof TypeError && "code" in error && String(error.code).startsWith("ERR_PARSE_ARGS"));
    if (!misused) throw error;
    console.error(`${error.message}\n\n${formatHelp(command)}`);
    return WRONG_USAGE;
  }
}
