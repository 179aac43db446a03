// SavedModel の読み手を、壊したファイルで試す。クラッシュ・停止・1 GiB を越えるメモリがあれば 1 で終わる。
//   bun run fuzz:savedmodel --runs=100000 --seed=1 --jobs=2
//   bun run fuzz:savedmodel --seed=1 --only=4711          (1 件だけ再現する)
//   bun run fuzz:savedmodel --target=checkpoint           (的を 1 つに絞る。番号の意味も変わる)
import { join } from "node:path";
import { parseArgs } from "node:util";
import { mergeOutcomes, type Range, type SupervisedReport, supervise, type Watch } from "./supervise.ts";

/** 子 1 つが試す数。子が死んだときに試し直す数でもある。 */
const CHUNK = 2000;
const MAX_FINDINGS_SHOWN = 50;

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "10000" },
    seed: { type: "string", default: "1" },
    only: { type: "string" },
    target: { type: "string" },
    jobs: { type: "string", default: "1" },
  },
});
const { seed, target } = values;
const watch: Watch = {
  command: ({ from, to }, progressFile) => [
    join(import.meta.dir, "worker.ts"),
    seed,
    String(from),
    String(to),
    progressFile,
    ...(target === undefined ? [] : [target]),
  ],
  maxStillMs: 30_000,
  maxRssBytes: 2 ** 30,
  pollMs: 100,
};

const startMs = performance.now();
const ranges = rangesOf();
const total = ranges.reduce((sum, { from, to }) => sum + to - from, 0);
const outcomes = new Map<string, Map<string, number>>();
const reports: SupervisedReport[] = [];
await Promise.all(Array.from({ length: Number(values.jobs) }, drain));
show();

function rangesOf(): Range[] {
  if (values.only !== undefined) return [{ from: Number(values.only), to: Number(values.only) + 1 }];
  const runs = Number(values.runs);
  return Array.from({ length: Math.ceil(runs / CHUNK) }, (_, i) => ({
    from: i * CHUNK,
    to: Math.min(runs, (i + 1) * CHUNK),
  }));
}

async function drain(): Promise<void> {
  for (let range = ranges.shift(); range !== undefined; range = ranges.shift()) {
    const report = await supervise(range, watch);
    mergeOutcomes(outcomes, report.outcomes);
    reports.push(report);
    for (const { target: name, index, problem } of report.findings.slice(0, MAX_FINDINGS_SHOWN)) {
      console.error(`${name} --seed=${seed} --only=${index}: ${problem}`);
    }
  }
}

function show(): never {
  for (const [name, counts] of outcomes) {
    const line = [...counts].sort((a, b) => b[1] - a[1]).map(([outcome, count]) => `${outcome} ${count}`);
    console.log(`${name.padEnd(12)} ${line.join(", ")}`);
  }
  const peakMiB = Math.max(...reports.map(({ peakRssBytes }) => peakRssBytes)) / 2 ** 20;
  const slowestMs = Math.max(...reports.map((report) => report.slowestMs));
  const findings = reports.reduce((sum, report) => sum + report.findings.length, 0);
  const seconds = (performance.now() - startMs) / 1000;
  console.log(
    `${total} runs, seed ${seed}, ${seconds.toFixed(1)} s, slowest ${slowestMs.toFixed(0)} ms, ` +
      `peak ${peakMiB.toFixed(0)} MiB, ${findings} findings`,
  );
  process.exit(findings > 0 ? 1 : 0);
}
