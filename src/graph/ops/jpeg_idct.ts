/**
 * 逆 DCT。libjpeg と 1 階調も違わない整数演算で、結果をそのまま `out` の 8×8 に書く。
 *
 * @param block 64 個の係数(行優先)。壊してよい。
 * @param table {@link fastTable} か {@link accurateTable}。
 * @param out 書き込み先の画素の面。
 * @param at 左上の位置。
 * @param stride 面の 1 行の長さ。
 */
export type Idct = (
  block: Int32Array,
  table: Int32Array,
  out: Uint8ClampedArray,
  at: number,
  stride: number,
) => void;

const aanRow = [1, 1.387039845, 1.306562965, 1.175875602, 1, 0.785694958, 0.5411961, 0.275899379];
/** AAN の倍率 × 2^14。 */
const aanScales = Int32Array.from({ length: 64 }, (_, i) =>
  Math.round(aanRow[i >> 3]! * aanRow[i & 7]! * 16384),
);

/** 速い IDCT の量子化表(倍率を畳み込んである)。 */
export function fastTable(quantization: ArrayLike<number>): Int32Array {
  return aanScales.map((scale, i) => (quantization[i]! * scale + 2048) >> 12);
}

/** 正確な IDCT の量子化表。 */
export function accurateTable(quantization: ArrayLike<number>): Int32Array {
  return Int32Array.from(quantization);
}

const work = new Int32Array(64);

/**
 * 速い整数 IDCT(TF の既定の `INTEGER_FAST`)。
 *
 * @see libjpeg jidctfst.c。Arai, Agui, Nakajima (1988)
 */
export const fastIdct: Idct = (block, table, out, at, stride) => {
  for (let i = 0; i < 64; i++) block[i]! *= table[i]!;
  for (let c = 0; c < 8; c++) {
    const e0 = block[c]! + block[c + 32]!;
    const e1 = block[c]! - block[c + 32]!;
    const e3 = block[c + 16]! + block[c + 48]!;
    const e2 = (((block[c + 16]! - block[c + 48]!) * 362) >> 8) - e3;
    const t0 = e0 + e3;
    const t3 = e0 - e3;
    const t1 = e1 + e2;
    const t2 = e1 - e2;
    const z13 = block[c + 40]! + block[c + 24]!;
    const z10 = block[c + 40]! - block[c + 24]!;
    const z11 = block[c + 8]! + block[c + 56]!;
    const z12 = block[c + 8]! - block[c + 56]!;
    const t7 = z11 + z13;
    const z5 = ((z10 + z12) * 473) >> 8;
    const t6 = ((z10 * -669) >> 8) + z5 - t7;
    const t5 = (((z11 - z13) * 362) >> 8) - t6;
    const t4 = ((z12 * 277) >> 8) - z5 + t5;
    work[c] = t0 + t7;
    work[c + 56] = t0 - t7;
    work[c + 8] = t1 + t6;
    work[c + 48] = t1 - t6;
    work[c + 16] = t2 + t5;
    work[c + 40] = t2 - t5;
    work[c + 32] = t3 + t4;
    work[c + 24] = t3 - t4;
  }
  for (let r = 0; r < 64; r += 8) {
    const e0 = work[r]! + work[r + 4]!;
    const e1 = work[r]! - work[r + 4]!;
    const e3 = work[r + 2]! + work[r + 6]!;
    const e2 = (((work[r + 2]! - work[r + 6]!) * 362) >> 8) - e3;
    const t0 = e0 + e3;
    const t3 = e0 - e3;
    const t1 = e1 + e2;
    const t2 = e1 - e2;
    const z13 = work[r + 5]! + work[r + 3]!;
    const z10 = work[r + 5]! - work[r + 3]!;
    const z11 = work[r + 1]! + work[r + 7]!;
    const z12 = work[r + 1]! - work[r + 7]!;
    const t7 = z11 + z13;
    const z5 = ((z10 + z12) * 473) >> 8;
    const t6 = ((z10 * -669) >> 8) + z5 - t7;
    const t5 = (((z11 - z13) * 362) >> 8) - t6;
    const t4 = ((z12 * 277) >> 8) - z5 + t5;
    const to = at + (r >> 3) * stride;
    out[to] = ((t0 + t7) >> 5) + 128;
    out[to + 7] = ((t0 - t7) >> 5) + 128;
    out[to + 1] = ((t1 + t6) >> 5) + 128;
    out[to + 6] = ((t1 - t6) >> 5) + 128;
    out[to + 2] = ((t2 + t5) >> 5) + 128;
    out[to + 5] = ((t2 - t5) >> 5) + 128;
    out[to + 4] = ((t3 + t4) >> 5) + 128;
    out[to + 3] = ((t3 - t4) >> 5) + 128;
  }
};

