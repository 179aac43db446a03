import { invalidArgument } from "../../base/status.ts";
import { type Shape, sizeOf, type Tensor } from "../../tensor/tensor.ts";
import { type Activation, activateInPlace } from "./dense_kernel.ts";
import { numbersOf } from "./elementwise.ts";
import { formatShape, makeTensor, newData, roundTo, toNumbers } from "./kernel_util.ts";
import { requireChannelsLast } from "./layout.ts";
import { lowest } from "./limits.ts";
import { onWasm } from "./matmul.ts";
import type { HostKernel, OpNode, OpRow } from "./registry.ts";
import { withShape } from "./strided_copy.ts";
import {
  devicePadding,
  type Padding,
  paddingOf,
  readPadding,
  spatialAttr,
  type WindowAxis,
  windowAxis,
} from "./window.ts";

/**
 * 畳み込み。チャンネルは末尾(NHWC, NDHWC)だけ。2 次元は奥行き 1 の 3 次元として計算する。
 */
interface Geometry {
  readonly batch: number;
  readonly axes: readonly [WindowAxis, WindowAxis, WindowAxis];
  readonly inDepth: number;
  /** フィルタ 1 組が読むチャンネル数。inDepth の約数で、商が群の数。 */
  readonly filterDepth: number;
  readonly outDepth: number;
}

interface ConvAttrs {
  readonly rank: 2 | 3;
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  readonly padding: Padding;
}

function readAttrs(node: OpNode, rank: 2 | 3): ConvAttrs {
  requireChannelsLast(node, rank === 2 ? "NHWC" : "NDHWC");
  return {
    rank,
    strides: spatialAttr(node, "strides", rank),
    dilations: spatialAttr(node, "dilations", rank),
    padding: readPadding(node, rank),
  };
}

const flatAxis = windowAxis(1, 1, 1, 1, "VALID");

/** @param x 形状 [n, …空間, c]。 @param filter 形状 [...窓, c/群, out]。 */
function geometry(x: Shape, filter: Shape, { rank, strides, dilations, padding }: ConvAttrs): Geometry {
  if (x.length !== rank + 2) {
    throw invalidArgument(`input must be ${rank + 2}-dimensional: ${formatShape(x)}`);
  }
  if (filter.length !== rank + 2) {
    throw invalidArgument(`filter must be ${rank + 2}-dimensional: ${formatShape(filter)}`);
  }
  const inDepth = x.at(-1)!;
  const filterDepth = filter.at(-2)!;
  const outDepth = filter.at(-1)!;
  if (filterDepth === 0 || inDepth % filterDepth !== 0) {
    throw invalidArgument(
      `input depth must be evenly divisible by filter depth: ${inDepth} vs ${filterDepth}`,
    );
  }
  const groups = inDepth / filterDepth;
  if (groups > 0 && outDepth % groups !== 0) {
    throw invalidArgument(
      `output depth must be evenly divisible by number of groups: ${outDepth} vs ${groups}`,
    );
  }
  const axes = Array.from({ length: rank }, (_, i) =>
    windowAxis(x[i + 1]!, filter[i]!, strides[i]!, dilations[i]!, paddingOf(padding, i)),
  );
  if (rank === 2) axes.unshift(flatAxis);
  return {
    batch: x[0]!,
    axes: axes as unknown as Geometry["axes"],
    inDepth,
    filterDepth,
    outDepth,
  };
}

/** 積和 1 回分: 入力の位置・フィルタの位置・出力の位置(いずれもチャンネルの先頭)。 */
type Tap = (inAt: number, filterAt: number, outAt: number) => void;

/** 窓の動きを、余白に落ちるところを除いて巡る。位置の単位は「チャンネル 1 列」。 */
function eachTap({ batch, axes }: Geometry, tap: Tap): void {
  const [d, h, w] = axes;
  for (let n = 0; n < batch; n++) {
    for (let od = 0; od < d.output; od++) {
      for (let oh = 0; oh < h.output; oh++) {
        for (let ow = 0; ow < w.output; ow++) {
          const outAt = ((n * d.output + od) * h.output + oh) * w.output + ow;
          for (let fd = 0; fd < d.filter; fd++) {
            const z = od * d.stride - d.before + fd * d.dilation;
            if (z < 0 || z >= d.input) continue;
            for (let fh = 0; fh < h.filter; fh++) {
              const y = oh * h.stride - h.before + fh * h.dilation;
              if (y < 0 || y >= h.input) continue;
              for (let fw = 0; fw < w.filter; fw++) {
                const x = ow * w.stride - w.before + fw * w.dilation;
                if (x < 0 || x >= w.input) continue;
                tap(
                  ((n * d.input + z) * h.input + y) * w.input + x,
                  (fd * h.filter + fh) * w.filter + fw,
                  outAt,
                );
              }
            }
          }
        }
      }
    }
  }
}

