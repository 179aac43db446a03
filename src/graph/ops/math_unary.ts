import { invalidArgument } from "../../base/status.ts";
import type { DType } from "../../tensor/dtype.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as complex from "./complex_math.ts";
import {
  isBig,
  isComplex,
  isFloating,
  isSmallInt,
  mapBigs,
  mapNumbers,
  numbersOf,
  unsupported,
} from "./elementwise.ts";
import { makeTensor, newData } from "./kernel_util.ts";
import type { DeviceRow, HostKernel, OpNode, OpRow } from "./registry.ts";
import { digamma, erf, erfc, erfinv, lgamma, ndtri, roundHalfEven } from "./special_functions.ts";

/** 1 項の演算。型の種類ごとに規則を持つ。整数の結果は格納で折り返す。 */
interface UnaryRules {
  readonly real?: (x: number) => number;
  readonly int?: (x: number) => number;
  readonly big?: (x: bigint) => bigint;
  readonly complex?: (re: number, im: number) => complex.Complex;
}

const same = <T>(x: T): T => x;

const reciprocal: UnaryRules = { real: (x) => 1 / x, complex: complex.reciprocal };

const rounding: UnaryRules = { real: roundHalfEven, int: same, big: same };

function softplus(x: number): number {
  return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
}

const SELU_SCALE = 1.0507009873554805;
const SELU_SCALE_ALPHA = 1.7580993408473768;

const unary: Record<string, UnaryRules> = {
  Abs: { real: Math.abs, int: Math.abs, big: (x) => (x < 0n ? -x : x) },
  Neg: { real: (x) => -x, int: (x) => -x, big: (x) => -x, complex: (re, im) => [-re, -im] },
  Sign: {
    real: Math.sign,
    int: Math.sign,
    big: (x) => (x > 0n ? 1n : x < 0n ? -1n : 0n),
    complex: (re, im) => {
      const norm = Math.hypot(re, im);
      return norm === 0 ? [0, 0] : [re / norm, im / norm];
    },
  },
  Square: {
    real: (x) => x * x,
    int: (x) => Math.imul(x, x),
    big: (x) => x * x,
    complex: (re, im) => [re * re - im * im, 2 * re * im],
  },
  Exp: { real: Math.exp, complex: complex.exp },
  Expm1: { real: Math.expm1, complex: complex.expm1 },
  Log: { real: Math.log, complex: complex.log },
  Log1p: { real: Math.log1p, complex: complex.log1p },
  Sin: { real: Math.sin, complex: complex.sin },
  Cos: { real: Math.cos, complex: complex.cos },
  Tan: { real: Math.tan, complex: complex.tan },
  Asin: { real: Math.asin, complex: complex.asin },
  Acos: { real: Math.acos, complex: complex.acos },
  Atan: { real: Math.atan, complex: complex.atan },
  Sinh: { real: Math.sinh, complex: complex.sinh },
  Cosh: { real: Math.cosh, complex: complex.cosh },
  Tanh: { real: Math.tanh, complex: complex.tanh },
  Asinh: { real: Math.asinh, complex: complex.asinh },
  Acosh: { real: Math.acosh, complex: complex.acosh },
  Atanh: { real: Math.atanh, complex: complex.atanh },
  Erf: { real: erf },
  Erfc: { real: erfc },
  Erfinv: { real: erfinv },
  Ndtri: { real: ndtri },
  Lgamma: { real: lgamma },
  Digamma: { real: digamma },
  Sigmoid: { real: (x) => 1 / (1 + Math.exp(-x)), complex: complex.sigmoid },
  Floor: { real: Math.floor },
  Ceil: { real: Math.ceil },
  Rint: { real: roundHalfEven },
  Round: rounding,
  Sqrt: { real: Math.sqrt, complex: complex.sqrt },
  Rsqrt: { real: (x) => 1 / Math.sqrt(x), complex: complex.rsqrt },
  Reciprocal: reciprocal,
  Inv: reciprocal,
  Softplus: { real: softplus },
  Softsign: { real: (x) => x / (1 + Math.abs(x)) },
  Relu: { real: (x) => Math.max(x, 0), int: (x) => Math.max(x, 0), big: (x) => (x < 0n ? 0n : x) },
  Relu6: {
    real: (x) => Math.min(Math.max(x, 0), 6),
    int: (x) => Math.min(Math.max(x, 0), 6),
    big: (x) => (x < 0n ? 0n : x > 6n ? 6n : x),
  },
  Elu: { real: (x) => (x < 0 ? Math.expm1(x) : x) },
  Selu: { real: (x) => (x < 0 ? SELU_SCALE_ALPHA * Math.expm1(x) : SELU_SCALE * x) },
  Invert: { int: (x) => ~x, big: (x) => ~x },
  Conj: { real: same, complex: (re, im) => [re, -im] },
};

