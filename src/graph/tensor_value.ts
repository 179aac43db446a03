import { invalidArgument, unimplemented } from "../base/status.ts";
import type { TensorProto } from "../gen/tensorflow/core/framework/tensor_pb.ts";
import { arrayOf, byteWidth, type DType, dtypeName, dtypeOfWire, lanesOf } from "../tensor/dtype.ts";
import { type Tensor, tensor } from "../tensor/tensor.ts";
import { checkSize, makeTensor, newData } from "./ops/kernel_util.ts";

/** ワイヤの 16 ビット表現 → 値。 */
function widen(dtype: "half" | "bfloat16", bits: Uint16Array): Float32Array {
  if (dtype === "half") {
    return Float32Array.from(new Float16Array(bits.buffer, bits.byteOffset, bits.length));
  }
  const words = new Uint32Array(bits.length);
  for (let i = 0; i < words.length; i++) words[i] = bits[i]! << 16;
  return new Float32Array(words.buffer);
}

function listOf(proto: TensorProto, dtype: DType): ArrayLike<number | bigint | boolean> {
  switch (dtype) {
    case "float":
      return proto.floatVal;
    case "double":
      return proto.doubleVal;
    case "int64":
      return proto.int64Val;
    case "uint64":
      return proto.uint64Val;
    case "uint32":
      return proto.uint32Val;
    case "bool":
      return proto.boolVal;
    case "complex64":
      return proto.scomplexVal;
    case "complex128":
      return proto.dcomplexVal;
    case "half":
    case "bfloat16":
      return widen(dtype, Uint16Array.from(proto.halfVal));
    default:
      return proto.intVal;
  }
}

/**
 * グラフの中の TensorProto(Const の値など)を読む。`tensor_content` が整列していれば写さずに指す。
 *
 * @throws INVALID_ARGUMENT 中身の長さが形に合わない。
 * @throws UNIMPLEMENTED 値を持てない型。
 * @see tensorflow/core/framework/tensor.cc FromProto
 */
export function readTensorProto(proto: TensorProto): Tensor {
  const dtype = dtypeOfWire(proto.dtype);
  if (dtype === undefined) {
    throw unimplemented(`Constants of type ${dtypeName(proto.dtype)} are not supported`);
  }
  const shape = (proto.tensorShape?.dim ?? []).map(({ size }) => Number(size));
  const size = checkSize(dtype, shape);
  if (dtype === "string") {
    const given = proto.stringVal;
    const last = given.at(-1) ?? new Uint8Array(0);
    return tensor(
      "string",
      shape,
      Array.from({ length: size }, (_, i) => given[i] ?? last),
    );
  }
  const length = size * lanesOf(dtype);
  const content = proto.tensorContent;
  if (content.length > 0) {
    if (content.length !== size * byteWidth(dtype)) {
      throw invalidArgument(
        `Cannot parse tensor from proto: ${dtype} of shape [${shape}] has ${content.length} bytes`,
      );
    }
    if (dtype === "half" || dtype === "bfloat16") {
      return makeTensor(dtype, shape, widen(dtype, new Uint16Array(content.slice().buffer)));
    }
    const type = arrayOf(dtype);
    const bytes = content.byteOffset % type.BYTES_PER_ELEMENT === 0 ? content : content.slice();
    return makeTensor(dtype, shape, new type(bytes.buffer, bytes.byteOffset, length));
  }
  const data = newData(dtype, shape) as Float32Array;
  const values = listOf(proto, dtype) as ArrayLike<number>;
  if (values.length > length) throw invalidArgument("Cannot parse tensor from proto: too many values");
  const lanes = lanesOf(dtype);
  for (let i = 0; i < values.length; i++) data[i] = values[i]!;
  // 短い列は最後の値を末尾まで繰り返す。
  if (values.length >= lanes) {
    for (let i = values.length; i < length; i++) data[i] = data[i - lanes]!;
  }
  return makeTensor(dtype, shape, data);
}
