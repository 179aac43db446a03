import { invalidArgument } from "../../base/status.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { numbersOf } from "./elementwise.ts";
import { formatShape, makeTensor, newData, roundTo, toNumber } from "./kernel_util.ts";
import type { HostKernel, OpNode, OpRow } from "./registry.ts";
import { intTensor } from "./shape.ts";

/**
 * 重なる箱の間引き。
 *
 * @see tensorflow/core/kernels/image/non_max_suppression_op.cc
 */
interface Options {
  readonly limit: number;
  readonly overlap: number;
  readonly minScore: number;
  /** 0 なら切り捨て、正なら得点を減らす(Soft-NMS)。 */
  readonly softSigma: number;
}

interface Chosen {
  readonly indices: number[];
  readonly scores: number[];
}

interface Candidate {
  readonly index: number;
  score: number;
  /** ここより前に選ばれた箱とはもう比べた。 */
  compared: number;
}

/** 得点の高い順、同じなら番号の小さい順。 */
const before = (a: Candidate, b: Candidate): boolean =>
  a.score > b.score || (a.score === b.score && a.index < b.index);

function suppress(
  scores: ArrayLike<number>,
  similarity: (i: number, j: number) => number,
  options: Options,
): Chosen {
  const { limit, overlap, minScore, softSigma } = options;
  const queue: Candidate[] = [];
  for (let index = 0; index < scores.length; index++) {
    if (scores[index]! > minScore) queue.push({ index, score: scores[index]!, compared: 0 });
  }
  queue.sort((a, b) => (before(a, b) ? -1 : 1));
  const soft = softSigma > 0;
  const scale = soft ? -0.5 / softSigma : 0;
  const chosen: Chosen = { indices: [], scores: [] };
  while (chosen.indices.length < limit && queue.length > 0) {
    const next = queue.shift()!;
    const original = next.score;
    let rejected = false;
    for (let j = chosen.indices.length - 1; j >= next.compared; j--) {
      const similar = similarity(next.index, chosen.indices[j]!);
      if (!soft && similar > overlap) {
        rejected = true;
        break;
      }
      next.score = Math.fround(next.score * Math.exp(scale * similar * similar));
      if (next.score <= minScore) break;
    }
    next.compared = chosen.indices.length;
    if (rejected) continue;
    if (next.score === original) {
      chosen.indices.push(next.index);
      chosen.scores.push(next.score);
    } else if (next.score > minScore) {
      // 得点が下がったので、並びの中の新しい位置に戻す。
      const at = queue.findIndex((other) => before(next, other));
      if (at < 0) queue.push(next);
      else queue.splice(at, 0, next);
    }
  }
  return chosen;
}

/** 2 つの箱 [y1, x1, y2, x2] の重なりの割合。角の順は問わない。 */
function intersectionOverUnion(boxes: ArrayLike<number>, i: number, j: number): number {
  const edges = (at: number) => {
    const [y1, x1, y2, x2] = [boxes[at]!, boxes[at + 1]!, boxes[at + 2]!, boxes[at + 3]!];
    return [Math.min(y1, y2), Math.min(x1, x2), Math.max(y1, y2), Math.max(x1, x2)] as const;
  };
  const [top1, left1, bottom1, right1] = edges(i);
  const [top2, left2, bottom2, right2] = edges(j);
  const area1 = (bottom1 - top1) * (right1 - left1);
  const area2 = (bottom2 - top2) * (right2 - left2);
  if (area1 <= 0 || area2 <= 0) return 0;
  const height = Math.max(Math.min(bottom1, bottom2) - Math.max(top1, top2), 0);
  const width = Math.max(Math.min(right1, right2) - Math.max(left1, left2), 0);
  return Math.fround((height * width) / (area1 + area2 - height * width));
}

function checkBoxes(boxes: Tensor, scores: Tensor): void {
  if (boxes.shape.length !== 2 || boxes.shape[1] !== 4) {
    throw invalidArgument(`boxes must be a matrix with 4 columns${formatShape(boxes.shape)}`);
  }
  if (scores.shape.length !== 1 || scores.shape[0] !== boxes.shape[0]) {
    throw invalidArgument(`scores has incompatible shape${formatShape(scores.shape)}`);
  }
}

function checkOverlap(value: number): number {
  if (!(value >= 0 && value <= 1)) throw invalidArgument("iou_threshold must be in [0, 1]");
  return value;
}

/** 版ごとの入力の並びの違い。 */
interface Version {
  readonly options: (inputs: readonly Tensor[], node: OpNode) => Options;
  readonly outputs: (chosen: Chosen, limit: number, scores: Tensor, node: OpNode) => Tensor | Tensor[];
}

const indicesOnly = (chosen: Chosen): Tensor => intTensor("int32", [chosen.indices.length], chosen.indices);

/** 足りない分を 0 で埋める。 */
function padded(values: readonly number[], limit: number, node: OpNode): number[] {
  if (!node.attrs.bool("pad_to_max_output_size")) return [...values];
  return [...values, ...new Array<number>(Math.max(0, limit - values.length)).fill(0)];
}

const readOptions = (inputs: readonly Tensor[], sigma?: Tensor): Options => ({
  limit: Math.max(0, toNumber(inputs[2]!)),
  overlap: checkOverlap(toNumber(inputs[3]!)),
  minScore: inputs[4] === undefined ? Number.NEGATIVE_INFINITY : toNumber(inputs[4]),
  softSigma: sigma === undefined ? 0 : toNumber(sigma),
});

