// 実行ファイルの大きさ、起動から最初の答えまで、常駐メモリ、毎秒の要求数を測る。
//   bun scripts/load/figures.ts [--binary=./iris-serving] [--requests=100000]
// サーバーはコア 0、負荷(wrk と h2load。Debian の wrk と nghttp2-client)はコア 1 に固定する。
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { create, toBinary } from "@bufbuild/protobuf";
import { DataType } from "../../src/gen/tensorflow/core/framework/types_pb.ts";
import { PredictRequestSchema } from "../../src/gen/tensorflow_serving/apis/predict_pb.ts";
import { root } from "../steps.ts";
import { freePort } from "./tools.ts";

const { values } = parseArgs({
  options: {
    binary: { type: "string", default: join(root, "iris-serving") },
    requests: { type: "string", default: "100000" },
  },
});
const requests = Number(values.requests);
const work = mkdtempSync(join(tmpdir(), "figures-"));
const BODY = JSON.stringify({ instances: [[5.1, 3.5, 1.4, 0.2]] });

async function start() {
  const [port, restPort] = [await freePort(), await freePort()];
  const started = performance.now();
  const child = Bun.spawn(
    [
      "taskset",
      "-c",
      "0",
      values.binary,
      `--port=${port}`,
      `--rest_api_port=${restPort}`,
      "--log_level=warn",
    ],
    { cwd: work, stdio: ["ignore", "ignore", "inherit"] },
  );
  const url = `http://127.0.0.1:${restPort}/v1/models/iris:predict`;
  for (;;) {
    const ok = await fetch(url, { method: "POST", body: BODY }).then(
      (reply) => reply.ok,
      () => false,
    );
    if (ok) return { child, port, url, firstAnswerMs: performance.now() - started };
    if (child.exitCode !== null) throw new Error("the server did not start");
    await Bun.sleep(1);
  }
}

async function rss(pid: number): Promise<number> {
  return Number(/VmRSS:\s+(\d+)/.exec(await Bun.file(`/proc/${pid}/status`).text())?.[1] ?? 0) / 1024;
}

async function output(command: readonly string[]): Promise<string> {
  const child = Bun.spawn(["taskset", "-c", "1", ...command], { stdio: ["ignore", "pipe", "inherit"] });
  const text = await new Response(child.stdout).text();
  if ((await child.exited) !== 0) throw new Error(`${command[0]} failed\n${text}`);
  return text;
}

const median = (list: number[]): number => list.sort((a, b) => a - b)[Math.floor(list.length / 2)]!;
const starts: number[] = [];
for (let i = 0; i < 11; i++) {
  const { child, firstAnswerMs } = await start();
  starts.push(firstAnswerMs);
  child.kill("SIGTERM");
  await child.exited;
}

const { child, port, url } = await start();
await Bun.sleep(1000);
const idle = await rss(child.pid);

const message = toBinary(
  PredictRequestSchema,
  create(PredictRequestSchema, {
    modelSpec: { name: "iris" },
    inputs: {
      input: {
        dtype: DataType.DT_FLOAT,
        tensorShape: { dim: [{ size: 1n }, { size: 4n }] },
        floatVal: [5.1, 3.5, 1.4, 0.2],
      },
    },
  }),
);
const framed = new Uint8Array(5 + message.length);
new DataView(framed.buffer).setUint32(1, message.length);
framed.set(message, 5);
const grpcBody = join(work, "predict.bin");
const restBody = join(work, "predict.json");
writeFileSync(grpcBody, framed);
writeFileSync(restBody, BODY);

const rate = (text: string): number =>
  Number(/finished in [^,]+, ([\d.]+) req\/s/.exec(text)?.[1] ?? Number.NaN);
const good = (text: string): boolean => new RegExp(`${requests} succeeded, 0 failed, 0 errored`).test(text);
const restText = await output(["h2load", "--h1", "-n", String(requests), "-c", "64", "-d", restBody, url]);
const grpcText = await output([
  "h2load",
  "-n",
  String(requests),
  "-c",
  "10",
  "-m",
  "10",
  "-d",
  grpcBody,
  "-H",
  "content-type: application/grpc",
  "-H",
  "te: trailers",
  `http://127.0.0.1:${port}/tensorflow.serving.PredictionService/Predict`,
]);
if (!good(restText) || !good(grpcText)) throw new Error(`a request failed\n${restText}\n${grpcText}`);
const loaded = await rss(child.pid);
child.kill("SIGTERM");
await child.exited;
rmSync(work, { recursive: true, force: true });
console.log(
  JSON.stringify(
    {
      bun: Bun.version,
      binaryMegabytes: statSync(values.binary).size / 1e6,
      firstAnswerMs: { median: median(starts), min: starts[0], max: starts.at(-1) },
      rssMegabytes: { idle, [`after${2 * requests}`]: loaded },
      requestsPerSecond: { rest: rate(restText), grpc: rate(grpcText) },
    },
    null,
    1,
  ),
);
