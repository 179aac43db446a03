// TF Serving の本物のソースから作ったサーバーに訊いて録った答え(scripts/upstream_answers.ts)と、同じ問いへの答えを比べる。
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRegistry, fromBinary, toJson } from "@bufbuild/protobuf";
import { wasmFiles } from "../../src/assets.ts";
import { systemClock } from "../../src/base/clock.ts";
import { silentLogger } from "../../src/base/log.ts";
import { Metrics } from "../../src/base/metrics.ts";
import { parseJson } from "../../src/client/json_text.ts";
import { SignatureDefMapSchema } from "../../src/gen/tensorflow_serving/apis/get_model_metadata_pb.ts";
import { parseOptions } from "../../src/options.ts";
import { diskStorage } from "../../src/savedmodel/storage.ts";
import { ModelServer } from "../../src/server.ts";
import { freePort } from "../helpers/free_port.ts";
import { askRest, methodOf, RpcDoor, type UpstreamAnswers } from "../helpers/upstream_doors.ts";
import { upstreamModels } from "../helpers/upstream_models.ts";

const answers: UpstreamAnswers = JSON.parse(
  readFileSync(join(import.meta.dir, "../fixtures/upstream/answers.json"), "utf8"),
);
const directory = mkdtempSync(join(tmpdir(), "upstream-answers-"));
let server: ModelServer;
let restPort: number;
let rpc: RpcDoor;

beforeAll(async () => {
  const config = join(directory, "models.config");
  writeFileSync(config, upstreamModels);
  const port = await freePort();
  restPort = await freePort();
  const { options } = parseOptions(
    [
      `--port=${port}`,
      `--rest_api_port=${restPort}`,
      `--model_config_file=${config}`,
      "--allow_version_labels_for_unavailable_models",
    ],
    {},
  );
  const host = { clock: systemClock, log: silentLogger, metrics: new Metrics() };
  server = new ModelServer(host, { options, storage: diskStorage, wasm: wasmFiles, cpus: 2 });
  await server.start();
  rpc = new RpcDoor(`127.0.0.1:${port}`);
});

afterAll(async () => {
  rpc[Symbol.dispose]();
  await server.stop(1000);
  rmSync(directory, { recursive: true });
});

/** TF Serving は名前の付いたものをハッシュの順に書くので、順序だけが違う答えは同じと見る。 */
function sameText(actual: string, expected: string): boolean {
  if (actual === expected) return true;
  if (actual.length !== expected.length || !expected.startsWith("{")) return false;
  return Bun.deepEquals(parseJson(actual), parseJson(expected), true);
}

test("REST", async () => {
  const different: unknown[] = [];
  for (const [method, target, body, status, type, text] of answers.rest) {
    const actual = await askRest(restPort, { method, target, ...(body === null ? {} : { body }) });
    if (actual.status === status && actual.type === type && sameText(actual.text, text)) continue;
    different.push({ method, target, body, expected: { status, type, text }, actual });
  }
  expect(different).toEqual([]);
});

/** 空白で終わる文面は、録るときに grpc-js の HTTP/2 が捨てた(相手は空白をそのまま送る)。 */
const sameDetails = (actual: string, expected: string): boolean =>
  actual === expected || (expected === "" && actual.endsWith(" "));

const registry = createRegistry(SignatureDefMapSchema);

test("gRPC", async () => {
  const different: unknown[] = [];
  for (const [name, text, code, details, message] of answers.rpc) {
    const actual = await rpc.ask({ rpc: name, text });
    const { output } = methodOf(name);
    const decoded = (base64: string) =>
      toJson(output, fromBinary(output, Buffer.from(base64, "base64")), { registry });
    const same =
      actual.code === code &&
      sameDetails(actual.details, details) &&
      (code !== 0 || Bun.deepEquals(decoded(actual.message), decoded(message), true));
    if (!same) different.push({ name, text, expected: { code, details, message }, actual });
  }
  expect(different).toEqual([]);
});
