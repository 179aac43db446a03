import { invalidArgument } from "../../base/status.ts";
import { type Shape, sizeOf, type Tensor } from "../../tensor/tensor.ts";
import type { Value } from "../value.ts";
import { numbersOf } from "./elementwise.ts";
import { formatShape, makeTensor, newData, roundTo } from "./kernel_util.ts";
import { requireChannelsLast } from "./layout.ts";
import type { HostKernel, OpNode, OpRow } from "./registry.ts";
import { broadcastTo } from "./shape.ts";

/** 末尾の軸ごとの正規化した指数。 */
function softmax(x: Tensor, log: boolean): Tensor {
  checkLogits(x.shape);
  const classes = x.shape.at(-1)!;
  const data = newData(x.dtype, x.shape);
  const out = data as Float64Array;
  const from = numbersOf(x);
  const powers = new Float64Array(classes);
  for (let at = 0; at < from.length; at += classes) {
    let high = Number.NEGATIVE_INFINITY;
    for (let c = 0; c < classes; c++) high = Math.max(high, from[at + c]!);
    let sum = 0;
    for (let c = 0; c < classes; c++) {
      const power = Math.exp(from[at + c]! - high);
      powers[c] = power;
      sum += power;
    }
    if (log) {
      const logSum = Math.log(sum);
      for (let c = 0; c < classes; c++) out[at + c] = from[at + c]! - high - logSum;
    } else for (let c = 0; c < classes; c++) out[at + c] = powers[c]! / sum;
  }
  roundTo(x.dtype, data);
  return makeTensor(x.dtype, x.shape, data);
}

function checkLogits(shape: Shape): void {
  if (shape.length < 1) throw invalidArgument(`logits must have >= 1 dimension, got ${formatShape(shape)}`);
}

const expensive = (inputs: readonly Value[]): number => sizeOf(inputs[0]!.shape) * 8;

const softmaxRow: OpRow = {
  op: "Softmax",
  host:
    () =>
    ([x]) =>
      softmax(x!, false),
  device: {
    work: expensive,
    build: () => (inputs, device) => {
      checkLogits(inputs.shape(0));
      return device.call("Softmax", { logits: inputs.device(0) }, { dim: inputs.shape(0).length - 1 });
    },
  },
};

const logSoftmaxRow: OpRow = {
  op: "LogSoftmax",
  host:
    () =>
    ([x]) =>
      softmax(x!, true),
  device: {
    work: expensive,
    build: () => (inputs, device) => {
      const shape = inputs.shape(0);
      checkLogits(shape);
      if (sizeOf(shape) === 0) return device.reshape(inputs.device(0), shape);
      const last = [shape.length - 1];
      const x = inputs.device(0);
      const high = device.call("Max", { x }, { reductionIndices: last, keepDims: true });
      const shifted = device.call("Sub", { a: x, b: high });
      const sum = device.call(
        "Sum",
        { x: device.call("Exp", { x: shifted }) },
        { axis: last, keepDims: true },
      );
      return device.call("Sub", { a: shifted, b: device.call("Log", { x: sum }) });
    },
  },
};

