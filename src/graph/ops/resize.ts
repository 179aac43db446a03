import { invalidArgument, unimplemented } from "../../base/status.ts";
import { sizeOf, type Tensor } from "../../tensor/tensor.ts";
import { isBig, numbersOf } from "./elementwise.ts";
import { checkSize, formatShape, makeTensor, newData, toNumbers } from "./kernel_util.ts";
import type { DeviceRow, HostKernel, OpNode, OpRow } from "./registry.ts";

/**
 * 画像の拡大縮小。座標の計算は TF と同じく単精度で行う(境目の画素の選び方が変わるため)。
 *
 * @see tensorflow/core/kernels/image/ (resize_bilinear_op, resize_bicubic_op, resize_area_op, scale_and_translate_op)
 */
const f32 = Math.fround;

interface Frame {
  readonly batch: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly outHeight: number;
  readonly outWidth: number;
  readonly shape: readonly number[];
}

function frameOf(image: readonly number[], size: Tensor): Frame {
  if (image.length !== 4) throw invalidArgument(`input must be 4-dimensional${formatShape(image)}`);
  const wanted = toNumbers(size);
  if (size.shape.length !== 1 || wanted.length !== 2) {
    throw invalidArgument(`shape_t must be 1-dimensional with 2 elements: ${formatShape(size.shape)}`);
  }
  const [batch, height, width, channels] = image as unknown as [number, number, number, number];
  const [outHeight, outWidth] = wanted as [number, number];
  if (!(outHeight > 0 && outWidth > 0)) throw invalidArgument("output dimensions must be positive");
  if (!(height > 0 && width > 0)) throw invalidArgument("input image must be of non-zero size");
  const shape = [batch, outHeight, outWidth, channels];
  checkSize("float", shape);
  return { batch, height, width, channels, outHeight, outWidth, shape };
}

/** 出力 1 画素あたりの入力の画素数。 */
function scaleOf(input: number, output: number, alignCorners: boolean): number {
  return alignCorners && output > 1 ? f32((input - 1) / (output - 1)) : f32(input / output);
}

interface Corners {
  readonly alignCorners: boolean;
  readonly halfPixel: boolean;
}

const readCorners = (node: OpNode): Corners => ({
  alignCorners: node.attrs.bool("align_corners"),
  halfPixel: node.attrs.bool("half_pixel_centers"),
});

const sourceOf = (out: number, scale: number, halfPixel: boolean): number =>
  halfPixel ? f32(f32(f32(out + 0.5) * scale) - 0.5) : f32(out * scale);

/** 軸 1 本の、出力の位置ごとの 2 画素と混ぜる比。 */
function linearTaps(
  input: number,
  output: number,
  { alignCorners, halfPixel }: Corners,
): [number, number, number][] {
  const scale = scaleOf(input, output, alignCorners);
  return Array.from({ length: output }, (_, i) => {
    const at = sourceOf(i, scale, halfPixel);
    const floor = Math.floor(at);
    return [Math.max(floor, 0), Math.min(Math.ceil(at), input - 1), f32(at - floor)];
  });
}

function bilinear(x: Tensor, frame: Frame, corners: Corners): Tensor {
  const { batch, height, width, channels, outHeight, outWidth, shape } = frame;
  const from = numbersOf(x);
  const out = newData("float", shape);
  const rows = linearTaps(height, outHeight, corners);
  const columns = linearTaps(width, outWidth, corners);
  let to = 0;
  for (let b = 0; b < batch; b++) {
    const image = b * height * width;
    for (const [top, bottom, down] of rows) {
      for (const [left, right, across] of columns) {
        const [tl, tr] = [(image + top * width + left) * channels, (image + top * width + right) * channels];
        const [bl, br] = [
          (image + bottom * width + left) * channels,
          (image + bottom * width + right) * channels,
        ];
        for (let c = 0; c < channels; c++) {
          const upper = from[tl + c]! + (from[tr + c]! - from[tl + c]!) * across;
          const lower = from[bl + c]! + (from[br + c]! - from[bl + c]!) * across;
          out[to++] = upper + (lower - upper) * down;
        }
      }
    }
  }
  return makeTensor("float", shape, out);
}

