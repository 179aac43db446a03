/**
 * 記号(0〜255 と EOS の 256)ごとの符号の長さ。符号は正準(長さ、記号の順に 1 ずつ増える)なので、長さだけで決まる。
 *
 * @see https://www.rfc-editor.org/rfc/rfc7541#appendix-B
 */
const LENGTHS = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28,
  28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7,
  8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19,
  13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13,
  28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21,
  22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23,
  22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
  19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25,
  25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];
const EOS = 256;
const LONGEST = 30;

interface Codes {
  /** 長さの短い順、同じ長さでは小さい順の記号。 */
  readonly symbols: Uint16Array;
  /** 長さ → その長さの最初の符号、符号の数、最初の記号の `symbols` での位置。 */
  readonly firstCode: Uint32Array;
  readonly counts: Uint16Array;
  readonly offsets: Uint16Array;
}

/** 縮められた見出しが届くまで作らない。 */
let codes: Codes | undefined;

function createCodes(): Codes {
  const symbols = Uint16Array.from(
    LENGTHS.map((_, symbol) => symbol).sort((a, b) => LENGTHS[a]! - LENGTHS[b]! || a - b),
  );
  const firstCode = new Uint32Array(LONGEST + 1);
  const counts = new Uint16Array(LONGEST + 1);
  const offsets = new Uint16Array(LONGEST + 1);
  for (const length of LENGTHS) counts[length]!++;
  for (let length = 1, code = 0, offset = 0; length <= LONGEST; length++) {
    code <<= 1;
    firstCode[length] = code;
    offsets[length] = offset;
    code += counts[length]!;
    offset += counts[length]!;
  }
  return { symbols, firstCode, counts, offsets };
}

/** 元の長さは符号の 8/5 倍を越えない(一番短い符号が 5 ビット)。 */
const scratch = Buffer.allocUnsafe(1 << 16);

/**
 * @returns 元の文字列(1 バイトを 1 文字とする)。符号として正しくなければ undefined。
 */
export function decodeHuffman(bytes: Uint8Array, start: number, end: number): string | undefined {
  codes ??= createCodes();
  const { symbols, firstCode, counts, offsets } = codes;
  const most = Math.ceil(((end - start) * 8) / 5);
  const out = most <= scratch.length ? scratch : Buffer.allocUnsafe(most);
  let at = 0;
  let code = 0;
  let length = 0;
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!;
    for (let bit = 7; bit >= 0; bit--) {
      code = (code << 1) | ((byte >> bit) & 1);
      length++;
      const rank = code - firstCode[length]!;
      if (rank >= 0 && rank < counts[length]!) {
        const symbol = symbols[offsets[length]! + rank]!;
        if (symbol === EOS) return undefined;
        out[at++] = symbol;
        code = 0;
        length = 0;
      } else if (length === LONGEST) return undefined;
    }
  }
  // 余りは EOS の頭、つまり 7 個までの 1 でなければならない。
  if (length > 7 || code !== (1 << length) - 1) return undefined;
  return out.toString("latin1", 0, at);
}
