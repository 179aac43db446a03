import { describe, expect, test } from "bun:test";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { failedPrecondition } from "../../../src/base/status.ts";
import { PredictionLogSchema } from "../../../src/gen/tensorflow_serving/apis/prediction_log_pb.ts";
import type { ModelServable } from "../../../src/servables/model_servable.ts";
import { encodeRecord } from "../../../src/servables/tf_record.ts";
import { type WarmupRunner, warmUp } from "../../../src/servables/warmup.ts";
import { FakeFiles } from "../../helpers/fake_files.ts";
import { FakeHost } from "../../helpers/fake_host.ts";

const path = "/m/1/assets.extra/tf_serving_warmup_requests";
const servable: ModelServable = {
  id: { name: "m", version: 1n },
  signatures: new Map(),
  sha256: "",
  stateful: false,
  prepare: () => {
    throw new Error("not used");
  },
};

type LogType = NonNullable<MessageInitShape<typeof PredictionLogSchema>["logType"]>;
const spec = (signatureName: string) => ({ modelSpec: { name: "someone else", signatureName } });
const record = (logType: LogType | undefined): Uint8Array =>
  encodeRecord(toBinary(PredictionLogSchema, create(PredictionLogSchema, { logType })));

const predict = record({ case: "predictLog", value: { request: spec("p") } });
const classify = record({ case: "classifyLog", value: { request: spec("c") } });
const regress = record({ case: "regressLog", value: { request: spec("r") } });
const multiInference = record({
  case: "multiInferenceLog",
  value: { request: { tasks: [spec("a"), spec("b")] } },
});

/** 慣らし運転を終わりまで行い、走らせたものと終わり方を返す。 */
async function run(file: Uint8Array | undefined, numRequestIterations = 0, failing = false) {
  const host = new FakeHost();
  const ran: string[] = [];
  const note = (kind: string, signature: string | undefined): void => {
    ran.push(`${kind} ${signature}`);
    if (failing) throw failedPrecondition("Run failed");
  };
  const runner: WarmupRunner = {
    predict: (_, { modelSpec }) => note("predict", modelSpec?.signatureName),
    classify: (_, { modelSpec }) => note("classify", modelSpec?.signatureName),
    regress: async (_, { modelSpec }) => note("regress", modelSpec?.signatureName),
    multiInference: (_, { tasks }) =>
      note("multi", tasks.map(({ modelSpec }) => modelSpec?.signatureName).join("+")),
  };
  let result = "OK";
  const done = warmUp(host, new FakeFiles(file === undefined ? {} : { [path]: file }), "/m/1", servable, {
    runner,
    numRequestIterations,
  }).catch((thrown: unknown) => {
    result = String(thrown);
  });
  await host.clock.advance(0);
  while (Bun.peek.status(done) === "pending") await host.clock.settle();
  return { host, ran, result };
}

describe("warmUp()", () => {
  test("without a file does nothing", async () => {
    const { host, ran, result } = await run(undefined);
    expect([ran, result]).toEqual([[], "OK"]);
    expect(host.lines).toEqual([`I No warmup data file found at ${path}`]);
    expect(host.metrics.snapshot()).toEqual([]);
  });

  test("accepts a file without records", async () => {
    const { host, ran, result } = await run(new Uint8Array(0));
    expect([ran, result]).toEqual([[], "OK"]);
    expect(host.lines).toEqual([
      `I Starting to read warmup data for model at ${path} with model-warmup-options `,
      `I Finished reading warmup data for model at ${path}. Number of warmup records read: 0. Elapsed time (microseconds): 0.`,
    ]);
  });

  test("runs every kind in the order of the file, whatever the model spec says", async () => {
    const { host, ran, result } = await run(
      Buffer.concat([predict, classify, record(undefined), regress, multiInference]),
    );
    expect(result).toBe("OK");
    expect(ran).toEqual(["predict p", "classify c", "regress r", "multi a+b"]);
    expect(host.lines.at(-1)).toContain("Number of warmup records read: 5.");
    expect(
      host.metrics.snapshot().map(({ name, cells }) => [name, cells[0]?.labelValues, cells[0]?.value]),
    ).toEqual([
      ["/tensorflow/serving/model_warmup_latency", ["/m/1", "OK"], 0],
      ["/tensorflow/serving/model_warmup_records_read", ["/m/1", "OK"], 5],
    ]);
  });

  test("repeats each record", async () => {
    const { host, ran } = await run(Buffer.concat([predict, classify]), 2);
    expect(ran).toEqual(["predict p", "predict p", "classify c", "classify c"]);
    expect(host.lines[0]).toEndWith("with model-warmup-options num_request_iterations { value: 2 }");
  });

  test("allows a thousand records and runs one more before refusing", async () => {
    const records = (count: number) => Buffer.concat(new Array(count).fill(predict));
    expect((await run(records(1000))).result).toBe("OK");
    const { ran, result } = await run(records(1001));
    expect(result).toBe(`INVALID_ARGUMENT: Number of warmup records exceeds the maximum (1000) at ${path}`);
    expect(ran).toHaveLength(1001);
  });

  test("fails with the failure of a request", async () => {
    const { ran, result } = await run(Buffer.concat([predict, classify]), 0, true);
    expect([ran, result]).toEqual([["predict p"], "FAILED_PRECONDITION: Run failed"]);
  });

  test.each([
    ["sessionRunLog", "UNIMPLEMENTED: Unsupported log_type for warmup: 5"],
    ["predictStreamedLog", "UNIMPLEMENTED: Unsupported log_type for warmup: 7"],
  ] as const)("refuses %s", async (kind, expected) => {
    expect((await run(record({ case: kind, value: {} }))).result).toBe(expected);
  });

  test("runs a record without its request as an empty request", async () => {
    const { ran } = await run(
      Buffer.concat(
        (["predictLog", "classifyLog", "regressLog", "multiInferenceLog"] as const).map((kind) =>
          record({ case: kind, value: {} } as LogType),
        ),
      ),
    );
    expect(ran).toEqual(["predict undefined", "classify undefined", "regress undefined", "multi "]);
  });

  test("refuses what is not a PredictionLog", async () => {
    const { result } = await run(encodeRecord(new TextEncoder().encode("malformed_record")));
    expect(result).toBe(`INVALID_ARGUMENT: Failed to parse warmup record: malformed_record from ${path}`);
  });

  test("refuses what is not TFRecord", async () => {
    const { host, result } = await run(new TextEncoder().encode("not a tfrecord at all"));
    expect(result).toBe(
      "DATA_LOSS: corrupted record at 0 (Is this even a TFRecord file?). Please verify your warmup data is in TFRecord format.",
    );
    expect(host.metrics.snapshot()[0]?.cells[0]?.labelValues[1]).toBe(
      "DATA_LOSS: corrupted record at 0 (Is this even a TFRecord file?)",
    );
  });
});
