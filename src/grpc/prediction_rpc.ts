import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { packAny } from "../base/any.ts";
import type { Host } from "../base/host.ts";
import {
  ClassificationRequestSchema,
  ClassificationResponseSchema,
  type ClassificationResultSchema,
} from "../gen/tensorflow_serving/apis/classification_pb.ts";
import {
  GetModelMetadataRequestSchema,
  GetModelMetadataResponseSchema,
  SignatureDefMapSchema,
} from "../gen/tensorflow_serving/apis/get_model_metadata_pb.ts";
import {
  type InferenceResultSchema,
  MultiInferenceRequestSchema,
  MultiInferenceResponseSchema,
} from "../gen/tensorflow_serving/apis/inference_pb.ts";
import type { ModelSpec as ModelSpecProto } from "../gen/tensorflow_serving/apis/model_pb.ts";
import { PredictionService as PredictionServiceDesc } from "../gen/tensorflow_serving/apis/prediction_service_pb.ts";
import {
  RegressionRequestSchema,
  RegressionResponseSchema,
  type RegressionResultSchema,
} from "../gen/tensorflow_serving/apis/regression_pb.ts";
import { type CallContext, createCall } from "../service/call.ts";
import type {
  InferenceRequest,
  InferenceResult,
  MetadataResult,
  PredictionService,
  PredictRequest,
} from "../service/prediction_service.ts";
import { PaddingBudget } from "../tensor/padding_budget.ts";
import { signatureToProto } from "../tensor/signature_proto.ts";
import { decodeExampleRequest, type ExampleRequest } from "./example_input.ts";
import { fromModelSpecProto, toModelSpecProto } from "./model_spec_proto.ts";
import { decodePredictRequest, encodePredictResponse } from "./predict_codec.ts";
import { type Codec, messageCodec, type Rpc, unary } from "./service_definition.ts";

export interface PredictionRpcOptions {
  /** `--enable_serialization_as_tensor_content` */
  readonly tensorContent: boolean;
  /** 届いている仕事が片付いたら 1 度呼ぶ。 */
  readonly whenIdle: (callback: () => void) => void;
}

type Classifications = Extract<InferenceResult, { classifications: unknown }>["classifications"];
type Regressions = Extract<InferenceResult, { regressions: unknown }>["regressions"];

const toClassificationResult = (
  classifications: Classifications,
): MessageInitShape<typeof ClassificationResultSchema> => ({
  classifications: classifications.map((classes) => ({ classes: [...classes] })),
});

const toRegressionResult = (regressions: Regressions): MessageInitShape<typeof RegressionResultSchema> => ({
  regressions: Array.from(regressions, (value) => ({ value })),
});

function toInferenceResult(result: InferenceResult): MessageInitShape<typeof InferenceResultSchema> {
  const modelSpec = toModelSpecProto(result.id, result.signatureName);
  return "classifications" in result
    ? {
        modelSpec,
        result: { case: "classificationResult", value: toClassificationResult(result.classifications) },
      }
    : { modelSpec, result: { case: "regressionResult", value: toRegressionResult(result.regressions) } };
}

function toMetadataResponse({
  id,
  signatures,
}: MetadataResult): MessageInitShape<typeof GetModelMetadataResponseSchema> {
  const signatureDef = Object.fromEntries(
    [...signatures].map(([key, signature]) => [key, signatureToProto(signature)]),
  );
  return {
    modelSpec: toModelSpecProto(id, ""),
    metadata: {
      signature_def: packAny(SignatureDefMapSchema, create(SignatureDefMapSchema, { signatureDef })),
    },
  };
}

function exampleCodec<I extends DescMessage, O extends DescMessage>(input: I, output: O) {
  return {
    decode: (bytes: Uint8Array) => decodeExampleRequest(input, bytes),
    encode: (value: MessageInitShape<O>) => toBinary(output, create(output, value)),
  };
}

