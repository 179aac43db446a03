// keras_layers.py が書いた層を 1 つずつ読み、ホストと wasm の両方で走らせて TensorFlow の答えと比べる。
//   bun test/interop/keras_layers.ts [層の名前 …]
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { python } from "../../scripts/python.ts";
import { root } from "../../scripts/steps.ts";
import { wasmFiles } from "../../src/assets.ts";
import { Backend } from "../../src/graph/backend.ts";
import { compareZoo, openZoo, readZoo } from "../helpers/zoo.ts";

const cache = join(root, ".cache", "keras-layers");
const only = process.argv.slice(2);
if (!existsSync(cache)) {
  const script = join(import.meta.dir, "keras_layers.py");
  const child = Bun.spawn([await python("newest"), script, cache], {
    stdio: ["ignore", "inherit", "ignore"],
  });
  if ((await child.exited) !== 0) throw new Error("Keras could not write the layers");
}
const backend = new Backend(wasmFiles);
await backend.boot();
let right = 0;
const wrong: string[] = [];
for (const name of readdirSync(cache).sort()) {
  if (!existsSync(join(cache, name, "cases.json")) || (only.length > 0 && !only.includes(name))) continue;
  const model = readZoo(name, cache);
  const differences: string[] = [];
  for (const deviceWork of [0, Number.POSITIVE_INFINITY]) {
    try {
      const open = await openZoo(name, model.tags, backend, deviceWork, cache);
      differences.push(...compareZoo(open, model));
      open.session.dispose();
    } catch (thrown) {
      differences.push(String(thrown));
    }
  }
  if (differences.length === 0) right++;
  else wrong.push(`${name}: ${differences[0]}`);
}
for (const line of wrong) console.error(line);
console.log(`${right} layers answer as TensorFlow does, ${wrong.length} do not`);
process.exit(wrong.length > 0 ? 1 : 0);
