/**
 * 小さい全結合の層の並び。AssemblyScript で書き、`bun scripts/generate.ts` が src/gen/wasm に訳す。
 *
 * 記憶の割り付けと入出力の写しは src/graph/simd/dense_network.ts が受け持ち、ここは番地だけを受け取る。
 * 和は float で、偏りから始めて入力の順に足す。どの行も、同時に渡された行の数や位置によらず同じ結果になる。
 */

/** 層の後に掛けるもの。活性化の残りは上下の限りで表す。 */
const SIGMOID: i32 = 1;
const SOFTMAX: i32 = 2;

/** 層 1 つの見出しの大きさ。後ろに偏り、重みが続く。 */
const HEADER: usize = 32;
/** 2^-126 の対数。 */
const LOWEST: f32 = -87.33654;
/** 1.5 × 2^23。これを足した float の最後の桁は 1 の位になる。 */
const ROUNDER: f32 = 12582912;

/**
 * 0 以下の x の e^x。NaN は NaN のまま。誤差は 2 ulp ほど。非正規数になるものは 0 にする(TensorFlow もそう走らせている)。
 *
 * @see S. L. Moshier, Cephes Mathematical Library, expf
 */
@inline
function exp(given: v128): v128 {
  let x = f32x4.pmax(given, f32x4.splat(LOWEST));
  // 足すと、近い整数が下のビットに並ぶ。そのまま 2 の冪の指数部になる。
  const shifted = f32x4.add(f32x4.mul(x, f32x4.splat(1.4426950408889634)), f32x4.splat(ROUNDER));
  const power = f32x4.sub(shifted, f32x4.splat(ROUNDER));
  // ln 2 を 2 つに分けて引く。上は power との積が正確になる桁数。
  x = f32x4.sub(x, f32x4.mul(power, f32x4.splat(0.693359375)));
  x = f32x4.sub(x, f32x4.mul(power, f32x4.splat(-2.12194440e-4)));
  let sum = f32x4.splat(1.9875691500e-4);
  sum = f32x4.add(f32x4.mul(sum, x), f32x4.splat(1.3981999507e-3));
  sum = f32x4.add(f32x4.mul(sum, x), f32x4.splat(8.3334519073e-3));
  sum = f32x4.add(f32x4.mul(sum, x), f32x4.splat(4.1665795894e-2));
  sum = f32x4.add(f32x4.mul(sum, x), f32x4.splat(1.6666665459e-1));
  sum = f32x4.add(f32x4.mul(sum, x), f32x4.splat(5.0000001201e-1));
  sum = f32x4.add(f32x4.add(f32x4.mul(sum, f32x4.mul(x, x)), x), f32x4.splat(1));
  const scale = i32x4.add(i32x4.shl(shifted, 23), i32x4.splat(127 << 23));
  return v128.andnot(f32x4.mul(sum, scale), f32x4.lt(given, f32x4.splat(LOWEST)));
}

/** `sum + weight × [at にある値]`。 */
@inline
function multiplyAdd(sum: v128, at: usize, weight: v128): v128 {
  return f32x4.add(sum, f32x4.mul(v128.load32_splat(at), weight));
}

/** NaN は NaN のまま。順序のある比較だけの pmin と pmax は、max や min より数倍安い。 */
@inline
function clamp(x: v128, low: v128, high: v128): v128 {
  return f32x4.pmin(f32x4.pmax(x, low), high);
}

/**
 * 1 層。4 行 × 8 列、4 行 × 4 列、1 行 × 8 列、1 行 × 4 列の順に、入る大きさの塊で進める。
 *
 * @param x 入力。行の間は `stride` バイト。
 * @param biases 偏り、続けて重み。どちらも 1 行が `width` バイト。
 * @param y 出力。行の間は `width` バイト。
 * @param depth 入力 1 行のバイト数。
 * @param width 出力 1 行のバイト数。16 の倍数。
 */
