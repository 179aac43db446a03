import { create } from "@bufbuild/protobuf";
import { wasmFiles } from "../../src/assets.ts";
import { type AttrValue, AttrValueSchema } from "../../src/gen/tensorflow/core/framework/attr_value_pb.ts";
import { type FunctionDef, FunctionDefSchema } from "../../src/gen/tensorflow/core/framework/function_pb.ts";
import { type GraphDef, GraphDefSchema } from "../../src/gen/tensorflow/core/framework/graph_pb.ts";
import { type NodeDef, NodeDefSchema } from "../../src/gen/tensorflow/core/framework/node_def_pb.ts";
import { DataType } from "../../src/gen/tensorflow/core/framework/types_pb.ts";
import { MetaGraphDefSchema } from "../../src/gen/tensorflow/core/protobuf/meta_graph_pb.ts";
import { Backend } from "../../src/graph/backend.ts";
import type { CheckpointSource } from "../../src/graph/restore.ts";
import { GraphSession, type GraphSessionOptions, type GraphSource } from "../../src/graph/session.ts";
import { dtypeOfWire } from "../../src/tensor/dtype.ts";
import type { Signature, TensorInfo } from "../../src/tensor/signature.ts";
import { type Tensor, tensor } from "../../src/tensor/tensor.ts";
import { tensorToProto } from "../../src/tensor/tensor_proto.ts";

/** 属性の短い書き方。 */
export const attr = {
  type: (name: keyof typeof DataType & `DT_${string}`): AttrValue =>
    value({ case: "type", value: DataType[name] }),
  types: (...names: (keyof typeof DataType & `DT_${string}`)[]): AttrValue =>
    value({ case: "list", value: { type: names.map((name) => DataType[name]) } }),
  int: (number: number): AttrValue => value({ case: "i", value: BigInt(number) }),
  float: (number: number): AttrValue => value({ case: "f", value: number }),
  bool: (flag: boolean): AttrValue => value({ case: "b", value: flag }),
  text: (text: string): AttrValue => value({ case: "s", value: new TextEncoder().encode(text) }),
  shape: (...dims: number[]): AttrValue =>
    value({ case: "shape", value: { dim: dims.map((size) => ({ size: BigInt(size) })) } }),
  tensor: (given: Tensor): AttrValue => value({ case: "tensor", value: tensorToProto(given) }),
  func: (name: string): AttrValue => value({ case: "func", value: { name } }),
  funcs: (...names: string[]): AttrValue =>
    value({ case: "list", value: { func: names.map((name) => ({ name })) } }),
  ints: (...numbers: number[]): AttrValue => value({ case: "list", value: { i: numbers.map(BigInt) } }),
  placeholder: (name: string): AttrValue => value({ case: "placeholder", value: name }),
};

type AttrInit = NonNullable<Parameters<typeof create<typeof AttrValueSchema>>[1]>["value"];

function value(init: AttrInit): AttrValue {
  return create(AttrValueSchema, { value: init });
}

export const T = attr.type("DT_FLOAT");
export const INT = attr.type("DT_INT32");

export const floats = (shape: number[], ...items: number[]): Tensor =>
  tensor("float", shape, Float32Array.from(items));
export const ints = (shape: number[], ...items: number[]): Tensor =>
  tensor("int32", shape, Int32Array.from(items));
export const longs = (shape: number[], ...items: (number | bigint)[]): Tensor =>
  tensor("int64", shape, BigInt64Array.from(items, BigInt));
export const bools = (shape: number[], ...items: boolean[]): Tensor =>
  tensor("bool", shape, Uint8Array.from(items, Number));
export const texts = (shape: number[], ...items: string[]): Tensor =>
  tensor(
    "string",
    shape,
    items.map((item) => new TextEncoder().encode(item)),
  );

/** ノード 1 つ。 */
export function node(
  name: string,
  op: string,
  inputs: readonly string[] = [],
  attrs: Readonly<Record<string, AttrValue>> = {},
): NodeDef {
  return create(NodeDefSchema, { name, op, input: [...inputs], attr: { ...attrs } });
}

/** 型の付いた定数。 */
export function constant(name: string, given: Tensor, ...controls: string[]): NodeDef {
  return node(name, "Const", controls, { dtype: typeOf(given), value: attr.tensor(given) });
}

