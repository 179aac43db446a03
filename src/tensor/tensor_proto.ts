import { create } from "@bufbuild/protobuf";
import { invalidArgument } from "../base/status.ts";
import { type TensorProto, TensorProtoSchema } from "../gen/tensorflow/core/framework/tensor_pb.ts";
import type { TensorShapeProto } from "../gen/tensorflow/core/framework/tensor_shape_pb.ts";
import {
  allocate,
  byteWidth,
  type DataByDType,
  type DType,
  dtypeName,
  dtypeOfWire,
  lanesOf,
  type TypedArray,
  wireOfDType,
} from "./dtype.ts";
import { fromBfloat16Bits, fromHalfBits, toBfloat16Bits, toHalfBits } from "./half.ts";
import { type Shape, sizeOf, type Tensor, tensor } from "./tensor.ts";
import { bytesOfTensor, tensorFromBytes } from "./tensor_bytes.ts";

export const MAX_RANK = 254;
const MAX_INT64 = 2n ** 63n - 1n;
/** 届いた値より要素が多い(最後の値で埋める)ときに許す大きさ。数バイトの要求に大きな場所を取らせない。 */
export const MAX_PADDED_BYTES = 256 * 2 ** 20;
/** JavaScript 側で文字列 1 要素の参照が占めるバイト数。 */
export const REFERENCE_BYTES = 8;

/**
 * TensorProto を読む。`tensor_content` が空でなければそれだけを、さもなければ dtype の `*_val` を使い、
 * 足りないぶんは最後の値で埋め、余りは捨てる。並びが合えば `tensor_content` を写さない。
 *
 * @throws INVALID_ARGUMENT 値を持てない型、負の次元、要素数の桁あふれ、長さの合わない `tensor_content`。
 * @see tensorflow/core/framework/tensor.cc Tensor::FromProto
 */
export function tensorFromProto(proto: TensorProto): Tensor {
  const dtype = valueDType(proto.dtype);
  const shape = shapeFromProto(proto.tensorShape);
  const count = sizeOf(shape);
  if (count === 0) return tensor(dtype, shape, allocate(dtype, 0));
  if (proto.tensorContent.length > 0) return tensorFromBytes(dtype, shape, proto.tensorContent);
  const values = typedValues(dtype, proto);
  const lanes = lanesOf(dtype);
  checkPadding(dtype, shape, Math.floor(values.length / lanes));
  return tensor(dtype, shape, pad(dtype, values, count * lanes));
}

/**
 * TensorProto を作る。
 *
 * @param asContent `tensor_content` に生のバイトで入れる。さもなければ型ごとの `*_val` に全要素を入れる。
 * @see tensorflow/core/framework/tensor.cc AsProtoField, AsProtoTensorContent
 */
export function tensorToProto(value: Tensor, asContent = false): TensorProto {
  const proto = create(TensorProtoSchema, {
    dtype: wireOfDType(value.dtype),
    tensorShape: { dim: value.shape.map((size) => ({ size: BigInt(size) })) },
  });
  if (asContent) proto.tensorContent = bytesOfTensor(value);
  else setTypedValues(proto, value);
  return proto;
}

/**
 * ワイヤの番号を、値を持てる dtype にする。参照型は値の型として扱わない。
 *
 * @throws INVALID_ARGUMENT
 */
export function valueDType(wire: number): DType {
  const dtype = wire > 100 ? undefined : dtypeOfWire(wire);
  if (dtype === undefined) throw invalidArgument(`Tensor of type ${dtypeName(wire)} cannot hold values`);
  return dtype;
}

/** 形状を読む。`unknown_rank` と次元の名前は見ない。@throws INVALID_ARGUMENT */
export function shapeFromProto(proto: TensorShapeProto | undefined): Shape {
  return proto === undefined ? [] : checkedShape(proto.dim.map(({ size }) => size));
}

/**
 * 次元の列を検査して数に直す。
 *
 * @throws INVALID_ARGUMENT 負、254 を越える階数、要素数が int64 に収まらない。数として正確でない大きさ(0 の次元と
 * 並ぶときだけ意味を持ち、TF は受ける)。
 */
