import type { ByteSink } from "./byte_sink.ts";

/** 10^0 … 10^22。ここまでは倍精度で正確に表せる。 */
const pow10 = Array.from({ length: 23 }, (_, exponent) => Number(`1e${exponent}`));
/** 10^-15 … 10^23。10 進の指数を決める比較にだけ使う。 */
const thresholds = Array.from({ length: 39 }, (_, index) => Number(`1e${index - 15}`));
/** 10^0, 10^-1, … 10^-38。 */
const tinyThresholds = Array.from({ length: 39 }, (_, index) => Number(`1e-${index}`));
const LOWEST = 1e-15;
const HIGHEST = 1e22;
/** これより小さい float は 9 桁への冪が倍精度に収まらない。 */
const TINY = 1e-14;
/** 最小の正規数。 */
const SMALLEST_FLOAT = 2 ** -126;
const SMALLEST_DOUBLE = 2 ** -1022;
/** 10^23 … 10^46 を、倍精度 2 つの和で表したもの。ごく小さい値を書くまで作らない。 */
let bigPowers: readonly { readonly high: number; readonly low: number }[] | undefined;

function createBigPowers() {
  return Array.from({ length: 24 }, (_, index) => {
    const exact = 10n ** BigInt(index + 23);
    const high = Number(exact);
    return { high, low: Number(exact - BigInt(high)) };
  });
}
/** Veltkamp の分割に使う 2^27 + 1。 */
const SPLITTER = 134217729;
/** 数字列をいったん置く場所。`0.000` の長さだけ先。 */
const DIGITS = 5;

const bits = new Float64Array(1);
const words = new Uint32Array(bits.buffer);
/** "000" … "999"。3 桁ずつ取り出すための表。 */
const triples = createTriples();

function createTriples(): Uint8Array {
  const table = new Uint8Array(3000);
  for (let at = 0, value = 0; at < table.length; at += 3, value++) {
    table[at] = 0x30 + ((value / 100) | 0);
    table[at + 1] = 0x30 + (((value / 10) | 0) % 10);
    table[at + 2] = 0x30 + (value % 10);
  }
  return table;
}

/** 1 つの実数の文面が占める最大のバイト数(作業中のはみ出しを含む)。 */
export const FLOAT_TEXT_BYTES = 32;

/**
 * TF Serving と同じ文面で実数を書く。
 *
 * 6 桁(`%.6g`)で読み戻して同じ値になればそれを、ならなければ float は 9 桁、double は 17 桁を使う。
 * 小数点も指数も無ければ `.0` を足す。丁度中間の値は偶数側へ丸める(JavaScript の toPrecision は大きい側)。
 * 非正規数は 0 とする。TF Serving の REST のスレッドは、非正規数を 0 とみなす設定(DAZ、FTZ)で動く。
 *
 * @param out `at` から {@link FLOAT_TEXT_BYTES} バイトの空きがあること。
 * @param single float32 の値なら true。その場合 `value` は float32 で表せる数であること。
 * @returns 書き終えた位置。
 * @see tensorflow_serving/util/json_tensor.cc WriteDecimal
 */
