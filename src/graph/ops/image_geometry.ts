import { invalidArgument, unimplemented } from "../../base/status.ts";
import { lanesOf } from "../../tensor/dtype.ts";
import type { Shape } from "../../tensor/tensor.ts";
import { isBig, numbersOf } from "./elementwise.ts";
import { formatShape, makeTensor, newData, roundTo, toNumber, toNumbers } from "./kernel_util.ts";
import type { HostKernel, OpNode, OpRow } from "./registry.ts";
import { readPadding, windowAxis } from "./window.ts";

/** 画像の切り出しと幾何変換。 */
const f32 = Math.fround;

function imageDims(shape: Shape): [number, number, number, number] {
  if (shape.length !== 4) throw invalidArgument(`input image must be 4-D${formatShape(shape)}`);
  return shape as unknown as [number, number, number, number];
}

/** 0 から遠い側へ丸める(C の roundf)。 */
const roundAway = (x: number): number => (x < 0 ? -Math.floor(-x + 0.5) : Math.floor(x + 0.5));

/** 箱 1 辺の、出力の位置 → 入力の位置。 */
function cropPositions(low: number, high: number, size: number, input: number): number[] {
  if (size <= 1) return [f32(f32(0.5 * f32(low + high)) * (input - 1))];
  const scale = f32(f32(f32(high - low) * (input - 1)) / (size - 1));
  return Array.from({ length: size }, (_, i) => f32(f32(low * (input - 1)) + f32(i * scale)));
}

/**
 * 正規化座標の箱を切り出して一定の大きさにする。
 *
 * @see tensorflow/core/kernels/image/crop_and_resize_op.cc
 */
function cropAndResize(node: OpNode): HostKernel {
  const method = node.attrs.string("method");
  if (method !== "bilinear" && method !== "nearest") {
    throw invalidArgument("method must be 'bilinear' or 'nearest'");
  }
  const outside = node.attrs.float("extrapolation_value");
  return ([image, boxes, boxIndex, cropSize]) => {
    const [batch, height, width, depth] = imageDims(image!.shape);
    const [cropHeight, cropWidth] = toNumbers(cropSize!) as [number, number];
    if (!(cropHeight > 0 && cropWidth > 0)) throw invalidArgument("crop dimensions must be positive");
    const count = boxes!.shape[0] ?? 0;
    const shape = [count, cropHeight, cropWidth, depth];
    const out = newData("float", shape);
    const from = isBig(image!.dtype) ? toNumbers(image!) : numbersOf(image!);
    const corners = toNumbers(boxes!);
    const owners = toNumbers(boxIndex!);
    if (owners.length !== count) throw invalidArgument("box_index has incompatible shape");
    let to = 0;
    for (let b = 0; b < count; b++) {
      const owner = owners[b]!;
      if (owner < 0 || owner >= batch) {
        throw invalidArgument("box_index has values outside [0, batch_size)");
      }
      const [y1, x1, y2, x2] = corners.slice(b * 4, b * 4 + 4) as [number, number, number, number];
      const columns = cropPositions(x1, x2, cropWidth, width);
      for (const y of cropPositions(y1, y2, cropHeight, height)) {
        for (const x of columns) {
          if (!(y >= 0 && y <= height - 1 && x >= 0 && x <= width - 1)) {
            for (let d = 0; d < depth; d++) out[to++] = outside;
            continue;
          }
          const cell = (row: number, column: number) => ((owner * height + row) * width + column) * depth;
          if (method === "nearest") {
            const at = cell(roundAway(y), roundAway(x));
            for (let d = 0; d < depth; d++) out[to++] = from[at + d]!;
            continue;
          }
          const [top, left] = [Math.floor(y), Math.floor(x)];
          const [down, across] = [y - top, x - left];
          const [tl, tr] = [cell(top, left), cell(top, Math.ceil(x))];
          const [bl, br] = [cell(Math.ceil(y), left), cell(Math.ceil(y), Math.ceil(x))];
          for (let d = 0; d < depth; d++) {
            const upper = from[tl + d]! + (from[tr + d]! - from[tl + d]!) * across;
            const lower = from[bl + d]! + (from[br + d]! - from[bl + d]!) * across;
            out[to++] = upper + (lower - upper) * down;
          }
        }
      }
    }
    return makeTensor("float", shape, out);
  };
}

/** 画像の外の座標を内側に写す。返り値がなお外なら、塗りつぶしの値になる。 */
type Wrap = (at: number, size: number) => number;

const clamp = (at: number, size: number): number => Math.min(Math.max(at, 0), size - 1);

const wraps: Record<string, Wrap> = {
  CONSTANT: (at) => at,
  NEAREST: clamp,
  REFLECT: (at, size) => {
    if (size <= 1) return 0;
    const period = 2 * size;
    let x = at;
    if (x < 0) {
      if (x < period) x += period * Math.trunc(-x / period);
      x = x < -size ? x + period : -x - 1;
    } else if (x > size - 1) {
      x -= period * Math.trunc(x / period);
      if (x >= size) x = period - x - 1;
    }
    return clamp(x, size);
  },
  WRAP: (at, size) => {
    if (size <= 1) return 0;
    const span = size - 1;
    let x = at;
    if (x < 0) x += size * (Math.trunc(-x / span) + 1);
    else if (x > size - 1) x -= size * Math.trunc(x / span);
    return clamp(x, size);
  },
};

