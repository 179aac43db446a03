import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:http2";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  create,
  createFileRegistry,
  type DescMessage,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { type CallOptions, Client, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { Code, codeName, failedPrecondition, invalidArgument, StatusError } from "../../src/base/status.ts";
import { GrpcClient } from "../../src/client/grpc_client.ts";
import {
  HealthCheckRequestSchema,
  HealthCheckResponseSchema,
  Health as HealthDesc,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from "../../src/gen/grpc/health/v1/health_pb.ts";
import {
  type ServerReflectionRequest,
  ServerReflectionRequestSchema,
  type ServerReflectionResponse,
  ServerReflectionResponseSchema,
} from "../../src/gen/grpc/reflection/v1/reflection_pb.ts";
import { ModelService } from "../../src/gen/tensorflow_serving/apis/model_service_pb.ts";
import { PredictionService } from "../../src/gen/tensorflow_serving/apis/prediction_service_pb.ts";
import { CLASSIFY_METHOD, REGRESS_METHOD } from "../../src/tensor/signature.ts";
import { tensor } from "../../src/tensor/tensor.ts";
import { FakeServable, halfPlusTwo, info, signature } from "../helpers/fake_models.ts";
import { type GrpcSetup, startGrpc } from "../helpers/start_grpc.ts";

/** 生成された記述だけでできた客。 */
class RawClient implements Disposable {
  readonly client: Client;
  constructor(target: string, options = {}) {
    this.client = new Client(target, credentials.createInsecure(), {
      "grpc.use_local_subchannel_pool": 1,
      "grpc.max_receive_message_length": -1,
      ...options,
    });
  }
  [Symbol.dispose](): void {
    this.client.close();
  }
  bytes(path: string, request: Uint8Array, options: CallOptions = {}): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.client.makeUnaryRequest(
        path,
        (value: Uint8Array) => Buffer.from(value),
        (value) => value,
        request,
        new Metadata(),
        { deadline: Date.now() + 60_000, ...options },
        (error: ServiceError | null, value?: Buffer) =>
          error === null ? resolve(value!) : reject(new StatusError(error.code as Code, error.details)),
      );
    });
  }
  async call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
  ): Promise<MessageShape<O>> {
    const reply = await this.bytes(
      `/${method.parent.typeName}/${method.name}`,
      toBinary(method.input, create(method.input, request)),
    );
    return fromBinary(method.output, reply);
  }
}

const failureOf = async (work: Promise<unknown>): Promise<string> => {
  const thrown = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  return thrown instanceof StatusError
    ? `${codeName(thrown.code)}: ${thrown.message}`
    : `not a status: ${thrown}`;
};

const floats = (...values: number[]) => tensor("float", [values.length], Float32Array.from(values));
const x = (value: number) => ({
  features: { feature: { x: { kind: { case: "floatList" as const, value: { value: [value] } } } } },
});
const folder = mkdtempSync(join(tmpdir(), "grpc-door-"));
afterAll(() => rmSync(folder, { recursive: true }));

let server: GrpcSetup;
let raw: RawClient;
let client: GrpcClient;
beforeAll(async () => {
  server = await startGrpc();
  raw = new RawClient(server.targets[0]!);
  client = new GrpcClient({ address: server.targets[0]! });
});
afterAll(async () => {
  raw[Symbol.dispose]();
  client[Symbol.dispose]();
  await server[Symbol.asyncDispose]();
});

const { predict, classify, regress, multiInference, getModelMetadata } = PredictionService.method;
const spec = (signatureName = "") => ({ name: "half_plus_two", signatureName });
const answered = (signatureName: string) => ({
  name: "half_plus_two",
  versionChoice: { case: "version", value: { value: 123n } },
  signatureName,
});

