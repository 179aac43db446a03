// 良い要求、悪い要求、途中でやめる客、遅い客、設定の読み直し、版の入れ替えを混ぜて長く走らせ、
// メモリ、fd、ソケット、テンソルが増え続けないことを見る。
//   bun run soak [--minutes=20] [--rate=150] [--seed=1] [--binary=./iris-serving] [--svg=FILE] [--json=FILE]
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { Code, codeName, StatusError } from "../../src/base/status.ts";
import { GrpcClient } from "../../src/client/grpc_client.ts";
import { RestClient } from "../../src/client/rest_client.ts";
import type { DenseNetwork } from "../../src/savedmodel/dense_network.ts";
import { writeSavedModel } from "../../src/savedmodel/writer.ts";
import { tensor } from "../../src/tensor/tensor.ts";
import { startBinary } from "../../test/interop/binary_server.ts";
import { Random } from "../fuzz/random.ts";
import { root } from "../steps.ts";
import { constantNetwork, wideNetwork } from "./constant_network.ts";
import { plotSoak, type SoakSample } from "./soak_plot.ts";

const TICK_MS = 20;
const SAMPLE_MS = 5000;
const SWAP_MS = 4000;
const RELOAD_MS = 7000;
/** 版の入れ替えのうち、wasm で走る大きいほうの割合。 */
const WIDE_EVERY = 5;
/** 客を作り直すまでの要求の数。接続もそこで新しくなる。 */
const CLIENT_LIFE = 500;
const MAX_OUTSTANDING = 256;
const MAX_RSS_MIB = 400;
/** 温まった後の、前半と後半の差。 */
const LONG_RISE = { mib: 24, count: 6 };
/** 短い試験では、温まりと、機械がほかの仕事で混んだときの山を除けない。 */
const BRIEF_RISE = { mib: 96, count: 40 };
const LONG_MINUTES = 5;
/** 測り始めまでの、温まりの割合。 */
const WARM = 0.25;
const ROW = [5.1, 3.5, 1.4, 0.2];

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "20" },
    rate: { type: "string", default: "150" },
    seed: { type: "string", default: "1" },
    binary: { type: "string", default: join(root, "iris-serving") },
    svg: { type: "string" },
    json: { type: "string" },
  },
});
const minutes = Number(values.minutes);
const rate = Number(values.rate);
const random = new Random(Number(values.seed));

const base = mkdtempSync(join(tmpdir(), "soak-"));
const configFile = join(base, "models.config");
const monitoringFile = join(base, "monitoring.config");

function place(model: string, version: number, network: DenseNetwork): void {
  for (const [path, bytes] of writeSavedModel(network)) {
    const file = join(base, model, String(version), path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, bytes);
  }
}

/** 偶数の版はクラス 0、奇数の版はクラス 2 を答える。 */
const answerOf = (version: number): number => (version % 2 === 0 ? 0 : 2);

function writeConfig(turn: number): void {
  const one = (name: string) =>
    `config { name: "${name}" base_path: "${join(base, name)}" model_platform: "tensorflow" }`;
  // 3 回に 1 回は、余分なモデルが現れては消える。
  const extra = turn % 3 === 0 ? one("extra") : "";
  writeFileSync(configFile, `model_config_list { ${one("small")} ${one("wide")} ${extra} }`);
}

place("small", 1, constantNetwork(answerOf(1)));
place("wide", 1, wideNetwork(2));
place("extra", 1, constantNetwork(1));
writeConfig(1);
writeFileSync(monitoringFile, "prometheus_config { enable: true }");

const server = await startBinary({
  binary: values.binary,
  cwd: base,
  args: [
    `--model_config_file=${configFile}`,
    "--model_config_file_poll_wait_seconds=1",
    `--monitoring_config_file=${monitoringFile}`,
  ],
});
const origin = `http://127.0.0.1:${server.restPort}`;
const address = `127.0.0.1:${server.port}`;
const input = new Map([["input", tensor("float", [1, 4], Float32Array.from(ROW))]]);
const wrongInput = new Map([["input", tensor("string", [1], [Uint8Array.of(65)])]]);

const counts = new Map<string, number>();
const failures: string[] = [];
let requests = 0;
let outstanding = 0;
let grpc = new GrpcClient({ address });
let grpcUses = 0;
const retired: GrpcClient[] = [];

/** たまに接続ごと作り直す。前の客は、使い終わるまで待ってから閉じる。 */
function grpcClient(): GrpcClient {
  if (++grpcUses % CLIENT_LIFE === 0) {
    retired.push(grpc);
    grpc = new GrpcClient({ address });
    if (retired.length > 2) retired.shift()![Symbol.dispose]();
  }
  return grpc;
}

const rest = new RestClient({ origin });
const bestOf = (row: ArrayLike<number>): number => Array.from(row).indexOf(Math.max(...Array.from(row)));

