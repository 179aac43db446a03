import { expect, test } from "bun:test";
import fc from "fast-check";
import { debugText, jsonTypeName } from "../../../src/rest/debug_text.ts";
import { formatDouble } from "../../../src/rest/grisu.ts";
import { parseJson } from "../../../src/rest/json_parser.ts";

const debug = (text: string): string => debugText(parseJson(new TextEncoder().encode(text)), 0);

const rows: [string, string][] = [
  ["1", "1"],
  ["-0", "0"],
  ["18446744073709551615", "18446744073709551615"],
  ["18446744073709551616", "18446744073709553000.0"],
  ["1.0", "1.0"],
  ["1e2", "100.0"],
  ["1e-7", "1e-7"],
  ["1e30", "1e30"],
  ["1.5e30", "1.5e30"],
  ["1e8", "100000000.0"],
  ["0.00001", "0.00001"],
  ["12.5", "12.5"],
  ["-0.0", "-0.0"],
  ["-2.5", "-2.5"],
  ["NaN", ""],
  ["[1,NaN,2]", "[1, "],
  ['{"a":NaN}', '{\n    "a": '],
  ['"a\\"\\n\\u0001é"', '"a\\"\\n\\u0001é"'],
  ["[]", "[]"],
  ["{}", "{}"],
  ["[[1,2],[3]]", "[[1, 2], [3]]"],
  ["null", "null"],
  ["[true,false]", "[true, false]"],
  [
    '{"a":[1.5,[2],{"b":[true,null,"x"]},1e30]}',
    '{\n    "a": [1.5, [2], {\n            "b": [true, null, "x"]\n        }, 1e30]\n}',
  ],
];
test.each(rows)("debugText(%s)", (text, expected) => {
  expect(debug(text)).toBe(expected);
});

test("debugText() stops at the first event after 256 bytes without closing brackets", () => {
  const text = debug(`[${new Array(1000).fill("12").join()}]`);
  // 255 バイトではまだ書け、259 バイトで止まる。
  expect(text).toBe(`[${new Array(65).fill("12").join(", ")}`);
  expect(debug(`["${"x".repeat(500)}",1]`)).toBe(`["${"x".repeat(500)}"`);
  expect(debug(`{"${"k".repeat(300)}":1}`)).toBe(`{\n    "${"k".repeat(300)}"`);
  expect(debug("[".repeat(100_000) + "]".repeat(100_000))).toBe("[".repeat(256));
});

test.each([
  ["null", "Null"],
  ["true", "True"],
  ["false", "False"],
  ["{}", "Object"],
  ["[]", "Array"],
  ['"s"', "String"],
  ['"\\n"', "String"],
  ["1", "Number"],
  ["18446744073709551615", "Number"],
  ["1.5", "Number"],
])("jsonTypeName(%s) is %s", (text, name) => {
  expect(jsonTypeName(parseJson(new TextEncoder().encode(text)), 0)).toBe(name);
});

test("formatDouble() reads back as the same value", () => {
  fc.assert(
    fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) =>
      Object.is(Number(formatDouble(value)), value),
    ),
    { numRuns: 2000 },
  );
  expect(formatDouble(5e-324)).toBe("5e-324");
  expect(formatDouble(Number.MAX_VALUE)).toBe("1.7976931348623157e308");
});
