import { paddingOf, readPadding, windowAxis } from "../ops/window.ts";
import type { PlanNode } from "../plan_node.ts";
import {
  axisFrom,
  broadcast,
  type Fact,
  fromEnd,
  numbersOf,
  placed,
  type RowRule,
  type RowsFact,
  rowAxisOf,
  rowsOf,
  sameShape,
  sizesOf,
  stretch,
} from "./fact.ts";
import { shapeRules } from "./shape_rules.ts";
import {
  isKnown,
  isNumber,
  isSame,
  known,
  ONE,
  over,
  product,
  type Size,
  times,
  unknownSize,
} from "./size.ts";

/** 値まで追う列の長さ。 */
const MAX_VALUES = 64;

/** 要素ごとの演算。行の軸が、末尾から数えて同じ所に揃っているときだけ。 */
const elementwise = (_: PlanNode, inputs: readonly Fact[]): Fact | undefined => {
  const shapes = inputs.map(({ shape }) => shape).filter((shape) => shape !== undefined);
  if (shapes.length !== inputs.length) return undefined;
  const shape = broadcast(shapes);
  const first = inputs.find((fact) => fact.kind === "rows");
  if (first === undefined) {
    if (inputs.every(({ kind }) => kind === "free")) return { kind: "free", shape };
    const count = product(shape);
    if (!isKnown(count) || count.factor > MAX_VALUES) return undefined;
    return { kind: "sizes", shape, values: new Array<undefined>(count.factor).fill(undefined) };
  }
  // 行数で割るようなものは、一緒に走る行の数で答えが変わる。
  if (inputs.some(({ kind }) => kind === "sizes")) return undefined;
  const at = first.shape.length - first.axis;
  const isAligned = inputs.every((fact) => {
    const size = fromEnd(fact.shape!, at);
    if (fact.kind === "rows") {
      return fact.shape.length - fact.axis === at && isSame(size!, fromEnd(first.shape, at)!);
    }
    return size === undefined || isNumber(size, 1);
  });
  return isAligned ? rowsOf(shape, shape.length - at) : undefined;
};

/** 形の計算に使う四則。 */
const arithmetic =
  (apply: (a: Size, b: Size) => Size | undefined): RowRule =>
  (node, inputs) => {
    const whole = elementwise(node, inputs);
    const [a, b] = inputs as [Fact, Fact];
    if (whole === undefined || whole.kind === "rows" || a.kind === "rows" || b.kind === "rows") return whole;
    const [left, right] = [a.values, b.values];
    if (whole.shape === undefined || left === undefined || right === undefined) return whole;
    if (left.length !== right.length && left.length !== 1 && right.length !== 1) return whole;
    const values = Array.from({ length: Math.max(left.length, right.length) }, (_, i) => {
      const [x, y] = [left[left.length === 1 ? 0 : i], right[right.length === 1 ? 0 : i]];
      return x === undefined || y === undefined ? undefined : apply(x, y);
    });
    return { kind: "sizes", shape: whole.shape, values };
  };

const numbersOnly =
  (apply: (a: number, b: number) => number) =>
  (a: Size, b: Size): Size | undefined =>
    isKnown(a) && isKnown(b) ? known(apply(a.factor, b.factor)) : undefined;

/** 形も値もそのまま。 */
const same: RowRule = (_, [x]) => x;

/** 行の軸を避けて軸をたたむ。 */
const reduction: RowRule = ({ attrs, op }, [x, axes]) => {
  if (x?.shape === undefined) return undefined;
  const rank = x.shape.length;
  const gone = numbersOf(axes)?.map((axis) => axisFrom(axis, rank));
  if (gone === undefined || gone.includes(undefined)) return undefined;
  const keeps = op !== "ArgMax" && op !== "ArgMin" && attrs.bool("keep_dims");
  // 形の要素の積(tf.reduce_prod(tf.shape(x)))。
  const factors = op === "Prod" && !keeps && rank === 1 && gone.length === 1 ? sizesOf(x) : undefined;
  if (factors !== undefined) return { kind: "sizes", shape: [], values: [product(factors)] };
  const axis = rowAxisOf(x);
  if (x.kind === "sizes" || gone.includes(axis)) return undefined;
  const shape = keeps
    ? x.shape.map((size, i) => (gone.includes(i) ? ONE : size))
    : x.shape.filter((_, i) => !gone.includes(i));
  const before = keeps ? 0 : gone.filter((one) => one! < axis).length;
  return placed(shape, axis < 0 ? -1 : axis - before);
};

