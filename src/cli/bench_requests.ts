import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { ModelRef } from "../client/grpc_client.ts";
import { formatJson } from "../client/json_text.ts";
import { grpcPath, type RawRequest } from "../client/raw_client.ts";
import { ClassificationRequestSchema } from "../gen/tensorflow_serving/apis/classification_pb.ts";
import { MultiInferenceRequestSchema } from "../gen/tensorflow_serving/apis/inference_pb.ts";
import { PredictRequestSchema } from "../gen/tensorflow_serving/apis/predict_pb.ts";
import { PredictionLogSchema } from "../gen/tensorflow_serving/apis/prediction_log_pb.ts";
import { RegressionRequestSchema } from "../gen/tensorflow_serving/apis/regression_pb.ts";
import { REGRESS_METHOD, type Signature } from "../tensor/signature.ts";
import type { TensorMap } from "../tensor/tensor.ts";
import { tensorToProto } from "../tensor/tensor_proto.ts";
import { UsageError } from "./command.ts";
import { inputsOfBody, sampleInputs, toRestBody } from "./json_tensors.ts";
import type { RequestBody, RequestData } from "./request_data.ts";

function restPath({ name, version }: ModelRef, verb: string): string {
  const base = `/v1/models/${encodeURIComponent(name)}`;
  return `${version === undefined ? base : `${base}/versions/${version}`}:${verb}`;
}

const encode = (
  body: RequestBody | ReturnType<typeof toRestBody>,
  signatureName: string,
): Uint8Array<ArrayBuffer> =>
  new TextEncoder().encode(formatJson({ signature_name: signatureName, ...body }));

/** REST で送るもの。本文の `signature_name` は旗に勝つ。 */
export function restRequests(
  model: ModelRef,
  signature: Signature,
  rows: number,
  data: RequestData | undefined,
): readonly RawRequest[] {
  if (data?.kind === "records") throw new UsageError("recorded requests are sent by gRPC: use --grpc");
  if (data === undefined) {
    return [
      {
        path: restPath(model, "predict"),
        body: encode(toRestBody(sampleInputs(signature, rows)), signature.key),
      },
    ];
  }
  return data.bodies.map((body) => {
    const verb =
      body["examples"] === undefined
        ? "predict"
        : signature.methodName === REGRESS_METHOD
          ? "regress"
          : "classify";
    return { path: restPath(model, verb), body: encode(body, signature.key) };
  });
}

function predictRequest({ name, version }: ModelRef, signatureName: string, inputs: TensorMap): RawRequest {
  const message = create(PredictRequestSchema, {
    modelSpec: {
      name,
      signatureName,
      ...(version === undefined ? {} : { versionChoice: { case: "version", value: { value: version } } }),
    },
    inputs: Object.fromEntries([...inputs].map(([alias, value]) => [alias, tensorToProto(value, true)])),
  });
  return { path: grpcPath("predict"), body: toBinary(PredictRequestSchema, message) };
}

/** 記録された要求。モデル名は、名指しされたときだけ書き換える。 */
function recordedRequest(record: Uint8Array, name: string | undefined): RawRequest {
  const { logType } = fromBinary(PredictionLogSchema, record);
  switch (logType.case) {
    case "predictLog": {
      const request = logType.value.request ?? create(PredictRequestSchema);
      if (name !== undefined && request.modelSpec !== undefined) request.modelSpec.name = name;
      return { path: grpcPath("predict"), body: toBinary(PredictRequestSchema, request) };
    }
    case "classifyLog": {
      const request = logType.value.request ?? create(ClassificationRequestSchema);
      if (name !== undefined && request.modelSpec !== undefined) request.modelSpec.name = name;
      return { path: grpcPath("classify"), body: toBinary(ClassificationRequestSchema, request) };
    }
    case "regressLog": {
      const request = logType.value.request ?? create(RegressionRequestSchema);
      if (name !== undefined && request.modelSpec !== undefined) request.modelSpec.name = name;
      return { path: grpcPath("regress"), body: toBinary(RegressionRequestSchema, request) };
    }
    case "multiInferenceLog": {
      const request = logType.value.request ?? create(MultiInferenceRequestSchema);
      for (const { modelSpec } of request.tasks) {
        if (name !== undefined && modelSpec !== undefined) modelSpec.name = name;
      }
      return { path: grpcPath("multiInference"), body: toBinary(MultiInferenceRequestSchema, request) };
    }
    default:
      throw new UsageError(`cannot send a ${logType.case ?? "record without a request"}`);
  }
}

/** gRPC で送るもの。 */
export function grpcRequests(
  model: ModelRef,
  signature: Signature,
  rows: number,
  data: Extract<RequestData, { readonly kind: "bodies" }> | undefined,
): readonly RawRequest[] {
  const inputs =
    data === undefined
      ? [sampleInputs(signature, rows)]
      : data.bodies.map((body) => inputsOfBody(body, signature));
  return inputs.map((one) => predictRequest(model, signature.key, one));
}

export function recordedRequests(
  records: readonly Uint8Array[],
  name: string | undefined,
): readonly RawRequest[] {
  return records.map((record) => recordedRequest(record, name));
}
