import { create, toBinary } from "@bufbuild/protobuf";
import type { FunctionDef } from "../gen/tensorflow/core/framework/function_pb.ts";
import type { NodeDef } from "../gen/tensorflow/core/framework/node_def_pb.ts";
import { DataType } from "../gen/tensorflow/core/framework/types_pb.ts";
import { SavedModelSchema } from "../gen/tensorflow/core/protobuf/saved_model_pb.ts";
import { SaverDef_CheckpointFormatVersion } from "../gen/tensorflow/core/protobuf/saver_pb.ts";
import { TrackableObjectGraphSchema } from "../gen/tensorflow/core/protobuf/trackable_object_graph_pb.ts";
import { CLASSIFY_METHOD, DEFAULT_SIGNATURE, PREDICT_METHOD } from "../tensor/signature.ts";
import { type Tensor, tensor } from "../tensor/tensor.ts";
import { writeCheckpoint } from "./checkpoint.ts";
import {
  call,
  classifyFunction,
  OBJECT_GRAPH_KEY,
  restoreFunction,
  saveFunction,
  serveFunction,
  signatureWrapper,
} from "./dense_functions.ts";
import { checkNetwork, type DenseNetwork, inputWidth, outputWidth, variablesOf } from "./dense_network.ts";
import { bytesAttr, node, shapeAttr, shapeProto, stringConst, typeAttr } from "./node_def.ts";
import { type ObjectGraphParts, type Spec, savedObjectGraph, trackableObjectGraph } from "./object_graph.ts";

const { DT_FLOAT, DT_STRING } = DataType;

/** 書き出すシグネチャひとつと、それを支える関数。 */
interface Endpoint {
  readonly key: string;
  readonly methodName: string;
  readonly placeholder: string;
  /** 最上位で包みを呼ぶノードの名前。利用者に見えるテンソル名になる。 */
  readonly callName: string;
  readonly body: FunctionDef;
  readonly wrapper: FunctionDef;
  readonly input: Spec;
  /** 名前の昇順。包みの出力の順でもある。 */
  readonly outputs: readonly Spec[];
}

/**
 * 全結合の網を TF2 の SavedModel にする。TensorFlow は使わない。
 * 同じ網からは必ず同じバイト列ができる(時刻も乱数も入らない)。
 *
 * @returns 版ディレクトリからの相対パス → 中身。完成の印である saved_model.pb は最後。
 * @throws INVALID_ARGUMENT 網が書き出せる形でないとき。
 * @see tensorflow/python/saved_model/save.py
 */