const toInferenceRequest = ({
  message,
  examples,
}: ExampleRequest<{ modelSpec?: ModelSpecProto | undefined }>): InferenceRequest => ({
  spec: fromModelSpecProto(message.modelSpec),
  signatureName: message.modelSpec?.signatureName ?? "",
  readExamples: () => examples,
});

/** 同期の値にも Promise にも、その場で関数を当てる。 */
function map<T, R>(value: T | Promise<T>, apply: (value: T) => R): R | Promise<R> {
  return value instanceof Promise ? value.then(apply) : apply(value);
}

/** 混んでいるときに待たせたり断ったりする RPC。 */
const work: typeof unary = (method, codec, handle) => unary(method, codec, handle, { isWork: true });

/** 埋め草のために、届いている仕事が片付くまでに取ってよい場所。1 つの要求の上限でもある。 */
const PADDING_BYTES = 64 * 2 ** 20;

/** PredictionService の RPC。 */
export function predictionRpcs(
  host: Host,
  service: PredictionService,
  { tensorContent, whenIdle }: PredictionRpcOptions,
): readonly Rpc[] {
  const { predict, classify, regress, multiInference, getModelMetadata } = PredictionServiceDesc.method;
  const callOf = (api: string, counted: boolean) => createCall(host, { api, entrypoint: "GRPC", counted });
  const predictCall = callOf("Predict", true);
  const classifyCall = callOf("Classify", true);
  const regressCall = callOf("Regress", true);
  const multiInferenceCall = callOf("MultiInference", false);
  const metadataCall = callOf("GetModelMetadata", false);

  const runPredict = (request: PredictRequest, context: CallContext) => service.predict(request, context);
  const padding = new PaddingBudget(PADDING_BYTES, whenIdle);
  const predictCodec: Codec<
    ReturnType<typeof decodePredictRequest>,
    Parameters<typeof encodePredictResponse>[0]
  > = {
    decode: (bytes) => decodePredictRequest(bytes, padding),
    encode: (result) => encodePredictResponse(result, tensorContent),
  };

  return [
    work(predict, predictCodec, (request, context) =>
      predictCall(request.spec?.name ?? "", runPredict, request, context),
    ),
    work(
      classify,
      exampleCodec(ClassificationRequestSchema, ClassificationResponseSchema),
      (request, context) =>
        classifyCall(request.message.modelSpec?.name ?? "", () =>
          map(service.classify(toInferenceRequest(request), context), (answer) => ({
            modelSpec: toModelSpecProto(answer.id, answer.signatureName),
            result: toClassificationResult(answer.classifications),
          })),
        ),
    ),
    work(regress, exampleCodec(RegressionRequestSchema, RegressionResponseSchema), (request, context) =>
      regressCall(request.message.modelSpec?.name ?? "", () =>
        map(service.regress(toInferenceRequest(request), context), (answer) => ({
          modelSpec: toModelSpecProto(answer.id, answer.signatureName),
          result: toRegressionResult(answer.regressions),
        })),
      ),
    ),
    work(
      multiInference,
      exampleCodec(MultiInferenceRequestSchema, MultiInferenceResponseSchema),
      ({ message: { tasks }, examples }, context) =>
        multiInferenceCall(tasks[0]?.modelSpec?.name ?? "", () =>
          map(
            service.multiInference(
              {
                tasks: tasks.map(({ modelSpec, methodName }) => ({
                  spec: fromModelSpecProto(modelSpec),
                  signatureName: modelSpec?.signatureName ?? "",
                  methodName,
                })),
                readExamples: () => examples,
              },
              context,
            ),
            (results) => ({ results: results.map(toInferenceResult) }),
          ),
        ),
    ),
    unary(
      getModelMetadata,
      messageCodec(GetModelMetadataRequestSchema, GetModelMetadataResponseSchema),
      ({ modelSpec, metadataField }) =>
        metadataCall(modelSpec?.name ?? "", () =>
          toMetadataResponse(service.getModelMetadata(fromModelSpecProto(modelSpec), metadataField)),
        ),
    ),
  ];
}
