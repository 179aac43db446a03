// 親(savedmodel.ts)が起こす子。番号の範囲を試し、結果を JSON で 1 行書いて終わる。
// 落ちる・止まる・膨らむのは親が外から気づくので、始める番号を先にファイルへ書いておく。
//   bun worker.ts SEED FROM TO PROGRESS_FILE [TARGET]
import { openSync, writeSync } from "node:fs";
import { resolve } from "node:path";
import { fuzz } from "./run.ts";
import { formatReport } from "./supervise.ts";
import { createTargets, readCorpus } from "./targets.ts";

/** 元にするモデルの大きさの上限。 */
const MAX_MODEL_BYTES = 128 * 1024;

const [seed, from, to, progressFile, only] = process.argv.slice(2);
const every = createTargets(readCorpus(resolve(import.meta.dir, "../.."), MAX_MODEL_BYTES));
const targets = every.filter(({ name }) => only === undefined || name === only);
if (targets.length === 0) {
  throw new Error(`unknown target ${only}; one of ${every.map(({ name }) => name).join(", ")}`);
}
const progress = openSync(progressFile!, "w");
const indexes = Array.from({ length: Number(to) - Number(from) }, (_, i) => Number(from) + i);
const report = await fuzz(targets, Number(seed), indexes, (index) => {
  writeSync(progress, String(index).padEnd(16), 0);
});
console.log(formatReport(report));
// wasm と待ち行列の後片付けを待たない。
process.exit(0);
