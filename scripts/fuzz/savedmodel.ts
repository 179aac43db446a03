// SavedModel の読み手を、壊したファイルで試す。クラッシュ・停止・1 GiB を越えるメモリがあれば 1 で終わる。
//   bun run fuzz:savedmodel --runs=100000 --seed=1
//   bun run fuzz:savedmodel --seed=1 --only=4711          (1 件だけ再現する)
//   bun run fuzz:savedmodel --target=checkpoint           (的を 1 つに絞る)
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { fuzz } from "./run.ts";
import { createTargets, readCorpus } from "./targets.ts";

const MAX_RSS_BYTES = 2 ** 30;

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "10000" },
    seed: { type: "string", default: "1" },
    only: { type: "string" },
    target: { type: "string" },
  },
});
const runs = Number(values.runs);
const seed = Number(values.seed);
const every = createTargets(readCorpus(resolve(import.meta.dir, "../.."), 128 * 1024));
const targets = every.filter(({ name }) => values.target === undefined || name === values.target);
if (targets.length === 0)
  throw new Error(`unknown target ${values.target}; one of ${every.map(({ name }) => name).join(", ")}`);
const indexes = values.only === undefined ? Array.from({ length: runs }, (_, i) => i) : [Number(values.only)];

const startMs = performance.now();
const { outcomes, findings, slowestMs } = await fuzz(targets, seed, indexes);
for (const [name, counts] of outcomes) {
  const line = [...counts].sort((a, b) => b[1] - a[1]).map(([outcome, count]) => `${outcome} ${count}`);
  console.log(`${name.padEnd(12)} ${line.join(", ")}`);
}
for (const { target, index, problem } of findings.slice(0, 20))
  console.error(`${target} --only=${index}: ${problem}`);
const peakBytes = process.resourceUsage().maxRSS * 1024;
console.log(
  `${indexes.length} runs, seed ${seed}, ${((performance.now() - startMs) / 1000).toFixed(1)} s, slowest ${slowestMs.toFixed(0)} ms, peak ${(peakBytes / 2 ** 20).toFixed(0)} MiB, ${findings.length} findings`,
);
if (peakBytes > MAX_RSS_BYTES) console.error("peak memory is over 1 GiB");
process.exit(findings.length > 0 || peakBytes > MAX_RSS_BYTES ? 1 : 0);