/** 末尾の軸に沿うもの。 */
const alongLast: RowRule = (_, [x]) =>
  x?.kind === "rows" ? (x.axis < x.shape.length - 1 ? x : undefined) : sameShape(x);

/** 2 番目の入力が言う軸に沿うもの。 */
const alongAxis: RowRule = (_, [x, axis]) => {
  if (x?.kind !== "rows") return axis?.kind === "free" ? sameShape(x) : undefined;
  const axes = numbersOf(axis)?.map((one) => axisFrom(one, x.shape.length));
  return axes === undefined || axes.includes(undefined) || axes.includes(x.axis) ? undefined : x;
};

const matMul: RowRule = ({ attrs }, [a, b]) => {
  if (a?.shape?.length !== 2 || b?.shape?.length !== 2) return undefined;
  const [transposeA, transposeB] = [attrs.bool("transpose_a"), attrs.bool("transpose_b")];
  const shape = [a.shape[transposeA ? 1 : 0]!, b.shape[transposeB ? 0 : 1]!];
  if (a.kind === "rows" && b.kind === "free" && a.axis === Number(transposeA)) return rowsOf(shape, 0);
  if (a.kind === "free" && b.kind === "rows" && b.axis === Number(!transposeB)) return rowsOf(shape, 1);
  return undefined;
};

/** 積の中で行の軸が占める所。末尾から数えた出力の軸で、足し込まれるなら −1、行が無ければ undefined。 */
function placeInProduct(fact: Fact, isLeft: boolean, adjoint: boolean): number | undefined {
  if (fact.kind !== "rows") return undefined;
  const at = fact.shape.length - fact.axis;
  if (at > 2) return at;
  if (at !== (isLeft !== adjoint ? 2 : 1)) return -1;
  return isLeft ? 2 : 1;
}

const batchMatMul: RowRule = ({ attrs }, [a, b]) => {
  if (a?.shape === undefined || b?.shape === undefined) return undefined;
  if (a.shape.length < 2 || b.shape.length < 2 || a.kind === "sizes" || b.kind === "sizes") return undefined;
  const [adjX, adjY] = [attrs.bool("adj_x"), attrs.bool("adj_y")];
  const batch = broadcast([a.shape.slice(0, -2), b.shape.slice(0, -2)]);
  const shape = [...batch, fromEnd(a.shape, adjX ? 1 : 2)!, fromEnd(b.shape, adjY ? 2 : 1)!];
  const [left, right] = [placeInProduct(a, true, adjX), placeInProduct(b, false, adjY)];
  const at = left ?? right;
  if (at === undefined) return { kind: "free", shape };
  if (at < 0 || right === -1 || (left !== undefined && right !== undefined && left !== right))
    return undefined;
  if (at > 2) {
    // 行の軸は、もう片方では同じ行の軸か、1 か、無いか。
    const fits = [a, b].every((fact) => {
      const size = fromEnd(fact.shape!, at);
      return fact.kind === "rows" || size === undefined || isNumber(size, 1);
    });
    if (!fits) return undefined;
  } else if (left !== undefined && right !== undefined) return undefined;
  return rowsOf(shape, shape.length - at);
};

/** 軸の名前。省略記号の軸は、末尾から数えて名付ける。 */
function spell(term: string, rank: number): string[] | undefined {
  const dots = term.indexOf("...");
  if (dots < 0) return term.length === rank ? [...term] : undefined;
  const extra = rank - (term.length - 3);
  if (extra < 0) return undefined;
  const hidden = Array.from({ length: extra }, (_, i) => `…${extra - 1 - i}`);
  return [...term.slice(0, dots), ...hidden, ...term.slice(dots + 3)];
}

