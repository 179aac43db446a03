/** 正の有限の double を、仮数 × 2^指数 に分ける。 */
function decompose(value: number): { mantissa: bigint; exponent: number } {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  const bits = view.getBigUint64(0);
  const biased = Number((bits >> 52n) & 0x7ffn);
  const fraction = bits & 0xfffffffffffffn;
  return biased === 0
    ? { mantissa: fraction, exponent: -1074 }
    : { mantissa: fraction | 0x10000000000000n, exponent: biased - 1075 };
}

/** value × 10^power を、偶数丸めで整数に。 */
function scaled(value: number, power: number): bigint {
  const { mantissa, exponent } = decompose(value);
  let numerator = mantissa;
  let denominator = 1n;
  if (exponent >= 0) numerator <<= BigInt(exponent);
  else denominator <<= BigInt(-exponent);
  if (power >= 0) numerator *= 10n ** BigInt(power);
  else denominator *= 10n ** BigInt(-power);
  const quotient = numerator / denominator;
  const twice = (numerator % denominator) * 2n;
  const up = twice > denominator || (twice === denominator && (quotient & 1n) === 1n);
  return up ? quotient + 1n : quotient;
}

function fixed(value: number, precision: number): string {
  const digits = scaled(value, precision)
    .toString()
    .padStart(precision + 1, "0");
  if (precision === 0) return digits;
  return `${digits.slice(0, -precision)}.${digits.slice(-precision)}`;
}

function exponentParts(value: number, precision: number): { digits: string; exponent: number } {
  if (value === 0) return { digits: "0".repeat(precision + 1), exponent: 0 };
  let exponent = Math.floor(Math.log10(value));
  // log10 の誤差で 1 ずれることがある。桁数で確かめて直す。
  for (const tried of [exponent, exponent + 1, exponent - 1]) {
    const digits = scaled(value, precision - tried).toString();
    if (digits.length === precision + 1) return { digits, exponent: tried };
    exponent = tried;
  }
  const digits = scaled(value, precision - exponent).toString();
  return { digits: digits.slice(0, precision + 1), exponent: exponent + digits.length - precision - 1 };
}

const exponentText = (exponent: number): string =>
  `e${exponent < 0 ? "-" : "+"}${Math.abs(exponent).toString().padStart(2, "0")}`;

function scientific(value: number, precision: number): string {
  const { digits, exponent } = exponentParts(value, precision);
  const fraction = precision > 0 ? `.${digits.slice(1)}` : "";
  return digits[0] + fraction + exponentText(exponent);
}

function general(value: number, precision: number): string {
  const places = precision === 0 ? 1 : precision;
  const { digits, exponent } = exponentParts(value, places - 1);
  if (exponent < -4 || exponent >= places) {
    const trimmed = digits.replace(/0+$/u, "");
    const fraction = trimmed.length > 1 ? `.${trimmed.slice(1)}` : "";
    return (trimmed[0] ?? "0") + fraction + exponentText(exponent);
  }
  const text = fixed(value, places - 1 - exponent);
  return text.includes(".") ? text.replace(/\.?0+$/u, "") : text;
}

/** C の printf と同じ桁での浮動小数の整形(丸めは 2 進の値そのものに対する偶数丸め)。 */
export interface FloatFormat {
  readonly style: "f" | "e" | "g";
  /** 負なら 6。 */
  readonly precision: number;
  /** 最小の幅。負なら詰めない。 */
  readonly width: number;
  /** `""`, `" "`, `"0"`, `"+"`, `"-"` のどれか。 */
  readonly flag: string;
}

const styles = { f: fixed, e: scientific, g: general };

export function formatFloat(value: number, { style, precision, width, flag }: FloatFormat): string {
  const negative = value < 0 || Object.is(value, -0);
  const magnitude = Math.abs(value);
  const finite = Number.isFinite(value);
  const body = Number.isNaN(value)
    ? "nan"
    : finite
      ? styles[style](magnitude, precision < 0 ? 6 : precision)
      : "inf";
  return pad(body, negative ? "-" : "", width, finite ? flag : flag === "0" ? "" : flag);
}

/** C の printf の `%d` と同じ整数の整形。 */
export function formatInteger(value: number | bigint, width: number, flag: string): string {
  const text = value.toString();
  const negative = text.startsWith("-");
  return pad(negative ? text.slice(1) : text, negative ? "-" : "", width, flag);
}

function pad(body: string, minus: string, width: number, flag: string): string {
  const sign = minus || (flag === "+" || flag === " " ? flag : "");
  const room = Math.max(width - sign.length, 0);
  if (flag === "0") return sign + body.padStart(room, "0");
  if (flag === "-") return (sign + body).padEnd(Math.max(width, 0));
  return (sign + body).padStart(Math.max(width, 0));
}
