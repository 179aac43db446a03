import { expect, test } from "bun:test";
import fc from "fast-check";
import { crc32c, maskCrc } from "../../../src/savedmodel/crc32c.ts";

/** 定義どおりに 1 ビットずつ計算する。 */
function slowCrc(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

test.each([
  ["", 0],
  ["123456789", 0xe3069283],
  ["\0".repeat(32), 0x8a9136aa],
])("crc32c(%j)", (text, expected) => {
  expect(crc32c(new TextEncoder().encode(text))).toBe(expected);
});

test("どの境界から始まる、どの長さの列でも定義と一致し、分けて数えても同じ", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(15), fc.nat(), (bytes, shift, cut) => {
      const shifted = new Uint8Array(bytes.length + shift);
      shifted.set(bytes, shift);
      const view = shifted.subarray(shift);
      const at = bytes.length === 0 ? 0 : cut % bytes.length;
      expect(crc32c(view)).toBe(slowCrc(bytes));
      expect(crc32c(view.subarray(at), crc32c(view.subarray(0, at)))).toBe(slowCrc(bytes));
    }),
  );
});

test("maskCrc() は空の CRC を 0xa282ead8 にする", () => {
  expect(maskCrc(0)).toBe(0xa282ead8);
  expect(maskCrc(crc32c(new TextEncoder().encode("abc")))).toBe(0x21f1576e);
});
