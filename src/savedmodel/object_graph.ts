import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { DataType } from "../gen/tensorflow/core/framework/types_pb.ts";
import {
  type SavedObjectGraph,
  SavedObjectGraphSchema,
  type SavedObjectSchema,
} from "../gen/tensorflow/core/protobuf/saved_object_graph_pb.ts";
import type { StructuredValueSchema } from "../gen/tensorflow/core/protobuf/struct_pb.ts";
import {
  type TrackableObjectGraph,
  TrackableObjectGraphSchema,
} from "../gen/tensorflow/core/protobuf/trackable_object_graph_pb.ts";
import type { Shape } from "../tensor/tensor.ts";
import type { NetworkVariable } from "./dense_network.ts";
import { shapeProto } from "./node_def.ts";

type Structured = MessageInitShape<typeof StructuredValueSchema>;
type SavedObjectInit = MessageInitShape<typeof SavedObjectSchema>;

/** Python から見える値の仕様(TensorSpec)。 */
export interface Spec {
  readonly name: string;
  readonly type: DataType;
  readonly shape: Shape;
}

/** シグネチャひとつの、Python から見える顔。 */
interface SignatureObject {
  readonly key: string;
  /** 包みの関数の名前。 */
  readonly functionName: string;
  readonly input: Spec;
  readonly outputs: readonly Spec[];
}

/** 物体グラフの材料。 */
export interface ObjectGraphParts {
  readonly variables: readonly NetworkVariable[];
  /** 属性 `serve` になる関数。 */
  readonly serve: { readonly functionName: string; readonly input: Spec; readonly output: Spec };
  readonly signatures: readonly SignatureObject[];
}

/** 1 つの物体。番号は並び順で、0 が根。 */
interface GraphObject {
  readonly children: readonly { readonly nodeId: number; readonly localName: string }[];
  readonly kind: SavedObjectInit["kind"];
  readonly variable?: NetworkVariable;
}

const FIRST_VARIABLE = 4;

/**
 * `tf.saved_model.load` が辿る木: 根 ─ variables(一覧)・serve・signatures。
 * 二つのグラフ(保存とチェックポイント)は同じ番号と名前を持たねばならないので、この木から両方を作る。
 */
function objects({ variables, serve, signatures }: ObjectGraphParts): GraphObject[] {
  const firstSignature = FIRST_VARIABLE + variables.length;
  return [
    {
      children: [
        { nodeId: 1, localName: "variables" },
        { nodeId: 2, localName: "serve" },
        { nodeId: 3, localName: "signatures" },
      ],
      kind: userObject("_generic_user_object"),
    },
    {
      children: variables.map((_, index) => ({ nodeId: FIRST_VARIABLE + index, localName: `${index}` })),
      kind: userObject("trackable_list_wrapper"),
    },
    {
      children: [],
      kind: {
        case: "function",
        value: {
          concreteFunctions: [serve.functionName],
          functionSpec: {
            fullargspec: fullArgSpec([serve.input.name], []),
            inputSignature: tuple([tensorSpec(serve.input)]),
          },
        },
      },
    },
    {
      children: signatures.map(({ key }, index) => ({ nodeId: firstSignature + index, localName: key })),
      kind: userObject("signature_map"),
    },
    ...variables.map(
      (variable): GraphObject => ({
        children: [],
        kind: {
          case: "variable",
          value: {
            dtype: DataType.DT_FLOAT,
            shape: shapeProto(variable.value.shape),
            trainable: true,
            name: variable.name,
          },
        },
        variable,
      }),
    ),
    ...signatures.map(
      ({ functionName, input }): GraphObject => ({
        children: [],
        kind: {
          case: "bareConcreteFunction",
          value: {
            concreteFunctionName: functionName,
            argumentKeywords: [input.name],
            // 位置引数でも呼べるようにする。Keras の TFSMLayer は位置引数で 1 個だけ渡す。
            allowedPositionalArguments: 1n,
            functionSpec: { fullargspec: fullArgSpec([], [input.name]), inputSignature: NONE },
          },
        },
      }),
    ),
  ];
}

/** MetaGraphDef.object_graph_def。 */
export function savedObjectGraph(parts: ObjectGraphParts): SavedObjectGraph {
  const { variables, serve, signatures } = parts;
  const boundInputs = variables.map((_, index) => FIRST_VARIABLE + index);
  return create(SavedObjectGraphSchema, {
    nodes: objects(parts).map(({ children, kind }) => ({ children: [...children], kind })),
    concreteFunctions: Object.fromEntries([
      [
        serve.functionName,
        {
          boundInputs,
          canonicalizedInputSignature: tuple([tuple([tensorSpec(serve.input)]), dict([])]),
          outputSignature: tensorSpec(serve.output),
        },
      ],
      ...signatures.map(({ functionName, input, outputs }) => [
        functionName,
        {
          boundInputs,
          canonicalizedInputSignature: tuple([tuple([]), dict([[input.name, tensorSpec(input)]])]),
          outputSignature: dict(outputs.map((output) => [output.name, tensorSpec(output)])),
        },
      ]),
    ]),
  });
}

/** チェックポイントに入る物体グラフ。どの物体がどのキーの値を持つかを言う。 */
export function trackableObjectGraph(parts: ObjectGraphParts): TrackableObjectGraph {
  const all = objects(parts);
  const hasValues = (object: GraphObject): boolean =>
    object.variable !== undefined || object.children.some(({ nodeId }) => hasValues(all[nodeId]!));
  return create(TrackableObjectGraphSchema, {
    nodes: all.map((object) => ({
      children: [...object.children],
      attributes:
        object.variable === undefined
          ? []
          : [
              {
                name: "VARIABLE_VALUE",
                fullName: object.variable.name,
                checkpointKey: object.variable.checkpointKey,
              },
            ],
      hasCheckpointValues: hasValues(object) ? true : undefined,
    })),
  });
}

function userObject(identifier: string): SavedObjectInit["kind"] {
  return { case: "userObject", value: { identifier, version: { producer: 1, minConsumer: 1 } } };
}

const NONE: Structured = { kind: { case: "noneValue", value: {} } };
const text = (value: string): Structured => ({ kind: { case: "stringValue", value } });
const list = (values: readonly Structured[]): Structured => ({
  kind: { case: "listValue", value: { values: [...values] } },
});
const tuple = (values: readonly Structured[]): Structured => ({
  kind: { case: "tupleValue", value: { values: [...values] } },
});
const dict = (fields: readonly (readonly [string, Structured])[]): Structured => ({
  kind: { case: "dictValue", value: { fields: Object.fromEntries(fields) } },
});
const tensorSpec = ({ name, type, shape }: Spec): Structured => ({
  kind: { case: "tensorSpecValue", value: { name, dtype: type, shape: shapeProto(shape) } },
});

/** Python の inspect.FullArgSpec。 */
function fullArgSpec(args: readonly string[], keywordOnly: readonly string[]): Structured {
  const pairs: readonly (readonly [string, Structured])[] = [
    ["args", list(args.map(text))],
    ["varargs", NONE],
    ["varkw", NONE],
    ["defaults", NONE],
    ["kwonlyargs", list(keywordOnly.map(text))],
    ["kwonlydefaults", NONE],
    ["annotations", dict([])],
  ];
  return {
    kind: {
      case: "namedTupleValue",
      value: { name: "FullArgSpec", values: pairs.map(([key, value]) => ({ key, value })) },
    },
  };
}