describe("PredictionService", () => {
  test("Predict accepts values either way and answers with typed values", async () => {
    for (const values of [
      { floatVal: [1, 2, 5] },
      { tensorContent: new Uint8Array(Float32Array.of(1, 2, 5).buffer) },
    ]) {
      const reply = await raw.call(predict, {
        modelSpec: spec(),
        inputs: { x: { dtype: 1, tensorShape: { dim: [{ size: 3n }] }, ...values } },
      });
      expect(reply.outputs["y"]).toMatchObject({
        dtype: 1,
        tensorShape: { dim: [{ size: 3n }] },
        floatVal: [2.5, 3, 4.5],
        tensorContent: new Uint8Array(),
      });
      expect(reply.modelSpec).toMatchObject(answered("serving_default"));
    }
  });

  test("Predict answers with tensor_content when told to", async () => {
    await using other = await startGrpc({ tensorContent: true });
    using caller = new RawClient(other.targets[0]!);
    const reply = await caller.call(predict, {
      modelSpec: spec(),
      inputs: { x: { dtype: 1, floatVal: [2] } },
    });
    expect(reply.outputs["y"]).toMatchObject({
      floatVal: [],
      tensorContent: new Uint8Array(Float32Array.of(3).buffer),
    });
  });

  test("Classify, Regress and MultiInference", async () => {
    const input = { kind: { case: "exampleList" as const, value: { examples: [x(2), x(4)] } } };
    const classified = await raw.call(classify, { modelSpec: spec("classify_x_to_y"), input });
    expect(classified.modelSpec).toMatchObject(answered("classify_x_to_y"));
    const classifications = [{ classes: [{ label: "", score: 3 }] }, { classes: [{ label: "", score: 4 }] }];
    expect(classified.result).toMatchObject({ classifications });

    const withContext = { examples: [{}, x(6)], context: x(2) };
    const regressed = await raw.call(regress, {
      modelSpec: spec("regress_x_to_y"),
      input: { kind: { case: "exampleListWithContext", value: withContext } },
    });
    expect(regressed.modelSpec).toMatchObject(answered("regress_x_to_y"));
    expect(regressed.result).toMatchObject({ regressions: [{ value: 3 }, { value: 5 }] });

    const { results } = await raw.call(multiInference, {
      tasks: [
        { modelSpec: spec("regress_x_to_y"), methodName: REGRESS_METHOD },
        { modelSpec: spec("classify_x_to_y"), methodName: CLASSIFY_METHOD },
      ],
      input,
    });
    expect(results).toMatchObject([
      {
        modelSpec: answered("regress_x_to_y"),
        result: { case: "regressionResult", value: { regressions: [{ value: 3 }, { value: 4 }] } },
      },
      {
        modelSpec: answered("classify_x_to_y"),
        result: { case: "classificationResult", value: { classifications } },
      },
    ]);
  });

  test("GetModelMetadata packs every signature", async () => {
    const { model, signatures } = await client.getModelMetadata({ name: "half_plus_two" });
    expect(model).toEqual({ name: "half_plus_two", version: 123n, signatureName: "" });
    expect([...signatures.keys()].sort()).toEqual([...server.models.servables[0]!.signatures.keys()].sort());
    expect(signatures.get("serving_default")).toEqual(
      server.models.servables[0]!.signatures.get("serving_default")!,
    );
    const { metadata } = await raw.call(getModelMetadata, {
      modelSpec: spec(),
      metadataField: ["signature_def"],
    });
    expect(metadata["signature_def"]?.typeUrl).toBe("type.googleapis.com/tensorflow.serving.SignatureDefMap");
  });

  test.each<[string, () => Promise<unknown>, string]>([
    ["no spec", () => raw.call(predict, {}), "INVALID_ARGUMENT: Missing ModelSpec"],
    [
      "no name",
      () => raw.call(regress, { modelSpec: {} }),
      "INVALID_ARGUMENT: ModelSpec has no name specified.",
    ],
    [
      "an unknown model",
      () => client.predict({ name: "nope" }, new Map()),
      "NOT_FOUND: Servable not found for request: Latest(nope)",
    ],
    [
      "an unknown version",
      () => client.predict({ name: "half_plus_two", version: 0n }, new Map()),
      "NOT_FOUND: Servable not found for request: Specific(half_plus_two, 0)",
    ],
    [
      "an unknown label",
      () => client.predict({ name: "half_plus_two", label: "日本" }, new Map()),
      "INVALID_ARGUMENT: Unrecognized servable version label: 日本",
    ],
    [
      "an unknown signature",
      () => client.predict({ name: "half_plus_two", signatureName: "s" }, new Map()),
      'FAILED_PRECONDITION: Serving signature key "s" not found.',
    ],
    [
      "the wrong dtype",
      () => client.predict({ name: "half_plus_two" }, new Map([["x", tensor("bool", [], Uint8Array.of(1))]])),
      "INVALID_ARGUMENT: Expects arg[0] to be float but bool is provided",
    ],
    [
      "a tensor that cannot be read",
      () =>
        raw.call(predict, {
          modelSpec: spec(),
          inputs: { x: { dtype: 1, tensorContent: Uint8Array.of(1) } },
        }),
      "INVALID_ARGUMENT: tensor parsing error: x",
    ],
    [
      "an empty input",
      () => raw.call(classify, { modelSpec: spec("classify_x_to_y") }),
      "INVALID_ARGUMENT: Input is empty.",
    ],
    [
      "a text of more than 1024 bytes",
      () => client.predict({ name: "%".repeat(2000) }, new Map()),
      `NOT_FOUND: Servable not found for request: Latest(${"%".repeat(1024 - "Servable not found for request: Latest(".length)}...TRUNCATED`,
    ],
    [
      "bytes that are no message",
      () => raw.bytes("/tensorflow.serving.PredictionService/Predict", Uint8Array.of(255, 255)),
      "INTERNAL: Error deserializing request",
    ],
    [
      "a service that is not there",
      () => raw.bytes("/tensorflow.serving.SessionService/SessionRun", new Uint8Array()),
      // gRPC の C++ と同じく、文面は空。
      "UNIMPLEMENTED: ",
    ],
  ])("refuses %s", async (_, work, expected) => {
    expect(await failureOf(work())).toBe(expected);
  });

  test("counts requests by model and status, and times the successful ones", async () => {
    await using other = await startGrpc();
    using caller = new GrpcClient({ address: other.targets[0]! });
    await caller.predict({ name: "half_plus_two" }, new Map([["x", floats(1)]]));
    await failureOf(caller.predict({ name: "half_plus_two" }, new Map()));
    await failureOf(caller.getModelMetadata({ name: "nope" }));
    const cells = (name: string) =>
      other.host.metrics.snapshot().find((family) => family.name === `/tensorflow/serving/${name}`)!.cells;
    expect(cells("request_count").map(({ labelValues, value }) => [...labelValues, value])).toEqual([
      ["half_plus_two", "OK", 1],
      ["half_plus_two", "INVALID_ARGUMENT", 1],
    ]);
    expect(cells("request_latency").map(({ labelValues, count }) => [...labelValues, count])).toEqual([
      ["half_plus_two", "Predict", "GRPC", 1],
    ]);
  });

  test("the TypeScript client picks outputs, versions and labels", async () => {
    await using other = await startGrpc({ servables: [halfPlusTwo("m", 1n), halfPlusTwo("m", 2n)] });
    other.models.labels.set("stable", 1n);
    using caller = new GrpcClient({ address: other.targets[0]! });
    const inputs = new Map([["x", floats(1, 2, 5)]]);
    for (const [ref, version] of [
      [{ name: "m" }, 2n],
      [{ name: "m", version: 1n }, 1n],
      [{ name: "m", label: "stable" }, 1n],
    ] as const) {
      const { model, outputs } = await caller.predict(ref, inputs, { outputFilter: ["y"] });
      expect(model).toEqual({ name: "m", version, signatureName: "serving_default" });
      expect([...outputs]).toEqual([["y", floats(2.5, 3, 4.5)]]);
    }
  });
});

