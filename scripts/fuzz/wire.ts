// 客が選べる文面の読み手(JSON、base64、パス、gzip、protobuf、テキスト形式、TFRecord)を、種から作った入力で試す。
// 速い読み手は、一般の読み手・JSON.parse・protobuf-es と同じ答えになること。
//   bun run fuzz:wire --runs=1000000 --seed=1
//   bun run fuzz:wire --seed=1 --only=4711             (1 件だけ再現する)
//   bun run fuzz:wire --target=json                    (的を 1 つに絞る。番号の意味も変わる)
import { parseArgs } from "node:util";
import { fuzz } from "./run.ts";
import { createWireTargets } from "./wire_targets.ts";

const MAX_FINDINGS_SHOWN = 50;
const MAX_RSS_BYTES = 2 ** 30;

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "100000" },
    seed: { type: "string", default: "1" },
    only: { type: "string" },
    target: { type: "string" },
  },
});
const every = createWireTargets();
const targets = every.filter(({ name }) => values.target === undefined || name === values.target);
if (targets.length === 0) {
  throw new Error(`unknown target ${values.target}; one of ${every.map(({ name }) => name).join(", ")}`);
}

function* indexes(): Generator<number> {
  if (values.only !== undefined) yield Number(values.only);
  else for (let index = 0; index < Number(values.runs); index++) yield index;
}

const startMs = performance.now();
const { outcomes, findings, slowestMs } = await fuzz(targets, Number(values.seed), indexes());
let total = 0;
for (const [name, counts] of outcomes) {
  const line = [...counts].sort((a, b) => b[1] - a[1]).map(([outcome, count]) => `${outcome} ${count}`);
  console.log(`${name.padEnd(12)} ${line.join(", ")}`);
  for (const count of counts.values()) total += count;
}
for (const { target, index, problem } of findings.slice(0, MAX_FINDINGS_SHOWN)) {
  console.error(`${target} --seed=${values.seed} --only=${index}: ${problem}`);
}
const peakBytes = process.resourceUsage().maxRSS * 1024;
console.log(
  `${total} runs, seed ${values.seed}, ${((performance.now() - startMs) / 1000).toFixed(1)} s, ` +
    `slowest ${slowestMs.toFixed(0)} ms, peak ${(peakBytes / 2 ** 20).toFixed(0)} MiB, ${findings.length} findings`,
);
process.exit(findings.length > 0 || peakBytes > MAX_RSS_BYTES ? 1 : 0);