/** @throws コードが違う。 */
async function refused(codes: readonly Code[], call: Promise<unknown>): Promise<void> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof StatusError && codes.includes(error.code)) return;
  throw new Error(`expected ${codes.map(codeName).join(" or ")}, got ${error ?? "an answer"}`);
}

/** 途中でやめる。間に合って答えを得ることもある。 */
async function cancelled(call: (signal: AbortSignal) => Promise<unknown>): Promise<void> {
  const controller = new AbortController();
  const made = call(controller.signal);
  setTimeout(() => controller.abort(), random.below(4));
  const error = await made.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error === undefined) return;
  if (!(error instanceof StatusError) || error.code !== Code.CANCELLED) throw error;
}

/** 本文を少しずつ送る客。遅くても、答えは得る。 */
async function trickle(): Promise<void> {
  const body = JSON.stringify({ instances: [ROW] });
  const socket = connect({ host: "127.0.0.1", port: server.restPort });
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let answer = "";
  socket.on("data", (chunk: Buffer) => {
    answer += chunk.toString("latin1");
    if (answer.includes("predictions")) resolve(answer);
  });
  socket.on("error", reject);
  socket.on("close", () => reject(new Error(`closed after ${answer.slice(0, 80)}`)));
  socket.write(
    `POST /v1/models/small:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n`,
  );
  for (const character of body) {
    socket.write(character);
    await Bun.sleep(30);
  }
  try {
    await promise;
  } finally {
    socket.destroy();
  }
}

const kinds: readonly (readonly [string, number, () => Promise<void>])[] = [
  [
    "good REST",
    30,
    async () => {
      const [row] = (await rest.predict({ name: "small" }, { instances: [ROW] })) as number[][];
      if (![0, 2].includes(bestOf(row!))) throw new Error(`wrong answer ${row}`);
    },
  ],
  [
    "good gRPC",
    30,
    async () => {
      const { model, outputs } = await grpcClient().predict({ name: "small" }, input);
      const best = bestOf(outputs.get("output")!.data as Float32Array);
      if (best !== answerOf(Number(model.version)))
        throw new Error(`version ${model.version} answered ${best}`);
    },
  ],
  [
    "wasm model",
    10,
    async () => {
      const { outputs } = await grpcClient().predict({ name: "wide" }, input);
      if (outputs.get("output")!.data.length !== 3) throw new Error("wrong shape");
    },
  ],
  [
    "bad JSON",
    4,
    () => refused([Code.INVALID_ARGUMENT], rest.predict({ name: "small" }, { instances: ["x"] })),
  ],
  ["unknown model", 4, () => refused([Code.NOT_FOUND], rest.predict({ name: "none" }, { instances: [ROW] }))],
  [
    "wrong dtype",
    4,
    () => refused([Code.INVALID_ARGUMENT], grpcClient().predict({ name: "small" }, wrongInput)),
  ],
  [
    "unknown version",
    4,
    () => refused([Code.NOT_FOUND], grpcClient().predict({ name: "small", version: 999999n }, input)),
  ],
  [
    "cancelled REST",
    5,
    () => cancelled((signal) => rest.predict({ name: "wide" }, { instances: [ROW] }, { signal })),
  ],
  [
    "cancelled gRPC",
    5,
    () => cancelled((signal) => grpcClient().predict({ name: "wide" }, input, { signal })),
  ],
  ["status", 3, async () => void (await rest.getModelStatus({ name: "small" }))],
  ["slow body", 1, trickle],
];
const totalWeight = kinds.reduce((sum, [, weight]) => sum + weight, 0);

function launch(): void {
  let at = random.below(totalWeight);
  const [name, , run] = kinds.find(([, weight]) => {
    at -= weight;
    return at < 0;
  })!;
  outstanding++;
  requests++;
  run()
    .then(
      () => counts.set(name, (counts.get(name) ?? 0) + 1),
      (error: unknown) => {
        failures.push(`${name}: ${error}`);
      },
    )
    .finally(() => outstanding--);
}

let version = 1;
let wideVersion = 1;
function swap(): void {
  version++;
  place("small", version, constantNetwork(answerOf(version)));
  rmSync(join(base, "small", String(version - 2)), { recursive: true, force: true });
  if (version % WIDE_EVERY !== 0) return;
  wideVersion++;
  place("wide", wideVersion, wideNetwork(2));
  rmSync(join(base, "wide", String(wideVersion - 2)), { recursive: true, force: true });
}

const started = performance.now();

