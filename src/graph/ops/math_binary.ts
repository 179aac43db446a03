import { invalidArgument } from "../../base/status.ts";
import type { DType } from "../../tensor/dtype.ts";
import type { Shape, Tensor } from "../../tensor/tensor.ts";
import type { Device, DeviceTensor } from "../value.ts";
import * as complex from "./complex_math.ts";
import {
  bigMax,
  bigMin,
  broadcastPair,
  isBig,
  isComplex,
  isFloating,
  isSmallInt,
  rounderOf,
  unsupported,
  zipBigs,
  zipComplex,
  zipNumbers,
  zipStrings,
} from "./elementwise.ts";
import { broadcastShapes, formatShape, makeTensor, newData } from "./kernel_util.ts";
import type { DeviceRow, HostKernel, OpRow } from "./registry.ts";
import { igamma, igammac, nextAfter } from "./special_functions.ts";

/**
 * 2 項の演算。型の種類ごとに規則を持つ。
 * 32 bit 以下の整数は number で計算し、型付き配列への格納で 2 の補数に折り返す(桁が 53 bit を超えるものは imul)。
 * 64 bit は bigint で計算し、格納で折り返す。
 */
interface BinaryRules {
  /** float, double, half, bfloat16。`round` は途中の値をその精度に丸める。 */
  readonly real?: (round: (x: number) => number, dtype: DType) => (a: number, b: number) => number;
  /** 32 bit 以下の整数。 */
  readonly int?: (a: number, b: number) => number;
  readonly big?: (a: bigint, b: bigint) => bigint;
  readonly complex?: (ar: number, ai: number, br: number, bi: number) => complex.Complex;
  readonly string?: (a: Uint8Array, b: Uint8Array) => Uint8Array;
  readonly bool?: (a: number, b: number) => number;
}

const divideByZero = () => invalidArgument("Integer division by zero");

function nonZero<T extends number | bigint>(rule: (a: T, b: T) => T): (a: T, b: T) => T {
  return (a, b) => {
    if (!b) throw divideByZero();
    return rule(a, b);
  };
}

function floorMod(a: number, b: number): number {
  const rest = a % b;
  return rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest;
}

function floorDivBig(a: bigint, b: bigint): bigint {
  const quotient = a / b;
  return a % b !== 0n && a < 0n !== b < 0n ? quotient - 1n : quotient;
}

function floorModBig(a: bigint, b: bigint): bigint {
  const rest = a % b;
  return rest !== 0n && rest < 0n !== b < 0n ? rest + b : rest;
}

const negativePower = () => invalidArgument("Integers to negative integer powers are not allowed");

function powInt(base: number, exponent: number): number {
  if (exponent < 0) throw negativePower();
  let result = 1;
  let square = base;
  for (let rest = exponent; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) result = Math.imul(result, square);
    square = Math.imul(square, square);
  }
  return result;
}

function powBig(base: bigint, exponent: bigint): bigint {
  if (exponent < 0n) throw negativePower();
  let result = 1n;
  let square = base;
  // 結果は 64 bit に折り返すので、途中も 64 bit に保てば桁は爆発しない。
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = BigInt.asIntN(64, result * square);
    square = BigInt.asIntN(64, square * square);
  }
  return result;
}

function concatBytes(a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = new Uint8Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}

const add: BinaryRules = {
  real: () => (a, b) => a + b,
  int: (a, b) => a + b,
  big: (a, b) => a + b,
  complex: (ar, ai, br, bi) => [ar + br, ai + bi],
  string: concatBytes,
};

const truncateMod: BinaryRules = {
  real: () => (a, b) => a % b,
  int: nonZero((a, b) => a % b),
  big: nonZero((a, b) => a % b),
};

const truncateDiv: BinaryRules = {
  real: (round) => (a, b) => Math.trunc(round(a / b)),
  int: nonZero((a, b) => Math.trunc(a / b)),
  big: nonZero((a, b) => a / b),
};

const realDiv: BinaryRules = { real: () => (a, b) => a / b, complex: complex.divide };

