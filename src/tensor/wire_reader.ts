import { Code, StatusError } from "../base/status.ts";

/** ワイヤの型。 */
export const VARINT = 0;
export const FIXED64 = 1;
export const LENGTH = 2;
const GROUP = 3;
export const FIXED32 = 5;
const MAX_GROUP_DEPTH = 32;

/** バイト列の一部。 */
export interface Span {
  readonly from: number;
  readonly to: number;
}

/** protobuf として読めない。値が悪いだけの失敗とは、客への答えが違う。 */
export class BrokenWire extends StatusError {
  constructor(message: string) {
    super(Code.INVALID_ARGUMENT, message);
  }
}

export const truncated = () => new BrokenWire("protobuf is truncated");

/** ワイヤを前から読む。読み過ぎは必ず {@link BrokenWire}。 */
export class WireReader {
  readonly bytes: Uint8Array;
  /** 読んでよい終わり。 */
  end: number;
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
    throw new BrokenWire("protobuf has a varint longer than 10 bytes");
  }

  /** 長さつきの部分の範囲を返し、その先へ進む。 */
  span(): Span {
    const length = this.#length();
    const from = this.at;
    this.at += length;
    return { from, to: this.at };
  }

  #length(): number {
    this.varint();
    const length = this.low >>> 0;
    if (this.high !== 0 || length > this.end - this.at) throw truncated();
    return length;
  }

  /** 長さつきの部分に入る。 @returns 元の終わり。出るときに {@link end} に戻す。 */
  enter(): number {
    const outer = this.end;
    const length = this.#length();
    this.end = this.at + length;
    return outer;
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
        if (depth >= MAX_GROUP_DEPTH) throw new BrokenWire("protobuf nests too deeply");
        const close = (tag & ~7) | 4;
        for (;;) {
          const inner = this.tag();
          if (inner === close) return;
          this.skip(inner, depth + 1);
        }
      }
    }
    throw new BrokenWire("protobuf has an unknown wire type");
  }

  tag(): number {
    this.varint();
    if (this.high !== 0 || this.low >>> 3 === 0) throw new BrokenWire("protobuf has an invalid tag");
    return this.low >>> 0;
  }

  advance(count: number): void {
    if (count > this.end - this.at) throw truncated();
    this.at += count;
  }
}
