import { invalidArgument, outOfRange, unimplemented } from "../../base/status.ts";
import { arrayOf, byteWidth, type NumericDType, type TypedArray } from "../../tensor/dtype.ts";
import { sizeOf, type Tensor, tensor } from "../../tensor/tensor.ts";
import {
  bytesOf,
  fromLatin1,
  isCharacterStart,
  isSpace,
  joinBytes,
  NO_BYTES,
  strip,
  toLatin1,
} from "./bytes.ts";
import {
  broadcastShapes,
  broadcastStrides,
  decodeText,
  encodeText,
  formatShape,
  makeTensor,
  newData,
  stridesOf,
  toNumber,
  toNumbers,
} from "./kernel_util.ts";
import { integerRange, parseDouble, parseInteger } from "./parse_number.ts";
import type { Attrs, HostKernel, OpRow } from "./registry.ts";

const mapStrings =
  (change: (text: Uint8Array) => Uint8Array): HostKernel =>
  ([input]) =>
    tensor("string", input!.shape, bytesOf(input!).map(change));

/** ASCII だけ、または UTF-8 としての大小文字の変換。 */
function changeCase(attrs: Attrs, from: number, text: (s: string) => string): HostKernel {
  const encoding = attrs.string("encoding");
  if (encoding !== "" && encoding !== "utf-8") {
    throw invalidArgument(`only utf-8 or '' (no encoding) is supported, received ${encoding}`);
  }
  if (encoding === "utf-8") return mapStrings((bytes) => encodeText(text(decodeText(bytes))));
  return mapStrings((bytes) => bytes.map((b) => (b >= from && b < from + 26 ? b ^ 0x20 : b)));
}

function unitOf(attrs: Attrs): "BYTE" | "UTF8_CHAR" {
  const unit = attrs.string("unit");
  if (unit === "BYTE" || unit === "UTF8_CHAR") return unit;
  throw invalidArgument(`Invalid unit "${unit}"`);
}

function countCharacters(bytes: Uint8Array): number {
  let count = 0;
  for (const byte of bytes) if (isCharacterStart(byte)) count++;
  return count;
}

function stringJoin(attrs: Attrs): HostKernel {
  const separator = attrs.bytes("separator");
  return (inputs) => {
    const wide = inputs.find(({ shape }) => shape.length > 0);
    for (const { shape } of inputs) {
      if (shape.length > 0 && formatShape(shape) !== formatShape(wide!.shape)) {
        throw invalidArgument(
          `Input shapes do not match: ${formatShape(wide!.shape)} vs. ${formatShape(shape)}`,
        );
      }
    }
    const shape = wide?.shape ?? [];
    const columns = inputs.map((input) => ({ data: bytesOf(input), scalar: input.shape.length === 0 }));
    const out = Array.from({ length: sizeOf(shape) }, (_, i) =>
      joinBytes(
        columns.map(({ data, scalar }) => data[scalar ? 0 : i]!),
        separator,
      ),
    );
    return tensor("string", shape, out);
  };
}

/** 行ごとの部品を、SparseTensor の三つ組にする。 */
function ragged(rows: readonly (readonly Uint8Array[])[]): readonly Tensor[] {
  const total = rows.reduce((sum, row) => sum + row.length, 0);
  const indices = new BigInt64Array(total * 2);
  let at = 0;
  let widest = 0;
  rows.forEach((row, r) => {
    widest = Math.max(widest, row.length);
    row.forEach((_, c) => {
      indices[at++] = BigInt(r);
      indices[at++] = BigInt(c);
    });
  });
  return [
    tensor("int64", [total, 2], indices),
    tensor("string", [total], rows.flat()),
    tensor("int64", [2], BigInt64Array.of(BigInt(rows.length), BigInt(widest))),
  ];
}

function requireRank(value: Tensor, rank: number, text: string): void {
  if (value.shape.length !== rank) throw invalidArgument(`${text}${formatShape(value.shape)}`);
}

