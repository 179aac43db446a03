import type { DType } from "../../tensor/dtype.ts";

/** Feature が運べる型と、その値の列。 */
export interface FeatureValues {
  float: Float32Array;
  int64: BigInt64Array;
  string: Uint8Array[];
}
export type FeatureType = keyof FeatureValues;

/** メッセージの中の 1 区間。 */
interface Span {
  readonly start: number;
  readonly end: number;
}

/** `key` と、復号していない Feature(または FeatureList)。 */
export interface MapEntry {
  /** 1 バイト = 1 文字。 */
  readonly key: string;
  readonly value: Span;
}

const LENGTH_DELIMITED = 2;

/** 壊れたバイト列。呼び手が、どの入力かを添えた StatusError にする。 */
export class MalformedExample extends Error {}

/**
 * tf.Example のバイト列を、要るところだけ読む。木を作らないので、1 特徴あたりの費用は値の写しだけになる。
 *
 * @see tensorflow/core/example/example.proto
 * @see tensorflow/core/util/example_proto_fast_parsing.cc
 */
export class ExampleReader {
  private readonly view: DataView;
  private at = 0;

  constructor(private readonly bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** 全体。 */
  get whole(): Span {
    return { start: 0, end: this.bytes.length };
  }

  /**
   * `map<string, …>` を持つメッセージが並ぶ欄を読む。
   *
   * @param field 外のメッセージでの欄の番号。その中の欄 1 が map。
   * @throws MalformedExample
   */
  entries(span: Span, field: number): MapEntry[] {
    const out: MapEntry[] = [];
    for (const outer of this.fields(span, field)) {
      for (const entry of this.fields(outer, 1)) {
        const key = this.last(entry, 1);
        const value = this.last(entry, 2);
        if (key === undefined || value === undefined) throw new MalformedExample();
        out.push({ key: this.latin1(key), value });
      }
    }
    return out;
  }

  /** FeatureList の中の Feature の並び。 */
  list(span: Span): Span[] {
    return [...this.fields(span, 1)];
  }

  /** Feature に入っている型。空の Feature は undefined。 */
  typeOf({ start, end }: Span): FeatureType | undefined {
    if (start >= end) return undefined;
    switch (this.bytes[start]) {
      case 0x0a:
        return "string";
      case 0x12:
        return "float";
      case 0x1a:
        return "int64";
      default:
        throw new MalformedExample();
    }
  }

  /** @param type {@link typeOf} の答え。 */
  values<T extends FeatureType>(feature: Span, type: T): FeatureValues[T] {
    this.at = feature.start + 1;
    const list = this.delimited(feature.end);
    const read: { readonly [K in FeatureType]: (span: Span) => FeatureValues[K] } = {
      float: (span) => this.floats(span),
      int64: (span) => this.integers(span),
      string: (span) => this.strings(span),
    };
    return read[type](list);
  }

  private floats(list: Span): Float32Array {
    let count = 0;
    for (const { start, end } of this.numbers(list, 5)) {
      if ((end - start) % 4 !== 0) throw new MalformedExample();
      count += (end - start) / 4;
    }
    const out = new Float32Array(count);
    let i = 0;
    for (const { start, end } of this.numbers(list, 5)) {
      for (let at = start; at < end; at += 4) out[i++] = this.view.getFloat32(at, true);
    }
    return out;
  }

  private integers(list: Span): BigInt64Array {
    let count = 0;
    for (const { start, end } of this.numbers(list, 0)) {
      for (let at = start; at < end; at++) if (this.bytes[at]! < 0x80) count++;
      if (end > start && this.bytes[end - 1]! >= 0x80) throw new MalformedExample();
    }
    const out = new BigInt64Array(count);
    // BigInt を作らずに、下位と上位の 32 bit を直に置く。
    const words = new Uint32Array(out.buffer);
    let i = 0;
    for (const { start, end } of this.numbers(list, 0)) {
      this.at = start;
      while (this.at < end) {
        this.varint(end);
        words[i++] = this.low;
        words[i++] = this.high;
      }
    }
    return out;
  }

  private strings(list: Span): Uint8Array[] {
    return Array.from(this.fields(list, 1), ({ start, end }) => this.bytes.subarray(start, end));
  }

  /** 数の並び。packed でも 1 個ずつでも、値のバイトの区間を返す。 */
  private *numbers(list: Span, loose: 0 | 5): Generator<Span> {
    this.at = list.start;
    while (this.at < list.end) {
      const tag = this.tag(list.end);
      if (tag >>> 3 === 1 && (tag & 7) === LENGTH_DELIMITED) {
        const span = this.delimited(list.end);
        yield span;
        this.at = span.end;
      } else if (tag >>> 3 === 1 && (tag & 7) === loose) {
        const start = this.at;
        this.skip(tag, list.end);
        const end = this.at;
        yield { start, end };
        this.at = end;
      } else {
        this.skip(tag, list.end);
      }
    }
  }

  /** 長さつきの欄 `field` の中身を順に。ほかの欄は飛ばす。 */
  private *fields({ start, end }: Span, field: number): Generator<Span> {
    this.at = start;
    while (this.at < end) {
      const tag = this.tag(end);
      if (tag >>> 3 === field && (tag & 7) === LENGTH_DELIMITED) {
        const span = this.delimited(end);
        yield span;
        this.at = span.end;
      } else {
        this.skip(tag, end);
      }
    }
  }

  private last(span: Span, field: number): Span | undefined {
    let found: Span | undefined;
    for (const part of this.fields(span, field)) found = part;
    return found;
  }

  private latin1({ start, end }: Span): string {
    let text = "";
    for (let i = start; i < end; i++) text += String.fromCharCode(this.bytes[i]!);
    return text;
  }

  private delimited(limit: number): Span {
    this.varint(limit);
    const start = this.at;
    const end = start + this.low;
    if (this.high !== 0 || end > limit) throw new MalformedExample();
    this.at = end;
    return { start, end };
  }

  private tag(limit: number): number {
    this.varint(limit);
    if (this.high !== 0 || this.low >>> 3 === 0) throw new MalformedExample();
    return this.low;
  }

  private skip(tag: number, limit: number): void {
    switch (tag & 7) {
      case 0:
        this.varint(limit);
        return;
      case 1:
        this.at += 8;
        break;
      case LENGTH_DELIMITED:
        this.delimited(limit);
        return;
      case 5:
        this.at += 4;
        break;
      default:
        throw new MalformedExample();
    }
    if (this.at > limit) throw new MalformedExample();
  }

  private low = 0;
  private high = 0;

  /** 可変長の整数 1 つを `low` と `high` に読む。 */
  private varint(limit: number): void {
    let low = 0;
    let high = 0;
    for (let i = 0; i < 10; i++) {
      if (this.at >= limit) throw new MalformedExample();
      const byte = this.bytes[this.at++]!;
      const bits = byte & 0x7f;
      if (i < 4) low |= bits << (7 * i);
      else if (i === 4) {
        low |= bits << 28;
        high = bits >>> 4;
      } else high |= bits << (7 * i - 32);
      if (byte < 0x80) {
        this.low = low >>> 0;
        this.high = high >>> 0;
        return;
      }
    }
    throw new MalformedExample();
  }
}

/** Feature に載る型か。 */
export function isFeatureType(dtype: DType | undefined): dtype is FeatureType {
  return dtype === "float" || dtype === "int64" || dtype === "string";
}
