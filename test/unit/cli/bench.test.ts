import { describe, expect, test } from "bun:test";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Latencies } from "../../../src/cli/bench_latencies.ts";
import { Load, type LoadClock } from "../../../src/cli/bench_load.ts";
import { type BenchSubject, progressLine, toJson, toText } from "../../../src/cli/bench_report.ts";
import { grpcRequests, recordedRequests, restRequests } from "../../../src/cli/bench_requests.ts";
import { UsageError } from "../../../src/cli/command.ts";
import { inputsOfBody, sampleInputs, toJsonColumns, toRestBody } from "../../../src/cli/json_tensors.ts";
import { readData } from "../../../src/cli/request_data.ts";
import { PredictRequestSchema } from "../../../src/gen/tensorflow_serving/apis/predict_pb.ts";
import { PredictionLogSchema } from "../../../src/gen/tensorflow_serving/apis/prediction_log_pb.ts";
import { encodeRecord } from "../../../src/servables/tf_record.ts";
import { type DType, wireOfDType } from "../../../src/tensor/dtype.ts";
import {
  PREDICT_METHOD,
  REGRESS_METHOD,
  type Signature,
  type TensorInfo,
} from "../../../src/tensor/signature.ts";
import { tensor } from "../../../src/tensor/tensor.ts";

const info = (dtype: DType, shape?: readonly number[]): TensorInfo => ({
  name: "t:0",
  wireDType: wireOfDType(dtype),
  dtype,
  shape,
});
const signature = (inputs: Record<string, TensorInfo>, methodName = PREDICT_METHOD): Signature => ({
  key: "serving_default",
  methodName,
  inputs: new Map(Object.entries(inputs)),
  outputs: new Map(),
  defaults: new Map(),
});
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const bytes = (value: string): Uint8Array => new TextEncoder().encode(value);

/** 眠ると進む時計。 */
function fakeClock(): LoadClock & { advance(ms: number): void } {
  let now = 1000;
  return {
    monotonicMs: () => now,
    sleep: async (ms) => {
      now += ms;
    },
    advance: (ms) => {
      now += ms;
    },
  };
}

describe("Latencies", () => {
  test("keeps percentiles to three digits and counts by 1-2-5 steps", () => {
    const latencies = new Latencies();
    for (let ms = 1; ms <= 1000; ms++) latencies.add(ms);
    expect(latencies.count).toBe(1000);
    expect(Math.abs(latencies.percentile(50) - 500)).toBeLessThan(1);
    expect(Math.abs(latencies.percentile(99) - 990)).toBeLessThan(1);
    expect(latencies.summary()).toMatchObject({ min: 1, max: 1000 });
    expect(latencies.buckets()).toEqual([
      { leMs: 1, count: 1 },
      { leMs: 2, count: 1 },
      { leMs: 5, count: 3 },
      { leMs: 10, count: 5 },
      { leMs: 20, count: 10 },
      { leMs: 50, count: 30 },
      { leMs: 100, count: 50 },
      { leMs: 200, count: 100 },
      { leMs: 500, count: 300 },
      { leMs: 1000, count: 500 },
    ]);
  });

  test("is empty without values, and the last step has no end", () => {
    expect(new Latencies().buckets()).toEqual([]);
    expect(new Latencies().percentile(99)).toBe(0);
    expect(new Latencies().summary()).toEqual({ min: 0, mean: 0, stdev: 0, max: 0 });
    const slow = new Latencies();
    slow.add(60_000);
    expect(slow.buckets()).toEqual([{ leMs: Number.POSITIVE_INFINITY, count: 1 }]);
  });
});