/** 1 バイトの区切り文字の集合で切る(StringSplit)。空の集合なら 1 バイトずつ。 */
function splitByAny(text: Uint8Array, delimiters: Uint8Array, skipEmpty: boolean): Uint8Array[] {
  if (text.length === 0) return [];
  if (delimiters.length === 0) return Array.from(text, (_, i) => text.subarray(i, i + 1));
  const parts: Uint8Array[] = [];
  let start = 0;
  for (let i = 0; i <= text.length; i++) {
    if (i < text.length && !delimiters.includes(text[i]!)) continue;
    if (i > start || !skipEmpty) parts.push(text.subarray(start, i));
    start = i + 1;
  }
  return parts;
}

/** 区切りの並びで、またはそれが空なら空白の続きで切る(StringSplitV2)。 */
function splitBy(text: Buffer, separator: Uint8Array, limit: number): Uint8Array[] {
  const parts: Uint8Array[] = [];
  const max = limit < 0 ? Number.POSITIVE_INFINITY : limit;
  let start = 0;
  if (separator.length > 0) {
    while (parts.length < max) {
      const found = text.indexOf(separator, start);
      if (found < 0) break;
      parts.push(text.subarray(start, found));
      start = found + separator.length;
    }
    parts.push(text.subarray(start));
    return parts;
  }
  if (limit === 0) return [text];
  for (;;) {
    while (start < text.length && isSpace(text[start]!)) start++;
    // 上限に達したら、残りは(空でも)そのまま一つの部品になる。
    if (parts.length >= max) return [...parts, text.subarray(start)];
    if (start >= text.length) return parts;
    let end = start;
    while (end < text.length && !isSpace(text[end]!)) end++;
    parts.push(text.subarray(start, end));
    start = end;
  }
}

function stringToNumber(attrs: Attrs): HostKernel {
  const dtype = attrs.dtype("out_type");
  const complain = (text: Uint8Array): Error =>
    invalidArgument(`StringToNumberOp could not correctly convert string: ${decodeText(text)}`);
  if (dtype === "float" || dtype === "double") {
    return ([input]) => {
      const data = newData(dtype, input!.shape);
      bytesOf(input!).forEach((text, i) => {
        const value = parseDouble(text);
        if (value === undefined) throw complain(text);
        data[i] = value;
      });
      return makeTensor(dtype, input!.shape, data);
    };
  }
  if (dtype !== "int32" && dtype !== "int64" && dtype !== "uint32" && dtype !== "uint64") {
    throw unimplemented(`StringToNumber to ${dtype} is not supported`);
  }
  const [low, high] = integerRange[dtype];
  return ([input]) => {
    const data = newData(dtype, input!.shape);
    bytesOf(input!).forEach((text, i) => {
      const value = parseInteger(text, low, high);
      if (value === undefined) throw complain(text);
      if (data instanceof BigInt64Array || data instanceof BigUint64Array) data[i] = value;
      else data[i] = Number(value);
    });
    return makeTensor(dtype, input!.shape, data);
  };
}

/** 先頭から `count` 文字ぶん進んだ位置。足りなければ末尾と不足の印。 */
function forward(text: Uint8Array, from: number, count: number): { at: number; enough: boolean } {
  let at = from;
  let walked = 0;
  while (walked < count && at < text.length) {
    do at++;
    while (at < text.length && !isCharacterStart(text[at]!));
    walked++;
  }
  return { at, enough: walked === count };
}

function backward(text: Uint8Array, from: number, count: number): { at: number; enough: boolean } {
  let at = from;
  let walked = 0;
  while (walked < count && at > 0) {
    do at--;
    while (at > 0 && !isCharacterStart(text[at]!));
    walked++;
  }
  return { at, enough: walked === count };
}

/** @returns 開始が文字列の外なら undefined。 */
function sliceCharacters(text: Uint8Array, pos: number, len: number): Uint8Array | undefined {
  if (pos >= 0) {
    const start = forward(text, 0, pos);
    if (!start.enough) return undefined;
    return text.subarray(start.at, forward(text, start.at, len).at);
  }
  const skipped = Math.max(-pos - len, 0);
  const end = backward(text, text.length, skipped);
  if (!end.enough) return undefined;
  const start = backward(text, end.at, -pos - skipped);
  return start.enough ? text.subarray(start.at, end.at) : undefined;
}