describe("messages", () => {
  test.each([
    ["identity", 0],
    ["deflate", 1],
    ["gzip", 2],
  ])("%s requests of several megabytes pass", async (_, algorithm) => {
    using caller = new RawClient(server.targets[0]!, { "grpc.default_compression_algorithm": algorithm });
    const values = Float32Array.from({ length: 1_500_000 }, (_, i) => i % 1000);
    const reply = await caller.call(predict, {
      modelSpec: spec(),
      inputs: {
        x: {
          dtype: 1,
          tensorShape: { dim: [{ size: BigInt(values.length) }] },
          tensorContent: new Uint8Array(values.buffer),
        },
      },
    });
    const { floatVal } = reply.outputs["y"]!;
    expect(floatVal.length).toBe(values.length);
    expect(floatVal.at(-1)).toBe(999 / 2 + 2);
  });

  test("a message over the limit of the channel arguments is refused", async () => {
    await using other = await startGrpc({ channelArguments: "grpc.max_receive_message_length=1000" });
    using caller = new GrpcClient({ address: other.targets[0]! });
    const send = (length: number) =>
      caller.predict({ name: "half_plus_two" }, new Map([["x", floats(...new Array(length).fill(1))]]));
    expect(await failureOf(send(1000))).toStartWith("RESOURCE_EXHAUSTED: ");
    expect((await send(100)).outputs.get("y")?.shape).toEqual([100]);
  });
});