export function putFloat(out: Uint8Array, at: number, value: number, single: boolean): number {
  let start = at;
  let magnitude = value;
  if (value < 0 || (value === 0 && 1 / value < 0)) {
    out[start++] = 0x2d;
    magnitude = -value;
  }
  if (single && magnitude < 1 && magnitude >= 1e-4) return putFraction(out, start, magnitude);
  if (magnitude < (single ? SMALLEST_FLOAT : SMALLEST_DOUBLE)) {
    out[start] = 0x30;
    out[start + 1] = 0x2e;
    out[start + 2] = 0x30;
    return start + 3;
  }
  if (single && magnitude < TINY) return putTiny(out, start, magnitude);
  if (!(magnitude >= LOWEST && magnitude < HIGHEST)) return putUncommon(out, start, magnitude, single);

  bits[0] = magnitude;
  let exponent = (((words[1]! >>> 20) - 1023) * 1233) >> 12;
  if (magnitude >= thresholds[exponent + 16]!) exponent++;

  const scale = 5 - exponent;
  const scaled = scale >= 0 ? magnitude * pow10[scale]! : magnitude / pow10[-scale]!;
  const six = Math.round(scaled);
  // 6 桁で足りる float は、6 桁の整数から 2^-24 の比率、つまり 0.06 までしか離れない。割り算の前に大半を落とす。
  const away = scaled - six;
  if (away < 0.07 && away > -0.07) {
    const back = scale >= 0 ? six / pow10[scale]! : six * pow10[-scale]!;
    // 10 進 → double → float の二重丸めは、6 桁の 10 進すべてを調べて、結果を変えないことを確かめてある。
    if ((single ? Math.fround(back) : back) === magnitude) return putSix(out, start, six | 0, exponent);
  }
  return single ? putNine(out, start, magnitude, exponent) : putSeventeen(out, start, magnitude, exponent);
}

/**
 * 確率のような 1 未満の float。一番多い形なので、指数の計算も桁の移動もせずに直接書く。
 * この範囲では 9 桁への積が正確。
 */
function putFraction(out: Uint8Array, start: number, magnitude: number): number {
  const exponent = magnitude >= 0.1 ? -1 : magnitude >= 0.01 ? -2 : magnitude >= 0.001 ? -3 : -4;
  const power = pow10[5 - exponent]!;
  const scaled = magnitude * power;
  const six = Math.round(scaled);
  const away = scaled - six;
  if (away < 0.07 && away > -0.07 && Math.fround(six / power) === magnitude) {
    return putSix(out, start, six | 0, exponent);
  }
  const product = magnitude * pow10[8 - exponent]!;
  let nine = product | 0;
  const fraction = product - nine;
  if (fraction > 0.5 || (fraction === 0.5 && (nine & 1) === 1)) nine++;
  let at = start;
  out[at++] = 0x30;
  out[at++] = 0x2e;
  for (let i = -1; i > exponent; i--) out[at++] = 0x30;
  putNineDigits(out, at, nine);
  at += 9;
  while (out[at - 1] === 0x30) at--;
  return at;
}

/**
 * 確信のある分類器が選ばなかったクラスに付けるような、ごく小さい float。
 *
 * 9 桁の整数と端数を倍精度 2 つの和で求める。この大きさの float は 2 の冪の分母が大きく、丁度中間の値は無い。
 * 6 桁で読み戻せるかは、float の隣との間隔の半分と比べて決める。判断が際どいものは {@link putUncommon} に任せる。
 */
function putTiny(out: Uint8Array, start: number, magnitude: number): number {
  bits[0] = magnitude;
  const high = words[1]!;
  let exponent = (((high >>> 20) - 1023) * 1233) >> 12;
  if (magnitude >= tinyThresholds[-exponent - 1]!) exponent++;
  bigPowers ??= createBigPowers();
  const power = bigPowers[-15 - exponent]!;
  const product = magnitude * power.high;
  const error = productError(magnitude, power.high, product) + magnitude * power.low;
  const floor = Math.floor(product);
  const fraction = product - floor + error;
  const six = Math.round(product / 1000);
  const away = Math.abs(floor - six * 1000 + fraction);
  // 仮数の下位 23 ビットを除いた 2 の冪。その 2^-24 倍が間隔の半分になる。
  words[0] = 0;
  words[1] = high & 0x7ff00000;
  const leading = bits[0]!;
  const half = leading * 2 ** -24 * power.high;
  const isPowerOfTwo = leading === magnitude;
  const isClose = Math.abs(away - half) < 1e-3 || Math.abs(fraction - 0.5) < 1e-6;
  if (isPowerOfTwo || isClose) return putUncommon(out, start, magnitude, true);
  if (away < half) return putSix(out, start, six, exponent);
  putNineDigits(out, start + DIGITS, fraction > 0.5 ? floor + 1 : floor);
  return layOut(out, start, 9, exponent, 9);
}