/** @returns 開始が文字列の外なら undefined。負の長さは末尾まで(C++ の符号なし変換と同じ)。 */
function sliceBytes(text: Uint8Array, pos: number, len: number): Uint8Array | undefined {
  const start = pos < 0 ? pos + text.length : pos;
  if (start < 0 || start > text.length) return undefined;
  return text.subarray(start, len < 0 ? text.length : start + len);
}

function substr(attrs: Attrs): HostKernel {
  const bytewise = unitOf(attrs) === "BYTE";
  return ([input, pos, len]) => {
    if (formatShape(pos!.shape) !== formatShape(len!.shape)) {
      throw invalidArgument(
        `pos and len should have the same shape, got: ${formatShape(pos!.shape)} vs. ${formatShape(len!.shape)}`,
      );
    }
    const shape = broadcastShapes(input!.shape, pos!.shape);
    if (shape === undefined) {
      throw invalidArgument(
        `Incompatible shapes: ${formatShape(input!.shape)} vs. ${formatShape(pos!.shape)}`,
      );
    }
    const texts = bytesOf(input!);
    const positions = toNumbers(pos!);
    const lengths = toNumbers(len!);
    const textAt = broadcastStrides(input!.shape, shape);
    const posAt = broadcastStrides(pos!.shape, shape);
    const strides = stridesOf(shape);
    const out = newData("string", shape);
    for (let i = 0; i < out.length; i++) {
      let from = 0;
      let which = 0;
      let rest = i;
      for (let axis = 0; axis < shape.length; axis++) {
        const coordinate = Math.floor(rest / strides[axis]!);
        rest -= coordinate * strides[axis]!;
        from += coordinate * textAt[axis]!;
        which += coordinate * posAt[axis]!;
      }
      const text = texts[from]!;
      const position = positions[which]!;
      const part = (bytewise ? sliceBytes : sliceCharacters)(text, position, lengths[which]!);
      if (part === undefined) {
        const subject = bytewise ? `string b'${decodeText(text)}'` : "string";
        throw invalidArgument(`pos ${position} out of range for ${subject} at index ${i}`);
      }
      out[i] = part;
    }
    return tensor("string", shape, out);
  };
}

function reduceJoin(attrs: Attrs): HostKernel {
  const separator = attrs.bytes("separator");
  const keepDims = attrs.bool("keep_dims");
  return ([input, indices]) => {
    const rank = input!.shape.length;
    const axes = toNumbers(indices!).map((axis) => {
      if (axis < -rank || axis >= rank) {
        throw outOfRange(`Invalid reduction dimension ${axis} for input with ${rank} dimension(s)`);
      }
      return axis < 0 ? axis + rank : axis;
    });
    axes.forEach((axis, i) => {
      if (axes.indexOf(axis) !== i) throw invalidArgument(`Duplicate reduction dimension ${axis}`);
    });
    if (axes.length === 0) return input!;
    const strides = stridesOf(input!.shape);
    const kept = input!.shape.map((_, axis) => axis).filter((axis) => !axes.includes(axis));
    const offsets = (of: readonly number[]): number[] => {
      let out = [0];
      for (const axis of of) {
        const steps = Array.from({ length: input!.shape[axis]! }, (_, i) => i * strides[axis]!);
        out = out.flatMap((base) => steps.map((step) => base + step));
      }
      return out;
    };
    // 先に挙げた軸ほど速く回る。
    const inner = offsets(axes.toReversed());
    const texts = bytesOf(input!);
    const shape = keepDims
      ? input!.shape.map((dim, axis) => (axes.includes(axis) ? 1 : dim))
      : kept.map((axis) => input!.shape[axis]!);
    const out = offsets(kept).map((base) =>
      joinBytes(
        inner.map((offset) => texts[base + offset]!),
        separator,
      ),
    );
    return tensor("string", shape, out);
  };
}