describe("deadlines and cancellation", () => {
  /** 合図が立つまで答えないモデル。 */
  function patient() {
    const started = Promise.withResolvers<void>();
    const stopped = Promise.withResolvers<void>();
    const one = signature("serving_default", { x: info("x:0", "float") }, { y: info("y:0", "float") });
    const servable = new FakeServable({ name: "m", version: 1n }, [one], () => new Map());
    servable.prepare = () => ({
      feedDTypes: ["float"],
      run: (_, { signal }) => {
        started.resolve();
        return new Promise((_, reject) => {
          signal?.addEventListener("abort", () => {
            stopped.resolve();
            reject(signal.reason);
          });
        });
      },
    });
    return { servable, started: started.promise, stopped: stopped.promise };
  }
  const inputs = new Map([["x", floats(1)]]);

  test("the model is told when the client goes away", async () => {
    const { servable, started, stopped } = patient();
    await using other = await startGrpc({ servables: [servable] });
    using caller = new GrpcClient({ address: other.targets[0]! });
    const controller = new AbortController();
    const calling = failureOf(caller.predict({ name: "m" }, inputs, { signal: controller.signal }));
    await started;
    controller.abort();
    expect(await calling).toStartWith("CANCELLED: ");
    await stopped;
    // もう 1 往復すれば、取り消しの後始末は終わっている。
    expect(await caller.health()).toBe(true);
    expect(other.models.borrowed).toBe(0);
  });

  test("the model is told when the deadline passes", async () => {
    const { servable, stopped } = patient();
    await using other = await startGrpc({ servables: [servable] });
    using caller = new GrpcClient({ address: other.targets[0]!, timeoutMs: 100 });
    expect(await failureOf(caller.predict({ name: "m" }, inputs))).toStartWith("DEADLINE_EXCEEDED: ");
    await stopped;
  });

  test.each([
    ["10S", "number"],
    ["99999999H", "undefined"],
    ["2592000S", "undefined"],
    ["600000M", "undefined"],
  ])("a grpc-timeout of %s gives the model a deadline of type %s", async (timeout, expected) => {
    const one = signature("serving_default", { x: info("x:0", "float") }, { y: info("y:0", "float") });
    const seen: unknown[] = [];
    const servable = new FakeServable({ name: "m", version: 1n }, [one], (feeds, { deadlineMs }) => {
      seen.push(typeof deadlineMs);
      return new Map([["y:0", feeds.get("x:0")!]]);
    });
    await using other = await startGrpc({ servables: [servable] });
    // grpc-js の客は長い期限を自分で縮めるので、ヘッダーを直に書く。
    const session = connect(`http://${other.targets[0]}`);
    const stream = session.request({
      ":method": "POST",
      ":path": "/tensorflow.serving.PredictionService/Predict",
      "content-type": "application/grpc",
      te: "trailers",
      "grpc-timeout": timeout,
    });
    const closed = new Promise((resolve) => stream.on("close", resolve));
    stream.resume();
    const message = toBinary(
      predict.input,
      create(predict.input, { modelSpec: { name: "m" }, inputs: { x: { dtype: 1, floatVal: [1] } } }),
    );
    stream.end(Uint8Array.of(0, 0, 0, 0, message.length, ...message));
    await closed;
    expect(seen).toEqual([expected]);
    session.close();
  });

  test("a client that gives up before the start sends nothing", async () => {
    expect(
      await failureOf(client.predict({ name: "half_plus_two" }, inputs, { signal: AbortSignal.abort() })),
    ).toBe("CANCELLED: Cancelled");
  });

  test("stop() lets calls in flight finish, and ends after the last", async () => {
    const gate = Promise.withResolvers<void>();
    const servable = halfPlusTwo("m", 1n);
    const reached = Promise.withResolvers<void>();
    const prepare = servable.prepare.bind(servable);
    servable.prepare = (feeds, fetches) => {
      const { feedDTypes, run } = prepare(feeds, fetches);
      return {
        feedDTypes,
        run: async (values, context) => {
          reached.resolve();
          await gate.promise;
          return await run(values, context);
        },
      };
    };
    const other = await startGrpc({ servables: [servable] });
    using caller = new GrpcClient({ address: other.targets[0]! });
    const calling = caller.predict({ name: "m" }, inputs);
    await reached.promise;
    const stopping = other.door.stop(60_000);
    gate.resolve();
    expect((await calling).outputs.get("y")).toEqual(floats(2.5));
    await stopping;
    using late = new GrpcClient({ address: other.targets[0]! });
    expect(await failureOf(late.predict({ name: "m" }, inputs))).toStartWith("UNAVAILABLE: ");
  });

  test("stop() cuts what does not end within the grace", async () => {
    const { servable, started, stopped } = patient();
    const other = await startGrpc({ servables: [servable] });
    using caller = new GrpcClient({ address: other.targets[0]! });
    const calling = failureOf(caller.predict({ name: "m" }, inputs));
    await started;
    await other.door.stop(50);
    expect(await calling).not.toStartWith("not a status");
    await stopped;
  });
});

