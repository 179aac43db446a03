// 負荷を掛けたまま版を入れ替え続け、失敗、混ざった答え、遅れ、メモリの増えを測る。
//   bun scripts/load/swap.ts [--swaps=200] [--pause_ms=0] [--binary=./iris-serving] [--json=FILE] [--svg=FILE]
// 二つの入口に 4 本ずつ、休まず要求を送る。版は奇数と偶数で答えが違い、答えから版が分かる。
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { GrpcClient } from "../../src/client/grpc_client.ts";
import { RestClient } from "../../src/client/rest_client.ts";
import { writeSavedModel } from "../../src/savedmodel/writer.ts";
import { tensor } from "../../src/tensor/tensor.ts";
import { root } from "../steps.ts";
import { constantNetwork } from "./constant_network.ts";
import { type LatencySample, type MemorySample, memoryWindows, plotSwaps } from "./swap_plot.ts";
import { freePort, percentile } from "./tools.ts";

const { values } = parseArgs({
  options: {
    swaps: { type: "string", default: "200" },
    binary: { type: "string", default: join(root, "iris-serving") },
    pause_ms: { type: "string", default: "0" },
    json: { type: "string" },
    svg: { type: "string" },
  },
});
const swaps = Number(values.swaps);
const pauseMs = Number(values.pause_ms);
const STREAMS = 4;
const ROW = [5.1, 3.5, 1.4, 0.2];

const base = mkdtempSync(join(tmpdir(), "swap-"));
/** 偶数の版はクラス 0、奇数の版はクラス 2 を答える。 */
const answerOf = (version: number): number => (version % 2 === 0 ? 0 : 2);

function place(version: number): void {
  for (const [path, bytes] of writeSavedModel(constantNetwork(answerOf(version)))) {
    const file = join(base, "m", String(version), path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, bytes);
  }
}

async function rssMegabytes(pid: number): Promise<number> {
  const status = await Bun.file(`/proc/${pid}/status`).text();
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024;
}

place(1);
const [port, restPort] = [await freePort(), await freePort()];
const server = Bun.spawn(
  [
    values.binary,
    `--port=${port}`,
    `--rest_api_port=${restPort}`,
    "--model_name=m",
    `--model_base_path=${join(base, "m")}`,
    "--log_level=warn",
  ],
  { stdio: ["ignore", "ignore", "inherit"] },
);
const rest = new RestClient({ origin: `http://127.0.0.1:${restPort}` });
const grpc = new GrpcClient({ address: `127.0.0.1:${port}` });
const input = new Map([["input", tensor("float", [1, 4], Float32Array.from(ROW))]]);

let running = true;
const began = performance.now();
const secondsNow = (): number => (performance.now() - began) / 1000;
/** 曲線の次の点になる待ち時間。 */
let recent: number[] = [];
let phase: "steady" | "swapping" = "steady";
const latencies = { steady: [] as number[], swapping: [] as number[] };
const failures: string[] = [];
let mixed = 0;
let requests = 0;

const bestOf = (row: ArrayLike<number>): number => Array.from(row).indexOf(Math.max(...Array.from(row)));

async function stream(ask: () => Promise<boolean>): Promise<void> {
  while (running) {
    const at = phase;
    const started = performance.now();
    try {
      if (!(await ask())) mixed++;
    } catch (error) {
      failures.push(String(error));
    }
    const tookMs = performance.now() - started;
    latencies[at].push(tookMs);
    recent.push(tookMs);
    requests++;
    if (pauseMs > 0) await Bun.sleep(pauseMs);
  }
}

const askRest = async (): Promise<boolean> => {
  const [row] = (await rest.predict({ name: "m" }, { instances: [ROW] })) as number[][];
  return [0, 2].includes(bestOf(row!));
};
const askGrpc = async (): Promise<boolean> => {
  const { model, outputs } = await grpc.predict({ name: "m" }, input);
  return bestOf(outputs.get("output")!.data as Float32Array) === answerOf(Number(model.version));
};

async function availableVersions(): Promise<number[]> {
  const states = await rest.getModelStatus({ name: "m" });
  return states.filter(({ state }) => state === "AVAILABLE").map(({ version }) => Number(version));
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition().catch(() => false))) await Bun.sleep(50);
}

await until(async () => (await availableVersions()).includes(1));
const streams = Array.from({ length: STREAMS }, () => [stream(askRest), stream(askGrpc)]).flat();
const rss: MemorySample[] = [];
const curve: LatencySample[] = [];
let done = 0;
/** メモリはゴミ集めの合間に上下するので、時点ではなく区間で比べられるよう、絶えず見ておく。 */
async function watch(): Promise<void> {
  while (running) {
    const seconds = secondsNow();
    rss.push({ seconds, swaps: done, megabytes: await rssMegabytes(server.pid) });
    if (seconds >= (curve.length + 1) * 5) {
      curve.push({
        seconds,
        p99Ms: percentile(
          recent.sort((a, b) => a - b),
          0.99,
        ),
      });
      recent = [];
    }
    await Bun.sleep(200);
  }
}
const watching = watch();
await Bun.sleep(10_000);
const startedAt = secondsNow();
phase = "swapping";
for (let version = 2; version <= swaps + 1; version++) {
  place(version);
  await until(async () => (await availableVersions()).includes(version));
  rmSync(join(base, "m", String(version - 1)), { recursive: true });
  done++;
  if (done % 10 === 0) {
    console.log(`swap ${done}/${swaps}: ${requests} requests, ${failures.length} failed`);
  }
}
running = false;
await Promise.all([...streams, watching]);
grpc[Symbol.dispose]();
server.kill("SIGTERM");
const exitCode = await server.exited;
rmSync(base, { recursive: true, force: true });

for (const list of Object.values(latencies)) list.sort((a, b) => a - b);
const report = {
  bun: Bun.version,
  swaps,
  requests,
  failed: failures.length,
  mixed,
  exitCode,
  p50Ms: { steady: percentile(latencies.steady, 0.5), swapping: percentile(latencies.swapping, 0.5) },
  p99Ms: { steady: percentile(latencies.steady, 0.99), swapping: percentile(latencies.swapping, 0.99) },
  maxMs: { steady: latencies.steady.at(-1), swapping: latencies.swapping.at(-1) },
  memory: memoryWindows(rss, 50),
};
console.log(JSON.stringify(report, null, 1));
for (const failure of failures.slice(0, 5)) console.log(failure);
if (values.json !== undefined)
  writeFileSync(values.json, `${JSON.stringify({ ...report, curve, rss }, null, 1)}\n`);
if (values.svg !== undefined) writeFileSync(values.svg, plotSwaps(rss, curve, startedAt));
process.exit(failures.length === 0 && mixed === 0 && exitCode === 0 ? 0 : 1);
