import { invalidArgument, unimplemented } from "../../base/status.ts";
import { sizeOf, type Tensor } from "../../tensor/tensor.ts";
import { isFloating, numbersOf } from "./elementwise.ts";
import {
  broadcastShapes,
  broadcastStrides,
  formatShape,
  makeTensor,
  newData,
  roundTo,
} from "./kernel_util.ts";
import type { OpRow } from "./registry.ts";

/** 行優先の行列 1 枚。中は倍精度。 */
export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly data: Float64Array;
}

export const matrix = (rows: number, columns: number, data = new Float64Array(rows * columns)): Matrix => ({
  rows,
  columns,
  data,
});

export function identity(n: number): Matrix {
  const out = matrix(n, n);
  for (let i = 0; i < n; i++) out.data[i * n + i] = 1;
  return out;
}

export function transposed({ rows, columns, data }: Matrix): Matrix {
  const out = matrix(columns, rows);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) out.data[j * rows + i] = data[i * columns + j]!;
  }
  return out;
}

export function product(a: Matrix, b: Matrix): Matrix {
  const out = matrix(a.rows, b.columns);
  for (let i = 0; i < a.rows; i++) {
    for (let p = 0; p < a.columns; p++) {
      const left = a.data[i * a.columns + p]!;
      for (let j = 0; j < b.columns; j++) out.data[i * b.columns + j]! += left * b.data[p * b.columns + j]!;
    }
  }
  return out;
}

/** `a·x + b·y`。 */
export function combine(x: Matrix, a: number, y: Matrix, b: number): Matrix {
  return matrix(
    x.rows,
    x.columns,
    x.data.map((value, i) => a * value + b * y.data[i]!),
  );
}

/** 実数だけを扱う演算にする。ほかの型は計画のときに断る。 */
export const realOnly = (row: OpRow): OpRow => ({
  ...row,
  host: (node) => {
    const [dtype] = node.inputTypes;
    if (dtype !== undefined && !isFloating(dtype)) {
      throw unimplemented(`linear algebra of ${dtype} is not supported`);
    }
    return row.host!(node);
  },
});

/** 束の 1 枚ずつを計算し、出力ごとに積み重ねる。`shapes` は 1 枚ごとの出力の形。 */
export function eachMatrix(
  x: Tensor,
  shapes: readonly (readonly number[])[],
  compute: (one: Matrix) => readonly ArrayLike<number>[],
): Tensor[] {
  if (x.shape.length < 2) {
    throw invalidArgument(`Input tensor 0 must have rank >= 2, got shape ${formatShape(x.shape)}`);
  }
  const [rows, columns] = x.shape.slice(-2) as [number, number];
  const batch = x.shape.slice(0, -2);
  const size = rows * columns;
  const from = numbersOf(x);
  const out = shapes.map((shape) => newData(x.dtype, [...batch, ...shape]) as Float64Array);
  for (let b = 0; b < sizeOf(batch); b++) {
    const one = matrix(rows, columns, Float64Array.from(from.subarray(b * size, (b + 1) * size)));
    for (const [k, values] of compute(one).entries()) out[k]!.set(values, b * sizeOf(shapes[k]!));
  }
  return out.map((data, k) => {
    roundTo(x.dtype, data as Tensor["data"]);
    return makeTensor(x.dtype, [...batch, ...shapes[k]!], data as Tensor["data"]);
  });
}

/** 2 つの束を、先頭の軸をそろえて 1 組ずつ計算する。 */
export function eachPair(
  a: Tensor,
  b: Tensor,
  shape: readonly number[],
  compute: (a: Matrix, b: Matrix) => ArrayLike<number>,
): Tensor {
  const batch = broadcastShapes(a.shape.slice(0, -2), b.shape.slice(0, -2));
  if (batch === undefined) {
    throw invalidArgument(
      `Batch dimensions of inputs are incompatible: ${formatShape(a.shape)} vs. ${formatShape(b.shape)}`,
    );
  }
  const data = newData(a.dtype, [...batch, ...shape]) as Float64Array;
  const parts = [a, b].map((x) => {
    const [rows, columns] = x.shape.slice(-2) as [number, number];
    const strides = broadcastStrides(x.shape.slice(0, -2), batch);
    const from = numbersOf(x);
    return (index: number): Matrix => {
      let rest = index;
      let at = 0;
      for (let d = batch.length - 1; d >= 0; d--) {
        at += (rest % batch[d]!) * strides[d]!;
        rest = Math.floor(rest / batch[d]!);
      }
      const size = rows * columns;
      return matrix(rows, columns, Float64Array.from(from.subarray(at * size, (at + 1) * size)));
    };
  });
  for (let index = 0; index < sizeOf(batch); index++) {
    data.set(compute(parts[0]!(index), parts[1]!(index)), index * sizeOf(shape));
  }
  roundTo(a.dtype, data as Tensor["data"]);
  return makeTensor(a.dtype, [...batch, ...shape], data as Tensor["data"]);
}

/** 部分軸選択つき LU。`lu` を書き換え、行の並びと符号を返す。特異なら sign は 0。 */
export function factor({ rows: n, data }: Matrix): { order: number[]; sign: number } {
  const order = Array.from({ length: n }, (_, i) => i);
  let sign = 1;
  for (let k = 0; k < n; k++) {
    let pivot = k;
    for (let i = k + 1; i < n; i++) {
      if (Math.abs(data[i * n + k]!) > Math.abs(data[pivot * n + k]!)) pivot = i;
    }
    if (data[pivot * n + k] === 0) sign = 0;
    if (pivot !== k) {
      for (let j = 0; j < n; j++) {
        [data[k * n + j], data[pivot * n + j]] = [data[pivot * n + j]!, data[k * n + j]!];
      }
      [order[k], order[pivot]] = [order[pivot]!, order[k]!];
      sign = -sign;
    }
    for (let i = k + 1; i < n; i++) {
      const ratio = data[k * n + k] === 0 ? 0 : data[i * n + k]! / data[k * n + k]!;
      data[i * n + k] = ratio;
      for (let j = k + 1; j < n; j++) data[i * n + j]! -= ratio * data[k * n + j]!;
    }
  }
  return { order, sign };
}

/** AX = B。A は書き換えられる。 @throws INVALID_ARGUMENT 特異(`singular` の文面)。 */
export function solve(a: Matrix, b: Matrix, singular = "Input matrix is not invertible."): Matrix {
  const { rows: n, data } = a;
  const m = b.columns;
  const { order, sign } = factor(a);
  if (sign === 0 && n > 0) throw invalidArgument(singular);
  const out = matrix(n, m);
  for (let c = 0; c < m; c++) {
    for (let i = 0; i < n; i++) {
      let sum = b.data[order[i]! * m + c]!;
      for (let k = 0; k < i; k++) sum -= data[i * n + k]! * out.data[k * m + c]!;
      out.data[i * m + c] = sum;
    }
    for (let i = n - 1; i >= 0; i--) {
      let sum = out.data[i * m + c]!;
      for (let k = i + 1; k < n; k++) sum -= data[i * n + k]! * out.data[k * m + c]!;
      out.data[i * m + c] = sum / data[i * n + i]!;
    }
  }
  return out;
}

/** 一辺の長さ。 @throws INVALID_ARGUMENT 正方でない。 */
export function squareSize({ shape }: Tensor): number {
  const [rows, columns] = shape.slice(-2);
  if (shape.length < 2 || rows !== columns) throw invalidArgument("Input matrix must be square.");
  return rows!;
}
