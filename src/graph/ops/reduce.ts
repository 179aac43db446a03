import { invalidArgument } from "../../base/status.ts";
import type { DType } from "../../tensor/dtype.ts";
import { type Shape, sizeOf, type Tensor } from "../../tensor/tensor.ts";
import { type Complex, multiply } from "./complex_math.ts";
import {
  bigMax,
  bigMin,
  bigsOf,
  isBig,
  isComplex,
  isFloating,
  isSmallInt,
  numbersOf,
  unsupported,
} from "./elementwise.ts";
import { formatShape, makeTensor, newData, roundTo, stridesOf, toNumber, toNumbers } from "./kernel_util.ts";
import { highest, lowest } from "./limits.ts";
import type { DeviceRow, HostKernel, OpNode, OpRow } from "./registry.ts";
import { transpose } from "./strided_copy.ts";

/** 集約する軸。重複と範囲外を断る。 */
function readAxes(axes: Tensor, rank: number): boolean[] {
  const reduced = new Array<boolean>(rank).fill(false);
  for (const axis of toNumbers(axes)) {
    if (axis < -rank || axis >= rank) {
      throw invalidArgument(`Invalid reduction dimension (${axis} for input with ${rank} dimension(s)`);
    }
    const at = axis < 0 ? axis + rank : axis;
    if (reduced[at]) {
      throw invalidArgument(`Invalid reduction arguments: Axes contains duplicate dimension: ${at}`);
    }
    reduced[at] = true;
  }
  return reduced;
}

function reducedShape(shape: Shape, reduced: readonly boolean[], keepDims: boolean): number[] {
  return keepDims ? shape.map((dim, i) => (reduced[i] ? 1 : dim)) : shape.filter((_, i) => !reduced[i]);
}

/** 残す軸を外、集約する軸を内にした 2 次元 [外, 内] に並べ直す。すでにそうなら写さない。 */
function toRows(x: Tensor, reduced: readonly boolean[]): { rows: Tensor; outer: number; inner: number } {
  const kept = x.shape.map((_, i) => i).filter((i) => !reduced[i]);
  const gone = x.shape.map((_, i) => i).filter((i) => reduced[i]);
  const perm = [...kept, ...gone];
  const inner = sizeOf(gone.map((i) => x.shape[i]!));
  const outer = sizeOf(kept.map((i) => x.shape[i]!));
  const inOrder = perm.every((axis, i) => axis === i);
  return { rows: inOrder ? x : transpose(x, perm), outer, inner };
}

/** 1 行を 1 値に。初期値から順に畳む。整数は格納で折り返す。 */
interface Reducer {
  /** half と bfloat16 も含む。途中は倍精度で足し、最後に丸める。 */
  readonly real?: { readonly init: number; readonly step: (sum: number, x: number) => number };
  readonly int?: {
    readonly init: (dtype: DType) => number;
    readonly step: (sum: number, x: number) => number;
  };
  readonly big?: {
    readonly init: (dtype: DType) => bigint;
    readonly step: (sum: bigint, x: bigint) => bigint;
  };
  readonly complex?: {
    readonly init: Complex;
    readonly step: (sumRe: number, sumIm: number, re: number, im: number) => Complex;
  };
  readonly finish?: (sum: number, count: number) => number;
  readonly finishBig?: (sum: bigint, count: bigint) => bigint;
}

const zero = () => 0;
const zeroBig = () => 0n;

function addComplex(ar: number, ai: number, br: number, bi: number): Complex {
  return [ar + br, ai + bi];
}

const plus = {
  real: { init: 0, step: (a: number, b: number) => a + b },
  int: { init: zero, step: (a: number, b: number) => a + b },
  big: { init: zeroBig, step: (a: bigint, b: bigint) => a + b },
  complex: { init: [0, 0] as const, step: addComplex },
};