function unsortedSegmentJoin(attrs: Attrs): HostKernel {
  const separator = attrs.bytes("separator");
  return ([input, ids, count]) => {
    ids!.shape.forEach((dim, axis) => {
      if (dim !== input!.shape[axis]) {
        throw invalidArgument(
          `Segment dimension is ${dim} while input dimension is ${input!.shape[axis]} in rank ${axis}`,
        );
      }
    });
    const segments = toNumber(count!);
    if (segments < 0) {
      throw invalidArgument(`Number of segments must be non-negative but got ${segments}`);
    }
    const suffix = input!.shape.slice(ids!.shape.length);
    const inner = sizeOf(suffix);
    const shape = [segments, ...suffix];
    const groups: Uint8Array[][] = newData("string", shape).map(() => []);
    const texts = bytesOf(input!);
    toNumbers(ids!).forEach((segment, row) => {
      if (segment >= segments || segment < 0) {
        throw invalidArgument(
          "segment_ids are not allowed to exceed num_segments or to have negative values.",
        );
      }
      for (let i = 0; i < inner; i++) groups[segment * inner + i]!.push(texts[row * inner + i]!);
    });
    return tensor(
      "string",
      shape,
      groups.map((group) => joinBytes(group, separator)),
    );
  };
}

function encodeBase64(attrs: Attrs): HostKernel {
  const pad = attrs.bool("pad");
  return mapStrings((bytes) => {
    const text = Buffer.from(bytes).toString("base64url");
    return fromLatin1(pad ? text.padEnd(Math.ceil(text.length / 4) * 4, "=") : text);
  });
}

const base64Text = /^[A-Za-z0-9_-]*$/u;

function decodeBase64(bytes: Uint8Array): Uint8Array {
  const text = toLatin1(bytes);
  const digits = text.length % 4 === 0 ? text.replace(/={1,2}$/u, "") : text;
  // 4 文字ずつ読むので、余りの検査は最後に来る。
  const whole = digits.slice(0, digits.length - (digits.length % 4 === 1 ? 1 : 0));
  if (!base64Text.test(whole)) throw invalidArgument("Invalid character found in base64.");
  if (text.length % 4 === 1) throw invalidArgument("Base64 string length cannot be 1 modulo 4.");
  return Buffer.from(digits, "base64url");
}

/** 1 要素の幅ごとにバイトの並びを逆にする。 */
function swapEndian(bytes: Uint8Array, width: number): Uint8Array {
  if (width === 1) return bytes;
  const out = new Uint8Array(bytes.length);
  for (let i = 0; i < bytes.length; i++) out[i] = bytes[i - (i % width) + width - 1 - (i % width)]!;
  return out;
}

/** メモリの並びのままのバイト列を、その dtype の配列に。 */
function reinterpret(dtype: NumericDType, bytes: Uint8Array): TypedArray {
  const count = bytes.length / byteWidth(dtype);
  const buffer = bytes.slice().buffer;
  if (dtype === "half") return Float32Array.from(new Float16Array(buffer, 0, count));
  if (dtype === "bfloat16") {
    const words = new Uint32Array(new Uint16Array(buffer, 0, count)).map((word) => word << 16);
    return new Float32Array(words.buffer);
  }
  if (dtype === "bool") return new Uint8Array(buffer).map((value) => (value ? 1 : 0));
  const lanes = dtype === "complex64" || dtype === "complex128" ? 2 : 1;
  return new (arrayOf(dtype))(buffer, 0, count * lanes);
}

function outType(attrs: Attrs): NumericDType {
  const dtype = attrs.dtype("out_type");
  if (dtype === undefined || dtype === "string") throw unimplemented(`${dtype} is not supported here`);
  return dtype;
}

/** 複素数は実部と虚部を別々に並べ替える。 */
const swapWidth = (dtype: NumericDType): number =>
  dtype === "complex64" ? 4 : dtype === "complex128" ? 8 : byteWidth(dtype);

