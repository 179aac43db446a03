import { type DType, lanesOf, type TypedArray } from "../../tensor/dtype.ts";
import { type Shape, sizeOf, type Tensor } from "../../tensor/tensor.ts";
import { makeTensor, newData } from "./kernel_util.ts";

/** `from` から `count` 行。中身は写さずに共有する。 */
export function sliceRows(value: Tensor, from: number, count: number): Tensor {
  const inner = value.shape.slice(1);
  const stride = sizeOf(inner) * lanesOf(value.dtype);
  const [start, end] = [from * stride, (from + count) * stride];
  const data = Array.isArray(value.data) ? value.data.slice(start, end) : value.data.subarray(start, end);
  return makeTensor(value.dtype, [count, ...inner], data);
}

/** 行 1 つ。先頭の軸は消える。 */
export function rowAt(value: Tensor, index: number): Tensor {
  const row = sliceRows(value, index, 1);
  return makeTensor(value.dtype, value.shape.slice(1), row.data);
}

/** `source` の中身をそのまま `out` の要素 `at` から写す。要素は複素数でも 1 と数える。 */
export function copyInto(dtype: DType, out: Tensor["data"], at: number, source: Tensor["data"]): void {
  if (Array.isArray(out)) {
    const items = source as Uint8Array[];
    for (let i = 0; i < items.length; i++) out[at + i] = items[i]!;
  } else {
    (out as Uint8Array).set(source as Uint8Array, at * lanesOf(dtype));
  }
}

/** 全部を一続きにする。`shape` の要素数は部品の合計に等しい。 */
export function gatherParts(dtype: DType, shape: Shape, parts: readonly Tensor[]): Tensor {
  const out = newData(dtype, shape);
  let at = 0;
  for (const part of parts) {
    copyInto(dtype, out, at, part.data);
    at += (part.data as TypedArray).length / lanesOf(dtype);
  }
  return makeTensor(dtype, shape, out);
}

/** 0(string は空)だけのテンソル。 */
export function zeros(dtype: DType, shape: Shape): Tensor {
  return makeTensor(dtype, shape, newData(dtype, shape));
}
