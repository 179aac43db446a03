import { flushToFloat, NumberFault, NumberScanner } from "./json_number.ts";
import type { PredictFormat } from "./json_tensor.ts";
import { NumberRows } from "./number_rows.ts";

/** 数だけの本文。値は JSON の数として正確で、まだどの型にもしていない。 */
export class NumericBody {
  readonly signatureName: string;
  readonly format: PredictFormat;
  /** 行形式では先頭が行数。 */
  readonly shape: readonly number[];
  /** すべて整数の文面で、絶対値が 2^53 未満か。 */
  readonly isIntegral: boolean;
  readonly #hasTiny = hasTiny;
  readonly #source: Uint8Array;
  readonly #count = count;
  readonly #generation = ++generation;

  constructor(source: Uint8Array, signatureName: string, format: PredictFormat) {
    this.#source = source;
    this.signatureName = signatureName;
    this.format = format;
    this.shape = shape;
    this.isIntegral = isIntegral;
  }

  /**
   * 値の列。次の本文を読むまでだけ有効な、使い回しの置き場。
   * 読んですぐ使うのが普通で、間に別の本文を読んでいたときだけ読み直す。
   */
  values(): Float64Array {
    if (this.#generation !== generation) {
      scanNumericBody(this.#source);
      generation++;
    }
    return values.subarray(0, this.#count);
  }

  /** {@link values} を float32 に丸めたもの。 */
  toFloat32(): Float32Array {
    if (this.#hasTiny) return Float32Array.from(this.values(), flushToFloat);
    if (this.#generation !== generation || this.#count > SMALL) return new Float32Array(this.values());
    // 数個なら、型付き配列の view を作るより 1 つずつ写すほうが速い。
    const out = new Float32Array(this.#count);
    for (let i = 0; i < out.length; i++) out[i] = values[i]!;
    return out;
  }
}

/** これより深い入れ子は一般の道に任せる。 */
const MAX_LEVEL = 16;

/** 次の要求のために残しておく作業場の大きさ。 */
const KEPT = 1 << 14;
const SMALL = 64;
/** これより長い本文の行は、wasm でまとめて読む。 */
const MANY_BYTES = 512;

const pow10 = Array.from({ length: 16 }, (_, exponent) => 10 ** exponent);
const numbers = new NumberScanner();

/** 直前の {@link scanValues} の結果。1 つの本文は同期で読み終わるので使い回す。 */
let values = new Float64Array(KEPT);
let count = 0;
let isIntegral = true;
/** float では非正規数になる値があったか。指数の無い 15 桁までの文面は、そこまで小さくならない。 */
let hasTiny = false;
let shape: readonly number[] = [];
/** 今の `values` がどの本文のものか。 */
let generation = 0;
const filled: number[] = [];

/**
 * `{"signature_name": …, "instances": [[数…]…]}`(または `inputs`)だけを、木を作らずに読む。
 *
 * 少しでも違うもの(知らないキー、空の配列、不揃い、文字列、深い入れ子、構文の誤り)は undefined を返す。
 * その先の判断と文面は一般の道だけが持つ。
 */
export function scanNumericBody(body: Uint8Array): NumericBody | undefined {
  let at = skipSpace(body, 0);
  if (body[at] !== 0x7b) return undefined;
  let signatureName: string | undefined;
  let format: PredictFormat | undefined;
  do {
    const key = skipSpace(body, at + 1);
    const isRow = matches(body, key, '"instances"');
    if (isRow || matches(body, key, '"inputs"')) {
      if (format !== undefined) return undefined;
      format = isRow ? "row" : "columnar";
      at = skipSpace(body, key + (isRow ? 11 : 8));
      if (body[at] !== 0x3a) return undefined;
      at = scanValues(body, skipSpace(body, at + 1));
      if (at < 0) return undefined;
    } else if (matches(body, key, '"signature_name"')) {
      at = skipSpace(body, key + 16);
      if (signatureName !== undefined || body[at] !== 0x3a) return undefined;
      at = skipSpace(body, at + 1);
      signatureName = readName(body, at);
      if (signatureName === undefined) return undefined;
      at += signatureName.length + 2;
    } else {
      return undefined;
    }
    at = skipSpace(body, at);
  } while (body[at] === 0x2c);
  if (body[at] !== 0x7d || format === undefined) return undefined;
  return new NumericBody(body, signatureName ?? "", format);
}

function skipSpace(bytes: Uint8Array, start: number): number {
  let at = start;
  let code = bytes[at];
  while (code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09) code = bytes[++at];
  return at;
}

function matches(bytes: Uint8Array, at: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) if (bytes[at + i] !== text.charCodeAt(i)) return false;
  return true;
}

/** 逆斜線も ASCII の外の文字も無い文字列。 */
function readName(bytes: Uint8Array, start: number): string | undefined {
  if (bytes[start] !== 0x22) return undefined;
  let text = "";
  for (let at = start + 1; ; at++) {
    const code = bytes[at];
    if (code === 0x22) return text;
    if (code === undefined || code < 0x20 || code >= 0x80 || code === 0x5c) return undefined;
    text += String.fromCharCode(code);
  }
}

/** `values` を、`needed` 個入るように広げる。 */
function grow(out: Float64Array<ArrayBuffer>, written: number, needed: number): Float64Array<ArrayBuffer> {
  values = new Float64Array(Math.max(out.length * 2, needed));
  values.set(out.subarray(0, written));
  return values;
}

/**
 * 揃った数の配列を `values` へ読む。1 バイトあたりの手間が応答時間を決めるので、状態はすべて局所変数に置く。
 *
 * @param start 最初の括弧の位置。
 * @returns 閉じ括弧の次の位置。揃っていない、または数でないものがあれば -1。
 */
function scanValues(bytes: Uint8Array, start: number): number {
  if (bytes[start] !== 0x5b) return -1;
  if (values.length > KEPT) values = new Float64Array(KEPT);
  let out = values;
  let written = 0;
  let integral = true;
  let tiny = false;
  const sizes: number[] = [-1];
  filled[0] = 0;
  let level = 0;
  let rank = -1;
  let at = skipSpace(bytes, start + 1);
  const rows = bytes.length >= MANY_BYTES ? new NumberRows(bytes) : undefined;
  for (;;) {
    // 1 行目で形が分かれば、同じ形の続きはまとめて読める。
    if (rows !== undefined && level + 1 === rank && bytes[at] === 0x5b) {
      const columns = sizes[rank]!;
      const taken = rows.take(at, columns);
      if (taken.length > 0) {
        at = rows.at;
        filled[level]! += taken.length / columns;
        if (rows.hasReals) integral = false;
        if (written + taken.length > out.length) out = grow(out, written, written + taken.length);
        out.set(taken, written);
        written += taken.length;
      }
    }
    if (bytes[at] === 0x5b) {
      if (++level === MAX_LEVEL) return -1;
      filled[level] = 0;
      if (level === sizes.length) sizes.push(-1);
      at = skipSpace(bytes, at + 1);
      continue;
    }
    if (rank !== level) {
      if (rank >= 0) return -1;
      rank = level;
    }
    const before = written;
    let code = 0;
    // 数が続く間はここに留まる。
    for (;;) {
      code = bytes[at]!;
      const first = at;
      const minus = code === 0x2d;
      if (minus) code = bytes[++at]!;
      const lead = at;
      let mantissa = 0;
      if (code === 0x30) {
        code = bytes[++at]!;
      } else {
        while (code >= 0x30 && code <= 0x39) {
          mantissa = mantissa * 10 + (code - 0x30);
          code = bytes[++at]!;
        }
      }
      let places = 0;
      if (code === 0x2e && at !== lead) {
        const point = ++at;
        code = bytes[at]!;
        while (code >= 0x30 && code <= 0x39) {
          mantissa = mantissa * 10 + (code - 0x30);
          code = bytes[++at]!;
        }
        places = at - point;
        integral = false;
      }
      let value: number;
      // 15 桁までの仮数は正確。それより長いもの、指数、NaN、Infinity、数でないものは別の読み手が決める。
      if (
        at - lead - (places > 0 ? 1 : 0) <= 15 &&
        bytes[at - 1]! >= 0x30 &&
        at > lead &&
        (code | 0x20) !== 0x65
      ) {
        value = places > 0 ? mantissa / pow10[places]! : mantissa;
        // 整数の 0 に符号は無い。
        if (minus) value = places > 0 ? -value : 0 - value;
      } else {
        numbers.scan(bytes, first);
        // 2^53 以上の整数は倍精度に入らない。
        if (numbers.fault !== NumberFault.none || numbers.big !== undefined) return -1;
        if (numbers.isDouble) integral = false;
        value = numbers.value;
        if (value !== 0 && flushToFloat(value) === 0) tiny = true;
        at = numbers.at;
        code = bytes[at]!;
      }
      if (written === out.length) out = grow(out, written, written + 1);
      out[written++] = value;
      if (code <= 0x20) {
        at = skipSpace(bytes, at);
        code = bytes[at]!;
      }
      if (code !== 0x2c) break;
      code = bytes[++at]!;
      if (code <= 0x20) at = skipSpace(bytes, at);
    }
    filled[level] = written - before;
    // 閉じ括弧が続く間、段ごとの数を確かめる。
    for (;;) {
      if (code !== 0x5d) return -1;
      const size = sizes[level]!;
      if (size < 0) sizes[level] = filled[level]!;
      else if (size !== filled[level]) return -1;
      at++;
      if (--level < 0) {
        count = written;
        isIntegral = integral;
        hasTiny = tiny;
        shape = sizes;
        return at;
      }
      filled[level]!++;
      at = skipSpace(bytes, at);
      code = bytes[at]!;
      if (code === 0x2c) {
        at = skipSpace(bytes, at + 1);
        break;
      }
    }
  }
}