/** 射影変換の 8 つの係数で、出力の画素から入力の位置を求める。 */
function projectiveTransform(node: OpNode): HostKernel {
  const interpolation = node.attrs.string("interpolation");
  if (interpolation !== "NEAREST" && interpolation !== "BILINEAR") {
    throw invalidArgument(`Invalid interpolation ${interpolation}. Supported types: NEAREST, BILINEAR`);
  }
  const mode = node.attrs.string("fill_mode");
  const wrap = wraps[mode];
  if (wrap === undefined) {
    throw invalidArgument(`Invalid mode ${mode}. Supported types: REFLECT, WRAP, CONSTANT, NEAREST`);
  }
  const filled = node.op === "ImageProjectiveTransformV3";
  return ([images, transforms, sizeTensor, fillTensor]) => {
    const [batch, height, width, channels] = imageDims(images!.shape);
    const coefficients = toNumbers(transforms!);
    const rows = transforms!.shape[0]!;
    if (transforms!.shape.length !== 2 || transforms!.shape[1] !== 8 || (rows !== 1 && rows !== batch)) {
      throw invalidArgument(
        `Input transform should be num_images x 8 or 1 x 8, got ${formatShape(transforms!.shape)}`,
      );
    }
    const [outHeight, outWidth] = toNumbers(sizeTensor!) as [number, number];
    if (!(outHeight > 0 && outWidth > 0)) {
      throw invalidArgument(`new height and width must be positive, got ${outHeight}, ${outWidth}`);
    }
    const fill = filled ? toNumber(fillTensor!) : 0;
    const shape = [batch, outHeight, outWidth, channels];
    const data = newData(images!.dtype, shape);
    const out = data as Float64Array;
    const from = numbersOf(images!);
    let to = 0;
    for (let b = 0; b < batch; b++) {
      const t = coefficients.slice(rows === 1 ? 0 : b * 8, rows === 1 ? 8 : b * 8 + 8) as number[];
      const read = (y: number, x: number, c: number) =>
        y >= 0 && y < height && x >= 0 && x < width
          ? from[((b * height + y) * width + x) * channels + c]!
          : fill;
      for (let oy = 0; oy < outHeight; oy++) {
        for (let ox = 0; ox < outWidth; ox++) {
          const k = f32(f32(f32(t[6]! * ox) + f32(t[7]! * oy)) + 1);
          if (k === 0) {
            for (let c = 0; c < channels; c++) out[to++] = fill;
            continue;
          }
          const sourceX = f32(f32(f32(f32(t[0]! * ox) + f32(t[1]! * oy)) + t[2]!) / k);
          const sourceY = f32(f32(f32(f32(t[3]! * ox) + f32(t[4]! * oy)) + t[5]!) / k);
          const x = f32(wrap(sourceX, width));
          const y = f32(wrap(sourceY, height));
          if (interpolation === "NEAREST") {
            for (let c = 0; c < channels; c++) out[to++] = read(roundAway(y), roundAway(x), c);
            continue;
          }
          const [top, left] = [Math.floor(y), Math.floor(x)];
          const [down, across] = [y - top, x - left];
          for (let c = 0; c < channels; c++) {
            const upper = (1 - across) * read(top, left, c) + across * read(top, left + 1, c);
            const lower = (1 - across) * read(top + 1, left, c) + across * read(top + 1, left + 1, c);
            out[to++] = (1 - down) * upper + down * lower;
          }
        }
      }
    }
    roundTo(images!.dtype, data);
    return makeTensor(images!.dtype, shape, data);
  };
}

/** 窓ごとの画素を奥行きに並べる。 */
function extractPatches(node: OpNode): HostKernel {
  const middle = (name: string): [number, number] => {
    const values = node.attrs.ints(name);
    if (values[0] !== 1 || values[3] !== 1) {
      throw unimplemented(`ExtractImagePatches does not support ${name} in the batch and depth dimensions`);
    }
    return [values[1]!, values[2]!];
  };
  const sizes = middle("ksizes");
  const strides = middle("strides");
  const rates = middle("rates");
  const padding = readPadding(node, 2);
  if (typeof padding !== "string")
    throw unimplemented("ExtractImagePatches supports only SAME and VALID padding");
  return ([images]) => {
    const [batch, height, width, channels] = imageDims(images!.shape);
    const depth = channels * lanesOf(images!.dtype);
    const rows = windowAxis(height, sizes[0], strides[0], rates[0], padding);
    const columns = windowAxis(width, sizes[1], strides[1], rates[1], padding);
    const shape = [batch, rows.output, columns.output, sizes[0] * sizes[1] * channels];
    const data = newData(images!.dtype, shape);
    const out = data as Float64Array;
    const from = images!.data as Float64Array;
    let to = 0;
    for (let b = 0; b < batch; b++) {
      for (let oy = 0; oy < rows.output; oy++) {
        for (let ox = 0; ox < columns.output; ox++) {
          for (let ky = 0; ky < sizes[0]; ky++) {
            const y = oy * rows.stride - rows.before + ky * rows.dilation;
            for (let kx = 0; kx < sizes[1]; kx++, to += depth) {
              const x = ox * columns.stride - columns.before + kx * columns.dilation;
              if (y < 0 || y >= height || x < 0 || x >= width) continue;
              const at = ((b * height + y) * width + x) * depth;
              for (let d = 0; d < depth; d++) out[to + d] = from[at + d]!;
            }
          }
        }
      }
    }
    return makeTensor(images!.dtype, shape, data);
  };
}

export const imageGeometryOps: readonly OpRow[] = [
  { op: "CropAndResize", host: cropAndResize },
  { op: "ImageProjectiveTransformV2", host: projectiveTransform },
  { op: "ImageProjectiveTransformV3", host: projectiveTransform },
  { op: "ExtractImagePatches", host: extractPatches },
];
