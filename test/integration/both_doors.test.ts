// 同じ呼び出しを REST と gRPC の両方で行い、答えが値ごとに、失敗がコードと文面まで一致することを見る。
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { Client, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { Code, type CodeName, codeName, StatusError } from "../../src/base/status.ts";
import { GrpcClient, type ModelRef } from "../../src/client/grpc_client.ts";
import { formatJson, type JsonInput, type JsonOutput } from "../../src/client/json_text.ts";
import { type ExamplesBody, RestClient } from "../../src/client/rest_client.ts";
import { ExampleSchema } from "../../src/gen/tensorflow/core/example/example_pb.ts";
import type { FeatureSchema } from "../../src/gen/tensorflow/core/example/feature_pb.ts";
import type { InputSchema } from "../../src/gen/tensorflow_serving/apis/input_pb.ts";
import { PredictionService } from "../../src/gen/tensorflow_serving/apis/prediction_service_pb.ts";
import type { DType } from "../../src/tensor/dtype.ts";
import { sizeOf, type Tensor, type TensorMap, tensor } from "../../src/tensor/tensor.ts";
import { FakeServable, halfPlusTwo, info, signature } from "../helpers/fake_models.ts";
import { type GrpcSetup, startGrpc } from "../helpers/start_grpc.ts";
import { type RestSetup, startRest } from "../helpers/start_rest.ts";

/** REST の JSON で書ける型。 */
const dtypes = [
  "float",
  "double",
  "int8",
  "int16",
  "int32",
  "int64",
  "uint8",
  "uint32",
  "uint64",
  "bool",
  "string",
] as const satisfies readonly DType[];
type Written = (typeof dtypes)[number];

/** 型ごとの、受けたものをそのまま返す signature。 */
function echo(): FakeServable {
  const one = (dtype: DType) =>
    signature(dtype, { x: info(`${dtype}_x:0`, dtype) }, { y: info(`${dtype}_y:0`, dtype) });
  const many = signature(
    "several",
    { a: info("a:0", "int64"), b: info("b:0", "float"), c: info("c:0", "string") },
    { a: info("a_out:0", "int64"), b: info("b_out:0", "float"), c_bytes: info("c_out:0", "string") },
  );
  return new FakeServable({ name: "echo", version: 3n }, [...dtypes.map(one), many], (feeds) => {
    const copies = [...feeds].map(([name, value]): [string, Tensor] => [
      name.replace(/(_x)?:0$/, (_, suffix) => (suffix === undefined ? "_out:0" : "_y:0")),
      value,
    ]);
    return new Map(copies);
  });
}

/** 数の番号のコードで失敗するモデル。 */
function failing(): FakeServable {
  const x = info("x:0", "int32");
  return new FakeServable(
    { name: "failing", version: 1n },
    [signature("serving_default", { x }, { y: x })],
    (feeds) => {
      const code = Number(feeds.get("x:0")!.data[0]) as Code;
      throw new StatusError(code, `it is ${codeName(code)} \u3042`);
    },
  );
}

let rest: RestSetup;
let grpc: GrpcSetup;
let byRest: RestClient;
let byGrpc: GrpcClient;
let raw: Client;

beforeAll(async () => {
  const servables = [halfPlusTwo(), halfPlusTwo("half_plus_two", 7n), echo(), failing()];
  rest = await startRest({ servables });
  grpc = await startGrpc({ servables });
  for (const { models } of [rest, grpc]) {
    models.labels.set("stable", 7n);
    models.labels.set("gone", 9n);
    models.states.push({
      id: { name: "half_plus_two", version: 8n },
      state: "END",
      error: new StatusError(Code.DATA_LOSS, "broken \u3042"),
    });
  }
  byRest = new RestClient({ origin: rest.origin });
  byGrpc = new GrpcClient({ address: grpc.targets[0]! });
  raw = new Client(grpc.targets[0]!, credentials.createInsecure());
});
afterAll(async () => {
  raw.close();
  byGrpc[Symbol.dispose]();
  await grpc[Symbol.asyncDispose]();
  await rest[Symbol.asyncDispose]();
});

/** REST の値 1 つを、gRPC のテンソルの要素と同じ形に。 */
function elementOf(dtype: DType, value: JsonOutput): string {
  if (dtype === "float") return String(Math.fround(Number(value)));
  if (dtype === "string") {
    const b64 =
      typeof value === "object" && value !== null && !Array.isArray(value) ? value["b64"] : undefined;
    return b64 === undefined ? String(value) : Buffer.from(String(b64), "base64").toString();
  }
  return dtype === "bool" ? String(Number(value)) : String(value);
}

/** 入れ子の列を、形と要素の並びに。 */
function flatten(dtype: DType, value: JsonOutput, rank: number): { shape: number[]; items: string[] } {
  if (rank === 0) return { shape: [], items: [elementOf(dtype, value)] };
  const parts = (value as JsonOutput[]).map((item) => flatten(dtype, item, rank - 1));
  return { shape: [parts.length, ...(parts[0]?.shape ?? [])], items: parts.flatMap(({ items }) => items) };
}

/** gRPC のテンソルを、同じ形に。 */
function shown({ dtype, shape, data }: Tensor): { shape: number[]; items: string[] } {
  const items = Array.from(data as ArrayLike<unknown>, (item) =>
    item instanceof Uint8Array ? Buffer.from(item).toString() : String(item),
  );
  expect(items.length).toBe(sizeOf(shape));
  return { shape: [...shape], items: dtype === "bool" ? items.map((item) => String(Number(item))) : items };
}

/** 平らな値を入れ子の列に。 */
function nest(values: readonly JsonInput[], shape: readonly number[]): JsonInput {
  const [length, ...inner] = shape;
  if (length === undefined) return values[0]!;
  const step = sizeOf(inner);
  return Array.from({ length }, (_, i) => nest(values.slice(i * step, (i + 1) * step), inner));
}

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const values: Readonly<Record<Written, Tensor>> = {
  float: tensor(
    "float",
    [2, 6],
    Float32Array.of(
      0.1,
      -0,
      3.4028235e38,
      2 ** -126,
      NaN,
      1,
      Infinity,
      -Infinity,
      1e-4,
      16777217,
      555557.5,
      -7,
    ),
  ),
  double: tensor(
    "double",
    [3, 2],
    Float64Array.of(0.1, 0.1 + 0.2, 2 ** -1022, -1.7976931348623157e308, NaN, Infinity),
  ),
  int8: tensor("int8", [2], Int8Array.of(-128, 127)),
  int16: tensor("int16", [2, 1], Int16Array.of(-32768, 32767)),
  int32: tensor("int32", [1, 2], Int32Array.of(-2147483648, 2147483647)),
  int64: tensor("int64", [3], BigInt64Array.of(-(1n << 63n), (1n << 63n) - 1n, (1n << 53n) + 1n)),
  uint8: tensor("uint8", [2, 1, 1], Uint8Array.of(0, 255)),
  uint32: tensor("uint32", [2], Uint32Array.of(0, 4294967295)),
  uint64: tensor("uint64", [2], BigUint64Array.of(0n, (1n << 64n) - 1n)),
  bool: tensor("bool", [2, 2], Uint8Array.of(1, 0, 0, 1)),
  string: tensor("string", [2, 2], [utf8("あ"), utf8(""), utf8('a"\\\n'), utf8("\u0000\u007f")]),
};

/** テンソルの要素を、REST で書く値に。 */
function inputsOf({ dtype, data }: Tensor): JsonInput[] {
  return Array.from(data as ArrayLike<unknown>, (item): JsonInput => {
    if (item instanceof Uint8Array) return new TextDecoder().decode(item);
    if (dtype === "bool") return item === 1;
    return item as number | bigint;
  });
}

describe("Predict of every dtype agrees", () => {
  test.each(dtypes)("%s", async (dtype) => {
    const value = values[dtype];
    const model: ModelRef = { name: "echo", signatureName: dtype };
    const { outputs } = await byGrpc.predict(model, new Map([["x", value]]));
    const answered = shown(outputs.get("y")!);
    expect(answered).toEqual(shown(value));
    const nested = nest(inputsOf(value), value.shape);
    const bodies = [
      { instances: nested as readonly JsonInput[] },
      { instances: (nested as readonly JsonInput[]).map((x) => ({ x })) },
      { inputs: nested },
      { inputs: { x: nested } },
    ];
    for (const body of bodies) {
      expect(flatten(dtype, await byRest.predict(model, body), value.shape.length)).toEqual(answered);
    }
  });

  test("scalars, no rows, and several outputs", async () => {
    const scalar = { name: "echo", signatureName: "int64" };
    const big = tensor("int64", [], BigInt64Array.of(9007199254740993n));
    const { outputs } = await byGrpc.predict(scalar, new Map([["x", big]]));
    expect(await byRest.predict(scalar, { inputs: 9007199254740993n })).toBe(
      (outputs.get("y")!.data as BigInt64Array)[0]!,
    );
    const none = await byGrpc.predict(
      { name: "echo", signatureName: "float" },
      new Map([["x", tensor("float", [0], new Float32Array(0))]]),
    );
    expect(none.outputs.get("y")!.shape).toEqual([0]);
    expect(await byRest.predict({ name: "echo", signatureName: "float" }, { inputs: [] })).toEqual([]);

    const several = { name: "echo", signatureName: "several" };
    const given: TensorMap = new Map([
      ["a", tensor("int64", [2], BigInt64Array.of(1n, -1n))],
      ["b", tensor("float", [2, 1], Float32Array.of(0.1, 2))],
      ["c", tensor("string", [2], [utf8("p"), utf8("q")])],
    ]);
    const grpcOutputs = (await byGrpc.predict(several, given)).outputs;
    const columns = (await byRest.predict(several, {
      inputs: { a: [1, -1], b: [[0.1], [2]], c: ["p", "q"] },
    })) as Record<string, JsonOutput>;
    const rows = (await byRest.predict(several, {
      instances: [
        { a: 1, b: [0.1], c: "p" },
        { a: -1, b: [2], c: "q" },
      ],
    })) as Record<string, JsonOutput>[];
    expect(Object.keys(columns).sort()).toEqual([...grpcOutputs.keys()].sort());
    for (const [alias, value] of grpcOutputs) {
      const expected = shown(value);
      expect(flatten(value.dtype, columns[alias]!, value.shape.length)).toEqual(expected);
      expect(
        flatten(
          value.dtype,
          rows.map((row) => row[alias]!),
          value.shape.length,
        ),
      ).toEqual(expected);
    }
  });
});

describe("the model asked for agrees", () => {
  const x = new Map([["x", tensor("float", [1], Float32Array.of(2))]]);
  test.each<[string, ModelRef, bigint]>([
    ["no version", { name: "half_plus_two" }, 123n],
    ["a version", { name: "half_plus_two", version: 7n }, 7n],
    ["a label", { name: "half_plus_two", label: "stable" }, 7n],
  ])("with %s", async (_, model, version) => {
    const answer = await byGrpc.predict(model, x);
    expect(answer.model.version).toBe(version);
    expect(await byRest.predict(model, { instances: [2] })).toEqual([
      ...(answer.outputs.get("y")!.data as Float32Array),
    ]);
    const [metadataByRest, metadataByGrpc] = [
      await byRest.getModelMetadata(model),
      await byGrpc.getModelMetadata(model),
    ];
    expect(metadataByRest).toEqual(metadataByGrpc);
    expect(metadataByRest.model.version).toBe(version);
  });

  test.each<[ModelRef]>([[{ name: "half_plus_two" }], [{ name: "half_plus_two", version: 8n }]])(
    "status of %p",
    async (model) => {
      const states = await byGrpc.getModelStatus(model);
      expect(await byRest.getModelStatus(model)).toEqual([...states]);
      expect(states.find(({ version }) => version === 8n)).toEqual({
        version: 8n,
        state: "END",
        code: Code.DATA_LOSS,
        message: "broken \u3042",
      });
    },
  );
});

type Feature = MessageInitShape<typeof FeatureSchema>;
const floats = (...value: number[]): Feature => ({ kind: { case: "floatList", value: { value } } });

/** gRPC の入力。REST と同じ例。 */
function inputOf(
  examples: readonly Record<string, Feature>[],
  context?: Record<string, Feature>,
): MessageInitShape<typeof InputSchema> {
  const toExample = (feature: Record<string, Feature>) => create(ExampleSchema, { features: { feature } });
  const list = examples.map(toExample);
  return context === undefined
    ? { kind: { case: "exampleList", value: { examples: list } } }
    : { kind: { case: "exampleListWithContext", value: { examples: list, context: toExample(context) } } };
}

async function infer(
  verb: "classify" | "regress",
  { name, signatureName = "" }: ModelRef,
  input: MessageInitShape<typeof InputSchema>,
): Promise<JsonOutput> {
  const method = PredictionService.method[verb];
  const bytes = toBinary(method.input, create(method.input, { modelSpec: { name, signatureName }, input }));
  const reply = await new Promise<Buffer>((resolve, reject) => {
    raw.makeUnaryRequest(
      `/${PredictionService.typeName}/${method.name}`,
      (value: Uint8Array) => Buffer.from(value),
      (value: Buffer) => value,
      bytes,
      new Metadata(),
      {},
      (error: ServiceError | null, value?: Buffer) =>
        error === null ? resolve(value!) : reject(new StatusError(error.code as Code, error.details)),
    );
  });
  if (verb === "classify") {
    const { result } = fromBinary(PredictionService.method.classify.output, reply);
    return (result?.classifications ?? []).map(({ classes }) =>
      classes.map(({ label, score }) => [label, score]),
    );
  }
  const { result } = fromBinary(PredictionService.method.regress.output, reply);
  return (result?.regressions ?? []).map(({ value }) => value);
}

describe("Classify and Regress agree", () => {
  const model = (signatureName: string): ModelRef => ({ name: "half_plus_two", signatureName });
  const rows: [string, "classify" | "regress", string, ExamplesBody, MessageInitShape<typeof InputSchema>][] =
    [
      [
        "two examples",
        "classify",
        "classify_x_to_y",
        { examples: [{ x: 20.5 }, { x: [0.1] }] },
        inputOf([{ x: floats(20.5) }, { x: floats(0.1) }]),
      ],
      [
        "a context",
        "regress",
        "regress_x_to_y2",
        { context: { x: 80.25 }, examples: [{}, { x: 1.5 }] },
        inputOf([{}, { x: floats(1.5) }], { x: floats(80.25) }),
      ],
      [
        "values that are no numbers",
        "regress",
        "regress_x_to_y",
        { examples: [{ x: Infinity }, { x: NaN }, { x: -Infinity }] },
        inputOf([{ x: floats(Infinity) }, { x: floats(NaN) }, { x: floats(-Infinity) }]),
      ],
    ];
  const rounded = (value: JsonOutput): JsonOutput =>
    Array.isArray(value) ? value.map(rounded) : typeof value === "number" ? Math.fround(value) : value;
  test.each(rows)("%s", async (_, verb, name, body, input) => {
    const expected = await infer(verb, model(name), input);
    expect((expected as JsonOutput[]).length).toBe(body.examples.length);
    expect(rounded(await byRest[verb](model(name), body))).toEqual(expected);
  });
});

/** REST の状態コード。クライアントは多対一の表を戻せないので、ここでは生の応答を見る。 */
async function restFailure(path: string, body?: JsonInput): Promise<[number, string]> {
  const reply = await fetch(
    rest.origin + path,
    body === undefined ? {} : { method: "POST", body: formatJson(body) },
  );
  return [reply.status, ((await reply.json()) as { error: string }).error];
}

async function grpcFailure(call: Promise<unknown>): Promise<[CodeName, string]> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof StatusError)) throw new Error(`not a failure: ${error}`);
  return [codeName(error.code), error.message];
}