describe("ModelService", () => {
  test("GetModelStatus", async () => {
    await using other = await startGrpc({ servables: [halfPlusTwo("m", 1n), halfPlusTwo("m", 2n)] });
    other.models.states.push({
      id: { name: "m", version: 3n },
      state: "END",
      error: failedPrecondition("bad\nmodel"),
    });
    using caller = new GrpcClient({ address: other.targets[0]! });
    expect(await caller.getModelStatus({ name: "m" })).toEqual([
      { version: 3n, state: "END", code: Code.FAILED_PRECONDITION, message: "bad\nmodel" },
      { version: 2n, state: "AVAILABLE", code: Code.OK, message: "" },
      { version: 1n, state: "AVAILABLE", code: Code.OK, message: "" },
    ]);
    expect((await caller.getModelStatus({ name: "m", version: 1n })).length).toBe(1);
    expect(await failureOf(caller.getModelStatus({ name: "n" }))).toBe(
      "NOT_FOUND: Could not find any versions of model n",
    );
  });

  test("GetModelStatus always has a status, on the wire too", async () => {
    const reply = await raw.bytes(
      "/tensorflow.serving.ModelService/GetModelStatus",
      Buffer.from("0a0f0a0d68616c665f706c75735f74776f", "hex"),
    );
    expect(reply.toString("hex")).toBe("0a06087b101e1a00");
  });

  test("HandleReloadConfigRequest", async () => {
    await using other = await startGrpc();
    using caller = new RawClient(other.targets[0]!);
    const { handleReloadConfigRequest } = ModelService.method;
    const configs: unknown[] = [];
    other.models.reload = async (config) => {
      configs.push(config);
      other.host.metrics.counter({ name: "/a", help: "", labels: [] }).cell().inc(3);
    };
    const list = {
      config: {
        case: "modelConfigList" as const,
        value: { config: [{ name: "m", basePath: "/m", modelPlatform: "tensorflow" }] },
      },
    };
    const reply = await caller.call(handleReloadConfigRequest, { config: list, metricNames: ["/a", "/b"] });
    expect(reply).toMatchObject({
      status: { errorCode: 0, errorMessage: "" },
      metric: [
        { name: "/a", valueIncrease: { case: "int64ValueIncrease", value: 3n } },
        { name: "/b", valueIncrease: { case: "int64ValueIncrease", value: 0n } },
      ],
    });
    expect(configs).toMatchObject([{ kind: "list", models: [{ name: "m", basePath: "/m" }] }]);

    const text =
      "INVALID_ARGUMENT: ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported";
    expect(await failureOf(caller.call(handleReloadConfigRequest, {}))).toBe(text);
    expect(await failureOf(caller.call(handleReloadConfigRequest, { config: {} }))).toBe(text);
    other.models.reload = () => Promise.reject(invalidArgument("Illegal to list model m multiple times"));
    expect(await failureOf(caller.call(handleReloadConfigRequest, { config: list }))).toBe(
      "INVALID_ARGUMENT: Illegal to list model m multiple times",
    );
  });
});