export function checkedShape(dims: readonly bigint[]): Shape {
  if (dims.length > MAX_RANK)
    throw invalidArgument(`Shape has ${dims.length} dimensions, at most ${MAX_RANK}`);
  let count = 1n;
  for (const size of dims) {
    if (size < 0n) throw invalidArgument(`Shape has a negative dimension: [${dims.join(",")}]`);
    count *= size;
    if (count > MAX_INT64 || size > Number.MAX_SAFE_INTEGER)
      throw invalidArgument(`Shape has too many elements: [${dims.join(",")}]`);
  }
  return dims.map(Number);
}

/** 埋め草の量を検査する。場所を取る前に呼ぶ。@throws INVALID_ARGUMENT */
export function checkPadding(dtype: DType, shape: Shape, given: number): void {
  const count = sizeOf(shape);
  if (given < count && count * (byteWidth(dtype) || REFERENCE_BYTES) > MAX_PADDED_BYTES) {
    throw invalidArgument(
      `Tensor of shape [${shape.join(",")}] has ${given} values; only tensors up to ${MAX_PADDED_BYTES} bytes are padded`,
    );
  }
}

/** `length` 個に切り詰め、または最後の要素(複素数は最後の組)で埋める。値が無ければ 0。 */
function pad<D extends DType>(dtype: D, values: DataByDType[D], length: number): DataByDType[D] {
  const lanes = lanesOf(dtype);
  const whole = values.length - (values.length % lanes);
  if (whole === length && whole === values.length) return values;
  if (Array.isArray(values)) {
    const padded = values.slice(0, length);
    const last = values.at(-1) ?? EMPTY;
    while (padded.length < length) padded.push(last);
    return padded as DataByDType[D];
  }
  const source = values as Exclude<DataByDType[DType], Uint8Array[]>;
  const padded = allocate(dtype, length / lanes) as Float32Array;
  padded.set(source.subarray(0, Math.min(whole, length)) as Float32Array);
  if (whole > 0) for (let at = whole; at < length; at++) padded[at] = padded[at - lanes]!;
  return padded as DataByDType[D];
}

function typedValues(dtype: DType, proto: TensorProto): DataByDType[DType] {
  switch (dtype) {
    case "float":
      return new Float32Array(proto.floatVal);
    case "double":
      return new Float64Array(proto.doubleVal);
    case "string":
      return proto.stringVal;
    case "int64":
      return new BigInt64Array(proto.int64Val);
    case "uint64":
      return new BigUint64Array(proto.uint64Val);
    case "uint32":
      return new Uint32Array(proto.uint32Val);
    case "bool":
      return Uint8Array.from(proto.boolVal, Number);
    case "complex64":
      return new Float32Array(proto.scomplexVal);
    case "complex128":
      return new Float64Array(proto.dcomplexVal);
    case "half":
      return fromHalfBits(new Uint16Array(proto.halfVal));
    case "bfloat16":
      return fromBfloat16Bits(new Uint16Array(proto.halfVal));
    default: {
      // 残りの整数はすべて int_val。狭い型へは下位のビットを取る。
      const values = allocate(dtype, proto.intVal.length) as Int32Array;
      values.set(proto.intVal);
      return values;
    }
  }
}

function setTypedValues(proto: TensorProto, { dtype, data }: Tensor): void {
  switch (dtype) {
    case "float":
      proto.floatVal = Array.from(data);
      break;
    case "double":
      proto.doubleVal = Array.from(data);
      break;
    case "string":
      proto.stringVal = data;
      break;
    case "int64":
      proto.int64Val = Array.from(data);
      break;
    case "uint64":
      proto.uint64Val = Array.from(data);
      break;
    case "uint32":
      proto.uint32Val = Array.from(data);
      break;
    case "bool":
      proto.boolVal = Array.from(data, Boolean);
      break;
    case "complex64":
      proto.scomplexVal = Array.from(data);
      break;
    case "complex128":
      proto.dcomplexVal = Array.from(data);
      break;
    case "half":
      proto.halfVal = Array.from(toHalfBits(data));
      break;
    case "bfloat16":
      proto.halfVal = Array.from(toBfloat16Bits(data));
      break;
    default:
      proto.intVal = Array.from<number>(data satisfies TypedArray);
  }
}

const EMPTY = new Uint8Array(0);
