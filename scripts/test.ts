// 依存を入れ、単体・結合試験を全部走らせる。引数は bun test へ渡る(例: --coverage)。
import { bun, install, step } from "./steps.ts";

await install();
await step("Running the test suite", [bun, "test", ...process.argv.slice(2)]);
