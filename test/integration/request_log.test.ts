import { afterEach, beforeEach, expect, test } from "bun:test";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { wasmFiles } from "../../src/assets.ts";
import { systemClock } from "../../src/base/clock.ts";
import { silentLogger } from "../../src/base/log.ts";
import { Metrics } from "../../src/base/metrics.ts";
import { commands } from "../../src/cli/commands.ts";
import { PredictionLogSchema } from "../../src/gen/tensorflow_serving/apis/prediction_log_pb.ts";
import { parseOptions } from "../../src/options.ts";
import { diskStorage } from "../../src/savedmodel/storage.ts";
import { readRecords } from "../../src/servables/tf_record.ts";
import { ModelServer } from "../../src/server.ts";
import { freePort } from "../helpers/free_port.ts";

let work: string;
beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), "request-log-"));
  cpSync(join(import.meta.dir, "..", "..", "model", "iris"), join(work, "iris"), { recursive: true });
});
afterEach(() => rmSync(work, { recursive: true }));

async function start(logging: string) {
  const [port, rest] = [await freePort(), await freePort()];
  const config = join(work, "models.txt");
  writeFileSync(
    config,
    `model_config_list { config { name: "iris" base_path: "${join(work, "iris")}" model_platform: "tensorflow" ${logging} } }`,
  );
  const { options } = parseOptions(
    [`--port=${port}`, `--rest_api_port=${rest}`, `--model_config_file=${config}`],
    {},
  );
  const host = { clock: systemClock, log: silentLogger, metrics: new Metrics() };
  const server = new ModelServer(host, { options, storage: diskStorage, wasm: wasmFiles, cpus: 2 });
  await server.start();
  const post = async (verb: string, body: unknown): Promise<number> => {
    const url = `http://127.0.0.1:${rest}/v1/models/iris:${verb}`;
    return (await fetch(url, { method: "POST", body: JSON.stringify(body) })).status;
  };
  return { server, host, post };
}

const flower = { instances: [[5.1, 3.5, 1.4, 0.2]] };
const example = { sepal_length: 5.1, sepal_width: 3.5, petal_length: 1.4, petal_width: 0.2 };
const logging = (rate: number, type = "file") =>
  `logging_config { log_collector_config { type: "${type}" filename_prefix: "${join(work, "logs", "iris")}" } sampling_config { sampling_rate: ${rate} } }`;

function captured() {
  const folder = join(work, "logs");
  const [name, ...others] = readdirSync(folder);
  expect(others).toEqual([]);
  const path = join(folder, name!);
  const logs = Array.from(readRecords(readFileSync(path)), (bytes) => fromBinary(PredictionLogSchema, bytes));
  return { path, logs };
}

test("answered requests are captured, and a warm-up file made of them is replayed", async () => {
  const { server, host, post } = await start(logging(1));
  expect(await post("predict", flower)).toBe(200);
  expect(await post("predict", { instances: [[1]] })).toBe(400);
  expect(await post("classify", { signature_name: "classify", examples: [example] })).toBe(200);
  await server.stop(1000);

  const { path, logs } = captured();
  expect(logs.map(({ logType }) => logType.case)).toEqual(["predictLog", "classifyLog"]);
  const [first] = logs;
  expect(first!.logMetadata).toMatchObject({
    modelSpec: { name: "iris" },
    samplingConfig: { samplingRate: 1 },
  });
  const predict = first!.logType.value as { request: { inputs: Record<string, { floatVal: number[] }> } };
  expect(predict.request.inputs["input"]!.floatVal).toEqual(flower.instances[0]!.map(Math.fround));
  const count = host.metrics.snapshot().find(({ name }) => name === "/tensorflow/serving/request_log_count")!;
  expect(count.cells.map(({ labelValues, value }) => [...labelValues, value])).toEqual([["iris", "OK", 2]]);

  const directory = join(work, "iris", "1");
  expect(await commands.get("warmup")!.run(["record", directory, `--requests=${path}`])).toBe(0);
  const again = await start("");
  await again.server.stop(1000);
  const read = again.host.metrics
    .snapshot()
    .find(({ name }) => name === "/tensorflow/serving/model_warmup_records_read");
  expect(read?.cells.map(({ value }) => value)).toEqual([2]);
});

test("a rate of 0 captures nothing", async () => {
  const { server, post } = await start(logging(0));
  expect(await post("predict", flower)).toBe(200);
  await server.stop(1000);
  expect(() => readdirSync(join(work, "logs"))).toThrow();
});

test("a log that cannot be written does not fail a request, and is counted", async () => {
  writeFileSync(join(work, "logs"), "a file where the directory should be");
  const { server, host, post } = await start(logging(1));
  expect(await post("predict", flower)).toBe(200);
  await server.stop(1000);
  const count = host.metrics.snapshot().find(({ name }) => name === "/tensorflow/serving/request_log_count")!;
  expect(count.cells.map(({ labelValues, value }) => [...labelValues, value])).toEqual([
    ["iris", "UNAVAILABLE", 1],
  ]);
});

test("an unknown kind of log ends the start", async () => {
  const failure = await start(logging(1, "kafka")).then(
    () => "started",
    (error: unknown) => String(error),
  );
  expect(failure).toBe("NOT_FOUND: Cannot find LogCollector::Factory for type: kafka");
});