export function writeSavedModel(network: DenseNetwork): Map<string, Uint8Array> {
  checkNetwork(network);
  const variables = variablesOf(network);
  const endpoints = endpointsOf(network);
  const parts: ObjectGraphParts = {
    variables,
    serve: {
      functionName: endpoints[0]!.body.signature!.name,
      input: endpoints[0]!.input,
      output: endpoints[0]!.outputs[0]!,
    },
    signatures: endpoints.map(({ key, wrapper, input, outputs }) => ({
      key,
      functionName: wrapper.signature!.name,
      input,
      outputs,
    })),
  };
  const objectGraph = toBinary(TrackableObjectGraphSchema, trackableObjectGraph(parts));
  const firstSaver = 10 + 2 * endpoints.length;
  const save = saveFunction(network, `__inference__traced_save_${firstSaver}`);
  const restore = restoreFunction(network, `__inference__traced_restore_${firstSaver + 1}`);
  const saveCall = callName(endpoints.length);
  const restoreCall = callName(endpoints.length + 1);
  const resources = variables.map(({ name }) => name);

  const nodes: NodeDef[] = [
    ...variables.map(({ name, value }) =>
      node(name, "VarHandleOp", [], {
        dtype: typeAttr(DT_FLOAT),
        shape: shapeAttr(value.shape),
        shared_name: bytesAttr(name),
      }),
    ),
    ...endpoints.flatMap(({ placeholder, input, callName, wrapper }) => [
      node(placeholder, "Placeholder", [], { dtype: typeAttr(input.type), shape: shapeAttr(input.shape) }),
      call(callName, wrapper, [placeholder, ...resources]),
    ]),
    node(INIT_OP, "NoOp"),
    stringConst("Const", [], [objectGraph], "/device:CPU:0"),
    node("saver_filename", "Placeholder", [], { dtype: typeAttr(DT_STRING), shape: shapeAttr([]) }),
    call(saveCall, save, ["saver_filename", ...resources, "Const"]),
    call(restoreCall, restore, ["saver_filename", ...resources]),
  ];

  const savedModel = create(SavedModelSchema, {
    savedModelSchemaVersion: 1n,
    metaGraphs: [
      {
        metaInfoDef: {
          tags: ["serve"],
          tensorflowVersion: LAYOUT.version,
          tensorflowGitVersion: "unknown",
          strippedDefaultAttrs: true,
        },
        graphDef: {
          node: nodes,
          library: {
            function: [...endpoints.flatMap(({ body, wrapper }) => [body, wrapper]), save, restore],
          },
          versions: { producer: LAYOUT.producer, minConsumer: LAYOUT.minConsumer },
        },
        saverDef: {
          filenameTensorName: "saver_filename:0",
          saveTensorName: `${saveCall}:0`,
          restoreOpName: restoreCall,
          version: SaverDef_CheckpointFormatVersion.V2,
        },
        // シグネチャ __saved_model_init_op で渡すと GetModelMetadata に見えてしまうので、コレクションで渡す。
        collectionDef: { saved_model_main_op: { kind: { case: "nodeList", value: { value: [INIT_OP] } } } },
        signatureDef: Object.fromEntries(
          endpoints.map(({ key, methodName, placeholder, callName, input, outputs }) => [
            key,
            {
              inputs: { [input.name]: tensorInfo(`${placeholder}:0`, input) },
              outputs: Object.fromEntries(
                outputs.map((output, index) => [output.name, tensorInfo(`${callName}:${index}`, output)]),
              ),
              methodName,
            },
          ]),
        ),
        objectGraphDef: savedObjectGraph(parts),
      },
    ],
  });

  const values = new Map<string, Tensor>([
    ...variables.map(({ checkpointKey, value }): [string, Tensor] => [checkpointKey, value]),
    [OBJECT_GRAPH_KEY, tensor("string", [], [objectGraph])],
  ]);
  return new Map([
    ...writeCheckpoint("variables/variables", values),
    ["saved_model.pb", toBinary(SavedModelSchema, savedModel)],
  ]);
}

const INIT_OP = "NoOp";

/** 配置を倣った TensorFlow の版。ここに書く版より古い TensorFlow も、min_consumer までは読める。 */
const LAYOUT = { version: "2.12.0", producer: 1395, minConsumer: 12 } as const;

const callName = (index: number): string =>
  index === 0 ? "StatefulPartitionedCall" : `StatefulPartitionedCall_${index}`;

/** serving_default を先頭に置く。利用者に約束した名前 `StatefulPartitionedCall:0` がそこから決まる。 */
function endpointsOf(network: DenseNetwork): Endpoint[] {
  const serve = serveFunction(network, "__inference_serve_10");
  const endpoints: Endpoint[] = [
    {
      key: DEFAULT_SIGNATURE,
      methodName: PREDICT_METHOD,
      placeholder: `${DEFAULT_SIGNATURE}_${network.inputName}`,
      callName: callName(0),
      body: serve,
      wrapper: signatureWrapper(serve, `__inference_signature_wrapper_${DEFAULT_SIGNATURE}_11`),
      input: { name: network.inputName, type: DT_FLOAT, shape: [-1, inputWidth(network)] },
      outputs: [{ name: network.outputName, type: DT_FLOAT, shape: [-1, outputWidth(network)] }],
    },
  ];
  if (network.classifier !== undefined) {
    const classify = classifyFunction(network, network.classifier, "__inference_classify_12");
    endpoints.push({
      key: "classify",
      methodName: CLASSIFY_METHOD,
      placeholder: "classify_inputs",
      callName: callName(1),
      body: classify,
      wrapper: signatureWrapper(classify, "__inference_signature_wrapper_classify_13"),
      input: { name: "inputs", type: DT_STRING, shape: [-1] },
      outputs: [
        { name: "classes", type: DT_STRING, shape: [-1, outputWidth(network)] },
        { name: "scores", type: DT_FLOAT, shape: [-1, outputWidth(network)] },
      ],
    });
  }
  return endpoints;
}

const tensorInfo = (name: string, { type, shape }: Spec) => ({
  encoding: { case: "name" as const, value: name },
  dtype: type,
  tensorShape: shapeProto(shape),
});