const einsum: RowRule = ({ attrs }, inputs) => {
  const [left, right] = attrs.string("equation").replaceAll(" ", "").split("->");
  if (left === undefined || right === undefined) return undefined;
  if (inputs.some(({ kind, shape }) => kind === "sizes" || shape === undefined)) return undefined;
  const labels = left.split(",").map((term, i) => spell(term, inputs[i]?.shape?.length ?? -1));
  if (labels.length !== inputs.length || !labels.every((names) => names !== undefined)) return undefined;
  const hidden = Math.max(...labels.map((names) => names.filter((name) => name.startsWith("…")).length));
  const output = spell(right, right.replace("...", "").length + hidden);
  if (output === undefined) return undefined;
  const sizes = new Map<string, Size>();
  const rowLabels = new Set<string>();
  for (const [i, fact] of inputs.entries()) {
    for (const [axis, name] of labels[i]!.entries())
      sizes.set(name, stretch(sizes.get(name), fact.shape![axis]));
    if (fact.kind === "rows") rowLabels.add(labels[i]![fact.axis]!);
  }
  const shape = output.map((name) => sizes.get(name) ?? ONE);
  if (rowLabels.size === 0) return { kind: "free", shape };
  const [row] = [...rowLabels];
  // 行の名前は 1 つで、行を持つ入力に 1 度ずつだけ現れ、足し込まれない。
  const isSound = inputs.every((fact, i) => {
    const count = labels[i]!.filter((name) => name === row).length;
    return count === (fact.kind === "rows" ? 1 : 0);
  });
  return rowLabels.size === 1 && isSound && output.includes(row!)
    ? rowsOf(shape, output.indexOf(row!))
    : undefined;
};

/** 表引き。値の形は末尾に付く。 */
const lookup: RowRule = (_, [table, keys, fallback]) => {
  if (table?.kind !== "free" || fallback?.kind !== "free" || fallback.shape?.length !== 0) return undefined;
  return keys?.kind === "rows" ? keys : sameShape(keys);
};

/** 古い Select。条件が 1 次元なら先頭の軸に揃う。 */
const select: RowRule = (node, inputs) => {
  const [condition, whenTrue] = inputs as [Fact, Fact, Fact];
  const isLeading = condition.shape?.length === 1 && (whenTrue.shape?.length ?? 0) > 1;
  if (!isLeading) return elementwise(node, inputs);
  if (condition.kind !== "rows" || whenTrue.kind !== "rows" || whenTrue.axis !== 0) return undefined;
  return isSame(condition.shape[0]!, whenTrue.shape[0]!) ? elementwise(node, inputs.slice(1)) : undefined;
};

/** 窓を動かす演算の、空間の軸の大きさ。 */
function windowed(node: PlanNode, x: RowsFact, window: readonly Size[], dilates: boolean): Size[] {
  const rank = x.shape.length - 2;
  const middle = (name: string): number[] => node.attrs.ints(name).slice(1, rank + 1);
  const steps = middle("strides");
  const gaps = dilates ? middle("dilations") : [];
  const padding = readPadding(node, rank);
  return x.shape.slice(1, -1).map((size, i) => {
    const reach = window[i];
    if (!isKnown(size) || reach === undefined || !isKnown(reach)) return unknownSize();
    const axis = windowAxis(size.factor, reach.factor, steps[i]!, gaps[i] ?? 1, paddingOf(padding, i));
    return known(axis.output);
  });
}

/** 行が先頭の軸に、チャンネルが末尾の軸に並ぶ画像(3 次元も)。 */
const isImages = ({ attrs }: PlanNode, x: Fact | undefined): x is RowsFact =>
  x?.kind === "rows" && x.axis === 0 && x.shape.length > 2 && attrs.string("data_format").endsWith("C");