/** 片方が 0 なら、もう片方が何であっても 0。 */
const zeroWhen =
  (
    isZero: (ar: number, ai: number, br: number, bi: number) => boolean,
    rule: NonNullable<BinaryRules["complex"]>,
  ): NonNullable<BinaryRules["complex"]> =>
  (ar, ai, br, bi) =>
    isZero(ar, ai, br, bi) ? [0, 0] : rule(ar, ai, br, bi);
const leftZero = (ar: number, ai: number) => ar === 0 && ai === 0;
const rightZero = (_ar: number, _ai: number, br: number, bi: number) => br === 0 && bi === 0;

const shift = (bits: number, limit: number): number => Math.max(0, Math.min(bits, limit - 1));

/** 入力と同じ型を返すもの。 */
const arithmetic: Record<string, BinaryRules> = {
  Add: add,
  AddV2: add,
  Sub: {
    real: () => (a, b) => a - b,
    int: (a, b) => a - b,
    big: (a, b) => a - b,
    complex: (ar, ai, br, bi) => [ar - br, ai - bi],
  },
  Mul: {
    real: () => (a, b) => a * b,
    int: Math.imul,
    big: (a, b) => a * b,
    complex: complex.multiply,
  },
  Div: { ...truncateDiv, real: () => (a, b) => a / b, complex: complex.divide },
  RealDiv: realDiv,
  DivNoNan: {
    real: () => (a, b) => (b === 0 ? 0 : a / b),
    complex: zeroWhen(rightZero, complex.divide),
  },
  MulNoNan: {
    real: () => (a, b) => (b === 0 ? 0 : a * b),
    complex: zeroWhen(rightZero, complex.multiply),
  },
  TruncateDiv: truncateDiv,
  FloorDiv: {
    real: (round) => (a, b) => Math.floor(round(a / b)),
    int: nonZero((a, b) => Math.floor(a / b)),
    big: nonZero(floorDivBig),
  },
  FloorMod: { real: () => floorMod, int: nonZero(floorMod), big: nonZero(floorModBig) },
  TruncateMod: truncateMod,
  Mod: truncateMod,
  Maximum: { real: () => Math.max, int: Math.max, big: bigMax },
  Minimum: { real: () => Math.min, int: Math.min, big: bigMin },
  // JavaScript は 1 ** NaN と (−1) ** ±∞ を NaN にするが、C では 1。
  Pow: {
    real: () => (a, b) => (a === 1 || (a === -1 && Math.abs(b) === Infinity) ? 1 : a ** b),
    int: powInt,
    big: powBig,
    complex: complex.pow,
  },
  SquaredDifference: {
    real: (round) => (a, b) => {
      const difference = round(a - b);
      return difference * difference;
    },
    int: (a, b) => Math.imul(a - b, a - b),
    big: (a, b) => (a - b) * (a - b),
    // TF は (a − b)·conj(a − b)。
    complex: (ar, ai, br, bi) => [(ar - br) ** 2 + (ai - bi) ** 2, 0],
  },
  Atan2: { real: () => Math.atan2 },
  Xdivy: { real: () => (a, b) => (a === 0 ? 0 : a / b), complex: zeroWhen(leftZero, complex.divide) },
  Xlogy: {
    real: () => (a, b) => (a === 0 ? 0 : a * Math.log(b)),
    complex: zeroWhen(leftZero, (ar, ai, br, bi) => complex.multiply(ar, ai, ...complex.log(br, bi))),
  },
  Xlog1py: {
    real: () => (a, b) => (a === 0 ? 0 : a * Math.log1p(b)),
    complex: zeroWhen(leftZero, (ar, ai, br, bi) => complex.multiply(ar, ai, ...complex.log1p(br, bi))),
  },
  NextAfter: { real: (_, dtype) => (a, b) => nextAfter(a, b, dtype === "double") },
  Igamma: { real: () => igamma },
  Igammac: { real: () => igammac },
  BitwiseAnd: { int: (a, b) => a & b, big: (a, b) => a & b },
  BitwiseOr: { int: (a, b) => a | b, big: (a, b) => a | b },
  BitwiseXor: { int: (a, b) => a ^ b, big: (a, b) => a ^ b },
  LogicalAnd: { bool: (a, b) => a & b },
  LogicalOr: { bool: (a, b) => a | b },
  // TF には無いが、Grappler を通ったグラフに現れる。
  LogicalXor: { bool: (a, b) => a ^ b },
};

