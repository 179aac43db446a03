const hexDigits = "0123456789ABCDEF";

/** 文字列の中で逆斜線を付ける文字。値は付けた後の文字、`u` は `\u00XX` の形。 */
const escapeOf = createEscapes();

function createEscapes(): Uint8Array {
  const table = new Uint8Array(256).fill("u".charCodeAt(0), 0, 0x20);
  const codes = [0x22, 0x5c, 0x08, 0x09, 0x0a, 0x0c, 0x0d];
  for (const [i, code] of codes.entries()) table[code] = '"\\btnfr'.charCodeAt(i);
  return table;
}

const encoder = new TextEncoder();

/**
 * 伸びるバイト列。応答の本文はすべてここに書く(文字列テンソルは UTF-8 とは限らないので文字列では組み立てない)。
 * 公開の `bytes` と `at` は、熱い経路が {@link reserve} の後に直接書くためのもの。
 */
export class ByteSink {
  bytes: Buffer<ArrayBuffer>;
  at = 0;

  constructor(capacity = 256) {
    this.bytes = Buffer.alloc(capacity);
  }

  /** あと `count` バイトを境界検査なしに書けるようにする。 */
  reserve(count: number): void {
    const needed = this.at + count;
    if (needed <= this.bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(needed, this.bytes.length * 2));
    grown.set(this.bytes.subarray(0, this.at));
    this.bytes = grown;
  }

  byte(code: number): void {
    this.reserve(1);
    this.bytes[this.at++] = code;
  }

  /** ASCII だけの文字列。 */
  ascii(text: string): void {
    this.reserve(text.length);
    for (let i = 0; i < text.length; i++) this.bytes[this.at++] = text.charCodeAt(i);
  }

  raw(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.bytes.set(bytes, this.at);
    this.at += bytes.length;
  }

  /** 改行と、4 × `depth` 個の空白。 */
  newline(depth: number): void {
    const count = depth * 4;
    this.reserve(count + 1);
    const out = this.bytes;
    let { at } = this;
    out[at++] = 0x0a;
    for (let i = 0; i < count; i++) out[at++] = 0x20;
    this.at = at;
  }

  /** 引用符つきの JSON 文字列。UTF-8 かどうかは確かめず、0x80 以上と `/` はそのまま写す。 */
  quoted(value: Uint8Array | string): void {
    const bytes = typeof value === "string" ? encoder.encode(value) : value;
    // 最悪で 1 バイトが \u00XX の 6 バイトになる。
    this.reserve(bytes.length * 6 + 2);
    const out = this.bytes;
    let at = this.at;
    out[at++] = 0x22;
    for (let i = 0; i < bytes.length; i++) {
      const code = bytes[i]!;
      const escaped = escapeOf[code]!;
      if (escaped === 0) {
        out[at++] = code;
        continue;
      }
      out[at++] = 0x5c;
      out[at++] = escaped;
      if (escaped === 0x75) {
        out[at++] = 0x30;
        out[at++] = 0x30;
        out[at++] = hexDigits.charCodeAt(code >> 4);
        out[at++] = hexDigits.charCodeAt(code & 15);
      }
    }
    out[at++] = 0x22;
    this.at = at;
  }

  /** 絶対値が 2^53 未満の整数を 10 進で。 */
  integer(value: number): void {
    this.reserve(17);
    const out = this.bytes;
    let rest = value;
    if (rest < 0) {
      out[this.at++] = 0x2d;
      rest = -rest;
    }
    let digits = 1;
    for (let limit = 10; rest >= limit; limit *= 10) digits++;
    for (let i = this.at + digits - 1; i >= this.at; i--) {
      const quotient = Math.floor(rest / 10);
      out[i] = 0x30 + (rest - quotient * 10);
      rest = quotient;
    }
    this.at += digits;
  }

  /** 書いた内容が ASCII だけのとき、その文字列。 */
  toAscii(): string {
    return this.bytes.toString("latin1", 0, this.at);
  }

  /** 書いた内容の写し。 */
  toBytes(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.bytes.subarray(0, this.at));
  }
}