describe("Load", () => {
  test("sends exactly the requests asked for, each once", async () => {
    const sent: number[] = [];
    const load = new Load(fakeClock(), { concurrency: 3, requests: 10, durationMs: 1e9, rate: 0 });
    const tally = await load.run(async (i) => {
      sent.push(i);
      return 5;
    });
    expect(sent.sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect([tally.latencies.count, tally.failed, tally.bytesReceived]).toEqual([10, 0, 50]);
  });

  test("stops at the end of the time", async () => {
    const clock = fakeClock();
    const load = new Load(clock, { concurrency: 1, durationMs: 100, rate: 0 });
    const tally = await load.run(async () => {
      clock.advance(10);
      return 1;
    });
    expect([tally.latencies.count, tally.elapsedMs]).toEqual([10, 100]);
  });

  test("keeps a rate, and counts lateness as latency", async () => {
    const clock = fakeClock();
    const load = new Load(clock, { concurrency: 1, durationMs: 50, rate: 100 });
    // 1 件目が 30 ms かかり、10 ms ごとの 2 件目と 3 件目は遅れて出る。
    const tally = await load.run(async (i) => {
      clock.advance(i === 0 ? 30 : 1);
      return 1;
    });
    expect(tally.latencies.count).toBe(5);
    expect(tally.latencies.summary()).toMatchObject({ min: 1, max: 30 });
    expect(tally.latencies.buckets()).toEqual([
      { leMs: 1, count: 1 },
      { leMs: 2, count: 0 },
      { leMs: 5, count: 1 },
      { leMs: 10, count: 0 },
      { leMs: 20, count: 1 },
      { leMs: 50, count: 2 },
    ]);
  });

  test("groups failures by text, up to a limit, and stops when told", async () => {
    const clock = fakeClock();
    const load: Load = new Load(clock, { concurrency: 2, durationMs: 1e9, rate: 0 });
    const tally = await load.run(async (i) => {
      if (i === 99) load.stop();
      throw new Error(i % 2 === 0 ? "even" : `odd ${i}`);
    });
    expect(tally.failed).toBeGreaterThanOrEqual(100);
    expect(tally.failures.get("even")).toBe(Math.ceil(tally.failed / 2));
    expect(tally.failures.size).toBe(21);
    expect(tally.failures.get("other failures")).toBe(tally.failed - Math.ceil(tally.failed / 2) - 19);
  });
});

describe("made-up requests", () => {
  test.each([
    [
      "one input: rows",
      { x: info("float", [-1, 2]) },
      {
        instances: [
          [0, 0.125],
          [0.25, 0.375],
        ],
      },
    ],
    [
      "several inputs: named rows",
      { n: info("int64", [-1]), s: info("string", [-1]) },
      {
        instances: [
          { n: 1n, s: "sample" },
          { n: 1n, s: "sample" },
        ],
      },
    ],
    ["a scalar: columns", { x: info("int32", []) }, { inputs: { x: 1 } }],
    ["bool", { b: info("bool", [-1, 1]) }, { instances: [[true], [true]] }],
    ["another unknown dimension is 1", { x: info("double", [-1, -1]) }, { instances: [[0], [0.125]] }],
  ])("%s", (_, inputs, body) => {
    expect(toRestBody(sampleInputs(signature(inputs as Record<string, TensorInfo>), 2))).toEqual(body);
  });

  test("complex numbers and values that cannot exist are refused", () => {
    expect(() => toRestBody(sampleInputs(signature({ x: info("complex64", [1]) }), 1))).toThrow(UsageError);
    expect(() => sampleInputs(signature({ x: { ...info("float", [1]), dtype: undefined } }), 1)).toThrow(
      UsageError,
    );
  });

  test("single precision is written as short as it can be", () => {
    const values = Float32Array.of(0.1, 1 / 3, 0.49706074595451355, 16777217, 1e-45, NaN, -Infinity);
    const { x } = toJsonColumns(new Map([["x", tensor("float", [values.length], values)]]));
    expect(x).toEqual([0.1, 0.33333334, 0.49706075, 16777216, 1.4013e-45, NaN, -Infinity]);
    expect((x as number[]).map(Math.fround)).toEqual([...values]);
  });

  test("by gRPC: the same values as tensors, with the version", () => {
    const [{ path, body }] = grpcRequests(
      { name: "m", version: 3n },
      signature({ x: info("float", [-1, 2]) }),
      1,
      undefined,
    ) as [{ path: string; body: Uint8Array }];
    expect(path).toBe("/tensorflow.serving.PredictionService/Predict");
    const request = fromBinary(PredictRequestSchema, body);
    expect(request.modelSpec).toMatchObject({ name: "m", signatureName: "serving_default" });
    expect(request.modelSpec!.versionChoice).toMatchObject({ case: "version", value: { value: 3n } });
    expect(request.inputs["x"]!.tensorContent).toHaveLength(8);
  });
});

describe("--data", () => {
  const one = signature({ x: info("float", [-1, 2]) });
  const two = signature({ a: info("int64", [-1]), s: info("string", [-1]) });

  test("is one body, or one per line", () => {
    expect(readData("f", bytes('{\n "instances": [1]\n}\n'))).toEqual({
      kind: "bodies",
      bodies: [{ instances: [1] }],
    });
    expect(readData("f", bytes('{"instances":[1]}\n\n{"inputs":2}\n'))).toMatchObject({
      bodies: [{ instances: [1] }, { inputs: 2 }],
    });
  });

  test.each(["", "[1]", "{", '{"a":1}\n{'])("refuses %j", (given) => {
    expect(() => readData("f", bytes(given))).toThrow(UsageError);
  });

  test("goes by REST as it stands, to the verb it is for", () => {
    const data = readData("f", bytes('{"instances":[[1,2]]}\n{"signature_name":"own","examples":[{"x":1}]}'));
    expect(restRequests({ name: "a b" }, one, 1, data).map(({ path, body }) => [path, text(body)])).toEqual([
      ["/v1/models/a%20b:predict", '{"signature_name":"serving_default","instances":[[1,2]]}'],
      ["/v1/models/a%20b:classify", '{"signature_name":"own","examples":[{"x":1}]}'],
    ]);
    const regress = signature({}, REGRESS_METHOD);
    expect(
      restRequests({ name: "m", version: 2n }, regress, 1, readData("f", bytes('{"examples":[]}')))[0]!.path,
    ).toBe("/v1/models/m/versions/2:regress");
  });

  test.each([
    [
      "rows",
      one,
      {
        instances: [
          [1, 2],
          [3, 4],
        ],
      },
      {
        x: [
          [2, 2],
          [1, 2, 3, 4],
        ],
      },
    ],
    [
      "columns",
      one,
      { inputs: { x: [[1, 2]] } },
      {
        x: [
          [1, 2],
          [1, 2],
        ],
      },
    ],
    [
      "one column without a name",
      one,
      { inputs: [[1, 2]] },
      {
        x: [
          [1, 2],
          [1, 2],
        ],
      },
    ],
    [
      "named rows",
      two,
      {
        instances: [
          { a: 1, s: "é" },
          { a: 2n, s: { b64: "AP8=" } },
        ],
      },
      {
        a: [[2], [1n, 2n]],
        s: [
          [2],
          [
            [195, 169],
            [0, 255],
          ],
        ],
      },
    ],
  ])("becomes tensors for gRPC: %s", (_, sig, body, expected) => {
    const inputs = inputsOfBody(body as never, sig);
    const plain = Object.fromEntries(
      [...inputs].map(([alias, { shape, data }]) => [
        alias,
        [shape, [...data].map((item) => (item instanceof Uint8Array ? [...item] : item))],
      ]),
    );
    expect(plain).toEqual(expected as never);
  });

  test.each([
    ["neither form", one, { examples: [] }],
    ["not rectangular", one, { instances: [[1, 2], [3]] }],
    ["an unknown input", one, { inputs: { y: 1 } }],
    ["text for numbers", one, { instances: [["a", "b"]] }],
    ["numbers for text", two, { inputs: { s: [1] } }],
    ["a row without one input", two, { instances: [{ a: 1, s: "" }, { a: 1 }] }],
  ])("is refused: %s", (_, sig, body) => {
    expect(() => inputsOfBody(body as never, sig)).toThrow(UsageError);
  });

  test("may be recorded requests, sent to the model that is named", () => {
    const record = encodeRecord(
      toBinary(
        PredictionLogSchema,
        create(PredictionLogSchema, {
          logType: { case: "predictLog", value: { request: { modelSpec: { name: "old" } } } },
        }),
      ),
    );
    const data = readData("f", record);
    if (data.kind !== "records") throw new Error("not recognised as records");
    for (const [name, expected] of [
      [undefined, "old"],
      ["new", "new"],
    ] as const) {
      const [request] = recordedRequests(data.records, name);
      expect(fromBinary(PredictRequestSchema, request!.body).modelSpec!.name).toBe(expected);
    }
    expect(() => restRequests({ name: "m" }, one, 1, data)).toThrow(/--grpc/);
    record[14]! ^= 1;
    expect(() => readData("f", record)).toThrow(/corrupted/);
  });

  test.each([
    ["classifyLog", "Classify"],
    ["regressLog", "Regress"],
    ["multiInferenceLog", "MultiInference"],
  ] as const)("sends a %s by %s", (kind, method) => {
    const log = create(PredictionLogSchema, { logType: { case: kind, value: {} } } as never);
    expect(recordedRequests([toBinary(PredictionLogSchema, log)], "m")[0]!.path).toEndWith(`/${method}`);
  });

  test("a record without a request is refused", () => {
    expect(() => recordedRequests([new Uint8Array(0)], undefined)).toThrow(UsageError);
  });
});

describe("report", () => {
  const subject: BenchSubject = {
    protocol: "grpc",
    target: "h:1",
    model: "m",
    signature: "serving_default",
    connections: 2,
    bodies: 1,
    bytesPerRequest: 30,
    startedAt: "2026-01-01T00:00:00.000Z",
  };
  const plan = { concurrency: 4, durationMs: 1000, rate: 0 };
  const latencies = new Latencies();
  for (const ms of [1, 2, 3]) latencies.add(ms);
  const tally = {
    latencies,
    failures: new Map([["UNAVAILABLE: x", 1]]),
    failed: 1,
    bytesReceived: 9,
    elapsedMs: 1500,
  };

  test("is JSON with units in the names", () => {
    expect(toJson(subject, plan, tally)).toMatchObject({
      protocol: "grpc",
      signature: "serving_default",
      requests: 4,
      failed: 1,
      elapsed_s: 1.5,
      requests_per_s: 2,
      latency_ms: { min: 1, p50: 2, max: 3 },
      histogram: [
        { le_ms: 1, count: 1 },
        { le_ms: 2, count: 1 },
        { le_ms: 5, count: 1 },
      ],
      errors: [{ message: "UNAVAILABLE: x", count: 1 }],
    });
  });

  test("is text with a bar for each step", () => {
    const report = toText(subject, plan, tally);
    expect(report).toStartWith("4 requests in 1.50 s, 4 at a time on 2 connections: 2 answers/s, 1 failed");
    expect(report).toContain(`<= 5 ms          1  ${"█".repeat(40)}`);
    expect(report).toEndWith("failed 1: UNAVAILABLE: x");
    expect(progressLine(tally)).toBe("1.5 s  4 requests  2/s  p50 2.00 ms  p99 3.00 ms  1 failed");
  });
});
