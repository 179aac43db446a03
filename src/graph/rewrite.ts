import { DataType } from "../gen/tensorflow/core/framework/types_pb.ts";
import { type Tensor, tensor } from "../tensor/tensor.ts";
import { type AttrMap, boolAttr, intAttr, intsAttr, NodeAttrs, stringAttr, typeAttr } from "./attrs.ts";
import type { FlatNode } from "./flatten.ts";
import { findOpDefinition } from "./op_defs.ts";
import { PlanNode, type Wire } from "./plan_node.ts";
import { Value } from "./value.ts";

const INT = typeAttr(DataType.DT_INT32);

/** ほかの演算の組み合わせに書き直す。`node` は、組み合わせの最後の演算になる。 */
type Rewrite = (node: PlanNode, flat: FlatNode) => void;

function made(near: PlanNode, role: string, op: string, attrs: AttrMap, inputs: readonly Wire[]): Wire {
  const definition = findOpDefinition(op);
  const name = `${near.name}/${role}`;
  const node = new PlanNode(name, op, new NodeAttrs(name, attrs, definition), definition, near.callers);
  node.inputs = [...inputs];
  node.controls = [...near.controls];
  return { node, index: 0 };
}

function constant(near: PlanNode, role: string, value: Tensor): Wire {
  const wire = made(near, role, "Const", {}, []);
  wire.node.constants = [Value.ofTensor(value).retain()];
  return wire;
}

const int32 = (shape: readonly number[], ...values: number[]): Tensor =>
  tensor("int32", shape, Int32Array.from(values));

function become(node: PlanNode, op: string, attrs: AttrMap, inputs: readonly Wire[]): void {
  node.op = op;
  node.definition = findOpDefinition(op);
  node.attrs = new NodeAttrs(node.name, attrs, node.definition);
  node.inputs = [...inputs];
}

/** 属性をそのまま、名前だけを変える。 */
const renamed =
  (op: string): Rewrite =>
  (node, { attrs }) =>
    become(node, op, attrs.values, node.inputs);

/** 変数の行を引く演算を、変数の読み出しと普通の Gather に分ける。埋め込み表が定数になり、デバイスにも載る。 */
const gather: Rewrite = (node, { op, attrs }) => {
  const [handle, indices] = node.inputs as [Wire, Wire];
  const dtype = typeAttr(attrs.wireType("dtype"));
  const read = made(node, "read", "ReadVariableOp", { dtype }, [handle]);
  const types = { Tparams: dtype, Tindices: typeAttr(attrs.wireType("Tindices")) };
  if (op === "ResourceGatherNd") {
    become(node, "GatherNd", types, [read, indices]);
    return;
  }
  const batchDims = attrs.bigint("batch_dims");
  const axis = constant(node, "axis", int32([], Number(batchDims)));
  become(node, "GatherV2", { ...types, Taxis: INT, batch_dims: intAttr(batchDims) }, [read, indices, axis]);
};

/** どちらかが疎だという約束は、答えを変えない。型は、どちらも float のときだけ元のまま。 */
const sparseMatMul: Rewrite = (node, { attrs }) => {
  const T = typeAttr(DataType.DT_FLOAT);
  const inputs = node.inputs.map((wire, i) => {
    const type = attrs.wireType(i === 0 ? "Ta" : "Tb");
    if (type === DataType.DT_FLOAT) return wire;
    return made(node, `float${i}`, "Cast", { SrcT: typeAttr(type), DstT: T }, [wire]);
  });
  const turn = (name: string) => boolAttr(attrs.bool(name));
  become(node, "MatMul", { T, transpose_a: turn("transpose_a"), transpose_b: turn("transpose_b") }, inputs);
};

/** 大きさを変え、鏡で囲み、畳み込む。推論用に畳まれた TF1 のグラフに現れる。 */
const paddedConv: Rewrite = (node, { op, attrs }) => {
  const T = typeAttr(attrs.wireType("T"));
  let [image, ...rest] = node.inputs as [Wire, ...Wire[]];
  if (op === "FusedResizeAndPadConv2D") {
    const align_corners = boolAttr(attrs.bool("resize_align_corners"));
    image = made(node, "resized", "ResizeBilinear", { T, align_corners }, [image, rest[0]!]);
    rest = rest.slice(1);
  }
  const mode = stringAttr(attrs.string("mode"));
  const padded = made(node, "padded", "MirrorPad", { T, Tpaddings: INT, mode }, [image, rest[0]!]);
  const strides = intsAttr(attrs.ints("strides"));
  become(node, "Conv2D", { T, strides, padding: stringAttr(attrs.string("padding")) }, [padded, rest[1]!]);
};

