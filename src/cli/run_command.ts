import { nearest } from "../options.ts";
import { UsageError } from "./command.ts";
import { formatHelp, usageLine } from "./command_help.ts";
import { commands } from "./commands.ts";

/** 使い方の誤りの終了コード。 */
const WRONG_USAGE = 2;

/**
 * @param word 副コマンドの名前。知らない語なら、近い名前を示す。
 * @returns 終了コード。
 */
export async function runCommand(word: string, args: readonly string[]): Promise<number> {
  const command = commands.get(word);
  if (command === undefined) {
    // 版の番号は旗で聞く。よく打たれる語なので、そこへ導く。
    const near = word === "version" ? "--version" : nearest(word, [...commands.keys(), "serve"]);
    console.error(
      `unknown command: ${word}${near === undefined ? "" : ` (did you mean ${near}?)`}\nSee iris-serving help.`,
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
    // 何が悪いかを流さないよう、使い方は 1 行だけ。
    console.error(`${error.message}\nusage: ${usageLine(command)}\nSee iris-serving ${word} --help.`);
    return WRONG_USAGE;
  }
}
