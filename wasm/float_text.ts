/**
 * float の列を TF Serving と同じ文面にする。AssemblyScript で書き、`bun run generate` が src/gen/wasm に訳す。
 *
 * 多い大きさの値だけを扱い、ほかの値に会ったら手前で止まる。その 1 つは src/rest/format_float.ts が書く。
 * どの値も、書くならそれと同じ文面になる。
 */

/**
 * 扱う大きさの下限 1e-14 と上限 1e6 の float のビット。正の float はビットの順に並ぶ。
 * これより小さいものは 9 桁への冪が倍精度で正確でなく、これより大きいものは 6 桁の `%g` が指数で書く。
 */
const SMALLEST = reinterpret<u32>(<f32>1e-14) + 1;
const LARGEST = reinterpret<u32>(<f32>1e6);

/** "000" … "999"。4 バイトの書き込み 1 度で 3 桁を置く。 */
const TRIPLES = memory.data(4 * 1000, 16);
for (let value: u32 = 0; value < 1000; value++) {
  const digits = (value / 100) | (((value / 10) % 10) << 8) | ((value % 10) << 16);
  store<u32>(TRIPLES + (<usize>value << 2), 0x303030 | digits);
}

/** 10^0 … 10^22。ここまでは倍精度で正確に表せる。 */
const POWERS = memory.data(8 * 23, 16);
let power: f64 = 1;
for (let i: usize = 0; i < 23; i++) {
  store<f64>(POWERS + (i << 3), power);
  power *= 10;
}

@inline
function powerOf(exponent: i32): f64 {
  return load<f64>(POWERS + (<usize>exponent << 3));
}

/**
 * float の指数部ごとの、[次の 10 の冪以上で最小の float のビット、10 進の指数、9 桁にするための冪、その次の冪]。
 * 同じ指数部の float は、10 進では 2 つの指数にしか分かれない。
 */
const ENTRIES = memory.data(32 * 256, 16);
for (let binary: i32 = -48; binary < 20; binary++) {
  const exponent = (binary * 1233) >> 12;
  const next = exponent + 1;
  const limit = next >= 0 ? powerOf(next) : 1 / powerOf(-next);
  const near = <f32>limit;
  const entry = ENTRIES + (<usize>(binary + 127) << 5);
  store<u32>(entry, reinterpret<u32>(near) + u32(<f64>near < limit));
  store<i32>(entry, exponent, 4);
  if (8 - exponent < 23) store<f64>(entry, powerOf(8 - exponent), 8);
  store<f64>(entry, powerOf(8 - next), 16);
}

@inline
function tripleOf(value: u32): u64 {
  return <u64>load<u32>(TRIPLES + (<usize>value << 2));
}

/**
 * 値 1 つ。値ごとに行き先の変わる分岐は予測が外れるので、稀なものを除いて計算で済ませる。
 *
 * @param out 32 バイトの空きがあること。
 * @returns 書き終えた番地。ここで扱わない値なら 0。
 */