const versions: Record<string, Version> = {
  NonMaxSuppression: {
    options: ([, , limit], node) => ({
      limit: Math.max(0, toNumber(limit!)),
      overlap: checkOverlap(node.attrs.float("iou_threshold")),
      minScore: Number.NEGATIVE_INFINITY,
      softSigma: 0,
    }),
    outputs: indicesOnly,
  },
  NonMaxSuppressionV2: { options: (inputs) => readOptions(inputs), outputs: indicesOnly },
  NonMaxSuppressionV3: { options: (inputs) => readOptions(inputs), outputs: indicesOnly },
  NonMaxSuppressionV4: {
    options: (inputs) => readOptions(inputs),
    outputs: ({ indices }, limit, _, node) => {
      const out = padded(indices, limit, node);
      return [intTensor("int32", [out.length], out), intTensor("int32", [], [indices.length])];
    },
  },
  NonMaxSuppressionV5: {
    options: (inputs) => readOptions(inputs, inputs[5]),
    outputs: ({ indices, scores }, limit, given, node) => {
      const out = padded(indices, limit, node);
      const values = padded(scores, limit, node);
      const data = newData(given.dtype, [values.length]);
      (data as Float64Array).set(values);
      roundTo(given.dtype, data);
      return [
        intTensor("int32", [out.length], out),
        makeTensor(given.dtype, [values.length], data),
        intTensor("int32", [], [indices.length]),
      ];
    },
  },
};

function suppressionRow(op: string, version: Version): OpRow {
  return {
    op,
    host: (node) => (inputs) => {
      const [boxes, scores] = inputs as [Tensor, Tensor];
      checkBoxes(boxes, scores);
      const options = version.options(inputs, node);
      const corners = numbersOf(boxes);
      const similarity = (i: number, j: number) => intersectionOverUnion(corners, i * 4, j * 4);
      return version.outputs(suppress(numbersOf(scores), similarity, options), options.limit, scores, node);
    },
  };
}

/** 重なりの行列を直に受ける版。 */
const withOverlaps: OpRow = {
  op: "NonMaxSuppressionWithOverlaps",
  host:
    () =>
    ([overlaps, scores, limit, overlap, minScore]) => {
      const count = scores!.shape[0]!;
      const matrix = numbersOf(overlaps!);
      const options = {
        limit: Math.max(0, toNumber(limit!)),
        overlap: toNumber(overlap!),
        minScore: toNumber(minScore!),
        softSigma: 0,
      };
      return indicesOnly(suppress(numbersOf(scores!), (i, j) => matrix[i * count + j]!, options));
    },
};

/** 画像ごと・クラスごとに間引き、得点順にまとめる。 */
function combined(node: OpNode): HostKernel {
  const perClassPadding = node.attrs.bool("pad_per_class");
  const clip = node.attrs.bool("clip_boxes");
  return ([boxes, scores, perClassTensor, totalTensor, overlapTensor, minScoreTensor]) => {
    const [batch, anchors, owners] = boxes!.shape as [number, number, number, number];
    const classes = scores!.shape[2]!;
    if (boxes!.shape.length !== 4 || scores!.shape.length !== 3) {
      throw invalidArgument(`boxes must be 4-D and scores must be 3-D${formatShape(boxes!.shape)}`);
    }
    if (owners !== 1 && owners !== classes) {
      throw invalidArgument(`third dimension of boxes must be either 1 or num classes`);
    }
    const perClass = toNumber(perClassTensor!);
    const total = toNumber(totalTensor!);
    if (perClass <= 0) throw invalidArgument("max_size_per_class must be positive");
    if (total <= 0) throw invalidArgument("max_total_size must be > 0");
    const overlap = checkOverlap(toNumber(overlapTensor!));
    const minScore = toNumber(minScoreTensor!);
    const width = perClassPadding ? Math.min(total, perClass * classes) : total;
    const corners = numbersOf(boxes!);
    const values = numbersOf(scores!);
    const outBoxes = newData("float", [batch, width, 4]);
    const outScores = newData("float", [batch, width]);
    const outClasses = newData("float", [batch, width]);
    const valid: number[] = [];
    for (let b = 0; b < batch; b++) {
      const found: { at: number; score: number; kind: number }[] = [];
      for (let kind = 0; kind < classes; kind++) {
        const own = Float32Array.from(
          { length: anchors },
          (_, i) => values[(b * anchors + i) * classes + kind]!,
        );
        const boxAt = (i: number) => ((b * anchors + i) * owners + (owners === 1 ? 0 : kind)) * 4;
        const chosen = suppress(own, (i, j) => intersectionOverUnion(corners, boxAt(i), boxAt(j)), {
          limit: perClass,
          overlap,
          minScore,
          softSigma: 0,
        });
        for (const [n, index] of chosen.indices.entries()) {
          found.push({ at: boxAt(index), score: chosen.scores[n]!, kind });
        }
      }
      found.sort((p, q) => q.score - p.score);
      const kept = found.slice(0, width);
      for (const [n, { at, score, kind }] of kept.entries()) {
        for (let e = 0; e < 4; e++) {
          const edge = corners[at + e]!;
          outBoxes[(b * width + n) * 4 + e] = clip ? Math.min(Math.max(edge, 0), 1) : edge;
        }
        outScores[b * width + n] = score;
        outClasses[b * width + n] = kind;
      }
      valid.push(kept.length);
    }
    return [
      makeTensor("float", [batch, width, 4], outBoxes),
      makeTensor("float", [batch, width], outScores),
      makeTensor("float", [batch, width], outClasses),
      intTensor("int32", [batch], valid),
    ];
  };
}

export const nonMaxSuppressionOps: readonly OpRow[] = [
  ...Object.entries(versions).map(([op, version]) => suppressionRow(op, version)),
  withOverlaps,
  { op: "CombinedNonMaxSuppression", host: combined },
];