/** 正規化のまとめ。平均と分散は float(half の入力でも)。 */
function fusedBatchNorm(node: OpNode): HostKernel {
  requireChannelsLast(node, node.attrs.string("data_format") === "NDHWC" ? "NDHWC" : "NHWC");
  const epsilon = node.attrs.float("epsilon");
  const training = node.attrs.bool("is_training");
  const factor = node.attrs.has("exponential_avg_factor") ? node.attrs.float("exponential_avg_factor") : 1;
  const outputs = node.op === "FusedBatchNormV3" ? 6 : 5;
  return ([x, scale, offset, mean, variance]) => {
    const channels = x!.shape.at(-1)!;
    checkChannels(x!.shape, [scale!, offset!], ["scale", "offset"]);
    if (!training) checkChannels(x!.shape, [mean!, variance!], ["estimated_mean", "estimated_variance"]);
    const from = numbersOf(x!);
    const rows = from.length / channels;
    const used = training
      ? batchMoments(from, channels)
      : { mean: numbersOf(mean!), variance: numbersOf(variance!) };
    const data = newData(x!.dtype, x!.shape);
    const out = data as Float64Array;
    const [s, o] = [numbersOf(scale!), numbersOf(offset!)];
    for (let c = 0; c < channels; c++) {
      const gain = s[c]! / Math.sqrt(used.variance[c]! + epsilon);
      const center = used.mean[c]!;
      const base = o[c]!;
      for (let at = c; at < from.length; at += channels) out[at] = (from[at]! - center) * gain + base;
    }
    roundTo(x!.dtype, data);
    const y = makeTensor(x!.dtype, x!.shape, data);
    const reserved = makeTensor(scale!.dtype, [0], newData(scale!.dtype, [0]));
    if (!training) return [y, mean!, variance!, mean!, variance!, reserved].slice(0, outputs);
    // 動かす平均へ渡す分散は不偏のもの。
    const unbiased = used.variance.map((v: number) => (rows > 1 ? (v * rows) / (rows - 1) : v));
    const moving = (batch: ArrayLike<number>, before: Tensor): Tensor => {
      const values = newData(scale!.dtype, [channels]) as Float64Array;
      for (let c = 0; c < channels; c++) {
        values[c] = factor === 1 ? batch[c]! : (1 - factor) * Number(before.data[c]) + factor * batch[c]!;
      }
      return makeTensor(scale!.dtype, [channels], values as Tensor["data"]);
    };
    const kept = (values: ArrayLike<number>): Tensor => {
      const out = newData(scale!.dtype, [channels]) as Float64Array;
      out.set(values);
      return makeTensor(scale!.dtype, [channels], out as Tensor["data"]);
    };
    return [
      y,
      moving(used.mean, mean!),
      moving(unbiased, variance!),
      kept(used.mean),
      kept(used.variance),
      reserved,
    ].slice(0, outputs);
  };
}

function checkChannels(x: Shape, params: readonly Tensor[], names: readonly string[]): void {
  if (x.length !== 4 && x.length !== 5) throw invalidArgument(`input must be 4-dimensional${formatShape(x)}`);
  for (const [i, param] of params.entries()) {
    if (param.shape.length !== 1) {
      throw invalidArgument(`${names[i]} must be 1-dimensional${formatShape(param.shape)}`);
    }
    if (param.shape[0] !== x.at(-1)) {
      throw invalidArgument(
        `${names[i]} must have the same number of elements as the channels of x, got ${param.shape[0]} and ${x.at(-1)}`,
      );
    }
  }
}

function batchMoments(
  from: ArrayLike<number>,
  channels: number,
): { mean: Float64Array; variance: Float64Array } {
  const mean = new Float64Array(channels);
  const variance = new Float64Array(channels);
  const rows = from.length / channels;
  for (let i = 0; i < from.length; i++) mean[i % channels]! += from[i]! / rows;
  for (let i = 0; i < from.length; i++)
    variance[i % channels]! += (from[i]! - mean[i % channels]!) ** 2 / rows;
  return { mean, variance };
}

function fusedBatchNormRow(op: string): OpRow {
  return {
    op,
    host: fusedBatchNorm,
    device: {
      hostInputs: [1, 2, 3, 4],
      build: (node) => {
        if (node.attrs.bool("is_training") || node.inputTypes[0] !== "float") return undefined;
        requireChannelsLast(node, node.attrs.string("data_format") === "NDHWC" ? "NDHWC" : "NHWC");
        const epsilon = node.attrs.float("epsilon");
        const outputs = op === "FusedBatchNormV3" ? 6 : 5;
        return (inputs, device) => {
          const [scale, offset, mean, variance] = [1, 2, 3, 4].map((i) => inputs.host(i)) as [
            Tensor,
            Tensor,
            Tensor,
            Tensor,
          ];
          checkChannels(
            inputs.shape(0),
            [scale, offset, mean, variance],
            ["scale", "offset", "estimated_mean", "estimated_variance"],
          );
          // 4 本の列を「掛ける列」と「足す列」にたたむ。倍精度でたたむので誤差は増えない。
          const channels = scale.shape[0]!;
          const gain = new Float32Array(channels);
          const shift = new Float32Array(channels);
          for (let c = 0; c < channels; c++) {
            const g = Number(scale.data[c]) / Math.sqrt(Number(variance.data[c]) + epsilon);
            gain[c] = g;
            shift[c] = Number(offset.data[c]) - Number(mean.data[c]) * g;
          }
          const scaled = device.call("Multiply", {
            a: inputs.device(0),
            b: device.upload(makeTensor("float", [channels], gain)),
          });
          const y = device.call("Add", {
            a: scaled,
            b: device.upload(makeTensor("float", [channels], shift)),
          });
          const reserved = makeTensor("float", [0], new Float32Array(0));
          return [y, mean, variance, mean, variance, reserved].slice(0, outputs);
        };
      },
    },
  };
}

