import { invalidArgument } from "../../base/status.ts";
import type { DType } from "../../tensor/dtype.ts";
import { sizeOf, type Tensor } from "../../tensor/tensor.ts";
import { numbersOf } from "./elementwise.ts";
import { formatShape, makeTensor, newData, toNumber } from "./kernel_util.ts";
import type { HostKernel, OpRow } from "./registry.ts";

/**
 * 末尾の軸の離散フーリエ変換。長さが 2 の冪なら高速に、そうでなければ Bluestein の方法で 2 の冪に直す。
 */
class Spectrum {
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
function transform(x: Spectrum, sign: 1 | -1): Spectrum {
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

const checkRank = (x: Tensor): void => {
  if (x.shape.length < 1) {
    throw invalidArgument(`Input must have rank of at least 1 but got: ${formatShape(x.shape)}`);
  }
};

const complexTransform =
  (inverse: boolean): HostKernel =>
  ([x]) => {
    checkRank(x!);
    const n = x!.shape.at(-1)!;
    const from = numbersOf(x!);
    const data = newData(x!.dtype, x!.shape) as Float64Array;
    const line = Spectrum.zeros(n);
    for (let at = 0; at < from.length; at += n * 2) {
      for (let i = 0; i < n; i++) {
        line.re[i] = from[at + i * 2]!;
        line.im[i] = from[at + i * 2 + 1]!;
      }
      const out = transform(line, inverse ? 1 : -1);
      for (let i = 0; i < n; i++) {
        data[at + i * 2] = out.re[i]! / (inverse ? n : 1);
        data[at + i * 2 + 1] = out.im[i]! / (inverse ? n : 1);
      }
    }
    return makeTensor(x!.dtype, x!.shape, data as Tensor["data"]);
  };

/** 実数列 → 前半のスペクトル。長さに合わせて切るか 0 を足す。 */
const realTransform: HostKernel = ([x, lengthTensor]) => {
  checkRank(x!);
  const n = toNumber(lengthTensor!);
  if (n < 0) throw invalidArgument(`fft_length must be non-negative, got ${n}`);
  const width = x!.shape.at(-1)!;
  const bins = Math.floor(n / 2) + 1;
  const shape = [...x!.shape.slice(0, -1), n === 0 ? 0 : bins];
  const dtype: DType = x!.dtype === "double" ? "complex128" : "complex64";
  const from = numbersOf(x!);
  const data = newData(dtype, shape) as Float64Array;
  if (n > 0) {
    for (let row = 0; row < sizeOf(x!.shape.slice(0, -1)); row++) {
      const line = Spectrum.zeros(n);
      for (let i = 0; i < Math.min(n, width); i++) line.re[i] = from[row * width + i]!;
      const out = transform(line, -1);
      for (let i = 0; i < bins; i++) {
        data[(row * bins + i) * 2] = out.re[i]!;
        data[(row * bins + i) * 2 + 1] = out.im[i]!;
      }
    }
  }
  return makeTensor(dtype, shape, data as Tensor["data"]);
};

/** {@link realTransform} の逆。後半は共役で補う。 */
const inverseRealTransform: HostKernel = ([x, lengthTensor]) => {
  checkRank(x!);
  const n = toNumber(lengthTensor!);
  if (n < 0) throw invalidArgument(`fft_length must be non-negative, got ${n}`);
  const width = x!.shape.at(-1)!;
  const bins = Math.floor(n / 2) + 1;
  if (n > 0 && width < bins) {
    throw invalidArgument(
      `Input dimension ${x!.shape.length - 1} must have length of at least ${bins} but got: ${width}`,
    );
  }
  const shape = [...x!.shape.slice(0, -1), n];
  const dtype: DType = x!.dtype === "complex128" ? "double" : "float";
  const from = numbersOf(x!);
  const data = newData(dtype, shape) as Float64Array;
  for (let row = 0; n > 0 && row < sizeOf(x!.shape.slice(0, -1)); row++) {
    const line = Spectrum.zeros(n);
    for (let i = 0; i < bins; i++) {
      const [re, im] = [from[(row * width + i) * 2]!, from[(row * width + i) * 2 + 1]!];
      line.re[i] = re;
      // 直流と折り返しの成分は実数とみなす。
      line.im[i] = i === 0 || i * 2 === n ? 0 : im;
      if (i > 0 && i * 2 < n) {
        line.re[n - i] = re;
        line.im[n - i] = -im;
      }
    }
    const out = transform(line, 1);
    for (let i = 0; i < n; i++) data[row * n + i] = out.re[i]! / n;
  }
  return makeTensor(dtype, shape, data as Tensor["data"]);
};

export const fftOps: readonly OpRow[] = [
  { op: "FFT", host: () => complexTransform(false) },
  { op: "IFFT", host: () => complexTransform(true) },
  { op: "RFFT", host: () => realTransform },
  { op: "IRFFT", host: () => inverseRealTransform },
];