function nearest(x: Tensor, frame: Frame, { alignCorners, halfPixel }: Corners): Tensor {
  const { batch, height, width, channels, outHeight, outWidth, shape } = frame;
  const pick = (input: number, output: number) => {
    const scale = scaleOf(input, output, alignCorners);
    return Array.from({ length: output }, (_, i) => {
      const at = halfPixel ? f32(f32(i + 0.5) * scale) : f32(i * scale);
      const index = alignCorners ? Math.round(at) : Math.floor(at);
      return Math.max(0, Math.min(index, input - 1));
    });
  };
  const rows = pick(height, outHeight);
  const columns = pick(width, outWidth);
  const from = x.data as Float64Array;
  const data = newData(x.dtype, shape);
  const out = data as Float64Array;
  let to = 0;
  for (let b = 0; b < batch; b++) {
    for (const row of rows) {
      for (const column of columns) {
        const at = ((b * height + row) * width + column) * channels;
        for (let c = 0; c < channels; c++) out[to++] = from[at + c]!;
      }
    }
  }
  return makeTensor(x.dtype, shape, data);
}

/** 3 次の補間の係数は、小数部を 1024 等分した表から引く。 */
const TABLE_SIZE = 1024;

function cubicTable(a: number): Float32Array {
  const table = new Float32Array((TABLE_SIZE + 1) * 2);
  for (let i = 0; i <= TABLE_SIZE; i++) {
    const x = i / TABLE_SIZE;
    table[i * 2] = ((a + 2) * x - (a + 3)) * x * x + 1;
    const far = x + 1;
    table[i * 2 + 1] = ((a * far - 5 * a) * far + 8 * a) * far - 4 * a;
  }
  return table;
}

/** 軸 1 本の、出力の位置ごとの 4 画素と重み。 */
function cubicTaps(
  input: number,
  output: number,
  { alignCorners, halfPixel }: Corners,
): [number[], number[]][] {
  const scale = scaleOf(input, output, alignCorners);
  const table = cubicTable(halfPixel ? -0.5 : -0.75);
  const bound = (i: number) => Math.min(input - 1, Math.max(0, i));
  return Array.from({ length: output }, (_, i) => {
    const at = sourceOf(i, scale, halfPixel);
    const base = Math.floor(at);
    const offset = Math.round(f32(at - base) * TABLE_SIZE);
    const positions = [base - 1, base, base + 1, base + 2];
    let weights = [
      table[offset * 2 + 1]!,
      table[offset * 2]!,
      table[(TABLE_SIZE - offset) * 2]!,
      table[(TABLE_SIZE - offset) * 2 + 1]!,
    ];
    if (halfPixel) {
      // 画像の外に落ちた画素は数えず、残りの重みを 1 に直す。
      weights = weights.map((weight, k) => (positions[k] === bound(positions[k]!) ? weight : 0));
      const sum = weights.reduce((a, b) => a + b, 0);
      if (Math.abs(sum) >= 1e-35) weights = weights.map((weight) => weight / sum);
    }
    return [positions.map(bound), weights];
  });
}

