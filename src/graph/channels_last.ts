import { DataType } from "../gen/tensorflow/core/framework/types_pb.ts";
import { type Tensor, tensor } from "../tensor/tensor.ts";
import { type AttrMap, intsAttr, NodeAttrs, stringAttr, typeAttr } from "./attrs.ts";
import { findOpDefinition } from "./op_defs.ts";
import { transpose } from "./ops/strided_copy.ts";
import { constantOf, PlanNode, type Wire } from "./plan_node.ts";
import { Value } from "./value.ts";

/** 画像を受け取り、画像を返す演算 → 画像の入力の番号。 */
const imageOps: Readonly<Record<string, number>> = {
  Conv2D: 0,
  Conv3D: 0,
  DepthwiseConv2dNative: 0,
  Conv2DBackpropInput: 2,
  Conv3DBackpropInputV2: 2,
  MaxPool: 0,
  MaxPool3D: 0,
  AvgPool: 0,
  AvgPool3D: 0,
  FusedBatchNorm: 0,
  FusedBatchNormV2: 0,
  FusedBatchNormV3: 0,
};

/** 並べ替えを外へ出せる、要素ごとの演算。 */
const unaryOps: ReadonlySet<string> = new Set(
  "Relu Relu6 LeakyRelu Elu Selu Sigmoid Tanh Softplus Abs Neg Square Sqrt Rsqrt Exp Log Erf".split(" "),
);
const binaryOps: ReadonlySet<string> = new Set("Add AddV2 Sub Mul RealDiv Maximum Minimum AddN".split(" "));

/** チャンネルを末尾に移す順と、戻す順。 */
const toLast = (rank: number): number[] => [0, ...Array.from({ length: rank - 2 }, (_, i) => i + 2), 1];
const toFirst = (rank: number): number[] => [
  0,
  rank - 1,
  ...Array.from({ length: rank - 2 }, (_, i) => i + 1),
];

/** 戻す並べ替えのノード → 並べ替える前の線と階数。 */
type Returns = Map<PlanNode, { readonly inner: Wire; readonly rank: number }>;

/**
 * チャンネルが 2 番目にある画像(NCHW)の演算を、末尾にある演算(NHWC)に直す。前後に並べ替えを挟み、続く演算の
 * 外へ送って、出会った往きと戻りを打ち消す。カーネルは NHWC しか知らない。
 *
 * @param order 依存の順。ノードはその場で書き換わる。
 */
export function channelsLast(order: readonly PlanNode[], fetches: readonly Wire[]): void {
  const later = new Set<PlanNode>();
  for (const { inputs } of order) for (const { node, index } of inputs) if (index > 0) later.add(node);
  for (const { node, index } of fetches) if (index > 0) later.add(node);
  const returns: Returns = new Map();
  const cancelled = new Map<PlanNode, Wire>();
  for (const node of order) {
    if (node.constants !== undefined) continue;
    node.inputs = node.inputs.map((wire) => cancelled.get(wire.node) ?? wire);
    if (later.has(node)) continue;
    if (node.op === "Transpose") {
      const before = cancel(node, returns);
      if (before !== undefined) cancelled.set(node, before);
      continue;
    }
    const image = imageOps[node.op];
    if (image !== undefined && isChannelsFirst(node)) convert(node, image, returns);
    else push(node, returns);
  }
}

/** もともとある並べ替え。戻しなら覚え、戻した直後の往きなら、並べ替える前の線を返す。 */
function cancel(node: PlanNode, returns: Returns): Wire | undefined {
  const [from, permWire] = node.inputs as [Wire, Wire];
  const perm = constantNumbers(permWire);
  if (perm === undefined || perm.length < 4) return undefined;
  const rank = perm.length;
  if (perm.join() === toFirst(rank).join()) returns.set(node, { inner: from, rank });
  const known = from.index === 0 ? returns.get(from.node) : undefined;
  return perm.join() === toLast(rank).join() && known?.rank === rank ? known.inner : undefined;
}

function isChannelsFirst({ attrs }: PlanNode): boolean {
  return attrs.has("data_format") && /^NCD?HW$/.test(attrs.string("data_format"));
}

