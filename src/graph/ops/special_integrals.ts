import { digamma, lgamma } from "./special_functions.ts";

/**
 * 積分で定義される関数とゼータ関数。どれも倍精度。
 */

/** Dawson の積分 e^(−x²) ∫₀ˣ e^(t²) dt。 @see https://dlmf.nist.gov/7.6 */
export function dawsn(x: number): number {
  const z = Math.abs(x);
  if (z < 8) {
    // 項はすべて正で桁落ちしない。
    let term = z;
    let sum = z;
    for (let k = 1; term > sum * 1e-18; k++) {
      term *= (z * z) / k;
      sum += term / (2 * k + 1);
    }
    return Math.sign(x) * Math.exp(-z * z) * sum;
  }
  let term = 1 / (2 * x);
  let sum = term;
  for (let k = 1; k < 60; k++) {
    const next = (term * (2 * k - 1)) / (2 * x * x);
    if (Math.abs(next) >= Math.abs(term)) break;
    term = next;
    sum += term;
  }
  return sum;
}

const EULER = 0.5772156649015329;

/** 指数積分 Ei(x)(主値)。 @see https://dlmf.nist.gov/6.6 */
export function expint(x: number): number {
  if (x === 0) return Number.NEGATIVE_INFINITY;
  if (!(x > 0 && Number.isFinite(x))) return Number.NaN;
  if (x < 40) {
    let term = 1;
    let sum = EULER + Math.log(x);
    for (let k = 1; k < 500; k++) {
      term *= x / k;
      sum += term / k;
      if (term / k < 1e-18 * Math.abs(sum)) break;
    }
    return sum;
  }
  let term = 1;
  let sum = 1;
  for (let k = 1; k < 100; k++) {
    const next = (term * k) / x;
    if (next >= term) break;
    term = next;
    sum += term;
  }
  return (Math.exp(x) / x) * sum;
}

/** Fresnel 積分の組 [C(x), S(x)](cos(πt²/2) と sin(πt²/2))。 */
function fresnel(given: number): readonly [number, number] {
  const x = Math.abs(given);
  const sign = given < 0 ? -1 : 1;
  if (Number.isNaN(x)) return [Number.NaN, Number.NaN];
  if (!Number.isFinite(x)) return [sign / 2, sign / 2];
  if (x < 1.6) {
    const step = (Math.PI / 2) * x * x;
    let term = x;
    let [c, s] = [x, 0];
    for (let k = 1; k < 100; k++) {
      term *= step / k;
      const part = term / (2 * k + 1);
      if (k % 2 === 0) c += k % 4 === 0 ? part : -part;
      else s += k % 4 === 1 ? part : -part;
      if (part < 1e-18) break;
    }
    return [sign * c, sign * s];
  }
  // 余誤差関数の連分数(修正 Lentz 法)。数はどれも複素数。
  const half = (Math.PI / 2) * x * x;
  let b: [number, number] = [1, -2 * half];
  let c: [number, number] = [1e300, 0];
  let d = inverse(b);
  let h = d;
  let n = -1;
  for (let k = 2; k < 10_000; k++) {
    n += 2;
    const a = -n * (n + 1);
    b = [b[0] + 4, b[1]];
    d = inverse([a * d[0] + b[0], a * d[1] + b[1]]);
    const [re, im] = inverse(c);
    c = [b[0] + a * re, b[1] + a * im];
    const delta = times(c, d);
    h = times(h, delta);
    if (Math.abs(delta[0] - 1) + Math.abs(delta[1]) < 1e-16) break;
  }
  h = times([x, -x], h);
  const rotation = times([Math.cos(half), Math.sin(half)], h);
  const [re, im] = times([0.5, 0.5], [1 - rotation[0], -rotation[1]]);
  return [sign * re, sign * im];
}

type Pair = [number, number];

const times = (a: Readonly<Pair>, b: Readonly<Pair>): Pair => [
  a[0] * b[0] - a[1] * b[1],
  a[0] * b[1] + a[1] * b[0],
];

function inverse([re, im]: Readonly<Pair>): Pair {
  const norm = re * re + im * im;
  return [re / norm, -im / norm];
}

export const fresnelCos = (x: number): number => fresnel(x)[0];
export const fresnelSin = (x: number): number => fresnel(x)[1];