describe("Health", () => {
  const names = [
    "",
    "ModelService",
    "PredictionService",
    "tensorflow.serving.ModelService",
    "tensorflow.serving.PredictionService",
  ];

  test("Check follows the server under every name clients use", async () => {
    await using other = await startGrpc();
    using caller = new GrpcClient({ address: other.targets[0]! });
    for (const serving of [true, false]) {
      other.health.setServing(serving);
      for (const name of names) expect(await caller.health(name)).toBe(serving);
    }
    expect(await failureOf(caller.health("half_plus_two"))).toBe("NOT_FOUND: service name unknown");
    expect(await failureOf(caller.health("x".repeat(201)))).toBe("INVALID_ARGUMENT: could not parse request");
  });

  test("List names them all", async () => {
    const { statuses } = await raw.call(HealthDesc.method.list, {});
    expect(Object.keys(statuses).sort()).toEqual(names.toSorted());
    expect(statuses[""]?.status).toBe(ServingStatus.SERVING);
  });

  function watch(caller: RawClient, service: string) {
    const stream = caller.client.makeServerStreamRequest(
      "/grpc.health.v1.Health/Watch",
      (value: MessageInitShape<typeof HealthCheckRequestSchema>) =>
        Buffer.from(toBinary(HealthCheckRequestSchema, create(HealthCheckRequestSchema, value))),
      (value) => fromBinary(HealthCheckResponseSchema, value).status,
      { service },
    );
    const ended = new Promise<number>((resolve) => {
      stream.on("error", (error: ServiceError) => resolve(error.code));
    });
    const next = () => new Promise<ServingStatus>((resolve) => stream.once("data", resolve));
    return { stream, ended, next };
  }

  test("Watch streams each change and ends when the server stops", async () => {
    const other = await startGrpc();
    using caller = new RawClient(other.targets[0]!);
    const { ended, next } = watch(caller, "PredictionService");
    const unknown = watch(caller, "nope");
    expect(await next()).toBe(ServingStatus.SERVING);
    expect(await unknown.next()).toBe(ServingStatus.SERVICE_UNKNOWN);
    const changed = next();
    other.health.setServing(false);
    expect(await changed).toBe(ServingStatus.NOT_SERVING);
    await other.door.stop(60_000);
    expect(await ended).toBe(Code.UNAVAILABLE);
    expect(await unknown.ended).toBe(Code.UNAVAILABLE);
  });

  test("Watch forgets the client that leaves", async () => {
    await using other = await startGrpc();
    using caller = new RawClient(other.targets[0]!);
    const first = watch(caller, "");
    expect(await first.next()).toBe(ServingStatus.SERVING);
    first.stream.cancel();
    expect(await first.ended).toBe(Code.CANCELLED);
    const second = watch(caller, "");
    expect(await second.next()).toBe(ServingStatus.SERVING);
    const changed = second.next();
    other.health.setServing(false);
    expect(await changed).toBe(ServingStatus.NOT_SERVING);
    second.stream.cancel();
    await second.ended;
  });

  test("is absent when turned off", async () => {
    await using other = await startGrpc({ healthCheck: false });
    using caller = new GrpcClient({ address: other.targets[0]! });
    expect(await failureOf(caller.health())).toStartWith("UNIMPLEMENTED: ");
  });
});