/** 画像の演算を NHWC にする。 */
function convert(node: PlanNode, image: number, returns: Returns): void {
  const format = node.attrs.string("data_format");
  const rank = format.length;
  const added: Record<string, AttrMap[string]> = { data_format: stringAttr(rank === 4 ? "NHWC" : "NDHWC") };
  const order = toLast(rank);
  for (const name of ["strides", "dilations", "ksize"]) {
    if (!node.attrs.has(name)) continue;
    const values = node.attrs.ints(name);
    if (values.length === rank) added[name] = intsAttr(order.map((axis) => values[axis]!));
  }
  if (node.attrs.has("explicit_paddings")) {
    const edges = node.attrs.ints("explicit_paddings");
    if (edges.length === rank * 2) {
      added["explicit_paddings"] = intsAttr(order.flatMap((axis) => edges.slice(axis * 2, axis * 2 + 2)));
    }
  }
  const inputs = node.inputs.map((wire, i) => (i === image ? last(wire, rank, node, returns) : wire));
  // 出力の大きさを受ける演算では、その並びも直す。
  if (image === 2) inputs[0] = picked(node, inputs[0]!, order);
  wrap(node, inputs, node.attrs.extend(node.name, added), rank, returns);
}

/** 並べ替えを、要素ごとの演算の外へ出す。 */
function push(node: PlanNode, returns: Returns): void {
  const found = node.inputs.map((wire) => (wire.index === 0 ? returns.get(wire.node) : undefined));
  const first = found.find((one) => one !== undefined);
  if (first === undefined) return;
  const { rank } = first;
  if (unaryOps.has(node.op)) {
    wrap(node, [first.inner], node.attrs, rank, returns);
  } else if (node.op === "BiasAdd" && found[0] !== undefined && isChannelsFirst(node)) {
    const attrs = node.attrs.extend(node.name, { data_format: stringAttr("NHWC") });
    wrap(node, [first.inner, node.inputs[1]!], attrs, rank, returns);
  } else if (binaryOps.has(node.op)) {
    const inputs = node.inputs.map((wire, i) => found[i]?.inner ?? broadcastLast(wire, rank));
    if (found.some((one) => one !== undefined && one.rank !== rank)) return;
    if (inputs.every((wire) => wire !== undefined)) wrap(node, inputs, node.attrs, rank, returns);
  } else if (node.op === "ConcatV2") {
    const axis = constantNumbers(node.inputs.at(-1))?.[0];
    const parts = found.slice(0, -1);
    if (axis === undefined || !parts.every((one) => one?.rank === rank)) return;
    const moved = toFirst(rank)[axis < 0 ? axis + rank : axis]!;
    const axisWire = constantWire(node, "axis", tensor("int32", [], Int32Array.of(moved)));
    wrap(node, [...parts.map((one) => one!.inner), axisWire], indexed(node, "Tidx"), rank, returns);
  } else if (node.op === "Pad" || node.op === "PadV2") {
    const edges = constantNumbers(node.inputs[1]);
    if (found[0] === undefined || edges?.length !== rank * 2) return;
    const turned = toLast(rank).flatMap((axis) => edges.slice(axis * 2, axis * 2 + 2));
    const padding = constantWire(node, "paddings", tensor("int32", [rank, 2], Int32Array.from(turned)));
    wrap(node, [first.inner, padding, ...node.inputs.slice(2)], indexed(node, "Tpaddings"), rank, returns);
  } else if (node.op === "Mean" || node.op === "Max" || node.op === "Sum") {
    poolGlobally(node, found[0], returns);
  }
}

/** 空間の軸すべての集約。軸を残さなければ、並べ替えは要らなくなる。 */
function poolGlobally(node: PlanNode, image: ReturnType<Returns["get"]>, returns: Returns): void {
  if (image === undefined) return;
  const { inner, rank } = image;
  const axes = constantNumbers(node.inputs[1])
    ?.map((axis) => (axis < 0 ? axis + rank : axis))
    .sort();
  if (axes?.join() !== Array.from({ length: rank - 2 }, (_, i) => i + 2).join()) return;
  const moved = Int32Array.from(axes, (axis) => axis - 1);
  const inputs = [inner, constantWire(node, "axes", tensor("int32", [rank - 2], moved))];
  const attrs = indexed(node, "Tidx");
  if (node.attrs.bool("keep_dims")) wrap(node, inputs, attrs, rank, returns);
  else {
    node.inputs = inputs;
    node.attrs = attrs;
  }
}

