import { invalidArgument } from "../../base/status.ts";
import { sizeOf, type Tensor } from "../../tensor/tensor.ts";
import { numbersOf } from "./elementwise.ts";
import {
  broadcastShapes,
  broadcastStrides,
  formatShape,
  makeTensor,
  newData,
  roundTo,
} from "./kernel_util.ts";
import type { HostKernel, OpNode, OpRow } from "./registry.ts";

/**
 * 小さい行列の線形代数(float と double)。中は倍精度の素直な算法で、推論のグラフに現れる大きさを想定する。
 */

function squareSize(x: Tensor): number {
  const [rows, columns] = x.shape.slice(-2);
  if (x.shape.length < 2 || rows !== columns) {
    throw invalidArgument(`Input matrix must be square.`);
  }
  return rows!;
}

/** 行列 1 枚ずつ処理する。`shape` は 1 枚ごとの出力の形。 */
function eachMatrix(
  x: Tensor,
  shape: readonly number[],
  solve: (matrix: Float64Array, out: Float64Array) => void,
): Tensor {
  const batch = x.shape.slice(0, -2);
  const size = sizeOf(x.shape.slice(-2));
  const outSize = sizeOf(shape);
  const data = newData(x.dtype, [...batch, ...shape]);
  const from = numbersOf(x);
  const out = new Float64Array(outSize);
  for (let b = 0; b < sizeOf(batch); b++) {
    out.fill(0);
    solve(Float64Array.from(from.subarray(b * size, (b + 1) * size)), out);
    (data as Float64Array).set(out, b * outSize);
  }
  roundTo(x.dtype, data);
  return makeTensor(x.dtype, [...batch, ...shape], data);
}

/** 下三角の L(LLᵀ = A)。正定値でなければ、下三角を NaN で埋める。 */
function cholesky(a: Float64Array, out: Float64Array, n: number): void {
  for (let j = 0; j < n; j++) {
    let diagonal = a[j * n + j]!;
    for (let k = 0; k < j; k++) diagonal -= out[j * n + k]! ** 2;
    if (!(diagonal > 0)) {
      for (let i = 0; i < n; i++) out.fill(Number.NaN, i * n, i * n + i + 1);
      return;
    }
    const root = Math.sqrt(diagonal);
    out[j * n + j] = root;
    for (let i = j + 1; i < n; i++) {
      let sum = a[i * n + j]!;
      for (let k = 0; k < j; k++) sum -= out[i * n + k]! * out[j * n + k]!;
      out[i * n + j] = sum / root;
    }
  }
}

/** 部分軸選択つき LU。`a` を書き換え、行の並びと符号を返す。特異なら sign は 0。 */
function decompose(a: Float64Array, n: number): { rows: number[]; sign: number } {
  const rows = Array.from({ length: n }, (_, i) => i);
  let sign = 1;
  for (let k = 0; k < n; k++) {
    let pivot = k;
    for (let i = k + 1; i < n; i++) {
      if (Math.abs(a[i * n + k]!) > Math.abs(a[pivot * n + k]!)) pivot = i;
    }
    if (a[pivot * n + k] === 0) sign = 0;
    if (pivot !== k) {
      for (let j = 0; j < n; j++) {
        const held = a[k * n + j]!;
        a[k * n + j] = a[pivot * n + j]!;
        a[pivot * n + j] = held;
      }
      [rows[k], rows[pivot]] = [rows[pivot]!, rows[k]!];
      sign = -sign;
    }
    for (let i = k + 1; i < n; i++) {
      const factor = a[k * n + k] === 0 ? 0 : a[i * n + k]! / a[k * n + k]!;
      a[i * n + k] = factor;
      for (let j = k + 1; j < n; j++) a[i * n + j]! -= factor * a[k * n + j]!;
    }
  }
  return { rows, sign };
}

/** AX = B。B は n×m。 @throws INVALID_ARGUMENT 特異(`singular` の文面)。 */
function solve(
  a: Float64Array,
  b: ArrayLike<number>,
  out: Float64Array,
  n: number,
  m: number,
  singular = "Input matrix is not invertible.",
): void {
  const { rows, sign } = decompose(a, n);
  if (sign === 0 && n > 0) throw invalidArgument(singular);
  for (let c = 0; c < m; c++) {
    for (let i = 0; i < n; i++) {
      let sum = b[rows[i]! * m + c]!;
      for (let k = 0; k < i; k++) sum -= a[i * n + k]! * out[k * m + c]!;
      out[i * m + c] = sum;
    }
    for (let i = n - 1; i >= 0; i--) {
      let sum = out[i * m + c]!;
      for (let k = i + 1; k < n; k++) sum -= a[i * n + k]! * out[k * m + c]!;
      out[i * m + c] = sum / a[i * n + i]!;
    }
  }
}

function transposed(a: Float64Array, n: number): Float64Array {
  const out = new Float64Array(n * n);
  for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) out[j * n + i] = a[i * n + j]!;
  return out;
}

function identity(n: number): Float64Array {
  const out = new Float64Array(n * n);
  for (let i = 0; i < n; i++) out[i * n + i] = 1;
  return out;
}