const wires = Object.fromEntries(
  Object.values(DataType).flatMap((wire) => {
    const dtype = typeof wire === "number" ? dtypeOfWire(wire) : undefined;
    return dtype === undefined ? [] : [[dtype, wire as DataType]];
  }),
);

function typeOf({ dtype }: Tensor): AttrValue {
  return value({ case: "type", value: wires[dtype]! });
}

export function placeholder(name: string, type: AttrValue = T): NodeDef {
  return node(name, "Placeholder", [], { dtype: type });
}

interface FunctionParts {
  /** 引数名 → 型(属性名なら多相)。 */
  readonly inputs: Readonly<Record<string, DataType | string>>;
  /** 戻り値名 → [型, 出どころ]。 */
  readonly outputs: Readonly<Record<string, readonly [DataType | string, string]>>;
  readonly nodes: readonly NodeDef[];
  readonly controls?: readonly string[];
}

export function fn(name: string, { inputs, outputs, nodes, controls = [] }: FunctionParts): FunctionDef {
  const arg = ([argName, type]: [string, DataType | string]) =>
    typeof type === "string" ? { name: argName, typeAttr: type } : { name: argName, type };
  return create(FunctionDefSchema, {
    signature: {
      name,
      inputArg: Object.entries(inputs).map(arg),
      outputArg: Object.entries(outputs).map(([outName, [type]]) => arg([outName, type])),
      controlOutput: [...controls],
    },
    nodeDef: [...nodes],
    ret: Object.fromEntries(Object.entries(outputs).map(([outName, [, source]]) => [outName, source])),
    controlRet: Object.fromEntries(controls.map((control) => [control, control])),
  });
}

export function graph(nodes: readonly NodeDef[], functions: readonly FunctionDef[] = []): GraphDef {
  return create(GraphDefSchema, { node: [...nodes], library: { function: [...functions] } });
}

/** テンソル名だけから作る signature。 */
export function signature(key: string, inputs: readonly string[], outputs: readonly string[]): Signature {
  const infos = (names: readonly string[]): Map<string, TensorInfo> =>
    new Map(names.map((name) => [name, { name, wireDType: 1, dtype: "float", shape: undefined }]));
  return { key, methodName: "", inputs: infos(inputs), outputs: infos(outputs), defaults: new Map() };
}

/** メモリの上のチェックポイント。 */
export function fakeCheckpoint(values: Readonly<Record<string, Tensor>>): CheckpointSource {
  return {
    entries: new Map(Object.entries(values)),
    read: (key, shapeAndSlice = "") => {
      const found = values[shapeAndSlice === "" ? key : `${key} ${shapeAndSlice}`] ?? values[key];
      return found === undefined ? Promise.reject(new Error(`no key ${key}`)) : Promise.resolve(found);
    },
  };
}

export const backend = new Backend(wasmFiles);

/** グラフを開く。 */
export function open(
  graphDef: GraphDef,
  source: Partial<Omit<GraphSource, "signatures">> & { readonly signatures?: readonly Signature[] } = {},
  options: Partial<GraphSessionOptions> = {},
): Promise<GraphSession> {
  const { signatures = [], ...rest } = source;
  return GraphSession.load(
    {
      metaGraph: create(MetaGraphDefSchema, { graphDef }),
      assets: new Map(),
      assetFiles: new Map(),
      initOp: undefined,
      checkpoint: undefined,
      ...rest,
      signatures: new Map(signatures.map((one) => [one.key, one])),
    },
    {
      backend,
      yieldTurn: () => Promise.resolve(),
      onDeviceFailure: (error) => {
        throw error;
      },
      ...options,
    },
  );
}

/** 1 度だけ走らせる。 */
export async function runOnce(
  graphDef: GraphDef,
  feeds: Readonly<Record<string, Tensor>>,
  fetches: readonly string[],
): Promise<Tensor[]> {
  const session = await open(graphDef);
  try {
    return session.prepare(Object.keys(feeds), fetches).run(Object.values(feeds));
  } finally {
    session.dispose();
  }
}

/** 比べやすい形。 */
export function plain({ dtype, shape, data }: Tensor): [string, readonly number[], unknown[]] {
  const items = Array.isArray(data)
    ? data.map((bytes) => new TextDecoder().decode(bytes))
    : Array.from(data as ArrayLike<number | bigint>);
  return [dtype, shape, items];
}