function outputShape({ batch, axes, outDepth }: Geometry, rank: number): number[] {
  return [batch, ...axes.slice(3 - rank).map((axis) => axis.output), outDepth];
}

function convolve(x: Tensor, filter: Tensor, attrs: ConvAttrs): Tensor {
  const shape = geometry(x.shape, filter.shape, attrs);
  const { inDepth, filterDepth, outDepth } = shape;
  const outShape = outputShape(shape, attrs.rank);
  const data = newData(x.dtype, outShape);
  const sums = new Float64Array(sizeOf(outShape));
  const image = numbersOf(x);
  const weights = numbersOf(filter);
  const groups = inDepth / filterDepth;
  const perGroup = outDepth / groups;
  eachTap(shape, (inAt, filterAt, outAt) => {
    for (let c = 0; c < inDepth; c++) {
      const value = image[inAt * inDepth + c]!;
      const group = Math.floor(c / filterDepth);
      const from = (filterAt * filterDepth + (c % filterDepth)) * outDepth + group * perGroup;
      const to = outAt * outDepth + group * perGroup;
      for (let o = 0; o < perGroup; o++) sums[to + o]! += value * weights[from + o]!;
    }
  });
  (data as Float64Array).set(sums);
  roundTo(x.dtype, data);
  return makeTensor(x.dtype, outShape, data);
}

/** 出力側の勾配を入力側へ広げる(転置畳み込み)。 */
function convolveBack(inputShape: Shape, filter: Tensor, dy: Tensor, attrs: ConvAttrs): Tensor {
  const shape = geometry(inputShape, filter.shape, attrs);
  const expected = outputShape(shape, attrs.rank);
  if (formatShape(expected) !== formatShape(dy.shape)) {
    throw invalidArgument(
      `Size of out_backprop doesn't match computed: actual = ${formatShape(dy.shape)}, computed = ${formatShape(expected)}`,
    );
  }
  const { inDepth, filterDepth, outDepth } = shape;
  const data = newData(dy.dtype, inputShape);
  const sums = new Float64Array(sizeOf(inputShape));
  const gradient = numbersOf(dy);
  const weights = numbersOf(filter);
  const groups = inDepth / filterDepth;
  const perGroup = outDepth / groups;
  eachTap(shape, (inAt, filterAt, outAt) => {
    for (let c = 0; c < inDepth; c++) {
      const group = Math.floor(c / filterDepth);
      const from = (filterAt * filterDepth + (c % filterDepth)) * outDepth + group * perGroup;
      const at = outAt * outDepth + group * perGroup;
      let sum = 0;
      for (let o = 0; o < perGroup; o++) sum += gradient[at + o]! * weights[from + o]!;
      sums[inAt * inDepth + c]! += sum;
    }
  });
  (data as Float64Array).set(sums);
  roundTo(dy.dtype, data);
  return makeTensor(dy.dtype, inputShape, data);
}

/** チャンネルごとの畳み込み。フィルタの形状 [h, w, c, 倍率] を群の畳み込みの形に読み替える。 */
function depthwiseFilter(filter: Tensor, inDepth: number): Tensor {
  if (filter.shape.length !== 4) {
    throw invalidArgument(`filter must be 4-dimensional: ${formatShape(filter.shape)}`);
  }
  const [h, w, c, multiplier] = filter.shape as [number, number, number, number];
  if (c !== inDepth) {
    throw invalidArgument(`input and filter must have the same depth: ${inDepth} vs ${c}`);
  }
  return withShape(filter, [h, w, 1, c * multiplier]);
}

const macs = (x: Shape, filter: Shape): number =>
  sizeOf(x) * (sizeOf(filter) / Math.max(1, filter.at(-2) ?? 1));

/** 出力が空(0 行のバッチや窓より小さい画像)なら、デバイスに渡さない。 */
function isEmpty(shape: Geometry, rank: number): boolean {
  return sizeOf(outputShape(shape, rank)) === 0 || shape.inDepth === 0;
}