const reducers: Record<string, Reducer> = {
  Sum: { ...plus, int: { init: zero, step: (a, b) => (a + b) | 0 } },
  // 整数の平均は広い型で足し、0 の側へ切り捨てて割る。
  Mean: {
    ...plus,
    finish: (sum, count) => sum / count,
    finishBig: (sum, count) => (count === 0n ? 0n : sum / count),
  },
  Prod: {
    real: { init: 1, step: (a, b) => a * b },
    int: { init: () => 1, step: Math.imul },
    big: { init: () => 1n, step: (a, b) => BigInt.asIntN(64, a * b) },
    complex: { init: [1, 0], step: multiply },
  },
  Max: {
    real: { init: Number.NEGATIVE_INFINITY, step: Math.max },
    int: { init: (dtype) => Number(lowest(dtype)), step: Math.max },
    big: { init: (dtype) => BigInt(lowest(dtype)), step: bigMax },
  },
  Min: {
    real: { init: Number.POSITIVE_INFINITY, step: Math.min },
    int: { init: (dtype) => Number(highest(dtype)), step: Math.min },
    big: { init: (dtype) => BigInt(highest(dtype)), step: bigMin },
  },
  EuclideanNorm: {
    real: { init: 0, step: (a, b) => a + b * b },
    int: { init: zero, step: (a, b) => a + b * b },
    big: { init: zeroBig, step: (a, b) => BigInt.asIntN(64, a + b * b) },
    complex: { init: [0, 0], step: (ar, _, br, bi) => [ar + br * br + bi * bi, 0] },
    finish: (sum) => Math.sqrt(sum),
    finishBig: (sum) => BigInt(Math.trunc(Math.sqrt(Number(sum)))),
  },
};

function foldNumbers(
  data: ArrayLike<number>,
  out: { [i: number]: number },
  outer: number,
  inner: number,
  init: number,
  step: (sum: number, x: number) => number,
  finish: ((sum: number, count: number) => number) | undefined,
): void {
  let at = 0;
  for (let i = 0; i < outer; i++) {
    let sum = init;
    for (const end = at + inner; at < end; at++) sum = step(sum, data[at]!);
    out[i] = finish === undefined ? sum : finish(sum, inner);
  }
}

function foldBigs(
  data: ArrayLike<bigint>,
  out: { [i: number]: bigint },
  outer: number,
  inner: number,
  init: bigint,
  step: (sum: bigint, x: bigint) => bigint,
  finish: ((sum: bigint, count: bigint) => bigint) | undefined,
): void {
  let at = 0;
  for (let i = 0; i < outer; i++) {
    let sum = init;
    for (const end = at + inner; at < end; at++) sum = step(sum, data[at]!);
    out[i] = finish === undefined ? sum : finish(sum, BigInt(inner));
  }
}

function reduce(x: Tensor, reduced: readonly boolean[], keepDims: boolean, reducer: Reducer): Tensor {
  const { dtype } = x;
  const shape = reducedShape(x.shape, reduced, keepDims);
  const { rows, outer, inner } = toRows(x, reduced);
  const data = newData(dtype, shape);
  if (isFloating(dtype) && reducer.real !== undefined) {
    const { init, step } = reducer.real;
    foldNumbers(numbersOf(rows), data as Float64Array, outer, inner, init, step, reducer.finish);
    roundTo(dtype, data);
  } else if (isBig(dtype) && reducer.big !== undefined) {
    const { init, step } = reducer.big;
    foldBigs(bigsOf(rows), data as BigInt64Array, outer, inner, init(dtype), step, reducer.finishBig);
  } else if (isComplex(dtype) && reducer.complex !== undefined) {
    const from = numbersOf(rows);
    const out = data as Float64Array;
    const { finish } = reducer;
    for (let i = 0; i < outer; i++) {
      let [re, im] = reducer.complex.init;
      for (let at = i * inner; at < (i + 1) * inner; at++) {
        [re, im] = reducer.complex.step(re, im, from[at * 2]!, from[at * 2 + 1]!);
      }
      out[i * 2] = finish === undefined ? re : finish(re, inner);
      out[i * 2 + 1] = finish === undefined ? im : finish(im, inner);
    }
  } else if (reducer.int !== undefined && isSmallInt(dtype)) {
    const { init, step } = reducer.int;
    const finish =
      reducer.finish && ((sum: number, count: number) => Math.trunc(reducer.finish!(sum, count)));
    foldNumbers(numbersOf(rows), data as Int32Array, outer, inner, init(dtype), step, finish);
  } else {
    throw unsupported(dtype);
  }
  return makeTensor(dtype, shape, data);
}

/** tfjs の軸の属性名はカーネルごとに違う。 */
const axisAttr: Record<string, string> = {
  Sum: "axis",
  Mean: "axis",
  Prod: "axis",
  Min: "axis",
  Max: "reductionIndices",
};

