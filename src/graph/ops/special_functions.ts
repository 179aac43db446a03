/**
 * 初等でない関数。どれも倍精度で、相対誤差はおよそ 1e-14(表示のある所を除く)。
 */

const SQRT_PI = Math.sqrt(Math.PI);

/**
 * 誤差関数。小さい |x| はべき級数、大きい |x| は補誤差関数から。
 *
 * @see https://dlmf.nist.gov/7.6
 */
export function erf(x: number): number {
  if (Number.isNaN(x)) return Number.NaN;
  const magnitude = Math.abs(x);
  if (magnitude >= 2) return x > 0 ? 1 - erfc(x) : erfc(-x) - 1;
  // erf(x) = 2/√π · e^(−x²) · Σ 2ⁿ x^(2n+1) / (1·3·…·(2n+1)):項がすべて同符号なので桁落ちしない。
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > Math.abs(sum) * 1e-17; n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / SQRT_PI) * Math.exp(-x * x) * sum;
}

/**
 * 補誤差関数。x ≥ 2 は連分数。
 *
 * @see https://dlmf.nist.gov/7.9
 */
export function erfc(x: number): number {
  if (Number.isNaN(x)) return Number.NaN;
  if (x < 2) return x < -6 ? 2 : 1 - erf(x);
  if (x > 27) return 0;
  // 修正 Lentz 法。erfc(x) = e^(−x²)/√π · 1/(x + (1/2)/(x + 1/(x + (3/2)/(x + …))))
  let fraction = x;
  let c = x;
  let d = 0;
  for (let n = 1; n < 500; n++) {
    const a = n / 2;
    d = 1 / (x + a * d);
    c = x + a / c;
    const delta = c * d;
    fraction *= delta;
    if (Math.abs(delta - 1) < 1e-16) break;
  }
  return Math.exp(-x * x) / (SQRT_PI * fraction);
}

/** 標準正規分布の分位点。初期値は有理近似で、Halley 法で倍精度まで詰める。 */
export function ndtri(p: number): number {
  if (!(p >= 0 && p <= 1)) return Number.NaN;
  if (p === 0) return Number.NEGATIVE_INFINITY;
  if (p === 1) return Number.POSITIVE_INFINITY;
  if (p > 0.5) return -ndtri(1 - p);
  // 裾の漸近式から始めれば、どこからでも数歩で収束する。
  let x: number;
  if (p < 0.1) {
    const t = Math.sqrt(-2 * Math.log(p));
    x = -(
      t -
      (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)))
    );
  } else {
    x = (p - 0.5) * Math.sqrt(2 * Math.PI);
  }
  for (let step = 0; step < 6; step++) {
    const error = 0.5 * erfc(-x / Math.SQRT2) - p;
    const u = error * Math.sqrt(2 * Math.PI) * Math.exp((x * x) / 2);
    const next = x - u / (1 + (x * u) / 2);
    if (next === x) break;
    x = next;
  }
  return x;
}

/** 逆誤差関数。0 の近くは erf への Newton 法で相対精度を保つ。 */
export function erfinv(y: number): number {
  if (!(y >= -1 && y <= 1)) return Number.NaN;
  const magnitude = Math.abs(y);
  if (magnitude > 0.5) return (Math.sign(y) * -ndtri((1 - magnitude) / 2)) / Math.SQRT2;
  let x = (SQRT_PI / 2) * (y + (Math.PI / 12) * y ** 3);
  for (let step = 0; step < 5; step++) x -= ((erf(x) - y) * SQRT_PI * Math.exp(x * x)) / 2;
  return x;
}

const lanczos = [
  0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
  12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
];

