// `--processes=3` の実行ファイルを外から試す。状態、再設定、指標が全体のものか、殺された働き手が起こし直されるか、
// SIGTERM で全員が降りるか、親を失った働き手が残らないか。
//   bun test/interop/processes.ts BINARY
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Client, credentials } from "@grpc/grpc-js";
import { freePort } from "../../scripts/load/tools.ts";
import { RestClient } from "../../src/client/rest_client.ts";
import {
  ReloadConfigRequestSchema,
  type ReloadConfigResponse,
  ReloadConfigResponseSchema,
} from "../../src/gen/tensorflow_serving/apis/model_management_pb.ts";

const binary = process.argv[2];
if (binary === undefined) throw new Error("usage: bun test/interop/processes.ts BINARY");

const PROCESSES = 3;
const model = join(import.meta.dir, "..", "..", "model", "iris");
const work = mkdtempSync(join(tmpdir(), "processes-"));
const monitoring = join(work, "monitoring.txt");
writeFileSync(monitoring, "prometheus_config { enable: true }");
const [port, restPort] = [await freePort(), await freePort()];
const origin = `http://127.0.0.1:${restPort}`;

let passed = 0;
let failed = 0;
async function check(name: string, body: () => Promise<void>): Promise<void> {
  try {
    await body();
    passed++;
    console.log(`ok   ${name}`);
  } catch (error) {
    failed++;
    console.log(`FAIL ${name}: ${error instanceof Error ? error.stack : error}`);
  }
}

function equal(actual: unknown, expected: unknown): void {
  if (!Bun.deepEquals(actual, expected)) {
    throw new Error(`expected ${Bun.inspect(expected)}, got ${Bun.inspect(actual)}`);
  }
}

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!(await condition().catch(() => false))) {
    if (performance.now() > deadline) throw new Error(`waited in vain: ${what}`);
    await Bun.sleep(50);
  }
}

function start() {
  return Bun.spawn(
    [
      binary!,
      `--port=${port}`,
      `--rest_api_port=${restPort}`,
      `--processes=${PROCESSES}`,
      "--model_name=iris",
      `--model_base_path=${model}`,
      `--monitoring_config_file=${monitoring}`,
      "--log_level=warn",
    ],
    { cwd: work, stdio: ["ignore", "ignore", "inherit"] },
  );
}

/** 新しい接続で尋ねる。どの働き手に届くかは、接続ごとに変わる。 */
async function ask(path: string, body?: string): Promise<string> {
  const response = await fetch(`${origin}${path}`, {
    headers: { Connection: "close" },
    ...(body === undefined ? {} : { method: "POST", body }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${response.status} ${text}`);
  return text;
}

async function metric(name: string): Promise<number> {
  const page = await ask("/monitoring/prometheus/metrics");
  const [, value] = new RegExp(`^${name}(?:\\{[^}]*\\})? (\\d+)$`, "m").exec(page) ?? [];
  return Number(value);
}

const childrenOf = (pid: number): number[] =>
  Bun.spawnSync(["pgrep", "-P", String(pid)])
    .stdout.toString()
    .split("\n")
    .filter(Boolean)
    .map(Number);
const isAlive = (pid: number): boolean => Bun.spawnSync(["kill", "-0", String(pid)]).exitCode === 0;

/** 設定を置き換え、リストの名前だけを提供させる。 */
function reload(name: string): Promise<ReloadConfigResponse> {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  const request = create(ReloadConfigRequestSchema, {
    config: {
      config: {
        case: "modelConfigList",
        value: { config: [{ name, basePath: model, modelPlatform: "tensorflow" }] },
      },
    },
  });
  const { promise, resolve, reject } = Promise.withResolvers<ReloadConfigResponse>();
  client.makeUnaryRequest(
    "/tensorflow.serving.ModelService/HandleReloadConfigRequest",
    (value: typeof request) => Buffer.from(toBinary(ReloadConfigRequestSchema, value)),
    (bytes) => fromBinary(ReloadConfigResponseSchema, bytes),
    request,
    (error, response) => (error === null ? resolve(response!) : reject(error)),
  );
  return promise.finally(() => client.close());
}

let server = start();
const FLOWER = JSON.stringify({ instances: [[5.1, 3.5, 1.4, 0.2]] });
const answersEverywhere = async (name: string) => {
  for (let i = 0; i < 40; i++) await ask(`/v1/models/${name}:predict`, FLOWER);
};

await check(`${PROCESSES} processes serve on one pair of ports`, async () => {
  await until("all serve", async () => (await metric(":iris_serving:processes")) === PROCESSES);
  equal(childrenOf(server.pid).length, PROCESSES);
  await answersEverywhere("iris");
});

await check("the metrics page counts the requests of all processes", async () => {
  const before = await metric(":tensorflow:serving:request_count");
  await answersEverywhere("iris");
  equal((await metric(":tensorflow:serving:request_count")) - before, 40);
});

await check("a reload reaches every process, and so does the status", async () => {
  await reload("flowers");
  await answersEverywhere("flowers");
  const states = await new RestClient({ origin }).getModelStatus({ name: "flowers" });
  equal(
    states.map(({ state }) => state),
    ["AVAILABLE"],
  );
});

await check("a killed process is replaced, with the reloaded configuration", async () => {
  const [victim] = childrenOf(server.pid);
  process.kill(victim!, "SIGKILL");
  await until("replaced", async () => (await metric(":iris_serving:process_restarts_total")) === 1);
  await until("all serve", async () => (await metric(":iris_serving:processes")) === PROCESSES);
  equal(childrenOf(server.pid).includes(victim!), false);
  await answersEverywhere("flowers");
});

await check("SIGTERM drains every process and exits with 0", async () => {
  const children = childrenOf(server.pid);
  server.kill("SIGTERM");
  equal(await server.exited, 0);
  equal(children.filter(isAlive), []);
});

await check("processes whose supervisor was killed do not stay behind", async () => {
  server = start();
  await until("all serve", async () => (await metric(":iris_serving:processes")) === PROCESSES);
  const children = childrenOf(server.pid);
  server.kill("SIGKILL");
  await server.exited;
  await until("gone", async () => !children.some(isAlive));
});

await check("a start that cannot succeed exits with 255, once", async () => {
  const child = Bun.spawn(
    [binary, `--port=${port}`, "--rest_api_port=0", "--processes=2", "--model_config_file=/nowhere"],
    { cwd: work, stdio: ["ignore", "ignore", "pipe"] },
  );
  const errors = await new Response(child.stderr).text();
  equal(await child.exited, 255);
  equal(errors.match(/Failed to start server/g)?.length, 1);
});

server.kill("SIGKILL");
rmSync(work, { recursive: true, force: true });
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