function applyArithmetic(rules: BinaryRules, a: Tensor, b: Tensor): Tensor {
  const { dtype } = a;
  if (isBig(dtype) && rules.big !== undefined) return zipBigs(a, b, dtype, rules.big);
  if (isFloating(dtype) && rules.real !== undefined) {
    return zipNumbers(a, b, dtype, rules.real(rounderOf(dtype), dtype));
  }
  if (isComplex(dtype) && rules.complex !== undefined) {
    const { complex } = rules;
    return zipComplex(a, b, dtype, (out, at, ar, ai, br, bi) => {
      [out[at], out[at + 1]] = complex(ar, ai, br, bi) as [number, number];
    });
  }
  if (dtype === "string" && rules.string !== undefined) return zipStrings(a, b, dtype, rules.string);
  if (dtype === "bool") {
    if (rules.bool !== undefined) return zipNumbers(a, b, dtype, rules.bool);
  } else if (rules.int !== undefined && isSmallInt(dtype)) {
    return zipNumbers(a, b, dtype, rules.int);
  }
  throw unsupported(dtype);
}

/** 1 つ目と 2 つ目が等しければ 0、前なら負、後なら正。NaN は比べられない。 */
type Comparison = "equal" | "notEqual" | "less" | "lessEqual" | "greater" | "greaterEqual";

const comparisons: Record<Comparison, <T extends number | bigint>(a: T, b: T) => number> = {
  equal: (a, b) => Number(a === b),
  notEqual: (a, b) => Number(a !== b),
  less: (a, b) => Number(a < b),
  lessEqual: (a, b) => Number(a <= b),
  greater: (a, b) => Number(a > b),
  greaterEqual: (a, b) => Number(a >= b),
};

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function compare(kind: Comparison, a: Tensor, b: Tensor): Tensor {
  const rule = comparisons[kind];
  if (isBig(a.dtype)) return zipBigs(a, b, "bool", rule);
  if (kind === "equal" || kind === "notEqual") {
    const whenSame = Number(kind === "equal");
    if (a.dtype === "string") {
      return zipStrings(a, b, "bool", (x, y) => (sameBytes(x, y) ? whenSame : 1 - whenSame));
    }
    if (isComplex(a.dtype)) {
      return zipComplex(a, b, "bool", (out, at, ar, ai, br, bi) => {
        out[at] = ar === br && ai === bi ? whenSame : 1 - whenSame;
      });
    }
  }
  return zipNumbers(a, b, "bool", rule);
}

/** float の 2 項演算をデバイスで。形が合わなければ TF の文面で断る。 */
function deviceBinary(kernel: string, cost = 1): DeviceRow {
  return {
    work: (inputs) => cost * Math.max(elements(inputs[0]!.shape), elements(inputs[1]!.shape)),
    build: (node) => {
      if (node.inputTypes[0] !== "float" || node.inputTypes[1] !== "float") return undefined;
      return (inputs, device) => {
        const left = inputs.shape(0);
        const right = inputs.shape(1);
        if (broadcastShapes(left, right) === undefined) {
          throw invalidArgument(`Incompatible shapes: ${formatShape(left)} vs. ${formatShape(right)}`);
        }
        return device.call(kernel, { a: inputs.device(0), b: inputs.device(1) });
      };
    },
  };
}

/**
 * 大きいほう、小さいほうをデバイスで。tfjs は 1 つ目の NaN だけを通すので、定数を 2 つ目に置き、どちらも定数で
 * なければ 2 つ目の NaN を後から選ぶ。
 */
function deviceExtreme(kernel: "Maximum" | "Minimum"): DeviceRow {
  const plain = deviceBinary(kernel);
  return {
    ...plain,
    build: (node) => {
      const run = plain.build(node);
      if (run === undefined || hasNoNan(node.constant(1))) return run;
      const swap = hasNoNan(node.constant(0));
      return (inputs, device) => {
        const extreme = run(inputs, device) as DeviceTensor;
        const { shape } = extreme;
        const b = inputs.device(1);
        if (swap) return device.call(kernel, { a: b, b: inputs.device(0) });
        const isNan = device.call("NotEqual", { a: b, b });
        const [condition, e] = [isNan, b].map((x) =>
          formatShape(x.shape) === formatShape(shape) ? x : spread(device, x, shape),
        );
        return device.call("Select", { condition: condition!, t: e!, e: extreme });
      };
    },
  };
}