/** 係数は Lanczos(g = 7, n = 9)。 */
export function lgamma(x: number): number {
  if (Number.isNaN(x)) return Number.NaN;
  if (!Number.isFinite(x)) return Number.POSITIVE_INFINITY;
  if (x <= 0 && Number.isInteger(x)) return Number.POSITIVE_INFINITY;
  if (x === 1 || x === 2) return 0;
  if (x < 0.5) return Math.log(Math.PI / Math.abs(Math.sin(Math.PI * x))) - lgamma(1 - x);
  const z = x - 1;
  let sum = lanczos[0]!;
  for (let i = 1; i < lanczos.length; i++) sum += lanczos[i]! / (z + i);
  const t = z + 7.5;
  return 0.5 * Math.log(2 * Math.PI) + (z + 0.5) * Math.log(t) - t + Math.log(sum);
}

/** 漸化式で x ≥ 10 に移し、漸近級数。 @see https://dlmf.nist.gov/5.11 */
export function digamma(x: number): number {
  if (x <= 0 && Number.isInteger(x)) return Number.NaN;
  if (x < 0) return digamma(1 - x) - Math.PI / Math.tan(Math.PI * x);
  let shift = 0;
  let y = x;
  while (y < 10) shift -= 1 / y++;
  const r = 1 / (y * y);
  const tail =
    r * (1 / 12 - r * (1 / 120 - r * (1 / 252 - r * (1 / 240 - r * (1 / 132 - r * (691 / 32760))))));
  return shift + Math.log(y) - 0.5 / y - tail;
}

/** 正則化した下側の不完全ガンマ関数 P(a, x)。 @see https://dlmf.nist.gov/8.11 */
export function igamma(a: number, x: number): number {
  if (!(a > 0) || !(x >= 0)) return Number.NaN;
  if (x === 0) return 0;
  return x < a + 1 ? gammaSeries(a, x) : 1 - gammaFraction(a, x);
}

/** 正則化した上側の不完全ガンマ関数 Q(a, x)。 */
export function igammac(a: number, x: number): number {
  if (!(a > 0) || !(x >= 0)) return Number.NaN;
  if (x === 0) return 1;
  return x < a + 1 ? 1 - gammaSeries(a, x) : gammaFraction(a, x);
}

function gammaSeries(a: number, x: number): number {
  let term = 1 / a;
  let sum = term;
  for (let n = 1; n < 10_000 && term > sum * 1e-17; n++) {
    term *= x / (a + n);
    sum += term;
  }
  return sum * Math.exp(-x + a * Math.log(x) - lgamma(a));
}

function gammaFraction(a: number, x: number): number {
  if (!Number.isFinite(x)) return 0;
  let b = x + 1 - a;
  let c = 1e300;
  let d = 1 / b;
  let fraction = d;
  for (let n = 1; n < 10_000; n++) {
    const an = -n * (n - a);
    b += 2;
    d = 1 / (an * d + b);
    c = b + an / c;
    const delta = d * c;
    fraction *= delta;
    if (Math.abs(delta - 1) < 1e-16) break;
  }
  return Math.exp(-x + a * Math.log(x) - lgamma(a)) * fraction;
}

/** 半数を偶数へ丸める。 */
export function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest < 0.5) return floor;
  if (rest > 0.5) return floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}

const view = new DataView(new ArrayBuffer(8));

/** x から y の向きへ 1 つ隣の表現可能な値(float と double)。 */
export function nextAfter(x: number, y: number, double: boolean): number {
  if (Number.isNaN(x) || Number.isNaN(y)) return Number.NaN;
  if (x === y) return y;
  if (x === 0) return (double ? Number.MIN_VALUE : 1.401298464324817e-45) * (y > 0 ? 1 : -1);
  const up = y > x === x > 0;
  if (double) {
    view.setFloat64(0, x);
    view.setBigUint64(0, view.getBigUint64(0) + (up ? 1n : -1n));
    return view.getFloat64(0);
  }
  view.setFloat32(0, x);
  view.setUint32(0, view.getUint32(0) + (up ? 1 : -1));
  return view.getFloat32(0);
}
