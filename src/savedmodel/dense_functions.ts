import { create } from "@bufbuild/protobuf";
import { type FunctionDef, FunctionDefSchema } from "../gen/tensorflow/core/framework/function_pb.ts";
import type { NodeDef } from "../gen/tensorflow/core/framework/node_def_pb.ts";
import { DataType } from "../gen/tensorflow/core/framework/types_pb.ts";
import type { Shape } from "../tensor/tensor.ts";
import {
  type Activation,
  type DenseNetwork,
  type ExampleClassifier,
  inputWidth,
  layerName,
  type NetworkVariable,
  variablesOf,
} from "./dense_network.ts";
import {
  type Attr,
  emptyFloatConst,
  functionAttr,
  int32Const,
  intAttr,
  node,
  shapeProto,
  shapesAttr,
  stringConst,
  typeAttr,
  typesAttr,
} from "./node_def.ts";

const { DT_FLOAT, DT_INT32, DT_RESOURCE, DT_STRING } = DataType;

/** 物体グラフの根を指すチェックポイントの予約キー。 */
export const OBJECT_GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH";

interface Argument {
  readonly name: string;
  readonly type: DataType;
  /** 資源はスカラーとして渡る。中身の形は `handle` が持つ。 */
  readonly shape: Shape;
  readonly handle?: Shape;
}

interface Output {
  readonly name: string;
  readonly type: DataType;
  /** 本体の中での出どころ(`node:arg:i`)。 */
  readonly from: string;
}

interface Body {
  readonly name: string;
  readonly args: readonly Argument[];
  readonly nodes: readonly NodeDef[];
  readonly outputs: readonly Output[];
  /** 副作用を持ち、出力が使われなくても走るべきノード。 */
  readonly control?: readonly string[];
}

function functionDef({ name, args, nodes, outputs, control = [] }: Body): FunctionDef {
  return create(FunctionDefSchema, {
    signature: {
      name,
      inputArg: args.map(({ name, type, handle }) => ({
        name,
        type,
        // 変数の形を添えないと、読み込んだ側で ReadVariableOp の形が推論できない。
        handleData: handle === undefined ? [] : [{ dtype: DT_FLOAT, shape: shapeProto(handle) }],
      })),
      outputArg: outputs.map(({ name, type }) => ({ name, type })),
      isStateful: true,
      controlOutput: [...control],
    },
    nodeDef: [...nodes],
    ret: Object.fromEntries(outputs.map(({ name, from }) => [name, from])),
    controlRet: Object.fromEntries(control.map((name) => [name, name])),
    attr: { _input_shapes: shapesAttr(args.map(({ shape }) => shape)) },
  });
}

const resources = (variables: readonly NetworkVariable[]): Argument[] =>
  variables.map(({ argument, value }) => ({
    name: argument,
    type: DT_RESOURCE,
    shape: [],
    handle: value.shape,
  }));

const readVariable = (name: string, resource: string): NodeDef =>
  node(name, "ReadVariableOp", [resource], { dtype: typeAttr(DT_FLOAT) });

/** 活性化の op と、その出力引数の名前。 */
const activationOps: Record<Exclude<Activation, "linear">, readonly [op: string, output: string]> = {
  relu: ["Relu", "activations"],
  sigmoid: ["Sigmoid", "y"],
  softmax: ["Softmax", "softmax"],
  tanh: ["Tanh", "y"],
};

