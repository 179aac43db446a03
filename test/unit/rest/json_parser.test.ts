import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { StatusError } from "../../../src/base/status.ts";
import { type JsonDocument, Kind, parseJson } from "../../../src/rest/json_parser.ts";

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const latin1 = (text: string): Uint8Array => Buffer.from(text, "latin1");

/** 木に戻す。比べやすいように、整数は bigint、実数は number のまま。 */
function tree(document: JsonDocument, node = 0): unknown {
  switch (document.kind(node)) {
    case Kind.null:
      return null;
    case Kind.true:
      return true;
    case Kind.false:
      return false;
    case Kind.array: {
      const items: unknown[] = [];
      for (let at = node + 1; at < document.after(node); at = document.after(at)) {
        items.push(tree(document, at));
      }
      return items;
    }
    case Kind.object: {
      const members: [string, unknown][] = [];
      for (let at = node + 1; at < document.after(node); at = document.after(at + 1)) {
        members.push([document.text(at), tree(document, at + 1)]);
      }
      return { members };
    }
    case Kind.integer:
    case Kind.big:
      return document.integer(node);
    case Kind.double:
      return document.number(node);
    default:
      return document.text(node);
  }
}

describe("parseJson() reads", () => {
  const rows: [string, unknown][] = [
    ["[1, 2]", [1n, 2n]],
    ["[]", []],
    ["{}", { members: [] }],
    [
      ' {"a" : 1 , "b" : [ true , false , null ] } ',
      {
        members: [
          ["a", 1n],
          ["b", [true, false, null]],
        ],
      },
    ],
    ['{"a":1} junk ]', { members: [["a", 1n]] }],
    ["[1]\u0000junk", [1n]],
    [
      '{"a":1,"a":2}',
      {
        members: [
          ["a", 1n],
          ["a", 2n],
        ],
      },
    ],
    ["0", 0n],
    ["-0", 0n],
    ["-0.0", -0],
    ["[NaN,-NaN,Inf,-Inf,Infinity,-Infinity]", [NaN, NaN, Infinity, -Infinity, Infinity, -Infinity]],
    ["2147483647", 2147483647n],
    ["9007199254740991", 9007199254740991n],
    ["9007199254740993", 9007199254740993n],
    ["-9223372036854775808", -9223372036854775808n],
    ["18446744073709551615", 18446744073709551615n],
    ["18446744073709551616", 2 ** 64],
    ["-9223372036854775809", -(2 ** 63)],
    ["1.0", 1],
    ["1e2", 100],
    ["1E+2", 100],
    ["1.5e-3", 0.0015],
    ["1e-400", 0],
    ["2.2250738585072014e-308", 2 ** -1022],
    // 非正規数は 0 になる。
    ["2.2250738585072e-308", 0],
    ["-1e-310", -0],
    ["0.00001e-310", 0],
    ["1e-99999999999999999999", 0],
    ["1.8e308", Infinity],
    ["1.79769e+308", 1.79769e308],
    // RapidJSON は正しく丸めない。仮数を倍精度に足し込む誤りまで同じにする。
    ["123456789012345678901234567890", 1.2345678901234566e29],
    ["123456789012345678901.5", 1.2345678901234567e20],
    ["12345678901234567.8901e-3", 12345678901234.57],
    ["NaN.5", 0.5],
    ["0.30000000000000004", 0.30000000000000004],
    ["0.000000000000000000001234", 1.234e-21],
    ['"\\"\\\\\\/\\b\\f\\n\\r\\t"', '"\\/\b\f\n\r\t'],
    ['"\\u0041\\u00e9\\u3042\\ud83d\\ude00"', "Aéあ😀"],
    ['"日本"', "日本"],
    ["\ufeff[1]", [1n]],
  ];
  test.each(rows)("%s", (text, expected) => {
    expect(tree(parseJson(encode(text)))).toEqual(expected);
  });

  test("invalid UTF-8 as it is", () => {
    expect([...parseJson(latin1('"a\xff\x80"')).bytes(0)]).toEqual([0x61, 0xff, 0x80]);
  });
  test("a lone low surrogate as three bytes", () => {
    expect([...parseJson(encode('"\\udc00"')).bytes(0)]).toEqual([0xed, 0xb0, 0x80]);
  });
  test("each byte of a broken byte order mark as if it were whole", () => {
    expect(tree(parseJson(latin1("\xef[1]")))).toEqual([1n]);
    expect(tree(parseJson(latin1("\xbf[1]")))).toEqual([1n]);
  });
  test("500,000 levels", () => {
    const depth = 500_000;
    const document = parseJson(encode("[".repeat(depth) + "]".repeat(depth)));
    expect(document.length).toBe(depth);
    expect(document.after(0)).toBe(depth);
  });
  test("a million digits in time linear to them", () => {
    expect(() => parseJson(encode(`[${"9".repeat(1_000_000)}]`))).toThrow(
      "Number too big to be stored in double. at offset: 1",
    );
  });
});

