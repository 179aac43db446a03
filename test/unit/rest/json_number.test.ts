import { expect, test } from "bun:test";
import fc from "fast-check";
import { NumberFault, NumberScanner } from "../../../src/rest/json_number.ts";
import { scanNumericBody } from "../../../src/rest/json_tensor_scan.ts";

/**
 * RapidJSON 1.1.0 の読み方を、書いてあるとおりに、正確な整数で。指数が大き過ぎるものは除く。
 *
 * @see rapidjson/reader.h ParseNumber, rapidjson/internal/strtod.h StrtodNormalPrecision
 */
function rapid(text: string): number {
  const [, minus, int, fraction, exponent] = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([-+]?\d+))?$/.exec(text)!;
  let whole = BigInt(int!);
  let significant = int!.length - 1;
  const isDouble = fraction !== undefined || exponent !== undefined;
  if (!isDouble) return Number(minus === "-" ? -whole : whole);
  let power = 0;
  let at = 0;
  const digits = fraction ?? "";
  for (; at < digits.length && whole <= 2n ** 53n - 1n; at++) {
    whole = whole * 10n + BigInt(digits[at]!);
    power--;
    if (whole !== 0n) significant++;
  }
  let value = Number(whole);
  for (; at < digits.length; at++) {
    if (significant >= 17) continue;
    value = value * 10 + Number(digits[at]);
    power--;
    if (value > 0) significant++;
  }
  power += Number(exponent ?? 0);
  const scaled =
    power < -308
      ? value / 1e308 / Number(`1e${-(power + 308)}`)
      : power >= 0
        ? value * Number(`1e${power}`)
        : value / Number(`1e${-power}`);
  // 非正規数は 0 になる。
  const magnitude = scaled < 2 ** -1022 ? 0 : scaled;
  return minus === "-" ? -magnitude : magnitude;
}

const digits = (max: number) =>
  fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: max }).map((list) => list.join(""));
const whole = fc.oneof(
  digits(15).map((text) => text.replace(/^0+(?=.)/, "")),
  fc.constantFrom("0", "9007199254740991", "900719925474099"),
);
const written = fc
  .record({
    minus: fc.boolean(),
    whole,
    fraction: fc.option(
      fc.oneof(
        digits(30),
        digits(12).map((text) => `000000${text}`),
      ),
    ),
    exponent: fc.option(
      fc.tuple(
        fc.constantFrom("e", "E"),
        fc.constantFrom("", "+", "-"),
        fc.integer({ min: 0, max: 260 }),
        fc.integer({ min: 1, max: 3 }),
      ),
    ),
  })
  .map(({ minus, whole: int, fraction, exponent }) => {
    const tail =
      exponent === null
        ? ""
        : `${exponent[0]}${exponent[1]}${String(exponent[2]).padStart(exponent[3], "0")}`;
    return `${minus ? "-" : ""}${int}${fraction === null ? "" : `.${fraction}`}${tail}`;
  });
/** float を倍精度の文面で送る客のもの。 */
const single = fc.float({ noNaN: true, noDefaultInfinity: true }).map(String);
const double = fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e200, max: 1e200 }).map(String);
// 2^53 以上の整数は、ここでは扱わない。
const number = fc.oneof(written, single, double).filter((text) => !/^-?\d{16}/.test(text));

test("numbers are what RapidJSON makes of them", () => {
  const scanner = new NumberScanner();
  fc.assert(
    fc.property(number, fc.constantFrom("", ",", "]", " "), (text, after) => {
      scanner.scan(Buffer.from(text + after), 0);
      expect(scanner.fault).toBe(NumberFault.none);
      expect(scanner.at).toBe(text.length);
      const value = rapid(text);
      // 整数の 0 に符号は無い。
      expect(scanner.value).toBe(scanner.isDouble ? value : value + 0);
      expect(scanner.isDouble).toBe(/[.eE]/.test(text));
    }),
    { numRuns: 5000 },
  );
});

const gap = fc.constantFrom("", "", "", " ", "\n  ", "\t");

/** 行の並びを、間の空き方も含めて。 */
const matrix = fc
  .record({
    columns: fc.integer({ min: 1, max: 5 }),
    items: fc.array(number, { minLength: 150, maxLength: 400 }),
    gaps: fc.tuple(gap, gap, gap, gap),
  })
  .map(({ columns, items, gaps: [a, b, c, d] }) => {
    const rows = Array.from({ length: Math.floor(items.length / columns) }, (_, row) =>
      items.slice(row * columns, (row + 1) * columns),
    );
    const text = rows.map((row) => `[${a}${row.join(`${b},${c}`)}${d}]`).join(`${b},${a}`);
    return { rows, columns, body: Buffer.from(`{"instances": [${c}${text}${d}]}`) };
  });