function convRow(op: string, rank: 2 | 3): OpRow {
  return {
    op,
    host: (node) => {
      const attrs = readAttrs(node, rank);
      return ([x, filter]) => convolve(x!, filter!, attrs);
    },
    device: {
      heavy: true,
      work: ([x, filter]) => macs(x!.shape, filter!.shape),
      build: (node) => {
        const attrs = readAttrs(node, rank);
        const given = {
          strides: attrs.strides,
          dilations: attrs.dilations,
          dataFormat: rank === 2 ? "NHWC" : "NDHWC",
        };
        // tfjs の 3 次元畳み込みは明示の余白を持たない。
        if (rank === 3 && typeof attrs.padding !== "string") return undefined;
        const sameOrValid = String(attrs.padding).toLowerCase();
        return (inputs, device) => {
          const shape = geometry(inputs.shape(0), inputs.shape(1), attrs);
          if (isEmpty(shape, rank) || shape.inDepth !== shape.filterDepth) {
            return convolve(inputs.host(0), inputs.host(1), attrs);
          }
          const pad = rank === 2 ? devicePadding(attrs.padding, shape.axes.slice(1)) : sameOrValid;
          return device.call(op, { x: inputs.device(0), filter: inputs.device(1) }, { ...given, pad });
        };
      },
    },
  };
}

const depthwise: OpRow = {
  op: "DepthwiseConv2dNative",
  host: (node) => {
    const attrs = readAttrs(node, 2);
    return ([x, filter]) => convolve(x!, depthwiseFilter(filter!, x!.shape.at(-1) ?? 0), attrs);
  },
  device: {
    heavy: true,
    work: ([x, filter]) => macs(x!.shape, filter!.shape),
    build: (node) => {
      const attrs = readAttrs(node, 2);
      const given = { strides: attrs.strides, dilations: attrs.dilations };
      return (inputs, device) => {
        const x = inputs.shape(0);
        const [h, w, c, multiplier] = inputs.shape(1) as [number, number, number, number];
        const fits = inputs.shape(1).length === 4 && x.length === 4 && c === x[3];
        const shape = fits ? geometry(x, [h, w, 1, c * multiplier], attrs) : undefined;
        if (shape === undefined || isEmpty(shape, 2)) {
          return convolve(inputs.host(0), depthwiseFilter(inputs.host(1), x.at(-1) ?? 0), attrs);
        }
        const pad = devicePadding(attrs.padding, shape.axes.slice(1));
        return device.call(
          "DepthwiseConv2dNative",
          { x: inputs.device(0), filter: inputs.device(1) },
          { ...given, pad },
        );
      };
    },
  },
};

/** fuse.ts が作る、畳み込み + 偏り + 活性化。float だけ。 */
interface Fused {
  readonly activation: Activation;
  readonly alpha: number;
}

const readFused = (node: OpNode): Fused => ({
  activation: node.attrs.string("activation") as Activation,
  alpha: node.attrs.float("alpha"),
});

/** 畳み込みの結果に偏りと活性化を施す。`y` は作りたてなので書き換えてよい。 */
function finish(y: Tensor, bias: Tensor | undefined, { activation, alpha }: Fused): Tensor {
  const channels = y.shape.at(-1)!;
  if (bias !== undefined && bias.shape[0] !== channels) {
    throw invalidArgument(
      `Must provide as many biases as the last dimension of the input tensor: ${formatShape(bias.shape)} vs. ${formatShape(y.shape)}`,
    );
  }
  const out = y.data as Float32Array;
  if (bias !== undefined) {
    const add = bias.data as Float32Array;
    for (let i = 0; i < out.length; i++) out[i]! += add[i % channels]!;
  }
  activateInPlace(out, activation, alpha);
  return y;
}

function fusedRow(op: string, kernel: string, isDepthwise: boolean): OpRow {
  const run = (x: Tensor, filter: Tensor, bias: Tensor | undefined, attrs: ConvAttrs, fused: Fused) => {
    const weights = isDepthwise ? depthwiseFilter(filter, x.shape.at(-1) ?? 0) : filter;
    return finish(convolve(x, weights, attrs), bias, fused);
  };
  return {
    op,
    host: (node) => {
      const attrs = readAttrs(node, 2);
      const fused = readFused(node);
      return ([x, filter, bias]) => run(x!, filter!, bias, attrs, fused);
    },
    device: {
      anyDType: true,
      heavy: true,
      work: ([x, filter]) => macs(x!.shape, filter!.shape),
      build: (node) => {
        const attrs = readAttrs(node, 2);
        const fused = readFused(node);
        if (!onWasm.has(fused.activation)) return undefined;
        const given = {
          strides: attrs.strides,
          dilations: attrs.dilations,
          dataFormat: "NHWC",
          activation: fused.activation,
          leakyreluAlpha: fused.alpha,
        };
        return (inputs, device) => {
          const [x, filter] = [inputs.shape(0), inputs.shape(1)];
          const bias = inputs.count > 2 ? inputs.device(2) : undefined;
          const [h, w, c, multiplier] = filter as [number, number, number, number];
          const fits = filter.length === 4 && x.length === 4 && c === x[3];
          const full = isDepthwise ? [h, w, 1, c * multiplier] : filter;
          // 群の畳み込み、空の出力、形の誤りはホストで。
          const shape = fits ? geometry(x, full, attrs) : undefined;
          if (shape === undefined || isEmpty(shape, 2) || (bias && bias.shape[0] !== full[3])) {
            const host = inputs.count > 2 ? inputs.host(2) : undefined;
            return run(inputs.host(0), inputs.host(1), host, attrs, fused);
          }
          const pad = devicePadding(attrs.padding, shape.axes.slice(1));
          return device.call(
            kernel,
            { x: inputs.device(0), filter: inputs.device(1), bias },
            { ...given, pad },
          );
        };
      },
    },
  };
}

