// proto/ と wasm/ から src/gen/ を作り直す。生成物はコミットし、手では直さない。
import { join } from "node:path";
import { compileWasm, wasmModules } from "./wasm.ts";

const root = join(import.meta.dir, "..");
const buf = join(root, "node_modules", ".bin", "buf");
const generate = Bun.spawnSync([buf, "generate"], {
  cwd: join(root, "proto"),
  stdout: "inherit",
  stderr: "inherit",
});
if (!generate.success) process.exit(generate.exitCode);
for (const [name, pages] of wasmModules) {
  await Bun.write(join(root, "src", "gen", "wasm", `${name}.ts`), await compileWasm(name, pages));
}
