import { basename } from "node:path";
import { commands, usage } from "./cli/commands.ts";
import { serve } from "./cli/serve.ts";
import { nearest } from "./options.ts";

/**
 * 引数の先頭が語なら副コマンド、旗なら(または何も無ければ)サーバー。
 * TF Serving の像の名前で呼ばれたときは常にサーバーで、像の起動スクリプトと同じ旗を補う。
 */
async function main(): Promise<number> {
  const args = process.argv.slice(2);
  const calledAs = basename(process.argv0);
  if (calledAs === "tf_serving_entrypoint.sh") return serve(args, { entrypoint: true });
  const [word] = args;
  if (calledAs === "tensorflow_model_server" || word === undefined || word.startsWith("-"))
    return serve(args);
  const command = commands.get(word);
  if (command === undefined) {
    const near = nearest(word, commands.keys());
    console.error(`unknown command: ${word}${near === undefined ? "" : ` (did you mean ${near}?)`}`);
    console.error(usage());
    return 2;
  }
  return command.run(args.slice(1));
}

main().then(
  (exitCode) => {
    process.exitCode = exitCode;
    // 開いたままの接続やタイマーに終了を待たせない。
    process.exit();
  },
  (error: unknown) => {
    console.error(error);
    process.exit(1);
  },
);