describe("reflection", () => {
  type Kind = ServerReflectionRequest["messageRequest"];

  /** 1 つの流れで順に尋ねる。 */
  async function ask(version: string, questions: readonly Kind[]): Promise<ServerReflectionResponse[]> {
    const stream = raw.client.makeBidiStreamRequest(
      `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`,
      (value: ServerReflectionRequest) => Buffer.from(toBinary(ServerReflectionRequestSchema, value)),
      (value) => fromBinary(ServerReflectionResponseSchema, value),
    );
    for (const messageRequest of questions) {
      stream.write(create(ServerReflectionRequestSchema, { host: "h", messageRequest }));
    }
    stream.end();
    const replies: ServerReflectionResponse[] = [];
    for await (const reply of stream) replies.push(reply);
    return replies;
  }
  const filesOf = ({ messageResponse }: ServerReflectionResponse) =>
    messageResponse.case === "fileDescriptorResponse"
      ? messageResponse.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes))
      : [];

  test.each(["v1", "v1alpha"])("%s lists the services", async (version) => {
    const [reply] = await ask(version, [{ case: "listServices", value: "" }]);
    expect(reply?.validHost).toBe("h");
    expect(reply?.originalRequest?.messageRequest.case).toBe("listServices");
    expect(reply?.messageResponse).toMatchObject({
      case: "listServicesResponse",
      value: {
        service: [
          { name: "tensorflow.serving.PredictionService" },
          { name: "tensorflow.serving.ModelService" },
          { name: "grpc.health.v1.Health" },
          { name: "grpc.reflection.v1.ServerReflection" },
          { name: "grpc.reflection.v1alpha.ServerReflection" },
        ],
      },
    });
  });

  test.each(["v1", "v1alpha"])("%s gives descriptors a client can rebuild and call with", async (version) => {
    const [reply] = await ask(version, [
      { case: "fileContainingSymbol", value: "tensorflow.serving.PredictionService.Predict" },
    ]);
    const file = filesOf(reply!);
    expect(file[0]?.name).toBe("tensorflow_serving/apis/prediction_service.proto");
    const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: file.toReversed() }));
    const method = registry.getService("tensorflow.serving.PredictionService")!.method["predict"]!;
    const request = create(method.input, {
      modelSpec: { name: "half_plus_two" },
      inputs: { x: { dtype: 1, floatVal: [2] } },
    } as never);
    const bytes = await raw.bytes(
      `/${method.parent.typeName}/${method.name}`,
      toBinary(method.input, request),
    );
    expect(fromBinary(method.output, bytes)).toMatchObject({ outputs: { y: { floatVal: [3] } } });
  });

  test("finds files by name and by every kind of symbol, and does not repeat dependencies", async () => {
    const tensorFile = "tensorflow/core/framework/tensor.proto";
    const replies = await ask("v1", [
      { case: "fileByFilename", value: tensorFile },
      { case: "fileContainingSymbol", value: "tensorflow.TensorProto" },
      { case: "fileContainingSymbol", value: "tensorflow.TensorProto.float_val" },
      { case: "fileContainingSymbol", value: "tensorflow.TensorShapeProto.Dim" },
      { case: "fileContainingSymbol", value: "tensorflow.DT_FLOAT" },
      { case: "fileContainingSymbol", value: "tensorflow.DataType" },
      { case: "fileContainingSymbol", value: "tensorflow.serving.ModelSpec.version_choice" },
      { case: "fileByFilename", value: "google/protobuf/any.proto" },
    ]);
    expect(replies.map((reply) => filesOf(reply).map(({ name }) => name))).toEqual([
      [
        tensorFile,
        "tensorflow/core/framework/resource_handle.proto",
        "tensorflow/core/framework/types.proto",
        "tensorflow/core/framework/tensor_shape.proto",
      ],
      [tensorFile],
      [tensorFile],
      ["tensorflow/core/framework/tensor_shape.proto"],
      ["tensorflow/core/framework/types.proto"],
      ["tensorflow/core/framework/types.proto"],
      ["tensorflow_serving/apis/model.proto", "google/protobuf/wrappers.proto"],
      ["google/protobuf/any.proto"],
    ]);
  });

  test.each<[string, Kind, number, string]>([
    ["file", { case: "fileByFilename", value: "no.proto" }, Code.NOT_FOUND, "File not found."],
    ["symbol", { case: "fileContainingSymbol", value: "no.such" }, Code.NOT_FOUND, "Symbol not found."],
    ["type", { case: "allExtensionNumbersOfType", value: "no.such" }, Code.NOT_FOUND, "Type not found."],
    [
      "extended type",
      {
        case: "fileContainingExtension",
        value: create(ServerReflectionRequestSchema.field["fileContainingExtension"]!.message!, {
          containingType: "no.such",
          extensionNumber: 1,
        } as never) as never,
      },
      Code.NOT_FOUND,
      "Type not found.",
    ],
    [
      "extension",
      {
        case: "fileContainingExtension",
        value: create(ServerReflectionRequestSchema.field["fileContainingExtension"]!.message!, {
          containingType: "tensorflow.TensorProto",
          extensionNumber: 1,
        } as never) as never,
      },
      Code.NOT_FOUND,
      "Extension not found.",
    ],
    ["question", { case: undefined }, Code.UNIMPLEMENTED, ""],
  ])(
    "an unknown %s is an answer, not the end of the stream",
    async (_, question, errorCode, errorMessage) => {
      const replies = await ask("v1", [question, { case: "listServices", value: "" }]);
      expect(replies[0]?.messageResponse).toMatchObject({
        case: "errorResponse",
        value: { errorCode, errorMessage },
      });
      expect(replies[1]?.messageResponse.case).toBe("listServicesResponse");
    },
  );

  test("a type without extensions has an empty list", async () => {
    const [reply] = await ask("v1", [{ case: "allExtensionNumbersOfType", value: "tensorflow.TensorProto" }]);
    expect(reply?.messageResponse).toMatchObject({
      case: "allExtensionNumbersResponse",
      value: { baseTypeName: "tensorflow.TensorProto", extensionNumber: [] },
    });
  });
});

