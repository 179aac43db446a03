import { ByteSink } from "./byte_sink.ts";

/** 10^0 … 10^22。ここまでは倍精度で正確に表せる。 */
const pow10 = Array.from({ length: 23 }, (_, exponent) => Number(`1e${exponent}`));
/** 10^-15 … 10^23。10 進の指数を決める比較にだけ使う。 */
const thresholds = Array.from({ length: 39 }, (_, index) => Number(`1e${index - 15}`));
const LOWEST = 1e-15;
const HIGHEST = 1e22;
/** Veltkamp の分割に使う 2^27 + 1。 */
const SPLITTER = 134217729;
/** 数字列をいったん置く場所。`0.000` の長さだけ先。 */
const DIGITS = 5;

const bits = new Float64Array(1);
const words = new Uint32Array(bits.buffer);
/** "000" … "999"。3 桁ずつ取り出すための表。 */
const triples = new Uint8Array(3000);
for (let value = 0; value < 1000; value++) {
  triples[value * 3] = 0x30 + Math.floor(value / 100);
  triples[value * 3 + 1] = 0x30 + (Math.floor(value / 10) % 10);
  triples[value * 3 + 2] = 0x30 + (value % 10);
}

/**
 * TF Serving と同じ文面で実数を書く。
 *
 * 6 桁(`%.6g`)で読み戻して同じ値になればそれを、ならなければ float は 9 桁、double は 17 桁を使う。
 * 小数点も指数も無ければ `.0` を足す。丁度中間の値は偶数側へ丸める(JavaScript の toPrecision は大きい側)。
 *
 * @param single float32 の値なら true。その場合 `value` は float32 で表せる数であること。
 * @see tensorflow_serving/util/json_tensor.cc WriteDecimal
 */
export function writeFloat(sink: ByteSink, value: number, single: boolean): void {
  sink.reserve(32);
  const out = sink.bytes;
  let magnitude = value;
  if (value < 0 || (value === 0 && 1 / value < 0)) {
    out[sink.at++] = 0x2d;
    magnitude = -value;
  }
  if (magnitude === 0) {
    out[sink.at] = 0x30;
    out[sink.at + 1] = 0x2e;
    out[sink.at + 2] = 0x30;
    sink.at += 3;
    return;
  }
  if (!(magnitude >= LOWEST && magnitude < HIGHEST)) {
    writeUncommon(sink, magnitude, single);
    return;
  }

  bits[0] = magnitude;
  let exponent = (((words[1]! >>> 20) - 1023) * 1233) >> 12;
  if (magnitude >= thresholds[exponent + 16]!) exponent++;

  const scale = 5 - exponent;
  let six: number;
  let back: number;
  if (scale >= 0) {
    const power = pow10[scale]!;
    six = Math.round(magnitude * power);
    back = six / power;
  } else {
    const power = pow10[-scale]!;
    six = Math.round(magnitude / power);
    back = six * power;
  }
  if (single) {
    if (Math.fround(back) === magnitude) {
      // 10 進 → double → float の二重丸めが起こりうるのは、double が隣り合う float の真ん中に乗った時だけ。
      const mirrored = 2 * back - magnitude;
      if (mirrored !== magnitude && Math.fround(mirrored) === mirrored) {
        writeUncommon(sink, magnitude, single);
        return;
      }
      writeSix(sink, six, exponent);
      return;
    }
  } else if (back === magnitude) {
    writeSix(sink, six, exponent);
    return;
  }
  writeFull(sink, magnitude, exponent, single);
}

/** {@link writeFloat} の文面だけを得る。 */
export function formatFloat(value: number, single: boolean): string {
  const sink = new ByteSink(32);
  writeFloat(sink, value, single);
  return String.fromCharCode(...sink.toBytes());
}

function writeSix(sink: ByteSink, six: number, exponent: number): void {
  let value = six | 0;
  let power = exponent;
  if (value === 1_000_000) {
    value = 100_000;
    power++;
  }
  const high = (value / 1000) | 0;
  const from = sink.at + DIGITS;
  putTriple(sink.bytes, from, high);
  putTriple(sink.bytes, from + 3, value - high * 1000);
  layOut(sink, 6, power, 6);
}

/**
 * 9 桁または 17 桁。`magnitude × 10^scale` を「積 + 誤差」の二つの double で正確に持ち、偶数丸めする。
 *
 * @see T. J. Dekker, "A floating-point technique for extending the available precision" (1971)
 */
