/** 10^0 … 10^16。RapidJSON と同じ割り算に使う。 */
const pow10 = Array.from({ length: 17 }, (_, exponent) => 10 ** exponent);
const MAX_SAFE = Number.MAX_SAFE_INTEGER;

export const NumberFault = { none: 0, value: 1, fraction: 2, exponent: 3, tooBig: 4 } as const;

/**
 * 数の文面を読み、値と「整数の文面か、実数の文面か」を残す。結果は次に {@link scan} を呼ぶまで有効。
 *
 * 実数は「整数の仮数 × 10 の冪」で求め、TF Serving が使う RapidJSON の結果(正しい丸めから数 ulp ずれうる)に一致させる。
 * 倍精度の非正規数は 0 になる({@link flushToFloat} と同じ理由)。
 *
 * @see rapidjson/reader.h ParseNumber (1.1.0), rapidjson/internal/strtod.h StrtodNormalPrecision
 */
export class NumberScanner {
  /** 読み終えた位置。失敗したときは `fault` を報告する位置。 */
  at = 0;
  value = 0;
  /** 小数点・指数・NaN・Infinity を含むか、64 ビットに収まらない整数。 */
  isDouble = false;
  /** 2^53 以上の 64 ビット整数の正確な値。それ以外は undefined。 */
  big: bigint | undefined;
  fault: number = NumberFault.none;

  /** @param start 文面の先頭。`-` でも数字でも文字でもよい。 */
  scan(bytes: Uint8Array, start: number): void {
    const end = bytes.length;
    let at = start;
    const minus = bytes[at] === 0x2d;
    if (minus) at++;
    this.big = undefined;
    this.fault = NumberFault.none;

    // よくある形(指数なし、合わせて 15 桁以下)は正確な整数 1 つと割り算 1 回で済む。
    let mantissa = 0;
    const first = at;
    let code = at < end ? bytes[at]! : 0;
    if (code >= 0x31 && code <= 0x39) {
      do {
        mantissa = mantissa * 10 + (code - 0x30);
        at++;
        code = at < end ? bytes[at]! : 0;
      } while (code >= 0x30 && code <= 0x39);
    } else if (code === 0x30) {
      at++;
      code = at < end ? bytes[at]! : 0;
    } else {
      this.#scanSlowly(bytes, start);
      return;
    }
    if (at - first > 15) {
      this.#scanSlowly(bytes, start);
      return;
    }
    const whole = at;
    let places = 0;
    if (code === 0x2e) {
      const point = ++at;
      code = at < end ? bytes[at]! : 0;
      while (code >= 0x30 && code <= 0x39) {
        mantissa = mantissa * 10 + (code - 0x30);
        at++;
        code = at < end ? bytes[at]! : 0;
      }
      places = at - point;
      if (places === 0) {
        this.#scanSlowly(bytes, start);
        return;
      }
    }
    if (code === 0x65 || code === 0x45 || at - first > 16) {
      this.#scanReal(bytes, start, first, whole, minus);
      return;
    }
    if (places > 0) {
      const magnitude = mantissa / pow10[places]!;
      this.value = minus ? -magnitude : magnitude;
      this.isDouble = true;
    } else {
      // 整数の 0 に符号は無い(-0 は 0 になる)。
      this.value = minus ? 0 - mantissa : mantissa;
      this.isDouble = false;
    }
    this.at = at;
  }