/** {@link putFloat} を伸びるバイト列に。 */
export function writeFloat(sink: ByteSink, value: number, single: boolean): void {
  sink.reserve(FLOAT_TEXT_BYTES);
  sink.at = putFloat(sink.bytes, sink.at, value, single);
}

/** {@link putFloat} の文面だけを得る。 */
export function formatFloat(value: number, single: boolean): string {
  const out = new Uint8Array(FLOAT_TEXT_BYTES);
  return String.fromCharCode(...out.subarray(0, putFloat(out, 0, value, single)));
}

function putSix(out: Uint8Array, at: number, six: number, exponent: number): number {
  const overflows = six === 1_000_000;
  const value = overflows ? 100_000 : six;
  const from = at + DIGITS;
  const high = ((value + 0.5) * 0.001) | 0;
  putTriple(out, from, high);
  putTriple(out, from + 3, value - high * 1000);
  return layOut(out, at, 6, overflows ? exponent + 1 : exponent, 6);
}

/**
 * 9 桁。10 の冪に桁上がりするほど近い値は、その冪に一番近い float だけで、それは 6 桁で足りるのでここには来ない
 * ({@link putSeventeen} も同じ)。
 */
function putNine(out: Uint8Array, at: number, magnitude: number, exponent: number): number {
  const scale = 8 - exponent;
  if (scale < 0 || scale > 22) return putUncommon(out, at, magnitude, true);
  const power = pow10[scale]!;
  const product = magnitude * power;
  let rounded = Math.floor(product);
  const fraction = product - rounded;
  // 24 ビットの仮数 × 5^12 は 53 ビットに収まるので、scale が 12 までなら積は正確。
  if (fraction > 0.5) {
    rounded++;
  } else if (fraction === 0.5) {
    const error = scale <= 12 ? 0 : productError(magnitude, power, product);
    if (error > 0 || (error === 0 && rounded % 2 === 1)) rounded++;
  }
  putNineDigits(out, at + DIGITS, rounded | 0);
  return layOut(out, at, 9, exponent, 9);
}

function putSeventeen(out: Uint8Array, at: number, magnitude: number, exponent: number): number {
  const scale = 16 - exponent;
  if (scale < 0 || scale > 22) return putUncommon(out, at, magnitude, false);
  const power = pow10[scale]!;
  const product = magnitude * power;
  const error = productError(magnitude, power, product);
  // 17 桁は 2^53 を超えるので、上 8 桁と下 9 桁に分ける。product は偶数なので奇偶は error 側だけで決まる。
  const floor = Math.floor(error);
  const fraction = error - floor;
  const carry = fraction > 0.5 || (fraction === 0.5 && floor % 2 !== 0) ? 1 : 0;
  let high = Math.floor(product / 1e9);
  let low = product - high * 1e9 + floor + carry;
  if (low < 0) {
    high--;
    low += 1e9;
  } else if (low >= 1e9) {
    high++;
    low -= 1e9;
  }
  // 上 8 桁は 9 桁として書くので先頭に 0 が付く。その場所は layOut が上書きする。
  putNineDigits(out, at + DIGITS - 1, high | 0);
  putNineDigits(out, at + DIGITS + 8, low | 0);
  return layOut(out, at, 17, exponent, 17);
}

/**
 * 積の丸め誤差。`x × y = product + 戻り値` が正確に成り立つ。
 *
 * @see T. J. Dekker, "A floating-point technique for extending the available precision" (1971)
 */
function productError(x: number, y: number, product: number): number {
  const a = SPLITTER * x;
  const xHigh = a - (a - x);
  const xLow = x - xHigh;
  const b = SPLITTER * y;
  const yHigh = b - (b - y);
  const yLow = y - yHigh;
  return xLow * yLow - (product - xHigh * yHigh - xLow * yHigh - xHigh * yLow);
}

function putTriple(out: Uint8Array, at: number, value: number): void {
  const from = value * 3;
  out[at] = triples[from]!;
  out[at + 1] = triples[from + 1]!;
  out[at + 2] = triples[from + 2]!;
}