function layer(
  x: usize,
  stride: usize,
  biases: usize,
  y: usize,
  rows: i32,
  depth: usize,
  width: usize,
  low: v128,
  high: v128,
): void {
  const weights = biases + width;
  let row = 0;
  for (; row + 4 <= rows; row += 4) {
    const x1 = x + stride;
    const x2 = x1 + stride;
    const x3 = x2 + stride;
    const y1 = y + width;
    const y2 = y1 + width;
    const y3 = y2 + width;
    let column: usize = 0;
    for (; column + 32 <= width; column += 32) {
      let a0 = v128.load(biases + column);
      let b0 = v128.load(biases + column, 16);
      let a1 = a0;
      let b1 = b0;
      let a2 = a0;
      let b2 = b0;
      let a3 = a0;
      let b3 = b0;
      let at = weights + column;
      for (let p: usize = 0; p < depth; p += 4) {
        const a = v128.load(at);
        const b = v128.load(at, 16);
        let value = v128.load32_splat(x + p);
        a0 = f32x4.add(a0, f32x4.mul(value, a));
        b0 = f32x4.add(b0, f32x4.mul(value, b));
        value = v128.load32_splat(x1 + p);
        a1 = f32x4.add(a1, f32x4.mul(value, a));
        b1 = f32x4.add(b1, f32x4.mul(value, b));
        value = v128.load32_splat(x2 + p);
        a2 = f32x4.add(a2, f32x4.mul(value, a));
        b2 = f32x4.add(b2, f32x4.mul(value, b));
        value = v128.load32_splat(x3 + p);
        a3 = f32x4.add(a3, f32x4.mul(value, a));
        b3 = f32x4.add(b3, f32x4.mul(value, b));
        at += width;
      }
      v128.store(y + column, clamp(a0, low, high));
      v128.store(y + column, clamp(b0, low, high), 16);
      v128.store(y1 + column, clamp(a1, low, high));
      v128.store(y1 + column, clamp(b1, low, high), 16);
      v128.store(y2 + column, clamp(a2, low, high));
      v128.store(y2 + column, clamp(b2, low, high), 16);
      v128.store(y3 + column, clamp(a3, low, high));
      v128.store(y3 + column, clamp(b3, low, high), 16);
    }
    if (column < width) {
      let a0 = v128.load(biases + column);
      let a1 = a0;
      let a2 = a0;
      let a3 = a0;
      let at = weights + column;
      for (let p: usize = 0; p < depth; p += 4) {
        const a = v128.load(at);
        a0 = multiplyAdd(a0, x + p, a);
        a1 = multiplyAdd(a1, x1 + p, a);
        a2 = multiplyAdd(a2, x2 + p, a);
        a3 = multiplyAdd(a3, x3 + p, a);
        at += width;
      }
      v128.store(y + column, clamp(a0, low, high));
      v128.store(y1 + column, clamp(a1, low, high));
      v128.store(y2 + column, clamp(a2, low, high));
      v128.store(y3 + column, clamp(a3, low, high));
    }
    x = x3 + stride;
    y = y3 + width;
  }
  for (; row < rows; row++) {
    let column: usize = 0;
    for (; column + 32 <= width; column += 32) {
      let a = v128.load(biases + column);
      let b = v128.load(biases + column, 16);
      let at = weights + column;
      for (let p: usize = 0; p < depth; p += 4) {
        const value = v128.load32_splat(x + p);
        a = f32x4.add(a, f32x4.mul(value, v128.load(at)));
        b = f32x4.add(b, f32x4.mul(value, v128.load(at, 16)));
        at += width;
      }
      v128.store(y + column, clamp(a, low, high));
      v128.store(y + column, clamp(b, low, high), 16);
    }
    if (column < width) {
      let a = v128.load(biases + column);
      let at = weights + column;
      for (let p: usize = 0; p < depth; p += 4) {
        a = multiplyAdd(a, x + p, v128.load(at));
        at += width;
      }
      v128.store(y + column, clamp(a, low, high));
    }
    x += stride;
    y += width;
  }
}