function writeFull(sink: ByteSink, magnitude: number, exponent: number, single: boolean): void {
  const precision = single ? 9 : 17;
  const scale = precision - 1 - exponent;
  if (scale < 0 || scale > 22) {
    writeUncommon(sink, magnitude, single);
    return;
  }
  const power = pow10[scale]!;
  const product = magnitude * power;
  const a = SPLITTER * magnitude;
  const aHigh = a - (a - magnitude);
  const aLow = magnitude - aHigh;
  const b = SPLITTER * power;
  const bHigh = b - (b - power);
  const bLow = power - bHigh;
  const error = aLow * bLow - (product - aHigh * bHigh - aLow * bHigh - aHigh * bLow);

  let e10 = exponent;
  if (single) {
    const floor = Math.floor(product);
    const fraction = product - floor;
    let rounded = floor;
    if (fraction > 0.5 || (fraction === 0.5 && (error > 0 || (error === 0 && floor % 2 === 1)))) rounded++;
    if (rounded === 1e9) {
      rounded = 1e8;
      e10++;
    }
    putNine(sink.bytes, sink.at + DIGITS, rounded | 0);
    layOut(sink, 9, e10, 9);
    return;
  }

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
  if (high < 1e7) {
    writeUncommon(sink, magnitude, single);
    return;
  }
  if (high === 1e8) {
    high = 1e7;
    low = 0;
    e10++;
  }
  // 上 8 桁は 9 桁として書くので先頭に 0 が付く。その場所は layOut が上書きする。
  putNine(sink.bytes, sink.at + DIGITS - 1, high | 0);
  putNine(sink.bytes, sink.at + DIGITS + 8, low | 0);
  layOut(sink, 17, e10, 17);
}

function putTriple(out: Uint8Array, at: number, value: number): void {
  const from = value * 3;
  out[at] = triples[from]!;
  out[at + 1] = triples[from + 1]!;
  out[at + 2] = triples[from + 2]!;
}

function putNine(out: Uint8Array, at: number, value: number): void {
  const high = (value / 1_000_000) | 0;
  const rest = value - high * 1_000_000;
  const middle = (rest / 1000) | 0;
  putTriple(out, at, high);
  putTriple(out, at + 3, middle);
  putTriple(out, at + 6, rest - middle * 1000);
}

/** `sink.at + DIGITS` から置かれた `count` 桁を、その場で C の `%g` の形に並べ直す。 */
function layOut(sink: ByteSink, count: number, exponent: number, precision: number): void {
  const out = sink.bytes;
  const start = sink.at;
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
  sink.at = at;
}

/** 極端に大きい・小さい値と非有限値。10 進への展開は処理系に任せ、同点だけ直す。 */
function writeUncommon(sink: ByteSink, magnitude: number, single: boolean): void {
  if (Number.isNaN(magnitude)) {
    sink.ascii("NaN");
    return;
  }
  if (magnitude === Number.POSITIVE_INFINITY) {
    sink.ascii("Infinity");
    return;
  }
  const [six, sixExponent] = roundDecimal(magnitude, 6);
  if (parsesTo(six, sixExponent, magnitude, single)) {
    putDigits(sink, six);
    layOut(sink, 6, sixExponent, 6);
    return;
  }
  const precision = single ? 9 : 17;
  const [full, fullExponent] = roundDecimal(magnitude, precision);
  putDigits(sink, full);
  layOut(sink, precision, fullExponent, precision);
}

function putDigits(sink: ByteSink, text: string): void {
  for (let i = 0; i < text.length; i++) sink.bytes[sink.at + DIGITS + i] = text.charCodeAt(i);
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

/** 10 進の文面を「その型で」読んだ値が `magnitude` か。float は double を経由すると二重丸めになるので整数で比べる。 */
function parsesTo(text: string, exponent: number, magnitude: number, single: boolean): boolean {
  const parsed = Number(`${text}e${exponent - text.length + 1}`);
  if (!single) return parsed === magnitude;
  if (Math.fround(parsed) !== magnitude) return false;
  const mirrored = 2 * parsed - magnitude;
  if (mirrored === magnitude || Math.fround(mirrored) !== mirrored) return true;
  // parsed は magnitude と mirrored の真ん中。元の 10 進がどちらに近いかを有理数で決める。
  const side = compareDecimal(text, exponent - text.length + 1, parsed);
  if (side === 0) return true;
  return magnitude > mirrored === side > 0;
}

/** 10 進 `text × 10^power` と double の大小。 */
function compareDecimal(text: string, power: number, value: number): number {
  let left = BigInt(text);
  let right: bigint;
  let scale = 0;
  let whole = value;
  while (!Number.isInteger(whole)) {
    whole *= 2;
    scale++;
  }
  right = BigInt(whole);
  left <<= BigInt(scale);
  if (power >= 0) left *= 10n ** BigInt(power);
  else right *= 10n ** BigInt(-power);
  return left < right ? -1 : left > right ? 1 : 0;
}