/** 定数の逆数を掛けて割る。0.5 を足すのは、逆数の丸めで丁度の倍数が 1 つ下がらないようにするため。 */
function putNineDigits(out: Uint8Array, at: number, value: number): void {
  const high = ((value + 0.5) * 1e-6) | 0;
  const rest = value - high * 1_000_000;
  const middle = ((rest + 0.5) * 0.001) | 0;
  putTriple(out, at, high);
  putTriple(out, at + 3, middle);
  putTriple(out, at + 6, rest - middle * 1000);
}

/** `start + DIGITS` から置かれた `count` 桁を、その場で C の `%g` の形に並べ直す。 */
function layOut(out: Uint8Array, start: number, count: number, exponent: number, precision: number): number {
  const from = start + DIGITS;
  let end = from + count;
  while (end > from + 1 && out[end - 1] === 0x30) end--;

  let at = start;
  if (exponent < -4 || exponent >= precision) {
    out[at++] = out[from]!;
    if (end > from + 1) {
      out[at++] = 0x2e;
      for (let i = from + 1; i < end; i++) out[at++] = out[i]!;
    }
    out[at++] = 0x65;
    out[at++] = exponent < 0 ? 0x2d : 0x2b;
    const size = Math.abs(exponent);
    const row = size * 3;
    if (size >= 100) out[at++] = triples[row]!;
    out[at++] = triples[row + 1]!;
    out[at++] = triples[row + 2]!;
  } else if (exponent < 0) {
    // DIGITS は「0.000」の長さなので、前の要素を壊さずに左へ詰められる。
    out[at++] = 0x30;
    out[at++] = 0x2e;
    for (let i = -1; i > exponent; i--) out[at++] = 0x30;
    for (let i = from; i < end; i++) out[at++] = out[i]!;
  } else {
    const point = from + exponent + 1;
    for (let i = from; i < point; i++) out[at++] = i < end ? out[i]! : 0x30;
    out[at++] = 0x2e;
    if (end <= point) out[at++] = 0x30;
    else for (let i = point; i < end; i++) out[at++] = out[i]!;
  }
  return at;
}

/** 極端に大きい・小さい値と非有限値。10 進への展開は処理系に任せ、同点だけ直す。 */
function putUncommon(out: Uint8Array, at: number, magnitude: number, single: boolean): number {
  if (Number.isNaN(magnitude)) {
    return putText(out, at, "NaN");
  }
  if (magnitude === Number.POSITIVE_INFINITY) {
    return putText(out, at, "Infinity");
  }
  const [six, sixExponent] = roundDecimal(magnitude, 6);
  const back = Number(`${six}e${sixExponent - 5}`);
  if ((single ? Math.fround(back) : back) === magnitude) {
    putText(out, at + DIGITS, six);
    return layOut(out, at, 6, sixExponent, 6);
  }
  const precision = single ? 9 : 17;
  const [full, fullExponent] = roundDecimal(magnitude, precision);
  putText(out, at + DIGITS, full);
  return layOut(out, at, precision, fullExponent, precision);
}

function putText(out: Uint8Array, at: number, text: string): number {
  for (let i = 0; i < text.length; i++) out[at + i] = text.charCodeAt(i);
  return at + text.length;
}

/** `precision` 桁へ偶数丸めした数字列と 10 進の指数。 */
function roundDecimal(magnitude: number, precision: number): readonly [string, number] {
  // 101 桁あれば、丁度中間かどうかの判定を誤る値は事実上無い。
  const [fraction, power] = magnitude.toExponential(100).split("e") as [string, string];
  const all = fraction.replace(".", "");
  if (
    all[precision] === "5" &&
    /^0*$/.test(all.slice(precision + 1)) &&
    Number(all[precision - 1]) % 2 === 0
  ) {
    return [all.slice(0, precision), Number(power)];
  }
  const [rounded, roundedPower] = magnitude.toExponential(precision - 1).split("e") as [string, string];
  return [rounded.replace(".", ""), Number(roundedPower)];
}