function reduceDevice(op: string, host: (node: OpNode) => HostKernel): DeviceRow | undefined {
  const attr = axisAttr[op];
  if (attr === undefined) return undefined;
  return {
    hostInputs: [1],
    build: (node) => {
      const keepDims = node.attrs.bool("keep_dims");
      const onHost = host(node);
      return (inputs, device) => {
        const shape = inputs.shape(0);
        const reduced = readAxes(inputs.host(1), shape.length);
        // tfjs は空の軸の列を「全部」と読み、0 要素では書き込まない。
        if (sizeOf(shape) === 0) return onHost([inputs.host(0), inputs.host(1)]) as Tensor;
        const axes = shape.map((_, i) => i).filter((i) => reduced[i]);
        if (axes.length === 0) return device.reshape(inputs.device(0), shape);
        const flat = device.call(op, { x: inputs.device(0) }, { [attr]: axes, keepDims: false });
        return device.reshape(flat, reducedShape(shape, reduced, keepDims));
      };
    },
  };
}

const reduceHost =
  (reducer: Reducer) =>
  (node: OpNode): HostKernel => {
    const keepDims = node.attrs.bool("keep_dims");
    return ([x, axes]) => reduce(x!, readAxes(axes!, x!.shape.length), keepDims, reducer);
  };

const numericReductions: OpRow[] = Object.entries(reducers).map(([op, reducer]) => ({
  op,
  host: reduceHost(reducer),
  device: reduceDevice(op, reduceHost(reducer)),
}));

/** bool の集約。`until` が現れたらその値で決まる。 */
function logicalReduction(op: string, until: 0 | 1): OpRow {
  return {
    op,
    host: (node) => {
      const keepDims = node.attrs.bool("keep_dims");
      return ([x, axes]) => {
        const reduced = readAxes(axes!, x!.shape.length);
        const shape = reducedShape(x!.shape, reduced, keepDims);
        const { rows, outer, inner } = toRows(x!, reduced);
        const out = newData("bool", shape);
        const data = numbersOf(rows);
        for (let i = 0; i < outer; i++) {
          let value = 1 - until;
          for (let j = 0; j < inner && value !== until; j++) value = data[i * inner + j]!;
          out[i] = value;
        }
        return makeTensor("bool", shape, out);
      };
    },
  };
}

function axisOf(given: number, rank: number, message: (low: number, high: number) => string): number {
  if (given < -rank || given >= rank) throw invalidArgument(message(-rank, rank));
  return given < 0 ? given + rank : given;
}

/** 最大または最小の位置。同じ値なら小さい番号、NaN は選ばれない。 */
function argReduction(op: string, sign: 1 | -1): OpRow {
  return {
    op,
    host: (node) => {
      const to = node.attrs.dtype("output_type") ?? "int64";
      return ([x, axisTensor]) => {
        const given = toNumber(axisTensor!);
        const axis = axisOf(
          given,
          x!.shape.length,
          (low, high) => `Expected dimension in the range [${low}, ${high}), but got ${given}`,
        );
        const size = x!.shape[axis]!;
        if (size === 0) {
          throw invalidArgument(`Reduction axis ${axis} is empty in shape ${formatShape(x!.shape)}`);
        }
        const shape = x!.shape.filter((_, i) => i !== axis);
        const inner = stridesOf(x!.shape)[axis]!;
        const data = newData(to, shape);
        const set = isBig(to)
          ? (i: number, v: number) => {
              (data as BigInt64Array)[i] = BigInt(v);
            }
          : (i: number, v: number) => {
              (data as Int32Array)[i] = v;
            };
        const from = x!.data as ArrayLike<number>;
        for (let i = 0; i < sizeOf(shape); i++) {
          const start = Math.floor(i / inner) * size * inner + (i % inner);
          let best = 0;
          let value = from[start]!;
          for (let k = 1; k < size; k++) {
            const candidate = from[start + k * inner]!;
            const better = sign === 1 ? candidate > value : candidate < value;
            // 先頭が NaN のときだけ、後から来た数に譲る。
            if (better || (Number.isNaN(value) && !Number.isNaN(candidate))) {
              best = k;
              value = candidate;
            }
          }
          set(i, best);
        }
        return makeTensor(to, shape, data);
      };
    },
  };
}

interface Scan {
  readonly init: number;
  readonly initBig: bigint;
  readonly step: (sum: number, x: number) => number;
  readonly stepInt: (sum: number, x: number) => number;
  readonly stepBig?: (sum: bigint, x: bigint) => bigint;
  readonly stepComplex?: (sumRe: number, sumIm: number, re: number, im: number) => Complex;
}

