import { invalidArgument, unimplemented } from "../../base/status.ts";
import { DataType } from "../../gen/tensorflow/core/framework/types_pb.ts";
import { byteWidth, type DType, lanesOf, type TypedArray } from "../../tensor/dtype.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { isBig, isComplex, isFloating, mapNumbers } from "./elementwise.ts";
import { formatShape, makeTensor, newData, roundTo } from "./kernel_util.ts";
import type { OpRow } from "./registry.ts";
import { roundHalfEven } from "./special_functions.ts";

const INT64_EDGE = 2 ** 63;
const INT32_EDGE = 2 ** 31;
const INT64_MIN = -(2n ** 63n);

/** 実数を int64 に切り捨てる。範囲外と NaN は x86 の変換命令と同じく最小値。 */
function toInt64(x: number): bigint {
  return x >= -INT64_EDGE && x < INT64_EDGE ? BigInt(Math.trunc(x)) : INT64_MIN;
}

/** 実数を uint64 に。負は int64 を経て折り返し、2^64 以上と NaN は 2^63。 */
function toUint64(x: number): bigint {
  if (x >= INT64_EDGE && x < INT64_EDGE * 2) return BigInt(Math.trunc(x));
  return toInt64(x);
}

/** 実数を int32 に切り捨てる。範囲外と NaN は最小値。狭い整数はこの結果を折り返す。 */
function toInt32(x: number): number {
  return x > -INT32_EDGE - 1 && x < INT32_EDGE ? Math.trunc(x) : -INT32_EDGE;
}

/**
 * 64 bit 整数を float に 1 回だけ丸める。Number() を経ると double で 1 度、float で 1 度丸まり、
 * ちょうど中間の値で結果が変わるので、下位を「0 でない印」の 1 bit に潰してから変換する。
 */
function bigToFloat(x: bigint): number {
  if (x >= -9007199254740992n && x <= 9007199254740992n) return Math.fround(Number(x));
  const magnitude = x < 0n ? -x : x;
  const sticky = (magnitude & 0xfffn) === 0n ? 0n : 1n;
  const rounded = Math.fround(Number((magnitude >> 12n) | sticky)) * 4096;
  return x < 0n ? -rounded : rounded;
}

/**
 * 型変換。TF の CPU と同じく、実数→整数は 0 の側へ切り捨て、整数どうしは下位ビット、bool へは「0 でない」。
 *
 * @throws UNIMPLEMENTED 文字列が絡む変換。
 */
export function castTensor(x: Tensor, dtype: DType): Tensor {
  if (x.dtype === dtype) return x;
  if (x.dtype === "string" || dtype === "string") {
    throw unimplemented(`Cast ${x.dtype} to ${dtype} is not supported`);
  }
  const from = x.data as TypedArray;
  const step = lanesOf(x.dtype);
  const data = newData(dtype, x.shape);
  const count = from.length / step;
  if (isComplex(dtype)) {
    const out = data as Float64Array;
    for (let i = 0; i < count; i++) {
      out[i * 2] = Number(from[i * step]);
      if (step === 2) out[i * 2 + 1] = Number(from[i * 2 + 1]);
    }
    return makeTensor(dtype, x.shape, data);
  }
  if (isBig(dtype)) {
    const out = data as BigInt64Array;
    if (isBig(x.dtype)) {
      const bigs = from as BigInt64Array;
      for (let i = 0; i < count; i++) out[i] = bigs[i]!;
    } else {
      const convert = dtype === "uint64" ? toUint64 : toInt64;
      const numbers = from as Float64Array;
      for (let i = 0; i < count; i++) out[i] = convert(numbers[i * step]!);
    }
    return makeTensor(dtype, x.shape, data);
  }
  const out = data as Float64Array;
  if (dtype === "bool") {
    for (let i = 0; i < count; i++) {
      // 0 と −0 と 0n だけが偽。NaN は真。
      const value = from[i * step]!;
      out[i] = value === 0 || value === 0n ? 0 : 1;
    }
  } else if (isBig(x.dtype)) {
    const bigs = from as BigInt64Array;
    if (dtype === "double") for (let i = 0; i < count; i++) out[i] = Number(bigs[i]!);
    else if (isFloating(dtype)) for (let i = 0; i < count; i++) out[i] = bigToFloat(bigs[i]!);
    else for (let i = 0; i < count; i++) out[i] = Number(BigInt.asIntN(32, bigs[i]!));
  } else {
    const numbers = from as Float64Array;
    if (isFloating(dtype)) {
      // half と bfloat16 へは float を経る。
      const narrow = dtype !== "double" && x.dtype === "double";
      for (let i = 0; i < count; i++) out[i] = narrow ? Math.fround(numbers[i * step]!) : numbers[i * step]!;
      roundTo(dtype, data);
    } else if (isFloating(x.dtype) || isComplex(x.dtype)) {
      if (dtype === "uint32") {
        for (let i = 0; i < count; i++) out[i] = Number(BigInt.asUintN(32, toInt64(numbers[i * step]!)));
      } else {
        for (let i = 0; i < count; i++) out[i] = toInt32(numbers[i * step]!);
      }
    } else {
      for (let i = 0; i < count; i++) out[i] = numbers[i]!;
    }
  }
  return makeTensor(dtype, x.shape, data);
}