/** Spence の関数 −∫₁ˣ ln t / (t − 1) dt = Li₂(1 − x)。 */
export function spence(x: number): number {
  if (!(x >= 0 && Number.isFinite(x))) return Number.NaN;
  if (x === 0) return (Math.PI * Math.PI) / 6;
  if (x > 2) return -spence(1 / x) - Math.log(x) ** 2 / 2;
  if (x < 0.5) return (Math.PI * Math.PI) / 6 - Math.log(x) * Math.log1p(-x) - spence(1 - x);
  if (x > 1.5) return -spence(1 / x) - Math.log(x) ** 2 / 2;
  // |1 − x| ≤ 1/2
  const z = 1 - x;
  let power = z;
  let sum = z;
  for (let k = 2; Math.abs(power) > 1e-18; k++) {
    power *= z;
    sum += power / (k * k);
  }
  return sum;
}

/** (2k)! / B_{2k}。B はベルヌーイ数。 */
const EULER_MACLAURIN = [
  12, -720, 30240, -1209600, 47900160, -1892437580.3183792, 74724249600, -2950130727918.164,
  116467828143500.67, -4597978722407473, 1.8152105401943546e17, -7.166165256175667e18,
];

/** Hurwitz のゼータ関数 Σ (k + q)^(−x)。 @see https://dlmf.nist.gov/25.11 */
export function zeta(x: number, q: number): number {
  if (x === 1) return Number.POSITIVE_INFINITY;
  if (!(x > 1) || Number.isNaN(q)) return Number.NaN;
  if (q <= 0) {
    // 極の両側で符号が揃うのは、偶数乗のときだけ。
    if (Number.isInteger(q)) return x % 2 === 0 ? Number.POSITIVE_INFINITY : Number.NaN;
    if (!Number.isInteger(x)) return Number.NaN;
  }
  let sum = q ** -x;
  let a = q;
  let term = 0;
  for (let i = 0; i < 9 || a <= 9; i++) {
    a += 1;
    term = a ** -x;
    sum += term;
    if (Math.abs(term / sum) < 1e-17) return sum;
  }
  sum += (term * a) / (x - 1) - term / 2;
  let factor = 1;
  let k = 0;
  for (const divisor of EULER_MACLAURIN) {
    factor *= x + k;
    term /= a;
    const step = (factor * term) / divisor;
    sum += step;
    if (Math.abs(step / sum) < 1e-17) break;
    k += 1;
    factor *= x + k;
    term /= a;
    k += 1;
  }
  return sum;
}

/** ポリガンマ関数 ψ⁽ⁿ⁾(x)。 */
export function polygamma(n: number, x: number): number {
  if (!(n >= 0) || !Number.isInteger(n)) return Number.NaN;
  if (n === 0) return digamma(x);
  return (n % 2 === 0 ? -1 : 1) * Math.exp(lgamma(n + 1)) * zeta(n + 1, x);
}

/** 正則化した不完全ベータ関数 I_x(a, b)。 @see https://dlmf.nist.gov/8.17 */
export function betainc(a: number, b: number, x: number): number {
  if (!(a > 0 && b > 0 && x >= 0 && x <= 1)) return Number.NaN;
  if (x === 0 || x === 1) return x;
  const front = Math.exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * Math.log(x) + b * Math.log1p(-x));
  // 連分数は平均の手前で速く収束する。
  if (x < (a + 1) / (a + b + 2)) return (front * betaFraction(a, b, x)) / a;
  return 1 - (front * betaFraction(b, a, 1 - x)) / b;
}

function betaFraction(a: number, b: number, x: number): number {
  const tiny = 1e-300;
  let c = 1;
  let d = 1 - ((a + b) * x) / (a + 1);
  d = 1 / (Math.abs(d) < tiny ? tiny : d);
  let h = d;
  for (let m = 1; m < 10_000; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    let delta = 1;
    for (const term of [even, odd]) {
      d = 1 + term * d;
      d = 1 / (Math.abs(d) < tiny ? tiny : d);
      c = 1 + term / c;
      if (Math.abs(c) < tiny) c = tiny;
      delta = c * d;
      h *= delta;
    }
    if (Math.abs(delta - 1) < 1e-16) break;
  }
  return h;
}