function applyUnary(rules: UnaryRules, x: Tensor): Tensor {
  const { dtype } = x;
  if (isFloating(dtype) && rules.real !== undefined) return mapNumbers(x, dtype, rules.real);
  if (isBig(dtype) && rules.big !== undefined) return mapBigs(x, dtype, rules.big);
  if (isComplex(dtype) && rules.complex !== undefined) {
    const from = numbersOf(x);
    const out = newData(dtype, x.shape) as Float64Array;
    for (let i = 0; i < from.length; i += 2)
      [out[i], out[i + 1]] = rules.complex(from[i]!, from[i + 1]!) as [number, number];
    return makeTensor(dtype, x.shape, out as Tensor["data"]);
  }
  if (isSmallInt(dtype) && rules.int !== undefined) return mapNumbers(x, dtype, rules.int);
  throw unsupported(dtype);
}

/** x → bool の判定。 */
const predicates: Record<string, (x: number) => boolean> = {
  IsNan: Number.isNaN,
  IsInf: (x) => x === Number.POSITIVE_INFINITY || x === Number.NEGATIVE_INFINITY,
  IsFinite: Number.isFinite,
};

/** `cost` は足し算 1 回を 1 としたホストでの重さ。 */
export function deviceUnary(kernel: string, cost: number, attrs?: (node: OpNode) => object): DeviceRow {
  return {
    work: (inputs) => cost * inputs[0]!.shape.reduce((product, dim) => product * dim, 1),
    build: (node) => {
      if (node.inputTypes[0] !== "float") return undefined;
      const given = attrs?.(node);
      return (inputs, device) => device.call(kernel, { x: inputs.device(0) }, given);
    },
  };
}

const cheap = (kernel: string) => deviceUnary(kernel, 1);
const costly = (kernel: string) => deviceUnary(kernel, 8);

const deviceKernels: Record<string, DeviceRow> = {
  Abs: cheap("Abs"),
  Neg: cheap("Neg"),
  Square: cheap("Square"),
  Sqrt: cheap("Sqrt"),
  Rsqrt: cheap("Rsqrt"),
  Reciprocal: cheap("Reciprocal"),
  Relu: cheap("Relu"),
  // tfjs の Relu6 は NaN を 0 にする。Minimum は 1 つ目の NaN を通す。
  Relu6: {
    work: cheap("Relu6").work!,
    build: (node) => {
      if (node.inputTypes[0] !== "float") return undefined;
      return (inputs, device) => {
        const six = device.upload(makeTensor("float", [], Float32Array.of(6)));
        return device.call("Minimum", { a: device.call("Relu", { x: inputs.device(0) }), b: six });
      };
    },
  },
  Floor: cheap("Floor"),
  Ceil: cheap("Ceil"),
  Exp: costly("Exp"),
  Expm1: costly("Expm1"),
  Log: costly("Log"),
  Log1p: costly("Log1p"),
  Sin: costly("Sin"),
  Cos: costly("Cos"),
  Tan: costly("Tan"),
  Tanh: costly("Tanh"),
  Sigmoid: costly("Sigmoid"),
  Erf: costly("Erf"),
  Erfc: {
    work: costly("Erf").work!,
    build: (node) => {
      if (node.inputTypes[0] !== "float") return undefined;
      return (inputs, device) => {
        const one = device.upload(makeTensor("float", [], Float32Array.of(1)));
        return device.call("Sub", { a: one, b: device.call("Erf", { x: inputs.device(0) }) });
      };
    },
  },
  Elu: costly("Elu"),
  Selu: costly("Selu"),
  Softplus: costly("Softplus"),
};

