import { resourceExhausted } from "../base/status.ts";
import {
  allocate,
  byteWidth,
  type DType,
  lanesOf,
  type NumericDType,
  type TypedArray,
  wireOfDType,
} from "./dtype.ts";
import { fromBfloat16Bits, fromHalfBits, toBfloat16Bits, toHalfBits } from "./half.ts";
import type { PaddingBudget } from "./padding_budget.ts";
import { type Shape, sizeOf, type Tensor, tensor } from "./tensor.ts";
import { bytesOfTensor, tensorFromBytes } from "./tensor_bytes.ts";
import {
  checkedShape,
  checkPadding,
  MAX_PADDED_BYTES,
  MAX_RANK,
  REFERENCE_BYTES,
  valueDType,
} from "./tensor_proto.ts";
import { FIXED32, FIXED64, LENGTH, type Span, truncated, VARINT, WireReader } from "./wire_reader.ts";

const DTYPE = 1;
const TENSOR_SHAPE = 2;
const TENSOR_CONTENT = 4;

/** dtype の値が入る `*_val` のフィールド番号。 */
const valueFields: { readonly [D in DType]: number } = {
  float: 5,
  double: 6,
  int32: 7,
  uint8: 7,
  int16: 7,
  int8: 7,
  qint8: 7,
  quint8: 7,
  qint32: 7,
  qint16: 7,
  quint16: 7,
  uint16: 7,
  string: 8,
  complex64: 9,
  int64: 10,
  bool: 11,
  complex128: 12,
  half: 13,
  bfloat16: 13,
  uint32: 16,
  uint64: 17,
};

/** これより小さい埋め草は数えない。 */
const FREE_PADDING_BYTES = 64 * 2 ** 10;

/**
 * 直列化された TensorProto を、途中のメッセージを作らずに読む。結果は
 * `tensorFromProto(fromBinary(TensorProtoSchema, bytes))` と同じだが、大きな数値の列を
 * 要素ごとの JavaScript の数にしない(詰めた float は並びが合えば写しもしない)。
 *
 * @param padding 埋め草に使ってよい場所。無ければ 1 つずつの上限だけを見る。
 * @throws BrokenWire 壊れたワイヤ。
 * @throws INVALID_ARGUMENT {@link tensorFromProto} が退けるもの。
 * @throws RESOURCE_EXHAUSTED `padding` が足りない。
 */
export function decodeTensorProto(
  bytes: Uint8Array,
  padding?: PaddingBudget,
  start = 0,
  end = bytes.length,
): Tensor {
  const reader = new WireReader(bytes, start, end);
  let wireDType = 0;
  let content: Span | undefined;
  const dims: number[] = [];
  // 型が後から来てもよいように、まず値のありかだけを集める。
  let spans: Map<number, Span[]> | undefined;
  // たいていは 1 か所だけにある。
  let onlyField = 0;
  let only: Span | undefined;
  while (reader.at < end) {
    const tag = reader.tag();
    const field = tag >>> 3;
    const from = reader.at;
    if (tag === ((DTYPE << 3) | VARINT)) {
      reader.varint();
      wireDType = reader.low;
      continue;
    }
    if (tag === ((TENSOR_SHAPE << 3) | LENGTH)) {
      readShape(reader, dims);
      continue;
    }
    if (tag === ((TENSOR_CONTENT << 3) | LENGTH)) {
      content = reader.span();
      continue;
    }
    let span: Span;
    if ((tag & 7) === LENGTH) span = reader.span();
    else {
      reader.skip(tag);
      if ((tag & 7) !== elementWire(field)) continue;
      span = { from, to: reader.at };
    }
    if (only === undefined) {
      only = span;
      onlyField = field;
    } else {
      spans ??= new Map([[onlyField, [only]]]);
      push(spans, field, span);
    }
  }

  const dtype = valueDType(wireDType);
  const shape = toShape(dims);
  const count = sizeOf(shape);
  if (count === 0) return tensor(dtype, shape, allocate(dtype, 0));
  const width = fixedWidth(valueFields[dtype]);
  const hasContent = content !== undefined && content.to > content.from;
  const whole = hasContent
    ? content
    : spans === undefined && onlyField === valueFields[dtype]
      ? only
      : undefined;
  if (width > 0 && whole !== undefined && whole.to - whole.from <= SMALL_BYTES) {
    const length = count * lanesOf(dtype);
    const data = whole.to - whole.from === length * width ? readSmall(bytes, whole, length) : undefined;
    if (data !== undefined) return tensor(dtype, shape, data as never);
  }
  if (hasContent) {
    return tensorFromBytes(dtype, shape, bytes.subarray(content!.from, content!.to));
  }
  const size = count * (byteWidth(dtype) || REFERENCE_BYTES);
  // 送られた値は、伸ばさなくても 8 倍になりうる(1 バイトの varint が int64 に、空文字列が参照に)。
  const isPadded = size > (end - start) * 8 + FREE_PADDING_BYTES;
  if (isPadded && size <= MAX_PADDED_BYTES && padding?.take(size) === false) {
    throw resourceExhausted(
      `Tensor of shape [${shape.join(",")}] is padded to ${size} bytes, too much at this moment`,
    );
  }
  const values = spans?.get(valueFields[dtype]) ?? (whole === undefined ? [] : [whole]);
  if (dtype === "string") {
    checkPadding(dtype, shape, values.length);
    const strings = values.slice(0, count).map(({ from, to }) => bytes.subarray(from, to));
    const last = strings.at(-1) ?? EMPTY;
    while (strings.length < count) strings.push(last);
    return tensor(dtype, shape, strings);
  }
  return width > 0 ? readFixed(bytes, values, dtype, shape, width) : readVarints(bytes, values, dtype, shape);
}

