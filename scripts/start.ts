// 取得したばかりの複製から、依存の導入・学習・書き出し・コンパイルを経てサーバーを起動する。引数はサーバーへ渡る。
import { join } from "node:path";
import { bun, install, root, step } from "./steps.ts";

await install();
await step("Training and exporting the Iris model", [bun, "scripts/train.ts"]);
await step("Compiling ./iris-serving", [bun, "scripts/build.ts"]);

const server = Bun.spawn([join(root, "iris-serving"), ...process.argv.slice(2)], {
  cwd: root,
  stdio: ["inherit", "inherit", "inherit"],
});
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => server.kill(signal));
process.exit(await server.exited);
