/**
 * ベッセル関数。どれも倍精度で、相対誤差はおよそ 1e-13(零点の近くでは絶対誤差)。
 *
 * @see https://dlmf.nist.gov/10
 */

const EULER = 0.5772156649015329;

/** 漸近級数を使う境。項が最も小さくなる所で打ち切った誤差が e^(−2x) になる。 */
const FAR = 25;

/** I_n(x)·e^(−|x|)(n は 0 か 1)。 */
function scaledI(n: 0 | 1, x: number): number {
  const z = Math.abs(x);
  const sign = n === 1 && x < 0 ? -1 : 1;
  if (z < FAR) {
    // (x/2)^n Σ (x²/4)^k / (k!(k+n)!):項はすべて正で桁落ちしない。
    const square = (z * z) / 4;
    let term = n === 0 ? 1 : z / 2;
    let sum = term;
    for (let k = 1; term > sum * 1e-17; k++) {
      term *= square / (k * (k + n));
      sum += term;
    }
    return sign * sum * Math.exp(-z);
  }
  if (!Number.isFinite(z)) return Number.isNaN(z) ? Number.NaN : 0;
  return (sign * asymptotic(n, z, -1)) / Math.sqrt(2 * Math.PI * z);
}

/** Σ sign^k a_k(n) / z^k。項が小さくなる間だけ足す。 */
function asymptotic(n: 0 | 1, z: number, sign: 1 | -1): number {
  let term = 1;
  let sum = 1;
  for (let k = 1; k < 100; k++) {
    const next = (sign * term * (4 * n * n - (2 * k - 1) ** 2)) / (8 * k * z);
    if (Math.abs(next) >= Math.abs(term)) break;
    term = next;
    sum += term;
    if (Math.abs(term) < 1e-17 * Math.abs(sum)) break;
  }
  return sum;
}

export const besselI0e = (x: number): number => scaledI(0, x);
export const besselI1e = (x: number): number => scaledI(1, x);
export const besselI0 = (x: number): number => scaledI(0, x) * Math.exp(Math.abs(x));
export const besselI1 = (x: number): number => scaledI(1, x) * Math.exp(Math.abs(x));

/** K_n(x)·e^x。 */
function scaledK(n: 0 | 1, x: number): number {
  // 負の側は、TF では極の値。
  if (x <= 0) return Number.POSITIVE_INFINITY;
  if (Number.isNaN(x)) return Number.NaN;
  if (x >= FAR) return Math.sqrt(Math.PI / (2 * x)) * asymptotic(n, x, 1);
  if (x <= 2) return smallK(n, x) * Math.exp(x);
  // Steed の連分数(CF2)。
  let b = 2 * (1 + x);
  let d = 1 / b;
  let h = d;
  let delta = d;
  let [q1, q2] = [0, 1];
  const a1 = 0.25;
  let c = a1;
  let q = c;
  let a = -a1;
  let s = 1 + q * delta;
  for (let i = 2; i < 10_000; i++) {
    a -= 2 * (i - 1);
    c = (-a * c) / i;
    const next = (q1 - b * q2) / a;
    [q1, q2] = [q2, next];
    q += c * next;
    b += 2;
    d = 1 / (b + a * d);
    delta = (b * d - 1) * delta;
    h += delta;
    const step = q * delta;
    s += step;
    if (Math.abs(step / s) < 1e-17) break;
  }
  const k0 = Math.sqrt(Math.PI / (2 * x)) / s;
  return n === 0 ? k0 : (k0 * (x + 0.5 - a1 * h)) / x;
}

/** 小さい x での級数。 */
function smallK(n: 0 | 1, x: number): number {
  const square = (x * x) / 4;
  const log = Math.log(x / 2) + EULER;
  if (n === 0) {
    let term = 1;
    let harmonic = 0;
    let sum = -log;
    for (let k = 1; k < 100; k++) {
      term *= square / (k * k);
      harmonic += 1 / k;
      const step = term * (harmonic - log);
      sum += step;
      if (Math.abs(step) < 1e-18 * Math.abs(sum)) break;
    }
    return sum;
  }
  // K_1 = 1/x + Σ (x/2)^(2k+1) / (k!(k+1)!) · (ln(x/2) + γ − (H_k + H_{k+1})/2)
  let term = x / 2;
  let [before, after] = [0, 1];
  let sum = 1 / x;
  for (let k = 0; k < 100; k++) {
    const step = term * (log - (before + after) / 2);
    sum += step;
    if (Math.abs(step) < 1e-18 * Math.abs(sum)) break;
    term *= square / ((k + 1) * (k + 2));
    before = after;
    after += 1 / (k + 2);
  }
  return sum;
}

