// TensorFlow Serving 自身の tensorflow_model_server_test.py を、この実行ファイルに対して走らせる。
//   bun scripts/upstream_suite.ts CHECKOUT [試験名 …]
// CHECKOUT は tensorflow/serving の作業ツリー。取得したものは何もコミットしない。
import { join } from "node:path";
import { python } from "./python.ts";
import { bun, root, step } from "./steps.ts";

const [checkout, ...tests] = process.argv.slice(2);
if (checkout === undefined) {
  console.error("usage: bun scripts/upstream_suite.ts CHECKOUT [TEST ...]");
  process.exit(2);
}
await step("Compiling ./iris-serving", [bun, "scripts/build.ts"]);
const suite = Bun.spawn(
  [
    await python("newest"),
    join(root, "test/interop/upstream_suite.py"),
    checkout,
    join(root, "iris-serving"),
    ...tests,
  ],
  { stdio: ["ignore", "inherit", "inherit"], env: { ...process.env, TF_CPP_MIN_LOG_LEVEL: "3" } },
);
process.exit(await suite.exited);
