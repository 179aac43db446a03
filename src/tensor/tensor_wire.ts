import { Code, resourceExhausted, StatusError } from "../base/status.ts";
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
import { checkedShape, checkPadding, MAX_PADDED_BYTES, REFERENCE_BYTES, valueDType } from "./tensor_proto.ts";

const VARINT = 0;
const FIXED64 = 1;
const LENGTH = 2;
const GROUP = 3;
const FIXED32 = 5;
const MAX_GROUP_DEPTH = 32;

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

/** ワイヤを前から読む。読み過ぎは必ず INVALID_ARGUMENT。 */
class WireReader {
  readonly bytes: Uint8Array;
  readonly end: number;
  at: number;
  /** 直前の varint の下位・上位 32 ビット。 */
  low = 0;
  high = 0;

  constructor(bytes: Uint8Array, at = 0, end = bytes.length) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  /** low と high に入れる。64 ビットの値でも BigInt を作らない。 */
  varint(): void {
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (this.at >= this.end) throw truncated();
      const byte = this.bytes[this.at++]!;
      const bits = byte & 127;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high = bits >>> 4;
      } else if (shift < 64) high |= bits << (shift - 32);
      if (byte < 128) {
        this.low = low;
        this.high = high;
        return;
      }
    }
    throw new BrokenWire("TensorProto has a varint longer than 10 bytes");
  }

  /** 長さつきの部分の範囲を返し、その先へ進む。 */
  span(): Span {
    this.varint();
    const length = this.low >>> 0;
    if (this.high !== 0 || length > this.end - this.at) throw truncated();
    const from = this.at;
    this.at += length;
    return { from, to: this.at };
  }

  /** 印の次の値を読み飛ばす。 */
  skip(tag: number, depth = 0): void {
    switch (tag & 7) {
      case VARINT:
        this.varint();
        return;
      case FIXED64:
        this.advance(8);
        return;
      case LENGTH:
        this.span();
        return;
      case FIXED32:
        this.advance(4);
        return;
      case GROUP: {
        if (depth >= MAX_GROUP_DEPTH) throw new BrokenWire("TensorProto nests too deeply");
        const close = (tag & ~7) | 4;
        for (;;) {
          const inner = this.tag();
          if (inner === close) return;
          this.skip(inner, depth + 1);
        }
      }
    }
    throw new BrokenWire("TensorProto has an unknown wire type");
  }

  tag(): number {
    this.varint();
    if (this.high !== 0 || this.low >>> 3 === 0) throw new BrokenWire("TensorProto has an invalid tag");
    return this.low >>> 0;
  }

  advance(count: number): void {
    if (count > this.end - this.at) throw truncated();
    this.at += count;
  }
}

interface Span {
  readonly from: number;
  readonly to: number;
}

/** protobuf として読めない。値が悪いだけの失敗とは、客への答えが違う。 */
export class BrokenWire extends StatusError {
  constructor(message: string) {
    super(Code.INVALID_ARGUMENT, message);
  }
}

/** これより小さい埋め草は数えない。 */
const FREE_PADDING_BYTES = 64 * 2 ** 10;

const truncated = () => new BrokenWire("TensorProto is truncated");

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
export function decodeTensorProto(bytes: Uint8Array, padding?: PaddingBudget): Tensor {
  const reader = new WireReader(bytes);
  let wireDType = 0;
  let content: Span | undefined;
  const dims: bigint[] = [];
  // 型が後から来てもよいように、まず値のありかだけを集める。
  const spans = new Map<number, Span[]>();
  while (reader.at < reader.end) {
    const tag = reader.tag();
    const field = tag >>> 3;
    const from = reader.at;
    if (tag === ((DTYPE << 3) | VARINT)) {
      reader.varint();
      wireDType = reader.low;
    } else if (tag === ((TENSOR_SHAPE << 3) | LENGTH)) {
      readShape(bytes, reader.span(), dims);
    } else if (tag === ((TENSOR_CONTENT << 3) | LENGTH)) {
      content = reader.span();
    } else if ((tag & 7) === LENGTH) {
      push(spans, field, reader.span());
    } else {
      reader.skip(tag);
      if ((tag & 7) === elementWire(field)) push(spans, field, { from, to: reader.at });
    }
  }

  const dtype = valueDType(wireDType);
  const shape = checkedShape(dims);
  const count = sizeOf(shape);
  if (count === 0) return tensor(dtype, shape, allocate(dtype, 0));
  if (content !== undefined && content.to > content.from) {
    return tensorFromBytes(dtype, shape, bytes.subarray(content.from, content.to));
  }
  const size = count * (byteWidth(dtype) || REFERENCE_BYTES);
  // 送られた値は、伸ばさなくても 8 倍になりうる(1 バイトの varint が int64 に、空文字列が参照に)。
  const isPadded = size > bytes.length * 8 + FREE_PADDING_BYTES;
  if (isPadded && size <= MAX_PADDED_BYTES && padding?.take(size) === false) {
    throw resourceExhausted(
      `Tensor of shape [${shape.join(",")}] is padded to ${size} bytes, too much at this moment`,
    );
  }
  const values = spans.get(valueFields[dtype]) ?? [];
  if (dtype === "string") {
    checkPadding(dtype, shape, values.length);
    const strings = values.slice(0, count).map(({ from, to }) => bytes.subarray(from, to));
    const last = strings.at(-1) ?? EMPTY;
    while (strings.length < count) strings.push(last);
    return tensor(dtype, shape, strings);
  }
  const width = fixedWidth(valueFields[dtype]);
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

/** 同じフィールドが二度来たら protobuf の合流の規則どおり次元を足していく。 */
function readShape(bytes: Uint8Array, { from, to }: Span, dims: bigint[]): void {
  const reader = new WireReader(bytes, from, to);
  while (reader.at < to) {
    const tag = reader.tag();
    if (tag !== ((2 << 3) | LENGTH)) {
      reader.skip(tag);
      continue;
    }
    const span = reader.span();
    const dim = new WireReader(bytes, span.from, span.to);
    let size = 0n;
    while (dim.at < dim.end) {
      const inner = dim.tag();
      if (inner === ((1 << 3) | VARINT)) {
        dim.varint();
        size = (BigInt(dim.high) << 32n) | BigInt(dim.low >>> 0);
      } else dim.skip(inner);
    }
    dims.push(size);
  }
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
