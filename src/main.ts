import { basename } from "node:path";
import { UsageError } from "./cli/command.ts";
import { formatHelp } from "./cli/command_help.ts";
import { commands } from "./cli/commands.ts";
import { serve } from "./cli/serve.ts";
import { usage } from "./cli/usage.ts";
import { nearest } from "./options.ts";

/** 使い方の誤りの終了コード。 */
const WRONG_USAGE = 2;

async function runCommand(word: string, args: readonly string[]): Promise<number> {
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

/**
 * 引数の先頭が語なら副コマンド、旗なら(または何も無ければ)サーバー。
 * TF Serving の像の名前で呼ばれたときは常にサーバーで、像の起動スクリプトと同じ旗を補う。
 */
function main(): Promise<number> {
  const args = process.argv.slice(2);
  const calledAs = basename(process.argv0);
  if (calledAs === "tf_serving_entrypoint.sh") {
    // 像の中でも副コマンドは使える(docker run … predict 5.1 3.5 1.4 0.2)。
    return args[0] !== undefined && commands.has(args[0])
      ? runCommand(args[0], args.slice(1))
      : serve(args, { entrypoint: true });
  }
  const [word] = args;
  if (calledAs === "tensorflow_model_server" || word === undefined || word.startsWith("-"))
    return serve(args);
  return word === "serve" ? serve(args.slice(1)) : runCommand(word, args.slice(1));
}

main().then(
  // 開いたままの接続やタイマーに終了を待たせない。
  (exitCode) => process.exit(exitCode),
  (error: unknown) => {
    console.error(error);
    process.exit(1);
  },
);