/** 層を重ねた本体。`from` から始めて、最後の層の出力の出どころを返す。 */
function denseLayers(
  network: DenseNetwork,
  from: string,
): { readonly nodes: NodeDef[]; readonly output: string; readonly reads: readonly string[] } {
  const T = typeAttr(DT_FLOAT);
  const nodes: NodeDef[] = [];
  const reads: string[] = [];
  let output = from;
  network.layers.forEach(({ activation }, index) => {
    const layer = layerName(index);
    const kernel = `${layer}/MatMul/ReadVariableOp`;
    const bias = `${layer}/BiasAdd/ReadVariableOp`;
    reads.push(kernel, bias);
    nodes.push(
      readVariable(kernel, `${layer}_kernel_resource`),
      node(`${layer}/MatMul`, "MatMul", [output, `${kernel}:value:0`], { T }),
      readVariable(bias, `${layer}_bias_resource`),
      node(`${layer}/BiasAdd`, "BiasAdd", [`${layer}/MatMul:product:0`, `${bias}:value:0`], { T }),
    );
    output = `${layer}/BiasAdd:output:0`;
    if (activation === "linear") return;
    const [op, result] = activationOps[activation];
    nodes.push(node(`${layer}/${op}`, op, [output], { T }));
    output = `${layer}/${op}:${result}:0`;
  });
  return { nodes, output, reads };
}

/** 変数を読み終えてから結果を渡すための Identity。 */
const identity = (name: string, from: string, type: DataType, after: string): NodeDef =>
  node(name, "Identity", [from, `^${after}`], { T: typeAttr(type) });

const after = (names: readonly string[]): NodeDef =>
  node(
    "NoOp",
    "NoOp",
    names.map((name) => `^${name}`),
  );

/** 入力 [batch, 幅] → 出力 [batch, 幅]。 */
export function serveFunction(network: DenseNetwork, name: string): FunctionDef {
  const { nodes, output, reads } = denseLayers(network, network.inputName);
  return functionDef({
    name,
    args: [
      { name: network.inputName, type: DT_FLOAT, shape: [-1, inputWidth(network)] },
      ...resources(variablesOf(network)),
    ],
    nodes: [...nodes, identity("Identity", output, DT_FLOAT, "NoOp"), after(reads)],
    outputs: [{ name: "identity", type: DT_FLOAT, from: "Identity:output:0" }],
    control: reads,
  });
}

/** 直列化した tf.Example [batch] → classes [batch, 列数] (文字列) と scores [batch, 列数]。 */
export function classifyFunction(
  network: DenseNetwork,
  { features, labels }: ExampleClassifier,
  name: string,
): FunctionDef {
  const parse = parseExamples(features);
  const { nodes, output, reads } = denseLayers(network, "ParseExample/concat:output:0");
  const int32 = { T: typeAttr(DT_INT32) };
  return functionDef({
    name,
    args: [{ name: "inputs", type: DT_STRING, shape: [-1] }, ...resources(variablesOf(network))],
    nodes: [
      ...parse,
      ...nodes,
      stringConst("classes/labels", [1, labels.length], labels),
      node("classes/Shape", "Shape", [output], { T: typeAttr(DT_FLOAT) }),
      int32Const("classes/begin", [1], [0]),
      int32Const("classes/end", [1], [1]),
      int32Const("classes/strides", [1], [1]),
      node(
        "classes/batch",
        "StridedSlice",
        [
          "classes/Shape:output:0",
          "classes/begin:output:0",
          "classes/end:output:0",
          "classes/strides:output:0",
        ],
        { ...int32, Index: typeAttr(DT_INT32), shrink_axis_mask: intAttr(1) },
      ),
      int32Const("classes/one", [], [1]),
      node("classes/multiples", "Pack", ["classes/batch:output:0", "classes/one:output:0"], {
        ...int32,
        N: intAttr(2),
      }),
      node("classes", "Tile", ["classes/labels:output:0", "classes/multiples:output:0"], {
        T: typeAttr(DT_STRING),
      }),
      identity("Identity", "classes:output:0", DT_STRING, "NoOp"),
      identity("Identity_1", output, DT_FLOAT, "NoOp"),
      after(reads),
    ],
    outputs: [
      { name: "identity", type: DT_STRING, from: "Identity:output:0" },
      { name: "identity_1", type: DT_FLOAT, from: "Identity_1:output:0" },
    ],
    control: reads,
  });
}