function hasNoNan(constant: Tensor | undefined): boolean {
  return constant !== undefined && !(constant.data as Float32Array).some(Number.isNaN);
}

function spread(device: Device, x: DeviceTensor, shape: Shape): DeviceTensor {
  const padded = [...new Array<number>(shape.length - x.shape.length).fill(1), ...x.shape];
  const reps = shape.map((dim, i) => (padded[i] === dim ? 1 : dim));
  return device.call("Tile", { x: device.reshape(x, padded) }, { reps });
}

function elements(shape: readonly number[]): number {
  let size = 1;
  for (const dim of shape) size *= dim;
  return size;
}

const deviceKernels: Record<string, DeviceRow> = {
  Add: deviceBinary("Add"),
  AddV2: deviceBinary("Add"),
  Sub: deviceBinary("Sub"),
  Mul: deviceBinary("Multiply"),
  Div: deviceBinary("RealDiv"),
  RealDiv: deviceBinary("RealDiv"),
  Maximum: deviceExtreme("Maximum"),
  Minimum: deviceExtreme("Minimum"),
  Pow: deviceBinary("Pow", 8),
  SquaredDifference: deviceBinary("SquaredDifference"),
  Atan2: deviceBinary("Atan2", 8),
};

const compareOps: Record<string, Comparison> = {
  Equal: "equal",
  NotEqual: "notEqual",
  Less: "less",
  LessEqual: "lessEqual",
  Greater: "greater",
  GreaterEqual: "greaterEqual",
};

const deviceCompare: Record<string, DeviceRow> = Object.fromEntries(
  Object.keys(compareOps).map((op) => [op, deviceBinary(op)]),
);

/** 形が合わないとき、エラーではなく「等しくない」と答えてよい比較。 */
function compareKernel(kind: Comparison, tolerant: boolean): HostKernel {
  return ([a, b]) => {
    if (tolerant && broadcastShapes(a!.shape, b!.shape) === undefined) {
      const data = newData("bool", []);
      data[0] = Number(kind === "notEqual");
      return makeTensor("bool", [], data);
    }
    return compare(kind, a!, b!);
  };
}

/** 型ごとのビット数。シフト量の上限に使う。 */
const bitsOf: Partial<Record<DType, number>> = {
  int8: 8,
  uint8: 8,
  int16: 16,
  uint16: 16,
  int32: 32,
  uint32: 32,
  int64: 64,
  uint64: 64,
};

/** シフト量は [0, ビット数) に挟む。範囲外は C++ では未定義なので、TF と同じ防ぎ方をする。 */
function shiftKernel(left: boolean): HostKernel {
  return ([a, b]) => {
    const bits = bitsOf[a!.dtype];
    if (bits === undefined) throw unsupported(a!.dtype);
    if (isBig(a!.dtype)) {
      return zipBigs(a!, b!, a!.dtype, (x, y) => {
        const by = BigInt(shift(Number(y), bits));
        return left ? x << by : x >> by;
      });
    }
    const unsigned = a!.dtype === "uint32";
    return zipNumbers(a!, b!, a!.dtype, (x, y) => {
      const by = shift(y, bits);
      if (left) return x << by;
      return unsigned ? x >>> by : x >> by;
    });
  };
}

function approximateEqual(tolerance: number): HostKernel {
  return ([a, b]) => {
    if (formatShape(a!.shape) !== formatShape(b!.shape)) {
      throw invalidArgument(
        `x and y must be of the same shape. x shape: ${formatShape(a!.shape)}. y shape: ${formatShape(b!.shape)}`,
      );
    }
    return zipNumbers(a!, b!, "bool", (x, y) => Number(Math.abs(x - y) <= tolerance));
  };
}

