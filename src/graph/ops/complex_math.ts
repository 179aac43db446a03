/**
 * 複素数の初等関数。実部と虚部を受け、組で返す。枝は C の <complex> と同じ(主値)。
 */

export type Complex = readonly [number, number];

export const multiply = (ar: number, ai: number, br: number, bi: number): Complex => [
  ar * br - ai * bi,
  ar * bi + ai * br,
];

export function divide(ar: number, ai: number, br: number, bi: number): Complex {
  const norm = br * br + bi * bi;
  return [(ar * br + ai * bi) / norm, (ai * br - ar * bi) / norm];
}

export const exp = (re: number, im: number): Complex => {
  const scale = Math.exp(re);
  return [scale * Math.cos(im), scale * Math.sin(im)];
};

export const expm1 = (re: number, im: number): Complex => {
  const half = Math.sin(im / 2);
  return [Math.expm1(re) * Math.cos(im) - 2 * half * half, Math.exp(re) * Math.sin(im)];
};

export const log = (re: number, im: number): Complex => [Math.log(Math.hypot(re, im)), Math.atan2(im, re)];

export const log1p = (re: number, im: number): Complex => [
  Math.log1p(re * (2 + re) + im * im) / 2,
  Math.atan2(im, 1 + re),
];

export function sqrt(re: number, im: number): Complex {
  const root = Math.sqrt((Math.hypot(re, im) + Math.abs(re)) / 2);
  if (root === 0) return [0, im];
  const other = im / (2 * root);
  return re >= 0 ? [root, other] : [Math.abs(other), im < 0 ? -root : root];
}

export const reciprocal = (re: number, im: number): Complex => {
  const norm = re * re + im * im;
  return [re / norm, -im / norm];
};

export const rsqrt = (re: number, im: number): Complex => reciprocal(...sqrt(re, im));

export const sinh = (re: number, im: number): Complex => [
  Math.sinh(re) * Math.cos(im),
  Math.cosh(re) * Math.sin(im),
];

export const cosh = (re: number, im: number): Complex => [
  Math.cosh(re) * Math.cos(im),
  Math.sinh(re) * Math.sin(im),
];

export function tanh(re: number, im: number): Complex {
  // 先のほうでは cosh があふれる。
  if (Math.abs(re) > 22)
    return [Math.sign(re), (4 * Math.sin(im) * Math.cos(im)) / Math.exp(2 * Math.abs(re))];
  const scale = Math.cosh(2 * re) + Math.cos(2 * im);
  return [Math.sinh(2 * re) / scale, Math.sin(2 * im) / scale];
}

/** f(z) = −i·g(i·z) の形で、双曲線関数から円関数を作る。 */
const rotated =
  (hyperbolic: (re: number, im: number) => Complex) =>
  (re: number, im: number): Complex => {
    const [x, y] = hyperbolic(-im, re);
    return [y, -x];
  };

export const sin = rotated(sinh);
export const tan = rotated(tanh);
export const cos = (re: number, im: number): Complex => cosh(-im, re);

export function asinh(re: number, im: number): Complex {
  // 負の側は log の中で桁落ちするので、奇関数であることを使う。
  if (re < 0) {
    const [x, y] = asinh(-re, -im);
    return [-x, -y];
  }
  const [rootRe, rootIm] = sqrt(re * re - im * im + 1, 2 * re * im);
  return log(re + rootRe, im + rootIm);
}

export function acosh(re: number, im: number): Complex {
  const product = multiply(...sqrt(re + 1, im), ...sqrt(re - 1, im));
  return log(re + product[0], im + product[1]);
}

export function atanh(re: number, im: number): Complex {
  const [plusRe, plusIm] = log1p(re, im);
  const [minusRe, minusIm] = log1p(-re, -im);
  return [(plusRe - minusRe) / 2, (plusIm - minusIm) / 2];
}

export const asin = rotated(asinh);
export const atan = rotated(atanh);

export function acos(re: number, im: number): Complex {
  const [x, y] = asin(re, im);
  return [Math.PI / 2 - x, -y];
}

export function sigmoid(re: number, im: number): Complex {
  const [x, y] = exp(-re, -im);
  return reciprocal(1 + x, y);
}

export function pow(ar: number, ai: number, br: number, bi: number): Complex {
  if (ar === 0 && ai === 0) return br === 0 && bi === 0 ? [1, 0] : [0, 0];
  const [re, im] = log(ar, ai);
  return exp(...multiply(re, im, br, bi));
}
