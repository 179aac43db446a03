import { biasAddOps } from "./bias_add.ts";
import { bincountOps } from "./bincount.ts";
import { castOps } from "./cast.ts";
import { controlOps } from "./control.ts";
import { convOps } from "./conv.ts";
import { decodeCsvOps } from "./decode_csv.ts";
import { decodeJsonExampleOps } from "./decode_json_example.ts";
import { denseLayersOps } from "./dense_layers.ts";
import { einsumOps } from "./einsum.ts";
import { fftOps } from "./fft.ts";
import { gatherOps } from "./gather.ts";
import { identityOps } from "./identity.ts";
import { imageCodecOps } from "./image_codec.ts";
import { imageColorOps } from "./image_color.ts";
import { imageGeometryOps } from "./image_geometry.ts";
import { layoutOps } from "./layout.ts";
import { linalgOps } from "./linalg.ts";
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
import { regexOps } from "./regex.ts";
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
  fftOps,
  imageColorOps,
  imageGeometryOps,
  linalgOps,
  matrixDiagOps,
  nonMaxSuppressionOps,
  normalizeOps,
  poolOps,
  quantizeOps,
  randomOps,
  resizeOps,
  identityOps,
  decodeCsvOps,
  decodeJsonExampleOps,
  regexOps,
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
  imageCodecOps,
  unicodeScriptOps,
  setOps,
];

function merge(): ReadonlyMap<string, OpRow> {
  const rows = new Map<string, OpRow>();
  for (const row of families.flat()) {
    if (rows.has(row.op)) throw new Error(`op ${row.op} has two rows`);
    rows.set(row.op, row);
  }
  return rows;
}

/** 演算名 → 行。 */
export const opRows: ReadonlyMap<string, OpRow> = merge();
