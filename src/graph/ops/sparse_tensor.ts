import { invalidArgument } from "../../base/status.ts";
import { type DType, lanesOf, type TypedArray } from "../../tensor/dtype.ts";
import { type Tensor, tensor } from "../../tensor/tensor.ts";
import { formatShape, makeTensor, newData, toNumbers } from "./kernel_util.ts";

/** SparseTensor の三つ組。座標は行優先の平らな列。 */
export interface Sparse {
  readonly indices: readonly number[];
  readonly rank: number;
  readonly values: Tensor;
  readonly shape: readonly number[];
}

/** @throws INVALID_ARGUMENT 形の合わない三つ組。 */
export function readSparse(indices: Tensor, values: Tensor, shape: Tensor): Sparse {
  if (indices.shape.length !== 2) {
    throw invalidArgument(
      `Input indices should be a matrix but received shape ${formatShape(indices.shape)}`,
    );
  }
  if (values.shape.length !== 1) {
    throw invalidArgument(`Input values should be a vector but received shape ${formatShape(values.shape)}`);
  }
  if (shape.shape.length !== 1) {
    throw invalidArgument(`Input shape should be a vector but received shape ${formatShape(shape.shape)}`);
  }
  const [count, rank] = indices.shape as [number, number];
  if (count !== values.shape[0]) {
    throw invalidArgument(
      `Number of values must match first dimension of indices. Got ${values.shape[0]} values, indices shape: ${formatShape(indices.shape)}`,
    );
  }
  const dims = toNumbers(shape);
  if (dims.length !== rank) {
    throw invalidArgument(
      `Number of dimensions must match second dimension of indices. Got ${dims.length} dimensions, indices shape: ${formatShape(indices.shape)}`,
    );
  }
  return { indices: toNumbers(indices), rank, values, shape: dims };
}

export function int64Vector(values: readonly number[]): Tensor {
  return tensor("int64", [values.length], BigInt64Array.from(values, BigInt));
}

export function int64Matrix(values: readonly number[], columns: number): Tensor {
  const rows = columns === 0 ? 0 : values.length / columns;
  return tensor("int64", [rows, columns], BigInt64Array.from(values, BigInt));
}

/** 1 次元のテンソルから `order` 番目を順に取り出す。 */
export function pick(values: Tensor, order: readonly number[]): Tensor {
  return gatherFrom(values.dtype, [values], order, () => 0);
}

/** 要素 1 つの在りか。 */
export interface Place {
  readonly source: number;
  readonly index: number;
}

/** 複数の 1 次元テンソルから、場所の列のとおりに集める。 */
export function pickPlaces(dtype: DType, sources: readonly Tensor[], places: readonly Place[]): Tensor {
  return gatherFrom(
    dtype,
    sources,
    places.map(({ index }) => index),
    (i) => places[i]!.source,
  );
}

function gatherFrom(
  dtype: DType,
  sources: readonly Tensor[],
  order: readonly number[],
  sourceOf: (i: number) => number,
): Tensor {
  const out = newData(dtype, [order.length]) as TypedArray;
  const lanes = lanesOf(dtype);
  for (let i = 0; i < order.length; i++) {
    const data = sources[sourceOf(i)]!.data as TypedArray;
    for (let lane = 0; lane < lanes; lane++) out[i * lanes + lane] = data[order[i]! * lanes + lane]!;
  }
  return makeTensor(dtype, [order.length], out);
}

/** 座標の行どうしの辞書順。 */
export function compareRows(
  a: readonly number[],
  i: number,
  b: readonly number[],
  j: number,
  rank: number,
): number {
  for (let d = 0; d < rank; d++) {
    const difference = a[i * rank + d]! - b[j * rank + d]!;
    if (difference !== 0) return difference;
  }
  return 0;
}

/** 座標を行優先に並べる順。 */
export function rowOrder({ indices, rank }: Sparse): number[] {
  const count = rank === 0 ? 0 : indices.length / rank;
  return Array.from({ length: count }, (_, i) => i).sort((i, j) => compareRows(indices, i, indices, j, rank));
}

/** 行の並べ替え。 */
export function reorderRows(indices: readonly number[], rank: number, order: readonly number[]): number[] {
  return order.flatMap((row) => indices.slice(row * rank, (row + 1) * rank));
}

/** 平らな位置。 */
export function flatIndex(indices: readonly number[], row: number, shape: readonly number[]): number {
  let flat = 0;
  for (let d = 0; d < shape.length; d++) flat = flat * shape[d]! + indices[row * shape.length + d]!;
  return flat;
}

/** @throws INVALID_ARGUMENT 形の外を指す座標。 */
export function checkBounds({ indices, rank, shape }: Sparse): void {
  for (let i = 0; i < indices.length; i++) {
    const dim = shape[i % rank]!;
    if (indices[i]! < 0 || indices[i]! >= dim) {
      const row = Math.floor(i / rank);
      throw invalidArgument(
        `indices[${row}] = [${indices.slice(row * rank, (row + 1) * rank).join(",")}] is out of bounds: need 0 <= index < [${shape.join(",")}]`,
      );
    }
  }
}