function push(spans: Map<number, Span[]>, field: number, span: Span): void {
  const known = spans.get(field);
  if (known === undefined) spans.set(field, [span]);
  else known.push(span);
}

/** 詰めない形で書かれた 1 要素のワイヤ型。 */
function elementWire(field: number): number {
  if (field === valueFields.string) return LENGTH;
  const width = fixedWidth(field);
  return width === 4 ? FIXED32 : width === 8 ? FIXED64 : VARINT;
}

/** 固定長の `*_val` の 1 値のバイト数。varint のものは 0。 */
function fixedWidth(field: number): number {
  if (field === valueFields.float || field === valueFields.complex64) return 4;
  return field === valueFields.double || field === valueFields.complex128 ? 8 : 0;
}

/** 同じフィールドが二度来たら protobuf の合流の規則どおり次元を足していく。 @param dims 下位・上位 32 ビットの組。 */
function readShape(reader: WireReader, dims: number[]): void {
  const outer = reader.enter();
  while (reader.at < reader.end) {
    const tag = reader.tag();
    if (tag !== ((2 << 3) | LENGTH)) {
      reader.skip(tag);
      continue;
    }
    const end = reader.enter();
    let low = 0;
    let high = 0;
    while (reader.at < reader.end) {
      const inner = reader.tag();
      if (inner === ((1 << 3) | VARINT)) {
        reader.varint();
        low = reader.low;
        high = reader.high;
      } else reader.skip(inner);
    }
    reader.end = end;
    dims.push(low, high);
  }
  reader.end = outer;
}

/** @param words {@link readShape} の組。 @throws INVALID_ARGUMENT {@link checkedShape} */
function toShape(words: readonly number[]): Shape {
  const shape: number[] = [];
  let count = 1;
  for (let i = 0; i < words.length; i += 2) {
    const size = words[i]! >>> 0;
    count *= size;
    if (words[i + 1] !== 0 || count > Number.MAX_SAFE_INTEGER || i >= MAX_RANK * 2) {
      return checkedShape(toDims(words));
    }
    shape.push(size);
  }
  return shape;
}

function toDims(words: readonly number[]): bigint[] {
  const dims: bigint[] = [];
  for (let i = 0; i < words.length; i += 2) {
    dims.push((BigInt(words[i + 1]!) << 32n) | BigInt(words[i]! >>> 0));
  }
  return dims;
}

/** これより短い値は、1 バイトずつ写す。`ArrayBuffer` を見せる物を作らせるほうが高くつく。 */
const SMALL_BYTES = 256;
const scratch = new Uint8Array(SMALL_BYTES);
const scratch32 = new Float32Array(scratch.buffer);
const scratch64 = new Float64Array(scratch.buffer);

/** 固定長の値の列。 @returns NaN があれば undefined。その中のビットは、数として写すと変わりうる。 */
function readSmall(
  bytes: Uint8Array,
  { from, to }: Span,
  length: number,
): Float32Array | Float64Array | undefined {
  for (let at = from; at < to; at++) scratch[at - from] = bytes[at]!;
  const isWide = (to - from) / length === 8;
  const data = isWide ? new Float64Array(length) : new Float32Array(length);
  const source = isWide ? scratch64 : scratch32;
  for (let i = 0; i < length; i++) {
    const value = source[i]!;
    if (Number.isNaN(value)) return undefined;
    data[i] = value;
  }
  return data;
}

