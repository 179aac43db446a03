import { invalidArgument, resourceExhausted } from "../../base/status.ts";
import { allocate, byteWidth, type DataByDType, type DType } from "../../tensor/dtype.ts";
import { type Shape, type Tensor, tensor } from "../../tensor/tensor.ts";

/** 1 つのテンソルに許す大きさ(バイト)。敵対的な形がプロセスを道連れにしないための上限。 */
const MAX_TENSOR_BYTES = 2 ** 31;
/** 要素がオブジェクトになる string の上限(要素数)。 */
const MAX_STRINGS = 2 ** 26;

/** `[2,3]`。TF のエラー文での形。 */
export function formatShape(shape: Shape): string {
  return `[${shape.join(",")}]`;
}

/**
 * 形の要素数。
 *
 * @throws INVALID_ARGUMENT 負の次元。
 * @throws RESOURCE_EXHAUSTED 確保してはならない大きさ。
 */
export function checkSize(dtype: DType, shape: Shape): number {
  let size = 1;
  for (const dim of shape) {
    if (!(dim >= 0)) throw invalidArgument(`Dimension ${dim} must be >= 0`);
    size *= dim;
  }
  const tooLarge = dtype === "string" ? size > MAX_STRINGS : size * byteWidth(dtype) > MAX_TENSOR_BYTES;
  if (tooLarge || !Number.isSafeInteger(size)) {
    throw resourceExhausted(
      `OOM when allocating tensor with shape${formatShape(shape)} and type ${dtype} on /job:localhost/replica:0/task:0/device:CPU:0 by allocator cpu`,
    );
  }
  return size;
}

/** 0(string は空)で埋めた入れ物。大きさは {@link checkSize} で確かめる。 */
export function newData<D extends DType>(dtype: D, shape: Shape): DataByDType[D] {
  return allocate(dtype, checkSize(dtype, shape));
}

/** 型の決まらない dtype で組み立てる。`data` は dtype に合ったもの。 */
export function makeTensor(dtype: DType, shape: Shape, data: Tensor["data"]): Tensor {
  return tensor(dtype, shape, data as DataByDType[DType]);
}

/**
 * 整数・浮動小数のテンソルを number の列に。軸や形の読み取りに使う。
 *
 * @throws INVALID_ARGUMENT 2^53 を超える int64、または数でない dtype。
 */
export function toNumbers({ dtype, data }: Tensor): number[] {
  if (Array.isArray(data)) throw invalidArgument(`Expected a numeric tensor, got ${dtype}`);
  const out = new Array<number>(data.length);
  for (let i = 0; i < out.length; i++) {
    const value = Number(data[i]);
    if (typeof data[i] === "bigint" && !Number.isSafeInteger(value)) {
      throw invalidArgument(`Value ${data[i]} is out of range`);
    }
    out[i] = value;
  }
  return out;
}

/** スカラー(または 1 要素)を number に。 */
export function toNumber(value: Tensor): number {
  const numbers = toNumbers(value);
  if (numbers.length !== 1) {
    throw invalidArgument(`Expected a scalar, got a tensor of shape ${formatShape(value.shape)}`);
  }
  return numbers[0]!;
}

/** 非負化した軸。 @throws INVALID_ARGUMENT 範囲外。 */
export function normalizeAxis(axis: number, rank: number): number {
  if (axis < -rank || axis >= rank) {
    throw invalidArgument(`Invalid axis ${axis}: expected a value in [${-rank}, ${rank})`);
  }
  return axis < 0 ? axis + rank : axis;
}

/**
 * ブロードキャスト後の形。
 *
 * @returns 合わなければ undefined。
 */
export function broadcastShapes(a: Shape, b: Shape): number[] | undefined {
  const rank = Math.max(a.length, b.length);
  const out = new Array<number>(rank);
  for (let i = 1; i <= rank; i++) {
    const left = a[a.length - i] ?? 1;
    const right = b[b.length - i] ?? 1;
    if (left !== right && left !== 1 && right !== 1) return undefined;
    out[rank - i] = left === 1 ? right : left;
  }
  return out;
}

/** 行優先の歩幅。`to` の形に広げるときの歩幅で、広がる軸は 0。 */
export function broadcastStrides(shape: Shape, to: Shape): number[] {
  const strides = new Array<number>(to.length).fill(0);
  let stride = 1;
  for (let i = 1; i <= shape.length; i++) {
    const dim = shape[shape.length - i]!;
    strides[to.length - i] = dim === 1 ? 0 : stride;
    stride *= dim;
  }
  return strides;
}

/** 行優先の歩幅。 */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = stride;
    stride *= shape[i]!;
  }
  return strides;
}

const bits = new DataView(new ArrayBuffer(4));

/** bfloat16 で表せる最も近い値(偶数丸め)。 */
export function roundBfloat16(value: number): number {
  bits.setFloat32(0, value);
  const word = bits.getUint32(0);
  if ((word & 0x7f800000) === 0x7f800000) return value;
  bits.setUint32(0, (word + 0x7fff + ((word >>> 16) & 1)) & 0xffff0000);
  return bits.getFloat32(0);
}

/** half と bfloat16 の計算結果を、その精度で表せる値に(その場で)丸める。ほかの dtype には何もしない。 */
export function roundTo(dtype: DType, data: Tensor["data"]): void {
  if (dtype === "half") {
    const values = data as Float32Array;
    for (let i = 0; i < values.length; i++) values[i] = Math.f16round(values[i]!);
  } else if (dtype === "bfloat16") {
    const values = data as Float32Array;
    for (let i = 0; i < values.length; i++) values[i] = roundBfloat16(values[i]!);
  }
}

const decoder = new TextDecoder();
const encoder = new TextEncoder();

export function decodeText(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

export function encodeText(text: string): Uint8Array {
  return encoder.encode(text);
}
