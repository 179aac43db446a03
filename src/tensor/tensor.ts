import { invalidArgument } from "../base/status.ts";
import { allocate, type DataByDType, type DType, lanesOf, type TypedArray } from "./dtype.ts";

/** 各次元の大きさ。空はスカラー。 */
export type Shape = readonly number[];

export interface TensorOf<D extends DType> {
  readonly dtype: D;
  readonly shape: Shape;
  readonly data: DataByDType[D];
}

/** ホスト側の配列。行優先で、`data` の要素数は次元の積(複素数はその 2 倍)。作った後は書き換えない。 */
export type Tensor = { [D in DType]: TensorOf<D> }[DType];

/** 別名またはテンソル名 → 値。 */
export type TensorMap = ReadonlyMap<string, Tensor>;

/** 要素数。 */
export function sizeOf(shape: Shape): number {
  let size = 1;
  for (const dim of shape) size *= dim;
  return size;
}

/** 型付きに組み立てる。長さは呼び手が保証する。 */
export function tensor<D extends DType>(dtype: D, shape: Shape, data: DataByDType[D]): Tensor {
  return { dtype, shape, data } as TensorOf<DType> as Tensor;
}

/**
 * 先頭軸で連結する。バッチの「合流」で使い、{@link splitRows} と対になる。
 *
 * @param parts 形状 [nᵢ, …d] の列(1 個以上)。dtype と …d は全要素で等しい。
 * @returns 形状 [Σnᵢ, …d] の新しいテンソル。入力の data は共有しない。
 * @throws INVALID_ARGUMENT dtype か …d が食い違うとき。
 * @see tensorflow_serving/batching/batching_session.cc MergeInputTensors
 */
export function concatRows(parts: readonly Tensor[]): Tensor {
  const first = parts[0]!;
  const inner = first.shape.slice(1);
  let rows = 0;
  for (const part of parts) {
    if (
      part.dtype !== first.dtype ||
      part.shape.length === 0 ||
      part.shape.slice(1).join() !== inner.join()
    ) {
      throw invalidArgument("Tensors to concatenate must have the same type and equal inner dimensions");
    }
    rows += part.shape[0]!;
  }
  const shape = [rows, ...inner];
  const data = allocate(first.dtype, sizeOf(shape));
  let at = 0;
  for (const part of parts) {
    if (Array.isArray(data)) {
      for (const item of part.data as Uint8Array[]) data[at++] = item;
    } else {
      (data as Uint8Array).set(part.data as Uint8Array, at);
      at += (part.data as TypedArray).length;
    }
  }
  return tensor(first.dtype, shape, data);
}

/**
 * 先頭軸で切り分ける。data は元の配列を共有する(写さない)。
 *
 * @param counts 各片の行数。合計は shape[0] に等しい。
 */
export function splitRows(whole: Tensor, counts: readonly number[]): Tensor[] {
  const inner = whole.shape.slice(1);
  const stride = sizeOf(inner) * lanesOf(whole.dtype);
  let at = 0;
  return counts.map((count) => {
    const from = at;
    at += count * stride;
    const data = Array.isArray(whole.data) ? whole.data.slice(from, at) : whole.data.subarray(from, at);
    return tensor(whole.dtype, [count, ...inner], data as DataByDType[DType]);
  });
}