/** e^-|x| だけから求めるので、あふれない。 */
function sigmoid(y: usize, bytes: usize): void {
  const one = f32x4.splat(1);
  for (const end = y + bytes; y < end; y += 16) {
    const x = v128.load(y);
    const power = exp(f32x4.neg(f32x4.abs(x)));
    const upper = v128.bitselect(one, power, f32x4.ge(x, f32x4.splat(0)));
    v128.store(y, f32x4.div(upper, f32x4.add(one, power)));
  }
}

/** 行ごとの softmax をその場で。`columns` 個より先の埋め草は結果に入らない。 */
function softmax(y: usize, rows: i32, width: usize, columns: i32): void {
  const last = width - 16;
  const never = f32x4.splat(-Infinity);
  const kept = i32x4.gt_s(i32x4.splat(columns - (<i32>(last >> 2))), i32x4(0, 1, 2, 3));
  for (let row = 0; row < rows; row++) {
    const tail = v128.bitselect(v128.load(y + last), never, kept);
    v128.store(y + last, tail);
    let high = tail;
    for (let at: usize = 0; at < last; at += 16) high = f32x4.pmax(high, v128.load(y + at));
    high = f32x4.pmax(high, v128.shuffle<i32>(high, high, 2, 3, 0, 1));
    high = f32x4.pmax(high, v128.shuffle<i32>(high, high, 1, 0, 3, 2));
    let sum = f32x4.splat(0);
    for (let at: usize = 0; at < width; at += 16) {
      const power = exp(f32x4.sub(v128.load(y + at), high));
      v128.store(y + at, power);
      sum = f32x4.add(sum, power);
    }
    sum = f32x4.add(sum, v128.shuffle<i32>(sum, sum, 2, 3, 0, 1));
    sum = f32x4.add(sum, v128.shuffle<i32>(sum, sum, 1, 0, 3, 2));
    for (let at: usize = 0; at < width; at += 16) v128.store(y + at, f32x4.div(v128.load(y + at), sum));
    y += width;
  }
}

/** 行の間の埋め草を抜いて詰める。最後の行は 3 つまではみ出して書く。 */
function pack(from: usize, to: usize, rows: i32, width: usize, columns: i32): void {
  for (let row = 0; row < rows; row++) {
    for (let at: usize = 0; at < width; at += 16) v128.store(to + at, v128.load(from + at));
    from += width;
    to += columns << 2;
  }
}

/**
 * 層の並びを `rows` 行に。
 *
 * @param program 層の数だけの [入力の数、出力の数、出力 1 行のバイト数、後に掛けるもの、下限、上限、0、0]、偏り、重み。
 * @param x 入力。詰めてある。
 * @param a 層の出力を交互に置く所。`b` も。
 * @returns 詰めた出力のある番地(`a` か `b`)。
 */
export function run(program: usize, layers: i32, x: usize, a: usize, b: usize, rows: i32): usize {
  let stride: usize = <usize>load<i32>(program) << 2;
  let from = x;
  let to = a;
  let columns = 0;
  let width: usize = 0;
  for (let i = 0; i < layers; i++) {
    const depth = <usize>load<i32>(program) << 2;
    columns = load<i32>(program, 4);
    width = load<i32>(program, 8);
    const after = load<i32>(program, 12);
    const low = v128.load32_splat(program, 16);
    const high = v128.load32_splat(program, 20);
    layer(from, stride, program + HEADER, to, rows, depth, width, low, high);
    if (after == SIGMOID) sigmoid(to, <usize>rows * width);
    else if (after == SOFTMAX) softmax(to, rows, width, columns);
    program += HEADER + width + depth * (width >> 2);
    stride = width;
    from = to;
    to = from == a ? b : a;
  }
  if (width == <usize>(columns << 2)) return from;
  pack(from, to, rows, width, columns);
  return to;
}
