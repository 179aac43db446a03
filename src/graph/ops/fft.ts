import { invalidArgument } from "../../base/status.ts";
import { type DType, lanesOf } from "../../tensor/dtype.ts";
import { sizeOf, type Tensor } from "../../tensor/tensor.ts";
import { Spectrum, transform } from "./dft.ts";
import { numbersOf } from "./elementwise.ts";
import { checkSize, formatShape, makeTensor, newData, stridesOf, toNumbers } from "./kernel_util.ts";
import type { HostKernel, OpRow } from "./registry.ts";

/** 行優先に並ぶ複素数の格子。 */
interface Grid {
  readonly shape: readonly number[];
  /** 実部と虚部が交互に並ぶ。 */
  readonly data: Float64Array;
}

/** 1 本の軸に沿って変換する。`inverse` なら長さで割る。 */
function alongAxis({ shape, data }: Grid, axis: number, inverse: boolean): void {
  const n = shape[axis]!;
  const step = sizeOf(shape.slice(axis + 1));
  const line = Spectrum.zeros(n);
  for (let outer = 0; outer < sizeOf(shape.slice(0, axis)); outer++) {
    for (let inner = 0; inner < step; inner++) {
      const at = outer * n * step + inner;
      for (let i = 0; i < n; i++) {
        line.re[i] = data[(at + i * step) * 2]!;
        line.im[i] = data[(at + i * step) * 2 + 1]!;
      }
      const out = transform(line, inverse ? 1 : -1);
      for (let i = 0; i < n; i++) {
        data[(at + i * step) * 2] = out.re[i]! / (inverse ? n : 1);
        data[(at + i * step) * 2 + 1] = out.im[i]! / (inverse ? n : 1);
      }
    }
  }
}

/** 末尾の軸を `lengths` に合わせて切った、複素数の格子。 */
function resized(x: Tensor, lengths: readonly number[]): Grid {
  const from = numbersOf(x);
  const lanes = lanesOf(x.dtype);
  const batch = x.shape.slice(0, x.shape.length - lengths.length);
  const own = x.shape.slice(batch.length);
  const shape = [...batch, ...lengths];
  checkSize("complex128", shape);
  const data = new Float64Array(sizeOf(shape) * 2);
  const [width, target] = [own.at(-1)!, lengths.at(-1)!];
  const strides = stridesOf(lengths);
  const lines = sizeOf(own.slice(0, -1));
  for (let b = 0; b < sizeOf(batch); b++) {
    for (let line = 0; line < lines; line++) {
      let rest = line;
      let to = b * sizeOf(lengths);
      let isInside = true;
      for (let axis = own.length - 2; axis >= 0; axis--) {
        const index = rest % own[axis]!;
        rest = (rest - index) / own[axis]!;
        if (index >= lengths[axis]!) isInside = false;
        to += index * strides[axis]!;
      }
      if (!isInside) continue;
      const at = (b * lines + line) * width;
      for (let i = 0; i < Math.min(width, target); i++) {
        data[(to + i) * 2] = from[(at + i) * lanes]!;
        if (lanes === 2) data[(to + i) * 2 + 1] = from[(at + i) * 2 + 1]!;
      }
    }
  }
  return { shape, data };
}

function checkRank(x: Tensor, rank: number): void {
  if (x.shape.length < rank) {
    throw invalidArgument(`Input must have rank of at least ${rank} but got: ${formatShape(x.shape)}`);
  }
}

/** 変換する軸の長さ。 */
function lengthsOf(value: Tensor, rank: number): number[] {
  const lengths = toNumbers(value);
  if (value.shape.length !== 1 || lengths.length !== rank) {
    throw invalidArgument(`fft_length must have shape [${rank}]`);
  }
  const negative = lengths.find((length) => length < 0);
  if (negative !== undefined) throw invalidArgument(`fft_length must be non-negative, got ${negative}`);
  return lengths;
}

/** 変換する軸は、求められる長さより短くてはならない。 */
function checkLengths({ shape }: Tensor, lengths: readonly number[]): void {
  for (const [k, least] of lengths.entries()) {
    const axis = shape.length - lengths.length + k;
    if (shape[axis]! < least) {
      throw invalidArgument(
        `Input dimension ${axis} must have length of at least ${least} but got: ${shape[axis]}`,
      );
    }
  }
}