function decodeRaw(attrs: Attrs): HostKernel {
  const dtype = outType(attrs);
  const width = byteWidth(dtype);
  const little = attrs.bool("little_endian");
  return ([input]) => {
    const texts = bytesOf(input!);
    const length = texts[0]?.length ?? 0;
    texts.forEach((text, i) => {
      if (text.length !== length) {
        throw invalidArgument(
          `DecodeRaw requires input strings to all be the same size, but element ${i} has size ${length} != ${text.length}`,
        );
      }
    });
    if (length % width !== 0) {
      throw invalidArgument(
        `Input to DecodeRaw has length ${length} that is not a multiple of ${width}, the size of ${dtype}`,
      );
    }
    const all = Buffer.concat(texts);
    const data = reinterpret(dtype, little ? all : swapEndian(all, swapWidth(dtype)));
    return makeTensor(dtype, [...input!.shape, length / width], data);
  };
}

function decodePaddedRaw(attrs: Attrs): HostKernel {
  const dtype = outType(attrs);
  const width = byteWidth(dtype);
  const little = attrs.bool("little_endian");
  return ([input, fixed]) => {
    if (fixed!.shape.length !== 0) {
      throw invalidArgument(`k must be scalar, got shape ${formatShape(fixed!.shape)}`);
    }
    const length = toNumber(fixed!);
    if (length % width !== 0) {
      throw invalidArgument(`fixed_length (${length}) must be a multiple of the size of out_type (${width})`);
    }
    if (length <= 0) throw invalidArgument(`fixed_length (${length}) must be greater than zero.`);
    const texts = bytesOf(input!);
    const all = newData("uint8", [texts.length, length]);
    texts.forEach((text, i) => {
      all.set(text.subarray(0, length), i * length);
    });
    const data = reinterpret(dtype, little ? all : swapEndian(all, swapWidth(dtype)));
    return makeTensor(dtype, [...input!.shape, length / width], data);
  };
}

function stringNGrams(attrs: Attrs): HostKernel {
  const separator = attrs.bytes("separator");
  const widths = attrs.ints("ngram_widths");
  const left = attrs.bytes("left_pad");
  const right = attrs.bytes("right_pad");
  const fixedPad = attrs.int("pad_width");
  const preserveShort = attrs.bool("preserve_short_sequences");
  const splitsType = attrs.dtype("Tsplits") === "int32" ? "int32" : "int64";
  const padWidth = (width: number): number => Math.min(fixedPad < 0 ? width - 1 : fixedPad, width - 1);

  const gramsOf = (tokens: readonly Uint8Array[], width: number, count: number): Uint8Array[] => {
    const pad = padWidth(width);
    return Array.from({ length: count }, (_, index) => {
      const before = Math.max(0, pad - index);
      const after = Math.max(0, pad - (count - (index + 1)));
      const from = before > 0 ? 0 : index - pad;
      return joinBytes(
        [
          ...new Array<Uint8Array>(before).fill(left),
          ...tokens.slice(from, from + Math.max(width - before - after, 0)),
          ...new Array<Uint8Array>(after).fill(right),
        ],
        separator,
      );
    });
  };

  const checkSplits = (splits: readonly number[], size: number): void => {
    if (splits.length === 0) return;
    if (splits[0] !== 0) throw invalidArgument(`First split value must be 0, got ${splits[0]}`);
    let last = 0;
    for (const split of splits) {
      if (split < last || split > size) {
        throw invalidArgument(`Invalid split value ${split}, must be in [${last}, ${size}]`);
      }
      last = split;
    }
    if (last !== size) {
      throw invalidArgument(`Last split value must be data size. Expected ${size}, got ${last}`);
    }
  };

  return ([data, splitsTensor]) => {
    if (widths.some((width) => width <= 0))
      throw invalidArgument("ngram_widths must contain positive values");
    const tokens = bytesOf(data!);
    const splits = toNumbers(splitsTensor!);
    checkSplits(splits, tokens.length);
    if (splits.length === 0) {
      return [tensor("string", data!.shape, newData("string", data!.shape)), splitsTensor!];
    }
    const outSplits = newData(splitsType, splitsTensor!.shape);
    const out: Uint8Array[] = [];
    for (let row = 0; tokens.length > 0 && row + 1 < splits.length; row++) {
      const part = tokens.slice(splits[row], splits[row + 1]);
      const before = out.length;
      for (const width of widths) {
        const count = Math.max(0, part.length + 2 * padWidth(width) - width + 1);
        out.push(...gramsOf(part, width, count));
      }
      if (preserveShort && out.length === before && part.length > 0) {
        if (fixedPad < 0) {
          throw invalidArgument(
            `Pad width should be >= 0 when preserve_short_sequences is True and ngram_widths are not provided, got ${fixedPad}`,
          );
        }
        out.push(...gramsOf(part, part.length + 2 * fixedPad, 1));
      }
      if (outSplits instanceof Int32Array) outSplits[row + 1] = out.length;
      else outSplits[row + 1] = BigInt(out.length);
    }
    return [tensor("string", [out.length], out), makeTensor(splitsType, splitsTensor!.shape, outSplits)];
  };
}