/** 入力の形。バッチと空間だけの指定(チャンネル抜き)も許す。 */
function inputSizes(sizes: readonly number[], filter: Shape, dy: Shape, rank: number): number[] {
  if (sizes.length === rank) return [dy[0]!, ...sizes, filter.at(-2)!];
  return [...sizes];
}

function backpropInput(node: OpNode, rank: 2 | 3): HostKernel {
  const attrs = readAttrs(node, rank);
  return ([sizes, filter, dy]) =>
    convolveBack(inputSizes(toNumbers(sizes!), filter!.shape, dy!.shape, rank), filter!, dy!, attrs);
}

const conv2DBackpropInput: OpRow = {
  op: "Conv2DBackpropInput",
  host: (node) => backpropInput(node, 2),
  device: {
    hostInputs: [0],
    heavy: true,
    work: ([, filter, dy]) => macs(dy!.shape, filter!.shape),
    build: (node) => {
      const attrs = readAttrs(node, 2);
      if (attrs.dilations.some((dilation) => dilation !== 1)) return undefined;
      return (inputs, device) => {
        const [filter, dy] = [inputs.shape(1), inputs.shape(2)];
        const inputShape = inputSizes(toNumbers(inputs.host(0)), filter, dy, 2);
        const shape = geometry(inputShape, filter, attrs);
        const matches = formatShape(outputShape(shape, 2)) === formatShape(dy);
        if (!matches || isEmpty(shape, 2) || shape.inDepth !== shape.filterDepth) {
          return convolveBack(inputShape, inputs.host(1), inputs.host(2), attrs);
        }
        return device.call(
          "Conv2DBackpropInput",
          { dy: inputs.device(2), filter: inputs.device(1) },
          {
            strides: attrs.strides,
            pad: devicePadding(attrs.padding, shape.axes.slice(1)),
            dataFormat: "NHWC",
            inputShape,
          },
        );
      };
    },
  },
};

/** 形態学の膨張。窓の中の「入力 + フィルタ」の最大。 */
const dilation2D: OpRow = {
  op: "Dilation2D",
  host: (node) => {
    const strides = spatialAttr(node, "strides", 2);
    const dilations = spatialAttr(node, "rates", 2);
    const padding = readPadding(node, 2);
    return ([x, filter]) => {
      if (x!.shape.length !== 4 || filter!.shape.length !== 3 || x!.shape[3] !== filter!.shape[2]) {
        throw invalidArgument(
          `input and filter must have the same depth: ${formatShape(x!.shape)} vs ${formatShape(filter!.shape)}`,
        );
      }
      const depth = x!.shape[3]!;
      const shape = geometry(x!.shape, [...filter!.shape, depth], { rank: 2, strides, dilations, padding });
      const outShape = outputShape(shape, 2);
      const data = newData(x!.dtype, outShape);
      const out = data as Float64Array;
      out.fill(lowest(x!.dtype) as number);
      const image = x!.data as Float64Array;
      const weights = filter!.data as Float64Array;
      // 和は要素の型で折り返してから比べる。
      const sum = newData(x!.dtype, [1]) as Float64Array;
      eachTap(shape, (inAt, filterAt, outAt) => {
        for (let c = 0; c < depth; c++) {
          sum[0] = image[inAt * depth + c]! + weights[filterAt * depth + c]!;
          if (sum[0]! > out[outAt * depth + c]!) out[outAt * depth + c] = sum[0]!;
        }
      });
      roundTo(x!.dtype, data);
      return makeTensor(x!.dtype, outShape, data);
    };
  },
};

export const convOps: readonly OpRow[] = [
  convRow("Conv2D", 2),
  convRow("Conv3D", 3),
  depthwise,
  fusedRow("_Conv", "FusedConv2D", false),
  fusedRow("_DepthwiseConv", "FusedDepthwiseConv2D", true),
  conv2DBackpropInput,
  { op: "Conv3DBackpropInputV2", host: (node) => backpropInput(node, 3) },
  dilation2D,
];