/** 正確な IDCT の 1 次元ぶん。`from` を `step` おきに読み、`shift` だけ丸めて右にずらす。 */
function accuratePass(
  source: Int32Array,
  from: number,
  step: number,
  shift: number,
  write: (position: number, value: number) => void,
): void {
  const s = (k: number): number => source[from + k * step]!;
  const round = 1 << (shift - 1);
  const z1 = (s(2) + s(6)) * 4433;
  const e2 = z1 - s(6) * 15137;
  const e3 = z1 + s(2) * 6270;
  const e0 = (s(0) + s(4)) * 8192;
  const e1 = (s(0) - s(4)) * 8192;
  const t10 = e0 + e3;
  const t13 = e0 - e3;
  const t11 = e1 + e2;
  const t12 = e1 - e2;
  const [a, b, c, d] = [s(7), s(5), s(3), s(1)];
  const z5 = (a + c + b + d) * 9633;
  const y1 = (a + d) * -7373;
  const y2 = (b + c) * -20995;
  const y3 = (a + c) * -16069 + z5;
  const y4 = (b + d) * -3196 + z5;
  const o0 = a * 2446 + y1 + y3;
  const o1 = b * 16819 + y2 + y4;
  const o2 = c * 25172 + y2 + y3;
  const o3 = d * 12299 + y1 + y4;
  write(0, (t10 + o3 + round) >> shift);
  write(7, (t10 - o3 + round) >> shift);
  write(1, (t11 + o2 + round) >> shift);
  write(6, (t11 - o2 + round) >> shift);
  write(2, (t12 + o1 + round) >> shift);
  write(5, (t12 - o1 + round) >> shift);
  write(3, (t13 + o0 + round) >> shift);
  write(4, (t13 - o0 + round) >> shift);
}

/**
 * 正確な整数 IDCT(`INTEGER_ACCURATE`)。
 *
 * @see libjpeg jidctint.c。Loeffler, Ligtenberg, Moschytz (1989)
 */
export const accurateIdct: Idct = (block, table, out, at, stride) => {
  for (let i = 0; i < 64; i++) block[i]! *= table[i]!;
  for (let c = 0; c < 8; c++) {
    accuratePass(block, c, 8, 11, (k, value) => {
      work[c + k * 8] = value;
    });
  }
  for (let r = 0; r < 8; r++) {
    accuratePass(work, r * 8, 1, 18, (k, value) => {
      out[at + r * stride + k] = value + 128;
    });
  }
};

/** 縮小つきの IDCT が使う、係数の一次結合。 */
const weigh = (source: Int32Array, at: number, step: number, weights: readonly number[]): number =>
  source[at + 7 * step]! * weights[0]! +
  source[at + 5 * step]! * weights[1]! +
  source[at + 3 * step]! * weights[2]! +
  source[at + step]! * weights[3]!;

const inner4 = [-1730, 11893, -17799, 8697];
const outer4 = [-4176, -4926, 7373, 20995];
const odd2 = [-5906, 6967, -10426, 29692];
const descale = (value: number, bits: number): number => (value + (1 << (bits - 1))) >> bits;

/** 縦横 1/2 の IDCT。@see libjpeg jidctred.c */
export const halfIdct: Idct = (block, table, out, at, stride) => {
  for (let i = 0; i < 64; i++) block[i]! *= table[i]!;
  const pass = (
    source: Int32Array,
    from: number,
    step: number,
    bits: number,
    put: (k: number, value: number) => void,
  ): void => {
    const dc = source[from]! * 16384;
    const even = source[from + 2 * step]! * 15137 - source[from + 6 * step]! * 6270;
    const inner = weigh(source, from, step, inner4);
    const outer = weigh(source, from, step, outer4);
    put(0, descale(dc + even + outer, bits));
    put(3, descale(dc + even - outer, bits));
    put(1, descale(dc - even + inner, bits));
    put(2, descale(dc - even - inner, bits));
  };
  for (let c = 0; c < 8; c++) {
    if (c === 4) continue;
    pass(block, c, 8, 12, (k, value) => {
      work[k * 8 + c] = value;
    });
  }
  for (let r = 0; r < 4; r++) {
    pass(work, r * 8, 1, 19, (k, value) => {
      out[at + r * stride + k] = value + 128;
    });
  }
};

/** 縦横 1/4 の IDCT。 */
export const quarterIdct: Idct = (block, table, out, at, stride) => {
  for (let i = 0; i < 64; i++) block[i]! *= table[i]!;
  for (const c of [0, 1, 3, 5, 7]) {
    const dc = block[c]! * 32768;
    const odd = weigh(block, c, 8, odd2);
    work[c] = descale(dc + odd, 13);
    work[c + 8] = descale(dc - odd, 13);
  }
  for (let r = 0; r < 2; r++) {
    const dc = work[r * 8]! * 32768;
    const odd = weigh(work, r * 8, 1, odd2);
    out[at + r * stride] = descale(dc + odd, 20) + 128;
    out[at + r * stride + 1] = descale(dc - odd, 20) + 128;
  }
};

/** 縦横 1/8 の IDCT。平均だけが残る。 */
export const eighthIdct: Idct = (block, table, out, at) => {
  out[at] = descale(block[0]! * table[0]!, 3) + 128;
};
