// proto/ から src/gen/ を作り直す。生成物はコミットし、手では直さない。
import { join } from "node:path";

const root = join(import.meta.dir, "..");
const buf = join(root, "node_modules", ".bin", "buf");
const generate = Bun.spawnSync([buf, "generate"], {
  cwd: join(root, "proto"),
  stdout: "inherit",
  stderr: "inherit",
});
process.exit(generate.exitCode);
