import { biasAddOps } from "./bias_add.ts";
import { controlOps } from "./control.ts";
import { denseLayersOps } from "./dense_layers.ts";
import { gatherOps } from "./gather.ts";
import { identityOps } from "./identity.ts";
import { lateFamilies } from "./late_families.ts";
import { layoutOps } from "./layout.ts";
import { mathUnaryOps } from "./math_unary.ts";
import { matmulOps } from "./matmul.ts";
import { normalizeOps } from "./normalize.ts";
import { parseExampleOps } from "./parse_example.ts";
import type { OpRow } from "./registry.ts";
import { shapeOps } from "./shape.ts";
import { sliceOps } from "./slice.ts";
import { stringOps } from "./strings.ts";
import { tableOps } from "./table.ts";
import { variableOps } from "./variable.ts";

/**
 * 全結合だけの小さなモデルも使う族と、計画が自分で使う演算の族。ほかの族は `late_families.ts` に 1 行ずつ足す。
 * 同じ演算を 2 つの族が持てば、この版の作り間違いなので止まる。
 */
const families: readonly (readonly OpRow[])[] = [
  controlOps,
  matmulOps,
  tableOps,
  variableOps,
  mathUnaryOps,
  biasAddOps,
  shapeOps,
  layoutOps,
  sliceOps,
  gatherOps,
  denseLayersOps,
  normalizeOps,
  identityOps,
  stringOps,
  parseExampleOps,
];

const rows = new Map<string, OpRow>();

function add(family: readonly OpRow[]): void {
  for (const row of family) {
    if (rows.has(row.op)) throw new Error(`op ${row.op} has two rows`);
    rows.set(row.op, row);
  }
}
families.forEach(add);

/** 演算名 → 行。遅い族のものは {@link loadOpRows} が加える。 */
export const opRows: ReadonlyMap<string, OpRow> = rows;

const loading = new Map<(typeof lateFamilies)[number], Promise<void>>();

/** 計画を立てる前に、`ops` の行を揃える。行の無い演算があっても失敗しない。 */
export async function loadOpRows(ops: ReadonlySet<string>): Promise<void> {
  const needed = lateFamilies.filter((family) => family.ops.some((op) => ops.has(op)));
  for (const family of needed) {
    if (!loading.has(family)) loading.set(family, family.load().then(add));
  }
  await Promise.all(needed.map((family) => loading.get(family)));
}

/** 遅い族もすべて入った表。 */
export async function allOpRows(): Promise<readonly OpRow[]> {
  await loadOpRows(new Set(lateFamilies.flatMap(({ ops }) => ops)));
  return [...rows.values()];
}