/** 近くのチャンネルの 2 乗和で割る。 */
const localResponse: OpRow = {
  op: "LRN",
  host: (node) => {
    const radius = node.attrs.int("depth_radius");
    const bias = node.attrs.float("bias");
    const alpha = node.attrs.float("alpha");
    const beta = node.attrs.float("beta");
    return ([x]) => {
      if (x!.shape.length !== 4) throw invalidArgument("in must be 4-dimensional");
      const depth = x!.shape[3]!;
      const from = numbersOf(x!);
      const data = newData(x!.dtype, x!.shape);
      const out = data as Float64Array;
      for (let at = 0; at < from.length; at += depth) {
        for (let c = 0; c < depth; c++) {
          let sum = 0;
          const end = Math.min(depth - 1, c + radius);
          for (let i = Math.max(0, c - radius); i <= end; i++) sum += from[at + i]! ** 2;
          out[at + c] = from[at + c]! * (bias + alpha * sum) ** -beta;
        }
      }
      roundTo(x!.dtype, data);
      return makeTensor(x!.dtype, x!.shape, data);
    };
  },
};

/** 交差エントロピーと、その勾配。 */
const crossEntropy: HostKernel = ([features, labels]) => {
  const shape = features!.shape.map((dim, i) => Math.max(dim, labels!.shape[i] ?? 1));
  if (shape.length !== 2) {
    throw invalidArgument(
      "logits and labels must be either 2-dimensional, or broadcasted to be 2-dimensional",
    );
  }
  const logits = broadcastTo(features!, shape);
  const targets = numbersOf(broadcastTo(labels!, shape));
  const { dtype } = features!;
  const [rows, classes] = shape as [number, number];
  const logged = numbersOf(softmax(logits, true));
  const loss = newData(dtype, [rows]) as Float64Array;
  const gradient = newData(dtype, shape) as Float64Array;
  for (let i = 0; i < logged.length; i++) {
    loss[Math.floor(i / classes)]! -= targets[i]! * logged[i]!;
    gradient[i] = Math.exp(logged[i]!) - targets[i]!;
  }
  return [
    makeTensor(dtype, [rows], loss as Tensor["data"]),
    makeTensor(dtype, shape, gradient as Tensor["data"]),
  ];
};

const sparseCrossEntropy: HostKernel = ([features, labels]) => {
  const { shape, dtype } = features!;
  if (shape.length !== 2) throw invalidArgument(`logits must be 2-D, but got shape ${formatShape(shape)}`);
  const [rows, classes] = shape as [number, number];
  if (labels!.shape.length !== 1 || labels!.shape[0] !== rows) {
    throw invalidArgument(
      `logits and labels must have the same first dimension, got logits shape ${formatShape(shape)} and labels shape ${formatShape(labels!.shape)}`,
    );
  }
  const logged = numbersOf(softmax(features!, true));
  const loss = newData(dtype, [rows]) as Float64Array;
  const gradient = newData(dtype, shape) as Float64Array;
  for (let row = 0; row < rows; row++) {
    const label = Number(labels!.data[row]);
    if (label < 0 || label >= classes) {
      throw invalidArgument(
        `Received a label value of ${label} which is outside the valid range of [0, ${classes}).  Label values: ${Array.from(labels!.data as ArrayLike<number>).join(" ")}`,
      );
    }
    loss[row] = -logged[row * classes + label]!;
    for (let c = 0; c < classes; c++) {
      gradient[row * classes + c] = Math.exp(logged[row * classes + c]!) - (c === label ? 1 : 0);
    }
  }
  return [
    makeTensor(dtype, [rows], loss as Tensor["data"]),
    makeTensor(dtype, shape, gradient as Tensor["data"]),
  ];
};

export const normalizeOps: readonly OpRow[] = [
  softmaxRow,
  logSoftmaxRow,
  fusedBatchNormRow("FusedBatchNorm"),
  fusedBatchNormRow("FusedBatchNormV2"),
  fusedBatchNormRow("FusedBatchNormV3"),
  localResponse,
  { op: "SoftmaxCrossEntropyWithLogits", host: () => crossEntropy },
  { op: "SparseSoftmaxCrossEntropyWithLogits", host: () => sparseCrossEntropy },
];