function readFixed(
  bytes: Uint8Array,
  spans: readonly Span[],
  dtype: NumericDType,
  shape: Shape,
  width: number,
): Tensor {
  const lanes = lanesOf(dtype);
  const length = sizeOf(shape) * lanes;
  let given = 0;
  for (const { from, to } of spans) {
    if ((to - from) % width !== 0) throw truncated();
    given += (to - from) / width;
  }
  const [only] = spans;
  if (only !== undefined && spans.length === 1 && given >= length) {
    return tensorFromBytes(dtype, shape, bytes.subarray(only.from, only.from + length * width));
  }
  checkPadding(dtype, shape, Math.floor(given / lanes));
  const data = allocate(dtype, length / lanes) as Float32Array | Float64Array;
  const raw = new Uint8Array(data.buffer);
  let at = 0;
  for (const { from, to } of spans) {
    const end = Math.min(to, from + raw.length - at);
    raw.set(bytes.subarray(from, end), at);
    at += end - from;
  }
  const whole = given - (given % lanes);
  if (whole === 0) data.fill(0);
  else for (let i = whole; i < length; i++) data[i] = data[i - lanes]!;
  return tensor(dtype, shape, data as never);
}

function readVarints(bytes: Uint8Array, spans: readonly Span[], dtype: NumericDType, shape: Shape): Tensor {
  const count = sizeOf(shape);
  let available = 0;
  for (const { from, to } of spans) available += to - from;
  // 1 値は 1 バイト以上なので、バイト数が足りなければ必ず埋め草になる。
  checkPadding(dtype, shape, available);
  const half = dtype === "half" || dtype === "bfloat16";
  const data = half ? new Uint16Array(count) : (allocate(dtype, count) as TypedArray);
  const wide = data instanceof BigInt64Array || data instanceof BigUint64Array;
  // 64 ビットは 32 ビット 2 語として書き、BigInt を経由しない。
  const words = wide ? new Int32Array(data.buffer) : (data as Int32Array);
  const bool = dtype === "bool";
  let at = 0;
  for (const { from, to } of spans) {
    const reader = new WireReader(bytes, from, to);
    while (reader.at < to) {
      reader.varint();
      if (at >= count) continue;
      if (wide) {
        words[at * 2] = reader.low;
        words[at * 2 + 1] = reader.high;
      } else words[at] = bool ? Number((reader.low | reader.high) !== 0) : reader.low;
      at++;
    }
  }
  checkPadding(dtype, shape, at);
  if (at > 0) {
    if (wide) data.fill(data[at - 1] as never, at);
    else words.fill(words[at - 1]!, at);
  }
  if (!half) return tensor(dtype, shape, data as never);
  const bits = data as Uint16Array;
  return tensor(dtype, shape, dtype === "half" ? fromHalfBits(bits) : fromBfloat16Bits(bits));
}

/**
 * 固定長の値のテンソルの、書いたときの大きさ。
 *
 * @returns 空か、値が固定長でなければ 0。
 */
export function fixedTensorSize({ dtype, shape, data }: Tensor): number {
  const size = data.length * fixedWidth(valueFields[dtype]);
  if (size === 0) return 0;
  const shapeSize = sizeOfShape(shape);
  return 2 + 1 + varintBytes(shapeSize) + shapeSize + 1 + varintBytes(size) + size;
}

/**
 * 途中の配列を作らずに書く。書くバイトは {@link encodeTensorProto} と同じ。
 *
 * @param value {@link fixedTensorSize} が 0 でないもの。
 */
export function writeFixedTensor(target: Uint8Array, from: number, value: Tensor, asContent: boolean): void {
  const { dtype, shape, data } = value;
  let at = from;
  target[at++] = (DTYPE << 3) | VARINT;
  target[at++] = wireOfDType(dtype);
  target[at++] = (TENSOR_SHAPE << 3) | LENGTH;
  at = writeVarint(target, at, sizeOfShape(shape), 0);
  for (const size of shape) {
    target[at++] = (2 << 3) | LENGTH;
    if (size === 0) target[at++] = 0;
    else {
      target[at++] = 1 + varintBytes(size);
      target[at++] = (1 << 3) | VARINT;
      at = writeVarint(target, at, size, 0);
    }
  }
  target[at++] = ((asContent ? TENSOR_CONTENT : valueFields[dtype]) << 3) | LENGTH;
  const values = data as Float32Array | Float64Array;
  const isWide = values instanceof Float64Array;
  const bytes = values.length * (isWide ? 8 : 4);
  at = writeVarint(target, at, bytes, 0);
  // 数を通して写すと、NaN の細かいビットが失われる。
  if (bytes > SMALL_BYTES || hasNaN(values)) {
    target.set(bytesOfTensor(value), at);
    return;
  }
  const source = isWide ? scratch64 : scratch32;
  for (let i = 0; i < values.length; i++) source[i] = values[i]!;
  for (let i = 0; i < bytes; i++) target[at + i] = scratch[i]!;
}

