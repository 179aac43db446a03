// 速さの表。実行ファイルを、同じ回に測った天井や他のサーバーと比べる。
//   bun run bench [--quick | --rounds=3 --seconds=3] [--only=ceilings,inside,start,memory,peers] [--out=docs/benchmarks]
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
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "3" },
    only: { type: "string", default: "ceilings,inside,start,memory,peers" },
    out: { type: "string", default: join(root, "docs", "benchmarks") },
  },
});
const pace: Pace = values.quick
  ? { rounds: 1, seconds: 1, requests: 10_000 }
  : { rounds: Number(values.rounds), seconds: Number(values.seconds), requests: 500_000 };
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
let failed = false;
for (const name of wanted) {
  try {
    rows.push(...(await parts[name]!(work, pace)));
  } catch (error) {
    // 1 つの測定の失敗で、ほかの測定を捨てない。その測定の数字は出さない。
    failed = true;
    console.error(`✗ ${name}:`, error);
    rows.push({
      figure: name,
      goal: "—",
      unit: "",
      met: false,
      note: `not measured: ${String(error).split("\n")[0]}`,
    });
  }
}
rmSync(work, { recursive: true });
mkdirSync(values.out, { recursive: true });
await writeReport(rows, { directory: values.out, isQuick: values.quick });
process.exit(failed ? 1 : 0);
