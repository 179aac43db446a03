import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { embeddedModel, wasmFiles } from "../../src/assets.ts";
import { systemClock } from "../../src/base/clock.ts";
import { silentLogger } from "../../src/base/log.ts";
import { type CellSnapshot, Metrics } from "../../src/base/metrics.ts";
import type { ExampleSchema } from "../../src/gen/tensorflow/core/example/example_pb.ts";
import { DataType } from "../../src/gen/tensorflow/core/framework/types_pb.ts";
import { PredictionLogSchema } from "../../src/gen/tensorflow_serving/apis/prediction_log_pb.ts";
import { parseOptions } from "../../src/options.ts";
import { diskStorage } from "../../src/savedmodel/storage.ts";
import { encodeRecord } from "../../src/servables/tf_record.ts";
import { ModelServer } from "../../src/server.ts";
import { freePort } from "../helpers/free_port.ts";

const directory = mkdtempSync(join(tmpdir(), "iris-warmup-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const float = (value: number) => ({ kind: { case: "floatList" as const, value: { value: [value] } } });
const example: MessageInitShape<typeof ExampleSchema> = {
  features: {
    feature: {
      sepal_length: float(5.1),
      sepal_width: float(3.5),
      petal_length: float(1.4),
      petal_width: float(0.2),
    },
  },
};
const classify = { name: "iris", signatureName: "classify" };
const CLASSIFY = "tensorflow/serving/classify";
const predict = (width: number): MessageInitShape<typeof PredictionLogSchema> => ({
  logType: {
    case: "predictLog",
    value: {
      request: {
        modelSpec: { name: "some_other_name" },
        inputs: {
          input: {
            dtype: DataType.DT_FLOAT,
            tensorShape: { dim: [{ size: 1n }, { size: BigInt(width) }] },
            floatVal: [1],
          },
        },
      },
    },
  },
});

/** 記録を付けたモデルで起動し、止めて、残った指標のセルの引き方を返す。 */
async function start(
  directoryName: string,
  records: MessageInitShape<typeof PredictionLogSchema>[],
): Promise<(name: string) => readonly CellSnapshot[]> {
  const base = join(directory, directoryName);
  for (const [path, asset] of embeddedModel) {
    mkdirSync(dirname(join(base, path)), { recursive: true });
    writeFileSync(join(base, path), await Bun.file(asset).bytes());
  }
  mkdirSync(join(base, "1/assets.extra"), { recursive: true });
  writeFileSync(
    join(base, "1/assets.extra/tf_serving_warmup_requests"),
    Buffer.concat(
      records.map((record) =>
        encodeRecord(toBinary(PredictionLogSchema, create(PredictionLogSchema, record))),
      ),
    ),
  );
  const metrics = new Metrics();
  const { options } = parseOptions(
    [
      `--port=${await freePort()}`,
      "--rest_api_port=0",
      `--model_base_path=${base}`,
      "--max_num_load_retries=0",
    ],
    {},
  );
  const server = new ModelServer(
    { clock: systemClock, log: silentLogger, metrics },
    { options, storage: diskStorage, wasm: wasmFiles, cpus: 1 },
  );
  try {
    await server.start();
  } finally {
    await server.stop(0);
  }
  return (name) => metrics.snapshot().find((one) => one.name === `/tensorflow/serving/${name}`)!.cells;
}

test("every kind of request is replayed before the version is served", async () => {
  const cellsOf = await start("good", [
    predict(4),
    {
      logType: {
        case: "classifyLog",
        value: {
          request: {
            modelSpec: classify,
            input: { kind: { case: "exampleList", value: { examples: [example] } } },
          },
        },
      },
    },
    {
      logType: {
        case: "multiInferenceLog",
        value: {
          request: {
            tasks: [{ modelSpec: classify, methodName: CLASSIFY }],
            input: { kind: { case: "exampleListWithContext", value: { examples: [{}], context: example } } },
          },
        },
      },
    },
  ]);
  expect(cellsOf("model_warmup_records_read").map(({ value }) => value)).toEqual([3]);
  // 名前は提供には関わらないが、TF Serving と同じく、指標は記録の中の名前で数える。
  const runs = cellsOf("runtime_latency").map(({ labelValues, count }) => [
    ...labelValues.slice(0, 2),
    count,
  ]);
  expect(runs).toEqual([
    ["some_other_name", "Predict", 1],
    ["iris", "Classify", 1],
  ]);
});

test.each<[string, MessageInitShape<typeof PredictionLogSchema>, string]>([
  ["a request that the model refuses", predict(3), "Matrix size-incompatible"],
  [
    "a regression on a classifier",
    { logType: { case: "regressLog", value: { request: { modelSpec: classify } } } },
    "Expected one output Tensor.",
  ],
  [
    "a kind that cannot be replayed",
    { logType: { case: "sessionRunLog", value: {} } },
    "Unsupported log_type for warmup: 5",
  ],
])("the load fails on %s", async (name, record, message) => {
  await expect(start(name.replaceAll(" ", "_"), [record])).rejects.toThrow(message);
});
