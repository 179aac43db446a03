import { toLatin1 } from "./bytes.ts";

const decimal = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/iu;
const named = /^([+-]?)(inf|infinity|nan)$/iu;
const hexadecimal = /^([+-]?)0x([0-9a-f]+)$/iu;
const integer = /^[+-]?\d+$/u;
const trim = (text: string): string => text.replace(/^[ \t\n\v\f\r]+|[ \t\n\v\f\r]+$/gu, "");

/**
 * TF の safe_strtod と同じ文法で読む。前後の空白、`inf`、`nan`、16 進の整数を許す。
 *
 * @returns 数でなければ undefined。
 */
export function parseDouble(bytes: Uint8Array): number | undefined {
  const text = trim(toLatin1(bytes));
  if (decimal.test(text)) return Number(text);
  const name = named.exec(text);
  if (name !== null) {
    const magnitude = name[2]!.toLowerCase() === "nan" ? Number.NaN : Number.POSITIVE_INFINITY;
    return name[1] === "-" ? -magnitude : magnitude;
  }
  const hex = hexadecimal.exec(text);
  if (hex === null) return undefined;
  const magnitude = Number(BigInt(`0x${hex[2]}`));
  return hex[1] === "-" ? -magnitude : magnitude;
}

/**
 * 10 進の整数。前後の空白は許す。
 *
 * @returns 数でない、または範囲の外なら undefined。
 */
export function parseInteger(bytes: Uint8Array, low: bigint, high: bigint): bigint | undefined {
  const text = trim(toLatin1(bytes));
  if (!integer.test(text)) return undefined;
  if (low === 0n && text.startsWith("-")) return undefined;
  const value = BigInt(text.startsWith("+") ? text.slice(1) : text);
  return value < low || value > high ? undefined : value;
}

/** 整数 dtype の範囲。 */
export const integerRange = {
  int32: [-(2n ** 31n), 2n ** 31n - 1n],
  int64: [-(2n ** 63n), 2n ** 63n - 1n],
  uint32: [0n, 2n ** 32n - 1n],
  uint64: [0n, 2n ** 64n - 1n],
} as const;