@inline
function put(out: usize, signed: u32): usize {
  store<u8>(out, 0x2d);
  const at = out + <usize>(signed >> 31);
  const bits = signed & 0x7fffffff;
  if (bits - SMALLEST >= LARGEST - SMALLEST) {
    if (bits !== 0) return 0;
    store<u32>(at, 0x302e30);
    return at + 3;
  }
  const magnitude = <f64>reinterpret<f32>(bits);
  const entry = ENTRIES + (<usize>(bits >> 23) << 5);
  const over = i32(bits >= load<u32>(entry));
  let exponent = load<i32>(entry, 4) + over;
  // 9 桁の整数に丸める。積の誤差は 2^-24 までなので、丁度中間に近いものはここで決めない。
  const product = magnitude * load<f64>(entry + (<usize>over << 3), 8);
  const rounded = <i32>(product + 0.5);
  const nine = <u32>rounded;
  let high = nine / 1_000_000;
  const rest = nine - high * 1_000_000;
  let middle = rest / 1000;
  let low = rest - middle * 1000;
  // 6 桁で足りる float は、6 桁の整数から 2^-24 の比率、つまり 0.06 までしか離れない。割り算の前に大半を落とす。
  if (low - 70 >= 860) {
    const six = high * 1000 + middle + u32(low >= 500);
    if (<f64>(<f32>(<f64>(<i32>six) / powerOf(5 - exponent))) == magnitude) {
      low = 0;
      high = six / 1000;
      middle = six - high * 1000;
      // 10 の冪のすぐ下の float。
      if (high == 1000) {
        high = 100;
        exponent++;
      }
    } else if (abs(product - <f64>rounded) > 0.499999) return 0;
  } else if (abs(product - <f64>rounded) > 0.499999) return 0;

  // 上から 8 桁と最後の 1 桁。レジスターの中で並べる。書いた直後に幅を変えて読むと遅い。
  const last = tripleOf(low);
  const first = tripleOf(high) | (tripleOf(middle) << 24) | (last << 48);
  const ninth = last >> 16;
  // 末尾の 0。2 桁目から後ろの 8 桁で数える。
  const zeros = i32(clz(((first >> 8) | (ninth << 56)) ^ 0x3030303030303030) >> 3);

  let end: usize;
  if (exponent < 0 && exponent >= -4) {
    store<u64>(at, 0x303030302e30);
    end = at + 1 - exponent;
    store<u64>(end, first);
    store<u8>(end, ninth, 8);
    return end + 9 - zeros;
  }
  // 小数点を整数の桁の後に挟む。
  const before = max(exponent, 0) + 1;
  const shift = <u64>(before << 3);
  const upper = (<u64>1 << shift) - 1;
  store<u64>(at, (first & upper) | (<u64>0x2e << shift) | ((first & ~upper) << 8));
  store<u16>(at, <u16>((first >> 56) | (ninth << 8)), 8);
  // 点の後に桁が無くなれば、指数が付くなら点も消し、付かなければ 0 を 1 つ残す。
  const isSmall = exponent < 0;
  const isWhole = zeros >= 9 - before;
  end = at + 10 - min(zeros, 9 - before) + select<i32>(select<i32>(-1, 1, isSmall), 0, isWhole);
  store<u16>(end, 0x2d65);
  store<u32>(end, <u32>(tripleOf(abs(exponent)) >> 8), 2);
  return end + (usize(isSmall) << 2);
}

/** 止まった所。書き終えた値の数。 */
let done: i32 = 0;

export function written(): i32 {
  return done;
}

/**
 * `from` 番目から `count` 番目の手前までの値を `, ` でつないで書く。
 *
 * @param values float の列。
 * @param columns 0 でなければ、この数ごとに角括弧で囲む。
 * @param column `from` 番目の値の、行の中の番号。
 * @param first `from` 番目の値が、列の全体の最初か。
 * @param given `from` 番目の値は区切りも値ももう書いてある。後ろの括弧だけが残っている。
 * @returns 書き終えた番地。止まった値({@link written})の前の区切りまで書いてある。
 */
export function write(
  values: usize,
  from: i32,
  count: i32,
  columns: i32,
  column: i32,
  first: bool,
  given: bool,
  out: usize,
): usize {
  // 最初の値の前の区切りは、書き場の手前にはみ出させる。
  let at = first ? out - 2 : out;
  let place = column;
  let i = from;
  if (given) {
    at = out;
    i++;
    if (++place == columns) {
      store<u8>(at++, 0x5d);
      place = 0;
    }
  }
  const opening = columns > 0 ? 0 : -1;
  for (; i < count; i++) {
    store<u32>(at, 0x5b202c);
    at += 2 + <usize>(place == opening);
    const end = put(at, load<u32>(values + (<usize>i << 2)));
    if (end == 0) {
      done = i;
      return at;
    }
    at = end;
    if (++place == columns) {
      store<u8>(at++, 0x5d);
      place = 0;
    }
  }
  done = count;
  return at;
}
