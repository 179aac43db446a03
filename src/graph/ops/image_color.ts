import { invalidArgument } from "../../base/status.ts";
import { sizeOf, type Tensor } from "../../tensor/tensor.ts";
import { numbersOf } from "./elementwise.ts";
import { formatShape, makeTensor, newData, roundTo, toNumber } from "./kernel_util.ts";
import type { HostKernel, OpRow } from "./registry.ts";

/** 色 1 つの変換。3 成分を `out` に書く。 */
type Pixel = (out: Float64Array, a: number, b: number, c: number) => void;

const scratch = new Float64Array(3);

/** 赤緑青 → 色相・彩度・明度。 @see tensorflow/core/kernels/image/colorspace_op.h */
const toHsv: Pixel = (out, red, green, blue) => {
  const value = Math.max(red, green, blue);
  const range = value - Math.min(red, green, blue);
  let hue = 0;
  if (range > 0) {
    const unit = 1 / (6 * range);
    if (red === value) hue = unit * (green - blue);
    else if (green === value) hue = unit * (blue - red) + 2 / 6;
    else hue = unit * (red - green) + 4 / 6;
    if (hue < 0) hue += 1;
  }
  out[0] = hue;
  out[1] = value > 0 ? range / value : 0;
  out[2] = value;
};

const unit = (x: number): number => Math.min(Math.max(x, 0), 1);

const toRgb: Pixel = (out, hue, saturation, value) => {
  const angle = hue * 6;
  const rest = 1 - saturation;
  out[0] = (rest + saturation * unit(Math.abs(angle - 3) - 1)) * value;
  out[1] = (rest + saturation * unit(2 - Math.abs(angle - 2))) * value;
  out[2] = (rest + saturation * unit(2 - Math.abs(angle - 4))) * value;
};

function mapPixels(x: Tensor, pixel: Pixel): Tensor {
  if (x.shape.at(-1) !== 3) {
    throw invalidArgument(`input must have 3 channels but instead has ${x.shape.at(-1)} channels.`);
  }
  const from = numbersOf(x);
  const data = newData(x.dtype, x.shape);
  for (let i = 0; i < from.length; i += 3) {
    pixel(scratch, from[i]!, from[i + 1]!, from[i + 2]!);
    (data as Float64Array).set(scratch, i);
  }
  roundTo(x.dtype, data);
  return makeTensor(x.dtype, x.shape, data);
}

/** 色相などを途中で変えて戻す。 */
const viaHsv =
  (change: (hsv: Float64Array, amount: number) => void): HostKernel =>
  ([x, amountTensor]) => {
    const amount = toNumber(amountTensor!);
    return mapPixels(x!, (out, red, green, blue) => {
      toHsv(out, red, green, blue);
      change(out, amount);
      toRgb(out, out[0]!, out[1]!, out[2]!);
    });
  };

/** 画像ごと・チャンネルごとの平均のまわりに伸び縮みさせる。 */
const adjustContrast: HostKernel = ([x, factorTensor]) => {
  const { shape } = x!;
  if (shape.length < 3) throw invalidArgument(`input must be at least 3-D, got shape${formatShape(shape)}`);
  const factor = toNumber(factorTensor!);
  const channels = shape.at(-1)!;
  const pixels = shape.at(-2)! * shape.at(-3)!;
  const batch = sizeOf(shape.slice(0, -3));
  const from = numbersOf(x!);
  const data = newData(x!.dtype, shape);
  const out = data as Float64Array;
  const mean = new Float64Array(channels);
  for (let b = 0; b < batch; b++) {
    const start = b * pixels * channels;
    mean.fill(0);
    for (let i = 0; i < pixels * channels; i++) mean[i % channels]! += from[start + i]! / pixels;
    for (let i = 0; i < pixels * channels; i++) {
      const center = mean[i % channels]!;
      out[start + i] = (from[start + i]! - center) * factor + center;
    }
  }
  roundTo(x!.dtype, data);
  return makeTensor(x!.dtype, shape, data);
};

export const imageColorOps: readonly OpRow[] = [
  {
    op: "RGBToHSV",
    host:
      () =>
      ([x]) =>
        mapPixels(x!, toHsv),
  },
  {
    op: "HSVToRGB",
    host:
      () =>
      ([x]) =>
        mapPixels(x!, toRgb),
  },
  {
    op: "AdjustHue",
    host: () =>
      viaHsv((hsv, delta) => {
        hsv[0] = hsv[0]! + delta - Math.floor(hsv[0]! + delta);
      }),
  },
  {
    op: "AdjustSaturation",
    host: () =>
      viaHsv((hsv, scale) => {
        hsv[1] = unit(hsv[1]! * scale);
      }),
  },
  { op: "AdjustContrastv2", host: () => adjustContrast },
];