test("rows of a long body have the values, the shape and the kind that their texts have", () => {
  const scanner = new NumberScanner();
  fc.assert(
    fc.property(matrix, ({ rows, columns, body }) => {
      const scanned = scanNumericBody(body);
      const values = rows.flat().map((text) => {
        scanner.scan(Buffer.from(text), 0);
        return scanner.value;
      });
      expect(scanned?.shape).toEqual([rows.length, columns]);
      expect([...scanned!.values()]).toEqual(values);
      expect(scanned?.isIntegral).toBe(rows.flat().every((text) => !/[.eE]/.test(text)));
    }),
    { numRuns: 300 },
  );
});

const rowsOf = (count: number, row: string): string => new Array<string>(count).fill(row).join(",");
const scan = (text: string) => scanNumericBody(Buffer.from(`{"instances":${text}}`));

test("rows with floats below the smallest normal one", () => {
  const body = scan(
    `[${rowsOf(100, "[1e-40, -1.5e-45, 1.1754943e-38, 1.17549435e-38, 2.5e-37, 1e-308, 0e-99]")}]`,
  );
  expect(body?.shape).toEqual([100, 7]);
  expect([...body!.values().subarray(7, 14)]).toEqual([
    1e-40, -1.5e-45, 1.1754943000000001e-38, 1.17549435e-38, 2.5e-37, 0, 0,
  ]);
  const smallest = 2 ** -126;
  expect([...body!.toFloat32().subarray(7, 14)]).toEqual([0, -0, 0, smallest, Math.fround(2.5e-37), 0, 0]);
});

test("rows beyond one window, and rows longer than it", () => {
  const many = scan(`[${rowsOf(60_000, "[1,2.5,-3e2]")}]`);
  expect(many?.shape).toEqual([60_000, 3]);
  expect(many?.values().length).toBe(180_000);
  expect([...many!.values().subarray(-3)]).toEqual([1, 2.5, -300]);
  expect(many!.values().every((value, i) => value === [1, 2.5, -300][i % 3])).toBe(true);
  const wide = scan(`[${rowsOf(4, `[${rowsOf(50_000, "0.125")}]`)}]`);
  expect(wide?.shape).toEqual([4, 50_000]);
  expect(wide!.values().every((value) => value === 0.125)).toBe(true);
});

test("deeper rows", () => {
  const cube = scan(`[${rowsOf(30, `[${rowsOf(20, "[1, 2]")}]`)}]`);
  expect(cube?.shape).toEqual([30, 20, 2]);
  expect(cube?.isIntegral).toBe(true);
  expect(scan(`[${rowsOf(30, `[${rowsOf(20, "[1, 2]")}]`)},[${rowsOf(19, "[1, 2]")}]]`)).toBeUndefined();
  expect(scan(`[${rowsOf(30, `[${rowsOf(20, "[1, 2]")}]`)},[${rowsOf(20, "[1, 2]")},[1]]]`)).toBeUndefined();
});

test.each([
  ["a short row", "[1,2]"],
  ["a long row", "[1,2,3,4]"],
  ["no number", '[1,2,"3"]'],
  ["an empty place", "[1,,3]"],
  ["a leading zero", "[1,02,3]"],
  ["a bare point", "[1,2.,3]"],
  ["a bare exponent", "[1,2e,3]"],
  ["a bare sign", "[1,-,3]"],
  ["a row in a row", "[1,2,[3]]"],
  ["an integer that doubles cannot hold", "[1,2,9007199254740993]"],
  ["an overflow", "[1,2,1e400]"],
])("%s among many is left to the general reader", (_, odd) => {
  expect(scan(`[${rowsOf(100, "[1,2,3]")},${odd},${rowsOf(100, "[1,2,3]")}]`)).toBeUndefined();
  expect(scan(`[${rowsOf(100, "[1,2,3]")},${odd}]`)).toBeUndefined();
});

test.each([
  ["NaN", NaN],
  ["-Infinity", -Infinity],
  ["1e-320", 0],
  ["1e-300", 1e-300],
  ["123456789012345678.5", 123456789012345680],
  ["-0", 0],
  ["-0.0", -0],
])("%s among many is read", (text, value) => {
  const got = scan(`[${rowsOf(100, "[1,2,3]")},[4,${text},5],${rowsOf(100, "[1,2,3]")}]`);
  expect(got?.shape).toEqual([201, 3]);
  expect(got?.values()[301]).toBe(value);
  expect(got?.values()[302]).toBe(5);
  expect(got?.values()[602]).toBe(3);
});
