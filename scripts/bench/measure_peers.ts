// 同じ網を出す、ほかのサーバー。どれも版を固定した仮想環境に置き、1 つの CPU に留める。
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { freePort } from "../load/tools.ts";
import { python } from "../python.ts";
import { bun, root } from "../steps.ts";
import { h2load, type RestTarget, wrk } from "./load.ts";
import type { Pace } from "./main.ts";
import { callRaw, flowers, PREDICT, predictFrame } from "./payloads.ts";
import { compare, interleave, type Row } from "./rounds.ts";
import { type Running, startServer } from "./servers.ts";
import { checkIris, post, type Subject, startIris } from "./subjects.ts";

const here = join(import.meta.dir, "peers");
const FLOWER = flowers(1);
/** 起動の遅いものでも待てる長さ。 */
const SECONDS = 120;

interface RestPeer {
  readonly server: Running;
  readonly target: RestTarget;
}

async function must(command: readonly string[]): Promise<void> {
  const child = Bun.spawn([...command], { stdio: ["ignore", "ignore", "pipe"] });
  const errors = await new Response(child.stderr).text();
  if ((await child.exited) !== 0) throw new Error(`${command.join(" ")}\n${errors.slice(-2000)}`);
}

/** 答えのなかの最大の確率が、最初の花の種類(setosa)のものか。 */
async function answersRight(target: RestTarget): Promise<boolean> {
  const [first, ...others] = [...(await post(target)).matchAll(/0\.\d+(?:e-\d+)?|\d(?:\.\d+)?e-\d+/g)]
    .map(Number)
    .slice(0, 3);
  return first !== undefined && first > 0.5 && others.every((each) => each < first);
}

type StartRest = (onnx: string, work: string) => Promise<RestPeer>;

const restPeers: Record<string, StartRest> = {
  async "FastAPI + uvicorn + onnxruntime"(onnx) {
    const port = await freePort();
    const target = {
      url: `http://127.0.0.1:${port}/v1/models/iris`,
      body: JSON.stringify({ instances: FLOWER }),
    };
    const command = [await python("fastapi", here), join(here, "fastapi_server.py"), onnx, String(port)];
    return { server: await startServer(command, () => answersRight(target), { seconds: SECONDS }), target };
  },
  async "MLServer + onnxruntime"(onnx, work) {
    const [port, grpc, metrics] = [await freePort(), await freePort(), await freePort()];
    const folder = join(work, "mlserver");
    mkdirSync(folder, { recursive: true });
    await Bun.write(
      join(folder, "model-settings.json"),
      JSON.stringify({ name: "iris", implementation: "mlserver_runtime.Iris" }),
    );
    const target = {
      url: `http://127.0.0.1:${port}/v2/models/iris/infer`,
      body: JSON.stringify({
        inputs: [{ name: "input", shape: [1, 4], datatype: "FP32", data: FLOWER.flat() }],
      }),
    };
    const env = {
      IRIS_ONNX: onnx,
      PYTHONPATH: here,
      MLSERVER_HOST: "127.0.0.1",
      MLSERVER_HTTP_PORT: String(port),
      MLSERVER_GRPC_PORT: String(grpc),
      MLSERVER_METRICS_PORT: String(metrics),
      MLSERVER_PARALLEL_WORKERS: "0",
      MLSERVER_DEBUG: "false",
    };
    const command = [join(await python("mlserver", here), "..", "mlserver"), "start", folder];
    const server = await startServer(command, () => answersRight(target), { env, seconds: SECONDS });
    return { server, target };
  },
  async "BentoML + onnxruntime"(onnx, work) {
    const port = await freePort();
    const target = { url: `http://127.0.0.1:${port}/predict`, body: JSON.stringify({ instances: FLOWER }) };
    const env = {
      IRIS_ONNX: onnx,
      BENTOML_HOME: join(work, "bentoml"),
      BENTOML_DO_NOT_TRACK: "True",
    };
    const bentoml = join(await python("bentoml", here), "..", "bentoml");
    const command = [bentoml, "serve", "bentoml_service:Iris", "--working-dir", here].concat(
      "--host",
      "127.0.0.1",
      "--port",
      String(port),
    );
    const server = await startServer(command, () => answersRight(target), { env, seconds: SECONDS });
    return { server, target };
  },
};

async function measureRest(
  work: string,
  ours: Subject,
  name: string,
  { server, target }: RestPeer,
  { rounds, seconds }: Pace,
): Promise<Row> {
  const pair = await interleave(
    Math.min(rounds, 3),
    async () => (await wrk(work, ours.rest(1), 64, seconds)).perSecond,
    async () => (await wrk(work, target, 64, seconds)).perSecond,
  );
  await server.stop();
  return compare(`REST, 1 row, 64 connections ÷ ${name}`, "requests/s", pair, { atLeast: 20 });
}

async function measureGrpc(work: string, ours: Subject, { rounds, seconds }: Pace): Promise<Row> {
  const port = await freePort();
  const frame = predictFrame(FLOWER, false);
  const address = `127.0.0.1:${port}`;
  const command = [await python("tensorflow", here), join(here, "grpc_tensorflow.py")];
  const server = await startServer(
    [...command, join(root, "model", "iris", "1"), String(port)],
    async () => (await callRaw(address, PREDICT, frame)).length > 0,
    { seconds: SECONDS },
  );
  const answerBytes = (await callRaw(address, PREDICT, frame)).length + 5;
  const theirs = { origin: `http://${address}`, path: PREDICT, frame, answerBytes };
  const target = await ours.grpc(1, false);
  const pair = await interleave(
    Math.min(rounds, 3),
    async () => (await h2load(work, target, 10, 10, seconds)).perSecond,
    async () => (await h2load(work, theirs, 10, 10, seconds)).perSecond,
  );
  await server.stop();
  return compare("gRPC, 1 row, 10 × 10 streams ÷ grpcio + TensorFlow", "requests/s", pair, { atLeast: 20 });
}

function unmeasured(name: string, error: unknown): Row {
  const reason = (error instanceof Error ? error.message : String(error)).split("\n")[0]!;
  console.error(`✗ ${name}: ${error}`);
  return {
    figure: name,
    goal: "≥ 20.00",
    unit: "",
    met: false,
    note: `not measured: ${reason.slice(0, 200)}`,
  };
}

export async function measurePeers(work: string, pace: Pace): Promise<Row[]> {
  const [weights, onnx] = [join(work, "weights.json"), join(work, "iris.onnx")];
  await must([bun, join(root, "scripts", "reference_outputs.ts"), weights]);
  await must([await python("fastapi", here), join(here, "network.py"), weights, onnx]);
  const ours = await startIris();
  const rows: Row[] = [];
  const peers: Record<string, () => Promise<Row>> = {
    ...Object.fromEntries(
      Object.entries(restPeers).map(([name, start]) => [
        name,
        async () => measureRest(work, ours, name, await start(onnx, work), pace),
      ]),
    ),
    "grpcio + TensorFlow": () => measureGrpc(work, ours, pace),
  };
  for (const [name, measure] of Object.entries(peers)) {
    console.log(`▸ ${name}`);
    // 入らない相手がいても、ほかの相手は測れる。測れなかったことは表に残す。
    rows.push(await measure().catch((error: unknown) => unmeasured(name, error)));
  }
  await checkIris(ours);
  await ours.server.stop();
  return rows;
}