/** half と bfloat16 は Float32Array に置かれているので、本来の 2 バイトの並びに直す。 */
function toWireBytes(x: Tensor): Uint8Array {
  const data = x.data as TypedArray;
  if (x.dtype !== "half" && x.dtype !== "bfloat16") {
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  }
  const out = new DataView(new ArrayBuffer(data.length * 2));
  for (let i = 0; i < data.length; i++) {
    if (x.dtype === "half") {
      out.setFloat16(i * 2, Number(data[i]), true);
    } else {
      scratch.setFloat32(0, Number(data[i]));
      out.setUint16(i * 2, scratch.getUint16(0), true);
    }
  }
  return new Uint8Array(out.buffer);
}

const scratch = new DataView(new ArrayBuffer(4));

function fromWireBytes(dtype: DType, shape: readonly number[], bytes: Uint8Array): Tensor {
  const data = newData(dtype, shape) as TypedArray;
  if (dtype === "half" || dtype === "bfloat16") {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let i = 0; i < data.length; i++) {
      if (dtype === "half") {
        data[i] = view.getFloat16(i * 2, true);
      } else {
        scratch.setUint32(0, view.getUint16(i * 2, true) << 16);
        data[i] = scratch.getFloat32(0);
      }
    }
  } else {
    new Uint8Array(data.buffer, data.byteOffset, data.byteLength).set(bytes);
  }
  return makeTensor(dtype, shape, data as Tensor["data"]);
}

/**
 * 同じビット列を別の型と見る。幅が違えば末尾の軸が増減する。
 *
 * @see tensorflow/core/kernels/bitcast_op.cc
 */
function bitcast(x: Tensor, dtype: DType): Tensor {
  const from = byteWidth(x.dtype);
  const to = byteWidth(dtype);
  if (from === 0 || to === 0) throw invalidArgument(`Cannot bitcast ${x.dtype} to ${dtype}`);
  let shape = [...x.shape];
  if (from > to) shape.push(from / to);
  if (from < to) {
    if (shape.at(-1) !== to / from) {
      throw invalidArgument(
        `Cannot bitcast from ${x.dtype} to ${dtype}: shape ${formatShape(x.shape)} must end with ${to / from}`,
      );
    }
    shape = shape.slice(0, -1);
  }
  return fromWireBytes(dtype, shape, toWireBytes(x));
}

/** 8 bit の実数の形式。 */
interface Float8 {
  /** 仮数のビット数。 */
  readonly mantissa: number;
  /** 正規化数の最小の指数。 */
  readonly minExponent: number;
  readonly largest: number;
  /** 範囲を越えたときの値。 */
  readonly overflow: number;
}

/** @see https://arxiv.org/abs/2209.05433 */
const float8Formats: Readonly<Record<number, Float8>> = {
  [DataType.DT_FLOAT8_E5M2]: {
    mantissa: 2,
    minExponent: -14,
    largest: 57344,
    overflow: Number.POSITIVE_INFINITY,
  },
  [DataType.DT_FLOAT8_E4M3FN]: { mantissa: 3, minExponent: -6, largest: 448, overflow: Number.NaN },
};

/** 最も近い値に、中間なら偶数の側に丸める。 */
const roundTo8 =
  ({ mantissa, minExponent, largest, overflow }: Float8) =>
  (x: number): number => {
    if (x === 0 || Number.isNaN(x)) return x;
    if (!Number.isFinite(x)) return Math.sign(x) * overflow;
    const exponent = Math.max(Math.floor(Math.log2(Math.abs(x))), minExponent);
    const step = 2 ** (exponent - mantissa);
    const rounded = roundHalfEven(x / step) * step;
    return Math.abs(rounded) > largest ? Math.sign(x) * overflow : rounded;
  };

export const castOps: readonly OpRow[] = [
  {
    op: "Cast",
    host: (node) => {
      const narrow = float8Formats[node.attrs.wireType("DstT")];
      // float8 は、その精度に丸めた float として持つ。値を float8 のまま使う演算は無い。
      if (narrow !== undefined)
        return ([x]) => mapNumbers(castTensor(x!, "float"), "float", roundTo8(narrow));
      const to = node.attrs.dtype("DstT");
      if (to === undefined) throw unimplemented("Cast to a type without values is not supported");
      if (node.attrs.bool("Truncate")) throw unimplemented("Cast with Truncate is not supported");
      return ([x]) => castTensor(x!, to);
    },
  },
  {
    op: "Bitcast",
    host: (node) => {
      const to = node.attrs.dtype("type");
      if (to === undefined) throw unimplemented("Bitcast to a type without values is not supported");
      return ([x]) => bitcast(x!, to);
    },
  },
];
