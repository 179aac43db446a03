// 大きめの網の 1 回の時間を、素の tfjs-wasm と並べて測る。出力は TensorFlow のものと比べる。
//   bun scripts/load/networks.ts [--rounds=30] [--only=encoder] [--binary=./iris-serving]
//   bun scripts/load/networks.ts --memory=10000 --only=encoder    (繰り返しの間の記憶を測る)
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { wasmFiles } from "../../src/assets.ts";
import { GrpcClient } from "../../src/client/grpc_client.ts";
import { Backend } from "../../src/graph/backend.ts";
import { GraphSession } from "../../src/graph/session.ts";
import { readAssets, readSavedModel } from "../../src/savedmodel/saved_model.ts";
import { diskStorage } from "../../src/savedmodel/storage.ts";
import { type Tensor, tensor } from "../../src/tensor/tensor.ts";
import { python } from "../python.ts";
import { root } from "../steps.ts";
import { type Network, rawNetwork, slice } from "./raw_networks.ts";
import { freePort, percentile } from "./tools.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "30" },
    only: { type: "string" },
    memory: { type: "string" },
    binary: { type: "string" },
  },
});
const cache = join(root, ".cache", "networks");
const backend = new Backend(wasmFiles);
/** TensorFlow との差。要素の大きさの尺度で割る。 */
const MAX_ERROR = 1e-4;

if (!existsSync(cache)) {
  const script = join(import.meta.dir, "write_networks.py");
  const child = Bun.spawn([await python("newest"), script, cache], {
    stdio: ["ignore", "inherit", "inherit"],
  });
  if ((await child.exited) !== 0) throw new Error("TensorFlow could not write the networks");
}
const device = await backend.boot();
for (const name of readdirSync(cache)
  .filter((each) => values.only === undefined || each === values.only)
  .sort()) {
  if (values.memory === undefined) await measureTime(name);
  else await measureMemory(name, Number(values.memory));
}
process.exit(0);

type Call = (x: Tensor) => Float32Array | Promise<Float32Array>;

async function open(name: string) {
  const network = JSON.parse(readFileSync(join(cache, name, "network.json"), "utf8")) as Network;
  const weights = new Float32Array(await Bun.file(join(cache, name, "weights.bin")).arrayBuffer());
  await using bundle = await readSavedModel(diskStorage, join(cache, name, "1"), ["serve"]);
  const session = await GraphSession.load(
    { ...bundle, assetFiles: await readAssets(diskStorage, bundle) },
    {
      backend,
      yieldTurn: async () => {},
      onDeviceFailure: (error) => {
        throw error;
      },
    },
  );
  const signature = bundle.signatures.get("serving_default")!;
  const names = (infos: typeof signature.inputs) => Array.from(infos.values(), (info) => info.name);
  const prepared = session.prepare(names(signature.inputs), names(signature.outputs));
  const ours: Call = (x) => prepared.run([x])[0]!.data as Float32Array;
  const cases = network.cases.map(({ input, output }) => ({
    x: tensor("float", input.shape, slice(weights, input).slice()),
    y: slice(weights, output),
  }));
  return { network, weights, session, signature, ours, cases };
}

/** 差の最大 ÷ 期待する値の大きさの最大。 */
function errorOf(actual: Float32Array, expected: Float32Array): number {
  const scale = expected.reduce((most, y) => Math.max(most, Math.abs(y)), 0);
  const gap = expected.reduce((most, y, i) => Math.max(most, Math.abs(y - actual[i]!)), 0);
  return actual.length === expected.length ? gap / scale : Number.POSITIVE_INFINITY;
}

async function measureTime(name: string): Promise<void> {
  const { network, weights, session, signature, ours, cases } = await open(name);
  const raw = rawNetwork(network, weights);
  const calls: Record<string, Call> = {
    ours,
    raw: (x) => raw(x.data as Float32Array, [...x.shape]),
  };
  const server = values.binary === undefined ? undefined : await serve(values.binary, name);
  if (server !== undefined) {
    const [alias, output] = [[...signature.inputs.keys()][0]!, [...signature.outputs.keys()][0]!];
    calls["gRPC"] = async (x) => {
      const { outputs } = await server.client.predict({ name: "network" }, new Map([[alias, x]]));
      return outputs.get(output)!.data as Float32Array;
    };
  }
  for (const { x, y } of cases) {
    const errors = await Promise.all(
      Object.entries(calls).map(async ([who, call]) => [who, errorOf(await call(x), y)] as const),
    );
    const times: Record<string, number[]> = {};
    for (let round = 0; round < Number(values.rounds) + 3; round++) {
      for (const [who, call] of Object.entries(calls)) {
        const start = performance.now();
        await call(x);
        const elapsed = performance.now() - start;
        times[who] ??= [];
        // 最初の数回は、機械語への翻訳と重みの並べ替えを含む。
        if (round >= 3) times[who].push(elapsed);
      }
    }
    const cells = errors.map(([who, error]) => {
      const sorted = times[who]!.sort((a, b) => a - b);
      return `${who} ${percentile(sorted, 0.5).toFixed(2)} ms (min ${sorted[0]!.toFixed(2)}, error ${error.toExponential(1)})`;
    });
    console.log(`${name} [${x.shape}]: ${cells.join(", ")}`);
    const wrong = errors.filter(([, error]) => !(error < MAX_ERROR));
    if (wrong.length > 0) throw new Error(`${name}: ${wrong.map(([who]) => who)} differ from TensorFlow`);
  }
  await server?.stop();
  session.dispose();
}

async function serve(binary: string, name: string) {
  const [port, restPort] = [await freePort(), await freePort()];
  const child = Bun.spawn(
    [
      binary,
      `--port=${port}`,
      `--rest_api_port=${restPort}`,
      "--model_name=network",
      `--model_base_path=${join(cache, name)}`,
      "--log_level=warn",
    ],
    { stdio: ["ignore", "ignore", "inherit"] },
  );
  const status = `http://127.0.0.1:${restPort}/v1/models/network`;
  while (!(await fetch(status).then((reply) => reply.text(), String)).includes("AVAILABLE")) {
    if (child.exitCode !== null) throw new Error("the server did not start");
    await Bun.sleep(20);
  }
  const client = new GrpcClient({ address: `127.0.0.1:${port}`, timeoutMs: 60_000 });
  return {
    client,
    stop: async () => {
      client[Symbol.dispose]();
      child.kill("SIGTERM");
      await child.exited;
    },
  };
}

/** 繰り返しの間の、常駐メモリとデバイスのテンソルの数。 */
async function measureMemory(name: string, count: number): Promise<void> {
  const { session, ours, cases } = await open(name);
  const { x, y } = cases[0]!;
  const rows: string[] = [];
  const note = (calls: number): void => {
    Bun.gc(true);
    rows.push(
      `${calls}: ${(process.memoryUsage.rss() / 2 ** 20).toFixed(0)} MiB, ${device.tensorCount} tensors`,
    );
  };
  for (let i = 0; i <= count; i++) {
    if (i === 10 || (i > 0 && i % (count / 10) === 0)) note(i);
    await ours(x);
  }
  const error = errorOf(await ours(x), y);
  if (!(error < MAX_ERROR)) throw new Error(`${name}: the last answer is wrong by ${error}`);
  console.log(`${name} [${x.shape}], ${count} calls\n  ${rows.join("\n  ")}`);
  session.dispose();
  Bun.gc(true);
  console.log(
    `  unloaded: ${(process.memoryUsage.rss() / 2 ** 20).toFixed(0)} MiB, ${device.tensorCount} tensors`,
  );
}
