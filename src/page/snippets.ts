import { isBytes, type Leaf, type ReadRequest, type RequestFeature, readRequest } from "./request_tensors.ts";
import { findObstacle } from "./sample.ts";
import type { SignatureSpec } from "./signature.ts";

export const snippetKinds = ["curl", "grpcurl", "python", "python_grpc", "typescript"] as const;
export type SnippetKind = (typeof snippetKinds)[number];

/** 写す呼び出し。 */
export interface SnippetCall {
  /** `http://localhost:8501` */
  readonly origin: string;
  readonly grpc: { readonly host: string; readonly port: number; readonly tls: boolean };
  /** 鍵が要る。鍵そのものは書かず、環境変数 API_KEY から取る。 */
  readonly needsKey: boolean;
  readonly model: string;
  /** 版を指すとき。 */
  readonly version?: string;
  readonly signature: SignatureSpec;
  /** REST の要求の本文。編集されたまま。 */
  readonly text: string;
}

/** 文字列の外の空白をつめる。値は書かれたまま。 */
export const compactJson = (text: string): string =>
  text.replace(/("(?:[^"\\]|\\.)*")|\s+|([,:])/g, (_, string?: string, mark?: string) =>
    string !== undefined ? string : mark !== undefined ? `${mark} ` : "",
  );

export function urlOf({ origin, model, version, signature }: SnippetCall): string {
  const at = version === undefined ? "" : `/versions/${version}`;
  return `${origin}/v1/models/${encodeURIComponent(model)}${at}:${signature.verb}`;
}

const shellQuote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;
const encoder = new TextEncoder();
const base64 = (text: string): string => btoa(String.fromCharCode(...encoder.encode(text)));

const isFloatText = (text: string): boolean => /[.eE]|NaN|Infinity/.test(text);
const numberText = (leaf: Leaf): string =>
  typeof leaf === "object" && "raw" in leaf ? leaf.raw : isBytes(leaf) ? "0" : String(leaf);

/** IEEE 754 の半精度か bfloat16 のビット列。偶数への丸めで、非正規数も扱う。 */
function narrowBits(value: number, dtype: string): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setFloat32(0, value);
  const bits = view.getUint32(0);
  if (dtype === "bfloat16") {
    if (Number.isNaN(value)) return 0x7fc0;
    return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
  }
  const sign = (bits >>> 16) & 0x8000;
  const size = Math.abs(value);
  if (Number.isNaN(value)) return 0x7e00;
  if (size >= 65520) return sign | 0x7c00;
  const exponent = Math.max(Math.floor(Math.log2(size || 2 ** -24)), -14);
  const scaled = (size / 2 ** exponent) * 1024;
  const floor = Math.floor(scaled);
  const rest = scaled - floor;
  const mantissa = floor + (rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? 1 : 0);
  return sign | (mantissa < 1024 ? mantissa : ((exponent + 15) << 10) + (mantissa - 1024));
}

/** TensorProto の欄。 @see tensorflow/core/framework/tensor.proto */
const protoFields: Readonly<Record<string, string>> = {
  float: "floatVal",
  double: "doubleVal",
  int8: "intVal",
  int16: "intVal",
  int32: "intVal",
  uint8: "intVal",
  uint16: "intVal",
  int64: "int64Val",
  uint32: "uint32Val",
  uint64: "uint64Val",
  bool: "boolVal",
  string: "stringVal",
  half: "halfVal",
  bfloat16: "halfVal",
};

/** 値の proto3 JSON。 */
function protoValue(leaf: Leaf, dtype: string): string {
  if (dtype === "string") return JSON.stringify(isBytes(leaf) ? leaf.b64 : base64(String(leaf)));
  if (dtype === "bool") return String(leaf);
  const text = numberText(leaf);
  if (dtype === "half" || dtype === "bfloat16") return String(narrowBits(Number(text), dtype));
  return Number.isFinite(Number(text)) ? text : JSON.stringify(text);
}

function protoFeature([name, values]: RequestFeature): string {
  const [first] = values;
  const kind =
    typeof first === "string" || isBytes(first)
      ? "bytesList"
      : values.some((leaf) => isFloatText(numberText(leaf)))
        ? "floatList"
        : "int64List";
  const dtype = { bytesList: "string", floatList: "float", int64List: "int64" }[kind];
  const list = values.map((leaf) => protoValue(leaf, dtype)).join(", ");
  return `${JSON.stringify(name)}: {"${kind}": {"value": [${list}]}}`;
}

