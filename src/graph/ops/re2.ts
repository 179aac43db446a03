import { isUtf8 } from "node:buffer";
import { type Matcher, RE2JS, RE2JSException, RE2JSSyntaxException } from "re2js";
import { invalidArgument } from "../../base/status.ts";
import { decodeText } from "./kernel_util.ts";

/** re2js の文面 → RE2 本家の文面。載っていないものは同じ綴り。 */
const wordings: Readonly<Record<string, string>> = {
  "missing closing ]": "missing ]",
  "missing closing )": "missing )",
  "missing argument to repetition operator": "no argument for repetition operator",
  "invalid nested repetition operator": "bad repetition operator",
  "invalid repeat count": "invalid repetition size",
  "invalid named capture": "invalid named capture group",
  "invalid or unsupported Perl syntax": "invalid perl operator",
  "trailing backslash at end of expression": "trailing \\",
};

function explain(error: unknown): string {
  if (error instanceof RE2JSSyntaxException) {
    const reason = error.getDescription().replace(/: .*/su, "");
    const input = error.getPattern();
    return (wordings[reason] ?? reason) + (input ? `: ${input}` : "");
  }
  return error instanceof RE2JSException ? error.message : "pattern too large - compile failed";
}

/**
 * RE2 の正規表現。JavaScript の RegExp に訳すと構文も計算量の保証(線形時間)も失うので、
 * RE2 の移植である re2js をバイト列のまま使う。
 *
 * @see https://github.com/google/re2/wiki/Syntax
 */
export class Pattern {
  private readonly compiled: RE2JS;

  /** @throws INVALID_ARGUMENT RE2 の構文でない。`\C`(任意の 1 バイト)は re2js に無いので同じく断る。 */
  constructor(source: Uint8Array) {
    const text = decodeText(source);
    try {
      this.compiled = RE2JS.compile(text);
    } catch (error) {
      throw invalidArgument(`Invalid pattern: ${text}, error: ${explain(error)}`, error);
    }
  }

  fullMatch(text: Uint8Array): boolean {
    return isUtf8(text) && this.compiled.matcher(text).matches();
  }

  /**
   * 一致した所を書き換える。`\1`…`\9` は捕獲、`\0` は全体、`\\` は逆斜線。
   * 捕獲の番号が多すぎる書き換えは、RE2 と同じく何もしない。
   *
   * @param everywhere false なら最初の一致だけ。
   */
  replace(text: Uint8Array, rewrite: Rewrite, everywhere: boolean): Uint8Array {
    if (rewrite.highestGroup > this.compiled.groupCount()) return text;
    if (!isUtf8(text)) return this.replaceValidRuns(text, rewrite, everywhere);
    const matcher = this.compiled.matcher(text);
    if (!everywhere) {
      if (!rewrite.valid || !matcher.find()) return text;
      const parts = [text.subarray(0, matcher.start())];
      rewrite.append(parts, text, matcher);
      parts.push(text.subarray(matcher.end()));
      return Buffer.concat(parts);
    }
    const parts: Uint8Array[] = [];
    let at = 0;
    let lastEnd = -1;
    while (at <= text.length && matcher.find(at)) {
      const start = matcher.start();
      const end = matcher.end();
      if (start === lastEnd && end === start) {
        // 直前の一致の終わりでの空の一致は数えず、1 文字進む。
        const step = characterLength(text, at);
        parts.push(text.subarray(at, at + step));
        at += step;
        if (step === 0) break;
        continue;
      }
      parts.push(text.subarray(at, start));
      rewrite.append(parts, text, matcher);
      at = end;
      lastEnd = end;
    }
    if (lastEnd < 0) return text;
    parts.push(text.subarray(at));
    return Buffer.concat(parts);
  }

  /** UTF-8 として壊れたバイトはどの文字にも一致しないので、その間だけを書き換える。 */
  private replaceValidRuns(text: Uint8Array, rewrite: Rewrite, everywhere: boolean): Uint8Array {
    const parts: Uint8Array[] = [];
    let start = 0;
    let done = false;
    for (let at = 0; at <= text.length; ) {
      const length = characterLength(text, at);
      const broken = length === 1 && text[at]! >= 0x80;
      if (!broken && length > 0) {
        at += length;
        continue;
      }
      const run = text.subarray(start, at);
      const replaced: Uint8Array = done ? run : this.replace(run, rewrite, everywhere);
      done = !everywhere && (done || replaced !== run);
      parts.push(replaced, text.subarray(at, at + length));
      at += Math.max(length, 1);
      start = at;
    }
    return Buffer.concat(parts);
  }
}

/** 読み取り済みの書き換え文。 */
export class Rewrite {
  private readonly pieces: (Uint8Array | number)[] = [];
  readonly highestGroup: number = 0;
  /** 逆斜線の後が数字でも逆斜線でもなければ false。そこまでの部分だけが使われる。 */
  readonly valid: boolean = true;

  constructor(source: Uint8Array) {
    let literal: number[] = [];
    const flush = (): void => {
      if (literal.length > 0) this.pieces.push(new Uint8Array(literal));
      literal = [];
    };
    for (let i = 0; i < source.length; i++) {
      const byte = source[i]!;
      if (byte !== 0x5c) {
        literal.push(byte);
        continue;
      }
      const next = source[++i] ?? 0;
      if (next === 0x5c) {
        literal.push(next);
      } else if (next >= 0x30 && next <= 0x39) {
        flush();
        this.pieces.push(next - 0x30);
        this.highestGroup = Math.max(this.highestGroup, next - 0x30);
      } else {
        this.valid = false;
        break;
      }
    }
    flush();
  }

  append(out: Uint8Array[], text: Uint8Array, matcher: Matcher): void {
    for (const piece of this.pieces) {
      if (typeof piece !== "number") out.push(piece);
      else if (matcher.start(piece) >= 0) out.push(text.subarray(matcher.start(piece), matcher.end(piece)));
    }
  }
}

/** UTF-8 の 1 文字のバイト数。壊れた並びは 1。末尾では 0。 */
function characterLength(bytes: Uint8Array, at: number): number {
  if (at >= bytes.length) return 0;
  const lead = bytes[at]!;
  const length = lead < 0xc2 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 1;
  return length > 1 && isUtf8(bytes.subarray(at, at + length)) ? length : 1;
}
