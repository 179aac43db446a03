import type { Tensor } from "../../tensor/tensor.ts";

/** 空のバイト列。 */
export const NO_BYTES = new Uint8Array(0);

/** string テンソルの中身。dtype は計画時に確かめられている。 */
export function bytesOf(value: Tensor): Uint8Array[] {
  return value.data as Uint8Array[];
}

/** 1 バイト = 1 文字の文字列。任意のバイト列を Map の鍵にしたり、ASCII として調べたりするため。 */
export function toLatin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}

/** {@link toLatin1} の逆。 */
export function fromLatin1(text: string): Uint8Array {
  return Buffer.from(text, "latin1");
}

/** 間に `separator` を挟んでつなぐ。 */
export function joinBytes(parts: readonly Uint8Array[], separator: Uint8Array): Uint8Array {
  if (parts.length === 1) return parts[0]!;
  let length = separator.length * Math.max(parts.length - 1, 0);
  for (const part of parts) length += part.length;
  const out = new Uint8Array(length);
  let at = 0;
  for (let i = 0; i < parts.length; i++) {
    if (i > 0) {
      out.set(separator, at);
      at += separator.length;
    }
    out.set(parts[i]!, at);
    at += parts[i]!.length;
  }
  return out;
}

/** C の isspace(ASCII)。 */
export function isSpace(byte: number): boolean {
  return byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
}

/** UTF-8 の続きのバイトでないもの、つまり文字の頭。 */
export function isCharacterStart(byte: number): boolean {
  return (byte & 0xc0) !== 0x80;
}

/** 前後の空白(ASCII)を除く。 */
export function strip(bytes: Uint8Array): Uint8Array {
  let start = 0;
  let end = bytes.length;
  while (start < end && isSpace(bytes[start]!)) start++;
  while (end > start && isSpace(bytes[end - 1]!)) end--;
  return bytes.subarray(start, end);
}
