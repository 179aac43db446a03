import { biasAddOps } from "./bias_add.ts";
import { bincountOps } from "./bincount.ts";
import { castOps } from "./cast.ts";
import { controlOps } from "./control.ts";
import { convOps } from "./conv.ts";
import { decodeCsvOps } from "./decode_csv.ts";
import { denseLayersOps } from "./dense_layers.ts";
import { einsumOps } from "./einsum.ts";
import { gatherOps } from "./gather.ts";
import { identityOps } from "./identity.ts";
import { imageColorOps } from "./image_color.ts";
import { imageGeometryOps } from "./image_geometry.ts";
import { lateFamilies } from "./late_families.ts";
import { layoutOps } from "./layout.ts";
import { listOps } from "./list.ts";
import { mathBinaryOps } from "./math_binary.ts";
import { mathUnaryOps } from "./math_unary.ts";
import { matmulOps } from "./matmul.ts";
import { matrixDiagOps } from "./matrix_diag.ts";
import { nonMaxSuppressionOps } from "./non_max_suppression.ts";
import { normalizeOps } from "./normalize.ts";
import { parseExampleOps } from "./parse_example.ts";
import { parseSequenceExampleOps } from "./parse_sequence_example.ts";
import { poolOps } from "./pool.ts";
import { quantizeOps } from "./quantize.ts";
import { raggedOps } from "./ragged.ts";
import { randomOps } from "./random.ts";
import { readFileOps } from "./read_file.ts";
import { reduceOps } from "./reduce.ts";
import type { OpRow } from "./registry.ts";
import { resizeOps } from "./resize.ts";
import { segmentOps } from "./segment.ts";
import { selectOps } from "./select.ts";
import { setOps } from "./set_operation.ts";
import { shapeOps } from "./shape.ts";
import { sliceOps } from "./slice.ts";
import { sparseOps } from "./sparse.ts";
import { sparseCrossOps } from "./sparse_cross.ts";
import { stackOps } from "./stack.ts";
import { stringFormatOps } from "./string_format.ts";
import { stringHashOps } from "./string_hash.ts";
import { stringOps } from "./strings.ts";
import { tableOps } from "./table.ts";
import { tensorArrayOps } from "./tensor_array.ts";
import { unicodeOps } from "./unicode.ts";
import { unicodeScriptOps } from "./unicode_script.ts";
import { variableOps } from "./variable.ts";

/**
 * すべての族をまとめた表。新しい族は import と下の配列に 1 行ずつ足す。
 * 同じ演算を 2 つの族が持てば、この版の作り間違いなので起動時に止まる。
 */
const families: readonly (readonly OpRow[])[] = [
  controlOps,
  matmulOps,
  tableOps,
  variableOps,
  mathUnaryOps,
  mathBinaryOps,
  castOps,
  biasAddOps,
  shapeOps,
  layoutOps,
  sliceOps,
  gatherOps,
  selectOps,
  reduceOps,
  convOps,
  denseLayersOps,
  einsumOps,
  imageColorOps,
  imageGeometryOps,
  matrixDiagOps,
  nonMaxSuppressionOps,
  normalizeOps,
  poolOps,
  quantizeOps,
  randomOps,
  resizeOps,
  identityOps,
  decodeCsvOps,
  stringFormatOps,
  stringHashOps,
  stringOps,
  unicodeOps,
  listOps,
  tensorArrayOps,
  stackOps,
  parseExampleOps,
  parseSequenceExampleOps,
  segmentOps,
  bincountOps,
  sparseOps,
  sparseCrossOps,
  raggedOps,
  readFileOps,
  unicodeScriptOps,
  setOps,
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
  for (const family of lateFamilies) {
    if (!family.ops.some((op) => ops.has(op))) continue;
    if (!loading.has(family)) loading.set(family, family.load().then(add));
    await loading.get(family);
  }
}

/** 遅い族もすべて入った表。 */
export async function allOpRows(): Promise<readonly OpRow[]> {
  await loadOpRows(new Set(lateFamilies.flatMap(({ ops }) => ops)));
  return [...rows.values()];
}
