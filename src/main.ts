import { basename } from "node:path";
import { commands } from "./cli/commands.ts";
import { runCommand } from "./cli/run_command.ts";
import { serve } from "./cli/serve.ts";

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