const methods = { predict: "Predict", classify: "Classify", regress: "Regress" } as const;

function grpcurl(call: SnippetCall, request: ReadRequest): string | undefined {
  const { grpc, model, version, signature } = call;
  const spec = [
    `"name": ${JSON.stringify(model)}`,
    ...(version === undefined ? [] : [`"version": ${JSON.stringify(version)}`]),
    ...(signature.key === "serving_default" ? [] : [`"signatureName": ${JSON.stringify(signature.key)}`]),
  ].join(", ");
  const tensors = request.tensors.map(({ alias, dtype, shape, values }) => {
    const field = protoFields[dtype];
    if (field === undefined) return undefined;
    const dims = shape.map((size) => `{"size": ${size}}`).join(", ");
    const list = values.map((leaf) => protoValue(leaf, dtype)).join(", ");
    return `    ${JSON.stringify(alias)}: {"dtype": "DT_${dtype.toUpperCase()}", "tensorShape": {"dim": [${dims}]}, "${field}": [${list}]}`;
  });
  if (tensors.includes(undefined)) return undefined;
  const examples = request.examples.map(
    (features) => `      {"features": {"feature": {${features.map(protoFeature).join(", ")}}}}`,
  );
  const body =
    signature.verb === "predict"
      ? `"inputs": {\n${tensors.join(",\n")}\n  }`
      : `"input": {"exampleList": {"examples": [\n${examples.join(",\n")}\n  ]}}`;
  const flags =
    (grpc.tls ? "" : "-plaintext ") + (call.needsKey ? '-H "authorization: Bearer $API_KEY" ' : "");
  return `grpcurl ${flags}-d ${shellQuote(`{\n  "modelSpec": {${spec}},\n  ${body}\n}`)} \\\n  ${grpc.host}:${grpc.port} tensorflow.serving.PredictionService/${methods[signature.verb]}\n`;
}

function pythonLeaf(leaf: Leaf, dtype: string): string {
  if (isBytes(leaf)) return `base64.b64decode(${JSON.stringify(leaf.b64)})`;
  if (typeof leaf === "string") return JSON.stringify(leaf);
  if (typeof leaf === "boolean") return leaf ? "True" : "False";
  const text = numberText(leaf);
  if (!Number.isFinite(Number(text))) return `float("${text}")`;
  return /^(float|double|half|bfloat16)$/.test(dtype) && !isFloatText(text) ? `${text}.0` : text;
}

const tfDTypes: Readonly<Record<string, string>> = { float: "float32", double: "float64", half: "float16" };

function pythonFeature([name, values]: RequestFeature): string {
  const [first] = values;
  const isText = typeof first === "string" || isBytes(first);
  const isFloat = values.some((leaf) => isFloatText(numberText(leaf)));
  const list = values.map((leaf) =>
    typeof leaf === "string"
      ? `${JSON.stringify(leaf)}.encode()`
      : pythonLeaf(leaf, isFloat ? "float" : "int64"),
  );
  const [field, type] = isText
    ? ["bytes_list", "BytesList"]
    : isFloat
      ? ["float_list", "FloatList"]
      : ["int64_list", "Int64List"];
  return `        ${JSON.stringify(name)}: tf.train.Feature(${field}=tf.train.${type}(value=[${list.join(", ")}])),`;
}

