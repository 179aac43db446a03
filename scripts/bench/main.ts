// 速さの表。実行ファイルを、同じ回に測った天井や他のサーバーと比べる。
//   bun run bench [--quick] [--only=rest,grpc,lone,tail,rows,inside,start,memory,peers] [--out=docs/benchmarks]
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { bun, root, step } from "../steps.ts";
import { requireTools } from "./machine.ts";
import { measureCeilings } from "./measure_ceilings.ts";
import { measureInside } from "./measure_inside.ts";
import { measureMemory } from "./measure_memory.ts";
import { measurePeers } from "./measure_peers.ts";
import { measureStart } from "./measure_start.ts";
import { writeReport } from "./report.ts";
import type { Row } from "./rounds.ts";

/** 測る長さ。 */
export interface Pace {
  readonly rounds: number;
  readonly seconds: number;
  /** 記憶を測る前に送る要求の、入口ごとの数。 */
  readonly requests: number;
}

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    only: { type: "string", default: "ceilings,inside,start,memory,peers" },
    out: { type: "string", default: join(root, "docs", "benchmarks") },
  },
});
const pace: Pace = values.quick
  ? { rounds: 1, seconds: 1, requests: 10_000 }
  : { rounds: 5, seconds: 4, requests: 500_000 };
const parts: Record<string, (work: string, pace: Pace) => Promise<Row[]>> = {
  ceilings: measureCeilings,
  inside: measureInside,
  start: measureStart,
  memory: measureMemory,
  peers: measurePeers,
};
const wanted = values.only.split(",");
const unknown = wanted.filter((name) => parts[name] === undefined);
if (unknown.length > 0) throw new Error(`unknown part ${unknown}; there are ${Object.keys(parts)}`);

requireTools(["wrk", "h2load", "taskset"]);
await step("Building iris-serving", [bun, "scripts/build.ts"]);
const work = mkdtempSync(join(tmpdir(), "iris-bench-"));
const rows: Row[] = [];
for (const name of wanted) rows.push(...(await parts[name]!(work, pace)));
rmSync(work, { recursive: true });
mkdirSync(values.out, { recursive: true });
await writeReport(rows, { directory: values.out, isQuick: values.quick });
process.exit(0);