/** バイト列のまま行う文字列演算。 */
export const stringOps: readonly OpRow[] = [
  { op: "StringLower", host: ({ attrs }) => changeCase(attrs, 0x41, (text) => text.toLowerCase()) },
  { op: "StringUpper", host: ({ attrs }) => changeCase(attrs, 0x61, (text) => text.toUpperCase()) },
  { op: "StringStrip", host: () => mapStrings(strip) },
  {
    op: "StringLength",
    host: ({ attrs }) => {
      const length = unitOf(attrs) === "BYTE" ? (text: Uint8Array) => text.length : countCharacters;
      return ([input]) => tensor("int32", input!.shape, Int32Array.from(bytesOf(input!), length));
    },
  },
  { op: "StringJoin", host: ({ attrs }) => stringJoin(attrs) },
  {
    op: "StringSplit",
    host: ({ attrs }) => {
      const skipEmpty = attrs.bool("skip_empty");
      return ([input, delimiter]) => {
        requireRank(input!, 1, "input must be a vector, got shape: ");
        requireRank(delimiter!, 0, "delimiter must be a scalar, got shape: ");
        const delimiters = bytesOf(delimiter!)[0] ?? NO_BYTES;
        return ragged(bytesOf(input!).map((text) => splitByAny(text, delimiters, skipEmpty)));
      };
    },
  },
  {
    op: "StringSplitV2",
    host: ({ attrs }) => {
      const limit = attrs.int("maxsplit");
      return ([input, separator]) => {
        requireRank(input!, 1, "input must be a vector, got shape: ");
        requireRank(separator!, 0, "sep must be a scalar, got shape: ");
        const by = bytesOf(separator!)[0] ?? NO_BYTES;
        return ragged(
          bytesOf(input!).map((text) =>
            splitBy(Buffer.from(text.buffer, text.byteOffset, text.byteLength), by, limit),
          ),
        );
      };
    },
  },
  { op: "StringToNumber", host: ({ attrs }) => stringToNumber(attrs) },
  { op: "Substr", host: ({ attrs }) => substr(attrs) },
  { op: "ReduceJoin", host: ({ attrs }) => reduceJoin(attrs) },
  { op: "UnsortedSegmentJoin", host: ({ attrs }) => unsortedSegmentJoin(attrs) },
  { op: "StringNGrams", host: ({ attrs }) => stringNGrams(attrs) },
  { op: "EncodeBase64", host: ({ attrs }) => encodeBase64(attrs) },
  { op: "DecodeBase64", host: () => mapStrings(decodeBase64) },
  { op: "DecodeRaw", host: ({ attrs }) => decodeRaw(attrs) },
  { op: "DecodePaddedRaw", host: ({ attrs }) => decodePaddedRaw(attrs) },
];
