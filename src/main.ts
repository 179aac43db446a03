import { basename } from "node:path";
import { holdProcess } from "./base/clock.ts";

async function serve(args: readonly string[], { entrypoint = false } = {}): Promise<number> {
  return (await import("./cli/serve.ts")).serve(args, { entrypoint });
}

async function runCommand(word: string, args: readonly string[]): Promise<number> {
  return (await import("./cli/run_command.ts")).runCommand(word, args);
}

/**
 * 引数の先頭が語なら副コマンド、旗なら(または何も無ければ)サーバー。
 * TF Serving の像の名前で呼ばれたときは常にサーバーで、像の起動スクリプトと同じ旗を補う。
 *
 * どちらも、選ばれてから読み込む。
 */
async function main(): Promise<number> {
  const args = process.argv.slice(2);
  const [word, ...rest] = args;
  const calledAs = basename(process.argv0);
  const isFlag = word === undefined || word.startsWith("-");
  if (calledAs === "tf_serving_entrypoint.sh") {
    // 像の中でも副コマンドは使える(docker run … predict 5.1 3.5 1.4 0.2)。
    const isCommand = !isFlag && (await import("./cli/commands.ts")).commands.has(word);
    return isCommand ? runCommand(word, rest) : serve(args, { entrypoint: true });
  }
  if (calledAs === "tensorflow_model_server" || isFlag) return serve(args);
  return word === "serve" ? serve(rest) : runCommand(word, rest);
}

// 終わりを決めるのは main だけ。待つものが無くなったことでも、開いたままの接続やタイマーでもない。
holdProcess();
main().then(
  (exitCode) => process.exit(exitCode),
  (error: unknown) => {
    console.error(error);
    process.exit(1);
  },
);
