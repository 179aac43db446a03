const WORD = 64n;
const MASK = (1n << WORD) - 1n;
const HIDDEN = 1n << 52n;

const bits = new DataView(new ArrayBuffer(8));

/** 仮数 `f` と 2 進の指数 `e`。値は f × 2^e。 */
interface DiyFloat {
  readonly f: bigint;
  readonly e: number;
}

function multiply(x: DiyFloat, y: DiyFloat): DiyFloat {
  const product = x.f * y.f;
  // 上位 64 ビットへの丸めは「最上位の切り捨てビットを足す」方式。
  return { f: (product >> WORD) + ((product >> (WORD - 1n)) & 1n), e: x.e + y.e + 64 };
}

function bitLength(value: bigint): number {
  return value.toString(2).length;
}

function normalize({ f, e }: DiyFloat): DiyFloat {
  const shift = 64 - bitLength(f);
  return { f: f << BigInt(shift), e: e - shift };
}

/** 10^k を 64 ビットに丸めたもの。表を持たず、その都度正確に計算する(呼ばれるのはエラーの文面を作る時だけ)。 */
function cachedPower(k: number): DiyFloat {
  const extra = 160;
  const scaled =
    k >= 0 ? (10n ** BigInt(k)) << BigInt(extra) : (1n << BigInt(extra + 1280)) / 10n ** BigInt(-k);
  const base = k >= 0 ? -extra : -extra - 1280;
  const drop = bitLength(scaled) - 64;
  const rounded = (scaled + (1n << BigInt(drop - 1))) >> BigInt(drop);
  return { f: rounded, e: base + drop };
}

/**
 * 正の有限値の数字列と 10 進の指数(値は digits × 10^k)。
 *
 * 最短とは限らない Grisu2 の結果をそのまま返す。エラー文に引用される数を TF Serving と同じ文面にするため。
 *
 * @see F. Loitsch, "Printing Floating-Point Numbers Quickly and Accurately with Integers" (2010)
 */
function grisu2(value: number): { readonly digits: string; readonly k: number } {
  bits.setFloat64(0, value);
  const raw = bits.getBigUint64(0);
  const biased = Number(raw >> 52n);
  const fraction = raw & (HIDDEN - 1n);
  const v: DiyFloat = biased === 0 ? { f: fraction, e: -1074 } : { f: fraction + HIDDEN, e: biased - 1075 };

  const plus = normalize({ f: (v.f << 1n) + 1n, e: v.e - 1 });
  const lower: DiyFloat =
    v.f === HIDDEN ? { f: (v.f << 2n) - 1n, e: v.e - 2 } : { f: (v.f << 1n) - 1n, e: v.e - 1 };
  const minus: DiyFloat = { f: lower.f << BigInt(lower.e - plus.e), e: plus.e };

  const dk = (-61 - plus.e) * 0.30102999566398114 + 347;
  const index = (Math.ceil(dk) >> 3) + 1;
  const power = -348 + index * 8;
  const cached = cachedPower(power);
  const w = multiply(normalize(v), cached);
  const high = multiply(plus, cached);
  const low = multiply(minus, cached);
  return generate(w, { f: high.f - 1n, e: high.e }, high.f - 1n - (low.f + 1n), -power);
}

function generate(w: DiyFloat, high: DiyFloat, range: bigint, k: number) {
  const one = BigInt(-high.e);
  const distance = high.f - w.f;
  let delta = range;
  let p1 = high.f >> one;
  let p2 = high.f & ((1n << one) - 1n);
  let digits = "";
  let kappa = p1.toString().length;
  let power = k;

  while (kappa > 0) {
    const unit = 10n ** BigInt(kappa - 1);
    const digit = p1 / unit;
    p1 %= unit;
    if (digit !== 0n || digits !== "") digits += digit;
    kappa--;
    const rest = (p1 << one) + p2;
    if (rest <= delta) {
      power += kappa;
      return { digits: roundLast(digits, delta, rest, unit << one, distance), k: power };
    }
  }
  let unit = 1n;
  for (;;) {
    p2 *= 10n;
    delta *= 10n;
    unit *= 10n;
    const digit = p2 >> one;
    if (digit !== 0n || digits !== "") digits += digit;
    p2 &= (1n << one) - 1n;
    kappa--;
    if (p2 < delta) {
      power += kappa;
      // 表が 9 桁までしか無いので、その先では最後の桁を寄せない。2^64 が …553000.0 と書かれるのはこのため。
      const near = kappa > -9 ? (distance * unit) & MASK : 0n;
      return { digits: roundLast(digits, delta, p2, 1n << one, near), k: power };
    }
  }
}

function roundLast(digits: string, delta: bigint, start: bigint, unit: bigint, distance: bigint): string {
  let last = digits.charCodeAt(digits.length - 1);
  let rest = start;
  while (
    rest < distance &&
    delta - rest >= unit &&
    (rest + unit < distance || distance - rest > rest + unit - distance)
  ) {
    last--;
    rest += unit;
  }
  return digits.slice(0, -1) + String.fromCharCode(last);
}

/**
 * RapidJSON の Writer が書く実数の文面(`1.0`, `1e30`, `1.5e-7`)。
 *
 * @param value 有限であること。
 * @see rapidjson/internal/dtoa.h (1.1.0)
 */
export function formatDouble(value: number): string {
  if (value === 0) return Object.is(value, -0) ? "-0.0" : "0.0";
  if (value < 0) return `-${formatDouble(-value)}`;
  const { digits, k } = grisu2(value);
  const point = digits.length + k;
  if (k >= 0 && point <= 21) return `${digits}${"0".repeat(k)}.0`;
  if (point > 0 && point <= 21) return `${digits.slice(0, point)}.${digits.slice(point)}`;
  if (point > -6 && point <= 0) return `0.${"0".repeat(-point)}${digits}`;
  const exponent = point - 1;
  return digits.length === 1 ? `${digits}e${exponent}` : `${digits[0]}.${digits.slice(1)}e${exponent}`;
}