function pythonGrpc(call: SnippetCall, request: ReadRequest): string | undefined {
  const { grpc, model, version, signature } = call;
  const { verb, key } = signature;
  if (request.tensors.some(({ dtype }) => protoFields[dtype] === undefined)) return undefined;
  const module = { predict: "predict_pb2", classify: "classification_pb2", regress: "regression_pb2" }[verb];
  const message = {
    predict: "PredictRequest",
    classify: "ClassificationRequest",
    regress: "RegressionRequest",
  }[verb];
  const inputs = request.tensors.map(({ alias, dtype, shape, values }) => {
    const list = values.map((leaf) => pythonLeaf(leaf, dtype)).join(", ");
    return `request.inputs[${JSON.stringify(alias)}].CopyFrom(\n    tf.make_tensor_proto([${list}], dtype=tf.${tfDTypes[dtype] ?? dtype}, shape=[${shape.join(", ")}])\n)`;
  });
  const examples = request.examples.map(
    (features) =>
      `request.input.example_list.examples.append(\n    tf.train.Example(features=tf.train.Features(feature={\n${features.map(pythonFeature).join("\n")}\n    }))\n)`,
  );
  const usesBytes = [...inputs, ...examples].some((text) => text.includes("base64."));
  const target = JSON.stringify(`${grpc.host}:${grpc.port}`);
  return [
    ...(usesBytes ? ["import base64"] : []),
    ...(call.needsKey ? ["import os"] : []),
    ...(usesBytes || call.needsKey ? [""] : []),
    "import grpc",
    "import tensorflow as tf",
    `from tensorflow_serving.apis import ${module}, prediction_service_pb2_grpc`,
    "",
    grpc.tls
      ? `channel = grpc.secure_channel(${target}, grpc.ssl_channel_credentials())`
      : `channel = grpc.insecure_channel(${target})`,
    "stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)",
    `request = ${module}.${message}()`,
    `request.model_spec.name = ${JSON.stringify(model)}`,
    ...(version === undefined ? [] : [`request.model_spec.version.value = ${version}`]),
    ...(key === "serving_default" ? [] : [`request.model_spec.signature_name = ${JSON.stringify(key)}`]),
    ...inputs,
    ...examples,
    call.needsKey
      ? `print(stub.${methods[verb]}(request, 10.0, metadata=[("authorization", "Bearer " + os.environ["API_KEY"])]))`
      : `print(stub.${methods[verb]}(request, 10.0))`,
    "",
  ].join("\n");
}

function pythonRest(url: string, json: string, needsKey: boolean): string {
  const headers = needsKey ? ', headers={"Authorization": "Bearer " + os.environ["API_KEY"]}' : "";
  return [
    ...(needsKey ? ["import os"] : []),
    "import urllib.request",
    "",
    `body = r"""${json}"""`,
    `request = urllib.request.Request("${url}", data=body.encode()${headers})`,
    "with urllib.request.urlopen(request) as reply:",
    "    print(reply.read().decode())",
    "",
  ].join("\n");
}

/** 2^53 を超える整数は TypeScript の数に書けない。 */
const hasWideInteger = (text: string): boolean =>
  [...text.matchAll(/"(?:[^"\\]|\\.)*"|-?\d{16,}/g)].some(([whole]) => !whole.startsWith('"'));

/**
 * 同じ呼び出しの、ほかの書き方。
 *
 * @returns その書き方では表せない(REST では呼べない、gRPC を TCP で待っていない、書けない型がある、本文が JSON でない)なら undefined。
 */
export function buildSnippet(kind: SnippetKind, call: SnippetCall): string | undefined {
  const obstacle = findObstacle(call.signature);
  const isRest = kind === "curl" || kind === "python" || kind === "typescript";
  if (obstacle?.kind === "composite" || (isRest && obstacle !== undefined)) return undefined;
  const url = urlOf(call);
  const json = compactJson(call.text);
  if (kind === "curl") {
    const header = call.needsKey ? `  -H "Authorization: Bearer $API_KEY" \\\n` : "";
    return `curl -X POST ${url} \\\n${header}  -d ${shellQuote(json)}\n`;
  }
  if (kind === "python") return pythonRest(url, json, call.needsKey);
  if (kind === "typescript") {
    const body = hasWideInteger(json) ? JSON.stringify(json) : `JSON.stringify(${json})`;
    const header = call.needsKey ? "  headers: { Authorization: 'Bearer ' + process.env.API_KEY },\n" : "";
    return `const reply = await fetch("${url}", {\n  method: "POST",\n${header}  body: ${body},\n});\nconsole.log(await reply.text());\n`;
  }
  if (call.grpc.port === 0) return undefined;
  let request: ReadRequest;
  try {
    request = readRequest(call.signature, call.text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  return kind === "grpcurl" ? grpcurl(call, request) : pythonGrpc(call, request);
}
