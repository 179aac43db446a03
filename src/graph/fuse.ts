import { DataType } from "../gen/tensorflow/core/framework/types_pb.ts";
import { sizeOf, tensor } from "../tensor/tensor.ts";
import { type Attr, boolAttr, floatAttr, NodeAttrs, stringAttr } from "./attrs.ts";
import type { Activation } from "./ops/dense_kernel.ts";
import { constantOf, PlanNode, type Wire } from "./plan_node.ts";
import { Value } from "./value.ts";

/** 縮約の演算 → 融合した演算。 */
const fusedOps: Readonly<Record<string, string>> = {
  MatMul: "_Dense",
  Conv2D: "_Conv",
  DepthwiseConv2dNative: "_DepthwiseConv",
};

const activationOps: Readonly<Record<string, Activation>> = {
  Relu: "relu",
  Relu6: "relu6",
  Elu: "elu",
  Sigmoid: "sigmoid",
  LeakyRelu: "leakyrelu",
};

const batchNorms: ReadonlySet<string> = new Set(["FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"]);

/** 縮約と、そこへ吸い込まれたもの。 */
interface Contraction {
  readonly node: PlanNode;
  readonly fused: string;
  readonly bias: Wire | undefined;
  readonly hasActivation: boolean;
}

/** チャネルごとの一次式 `x * scale + shift`。 */
interface Affine {
  readonly scale: Float32Array | undefined;
  readonly shift: Float32Array | undefined;
}

/**
 * 縮約(MatMul, Conv2D, DepthwiseConv2d)に、続く偏り、定数の一次式(BatchNorm を含む)、活性化を吸い込ませる。
 * 重みが定数なら倍率は重みに畳む。float の NHWC だけ。ノードはその場で書き換える。
 *
 * @param order 依存の順。
 * @see tensorflow/core/grappler/optimizers/remapper.cc
 */
export function fuse(order: readonly PlanNode[], fetches: readonly Wire[]): void {
  const uses = countUses(order, fetches);
  for (const node of order) {
    if (node.constants !== undefined) continue;
    if (node.op === "MatMul" && isFloat(node)) straighten(node);
    const operands = operandsOf(node);
    if (operands.length === 0 || !isFloat(node)) continue;
    for (const at of operands) {
      const contraction = contractionAt(node, at, uses);
      if (contraction !== undefined && absorb(node, at, contraction)) break;
    }
  }
}

/** 転置して使う定数の重みを、あらかじめ転置しておく。転置の無い積だけが、ホストでも wasm でも速い道に乗る。 */
function straighten(node: PlanNode): void {
  const weights = constantOf(node.inputs[1]!);
  if (!node.attrs.bool("transpose_b") || weights === undefined || !weights.onHost) return;
  const [columns, inner] = weights.shape;
  if (columns === undefined || inner === undefined || weights.shape.length !== 2) return;
  const from = weights.tensor(undefined).data as Float32Array;
  const to = new Float32Array(from.length);
  for (let j = 0; j < columns; j++) {
    for (let p = 0; p < inner; p++) to[p * columns + j] = from[j * inner + p]!;
  }
  node.inputs[1] = constantWire(node, "transposed", [inner, columns], to);
  node.attrs = node.attrs.extend(node.name, { transpose_b: boolAttr(false) });
}

/** ノード → その出力を使う線の数。 */
export function countUses(order: readonly PlanNode[], fetches: readonly Wire[]): Map<PlanNode, number> {
  const uses = new Map<PlanNode, number>();
  const count = ({ node }: Wire): void => void uses.set(node, (uses.get(node) ?? 0) + 1);
  for (const { inputs, constants } of order) if (constants === undefined) inputs.forEach(count);
  fetches.forEach(count);
  return uses;
}

export function isFloat({ attrs }: PlanNode): boolean {
  return attrs.has("T") && attrs.wireType("T") === DataType.DT_FLOAT;
}

/** 縮約の結果が来うる入力の番号。 */
function operandsOf({ op }: PlanNode): readonly number[] {
  if (op === "AddV2" || op === "Add" || op === "Mul") return [0, 1];
  return op === "BiasAdd" || op === "Sub" || batchNorms.has(op) || op in activationOps ? [0] : [];
}

function contractionAt(
  user: PlanNode,
  at: number,
  uses: ReadonlyMap<PlanNode, number>,
): Contraction | undefined {
  const wire = user.inputs[at];
  if (wire === undefined || wire.index !== 0) return undefined;
  const { node } = wire;
  if (node.constants !== undefined || uses.get(node) !== 1) return undefined;
  const { op, attrs, inputs } = node;
  if (Object.values(fusedOps).includes(op)) {
    const hasActivation = attrs.string("activation") !== "linear";
    return { node, fused: op, bias: inputs[2], hasActivation };
  }
  const fused = fusedOps[op];
  if (fused === undefined || !isFloat(node)) return undefined;
  if (op !== "MatMul" && attrs.string("data_format") !== "NHWC") return undefined;
  return { node, fused, bias: undefined, hasActivation: false };
}

/** `user` を縮約と 1 つにする。できなければ何も変えずに false。 */
function absorb(user: PlanNode, at: number, contraction: Contraction): boolean {
  if (contraction.hasActivation) return false;
  const activation = activationOps[user.op];
  if (activation !== undefined) {
    replace(user, contraction, contraction.bias, undefined, activation);
    return true;
  }
  if (user.op === "BiasAdd" && contraction.bias === undefined) {
    if (user.attrs.string("data_format") !== "NHWC") return false;
    replace(user, contraction, user.inputs[1]!, undefined, "linear");
    return true;
  }
  const channels = channelsOf(contraction);
  if (channels === undefined) return false;
  const affine = affineOf(user, at, channels);
  return affine !== undefined && absorbAffine(user, contraction, affine, channels);
}