describe("parseJson() refuses", () => {
  const rows: [string, string, number][] = [
    ["   ", "The document is empty.", 3],
    ["\u0000", "The document is empty.", 0],
    ["]", "The document is empty.", 0],
    [",", "The document is empty.", 0],
    ["}", "The document is empty.", 0],
    ["instances = [1, 2]", "Invalid value.", 0],
    ["// c", "Invalid value.", 0],
    ["{", "Missing a name for object member.", 1],
    ["{a:1}", "Missing a name for object member.", 1],
    ["{'a':1}", "Missing a name for object member.", 1],
    ["{,}", "Missing a name for object member.", 1],
    ['{/*c*/"a":1}', "Missing a name for object member.", 1],
    ['{"a":1,', "Missing a name for object member.", 7],
    ['{"a":1,}', "Missing a name for object member.", 7],
    ['{"instances":[1],}', "Missing a name for object member.", 17],
    ["{instances:[1]}", "Missing a name for object member.", 1],
    ['{"a"', "Missing a colon after a name of object member.", 4],
    ['{"a" 1}', "Missing a colon after a name of object member.", 5],
    ['{"instances"[1]}', "Missing a colon after a name of object member.", 12],
    ['{"a":', "Invalid value.", 5],
    ['{"a":}', "Invalid value.", 5],
    ['{"a":]', "Invalid value.", 5],
    ['{"a":,', "Invalid value.", 5],
    ['{"a"::', "Invalid value.", 5],
    ['{"a":1', "Missing a comma or '}' after an object member.", 6],
    ['{"a":1]', "Missing a comma or '}' after an object member.", 6],
    ['{"a":01}', "Missing a comma or '}' after an object member.", 6],
    ['{"a":1 "b":2}', "Missing a comma or '}' after an object member.", 7],
    ['{"instances":[1]', "Missing a comma or '}' after an object member.", 16],
    ['{"a":[1,]}', "Invalid value.", 8],
    ['{"a":[,1]}', "Invalid value.", 6],
    ['{"a":[}', "Invalid value.", 6],
    ['{"a":[', "Invalid value.", 6],
    ['{"instances":[1,]}', "Invalid value.", 16],
    ['{"a":[1 2]}', "Missing a comma or ']' after an array element.", 8],
    ['{"a":[1', "Missing a comma or ']' after an array element.", 7],
    ['{"a":[1}', "Missing a comma or ']' after an array element.", 7],
    ['{"instances":[1 2]}', "Missing a comma or ']' after an array element.", 16],
    ['{"instances":[01]}', "Missing a comma or ']' after an array element.", 15],
    ["{\"a\":'x'}", "Invalid value.", 5],
    ['{"a":True}', "Invalid value.", 5],
    ['{"a":.5}', "Invalid value.", 5],
    ['{"a":+1}', "Invalid value.", 5],
    ['{"instances":[TRUE]}', "Invalid value.", 14],
    ['{"a":tru}', "Invalid value.", 8],
    ['{"a":nul}', "Invalid value.", 8],
    ['{"a":fals', "Invalid value.", 9],
    ['{"a":-}', "Invalid value.", 6],
    ['{"a":nan}', "Invalid value.", 6],
    ['{"a":Nan}', "Invalid value.", 7],
    ['{"instances":[Infinit]}', "Invalid value.", 21],
    ['{"a":INF}', "Invalid value.", 6],
    ['{"a":1.}', "Miss fraction part in number.", 7],
    ['{"a":1e}', "Miss exponent in number.", 7],
    ['{"a":1e+}', "Miss exponent in number.", 8],
    ['{"a":1e400}', "Number too big to be stored in double.", 5],
    ['{"a":-1e309}', "Number too big to be stored in double.", 5],
    ['{"a', "Missing a closing quotation mark in string.", 3],
    ['{"a":"x', "Missing a closing quotation mark in string.", 7],
    ['{"a":"x\u0000"}', "Missing a closing quotation mark in string.", 7],
    ['{"a":"\\x"}', "Invalid escape character in string.", 6],
    ['{"a":"\\', "Invalid escape character in string.", 6],
    ['{"a":"tab\there"}', "Invalid escape character in string.", 9],
    ['{"a":"\\u12G4"}', "Incorrect hex digit after \\u escape in string.", 6],
    ['{"a":"\\u12', "Incorrect hex digit after \\u escape in string.", 6],
    ['{"a":"\\ud800"}', "The surrogate pair in string is invalid.", 6],
    ['{"a":"\\ud800\\u0041"}', "The surrogate pair in string is invalid.", 6],
    ['{"a":"\\ud800\\u00zz"}', "Incorrect hex digit after \\u escape in string.", 6],
  ];
  test.each(rows)("%j with %j at %d", (text, reason, offset) => {
    const error = (() => {
      try {
        return parseJson(encode(text));
      } catch (thrown) {
        return thrown;
      }
    })();
    expect(error).toBeInstanceOf(StatusError);
    expect(String(error)).toBe(`INVALID_ARGUMENT: JSON Parse error: ${reason} at offset: ${offset}`);
  });

  test("an empty body without an offset", () => {
    expect(() => parseJson(encode(""))).toThrow(/^JSON Parse error: The document is empty$/);
  });
  test("nesting deeper than asked", () => {
    expect(() => parseJson(encode("[[[1]]]"), { maxDepth: 2 })).toThrow("Nesting too deep. at offset: 2");
    expect(tree(parseJson(encode("[[1],[2]]"), { maxDepth: 2 }))).toEqual([[1n], [2n]]);
  });
});

