/**
 * 1 本の列の離散フーリエ変換。長さが 2 の冪なら高速に、そうでなければ Bluestein の方法で 2 の冪に直す。
 */
export class Spectrum {
  constructor(
    readonly re: Float64Array,
    readonly im: Float64Array,
  ) {}

  static zeros(length: number): Spectrum {
    return new Spectrum(new Float64Array(length), new Float64Array(length));
  }

  get length(): number {
    return this.re.length;
  }
}

/** その場で、2 の冪の長さ。`sign` は指数の符号。 */
function powerOfTwo({ re, im }: Spectrum, sign: 1 | -1): void {
  const n = re.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [re[i], re[j]] = [re[j]!, re[i]!];
      [im[i], im[j]] = [im[j]!, im[i]!];
    }
  }
  for (let span = 2; span <= n; span *= 2) {
    const half = span / 2;
    for (let k = 0; k < half; k++) {
      const angle = (sign * 2 * Math.PI * k) / span;
      const [c, s] = [Math.cos(angle), Math.sin(angle)];
      for (let at = k; at < n; at += span) {
        const [xr, xi] = [re[at + half]!, im[at + half]!];
        const [tr, ti] = [xr * c - xi * s, xr * s + xi * c];
        re[at + half] = re[at]! - tr;
        im[at + half] = im[at]! - ti;
        re[at]! += tr;
        im[at]! += ti;
      }
    }
  }
}

/** 任意の長さ。 @see https://doi.org/10.1109/TAU.1970.1162132 */
export function transform(x: Spectrum, sign: 1 | -1): Spectrum {
  const n = x.length;
  if (n <= 1) return x;
  if ((n & (n - 1)) === 0) {
    const out = new Spectrum(x.re.slice(), x.im.slice());
    powerOfTwo(out, sign);
    return out;
  }
  const size = 2 ** Math.ceil(Math.log2(2 * n - 1));
  const a = Spectrum.zeros(size);
  const b = Spectrum.zeros(size);
  const cos = new Float64Array(n);
  const sin = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    // i² を 2n で割った余りを使い、角度の桁落ちを防ぐ。
    const angle = (sign * Math.PI * ((i * i) % (2 * n))) / n;
    cos[i] = Math.cos(angle);
    sin[i] = Math.sin(angle);
    a.re[i] = x.re[i]! * cos[i]! - x.im[i]! * sin[i]!;
    a.im[i] = x.re[i]! * sin[i]! + x.im[i]! * cos[i]!;
    for (const at of i === 0 ? [0] : [i, size - i]) {
      b.re[at] = cos[i]!;
      b.im[at] = -sin[i]!;
    }
  }
  powerOfTwo(a, -1);
  powerOfTwo(b, -1);
  for (let i = 0; i < size; i++) {
    const [re, im] = [a.re[i]! * b.re[i]! - a.im[i]! * b.im[i]!, a.re[i]! * b.im[i]! + a.im[i]! * b.re[i]!];
    a.re[i] = re / size;
    a.im[i] = im / size;
  }
  powerOfTwo(a, 1);
  const out = Spectrum.zeros(n);
  for (let i = 0; i < n; i++) {
    out.re[i] = a.re[i]! * cos[i]! - a.im[i]! * sin[i]!;
    out.im[i] = a.re[i]! * sin[i]! + a.im[i]! * cos[i]!;
  }
  return out;
}