/** tf.Example から、特徴ごとに float 1 個を取り出して列に並べる。 */
function parseExamples(features: readonly string[]): NodeDef[] {
  const op = "ParseExample/ParseExampleV2";
  // 既定値なし(必須)は全特徴で同じなので、1 つの定数を使い回す。
  const required = features.map(() => "ParseExample/Const:output:0");
  return [
    emptyFloatConst("ParseExample/Const"),
    stringConst(`${op}/names`, [0], []),
    stringConst(`${op}/sparse_keys`, [0], []),
    stringConst(`${op}/dense_keys`, [features.length], features),
    stringConst(`${op}/ragged_keys`, [0], []),
    node(
      op,
      "ParseExampleV2",
      [
        "inputs",
        ...["names", "sparse_keys", "dense_keys", "ragged_keys"].map((key) => `${op}/${key}:output:0`),
        ...required,
      ],
      {
        Tdense: typesAttr(features.map(() => DT_FLOAT)),
        num_sparse: intAttr(0),
        sparse_types: typesAttr([]),
        ragged_value_types: typesAttr([]),
        ragged_split_types: typesAttr([]),
        dense_shapes: shapesAttr(features.map(() => [1])),
      },
    ),
    int32Const("ParseExample/concat/axis", [], [1]),
    node(
      "ParseExample/concat",
      "ConcatV2",
      [...features.map((_, index) => `${op}:dense_values:${index}`), "ParseExample/concat/axis:output:0"],
      { T: typeAttr(DT_FLOAT), N: intAttr(features.length) },
    ),
  ];
}

/** シグネチャごとの薄い包み。名前つきの引数で本体を呼ぶ。 */
export function signatureWrapper(inner: FunctionDef, name: string): FunctionDef {
  const { inputArg, outputArg } = inner.signature!;
  const shapes = inner.attr["_input_shapes"]!;
  const args = inputArg.map((arg, index) => ({
    name: index === 0 ? arg.name : index === 1 ? "unknown" : `unknown_${index - 2}`,
    handleData: arg.handleData,
    type: arg.type,
  }));
  return create(FunctionDefSchema, {
    signature: {
      name,
      inputArg: args,
      outputArg,
      isStateful: true,
      controlOutput: ["StatefulPartitionedCall"],
    },
    nodeDef: [
      call(
        "StatefulPartitionedCall",
        inner,
        args.map((arg) => arg.name),
      ),
      ...outputArg.map(({ type }, index) =>
        identity(
          index === 0 ? "Identity" : `Identity_${index}`,
          `StatefulPartitionedCall:output:${index}`,
          type,
          "NoOp",
        ),
      ),
      after(["StatefulPartitionedCall"]),
    ],
    ret: Object.fromEntries(
      outputArg.map((arg, index) => [
        arg.name,
        index === 0 ? "Identity:output:0" : `Identity_${index}:output:0`,
      ]),
    ),
    controlRet: { StatefulPartitionedCall: "StatefulPartitionedCall" },
    attr: { _input_shapes: shapes },
  });
}

/** 関数呼び出しのノード。Tin と Tout は関数の署名そのもの。 */
export function call(name: string, target: FunctionDef, inputs: readonly string[]): NodeDef {
  const { name: callee, inputArg, outputArg } = target.signature!;
  const attr: Record<string, Attr> = {
    Tin: typesAttr(inputArg.map((arg) => arg.type)),
    Tout: typesAttr(outputArg.map((arg) => arg.type)),
    f: functionAttr(callee),
  };
  return node(name, "StatefulPartitionedCall", inputs, attr);
}

/**
 * 変数と物体グラフを保存する。配信では呼ばれないが、Saver はこの名前が無いと作れない。
 *
 * @see tensorflow/python/checkpoint/functional_saver.py
 */