describe("addresses", () => {
  const path = join(folder, "grpc.sock");

  test("one server listens on a port and on a UNIX socket, and takes the socket file away", async () => {
    const other = await startGrpc({ addresses: [{ host: "0.0.0.0", port: 0, reusePort: false }, { path }] });
    expect(other.targets[0]).toMatch(/^0\.0\.0\.0:[1-9]\d*$/);
    expect(other.targets[1]).toBe(`unix:${path}`);
    for (const address of [other.targets[0]!.replace("0.0.0.0", "127.0.0.1"), other.targets[1]!]) {
      using caller = new GrpcClient({ address });
      expect(await caller.health()).toBe(true);
    }
    await other.door.stop(60_000);
    expect(statSync(path, { throwIfNoEntry: false })).toBeUndefined();
  });

  test("a socket left by a dead server is replaced", async () => {
    // 落ちたサーバーは片付けずに去る。閉じた後にファイルだけを置き直して真似る。
    const left = createServer();
    await new Promise<void>((resolve) => left.listen(path, resolve));
    await using other = await startGrpc({ addresses: [{ path }] });
    using caller = new GrpcClient({ address: `unix:${path}` });
    expect(await caller.health()).toBe(true);
    left.close();
    expect(other.targets).toEqual([`unix:${path}`]);
  });

  test("a file that is no socket is left alone", async () => {
    const file = join(folder, "precious.txt");
    writeFileSync(file, "keep");
    expect(await failureOf(startGrpc({ addresses: [{ path: file }] }))).toBe(
      "INVALID_ARGUMENT: Failed to BuildAndStart gRPC server",
    );
    expect(readFileSync(file, "utf8")).toBe("keep");
  });

  test("a port in use ends the start", async () => {
    const port = Number(server.targets[0]!.split(":")[1]);
    expect(await failureOf(startGrpc({ addresses: [{ host: "127.0.0.1", port, reusePort: false }] }))).toBe(
      "INVALID_ARGUMENT: Failed to BuildAndStart gRPC server",
    );
  });

  test("with SO_REUSEPORT two servers share a port", async () => {
    await using first = await startGrpc({ addresses: [{ host: "127.0.0.1", port: 0, reusePort: true }] });
    const port = Number(first.targets[0]!.split(":")[1]);
    await using second = await startGrpc({ addresses: [{ host: "127.0.0.1", port, reusePort: true }] });
    expect(second.targets).toEqual(first.targets);
  });
});
