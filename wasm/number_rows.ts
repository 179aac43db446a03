/**
 * JSON の、数だけの行の並び `[1, 2.5], [3, 4e-3], …` を読む。AssemblyScript で書き、`bun run generate` が src/gen/wasm に訳す。
 *
 * 形も値も確かなものだけを読み、少しでも違うものに会えばその行の前で止まる。その先は src/rest/json_tensor_scan.ts が読む。
 * 値は src/rest/json_number.ts と同じ(RapidJSON の、正しい丸めとは少し違うことのある値)。
 */

/** 10^0 … 10^308。正しく丸めた値を、使う側が置く。 */
export const POWERS: usize = memory.data(8 * 309, 16);

/** 倍精度で正確な整数の終わり。 */
const EXACT: u64 = (1 << 53) - 1;

/** これより小さい数は、float にすると 0 にする。JSON の読み手が見分ける。 @see src/rest/json_number.ts flushToFloat */
const SUBNORMAL: f64 = 1.1754943157898259e-38;
/** 1 をこの冪で割っても {@link SUBNORMAL} より小さくならない。 */
const SAFE_POWER: i32 = 37;

const TEN_TO_16: u64 = 10_000_000_000_000_000;
/** `.` と `e` から `0` を引いたもの。 */
const POINT: u32 = 0x2e - 0x30;
const EXPONENT: u32 = 0x65 - 0x30;

/** 読み終えた所。次の行の始まり。 */
let stopped: usize = 0;
/** 読んだ行に、整数でない文面があったか。 */
let real: bool = false;

export function position(): usize {
  return stopped;
}

export function hasReals(): bool {
  return real;
}

@inline
function skipSpace(from: usize): usize {
  let at = from;
  let code = load<u8>(at);
  if (code > 0x20) return at;
  while (code == 0x20 || code == 0x0a || code == 0x0d || code == 0x09) code = load<u8>(++at);
  return at;
}

@inline
function digitAt(at: usize): u32 {
  return <u32>load<u8>(at) - 0x30;
}

@inline
function areDigits(eight: u64): bool {
  const upper: u64 = 0xf0f0f0f0f0f0f0f0;
  return ((eight & upper) | (((eight + 0x0606060606060606) & upper) >> 4)) == 0x3333333333333333;
}

/** 隣り合う桁を 2 桁、4 桁、8 桁の数へまとめていく。 @see https://lemire.me/blog/2022/01/21/swar-explained-parsing-eight-digits/ */
@inline
function eightDigits(eight: u64): u64 {
  let value = eight - 0x3030303030303030;
  value = value * 10 + (value >> 8);
  const low: u64 = 0x000000ff000000ff;
  return <u64>(
    <u32>(((value & low) * 0x000f424000000064 + ((value >> 16) & low) * 0x0000271000000001) >> 32)
  );
}

@inline
function powerOf(exponent: i32): f64 {
  return load<f64>(POWERS + (<usize>exponent << 3));
}

let exponent: i32 = 0;

/** `exponent` に読む。 @returns 終わり。桁が無いか、倍精度に収まらないかもしれなければ 0。 */
function readExponent(start: usize): usize {
  const sign = load<u8>(start);
  const from = start + <usize>(sign == 0x2d || sign == 0x2b);
  let at = from;
  let size = 0;
  for (let digit = digitAt(at); digit <= 9 && at - from < 4; digit = digitAt(++at)) size = size * 10 + digit;
  if (at == from || at - from > 3 || size > 250) return 0;
  exponent = sign == 0x2d ? -size : size;
  return at;
}

/**
 * 行を、読めるだけ読む。最後の行(後ろに次の行が無い)は読まない。
 *
 * @param start 行の始まりの括弧。本文の後には、数の続きにならないバイトがあること。
 * @param columns 1 行の数。
 * @param values 値を倍精度で置く所。
 * @returns 読んだ行の数。
 */
export function rows(start: usize, columns: i32, values: usize): i32 {
  let row = start;
  let count = 0;
  let out = values;
  stopped = start;
  real = false;
  while (true) {
    let at = skipSpace(row + 1);
    let isReal = false;
    for (let column = 0; column < columns; column++) {
      const isMinus = load<u8>(at) == 0x2d;
      if (isMinus) at++;
      const first = at;
      let mantissa: u64 = 0;
      let digit = digitAt(at);
      if (digit == 0) digit = digitAt(++at);
      else {
        if (digit > 9) return count;
        do {
          mantissa = mantissa * 10 + digit;
          digit = digitAt(++at);
        } while (digit <= 9);
        if (at - first > 15) return count;
      }
      let value: f64;
      if (digit == POINT) {
        const isBelowOne = mantissa == 0;
        const point = ++at;
        digit = digitAt(at);
        if (digit > 9) return count;
        // 長い小数は 8 桁ずつ。読む間、仮数は 2^53 を越えない。
        if (digitAt(at + 1) <= 9) {
          while (mantissa < 900_000_000) {
            const eight = load<u64>(at);
            if (!areDigits(eight)) break;
            mantissa = mantissa * 100_000_000 + eightDigits(eight);
            at += 8;
          }
          digit = digitAt(at);
        }
        while (digit <= 9 && mantissa <= EXACT) {
          mantissa = mantissa * 10 + digit;
          digit = digitAt(++at);
        }
        value = <f64>(<i64>mantissa);
        let power = <i32>(at - point);
        if (digit <= 9) {
          // 2^53 を越えた後の桁は倍精度で足し、先頭の次から数えて 17 桁より先は捨てる。
          let significant = 15 + i32(mantissa >= TEN_TO_16) + i32(isBelowOne);
          do {
            if (significant < 17) {
              value = value * 10 + <f64>digit;
              power++;
              significant++;
            }
            digit = digitAt(++at);
          } while (digit <= 9);
        }
        if ((digit | 0x20) == EXPONENT) {
          at = readExponent(at + 1);
          if (at == 0) return count;
          power -= exponent;
        }
        if (power > 308) return count;
        value = power >= 0 ? value / powerOf(power) : value * powerOf(-power);
        if (power > SAFE_POWER && value < SUBNORMAL) return count;
        if (isMinus) value = -value;
        isReal = true;
      } else if ((digit | 0x20) == EXPONENT) {
        at = readExponent(at + 1);
        if (at == 0) return count;
        value = <f64>(<i64>mantissa);
        value = exponent >= 0 ? value * powerOf(exponent) : value / powerOf(-exponent);
        if (-exponent > SAFE_POWER && value < SUBNORMAL) return count;
        if (isMinus) value = -value;
        isReal = true;
      } else {
        // 整数の 0 に符号は無い。
        value = <f64>(isMinus ? -(<i64>mantissa) : <i64>mantissa);
      }
      store<f64>(out, value);
      out += 8;
      at = skipSpace(at);
      const isLast = column + 1 == columns;
      if (load<u8>(at) != <u8>(isLast ? 0x5d : 0x2c)) return count;
      at = skipSpace(at + 1);
    }
    if (load<u8>(at) != 0x2c) return count;
    at = skipSpace(at + 1);
    if (load<u8>(at) != 0x5b) return count;
    real = real || isReal;
    count++;
    stopped = at;
    row = at;
  }
  return count;
}