test("JsonDocument finds members", () => {
  const document = parseJson(encode('{"a":{"b":1},"c":[1,2],"\\u0061":3,"é":4,"a\\u0000z":5}'));
  expect(document.integer(document.member(0, "c") + 2)).toBe(2n);
  expect(document.kind(document.member(0, "a"))).toBe(Kind.object);
  expect(document.integer(document.member(0, "é"))).toBe(4n);
  expect(document.member(0, "b")).toBe(-1);
  expect(document.member(0, "aa")).toBe(-1);
  const last = document.member(0, "a\0z") - 1;
  expect(document.name(last)).toBe("a");
});

/** JSON.parse の木を、tree() の形に。数はすべて number で比べる。 */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === "object" && value !== null) {
    return { members: Object.entries(value).map(([key, item]) => [key, plain(item)]) };
  }
  return value;
}
function numbered(value: unknown): unknown {
  if (typeof value === "bigint") return Number(value);
  if (Array.isArray(value)) return value.map(numbered);
  if (typeof value === "object" && value !== null && "members" in value) {
    return {
      members: (value.members as [string, unknown][]).map(([key, item]) => [key, numbered(item)]),
    };
  }
  return value;
}

/** RapidJSON の求め方は正しい丸めから数 ulp ずれうる。非正規数は 0 になる。 */
function expectClose(actual: unknown, expected: unknown): void {
  if (typeof expected === "number" && typeof actual === "number") {
    const tolerance = Math.max(Math.abs(expected) * 2 ** -50, 2 ** -1022);
    expect(Math.abs(actual - expected)).toBeLessThanOrEqual(tolerance);
  } else if (Array.isArray(expected)) {
    expect((actual as unknown[]).length).toBe(expected.length);
    for (const [i, item] of expected.entries()) expectClose((actual as unknown[])[i], item);
  } else if (typeof expected === "object" && expected !== null) {
    const members = (actual as { members: unknown[] }).members;
    expectClose(members, (expected as { members: unknown[] }).members);
  } else {
    expect(actual).toBe(expected as never);
  }
}

test("parseJson() agrees with JSON.parse on valid JSON", () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 4 }), fc.constantFrom(0, 1, 4), (text, indent) => {
      const value: unknown = JSON.parse(text);
      const spaced = JSON.stringify(value, null, indent);
      expectClose(numbered(tree(parseJson(encode(spaced)))), plain(JSON.parse(spaced)));
    }),
    { numRuns: 300 },
  );
});

test("parseJson() reads every 64-bit integer exactly", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(1n << 63n), max: (1n << 64n) - 1n }), (value) => {
      expect(parseJson(encode(`${value}`)).integer(0)).toBe(value);
    }),
  );
});

test("parseJson() throws nothing but INVALID_ARGUMENT on any bytes", () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc.string({ unit: fc.constantFrom(...'{}[],:"\\u0aeE+-.19 NaInfty'), maxLength: 30 }).map(encode),
  );
  fc.assert(
    fc.property(bytes, (body) => {
      try {
        parseJson(body);
      } catch (thrown) {
        expect(String(thrown)).toStartWith("INVALID_ARGUMENT: JSON Parse error: ");
      }
    }),
    { numRuns: 2000 },
  );
});
