import { expect, test } from "bun:test";
import fc from "fast-check";
import { compressSnappy } from "../../../scripts/fuzz/snappy_writer.ts";
import { Code, StatusError } from "../../../src/base/status.ts";
import { decompressSnappy } from "../../../src/savedmodel/snappy.ts";

const text = (value: string) => new TextEncoder().encode(value);

test.each<[string, number[], string]>([
  ["空", [0], ""],
  ["短い文字列", [3, 0x08, 97, 98, 99], "abc"],
  ["長さ 1 バイトの文字列", [61, 0xf0, 60, ...text("x".repeat(61))], "x".repeat(61)],
  ["長さ 2 バイトの文字列", [0xac, 0x02, 0xf4, 0x2b, 0x01, ...text("y".repeat(300))], "y".repeat(300)],
  ["1 バイト位置の写し", [7, 0x08, 97, 98, 99, 0x01, 3], "abcabca"],
  ["2 バイト位置の写し(重なり)", [11, 0x00, 97, 0x26, 1, 0], "a".repeat(11)],
  ["4 バイト位置の写し", [4, 0x04, 97, 98, 0x07, 2, 0, 0, 0], "abab"],
])("%s", (_, bytes, expected) => {
  expect(new TextDecoder().decode(decompressSnappy(Uint8Array.from(bytes)))).toBe(expected);
});

test.each<[string, number[]]>([
  ["長さが無い", []],
  ["長さが切れる", [0x80]],
  ["32 ビットを越える長さ", [0xff, 0xff, 0xff, 0xff, 0x7f, 0]],
  ["6 バイトの長さ", [0x80, 0x80, 0x80, 0x80, 0x80, 0]],
  ["入りきらない宣言", [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00, 97]],
  ["文字列が切れる", [3, 0x08, 97]],
  ["長さの欄が切れる", [3, 0xf4, 1]],
  ["文字列が長すぎる", [1, 0x04, 97, 98]],
  ["位置 0 の写し", [5, 0x00, 97, 0x01, 0]],
  ["始まりより前の写し", [5, 0x00, 97, 0x01, 2]],
  ["写しが長すぎる", [4, 0x00, 97, 0x01, 1]],
  ["位置が切れる", [5, 0x00, 97, 0x02, 1]],
  ["宣言より短い", [3, 0x00, 97]],
])("%s は DATA_LOSS", (_, bytes) => {
  expect(() => decompressSnappy(Uint8Array.from(bytes))).toThrow(StatusError);
  try {
    decompressSnappy(Uint8Array.from(bytes));
  } catch (error) {
    expect((error as StatusError).code).toBe(Code.DATA_LOSS);
  }
});

test("圧縮したものは元に戻る", () => {
  const repetitive = fc
    .array(fc.constantFrom(1, 2, 3), { maxLength: 3000 })
    .map((items) => Uint8Array.from(items));
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 500 }), repetitive), (bytes) => {
      expect(decompressSnappy(compressSnappy(bytes))).toEqual(bytes);
    }),
  );
});