/** 縦横の重みつき和。`rows` と `columns` は位置ごとの [画素, 重み]。 */
function separable(
  x: Tensor,
  frame: Frame,
  rows: readonly (readonly [readonly number[], readonly number[]])[],
  columns: readonly (readonly [readonly number[], readonly number[]])[],
): Tensor {
  const { batch, height, width, channels, outHeight, outWidth, shape } = frame;
  const from = numbersOf(x);
  const out = newData("float", shape);
  // 先に横を縮め、次に縦を縮める。
  const middle = new Float64Array(height * outWidth * channels);
  for (let b = 0; b < batch; b++) {
    middle.fill(0);
    for (let y = 0; y < height; y++) {
      for (let ox = 0; ox < outWidth; ox++) {
        const [positions, weights] = columns[ox]!;
        for (const [k, position] of positions.entries()) {
          const at = ((b * height + y) * width + position) * channels;
          const to = (y * outWidth + ox) * channels;
          for (let c = 0; c < channels; c++) middle[to + c]! += from[at + c]! * weights[k]!;
        }
      }
    }
    const line = new Float64Array(outWidth * channels);
    for (let oy = 0; oy < outHeight; oy++) {
      line.fill(0);
      const [positions, weights] = rows[oy]!;
      for (const [k, position] of positions.entries()) {
        const at = position * outWidth * channels;
        for (let i = 0; i < line.length; i++) line[i]! += middle[at + i]! * weights[k]!;
      }
      (out as Float32Array).set(line, (b * outHeight + oy) * outWidth * channels);
    }
  }
  return makeTensor("float", shape, out);
}

const bicubic = (x: Tensor, frame: Frame, corners: Corners): Tensor =>
  separable(
    x,
    frame,
    cubicTaps(frame.height, frame.outHeight, corners),
    cubicTaps(frame.width, frame.outWidth, corners),
  );

/** 出力の 1 画素が覆う入力の範囲と、その重なりの幅。 */
function areaTaps(input: number, output: number, alignCorners: boolean): [number[], number[]][] {
  const scale = scaleOf(input, output, alignCorners);
  const bound = (i: number) => Math.min(input - 1, Math.max(0, i));
  return Array.from({ length: output }, (_, i) => {
    const from = f32(i * scale);
    const to = f32((i + 1) * scale);
    const positions: number[] = [];
    const weights: number[] = [];
    for (let at = Math.floor(from); at < Math.ceil(to); at++) {
      const covered = at < from ? (at + 1 > to ? scale : at + 1 - from) : at + 1 > to ? to - at : 1;
      positions.push(bound(at));
      weights.push(covered / scale);
    }
    return [positions, weights];
  });
}

const area = (x: Tensor, frame: Frame, { alignCorners }: Corners): Tensor =>
  separable(
    x,
    frame,
    areaTaps(frame.height, frame.outHeight, alignCorners),
    areaTaps(frame.width, frame.outWidth, alignCorners),
  );

/** 標本化の核。`radius` の外は 0。 */
interface SamplingKernel {
  readonly radius: number;
  readonly weight: (x: number) => number;
}

function lanczos(radius: number): SamplingKernel {
  return {
    radius,
    weight: (x) => {
      if (x > radius) return 0;
      if (x <= 1e-3) return 1;
      return (
        (radius * Math.sin(Math.PI * x) * Math.sin((Math.PI * x) / radius)) / (Math.PI * Math.PI * x * x)
      );
    },
  };
}

const samplingKernels: Record<string, SamplingKernel> = {
  lanczos1: lanczos(1),
  lanczos3: lanczos(3),
  lanczos5: lanczos(5),
  gaussian: { radius: 1.5, weight: (x) => (x >= 1.5 ? 0 : Math.exp((-x * x) / (2 * 0.25))) },
  box: { radius: 1, weight: (x) => (x < 0.5 ? 1 : x === 0.5 ? 0.5 : 0) },
  triangle: { radius: 1, weight: (x) => Math.max(0, 1 - x) },
  keyscubic: {
    radius: 2,
    weight: (x) => {
      if (x >= 2) return 0;
      return x >= 1 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : (1.5 * x - 2.5) * x * x + 1;
    },
  },
  mitchellcubic: {
    radius: 2,
    weight: (x) => {
      if (x >= 2) return 0;
      return x >= 1 ? (((-7 / 18) * x + 2) * x - 10 / 3) * x + 16 / 9 : ((7 / 6) * x - 2) * x * x + 8 / 9;
    },
  },
};

