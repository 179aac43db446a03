import { invalidArgument } from "../base/status.ts";

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const INVALID = 255;
const SPACE = 254;
const PADDING = 253;
const sextets = createSextets();

function createSextets(): Uint8Array {
  const table = new Uint8Array(256).fill(INVALID);
  for (let i = 0; i < alphabet.length; i++) table[alphabet.charCodeAt(i)] = i;
  for (const space of " \t\n\v\f\r") table[space.charCodeAt(0)] = SPACE;
  for (const padding of "=.") table[padding.charCodeAt(0)] = PADDING;
  return table;
}

/**
 * 標準の文字による base64 を読む。空白は読み飛ばし、詰め物は無くてもよいが、有るなら数が合うこと。
 * 詰め物には `=` のほか `.` も使える。web 用の `-` `_` は受けない。
 *
 * @throws INVALID_ARGUMENT `Unable to base64 decode`
 * @see absl/strings/escaping.cc Base64Unescape
 */
export function decodeBase64(text: Uint8Array): Uint8Array {
  const out = new Uint8Array(Math.ceil((text.length * 3) / 4));
  let to = 0;
  let pending = 0;
  let filled = 0;
  let padding = 0;
  for (const code of text) {
    const value = sextets[code]!;
    if (value === SPACE) continue;
    if (value === PADDING) {
      padding++;
      continue;
    }
    if (value === INVALID || padding > 0) throw undecodable();
    pending = (pending << 6) | value;
    if (++filled < 4) continue;
    out[to++] = pending >> 16;
    out[to++] = pending >> 8;
    out[to++] = pending;
    pending = 0;
    filled = 0;
  }
  if (filled === 1 || (padding > 0 && padding !== (4 - filled) % 4)) throw undecodable();
  if (filled === 2) out[to++] = pending >> 4;
  if (filled === 3) {
    out[to++] = pending >> 10;
    out[to++] = pending >> 2;
  }
  return out.subarray(0, to);
}

const undecodable = () => invalidArgument("Unable to base64 decode");

/** 詰め物つきの標準 base64。 */
export function encodeBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}
