import { ratios, type Spread, spread } from "./numbers.ts";

/** 1 組の測定。`values` は回ごと。 */
export interface Pair {
  readonly ours: readonly number[];
  readonly theirs: readonly number[];
}

/** 交互に(A B B A …)測る。先に測られる側が得をしないように、回ごとに順を替える。最初の 1 回は捨てる。 */
export async function interleave<T>(
  rounds: number,
  ours: () => Promise<T>,
  theirs: () => Promise<T>,
): Promise<{ ours: T[]; theirs: T[] }> {
  const results: { ours: T[]; theirs: T[] } = { ours: [], theirs: [] };
  for (let round = 0; round <= rounds; round++) {
    const order = round % 2 === 0 ? (["ours", "theirs"] as const) : (["theirs", "ours"] as const);
    for (const side of order) {
      const value = await (side === "ours" ? ours : theirs)();
      if (round > 0) results[side].push(value);
    }
  }
  return results;
}

/** 目標のある 1 行。 */
export interface Row {
  readonly figure: string;
  readonly goal: string;
  readonly unit: string;
  /** 測れなかった行には無い。 */
  readonly ours?: Spread;
  readonly theirs?: Spread;
  /** 目標と比べる値。 */
  readonly result?: Spread;
  readonly met: boolean;
  readonly note?: string;
}

export function compare(
  figure: string,
  unit: string,
  { ours, theirs }: Pair,
  goal: { readonly atLeast: number } | { readonly atMost: number },
): Row {
  const result = ratios(ours, theirs);
  const isFloor = "atLeast" in goal;
  const limit = isFloor ? goal.atLeast : goal.atMost;
  return {
    figure,
    unit,
    goal: `${isFloor ? "≥" : "≤"} ${limit.toFixed(2)}`,
    ours: spread(ours),
    theirs: spread(theirs),
    result,
    met: isFloor ? result.median >= limit : result.median <= limit,
  };
}
