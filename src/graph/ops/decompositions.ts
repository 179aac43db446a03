import { invalidArgument } from "../../base/status.ts";
import { sizeOf, type Tensor } from "../../tensor/tensor.ts";
import { isBig, numbersOf } from "./elementwise.ts";
import { formatShape, makeTensor, newData, toNumber } from "./kernel_util.ts";
import {
  combine,
  eachMatrix,
  eachPair,
  factor,
  identity,
  type Matrix,
  matrix,
  product,
  realOnly,
  solve,
  squareSize,
  transposed,
} from "./matrices.ts";
import type { HostKernel, OpNode, OpRow } from "./registry.ts";

/** Householder 鏡映を左から掛ける。`tail` は 1 の後に続く成分。 */
function reflect(target: Matrix, from: number, tail: Float64Array, tau: number): void {
  const { columns, data } = target;
  for (let j = 0; j < columns; j++) {
    let sum = data[from * columns + j]!;
    for (let i = 0; i < tail.length; i++) sum += tail[i]! * data[(from + 1 + i) * columns + j]!;
    sum *= tau;
    data[from * columns + j]! -= sum;
    for (let i = 0; i < tail.length; i++) data[(from + 1 + i) * columns + j]! -= sum * tail[i]!;
  }
}

/** A = QR。R の対角の符号は、列の先頭の逆(Eigen と同じ)。 */
function qr(a: Matrix): { q: Matrix; r: Matrix } {
  const { rows: m, columns: n } = a;
  const r = matrix(m, n, a.data.slice());
  const reflections: { tail: Float64Array; tau: number }[] = [];
  for (let k = 0; k < Math.min(m, n); k++) {
    const head = r.data[k * n + k]!;
    const tail = Float64Array.from({ length: m - k - 1 }, (_, i) => r.data[(k + 1 + i) * n + k]!);
    const squares = tail.reduce((sum, value) => sum + value * value, 0);
    if (squares === 0) {
      reflections.push({ tail: new Float64Array(tail.length), tau: 0 });
      continue;
    }
    const norm = Math.sqrt(head * head + squares);
    const beta = head >= 0 ? -norm : norm;
    const scaled = tail.map((value) => value / (head - beta));
    const tau = (beta - head) / beta;
    reflections.push({ tail: scaled, tau });
    reflect(r, k, scaled, tau);
    for (let i = k + 1; i < m; i++) r.data[i * n + k] = 0;
  }
  const q = identity(m);
  for (let k = reflections.length - 1; k >= 0; k--) reflect(q, k, reflections[k]!.tail, reflections[k]!.tau);
  return { q, r };
}

const columnsUpTo = ({ rows, columns, data }: Matrix, count: number): Float64Array =>
  Float64Array.from({ length: rows * count }, (_, i) => data[Math.floor(i / count) * columns + (i % count)]!);

const qrKernel = (node: OpNode): HostKernel => {
  const isFull = node.attrs.bool("full_matrices");
  return ([x]) => {
    const [m, n] = x!.shape.slice(-2) as [number, number];
    const p = isFull ? m : Math.min(m, n);
    return eachMatrix(
      x!,
      [
        [m, p],
        [p, n],
      ],
      (one) => {
        const { q, r } = qr(one);
        return [columnsUpTo(q, p), r.data.subarray(0, p * n)];
      },
    );
  };
};

/** 足りない列を、これまでの列に直交する単位ベクトルで埋める。 */
function completeBasis({ rows, columns, data }: Matrix, from: number): void {
  const column = (j: number, i: number) => data[i * columns + j]!;
  for (let j = from; j < columns; j++) {
    for (let seed = 0; seed < rows; seed++) {
      const vector = new Float64Array(rows);
      vector[seed] = 1;
      // 2 度引けば、直交が丸めの誤差まで保たれる。
      for (let pass = 0; pass < 2; pass++) {
        for (let k = 0; k < j; k++) {
          let dot = 0;
          for (let i = 0; i < rows; i++) dot += column(k, i) * vector[i]!;
          for (let i = 0; i < rows; i++) vector[i]! -= dot * column(k, i);
        }
      }
      const norm = Math.hypot(...vector);
      if (norm < 0.1 / Math.sqrt(rows)) continue;
      for (let i = 0; i < rows; i++) data[i * columns + j] = vector[i]! / norm;
      break;
    }
  }
}