const statusOf: Readonly<Partial<Record<CodeName, number>>> = {
  CANCELLED: 499,
  UNKNOWN: 500,
  INVALID_ARGUMENT: 400,
  DEADLINE_EXCEEDED: 504,
  NOT_FOUND: 404,
  ALREADY_EXISTS: 409,
  PERMISSION_DENIED: 403,
  RESOURCE_EXHAUSTED: 429,
  FAILED_PRECONDITION: 400,
  ABORTED: 409,
  OUT_OF_RANGE: 400,
  UNIMPLEMENTED: 501,
  INTERNAL: 500,
  UNAVAILABLE: 503,
  DATA_LOSS: 500,
  UNAUTHENTICATED: 401,
};

describe("failures agree by code and text", () => {
  const one = new Map([["x", tensor("float", [1], Float32Array.of(1))]]);
  const examples = { examples: [{ x: 1 }] };
  const example = inputOf([{ x: floats(1) }]);
  const H = "/v1/models/half_plus_two";
  type Row = [string, () => Promise<[number, string]>, () => Promise<unknown>, CodeName];
  const rows: Row[] = [
    [
      "an unknown model",
      () => restFailure("/v1/models/nope:predict", { instances: [1] }),
      () => byGrpc.predict({ name: "nope" }, one),
      "NOT_FOUND",
    ],
    [
      "an unknown version",
      () => restFailure(`${H}/versions/50:predict`, { instances: [1] }),
      () => byGrpc.predict({ name: "half_plus_two", version: 50n }, one),
      "NOT_FOUND",
    ],
    [
      "an unknown label",
      () => restFailure(`${H}/labels/nope:predict`, { instances: [1] }),
      () => byGrpc.predict({ name: "half_plus_two", label: "nope" }, one),
      "INVALID_ARGUMENT",
    ],
    [
      "a label whose version is gone",
      () => restFailure(`${H}/labels/gone:predict`, { instances: [1] }),
      () => byGrpc.predict({ name: "half_plus_two", label: "gone" }, one),
      "NOT_FOUND",
    ],
    [
      "metadata of an unknown model",
      () => restFailure("/v1/models/nope/metadata"),
      () => byGrpc.getModelMetadata({ name: "nope" }),
      "NOT_FOUND",
    ],
    [
      "metadata of an unknown label",
      () => restFailure(`${H}/labels/nope/metadata`),
      () => byGrpc.getModelMetadata({ name: "half_plus_two", label: "nope" }),
      "INVALID_ARGUMENT",
    ],
    [
      "status of an unknown model",
      () => restFailure("/v1/models/nope"),
      () => byGrpc.getModelStatus({ name: "nope" }),
      "NOT_FOUND",
    ],
    [
      "status of an unknown version",
      () => restFailure(`${H}/versions/50`),
      () => byGrpc.getModelStatus({ name: "half_plus_two", version: 50n }),
      "NOT_FOUND",
    ],
    [
      "classify of an unknown model",
      () => restFailure("/v1/models/nope:classify", examples),
      () => infer("classify", { name: "nope" }, example),
      "NOT_FOUND",
    ],
    [
      "classify of an unknown signature",
      () => restFailure(`${H}:classify`, { signature_name: "nope", ...examples }),
      () => infer("classify", { name: "half_plus_two", signatureName: "nope" }, example),
      "INVALID_ARGUMENT",
    ],
    [
      "classify by a signature that predicts",
      () => restFailure(`${H}:classify`, examples),
      () => infer("classify", { name: "half_plus_two" }, example),
      "INVALID_ARGUMENT",
    ],
    [
      "regress of an unknown signature",
      () => restFailure(`${H}:regress`, { signature_name: "nope", ...examples }),
      () => infer("regress", { name: "half_plus_two", signatureName: "nope" }, example),
      "INVALID_ARGUMENT",
    ],
    [
      "regress by a signature that predicts",
      () => restFailure(`${H}:regress`, examples),
      () => infer("regress", { name: "half_plus_two" }, example),
      "INVALID_ARGUMENT",
    ],
    ...(Object.keys(statusOf) as CodeName[]).map(
      (name): Row => [
        `a model that fails with ${name}`,
        () => restFailure("/v1/models/failing:predict", { inputs: [Code[name]] }),
        () =>
          byGrpc.predict(
            { name: "failing" },
            new Map([["x", tensor("int32", [1], Int32Array.of(Code[name]))]]),
          ),
        name,
      ],
    ),
  ];
  test.each(rows)("%s", async (_, restCall, grpcCall, code) => {
    const [name, text] = await grpcFailure(grpcCall());
    expect(name).toBe(code);
    expect(text).not.toBe("");
    expect(await restCall()).toEqual([statusOf[code]!, text]);
  });

  /** 入口ごとに手順の違うところ。どちらも TF Serving のとおり。 */
  const differing: [string, () => Promise<[number, string]>, () => Promise<unknown>, unknown[], unknown[]][] =
    [
      [
        "an unknown signature of predict",
        () => restFailure(`${H}:predict`, { signature_name: "nope", instances: [1] }),
        () => byGrpc.predict({ name: "half_plus_two", signatureName: "nope" }, one),
        [400, 'Serving signature name: "nope" not found in signature def'],
        ["FAILED_PRECONDITION", 'Serving signature key "nope" not found.'],
      ],
      [
        "an input of another type",
        () => restFailure(`${H}:predict`, { inputs: ["a"] }),
        () => byGrpc.predict({ name: "half_plus_two" }, new Map([["x", values.string]])),
        [400, 'JSON Value: "a" Type: String is not of expected type: float'],
        ["INVALID_ARGUMENT", "Expects arg[0] to be float but string is provided"],
      ],
      [
        "no examples",
        () => restFailure(`${H}:regress`, { signature_name: "regress_x_to_y", examples: [] }),
        () => infer("regress", { name: "half_plus_two", signatureName: "regress_x_to_y" }, inputOf([])),
        [
          400,
          'JSON Value: {\n    "signature_name": "regress_x_to_y",\n    "examples": []\n} \'examples\' value is an empty array',
        ],
        ["INVALID_ARGUMENT", "Input is empty."],
      ],
    ];
  test.each(differing)(
    "%s is told in each door's own words",
    async (_, restCall, grpcCall, first, second) => {
      expect(await restCall()).toEqual(first as [number, string]);
      expect(await grpcFailure(grpcCall())).toEqual(second as [CodeName, string]);
    },
  );
});