  /**
   * 整数部が 15 桁までの実数。桁の多い実数は、float を倍精度の文面で送る客(Python など)からいくらでも来る。
   *
   * @param first 数字の始まり。
   * @param whole 整数部の終わり。`.` か指数が続く。
   */
  #scanReal(bytes: Uint8Array, start: number, first: number, whole: number, minus: boolean): void {
    let at = first;
    let value = 0;
    for (; at < whole; at++) value = value * 10 + (bytes[at]! - 0x30);
    let significant = at - first - 1;
    let power = 0;
    let code = bytes[at];
    if (code === 0x2e) {
      let digit = bytes[++at]! - 0x30;
      while (digit >= 0 && digit <= 9 && value <= MAX_SAFE) {
        value = value < MAX_SAFE / 16 ? value * 10 + digit : appendDigit(value, digit);
        power--;
        if (value !== 0) significant++;
        digit = bytes[++at]! - 0x30;
      }
      for (; digit >= 0 && digit <= 9; digit = bytes[++at]! - 0x30) {
        if (significant >= 17) continue;
        value = value * 10 + digit;
        power--;
        if (value > 0) significant++;
      }
      code = bytes[at];
    }
    if (code === 0x65 || code === 0x45) {
      code = bytes[++at];
      const sign = code === 0x2d ? -1 : 1;
      if (code === 0x2d || code === 0x2b) at++;
      const from = at;
      let exponent = 0;
      for (let digit = bytes[at]! - 0x30; digit >= 0 && digit <= 9; digit = bytes[++at]! - 0x30) {
        exponent = exponent * 10 + digit;
      }
      // 桁の無い指数と、結果が大き過ぎるか小さ過ぎるものは別の所で。
      if (at === from || at - from > 3 || exponent > 250) {
        this.#scanSlowly(bytes, start);
        return;
      }
      power += sign * exponent;
    }
    const magnitude = scaleByPower(value, power);
    this.value = minus ? -magnitude : magnitude;
    this.isDouble = true;
    this.at = at;
  }

  #fail(fault: number, at: number): void {
    this.fault = fault;
    this.at = at;
  }

  #scanSlowly(bytes: Uint8Array, start: number): void {
    const end = bytes.length;
    const peek = (at: number): number => (at < end ? bytes[at]! : 0);
    const isDigit = (code: number): boolean => code >= 0x30 && code <= 0x39;
    let at = start;
    const minus = peek(at) === 0x2d;
    if (minus) at++;

    let value = 0;
    let isWord = false;
    const first = at;
    if (peek(at) === 0x30) {
      at++;
    } else if (isDigit(peek(at))) {
      while (isDigit(peek(at))) at++;
    } else if (peek(at) === 0x4e || peek(at) === 0x49) {
      isWord = true;
      const matched = matchWord(bytes, at);
      at = Math.abs(matched);
      if (matched < 0) {
        this.#fail(NumberFault.value, at);
        return;
      }
      value =
        bytes[first] === 0x4e ? Number.NaN : minus ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
    } else {
      this.#fail(NumberFault.value, at);
      return;
    }

    // 整数部。64 ビットを超えた桁からは倍精度に足し込む。
    const limit = minus ? 0x8000000000000000n : 0xffffffffffffffffn;
    const isLong = !isWord && at - first > 20;
    let whole = isWord || isLong ? 0n : BigInt(ascii(bytes, first, at));
    let isDouble = false;
    let significant = isWord ? 0 : at - first - 1;
    if (isLong || whole > limit) {
      isDouble = true;
      let cut = first + 1;
      let prefix = BigInt(bytes[first]! - 0x30);
      while (prefix * 10n + BigInt(bytes[cut]! - 0x30) <= limit) {
        prefix = prefix * 10n + BigInt(bytes[cut]! - 0x30);
        cut++;
      }
      significant = cut - first - 1;
      value = Number(prefix);
      for (; cut < at; cut++) {
        if (value >= Number.MAX_VALUE / 10) {
          this.#fail(NumberFault.tooBig, start);
          return;
        }
        value = value * 10 + (bytes[cut]! - 0x30);
      }
    }

    let exponentOfFraction = 0;
    if (peek(at) === 0x2e) {
      at++;
      if (!isDigit(peek(at))) {
        this.#fail(NumberFault.fraction, at);
        return;
      }
      if (!isDouble) {
        while (isDigit(peek(at)) && whole <= BigInt(MAX_SAFE)) {
          whole = whole * 10n + BigInt(bytes[at]! - 0x30);
          at++;
          exponentOfFraction--;
          if (whole !== 0n) significant++;
        }
        value = Number(whole);
        isDouble = true;
      }
      for (; isDigit(peek(at)); at++) {
        if (significant >= 17) continue;
        value = value * 10 + (bytes[at]! - 0x30);
        exponentOfFraction--;
        if (value > 0) significant++;
      }
    }

    let exponent = 0;
    if (peek(at) === 0x65 || peek(at) === 0x45) {
      at++;
      if (!isDouble) {
        value = Number(whole);
        isDouble = true;
      }
      const minusExponent = peek(at) === 0x2d;
      if (minusExponent || peek(at) === 0x2b) at++;
      if (!isDigit(peek(at))) {
        this.#fail(NumberFault.exponent, at);
        return;
      }
      exponent = bytes[at++]! - 0x30;
      for (; isDigit(peek(at)); at++) {
        // 負の指数は十分大きくなれば結果が 0 で変わらないので、桁あふれの前で止める。
        if (minusExponent && exponent >= 214748364) continue;
        exponent = exponent * 10 + (bytes[at]! - 0x30);
        if (!minusExponent && exponent > 308 - exponentOfFraction) {
          this.#fail(NumberFault.tooBig, start);
          return;
        }
      }
      if (minusExponent) exponent = -exponent;
    }

    this.at = at;
    this.isDouble = isDouble || isWord;
    if (isDouble) {
      const magnitude = scaleByPower(value, exponent + exponentOfFraction);
      this.value = minus ? -magnitude : magnitude;
    } else if (isWord) {
      this.value = value;
    } else {
      const signed = minus ? -whole : whole;
      this.value = Number(signed);
      if (whole > BigInt(MAX_SAFE)) this.big = signed;
    }
  }
}

