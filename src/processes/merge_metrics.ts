import type { CellSnapshot, FamilySnapshot } from "../base/metrics.ts";

const combine = {
  sum: (a: number, b: number) => a + b,
  max: Math.max,
  min: Math.min,
} as const;

function mergeCells(family: FamilySnapshot, a: CellSnapshot, b: CellSnapshot): CellSnapshot {
  if (a.buckets === undefined || b.buckets === undefined) {
    return { labelValues: a.labelValues, value: combine[family.across ?? "sum"](a.value, b.value) };
  }
  return {
    labelValues: a.labelValues,
    value: a.value + b.value,
    buckets: a.buckets.map((n, i) => n + (b.buckets?.[i] ?? 0)),
    count: (a.count ?? 0) + (b.count ?? 0),
  };
}

/**
 * 各プロセスの指標を、指標とラベル値の組ごとに 1 つにまとめる。
 * 数と分布は足し、上下する数は宣言({@link FamilySnapshot.across})に従う。
 */
export function mergeMetrics(processes: readonly (readonly FamilySnapshot[])[]): FamilySnapshot[] {
  const families = new Map<string, { family: FamilySnapshot; cells: Map<string, CellSnapshot> }>();
  for (const family of processes.flat()) {
    let merged = families.get(family.name);
    if (merged === undefined) {
      merged = { family, cells: new Map() };
      families.set(family.name, merged);
    }
    for (const cell of family.cells) {
      const key = cell.labelValues.join("\u0000");
      const known = merged.cells.get(key);
      merged.cells.set(key, known === undefined ? cell : mergeCells(family, known, cell));
    }
  }
  return [...families.values()].map(({ family, cells }) => ({ ...family, cells: [...cells.values()] }));
}