export const besselK0e = (x: number): number => scaledK(0, x);
export const besselK1e = (x: number): number => scaledK(1, x);
export const besselK0 = (x: number): number => scaledK(0, x) * Math.exp(-x);
export const besselK1 = (x: number): number => scaledK(1, x) * Math.exp(-x);

/** J_0 … J_count を、後ろ向きの漸化式で。 */
function manyJ(x: number, count: number): Float64Array {
  const values = new Float64Array(count + 1);
  const start = 2 * Math.ceil((Math.max(count, x) + 30 + Math.sqrt(40 * Math.max(count, x))) / 2);
  let [after, current] = [0, 1e-300];
  let sum = 0;
  for (let k = start; k >= 0; k--) {
    if (k <= count) values[k] = current;
    if (k % 2 === 0) sum += k === 0 ? current : 2 * current;
    const before = ((2 * k) / x) * current - after;
    [after, current] = [current, before];
    if (Math.abs(current) > 1e250) {
      // 途中であふれないように縮める。和も、求めた値も同じだけ。
      [after, current, sum] = [after * 1e-250, current * 1e-250, sum * 1e-250];
      for (let i = k; i <= count; i++) values[i]! *= 1e-250;
    }
  }
  for (let i = 0; i <= count; i++) values[i]! /= sum;
  return values;
}

/** 遠くでの振幅と位相。J は cos、Y は sin の側。 */
function hankel(n: 0 | 1, x: number): { p: number; q: number; phase: number } {
  let term = 1;
  let [p, q] = [1, 0];
  for (let k = 1; k < 100; k++) {
    const next = (term * (4 * n * n - (2 * k - 1) ** 2)) / (8 * k * x);
    if (Math.abs(next) >= Math.abs(term)) break;
    term = next;
    const signed = k % 4 < 2 ? term : -term;
    if (k % 2 === 0) p += signed;
    else q += signed;
    if (Math.abs(term) < 1e-17) break;
  }
  return { p, q, phase: x - (n / 2 + 0.25) * Math.PI };
}

function besselJ(n: 0 | 1, given: number): number {
  const x = Math.abs(given);
  const sign = n === 1 && given < 0 ? -1 : 1;
  if (x === 0) return n === 0 ? 1 : 0;
  if (!Number.isFinite(x)) return Number.NaN;
  if (x < FAR) return sign * manyJ(x, 1)[n]!;
  const { p, q, phase } = hankel(n, x);
  return sign * Math.sqrt(2 / (Math.PI * x)) * (p * Math.cos(phase) - q * Math.sin(phase));
}

function besselY(n: 0 | 1, x: number): number {
  if (x <= 0) return Number.NEGATIVE_INFINITY;
  if (!Number.isFinite(x)) return Number.NaN;
  if (x >= FAR) {
    const { p, q, phase } = hankel(n, x);
    return Math.sqrt(2 / (Math.PI * x)) * (p * Math.sin(phase) + q * Math.cos(phase));
  }
  // J の列による展開(Neumann)。
  const count = 2 * Math.ceil(x / 2) + 40;
  const j = manyJ(x, count + 1);
  const log = Math.log(x / 2) + EULER;
  let sum = 0;
  if (n === 0) {
    for (let k = 1; 2 * k <= count; k++) sum += ((k % 2 === 0 ? 1 : -1) * j[2 * k]!) / k;
    return (2 / Math.PI) * (log * j[0]! - 2 * sum);
  }
  for (let k = 1; 2 * k + 1 <= count; k++) {
    sum += ((k % 2 === 0 ? 1 : -1) * (2 * k + 1) * j[2 * k + 1]!) / (k * (k + 1));
  }
  return (2 / Math.PI) * ((log - 1) * j[1]! - j[0]! / x - sum);
}

export const besselJ0 = (x: number): number => besselJ(0, x);
export const besselJ1 = (x: number): number => besselJ(1, x);
export const besselY0 = (x: number): number => besselY(0, x);
export const besselY1 = (x: number): number => besselY(1, x);