const MAX_SWEEPS = 60;

interface Svd {
  readonly s: Float64Array;
  readonly u: Matrix;
  readonly v: Matrix;
}

/** 片側 Jacobi 法。行が列より多いか等しい行列だけ。 */
function tallSvd(a: Matrix): Svd {
  const { rows: m, columns: n } = a;
  const w = matrix(m, n, a.data.slice());
  const v = identity(n);
  const rotate = (target: Matrix, p: number, q: number, c: number, s: number) => {
    for (let i = 0; i < target.rows; i++) {
      const [x, y] = [target.data[i * n + p]!, target.data[i * n + q]!];
      target.data[i * n + p] = c * x - s * y;
      target.data[i * n + q] = s * x + c * y;
    }
  };
  for (let sweep = 0; sweep < MAX_SWEEPS; sweep++) {
    let isDone = true;
    for (let p = 0; p < n; p++) {
      for (let q = p + 1; q < n; q++) {
        let [alpha, beta, gamma] = [0, 0, 0];
        for (let i = 0; i < m; i++) {
          const [x, y] = [w.data[i * n + p]!, w.data[i * n + q]!];
          alpha += x * x;
          beta += y * y;
          gamma += x * y;
        }
        if (!(Math.abs(gamma) > 1e-15 * Math.sqrt(alpha * beta))) continue;
        isDone = false;
        const zeta = (beta - alpha) / (2 * gamma);
        const t = (zeta >= 0 ? 1 : -1) / (Math.abs(zeta) + Math.sqrt(1 + zeta * zeta));
        const c = 1 / Math.sqrt(1 + t * t);
        rotate(w, p, q, c, c * t);
        rotate(v, p, q, c, c * t);
      }
    }
    if (isDone) break;
  }
  const norms = Float64Array.from({ length: n }, (_, j) => {
    let sum = 0;
    for (let i = 0; i < m; i++) sum += w.data[i * n + j]! ** 2;
    return Math.sqrt(sum);
  });
  const order = Array.from(norms.keys()).sort((i, j) => norms[j]! - norms[i]!);
  const s = Float64Array.from(order, (j) => norms[j]!);
  const u = matrix(m, n);
  const sorted = matrix(n, n);
  let rank = 0;
  for (const [k, j] of order.entries()) {
    if (s[k]! > 0) rank = k + 1;
    for (let i = 0; i < m; i++) u.data[i * n + k] = s[k]! > 0 ? w.data[i * n + j]! / s[k]! : 0;
    for (let i = 0; i < n; i++) sorted.data[i * n + k] = v.data[i * n + j]!;
  }
  completeBasis(u, rank);
  return { s, u, v: sorted };
}

function svd(a: Matrix): Svd {
  if (a.rows >= a.columns) return tallSvd(a);
  const { s, u, v } = tallSvd(transposed(a));
  return { s, u: v, v: u };
}

/** 正方になるまで、直交する列を足す。 */
function squared(q: Matrix): Matrix {
  const out = matrix(q.rows, q.rows);
  for (let i = 0; i < q.rows; i++) {
    for (let j = 0; j < q.columns; j++) out.data[i * q.rows + j] = q.data[i * q.columns + j]!;
  }
  completeBasis(out, q.columns);
  return out;
}