const convolution: RowRule = (node, [x, filter]) => {
  if (!isImages(node, x) || filter?.kind !== "free" || filter.shape?.length !== x.shape.length)
    return undefined;
  const depth = node.op.startsWith("Depthwise") ? product(filter.shape.slice(-2)) : filter.shape.at(-1)!;
  return rowsOf([x.shape[0]!, ...windowed(node, x, filter.shape, true), depth], 0);
};

const pooling: RowRule = (node, [x]) => {
  if (!isImages(node, x)) return undefined;
  const window = node.attrs.ints("ksize").slice(1, -1).map(known);
  return rowsOf([x.shape[0]!, ...windowed(node, x, window, false), x.shape.at(-1)!], 0);
};

const transposedConvolution: RowRule = (node, [dims, filter, x]) => {
  const shape = sizesOf(dims);
  if (!isImages(node, x) || filter?.kind !== "free" || shape?.length !== x.shape.length) return undefined;
  return isSame(shape[0]!, x.shape[0]!) ? rowsOf(shape, 0) : undefined;
};

const batchNorm: RowRule = (node, [x, ...rest]) => {
  if (node.attrs.bool("is_training") || !rest.every(({ kind }) => kind === "free")) return undefined;
  if (x?.kind !== "rows" || x.axis !== 0) return undefined;
  return [x, ...node.outputWires.slice(1).map((): Fact => ({ kind: "free" }))];
};

const biasAdd: RowRule = (_, [x, bias]) =>
  x?.kind === "rows" && x.axis === 0 && bias?.kind === "free" ? x : undefined;

const localNormalization: RowRule = (_, [x]) => (x?.kind === "rows" && x.axis === 0 ? x : undefined);

/** 先頭に行の並ぶ画像の大きさを変える。 */
const resize: RowRule = (_, [images, size]) => {
  if (images?.kind !== "rows" || images.axis !== 0 || images.shape.length !== 4) return undefined;
  if (size?.kind !== "free") return undefined;
  const [height = unknownSize(), width = unknownSize()] = sizesOf(size) ?? [];
  return rowsOf([images.shape[0]!, height, width, images.shape[3]!], 0);
};

const topK: RowRule = (node, [x, k]) => {
  if (x?.kind !== "rows" || x.axis === x.shape.length - 1) return undefined;
  if (k !== undefined && k.kind !== "free") return undefined;
  const count = k === undefined ? known(node.attrs.int("k")) : (sizesOf(k)?.[0] ?? unknownSize());
  const fact = rowsOf(x.shape.with(-1, count), x.axis);
  return [fact, fact];
};

const denseBincount: RowRule = (_, [x, size, weights]) => {
  if (x?.kind !== "rows" || x.axis !== 0 || x.shape.length !== 2 || size?.kind !== "free") return undefined;
  const isWeightless = weights?.shape?.some((dim) => isNumber(dim, 0)) === true;
  const isPaired = weights?.kind === "rows" && weights.axis === 0;
  if (!isWeightless && !isPaired) return undefined;
  return rowsOf([x.shape[0]!, sizesOf(size)?.[0] ?? unknownSize()], 0);
};

const bandPart: RowRule = (_, [x, low, high]) => {
  if (low?.kind !== "free" || high?.kind !== "free") return undefined;
  return x?.kind === "rows" ? (x.axis < x.shape.length - 2 ? x : undefined) : sameShape(x);
};

/** 直列化された Example の列から取り出した、密な特徴。ほかの出力は行ごとに並ばない。 */
const parseExample: RowRule = (node, [serialized, ...rest]) => {
  if (serialized?.kind !== "rows" || serialized.shape.length !== 1) return undefined;
  if (!rest.every(({ kind }) => kind === "free")) return undefined;
  const shapes = node.attrs.shapes("dense_shapes");
  const dense = shapes.map((shape): Fact | undefined => {
    // 長さの決まっていない特徴は、一緒に走る行の最も長いものに揃えられる。
    if (shape === undefined || shape.some((dim) => dim < 0)) return undefined;
    return rowsOf([serialized.shape[0]!, ...shape.map(known)], 0);
  });
  const total = node.outputWires.length;
  const denseAt = node.op === "ParseExample" ? total - shapes.length : node.attrs.int("num_sparse") * 3;
  return Array.from({ length: total }, (_, i) => dense[i - denseAt]);
};

