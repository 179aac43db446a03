import { invalidArgument } from "../../base/status.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { bigsOf, isBig, numbersOf } from "./elementwise.ts";
import { formatShape, makeTensor, newData, roundTo } from "./kernel_util.ts";
import {
  eachMatrix,
  eachPair,
  factor,
  identity,
  type Matrix,
  realOnly,
  solve,
  squareSize,
  transposed,
} from "./matrices.ts";
import type { HostKernel, OpNode, OpRow } from "./registry.ts";

/**
 * 小さい行列の線形代数(実数)。中は倍精度の素直な算法で、推論のグラフに現れる大きさを想定する。
 */

/** 下三角の L(LLᵀ = A)。正定値でなければ、下三角を NaN で埋める。 */
function cholesky({ rows: n, data }: Matrix): Float64Array {
  const out = new Float64Array(n * n);
  for (let j = 0; j < n; j++) {
    let diagonal = data[j * n + j]!;
    for (let k = 0; k < j; k++) diagonal -= out[j * n + k]! ** 2;
    if (!(diagonal > 0)) {
      for (let i = 0; i < n; i++) out.fill(Number.NaN, i * n, i * n + i + 1);
      return out;
    }
    const root = Math.sqrt(diagonal);
    out[j * n + j] = root;
    for (let i = j + 1; i < n; i++) {
      let sum = data[i * n + j]!;
      for (let k = 0; k < j; k++) sum -= out[i * n + k]! * out[j * n + k]!;
      out[i * n + j] = sum / root;
    }
  }
  return out;
}

/** 右辺の列の数。 @throws INVALID_ARGUMENT 行の数が合わない。 */
function columnsOf(a: Tensor, b: Tensor): number {
  const n = squareSize(a);
  if (b.shape.length < 2 || b.shape.at(-2) !== n) {
    throw invalidArgument(
      `Input matrix and right-hand side have incompatible shapes: ${formatShape(a.shape)} vs. ${formatShape(b.shape)}`,
    );
  }
  return b.shape.at(-1)!;
}

function matrixSolve(node: OpNode): HostKernel {
  const adjoint = node.attrs.bool("adjoint");
  return ([a, b]) => {
    const shape = [squareSize(a!), columnsOf(a!, b!)];
    return eachPair(a!, b!, shape, (left, right) => solve(adjoint ? transposed(left) : left, right).data);
  };
}

function triangularSolve(node: OpNode): HostKernel {
  const adjoint = node.attrs.bool("adjoint");
  const lower = node.attrs.bool("lower") !== adjoint;
  return ([a, b]) => {
    const shape = [squareSize(a!), columnsOf(a!, b!)];
    return eachPair(a!, b!, shape, (given, rhs) => {
      const { rows: n, data } = adjoint ? transposed(given) : given;
      const m = rhs.columns;
      const out = new Float64Array(n * m);
      for (let i = 0; i < n; i++) {
        if (data[i * n + i] === 0) throw invalidArgument("Input matrix is not invertible.");
      }
      for (let c = 0; c < m; c++) {
        for (let step = 0; step < n; step++) {
          const i = lower ? step : n - 1 - step;
          let sum = rhs.data[i * m + c]!;
          for (let k = lower ? 0 : i + 1; k < (lower ? i : n); k++) sum -= data[i * n + k]! * out[k * m + c]!;
          out[i * m + c] = sum / data[i * n + i]!;
        }
      }
      return out;
    });
  };
}

function matrixInverse(node: OpNode): HostKernel {
  const adjoint = node.attrs.bool("adjoint");
  return ([x]) => {
    const n = squareSize(x!);
    const [out] = eachMatrix(x!, [[n, n]], (one) => [
      solve(adjoint ? transposed(one) : one, identity(n), "Input is not invertible.").data,
    ]);
    return out!;
  };
}

const determinant: HostKernel = ([x]) => {
  const n = squareSize(x!);
  const [out] = eachMatrix(x!, [[]], (one) => {
    let { sign: value } = factor(one);
    for (let i = 0; i < n; i++) value *= one.data[i * n + i]!;
    return [[value]];
  });
  return out!;
};

/** 行列式を (符号, 絶対値の対数) で。 */
const logDeterminant: HostKernel = ([x]) => {
  const n = squareSize(x!);
  return eachMatrix(x!, [[], []], (one) => {
    let { sign } = factor(one);
    let log = 0;
    for (let i = 0; i < n; i++) {
      const pivot = one.data[i * n + i]!;
      sign *= Math.sign(pivot);
      log += Math.log(Math.abs(pivot));
    }
    return [[sign], [log]];
  });
};

/** 3 次元ベクトルの外積。 */
const cross: HostKernel = ([a, b]) => {
  if (formatShape(a!.shape) !== formatShape(b!.shape) || a!.shape.at(-1) !== 3) {
    throw invalidArgument(
      `Both inputs must be of same shape and cross-products are only defined for 3-element vectors: ${formatShape(a!.shape)} vs. ${formatShape(b!.shape)}`,
    );
  }
  const { dtype } = a!;
  // 64 bit 整数でも同じ演算子で書ける(要素の型は 2 つの入力で同じ)。
  const [p, q] = [a!, b!].map((x) => (isBig(dtype) ? bigsOf(x) : numbersOf(x)) as Float64Array);
  const data = newData(dtype, a!.shape) as Float64Array;
  for (let i = 0; i < data.length; i += 3) {
    data[i] = p![i + 1]! * q![i + 2]! - p![i + 2]! * q![i + 1]!;
    data[i + 1] = p![i + 2]! * q![i]! - p![i]! * q![i + 2]!;
    data[i + 2] = p![i]! * q![i + 1]! - p![i + 1]! * q![i]!;
  }
  roundTo(dtype, data as Tensor["data"]);
  return makeTensor(dtype, a!.shape, data as Tensor["data"]);
};

const choleskyKernel: HostKernel = ([x]) => {
  const n = squareSize(x!);
  return eachMatrix(x!, [[n, n]], (one) => [cholesky(one)])[0]!;
};

/** 束を扱う古い名前も同じもの。 */
const named = (op: string, host: (node: OpNode) => HostKernel): OpRow[] => [
  realOnly({ op, host }),
  realOnly({ op: `Batch${op}`, host }),
];

export const linalgOps: readonly OpRow[] = [
  ...named("Cholesky", () => choleskyKernel),
  ...named("MatrixInverse", matrixInverse),
  ...named("MatrixDeterminant", () => determinant),
  realOnly({ op: "LogMatrixDeterminant", host: () => logDeterminant }),
  ...named("MatrixSolve", matrixSolve),
  ...named("MatrixTriangularSolve", triangularSolve),
  { op: "Cross", host: () => cross },
];