const svdKernel = (node: OpNode): HostKernel => {
  const isFull = node.attrs.bool("full_matrices");
  const computesVectors = node.attrs.bool("compute_uv");
  return ([x]) => {
    const [m, n] = x!.shape.slice(-2) as [number, number];
    const p = Math.min(m, n);
    if (!computesVectors) {
      const [s] = eachMatrix(x!, [[p]], (one) => [svd(one).s]);
      const none = makeTensor(x!.dtype, [], newData(x!.dtype, []));
      return [s!, none, none];
    }
    const shapes = isFull ? [[p], [m, m], [n, n]] : [[p], [m, p], [n, p]];
    return eachMatrix(x!, shapes, (one) => {
      const { s, u, v } = svd(one);
      return isFull ? [s, squared(u).data, squared(v).data] : [s, u.data, v.data];
    });
  };
};

/** 対称行列の固有値(昇順)と固有ベクトル(列)。下三角だけを見る。Jacobi 法。 */
function symmetricEigen({ rows: n, data }: Matrix): { values: Float64Array; vectors: Matrix } {
  const a = matrix(n, n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) a.data[i * n + j] = a.data[j * n + i] = data[i * n + j]!;
  }
  const v = identity(n);
  for (let sweep = 0; sweep < MAX_SWEEPS; sweep++) {
    let off = 0;
    let total = 0;
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) {
        const square = a.data[i * n + j]! ** 2;
        total += square;
        if (i !== j) off += square;
      }
    }
    if (!(off > total * 1e-32)) break;
    for (let p = 0; p < n; p++) {
      for (let q = p + 1; q < n; q++) {
        const apq = a.data[p * n + q]!;
        if (apq === 0) continue;
        const theta = (a.data[q * n + q]! - a.data[p * n + p]!) / (2 * apq);
        const t = (theta >= 0 ? 1 : -1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
        const c = 1 / Math.sqrt(t * t + 1);
        const s = t * c;
        for (let i = 0; i < n; i++) {
          const [x, y] = [a.data[i * n + p]!, a.data[i * n + q]!];
          a.data[i * n + p] = c * x - s * y;
          a.data[i * n + q] = s * x + c * y;
        }
        for (let i = 0; i < n; i++) {
          const [x, y] = [a.data[p * n + i]!, a.data[q * n + i]!];
          a.data[p * n + i] = c * x - s * y;
          a.data[q * n + i] = s * x + c * y;
        }
        for (let i = 0; i < n; i++) {
          const [x, y] = [v.data[i * n + p]!, v.data[i * n + q]!];
          v.data[i * n + p] = c * x - s * y;
          v.data[i * n + q] = s * x + c * y;
        }
      }
    }
  }
  const order = Array.from({ length: n }, (_, i) => i).sort(
    (i, j) => a.data[i * n + i]! - a.data[j * n + j]!,
  );
  const vectors = matrix(n, n);
  for (const [k, j] of order.entries()) {
    for (let i = 0; i < n; i++) vectors.data[i * n + k] = v.data[i * n + j]!;
  }
  return { values: Float64Array.from(order, (i) => a.data[i * n + i]!), vectors };
}

const selfAdjointEig = (node: OpNode): HostKernel => {
  const computesVectors = node.attrs.bool("compute_v");
  return ([x]) => {
    const n = squareSize(x!);
    if (computesVectors) {
      return eachMatrix(x!, [[n], [n, n]], (one) => {
        const { values, vectors } = symmetricEigen(one);
        return [values, vectors.data];
      });
    }
    const [values] = eachMatrix(x!, [[n]], (one) => [symmetricEigen(one).values]);
    return [values!, makeTensor(x!.dtype, [], newData(x!.dtype, []))];
  };
};

/** 古い形: 最初の行が固有値、続く行が固有ベクトル。 */
const selfAdjointEigV1: HostKernel = ([x]) => {
  const n = squareSize(x!);
  const [out] = eachMatrix(x!, [[n + 1, n]], (one) => {
    const { values, vectors } = symmetricEigen(one);
    return [[...values, ...vectors.data]];
  });
  return out!;
};