async function sample(): Promise<SoakSample> {
  const page = await fetch(`${origin}/monitoring/prometheus/metrics`).then((reply) => reply.text());
  const fds = readdirSync(`/proc/${server.pid}/fd`);
  return {
    minutes: (performance.now() - started) / 60_000,
    rssMib: Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.pid}/status`, "utf8"))?.[1]) / 1024,
    fds: fds.length,
    sockets: fds.filter((fd) => linkOf(fd).startsWith("socket:")).length,
    tensors: Number(/^:iris_serving:device_tensors(?:\{\})? (\d+)/m.exec(page)?.[1]),
    requests,
  };
}

/** 数えている間に閉じられた fd は空。 */
function linkOf(fd: string): string {
  try {
    return readlinkSync(`/proc/${server.pid}/fd/${fd}`);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw thrown;
  }
}

const samples: SoakSample[] = [await sample()];
let nextSample = SAMPLE_MS;
let nextSwap = SWAP_MS;
let nextReload = RELOAD_MS;
let reloads = 0;
let owed = 0;
for (;;) {
  const elapsed = performance.now() - started;
  if (elapsed > minutes * 60_000 || server.ended() !== undefined) break;
  owed = Math.min(owed + (rate * TICK_MS) / 1000, rate);
  for (; owed >= 1 && outstanding < MAX_OUTSTANDING; owed--) launch();
  if (elapsed > nextSwap) {
    swap();
    nextSwap += SWAP_MS;
  }
  if (elapsed > nextReload) {
    writeConfig(++reloads);
    nextReload += RELOAD_MS;
  }
  if (elapsed > nextSample) {
    samples.push(await sample());
    nextSample += SAMPLE_MS;
    // 数の多いときは、1 分ごとに見えるようにする。
    if (samples.length % 12 === 1) {
      const { rssMib, fds, sockets, tensors } = samples.at(-1)!;
      console.log(
        `${(elapsed / 60_000).toFixed(1)} min: ${requests} requests, ${failures.length} failed, ${rssMib.toFixed(0)} MiB, ${fds} files, ${sockets} sockets, ${tensors} tensors`,
      );
    }
  }
  await Bun.sleep(TICK_MS);
}
while (outstanding > 0) await Bun.sleep(10);
for (const client of [...retired, grpc]) client[Symbol.dispose]();
await Bun.sleep(500);
const alive = server.ended() === undefined;
if (alive) samples.push(await sample());
const exitCode = alive ? await server.stop() : server.ended();
rmSync(base, { recursive: true, force: true });

/** 温まった後を半分に分けた、前と後ろの中央値。増え続けていれば離れる。 */
function halves(read: (one: SoakSample) => number): { readonly before: number; readonly after: number } {
  const warm = samples.slice(Math.floor(samples.length * WARM), -1);
  const half = Math.floor(warm.length / 2);
  const median = (list: readonly SoakSample[]) =>
    list.map(read).sort((a, b) => a - b)[Math.floor(list.length / 2)] ?? Number.NaN;
  return { before: median(warm.slice(0, half)), after: median(warm.slice(half)) };
}
const report = {
  bun: Bun.version,
  minutes,
  rate,
  requests,
  failed: failures.length,
  kinds: Object.fromEntries(counts),
  swaps: version + wideVersion - 2,
  reloads,
  halves: {
    rssMib: halves(({ rssMib }) => rssMib),
    fds: halves(({ fds }) => fds),
    sockets: halves(({ sockets }) => sockets),
    tensors: halves(({ tensors }) => tensors),
  },
  maxRssMib: Math.max(...samples.map(({ rssMib }) => rssMib)),
  first: samples[0],
  last: samples.at(-1),
  exitCode,
};
console.log(JSON.stringify(report, null, 1));
for (const failure of failures.slice(0, 10)) console.log(failure);
if (values.svg !== undefined) writeFileSync(values.svg, plotSoak(samples));
if (values.json !== undefined)
  writeFileSync(values.json, `${JSON.stringify({ ...report, samples }, null, 1)}\n`);

const limit = minutes < LONG_MINUTES ? BRIEF_RISE : LONG_RISE;
const rise = (what: keyof typeof report.halves): number =>
  report.halves[what].after - report.halves[what].before;
const checks: readonly (readonly [string, boolean])[] = [
  ["no request failed", failures.length === 0],
  ["the server ran to the end and exited with 0", exitCode === 0],
  ["memory stayed under the limit", report.maxRssMib < MAX_RSS_MIB],
  ["memory did not keep growing", rise("rssMib") < limit.mib],
  ["open files did not keep growing", rise("fds") <= limit.count],
  ["sockets did not keep growing", rise("sockets") <= limit.count],
  ["tensors did not keep growing", rise("tensors") <= limit.count],
];
for (const [name, ok] of checks) console.log(`${ok ? "ok  " : "FAIL"} ${name}`);
const passed = checks.filter(([, ok]) => ok).length;
console.log(`${passed} passed, ${checks.length - passed} failed`);
process.exit(passed === checks.length ? 0 : 1);