/** 2^53 未満の整数の後に 1 桁を足す。2^53 を越えるなら、正確な値を 1 度だけ丸めたものになる。 */
function appendDigit(whole: number, digit: number): number {
  const high = Math.floor(whole / 2 ** 20);
  return high * 10 * 2 ** 20 + ((whole - high * 2 ** 20) * 10 + digit);
}

/** `NaN` `Inf` `Infinity` を読む。終わりの位置、食い違えばその位置の負数。 */
function matchWord(bytes: Uint8Array, start: number): number {
  let at = start;
  const word = bytes[at] === 0x4e ? "NaN" : "Infinity";
  for (let i = 0; i < word.length; i++, at++) {
    if (i === 3 && bytes[at] !== 0x69) return at;
    if (bytes[at] !== word.charCodeAt(i)) return -at;
  }
  return at;
}

function ascii(bytes: Uint8Array, from: number, to: number): string {
  let text = "";
  for (let i = from; i < to; i++) text += String.fromCharCode(bytes[i]!);
  return text;
}

/** `10 ** 23` などは正しく丸められない。 */
const powerOfTen = (exponent: number): number => pow10[exponent] ?? Number(`1e${exponent}`);

function scaleByPower(value: number, power: number): number {
  if (power < -616) return 0;
  if (power >= 0) return value * powerOfTen(power);
  const scaled = power < -308 ? value / 1e308 / powerOfTen(-(power + 308)) : value / powerOfTen(-power);
  return scaled < 2 ** -1022 ? 0 : scaled;
}

/** これより小さい数を float にすると非正規数になる。丁度の値は丸めて最小の正規数になる。 */
const SUBNORMAL = 2 ** -126 - 2 ** -151;

/** float にしたときに非正規数になるなら 0。TF Serving の REST のスレッドは、非正規数を 0 とみなす設定(DAZ、FTZ)で動く。 */
export function flushToFloat(value: number): number {
  return value < SUBNORMAL && value > -SUBNORMAL ? value * 0 : value;
}
