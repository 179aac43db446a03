import { invalidArgument } from "../base/status.ts";
import { arrayOf, byteWidth, type DType, lanesOf, type TypedArray } from "./dtype.ts";
import { fromBfloat16Bits, fromHalfBits, toBfloat16Bits, toHalfBits } from "./half.ts";
import { type Shape, sizeOf, type Tensor, tensor } from "./tensor.ts";

/**
 * 生のバイト列(little endian、行優先)からテンソルを作る。並びが合っていれば写さずに `bytes` を指す。
 * 文字列は varint の長さ N 個に続けて中身。`tensor_content` とチェックポイントが使う形。
 *
 * @throws INVALID_ARGUMENT 長さが要素数と合わない、bool が 0 と 1 以外。
 * @see tensorflow/core/framework/tensor.cc Helper::Decode
 */
export function tensorFromBytes(dtype: DType, shape: Shape, bytes: Uint8Array): Tensor {
  const count = sizeOf(shape);
  if (dtype === "string") return tensor(dtype, shape, readStrings(bytes, count));
  const width = byteWidth(dtype);
  if (bytes.length !== count * width) {
    throw invalidArgument(`${bytes.length} bytes cannot hold ${count} elements of ${dtype}`);
  }
  if (dtype === "half" || dtype === "bfloat16") {
    const bits = view(Uint16Array, bytes, count);
    return tensor(dtype, shape, dtype === "half" ? fromHalfBits(bits) : fromBfloat16Bits(bits));
  }
  if (dtype === "bool") {
    for (let i = 0; i < count; i++)
      if (bytes[i]! > 1) throw invalidArgument("bool element is neither 0 nor 1");
  }
  return tensor(dtype, shape, view(arrayOf(dtype), bytes, count * lanesOf(dtype)) as never);
}

/** {@link tensorFromBytes} の逆。半精度と文字列以外は元の配列を指す。 */
export function bytesOfTensor({ dtype, data }: Tensor): Uint8Array {
  switch (dtype) {
    case "string":
      return writeStrings(data);
    case "half":
      return bytesOf(toHalfBits(data));
    case "bfloat16":
      return bytesOf(toBfloat16Bits(data));
    default:
      return bytesOf(data);
  }
}

/** 型付き配列のバイトを写さずに見る。 */
function bytesOf(data: TypedArray): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

interface ArrayConstructor<A> {
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): A;
  readonly BYTES_PER_ELEMENT: number;
}

/** バイト列を `length` 要素の配列として見る。境界に乗っていないときだけ写す(Buffer の slice は写さないので使わない)。 */
function view<A>(array: ArrayConstructor<A>, bytes: Uint8Array, length: number): A {
  const aligned = bytes.byteOffset % array.BYTES_PER_ELEMENT === 0 ? bytes : new Uint8Array(bytes);
  return new array(aligned.buffer, aligned.byteOffset, length);
}

function readStrings(bytes: Uint8Array, count: number): Uint8Array[] {
  // 1 要素は長さだけで 1 バイトを使う。数の嘘は場所を取る前に退ける。
  if (count > bytes.length) throw invalidArgument(`${bytes.length} bytes cannot hold ${count} strings`);
  let at = 0;
  const lengths = Array.from({ length: count }, () => {
    let value = 0;
    for (let scale = 1; scale <= 2 ** 28; scale *= 128) {
      if (at >= bytes.length) throw invalidArgument("string lengths are truncated");
      const byte = bytes[at++]!;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
    throw invalidArgument("string length is out of range");
  });
  const strings = lengths.map((length) => {
    const from = at;
    at += length;
    return bytes.subarray(from, at);
  });
  if (at !== bytes.length) throw invalidArgument(`strings take ${at} bytes, ${bytes.length} given`);
  return strings;
}

function writeStrings(strings: readonly Uint8Array[]): Uint8Array {
  const head: number[] = [];
  let size = 0;
  for (const { length } of strings) {
    let rest = length;
    while (rest >= 128) {
      head.push((rest % 128) | 128);
      rest = Math.floor(rest / 128);
    }
    head.push(rest);
    size += length;
  }
  const bytes = new Uint8Array(head.length + size);
  bytes.set(head);
  let at = head.length;
  for (const item of strings) {
    bytes.set(item, at);
    at += item.length;
  }
  return bytes;
}