const complexTransform =
  (rank: number, inverse: boolean): HostKernel =>
  ([x]) => {
    checkRank(x!, rank);
    const grid = { shape: x!.shape, data: Float64Array.from(numbersOf(x!)) };
    for (let k = 1; k <= rank; k++) alongAxis(grid, x!.shape.length - k, inverse);
    const data = newData(x!.dtype, x!.shape) as Float64Array;
    data.set(grid.data);
    return makeTensor(x!.dtype, x!.shape, data as Tensor["data"]);
  };

/** 実数 → スペクトル。末尾の軸は前半だけ。長さに合わせて切る。 */
const realTransform =
  (rank: number): HostKernel =>
  ([x, lengthTensor]) => {
    checkRank(x!, rank);
    const lengths = lengthsOf(lengthTensor!, rank);
    checkLengths(x!, lengths);
    const grid = resized(x!, lengths);
    const axes = grid.shape.length;
    const bins = lengths.at(-1) === 0 ? 0 : Math.floor(lengths.at(-1)! / 2) + 1;
    const shape = grid.shape.with(-1, bins);
    const dtype: DType = x!.dtype === "double" ? "complex128" : "complex64";
    const data = newData(dtype, shape) as Float64Array;
    if (sizeOf(shape) === 0) return makeTensor(dtype, shape, data as Tensor["data"]);
    for (let k = 1; k <= rank; k++) alongAxis(grid, axes - k, false);
    const width = lengths.at(-1)!;
    for (let line = 0; line < sizeOf(shape) / bins; line++) {
      data.set(grid.data.subarray(line * width * 2, (line * width + bins) * 2), line * bins * 2);
    }
    return makeTensor(dtype, shape, data as Tensor["data"]);
  };

/** {@link realTransform} の逆。末尾の軸の後半は共役で補う。 */
const inverseRealTransform =
  (rank: number): HostKernel =>
  ([x, lengthTensor]) => {
    checkRank(x!, rank);
    const lengths = lengthsOf(lengthTensor!, rank);
    const n = lengths.at(-1)!;
    const bins = n === 0 ? 0 : Math.floor(n / 2) + 1;
    const needed = lengths.with(-1, bins);
    checkLengths(x!, needed);
    const half = resized(x!, needed);
    const shape = half.shape.with(-1, n);
    const dtype: DType = x!.dtype === "complex128" ? "double" : "float";
    const data = newData(dtype, shape) as Float64Array;
    if (sizeOf(shape) === 0) return makeTensor(dtype, shape, data as Tensor["data"]);
    for (let k = 2; k <= rank; k++) alongAxis(half, shape.length - k, true);
    const line = Spectrum.zeros(n);
    for (let at = 0; at < data.length; at += n) {
      const from = (at / n) * bins;
      for (let i = 0; i < bins; i++) {
        const [re, im] = [half.data[(from + i) * 2]!, half.data[(from + i) * 2 + 1]!];
        line.re[i] = re;
        // 直流と折り返しの成分は実数とみなす。
        line.im[i] = i === 0 || i * 2 === n ? 0 : im;
        if (i > 0 && i * 2 < n) {
          line.re[n - i] = re;
          line.im[n - i] = -im;
        }
      }
      const out = transform(line, 1);
      for (let i = 0; i < n; i++) data[at + i] = out.re[i]! / n;
    }
    return makeTensor(dtype, shape, data as Tensor["data"]);
  };

/** 1〜3 次元の離散フーリエ変換。 */
export const fftOps: readonly OpRow[] = [1, 2, 3].flatMap((rank) => {
  const suffix = rank === 1 ? "" : `${rank}D`;
  return [
    { op: `FFT${suffix}`, host: () => complexTransform(rank, false) },
    { op: `IFFT${suffix}`, host: () => complexTransform(rank, true) },
    { op: `BatchFFT${suffix}`, host: () => complexTransform(rank, false) },
    { op: `BatchIFFT${suffix}`, host: () => complexTransform(rank, true) },
    { op: `RFFT${suffix}`, host: () => realTransform(rank) },
    { op: `IRFFT${suffix}`, host: () => inverseRealTransform(rank) },
  ];
});