function sampledTaps(
  input: number,
  output: number,
  scale: number,
  shift: number,
  kernel: SamplingKernel,
  antialias: boolean,
): [number[], number[]][] {
  const inverse = f32(1 / scale);
  const origin = f32(-inverse * shift);
  const stretch = antialias ? Math.max(inverse, 1) : 1;
  const reach = f32(kernel.radius * stretch);
  const clamp = (i: number) => Math.min(input - 1, Math.max(0, i));
  return Array.from({ length: output }, (_, i) => {
    const center = f32(f32(f32(i + 0.5) * inverse) + origin);
    if (center < 0 || center > input) return [[], []];
    const positions: number[] = [];
    const weights: number[] = [];
    const end = clamp(Math.floor(f32(center + reach - 0.5)));
    for (let at = clamp(Math.ceil(f32(center - reach - 0.5))); at <= end; at++) {
      positions.push(at);
      weights.push(kernel.weight(Math.abs((at + 0.5 - center) / stretch)));
    }
    const sum = weights.reduce((a, b) => a + b, 0);
    return [positions, Math.abs(sum) >= 1e-35 ? weights.map((weight) => weight / sum) : weights];
  });
}

function scaleAndTranslate(node: OpNode): HostKernel {
  const name = node.attrs.string("kernel_type");
  const kernel = samplingKernels[name];
  if (kernel === undefined) throw unimplemented(`ScaleAndTranslate does not support kernel_type ${name}`);
  const antialias = node.attrs.bool("antialias");
  return ([x, size, scaleTensor, shiftTensor]) => {
    const frame = frameOf(x!.shape, size!);
    const [rowScale, columnScale] = toNumbers(scaleTensor!) as [number, number];
    const [rowShift, columnShift] = toNumbers(shiftTensor!) as [number, number];
    if (!(rowScale > 0 && columnScale > 0)) throw invalidArgument("Scale must be greater than zero.");
    return separable(
      x!,
      frame,
      sampledTaps(frame.height, frame.outHeight, rowScale, rowShift, kernel, antialias),
      sampledTaps(frame.width, frame.outWidth, columnScale, columnShift, kernel, antialias),
    );
  };
}

type Resizer = (x: Tensor, frame: Frame, corners: Corners) => Tensor;

const bilinearDevice: DeviceRow = {
  hostInputs: [1],
  work: (inputs) => sizeOf(inputs[0]!.shape) * 4,
  build: (node) => {
    const { alignCorners, halfPixel } = readCorners(node);
    if (node.inputTypes[0] !== "float") return undefined;
    return (inputs, device) => {
      const frame = frameOf(inputs.shape(0), inputs.host(1));
      if (sizeOf(frame.shape) === 0) return makeTensor("float", frame.shape, new Float32Array(0));
      return device.call(
        "ResizeBilinear",
        { images: inputs.device(0) },
        { alignCorners, halfPixelCenters: halfPixel, size: [frame.outHeight, frame.outWidth] },
      );
    };
  },
};

function resizeRow(op: string, resize: Resizer, device?: DeviceRow): OpRow {
  return {
    op,
    host: (node) => {
      const corners =
        op === "ResizeArea"
          ? { alignCorners: node.attrs.bool("align_corners"), halfPixel: false }
          : readCorners(node);
      if (corners.alignCorners && corners.halfPixel) {
        throw invalidArgument("If half_pixel_centers is True, align_corners must be False.");
      }
      return ([x, size]) => {
        if (op !== "ResizeNearestNeighbor" && isBig(x!.dtype)) {
          const wide = newData("double", x!.shape);
          for (let i = 0; i < wide.length; i++) wide[i] = Number(x!.data[i]);
          return resize(makeTensor("double", x!.shape, wide), frameOf(x!.shape, size!), corners);
        }
        return resize(x!, frameOf(x!.shape, size!), corners);
      };
    },
    device,
  };
}

export const resizeOps: readonly OpRow[] = [
  resizeRow("ResizeBilinear", bilinear, bilinearDevice),
  resizeRow("ResizeNearestNeighbor", nearest),
  resizeRow("ResizeBicubic", bicubic),
  resizeRow("ResizeArea", area),
  { op: "ScaleAndTranslate", host: scaleAndTranslate },
];