const indexed = (node: PlanNode, attr: string): NodeAttrs =>
  node.attrs.extend(node.name, { [attr]: typeAttr(DataType.DT_INT32) });

/** `node` を「内側の演算 → 戻す並べ替え」にする。`node` は並べ替えになるので、使う側は変わらない。 */
function wrap(
  node: PlanNode,
  inputs: readonly Wire[],
  attrs: NodeAttrs,
  rank: number,
  returns: Returns,
): void {
  const inner = new PlanNode(node.name, node.op, attrs, node.definition, node.callers);
  inner.inputs = [...inputs];
  inner.controls = node.controls;
  const from = { node: inner, index: 0 };
  become(node, from, toFirst(rank), node.attrs.wireType("T"));
  node.controls = [];
  returns.set(node, { inner: from, rank });
}

function become(node: PlanNode, from: Wire, order: readonly number[], type: number): void {
  node.op = "Transpose";
  node.definition = findOpDefinition("Transpose");
  node.attrs = new NodeAttrs(
    node.name,
    { T: typeAttr(type), Tperm: typeAttr(DataType.DT_INT32) },
    node.definition,
  );
  const perm = constantWire(node, "perm", tensor("int32", [order.length], Int32Array.from(order)));
  node.inputs = [from, perm];
}

/** チャンネルを末尾に移した線。戻す並べ替えなら、その前の線。 */
function last(wire: Wire, rank: number, user: PlanNode, returns: Returns): Wire {
  const known = wire.index === 0 ? returns.get(wire.node) : undefined;
  if (known?.rank === rank) return known.inner;
  const name = `${user.name}/channels_last`;
  const node = new PlanNode(name, "Transpose", user.attrs, undefined, user.callers);
  become(node, wire, toLast(rank), user.attrs.wireType("T"));
  return { node, index: 0 };
}

/** 並びを直した大きさの列。 */
function picked(user: PlanNode, sizes: Wire, order: readonly number[]): Wire {
  const definition = findOpDefinition("GatherV2");
  const int = typeAttr(DataType.DT_INT32);
  const node = new PlanNode(
    `${user.name}/sizes`,
    "GatherV2",
    new NodeAttrs(user.name, { Tparams: int, Tindices: int, Taxis: int }, definition),
    definition,
    user.callers,
  );
  const at = constantWire(user, "order", tensor("int32", [order.length], Int32Array.from(order)));
  node.inputs = [sizes, at, constantWire(user, "axis", tensor("int32", [], Int32Array.of(0)))];
  return { node, index: 0 };
}

/** 並べ替えた画像に重ねられる定数。スカラーか、階数の同じもの。 */
function broadcastLast(wire: Wire, rank: number): Wire | undefined {
  const value = constantOf(wire);
  if (value === undefined || !value.onHost) return undefined;
  if (value.shape.length === 0) return wire;
  if (value.shape.length !== rank && value.shape.length !== rank - 1) return undefined;
  const given = value.tensor(undefined);
  const whole = {
    ...given,
    shape: [...new Array(rank - given.shape.length).fill(1), ...given.shape],
  } as Tensor;
  return constantWire(wire.node, "channels_last", transpose(whole, toLast(rank)));
}

function constantNumbers(wire: Wire | undefined): number[] | undefined {
  const value = wire === undefined ? undefined : constantOf(wire);
  if (value === undefined || !value.onHost) return undefined;
  return Array.from(value.tensor(undefined).data as ArrayLike<number | bigint>, Number);
}

function constantWire(near: PlanNode, role: string, value: Tensor): Wire {
  const name = `${near.name}/${role}`;
  const node = new PlanNode(name, "Const", new NodeAttrs(name, {}, undefined), undefined, []);
  node.constants = [Value.ofTensor(value).retain()];
  return { node, index: 0 };
}
