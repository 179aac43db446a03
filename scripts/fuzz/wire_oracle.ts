import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";

const VARINT = 0;
const FIXED64 = 1;
const LENGTH = 2;
const GROUP = 3;
const FIXED32 = 5;
const MAX_DEPTH = 100;
const strictUtf8 = new TextDecoder("utf-8", { fatal: true });

/** `packed` なら、詰めた列でも 1 つずつでもよい。 */
interface Known {
  readonly wireType: number;
  readonly packed: boolean;
  readonly isString: boolean;
}

/**
 * どの読み手でも同じ意味になるバイト列か。protobuf-es は、入れ子の長さが親からはみ出していても、
 * 型の印が合わなくても読んでしまうので、そこでは基準に使えない(C++ は断るか、知らない欄として飛ばす)。
 */
export function isValidWire(schema: DescMessage, bytes: Uint8Array): boolean {
  return isValid(schema, bytes, 0);
}

function isValid(schema: DescMessage | undefined, bytes: Uint8Array, depth: number): boolean {
  if (depth > MAX_DEPTH) return false;
  const fields = new Map(schema?.fields.map((field) => [field.number, field]));
  let at = 0;
  while (at < bytes.length) {
    const tag = readTag(bytes, at);
    if (tag === undefined) return false;
    at = tag.to;
    const number = Number(tag.value >> 3n);
    const wireType = Number(tag.value & 7n);
    const end = skip(bytes, at, wireType, number, depth);
    if (end === undefined) return false;
    const field = fields.get(number);
    if (field !== undefined && !hasOwnWireType(field, wireType)) return false;
    if (wireType === LENGTH && field !== undefined && !isValidField(field, bytes, at, end, depth)) {
      return false;
    }
    at = end;
  }
  return true;
}

function isValidField(field: DescField, bytes: Uint8Array, at: number, end: number, depth: number): boolean {
  const length = readVarint(bytes, at)!;
  const inner = bytes.subarray(length.to, end);
  if (field.fieldKind === "map") return isValidMapEntry(field, inner, depth);
  const { message } = field;
  if (message !== undefined) return isValid(message, inner, depth + 1);
  const known = describe(field);
  if (known.isString) return isUtf8(inner);
  return known.wireType === LENGTH || !known.packed || isPacked(inner, known.wireType);
}

function hasOwnWireType(field: DescField, wireType: number): boolean {
  if (field.fieldKind === "map" || field.message !== undefined) return wireType === LENGTH;
  const { wireType: own, packed } = describe(field);
  return wireType === own || (packed && wireType === LENGTH);
}

function isValidMapEntry(field: DescField & { fieldKind: "map" }, bytes: Uint8Array, depth: number): boolean {
  let at = 0;
  while (at < bytes.length) {
    const tag = readTag(bytes, at);
    if (tag === undefined) return false;
    const number = Number(tag.value >> 3n);
    const wireType = Number(tag.value & 7n);
    const end = skip(bytes, tag.to, wireType, number, depth);
    if (end === undefined) return false;
    // このリポジトリの対応表は、値がメッセージか文字列のものだけを試す。
    if (number <= 2 && wireType !== LENGTH) return false;
    if (wireType === LENGTH) {
      const inner = bytes.subarray(readVarint(bytes, tag.to)!.to, end);
      if (number === 1 && field.mapKey === ScalarType.STRING && !isUtf8(inner)) return false;
      if (number === 2 && field.message !== undefined && !isValid(field.message, inner, depth + 1)) {
        return false;
      }
    }
    at = end;
  }
  return true;
}

function describe(field: DescField): Known {
  const scalar = field.fieldKind === "scalar" || field.fieldKind === "list" ? field.scalar : undefined;
  const isString = scalar === ScalarType.STRING;
  const packed = field.fieldKind === "list";
  switch (scalar) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return { wireType: LENGTH, packed: false, isString };
    case ScalarType.DOUBLE:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return { wireType: FIXED64, packed, isString };
    case ScalarType.FLOAT:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return { wireType: FIXED32, packed, isString };
    default:
      return { wireType: VARINT, packed, isString };
  }
}

function isPacked(bytes: Uint8Array, wireType: number): boolean {
  if (wireType === FIXED64) return bytes.length % 8 === 0;
  if (wireType === FIXED32) return bytes.length % 4 === 0;
  let at = 0;
  while (at < bytes.length) {
    const next = readVarint(bytes, at);
    if (next === undefined) return false;
    at = next.to;
  }
  return true;
}

/** @returns 値の次の位置。壊れていれば undefined。 */
function skip(
  bytes: Uint8Array,
  at: number,
  wireType: number,
  number: number,
  depth: number,
): number | undefined {
  switch (wireType) {
    case VARINT:
      return readVarint(bytes, at)?.to;
    case FIXED64:
      return at + 8 <= bytes.length ? at + 8 : undefined;
    case FIXED32:
      return at + 4 <= bytes.length ? at + 4 : undefined;
    case LENGTH: {
      const length = readVarint(bytes, at);
      if (length === undefined || length.value > BigInt(bytes.length - length.to)) return undefined;
      return length.to + Number(length.value);
    }
    case GROUP:
      return depth > MAX_DEPTH ? undefined : skipGroup(bytes, at, number, depth + 1);
    default:
      return undefined;
  }
}

function skipGroup(bytes: Uint8Array, from: number, number: number, depth: number): number | undefined {
  let at = from;
  for (;;) {
    const tag = readTag(bytes, at);
    if (tag === undefined) return undefined;
    const inner = Number(tag.value >> 3n);
    if (Number(tag.value & 7n) === 4) return inner === number ? tag.to : undefined;
    const end = skip(bytes, tag.to, Number(tag.value & 7n), inner, depth);
    if (end === undefined) return undefined;
    at = end;
  }
}

const MAX_TAG_BYTES = 5;

function readTag(bytes: Uint8Array, from: number): { value: bigint; to: number } | undefined {
  const tag = readVarint(bytes, from);
  const isTag = tag !== undefined && tag.to - from <= MAX_TAG_BYTES && tag.value < 1n << 32n;
  return isTag && tag.value >> 3n !== 0n ? tag : undefined;
}

function readVarint(bytes: Uint8Array, from: number): { value: bigint; to: number } | undefined {
  let value = 0n;
  for (let i = 0; i < 10; i++) {
    const byte = bytes[from + i];
    if (byte === undefined) return undefined;
    value |= BigInt(byte & 127) << BigInt(7 * i);
    if (byte < 128) return { value: BigInt.asUintN(64, value), to: from + i + 1 };
  }
  return undefined;
}

function isUtf8(bytes: Uint8Array): boolean {
  try {
    strictUtf8.decode(bytes);
    return true;
  } catch {
    return false;
  }
}