/** 実部と虚部から複素数を作る。 */
function complexOf([real, imaginary]: readonly Tensor[]): Tensor {
  const dtype = real!.dtype === "double" ? "complex128" : "complex64";
  const left = real!.data as Float64Array;
  const right = imaginary!.data as Float64Array;
  let data: Tensor["data"] | undefined;
  const shape = broadcastPair(real!.shape, imaginary!.shape, (to) => {
    data = newData(dtype, to);
    const out = data as Float64Array;
    return (aAt, aStep, bAt, bStep, outAt, count) => {
      for (let i = 0; i < count; i++) {
        out[(outAt + i) * 2] = left[aAt + i * aStep]!;
        out[(outAt + i) * 2 + 1] = right[bAt + i * bStep]!;
      }
    };
  });
  return makeTensor(dtype, shape, data!);
}

function sum(inputs: readonly Tensor[]): Tensor {
  const first = inputs[0]!;
  for (let i = 1; i < inputs.length; i++) {
    if (formatShape(inputs[i]!.shape) !== formatShape(first.shape)) {
      throw invalidArgument(
        `Inputs to operation AddN of type AddN must have the same size and shape.  Input 0: ${formatShape(first.shape)} != input ${i}: ${formatShape(inputs[i]!.shape)}`,
      );
    }
  }
  return inputs.slice(1).reduce((total, next) => applyArithmetic(add, total, next), first);
}

const addN: OpRow = {
  op: "AddN",
  host: () => sum,
  device: {
    build: (node) => {
      if (!node.inputTypes.every((dtype) => dtype === "float")) return undefined;
      return (inputs, device) => {
        let total = inputs.device(0);
        for (let i = 1; i < inputs.count; i++) {
          if (formatShape(inputs.shape(i)) !== formatShape(inputs.shape(0))) {
            throw invalidArgument(
              `Inputs to operation AddN of type AddN must have the same size and shape.  Input 0: ${formatShape(inputs.shape(0))} != input ${i}: ${formatShape(inputs.shape(i))}`,
            );
          }
          total = device.call("Add", { a: total, b: inputs.device(i) });
        }
        return inputs.count === 1 ? device.reshape(total, total.shape) : total;
      };
    },
  },
};

/** 上下限で挟む。上下限はスカラーか同じ形。 */
const clip: OpRow = {
  op: "ClipByValue",
  host:
    () =>
    ([x, low, high]) => {
      const fits = (bound: Tensor) =>
        bound.shape.length === 0 ||
        elements(bound.shape) === 1 ||
        formatShape(bound.shape) === formatShape(x!.shape);
      if (!fits(low!) || !fits(high!)) {
        throw invalidArgument(
          `clip_value_min and clip_value_max must be either of the same shape as input, or a scalar. input shape: ${formatShape(x!.shape)}clip_value_min shape: ${formatShape(low!.shape)}clip_value_max shape: ${formatShape(high!.shape)}`,
        );
      }
      return applyArithmetic(
        arithmetic["Minimum"]!,
        applyArithmetic(arithmetic["Maximum"]!, x!, low!),
        high!,
      );
    },
  device: {
    hostInputs: [1, 2],
    build: (node) => {
      if (node.inputTypes[0] !== "float") return undefined;
      return (inputs, device) => {
        // tfjs の ClipByValue は NaN を下限にする。こちらは 1 つ目の NaN を通す。
        const above = device.call("Maximum", { a: inputs.device(0), b: device.upload(inputs.host(1)) });
        return device.call("Minimum", { a: above, b: device.upload(inputs.host(2)) });
      };
    },
  },
};

export const mathBinaryOps: readonly OpRow[] = [
  ...Object.entries(arithmetic).map(
    ([op, rules]): OpRow => ({
      op,
      host:
        () =>
        ([a, b]) =>
          applyArithmetic(rules, a!, b!),
      device: deviceKernels[op],
    }),
  ),
  ...Object.entries(compareOps).map(
    ([op, kind]): OpRow => ({
      op,
      host: (node) => {
        const equality = kind === "equal" || kind === "notEqual";
        return compareKernel(kind, equality && !node.attrs.bool("incompatible_shape_error"));
      },
      device: deviceCompare[op],
    }),
  ),
  { op: "LeftShift", host: () => shiftKernel(true) },
  { op: "RightShift", host: () => shiftKernel(false) },
  { op: "ApproximateEqual", host: (node) => approximateEqual(node.attrs.float("tolerance")) },
  { op: "Complex", host: () => complexOf },
  addN,
  clip,
];