const always = (rule: RowRule, ops: string): [string, RowRule][] =>
  ops
    .split(/\s+/)
    .filter((op) => op !== "")
    .map((op) => [op, rule]);

/**
 * 行の並びを保つと分かっている演算。ここに無い演算を通った値は、行が混ざりうるとみなす。
 */
export const rowRules: ReadonlyMap<string, RowRule> = new Map([
  ...always(
    elementwise,
    `Abs Neg Sign Square Exp Expm1 Log Log1p Sin Cos Tan Asin Acos Atan Sinh Cosh Tanh Asinh Acosh Atanh
     Erf Erfc Erfinv Ndtri Lgamma Digamma Sigmoid Floor Ceil Rint Round Sqrt Rsqrt Reciprocal Inv Softplus Softsign
     Relu Relu6 Elu Selu LeakyRelu Invert Conj Real Imag ComplexAbs Angle IsNan IsInf IsFinite LogicalNot ZerosLike
     OnesLike CheckNumerics PopulationCount Bucketize FakeQuantWithMinMaxArgs
     Div RealDiv DivNoNan MulNoNan TruncateDiv FloorMod TruncateMod Mod Pow SquaredDifference Atan2 Xdivy Xlogy
     Xlog1py BitwiseAnd BitwiseOr BitwiseXor LeftShift RightShift LogicalAnd LogicalOr Equal NotEqual Less LessEqual
     Greater GreaterEqual ApproximateEqual Complex AddN ClipByValue SelectV2
     AsString StringToNumber StringLower StringUpper StringStrip StringLength StringJoin StringToHashBucket
     StringToHashBucketFast StringToHashBucketStrong RegexReplace StaticRegexReplace StaticRegexFullMatch Substr
     EncodeBase64 DecodeBase64`,
  ),
  ...always(same, "Identity StopGradient PreventGradient Snapshot EnsureShape Cast PlaceholderWithDefault"),
  ["Add", arithmetic(numbersOnly((a, b) => a + b))],
  ["AddV2", arithmetic(numbersOnly((a, b) => a + b))],
  ["Sub", arithmetic(numbersOnly((a, b) => a - b))],
  ["Mul", arithmetic(times)],
  ["FloorDiv", arithmetic(over)],
  ["Maximum", arithmetic(numbersOnly(Math.max))],
  ["Minimum", arithmetic(numbersOnly(Math.min))],
  ...always(reduction, "Sum Mean Prod Max Min All Any EuclideanNorm ArgMax ArgMin"),
  ...always(alongLast, "Softmax LogSoftmax FFT IFFT RGBToHSV HSVToRGB"),
  ...always(alongAxis, "Cumsum Cumprod CumulativeLogsumexp ReverseV2"),
  ["MatMul", matMul],
  ...always(batchMatMul, "BatchMatMul BatchMatMulV2 BatchMatMulV3"),
  ["Einsum", einsum],
  ["LookupTableFindV2", lookup],
  ["Select", select],
  ...always(convolution, "Conv2D Conv3D DepthwiseConv2dNative"),
  ...always(pooling, "MaxPool AvgPool MaxPool3D AvgPool3D"),
  ...always(transposedConvolution, "Conv2DBackpropInput Conv3DBackpropInputV2"),
  ...always(batchNorm, "FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3"),
  ...always(biasAdd, "BiasAdd BiasAddV1"),
  ["LRN", localNormalization],
  ...always(resize, "ResizeBilinear ResizeNearestNeighbor ResizeBicubic ResizeArea"),
  ...always(topK, "TopK TopKV2"),
  ["DenseBincount", denseBincount],
  ["MatrixBandPart", bandPart],
  ...always(parseExample, "ParseExample ParseExampleV2"),
  ["Assert", () => []],
  ...shapeRules,
]);