const lu = (node: OpNode): HostKernel => {
  const dtype = node.attrs.dtype("output_idx_type") ?? "int32";
  return ([x]) => {
    const n = squareSize(x!);
    const orders: number[] = [];
    const [out] = eachMatrix(x!, [[n, n]], (one) => {
      const { order, sign } = factor(one);
      if (sign === 0) throw invalidArgument("Input is not invertible.");
      orders.push(...order);
      return [one.data];
    });
    const shape = x!.shape.slice(0, -1);
    const data = newData(dtype, shape);
    for (const [i, row] of orders.entries()) data[i] = isBig(dtype) ? BigInt(row) : row;
    return [out!, makeTensor(dtype, shape, data)];
  };
};

/** Padé 近似と、二乗の繰り返し。 */
function exponential(a: Matrix): Matrix {
  const n = a.rows;
  const norm = Math.max(
    0,
    ...Array.from({ length: n }, (_, i) =>
      a.data.subarray(i * n, (i + 1) * n).reduce((sum, x) => sum + Math.abs(x), 0),
    ),
  );
  const squarings = Math.max(0, Math.ceil(Math.log2(Math.max(norm, 1e-300))) + 1);
  const scaled = matrix(
    n,
    n,
    a.data.map((x) => x / 2 ** squarings),
  );
  const degree = 8;
  let power = identity(n);
  let [numerator, denominator] = [identity(n), identity(n)];
  let coefficient = 1;
  for (let k = 1; k <= degree; k++) {
    coefficient *= (degree - k + 1) / (k * (2 * degree - k + 1));
    power = product(power, scaled);
    numerator = combine(numerator, 1, power, coefficient);
    denominator = combine(denominator, 1, power, k % 2 === 0 ? coefficient : -coefficient);
  }
  let out = solve(denominator, numerator);
  for (let i = 0; i < squarings; i++) out = product(out, out);
  return out;
}

/** 主平方根。Denman–Beavers の反復。 */
function squareRoot(a: Matrix): Matrix {
  const n = a.rows;
  let y = matrix(n, n, a.data.slice());
  let z = identity(n);
  for (let step = 0; step < 100; step++) {
    const inverseZ = solve(matrix(n, n, z.data.slice()), identity(n));
    const inverseY = solve(matrix(n, n, y.data.slice()), identity(n));
    const next = combine(y, 0.5, inverseZ, 0.5);
    z = combine(z, 0.5, inverseY, 0.5);
    const change = next.data.reduce((most, value, i) => Math.max(most, Math.abs(value - y.data[i]!)), 0);
    const size = next.data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    y = next;
    if (!(change > 1e-14 * size)) break;
  }
  return y;
}

const function1 =
  (compute: (one: Matrix) => Matrix): HostKernel =>
  ([x]) => {
    const n = squareSize(x!);
    return eachMatrix(x!, [[n, n]], (one) => [compute(one).data])[0]!;
  };

/** 最小二乗。速いほうは正規方程式、そうでなければ特異値分解による最小ノルムの解。 */
const solveLs = (node: OpNode): HostKernel => {
  const isFast = node.attrs.bool("fast");
  return ([a, b, regularizer]) => {
    const [m, n] = a!.shape.slice(-2) as [number, number];
    if (b!.shape.at(-2) !== m) {
      throw invalidArgument(
        `Input matrix and right-hand side must have the same number of rows, got ${m} != ${b!.shape.at(-2)}`,
      );
    }
    const lambda = toNumber(regularizer!);
    return eachPair(a!, b!, [n, b!.shape.at(-1)!], (left, right) => {
      const turned = transposed(left);
      if (!isFast) return pseudoSolve(left, right).data;
      const inner = m >= n ? product(turned, left) : product(left, turned);
      for (let i = 0; i < inner.rows; i++) inner.data[i * inner.rows + i]! += lambda;
      const failed =
        "Input matrix was rank deficient or ill-conditioned. Try setting fast=False or provide a larger l2_regularizer > 0.";
      if (m >= n) return solve(inner, product(turned, right), failed).data;
      return product(turned, solve(inner, right, failed)).data;
    });
  };
};