const fillLike =
  (value: 0 | 1): HostKernel =>
  ([x]) => {
    const data = newData(x!.dtype, x!.shape);
    if (value === 0) return makeTensor(x!.dtype, x!.shape, data);
    if (Array.isArray(data)) throw unsupported(x!.dtype);
    if (isComplex(x!.dtype)) {
      for (let i = 0; i < data.length; i += 2) data[i] = 1;
    } else if (isBig(x!.dtype)) {
      (data as BigInt64Array).fill(1n);
    } else {
      (data as Float32Array).fill(1);
    }
    return makeTensor(x!.dtype, x!.shape, data);
  };

/** 複素数の一部分を実数で取り出す。 */
const complexPart =
  (part: (re: number, im: number) => number): HostKernel =>
  ([x]) => {
    const dtype: DType = x!.dtype === "complex128" ? "double" : "float";
    const from = numbersOf(x!);
    const out = newData(dtype, x!.shape) as Float64Array;
    for (let i = 0; i < out.length; i++) out[i] = part(from[i * 2]!, from[i * 2 + 1]!);
    return makeTensor(dtype, x!.shape, out as Tensor["data"]);
  };

const leakyRelu: OpRow = {
  op: "LeakyRelu",
  host: (node) => {
    const alpha = node.attrs.float("alpha");
    return ([x]) => mapNumbers(x!, x!.dtype, (v) => (v > 0 ? v : v * alpha));
  },
  device: deviceUnary("LeakyRelu", 1, (node) => ({ alpha: node.attrs.float("alpha") })),
};

/** NaN と ∞ を断る。値はそのまま通す。 */
const checkNumerics: OpRow = {
  op: "CheckNumerics",
  host: (node) => {
    const message = node.attrs.string("message");
    return ([x]) => {
      const data = numbersOf(x!);
      let nan = false;
      let infinite = false;
      for (let i = 0; i < data.length; i++) {
        const value = data[i]!;
        if (Number.isNaN(value)) nan = true;
        else if (!Number.isFinite(value)) infinite = true;
      }
      const found = [infinite && "Inf", nan && "NaN"].filter(Boolean).join(" and ");
      if (found !== "") throw invalidArgument(`${message} : Tensor had ${found} values`);
      return x!;
    };
  },
};

/** 立っているビットの数。 */
function populationCount([x]: readonly Tensor[]): Tensor {
  const count = (value: bigint) => {
    let rest = value;
    let bits = 0;
    for (; rest > 0n; rest &= rest - 1n) bits++;
    return bits;
  };
  if (isBig(x!.dtype)) return mapBigs(x!, "uint8", (v) => count(BigInt.asUintN(64, v)));
  const width = x!.dtype === "int8" ? 8 : x!.dtype === "int16" ? 16 : 32;
  return mapNumbers(x!, "uint8", (v) => count(BigInt.asUintN(width, BigInt(v))));
}

export const mathUnaryOps: readonly OpRow[] = [
  ...Object.entries(unary).map(
    ([op, rules]): OpRow => ({
      op,
      host:
        () =>
        ([x]) =>
          applyUnary(rules, x!),
      device: deviceKernels[op],
    }),
  ),
  ...Object.entries(predicates).map(
    ([op, test]): OpRow => ({
      op,
      host:
        () =>
        ([x]) =>
          mapNumbers(x!, "bool", (v) => Number(test(v))),
    }),
  ),
  {
    op: "LogicalNot",
    host:
      () =>
      ([x]) =>
        mapNumbers(x!, "bool", (v) => 1 - v),
  },
  { op: "ZerosLike", host: () => fillLike(0) },
  { op: "OnesLike", host: () => fillLike(1) },
  { op: "Real", host: () => complexPart((re) => re) },
  { op: "Imag", host: () => complexPart((_, im) => im) },
  { op: "ComplexAbs", host: () => complexPart(Math.hypot) },
  { op: "Angle", host: () => complexPart((re, im) => Math.atan2(im, re)) },
  { op: "PopulationCount", host: () => populationCount },
  leakyRelu,
  checkNumerics,
];
