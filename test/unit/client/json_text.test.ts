import { expect, test } from "bun:test";
import { formatJson, type JsonInput, type JsonOutput, parseJson } from "../../../src/client/json_text.ts";

const written: [JsonInput, string][] = [
  [null, "null"],
  [true, "true"],
  [1.5, "1.5"],
  [-0, "-0.0"],
  [Number.NaN, "NaN"],
  [Number.POSITIVE_INFINITY, "Infinity"],
  [Number.NEGATIVE_INFINITY, "-Infinity"],
  [9223372036854775807n, "9223372036854775807"],
  ['a"b', '"a\\"b"'],
  [Uint8Array.of(255, 0), '{"b64":"/wA="}'],
  [[1, [2n, "x"]], '[1,[2,"x"]]'],
  [Float32Array.of(0.5, 2), "[0.5,2]"],
  [BigInt64Array.of(1n), "[1]"],
  [{ a: [Number.NaN], 'b"': {} }, '{"a":[NaN],"b\\"":{}}'],
];
test.each(written)("formatJson(%p) is %s", (value, text) => {
  expect(formatJson(value)).toBe(text);
});

const read: [string, JsonOutput][] = [
  ['{"a":[1,2.5,"x",null,true]}', { a: [1, 2.5, "x", null, true] }],
  ["[NaN, Infinity, -Infinity]", [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]],
  ['["NaN", "a \\" NaN", "-Infinity", NaN]', ["NaN", 'a " NaN', "-Infinity", Number.NaN]],
  ['["\\u0000NaN", NaN]', ["\0NaN", Number.NaN]],
  [
    "[9007199254740991, 9007199254740993, -9223372036854775808]",
    [9007199254740991, 9007199254740993n, -9223372036854775808n],
  ],
  ["[1e+30, 123456789012345678.5]", [1e30, 123456789012345680]],
];
test.each(read)("parseJson(%s)", (text, value) => {
  expect(parseJson(text)).toEqual(value);
});
test("parseJson() refuses what is no JSON", () => {
  expect(() => parseJson("<HTML>")).toThrow(SyntaxError);
});
