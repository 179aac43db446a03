// ワイヤの無い測定。1 つのプロセスの中で、交互に測る。
import type { Pace } from "./main.ts";
import { spread } from "./numbers.ts";
import { compare, type Row } from "./rounds.ts";
import { pinned } from "./servers.ts";

const GOAL_CALLS = 1_000_000;

export async function measureInside(_work: string, { rounds }: Pace): Promise<Row[]> {
  const calls: number[] = [];
  const dense: Record<"1" | "32", { ours: number; raw: number }>[] = [];
  for (let round = 0; round < Math.min(rounds, 3); round++) {
    calls.push((await pinned<{ perSecond: number }>("dispatch.ts")).perSecond);
    dense.push(await pinned("dense.ts"));
  }
  const dispatched = spread(calls);
  return [
    {
      figure: "dispatch alone (acquire, signature, checks, batch of one, release)",
      unit: "calls/s",
      goal: "≥ 1,000,000",
      ours: dispatched,
      result: dispatched,
      met: dispatched.median >= GOAL_CALLS,
    },
    ...(["1", "32"] as const).map((batch) =>
      compare(
        `784-512-256-10, batch ${batch}: call ÷ raw tfjs-wasm chain`,
        "µs",
        { ours: dense.map((each) => each[batch].ours), theirs: dense.map((each) => each[batch].raw) },
        { atMost: 1.05 },
      ),
    ),
  ];
}