/** 出力のチャネル数。重みが定数でなければ分からない。 */
function channelsOf({ node, fused }: Contraction): number | undefined {
  const weights = constantOf(node.inputs[1]!);
  if (weights === undefined || (fused === "_Dense" && node.attrs.bool("transpose_b"))) return undefined;
  const { shape } = weights;
  if (fused === "_DepthwiseConv") return shape.length === 4 ? shape[2]! * shape[3]! : undefined;
  return shape.at(-1);
}

/** 定数の一次式として読む。読めなければ undefined。 */
function affineOf(user: PlanNode, at: number, channels: number): Affine | undefined {
  if (batchNorms.has(user.op)) return batchNormAffine(user, channels);
  const other = user.inputs[user.inputs.length === 2 ? 1 - at : 1];
  const constant = other === undefined ? undefined : channelConstant(other, channels);
  if (constant === undefined) return undefined;
  if (user.op === "Mul") return { scale: constant, shift: undefined };
  return { scale: undefined, shift: user.op === "Sub" ? constant.map((x) => -x) : constant };
}

/** 最後の軸にだけ広がる定数。形を広げてしまうもの(階数の大きいもの)は除く。 */
function channelConstant(wire: Wire, channels: number): Float32Array | undefined {
  const value = constantOf(wire);
  if (value === undefined || value.dtype !== "float" || !value.onHost) return undefined;
  const { shape } = value;
  const size = sizeOf(shape);
  if (shape.length > 2 && shape.length !== 4) return undefined;
  const last = shape.at(-1) ?? 1;
  if (size !== last || (last !== channels && last !== 1)) return undefined;
  const data = value.tensor(undefined).data as Float32Array;
  return last === channels ? data : new Float32Array(channels).fill(data[0]!);
}

function batchNormAffine({ attrs, inputs }: PlanNode, channels: number): Affine | undefined {
  if (attrs.bool("is_training") || attrs.string("data_format") !== "NHWC") return undefined;
  const [scale, offset, mean, variance] = inputs.slice(1).map((wire) => channelConstant(wire, channels));
  if (scale === undefined || offset === undefined || mean === undefined || variance === undefined) {
    return undefined;
  }
  const epsilon = attrs.float("epsilon");
  const factor = scale.map((s, i) => s / Math.sqrt(variance[i]! + epsilon));
  return { scale: factor, shift: offset.map((o, i) => o - mean[i]! * factor[i]!) };
}

function absorbAffine(
  user: PlanNode,
  contraction: Contraction,
  { scale, shift }: Affine,
  channels: number,
): boolean {
  const { node, bias } = contraction;
  const biasValue = bias === undefined ? undefined : constantOf(bias);
  if (bias !== undefined && (biasValue === undefined || biasValue.dtype !== "float" || !biasValue.onHost)) {
    return false;
  }
  const old = biasValue?.tensor(undefined).data as Float32Array | undefined;
  let weights: Wire | undefined;
  if (scale !== undefined) {
    weights = scaleWeights(node, scale);
    if (weights === undefined) return false;
  }
  const merged = new Float32Array(channels);
  for (let c = 0; c < channels; c++) {
    merged[c] = (old?.[c] ?? 0) * (scale?.[c] ?? 1) + (shift?.[c] ?? 0);
  }
  const newBias =
    old === undefined && shift === undefined ? undefined : constantWire(node, "bias", [channels], merged);
  replace(user, contraction, newBias, weights, "linear");
  return true;
}

/** 重みの出力チャネルごとに倍率を掛けた定数。 */
function scaleWeights(node: PlanNode, scale: Float32Array): Wire | undefined {
  const value = constantOf(node.inputs[1]!);
  if (value === undefined || !value.onHost) return undefined;
  const { shape } = value;
  const data = (value.tensor(undefined).data as Float32Array).slice();
  const channels = scale.length;
  // 畳み込みでも深さ方向の畳み込みでも、出力チャネルは末尾の軸(末尾 2 軸)に並ぶ。
  for (let i = 0; i < data.length; i++) data[i]! *= scale[i % channels]!;
  return constantWire(node, "weights", shape, data);
}

function constantWire(near: PlanNode, role: string, shape: readonly number[], data: Float32Array): Wire {
  const name = `${near.name}/${role}`;
  const node = new PlanNode(name, "Const", new NodeAttrs(name, {}, undefined), undefined, []);
  node.constants = [Value.ofTensor(tensor("float", shape, data)).retain()];
  return { node, index: 0 };
}

/** `user` を、縮約と自分を合わせた 1 つの演算に書き換える。 */
function replace(
  user: PlanNode,
  { node, fused }: Contraction,
  bias: Wire | undefined,
  weights: Wire | undefined,
  activation: Activation,
): void {
  const alpha = user.op === "LeakyRelu" ? user.attrs.float("alpha") : 0;
  user.inputs = [node.inputs[0]!, weights ?? node.inputs[1]!];
  if (bias !== undefined) user.inputs.push(bias);
  user.controls.push(...node.controls);
  const added: Record<string, Attr> = {
    activation: stringAttr(activation),
    alpha: floatAttr(alpha),
  };
  user.op = fused;
  user.attrs = node.attrs.extend(user.name, added);
  user.definition = undefined;
}