/** 2 つの行列の束を、バッチをそろえて 1 組ずつ解く。 */
function eachPair(
  a: Tensor,
  b: Tensor,
  solveOne: (matrix: Float64Array, rhs: Float64Array, out: Float64Array, n: number, m: number) => void,
): Tensor {
  const n = squareSize(a);
  const m = b.shape.at(-1)!;
  const batch = broadcastShapes(a.shape.slice(0, -2), b.shape.slice(0, -2));
  if (b.shape.length < 2 || b.shape.at(-2) !== n || batch === undefined) {
    throw invalidArgument(
      `Input matrix and right-hand side have incompatible shapes: ${formatShape(a.shape)} vs. ${formatShape(b.shape)}`,
    );
  }
  const shape = [...batch, n, m];
  const data = newData(a.dtype, shape);
  const aStrides = broadcastStrides(a.shape.slice(0, -2), batch);
  const bStrides = broadcastStrides(b.shape.slice(0, -2), batch);
  const left = numbersOf(a);
  const right = numbersOf(b);
  const out = new Float64Array(n * m);
  for (let index = 0; index < sizeOf(batch); index++) {
    let rest = index;
    let aAt = 0;
    let bAt = 0;
    for (let d = batch.length - 1; d >= 0; d--) {
      aAt += (rest % batch[d]!) * aStrides[d]!;
      bAt += (rest % batch[d]!) * bStrides[d]!;
      rest = Math.floor(rest / batch[d]!);
    }
    out.fill(0);
    solveOne(
      Float64Array.from(left.subarray(aAt * n * n, (aAt + 1) * n * n)),
      Float64Array.from(right.subarray(bAt * n * m, (bAt + 1) * n * m)),
      out,
      n,
      m,
    );
    (data as Float64Array).set(out, index * n * m);
  }
  roundTo(a.dtype, data);
  return makeTensor(a.dtype, shape, data);
}

function matrixSolve(node: OpNode): HostKernel {
  const adjoint = node.attrs.bool("adjoint");
  return ([a, b]) =>
    eachPair(a!, b!, (matrix, rhs, out, n, m) =>
      solve(adjoint ? transposed(matrix, n) : matrix, rhs, out, n, m),
    );
}

function triangularSolve(node: OpNode): HostKernel {
  const adjoint = node.attrs.bool("adjoint");
  const lower = node.attrs.bool("lower") !== adjoint;
  return ([a, b]) =>
    eachPair(a!, b!, (given, rhs, out, n, m) => {
      const matrix = adjoint ? transposed(given, n) : given;
      for (let i = 0; i < n; i++) {
        if (matrix[i * n + i] === 0) throw invalidArgument("Input matrix is not invertible.");
      }
      for (let c = 0; c < m; c++) {
        for (let step = 0; step < n; step++) {
          const i = lower ? step : n - 1 - step;
          let sum = rhs[i * m + c]!;
          for (let k = lower ? 0 : i + 1; k < (lower ? i : n); k++)
            sum -= matrix[i * n + k]! * out[k * m + c]!;
          out[i * m + c] = sum / matrix[i * n + i]!;
        }
      }
    });
}

function matrixInverse(node: OpNode): HostKernel {
  const adjoint = node.attrs.bool("adjoint");
  return ([x]) => {
    const n = squareSize(x!);
    return eachMatrix(x!, [n, n], (matrix, out) => {
      solve(adjoint ? transposed(matrix, n) : matrix, identity(n), out, n, n, "Input is not invertible.");
    });
  };
}

/** 行列式を (符号, 絶対値の対数) で。 */
function logDeterminant(matrix: Float64Array, n: number): [number, number] {
  const { sign } = decompose(matrix, n);
  let outSign = sign;
  let log = 0;
  for (let i = 0; i < n; i++) {
    const pivot = matrix[i * n + i]!;
    outSign *= Math.sign(pivot);
    log += Math.log(Math.abs(pivot));
  }
  return [outSign, log];
}

const determinant: HostKernel = ([x]) => {
  const n = squareSize(x!);
  return eachMatrix(x!, [], (matrix, out) => {
    const { sign } = decompose(matrix, n);
    let product = sign;
    for (let i = 0; i < n; i++) product *= matrix[i * n + i]!;
    out[0] = product;
  });
};

const logMatrixDeterminant: HostKernel = ([x]) => {
  const n = squareSize(x!);
  const part = (index: 0 | 1) =>
    eachMatrix(x!, [], (matrix, out) => {
      out[0] = logDeterminant(matrix, n)[index];
    });
  return [part(0), part(1)];
};

/** 3 次元ベクトルの外積。 */
const cross: HostKernel = ([a, b]) => {
  if (formatShape(a!.shape) !== formatShape(b!.shape) || a!.shape.at(-1) !== 3) {
    throw invalidArgument(
      `Both inputs must be of same shape and cross-products are only defined for 3-element vectors: ${formatShape(a!.shape)} vs. ${formatShape(b!.shape)}`,
    );
  }
  const [p, q] = [numbersOf(a!), numbersOf(b!)];
  const data = newData(a!.dtype, a!.shape) as Float64Array;
  for (let i = 0; i < p.length; i += 3) {
    data[i] = p[i + 1]! * q[i + 2]! - p[i + 2]! * q[i + 1]!;
    data[i + 1] = p[i + 2]! * q[i]! - p[i]! * q[i + 2]!;
    data[i + 2] = p[i]! * q[i + 1]! - p[i + 1]! * q[i]!;
  }
  roundTo(a!.dtype, data as Tensor["data"]);
  return makeTensor(a!.dtype, a!.shape, data as Tensor["data"]);
};

export const linalgOps: readonly OpRow[] = [
  {
    op: "Cholesky",
    host:
      () =>
      ([x]) => {
        const n = squareSize(x!);
        return eachMatrix(x!, [n, n], (matrix, out) => cholesky(matrix, out, n));
      },
  },
  { op: "MatrixInverse", host: matrixInverse },
  { op: "MatrixDeterminant", host: () => determinant },
  { op: "LogMatrixDeterminant", host: () => logMatrixDeterminant },
  { op: "MatrixSolve", host: matrixSolve },
  { op: "MatrixTriangularSolve", host: triangularSolve },
  { op: "Cross", host: () => cross },
];