function pseudoSolve(a: Matrix, b: Matrix): Matrix {
  const { s, u, v } = svd(a);
  const rotated = product(transposed(u), b);
  const limit = s[0]! * Math.max(a.rows, a.columns) * 2.2e-16;
  for (let k = 0; k < s.length; k++) {
    for (let j = 0; j < b.columns; j++) {
      rotated.data[k * b.columns + j] = s[k]! > limit ? rotated.data[k * b.columns + j]! / s[k]! : 0;
    }
  }
  return product(v, rotated);
}

/** 三重対角の連立。対角は [上, 中, 下] の 3 行で、上は右下、下は左上の端を使わない。 */
const tridiagonalSolve = (node: OpNode): HostKernel => {
  const pivots = node.attrs.bool("partial_pivoting");
  return ([diagonals, rhs]) => {
    const m = diagonals!.shape.at(-1)!;
    if (diagonals!.shape.at(-2) !== 3) {
      throw invalidArgument(`Expected 3 diagonals got ${diagonals!.shape.at(-2)}`);
    }
    if (rhs!.shape.at(-2) !== m) {
      throw invalidArgument(
        `The length of diagonals and the number of rows of right-hand sides must match, got ${m} and ${rhs!.shape.at(-2)}`,
      );
    }
    const k = rhs!.shape.at(-1)!;
    return eachPair(diagonals!, rhs!, [m, k], ({ data }, right) => {
      // 軸選択で 2 本目の上の対角が埋まる。
      const upper = data.slice(0, m);
      const main = data.slice(m, 2 * m);
      const lower = data.slice(2 * m, 3 * m);
      const second = new Float64Array(m);
      const x = right.data;
      const fail = () => invalidArgument("The first element of diagonal is zero.");
      for (let i = 0; i + 1 < m; i++) {
        if (pivots && Math.abs(lower[i + 1]!) > Math.abs(main[i]!)) {
          [main[i], lower[i + 1]] = [lower[i + 1]!, main[i]!];
          [upper[i], main[i + 1]] = [main[i + 1]!, upper[i]!];
          second[i] = i + 2 < m ? upper[i + 1]! : 0;
          if (i + 2 < m) upper[i + 1] = 0;
          for (let j = 0; j < k; j++) {
            [x[i * k + j], x[(i + 1) * k + j]] = [x[(i + 1) * k + j]!, x[i * k + j]!];
          }
        }
        if (main[i] === 0) throw fail();
        const ratio = lower[i + 1]! / main[i]!;
        main[i + 1]! -= ratio * upper[i]!;
        if (i + 2 < m) upper[i + 1]! -= ratio * second[i]!;
        for (let j = 0; j < k; j++) x[(i + 1) * k + j]! -= ratio * x[i * k + j]!;
      }
      if (m > 0 && main[m - 1] === 0) throw fail();
      for (let i = m - 1; i >= 0; i--) {
        for (let j = 0; j < k; j++) {
          let sum = x[i * k + j]!;
          if (i + 1 < m) sum -= upper[i]! * x[(i + 1) * k + j]!;
          if (i + 2 < m) sum -= second[i]! * x[(i + 2) * k + j]!;
          x[i * k + j] = sum / main[i]!;
        }
      }
      return x;
    });
  };
};