/** (t − m) / √(v + ε) [· γ] + β。 */
const globalNormalization: Rewrite = (node, { attrs }) => {
  const T = typeAttr(attrs.wireType("T"));
  const [t, mean, variance, beta, gamma] = node.inputs as [Wire, Wire, Wire, Wire, Wire];
  const epsilon = constant(
    node,
    "epsilon",
    tensor("float", [], Float32Array.of(attrs.float("variance_epsilon"))),
  );
  const sum = made(node, "variance", "AddV2", { T }, [variance, epsilon]);
  let scale = made(node, "rsqrt", "Rsqrt", { T }, [sum]);
  if (attrs.bool("scale_after_normalization")) scale = made(node, "scale", "Mul", { T }, [scale, gamma]);
  const centered = made(node, "centered", "Sub", { T }, [t, mean]);
  become(node, "AddV2", { T }, [made(node, "scaled", "Mul", { T }, [centered, scale]), beta]);
};

/** 正方のブロックだけの古い演算。 */
const blocks =
  (op: string, edges: string): Rewrite =>
  (node, { attrs }) => {
    const size = attrs.int("block_size");
    const block = constant(node, "block_shape", int32([2], size, size));
    const types = { T: typeAttr(attrs.wireType("T")), Tblock_shape: INT };
    const edgeType = typeAttr(attrs.wireType(op === "SpaceToBatchND" ? "Tpaddings" : "Tidx"));
    become(node, op, { ...types, [edges]: edgeType }, [node.inputs[0]!, block, node.inputs[1]!]);
  };

/** 近似でよい上位 k 個。正確なものも近似のうち。 */
const approxTopK: Rewrite = (node, { attrs }) => {
  const axis = attrs.int("reduction_dimension");
  if (axis !== -1 || !attrs.bool("is_max_k") || attrs.wireType("T") !== DataType.DT_FLOAT) return;
  const k = constant(node, "k", int32([], attrs.int("k")));
  become(node, "TopKV2", { T: typeAttr(DataType.DT_FLOAT), sorted: boolAttr(true) }, [node.inputs[0]!, k]);
};

const accumulate: Rewrite = (node, { attrs }) =>
  become(node, "AddN", { N: intAttr(BigInt(attrs.int("N"))), T: typeAttr(attrs.wireType("T")) }, node.inputs);

interface Rewritten {
  /** 書き直した先の演算。 */
  readonly into: readonly string[];
  readonly rewrite: Rewrite;
}

const into = (ops: string, rewrite: Rewrite): Rewritten => ({ into: ops.split(" "), rewrite });

/** 演算名 → 書き直し方。行を持たない演算だけが並ぶ。 */
export const rewrites: ReadonlyMap<string, Rewritten> = new Map([
  ["ResourceGather", into("ReadVariableOp GatherV2", gather)],
  ["ResourceGatherNd", into("ReadVariableOp GatherNd", gather)],
  ["SparseMatMul", into("Cast MatMul", sparseMatMul)],
  ["FusedPadConv2D", into("MirrorPad Conv2D", paddedConv)],
  ["FusedResizeAndPadConv2D", into("ResizeBilinear MirrorPad Conv2D", paddedConv)],
  ["BatchNormWithGlobalNormalization", into("AddV2 Rsqrt Mul Sub", globalNormalization)],
  ["SpaceToBatch", into("SpaceToBatchND", blocks("SpaceToBatchND", "Tpaddings"))],
  ["BatchToSpace", into("BatchToSpaceND", blocks("BatchToSpaceND", "Tcrops"))],
  ["ApproxTopK", into("TopKV2", approxTopK)],
  ["AccumulateNV2", into("AddN", accumulate)],
  ["CheckNumericsV2", into("CheckNumerics", renamed("CheckNumerics"))],
  ["Conv3DBackpropInput", into("Conv3DBackpropInputV2", renamed("Conv3DBackpropInputV2"))],
]);
