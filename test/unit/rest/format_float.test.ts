import { expect, test } from "bun:test";
import fc from "fast-check";
import { formatFloat } from "../../../src/rest/format_float.ts";

const f = Math.fround;
const smallest = (single: boolean): number => 2 ** (single ? -126 : -1022);
/** 非正規数を 0 とみなした値。 */
const flushed = (value: number, single: boolean): number =>
  Math.abs(value) < smallest(single) ? value * 0 : value;
const rows: [number, boolean, string][] = [
  [0, true, "0.0"],
  [-0, true, "-0.0"],
  [1, true, "1.0"],
  [f(0.1), true, "0.1"],
  [f(0.2), true, "0.2"],
  [f(1 / 3), true, "0.333333343"],
  [f(5.003), true, "5.003"],
  [100000, true, "100000.0"],
  [999999, true, "999999.0"],
  [1e6, true, "1e+06"],
  [9e6, true, "9e+06"],
  [1234567, true, "1234567.0"],
  [16777216, true, "16777216.0"],
  [f(1435774380), true, "1.43577434e+09"],
  [f(123456.789), true, "123456.789"],
  [f(1234567.125), true, "1234567.12"],
  [f(-72231.03125), true, "-72231.0312"],
  [f(555557.5), true, "555557.5"],
  [f(0.0003), true, "0.0003"],
  [f(0.00003), true, "3e-05"],
  [f(1e-5), true, "1e-05"],
  [f(1e-4), true, "0.0001"],
  [1e10, true, "1e+10"],
  // 非正規数は 0 とみなされる。
  [f(1e-45), true, "0.0"],
  [f(-1e-40), true, "-0.0"],
  [f(1.1754942e-38), true, "0.0"],
  [2 ** -126, true, "1.17549435e-38"],
  [f(3.4028235e38), true, "3.40282347e+38"],
  [f(Math.PI), true, "3.14159274"],
  [2 ** -13, true, "0.000122070312"],
  [Number.NaN, true, "NaN"],
  [Number.POSITIVE_INFINITY, true, "Infinity"],
  [Number.NEGATIVE_INFINITY, true, "-Infinity"],
  [0.1, false, "0.1"],
  [1 / 3, false, "0.33333333333333331"],
  [0.1 + 0.2, false, "0.30000000000000004"],
  [Math.PI, false, "3.1415926535897931"],
  [1234560, false, "1.23456e+06"],
  [123456789, false, "123456789.0"],
  [123456789012, false, "123456789012.0"],
  [100000.5, false, "100000.5"],
  [1e15, false, "1e+15"],
  [1e21, false, "1e+21"],
  [5e-324, false, "0.0"],
  [-1e-310, false, "-0.0"],
  [2 ** -1022, false, "2.2250738585072014e-308"],
  [2 ** -25, false, "2.9802322387695312e-08"],
  [Number.MAX_VALUE, false, "1.7976931348623157e+308"],
];

test.each(rows)("formatFloat(%p, %p) is %s", (value, single, text) => {
  expect(formatFloat(value, single)).toBe(text);
});

/** 遅いが素直な版。10 進への展開は処理系の toExponential、同点の判定は 101 桁の文字列で行う。 */
function reference(given: number, single: boolean): string {
  const value = flushed(given, single);
  const round = (precision: number): string => {
    const size = Math.abs(value);
    const [exactDigits, exactPower] = size.toExponential(100).split("e") as [string, string];
    const exact = exactDigits.replace(".", "");
    const isTie = exact[precision] === "5" && /^0*$/.test(exact.slice(precision + 1));
    let [digits, power] =
      isTie && Number(exact[precision - 1]) % 2 === 0
        ? [exact.slice(0, precision), exactPower]
        : (size.toExponential(precision - 1).split("e") as [string, string]);
    digits = digits.replace(".", "").replace(/0+$/, "") || "0";
    const exponent = Number(power);
    const sign = value < 0 ? "-" : "";
    if (exponent < -4 || exponent >= precision) {
      const fraction = digits.length > 1 ? `.${digits.slice(1)}` : "";
      const shown = String(Math.abs(exponent)).padStart(2, "0");
      return `${sign}${digits[0]}${fraction}e${exponent < 0 ? "-" : "+"}${shown}`;
    }
    if (exponent < 0) return `${sign}0.${"0".repeat(-exponent - 1)}${digits}`;
    const padded = digits.padEnd(exponent + 1, "0");
    const fraction = padded.slice(exponent + 1);
    return `${sign}${padded.slice(0, exponent + 1)}${fraction === "" ? "" : `.${fraction}`}`;
  };
  if (value === 0) return Object.is(value, -0) ? "-0.0" : "0.0";
  const six = round(6);
  const back = single ? f(Number(six)) : Number(six);
  const text = back === value ? six : round(single ? 9 : 17);
  return /[.e]/.test(text) ? text : `${text}.0`;
}

const anyFloat = fc.float({ noNaN: true, noDefaultInfinity: true });
const anyDouble = fc.double({ noNaN: true, noDefaultInfinity: true });
/** 桁の境目、同点、2 の冪。 */
const awkward = fc
  .tuple(fc.integer({ min: 1, max: 1 << 24 }), fc.integer({ min: -60, max: 40 }))
  .map(([mantissa, power]) => mantissa * 2 ** power);
const decimal = fc
  .tuple(fc.integer({ min: 1, max: 10_000_000 }), fc.integer({ min: -25, max: 25 }))
  .map(([mantissa, power]) => Number(`${mantissa}e${power}`));

/** 確信のある分類器の、選ばれなかったクラスの大きさ。6 桁で書ける数とその隣も混ぜる。 */
const tiny = fc
  .tuple(
    fc.oneof(fc.integer({ min: 100_000, max: 999_999 }), fc.double({ min: 1e5, max: 1e6, noNaN: true })),
    fc.integer({ min: -43, max: -19 }),
    fc.constantFrom(1, 1 - 2 ** -24, 1 + 2 ** -23),
  )
  .map(([digits, power, nudge]) => f(f(Number(`${digits}e${power}`)) * nudge));

test("formatFloat() writes tiny probabilities as the slow reference does", () => {
  fc.assert(
    fc.property(tiny, (value) => {
      expect(formatFloat(value, true)).toBe(reference(value, true));
    }),
    { numRuns: 5000 },
  );
});

test("formatFloat() equals the slow reference", () => {
  fc.assert(
    fc.property(
      fc.oneof(anyFloat, awkward.map(f), decimal.map(f), fc.float({ min: 0, max: 1, noNaN: true })),
      (value) => {
        expect(formatFloat(value, true)).toBe(reference(value, true));
      },
    ),
    { numRuns: 3000 },
  );
  fc.assert(
    fc.property(
      fc.oneof(anyDouble, awkward, decimal, fc.double({ min: 0, max: 1, noNaN: true })),
      (value) => {
        expect(formatFloat(value, false)).toBe(reference(value, false));
      },
    ),
    { numRuns: 3000 },
  );
});

test("formatFloat() reads back as the same value", () => {
  fc.assert(
    fc.property(anyFloat, (value) => Object.is(f(Number(formatFloat(value, true))), flushed(value, true))),
  );
  fc.assert(
    fc.property(anyDouble, (value) => Object.is(Number(formatFloat(value, false)), flushed(value, false))),
  );
});