function sizeOfShape(shape: Shape): number {
  let size = 0;
  for (const dim of shape) size += dim === 0 ? 2 : 3 + varintBytes(dim);
  return size;
}

function hasNaN(values: Float32Array | Float64Array): boolean {
  for (let i = 0; i < values.length; i++) if (Number.isNaN(values[i])) return true;
  return false;
}

/**
 * テンソルを TensorProto のバイト列にする。`toBinary(TensorProtoSchema, tensorToProto(…))` と同じバイトを、
 * 要素ごとの値を作らずに書く。
 *
 * @param asContent `tensor_content` に入れる。さもなければ型ごとの `*_val` に全要素を詰めて入れる。
 */
export function encodeTensorProto(value: Tensor, asContent = false): Uint8Array {
  const head: number[] = [];
  pushVarint(head, (DTYPE << 3) | VARINT);
  pushVarint(head, wireOfDType(value.dtype));
  const shape: number[] = [];
  for (const size of value.shape) {
    const dim: number[] = [];
    if (size !== 0) {
      dim.push((1 << 3) | VARINT);
      pushVarint(dim, size);
    }
    shape.push((2 << 3) | LENGTH, dim.length, ...dim);
  }
  pushVarint(head, (TENSOR_SHAPE << 3) | LENGTH);
  pushVarint(head, shape.length);
  head.push(...shape);

  if (value.data.length === 0) return Uint8Array.from(head);
  if (asContent) return join(head, TENSOR_CONTENT, bytesOfTensor(value));
  const field = valueFields[value.dtype];
  if (value.dtype === "string") return joinStrings(head, value.data);
  if (fixedWidth(field) > 0) return join(head, field, bytesOfTensor(value));
  return join(head, field, packVarints(value));
}

function pushVarint(target: number[], value: number): void {
  let rest = value;
  while (rest >= 128) {
    target.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  target.push(rest);
}

function join(head: number[], field: number, body: Uint8Array): Uint8Array {
  pushVarint(head, (field << 3) | LENGTH);
  pushVarint(head, body.length);
  const bytes = new Uint8Array(head.length + body.length);
  bytes.set(head);
  bytes.set(body, head.length);
  return bytes;
}

function joinStrings(head: readonly number[], strings: readonly Uint8Array[]): Uint8Array {
  const tag = (valueFields.string << 3) | LENGTH;
  let size = head.length;
  for (const { length } of strings) size += 1 + varintBytes(length) + length;
  const bytes = new Uint8Array(size);
  bytes.set(head);
  let at = head.length;
  for (const item of strings) {
    bytes[at++] = tag;
    at = writeVarint(bytes, at, item.length, 0);
    bytes.set(item, at);
    at += item.length;
  }
  return bytes;
}

function varintBytes(value: number): number {
  let count = 1;
  for (let rest = value >>> 7; rest !== 0; rest >>>= 7) count++;
  return count;
}

/** 上位・下位 32 ビットで与えた 64 ビットを書き、次の位置を返す。 */
function writeVarint(target: Uint8Array, from: number, lowBits: number, highBits: number): number {
  let at = from;
  let low = lowBits;
  let high = highBits;
  while (high !== 0 || low >>> 7 !== 0) {
    target[at++] = (low & 127) | 128;
    low = (low >>> 7) | (high << 25);
    high >>>= 7;
  }
  target[at++] = low;
  return at;
}

function packVarints(value: Tensor): Uint8Array {
  const { dtype } = value;
  let data = value.data as TypedArray | Uint16Array;
  if (dtype === "half") data = toHalfBits(value.data);
  if (dtype === "bfloat16") data = toBfloat16Bits(value.data);
  const wide = data instanceof BigInt64Array || data instanceof BigUint64Array;
  const words = wide
    ? new Int32Array(data.buffer, data.byteOffset, data.length * 2)
    : (data as Exclude<typeof data, BigInt64Array | BigUint64Array>);
  const target = new Uint8Array(data.length * (data instanceof Uint8Array ? 2 : 10));
  let at = 0;
  for (let i = 0; i < data.length; i++) {
    if (wide) at = writeVarint(target, at, words[i * 2]!, words[i * 2 + 1]!);
    else {
      // 負の int32 は 64 ビットに符号拡張して書く決まり。
      const item = words[i]!;
      at = writeVarint(target, at, item, item < 0 ? -1 : 0);
    }
  }
  return target.subarray(0, at);
}

const EMPTY = new Uint8Array(0);