const tridiagonalMatMul: HostKernel = ([upper, main, lower, rhs]) => {
  const [m, k] = rhs!.shape.slice(-2) as [number, number];
  const batch = rhs!.shape.slice(0, -2);
  const [u, d, l, x] = [upper!, main!, lower!, rhs!].map(numbersOf);
  for (const one of [upper!, main!, lower!]) {
    if (formatShape(one.shape) !== formatShape([...batch, 1, m])) {
      throw invalidArgument(
        `diagonals must have shape ${formatShape([...batch, 1, m])}, got ${formatShape(one.shape)}`,
      );
    }
  }
  const data = newData(rhs!.dtype, rhs!.shape) as Float64Array;
  for (let b = 0; b < sizeOf(batch); b++) {
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < k; j++) {
        const at = (b * m + i) * k + j;
        let sum = d![b * m + i]! * x![at]!;
        if (i + 1 < m) sum += u![b * m + i]! * x![at + k]!;
        if (i > 0) sum += l![b * m + i]! * x![at - k]!;
        data[at] = sum;
      }
    }
  }
  return makeTensor(rhs!.dtype, rhs!.shape, data as Tensor["data"]);
};

/** 帯の三角行列の連立。`lower` なら最初の行が対角、そうでなければ最後の行が対角。 */
const bandedSolve = (node: OpNode): HostKernel => {
  const adjoint = node.attrs.bool("adjoint");
  const isLower = node.attrs.bool("lower");
  return ([bands, rhs]) => {
    const [count, m] = bands!.shape.slice(-2) as [number, number];
    if (rhs!.shape.at(-2) !== m) {
      throw invalidArgument(
        `Input matrix and right-hand side have incompatible shapes: ${formatShape(bands!.shape)} vs. ${formatShape(rhs!.shape)}`,
      );
    }
    const k = rhs!.shape.at(-1)!;
    return eachPair(bands!, rhs!, [m, k], ({ data }, right) => {
      const at = (i: number, j: number): number => {
        const away = isLower ? i - j : j - i;
        if (away < 0 || away >= count) return 0;
        return isLower ? data[away * m + i]! : data[(count - 1 - away) * m + i]!;
      };
      const entry = adjoint ? (i: number, j: number) => at(j, i) : at;
      const goesDown = isLower !== adjoint;
      const x = right.data;
      for (let step = 0; step < m; step++) {
        const i = goesDown ? step : m - 1 - step;
        if (entry(i, i) === 0) throw invalidArgument("Input matrix is not invertible.");
        for (let j = 0; j < k; j++) {
          let sum = x[i * k + j]!;
          for (let away = 1; away < count; away++) {
            const other = goesDown ? i - away : i + away;
            if (other >= 0 && other < m) sum -= entry(i, other) * x[other * k + j]!;
          }
          x[i * k + j] = sum / entry(i, i);
        }
      }
      return x;
    });
  };
};

/** 行列の分解と、それを使う演算(実数)。固有ベクトルと特異ベクトルの符号は、TF と違うことがある。 */
export const decompositionsOps: readonly OpRow[] = (
  [
    { op: "Qr", host: qrKernel },
    { op: "Svd", host: svdKernel },
    { op: "BatchSvd", host: svdKernel },
    { op: "SelfAdjointEigV2", host: selfAdjointEig },
    { op: "BatchSelfAdjointEigV2", host: selfAdjointEig },
    { op: "SelfAdjointEig", host: () => selfAdjointEigV1 },
    { op: "BatchSelfAdjointEig", host: () => selfAdjointEigV1 },
    { op: "Lu", host: lu },
    { op: "MatrixExponential", host: () => function1(exponential) },
    { op: "MatrixSquareRoot", host: () => function1(squareRoot) },
    { op: "MatrixSolveLs", host: solveLs },
    { op: "BatchMatrixSolveLs", host: solveLs },
    { op: "TridiagonalSolve", host: tridiagonalSolve },
    { op: "TridiagonalMatMul", host: () => tridiagonalMatMul },
    { op: "BandedTriangularSolve", host: bandedSolve },
  ] satisfies OpRow[]
).map(realOnly);