export function saveFunction(network: DenseNetwork, name: string): FunctionDef {
  const variables = variablesOf(network);
  const reads = variables.map((variable) => `${variable.name}/Read`);
  return functionDef({
    name,
    args: [
      { name: "file_prefix", type: DT_STRING, shape: [] },
      ...resources(variables),
      { name: "savev2_const", type: DT_STRING, shape: [] },
    ],
    nodes: [
      stringConst("StringJoin/part", [], ["_temp/part"]),
      node("StringJoin", "StringJoin", ["file_prefix", "StringJoin/part:output:0"], { N: intAttr(2) }),
      int32Const("num_shards", [], [1]),
      int32Const("ShardedFilename/shard", [], [0]),
      node("ShardedFilename", "ShardedFilename", [
        "StringJoin:output:0",
        "ShardedFilename/shard:output:0",
        "num_shards:output:0",
      ]),
      ...tensorNames("SaveV2", variables),
      ...variables.map(({ argument }, index) => readVariable(reads[index]!, argument)),
      node(
        "SaveV2",
        "SaveV2",
        [
          "ShardedFilename:filename:0",
          "SaveV2/tensor_names:output:0",
          "SaveV2/shape_and_slices:output:0",
          ...reads.map((read) => `${read}:value:0`),
          "savev2_const",
        ],
        { dtypes: savedTypes(variables) },
      ),
      node("Pack", "Pack", ["ShardedFilename:filename:0", "^SaveV2"], {
        N: intAttr(1),
        T: typeAttr(DT_STRING),
      }),
      node("MergeV2Checkpoints", "MergeV2Checkpoints", ["Pack:output:0", "file_prefix"]),
      identity("Identity", "file_prefix", DT_STRING, "MergeV2Checkpoints"),
    ],
    outputs: [{ name: "identity", type: DT_STRING, from: "Identity:output:0" }],
    control: ["MergeV2Checkpoints", ...reads, "SaveV2"],
  });
}

/** チェックポイントを読み、全変数に代入し終えてから結果を渡す。 */
export function restoreFunction(network: DenseNetwork, name: string): FunctionDef {
  const variables = variablesOf(network);
  const assigns = variables.map((variable) => `${variable.name}/Assign`);
  return functionDef({
    name,
    args: [{ name: "file_prefix", type: DT_STRING, shape: [] }, ...resources(variables)],
    nodes: [
      ...tensorNames("RestoreV2", variables),
      node(
        "RestoreV2",
        "RestoreV2",
        ["file_prefix", "RestoreV2/tensor_names:output:0", "RestoreV2/shape_and_slices:output:0"],
        { dtypes: savedTypes(variables) },
      ),
      ...variables.flatMap((variable, index) => [
        node(`${variable.name}/Identity`, "Identity", [`RestoreV2:tensors:${index}`], {
          T: typeAttr(DT_FLOAT),
        }),
        node(assigns[index]!, "AssignVariableOp", [variable.argument, `${variable.name}/Identity:output:0`], {
          dtype: typeAttr(DT_FLOAT),
        }),
      ]),
      after(assigns),
      identity("Identity", "file_prefix", DT_STRING, "NoOp"),
    ],
    outputs: [{ name: "identity", type: DT_STRING, from: "Identity:output:0" }],
    control: [...assigns, "RestoreV2"],
  });
}

const savedTypes = (variables: readonly NetworkVariable[]): Attr =>
  typesAttr([...variables.map(() => DT_FLOAT), DT_STRING]);

/** 保存と復元に共通の、キーと切片(空 = 全体)の定数。 */
function tensorNames(op: string, variables: readonly NetworkVariable[]): NodeDef[] {
  const keys = [...variables.map(({ checkpointKey }) => checkpointKey), OBJECT_GRAPH_KEY];
  return [
    stringConst(`${op}/tensor_names`, [keys.length], keys),
    stringConst(
      `${op}/shape_and_slices`,
      [keys.length],
      keys.map(() => ""),
    ),
  ];
}