const scans: Record<string, Scan> = {
  Cumsum: {
    init: 0,
    initBig: 0n,
    step: (a, b) => a + b,
    stepInt: (a, b) => (a + b) | 0,
    stepBig: (a, b) => a + b,
    stepComplex: addComplex,
  },
  Cumprod: {
    init: 1,
    initBig: 1n,
    step: (a, b) => a * b,
    stepInt: Math.imul,
    stepBig: (a, b) => BigInt.asIntN(64, a * b),
    stepComplex: multiply,
  },
  CumulativeLogsumexp: {
    init: Number.NEGATIVE_INFINITY,
    initBig: 0n,
    step: (a, b) => {
      const high = Math.max(a, b);
      return high === Number.NEGATIVE_INFINITY ? high : high + Math.log1p(Math.exp(Math.min(a, b) - high));
    },
    stepInt: () => {
      throw unsupported("int32");
    },
  },
};

/** 軸に沿った累積。 */
function scan(x: Tensor, axis: number, exclusive: boolean, reverse: boolean, rule: Scan): Tensor {
  const { dtype, shape } = x;
  const size = shape[axis]!;
  const inner = stridesOf(shape)[axis]!;
  const lines = size === 0 ? 0 : sizeOf(shape) / size;
  const data = newData(dtype, shape);
  const walk = <T>(from: ArrayLike<T>, out: { [i: number]: T }, init: T, step: (sum: T, value: T) => T) => {
    for (let line = 0; line < lines; line++) {
      const base = Math.floor(line / inner) * size * inner + (line % inner);
      let sum = init;
      for (let k = 0; k < size; k++) {
        const at = base + (reverse ? size - 1 - k : k) * inner;
        const next = step(sum, from[at]!);
        out[at] = exclusive ? sum : next;
        sum = next;
      }
    }
  };
  if (isBig(dtype)) {
    if (rule.stepBig === undefined) throw unsupported(dtype);
    walk(bigsOf(x) as ArrayLike<bigint>, data as BigInt64Array, rule.initBig, rule.stepBig);
  } else if (isComplex(dtype)) {
    const { stepComplex } = rule;
    if (stepComplex === undefined) throw unsupported(dtype);
    const [from, out] = [numbersOf(x), data as Float64Array];
    // 組にして同じ歩き方をする。
    const pairs = Array.from(
      { length: from.length / 2 },
      (_, i): Complex => [from[i * 2]!, from[i * 2 + 1]!],
    );
    const sums = new Array<Complex>(pairs.length);
    walk(pairs, sums, [rule.init, 0], (sum, value) => stepComplex(...sum, ...value));
    for (const [i, [re, im]] of sums.entries()) {
      out[i * 2] = re;
      out[i * 2 + 1] = im;
    }
  } else {
    const step = isFloating(dtype) ? rule.step : rule.stepInt;
    walk(numbersOf(x) as ArrayLike<number>, data as Float64Array, rule.init, step);
    roundTo(dtype, data);
  }
  return makeTensor(dtype, shape, data);
}

const scanRows: OpRow[] = Object.entries(scans).map(([op, rule]) => ({
  op,
  host: (node) => {
    const exclusive = node.attrs.bool("exclusive");
    const reverse = node.attrs.bool("reverse");
    return ([x, axisTensor]) => {
      const given = toNumber(axisTensor!);
      if (x!.shape.length === 0) return x!;
      const axis = axisOf(
        given,
        x!.shape.length,
        (low, high) => `ScanOp: Expected scan axis in the range [${low}, ${high}), but got ${given}`,
      );
      return scan(x!, axis, exclusive, reverse, rule);
    };
  },
}));

/** 2 乗和の半分。 */
const l2Loss: OpRow = {
  op: "L2Loss",
  host:
    () =>
    ([x]) => {
      let sum = 0;
      for (const value of numbersOf(x!)) sum += value * value;
      const data = newData(x!.dtype, []);
      data[0] = sum / 2;
      roundTo(x!.dtype, data);
      return makeTensor(x!.dtype, [], data);
    },
};

export const reduceOps: readonly OpRow[] = [
  ...numericReductions,
  logicalReduction("All", 0),
  logicalReduction("Any", 1),
  argReduction("ArgMax", 1),
  argReduction("ArgMin", -1),
  ...scanRows,
  l2Loss,
];
