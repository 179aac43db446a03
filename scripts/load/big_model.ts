// 小さいモデルを配りながら大きなモデルを読み込み、小さいモデルへの要求が待たされた最大の時間と、降ろした後の常駐メモリを測る。
//   bun scripts/load/big_model.ts [--megabytes=500] [--binary=./iris-serving]
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { RestClient } from "../../src/client/rest_client.ts";
import { writeSavedModel } from "../../src/savedmodel/writer.ts";
import { root } from "../steps.ts";
import { constantNetwork, wideNetwork } from "./constant_network.ts";
import { freePort, percentile } from "./tools.ts";

const { values } = parseArgs({
  options: {
    megabytes: { type: "string", default: "500" },
    binary: { type: "string", default: join(root, "iris-serving") },
  },
});
const base = mkdtempSync(join(tmpdir(), "big-model-"));
const config = join(base, "models.config");

function place(name: string, network: Parameters<typeof writeSavedModel>[0]): string {
  for (const [path, bytes] of writeSavedModel(network)) {
    const file = join(base, name, "1", path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, bytes);
  }
  return `config { name: "${name}" base_path: "${join(base, name)}" model_platform: "tensorflow" }`;
}

const small = place("small", constantNetwork(0));
const big = place("big", wideNetwork(Number(values.megabytes)));
writeFileSync(config, `model_config_list { ${small} }`);
const [port, restPort] = [await freePort(), await freePort()];
const server = Bun.spawn(
  [
    values.binary,
    `--port=${port}`,
    `--rest_api_port=${restPort}`,
    `--model_config_file=${config}`,
    "--model_config_file_poll_wait_seconds=1",
    "--log_level=warn",
  ],
  { stdio: ["ignore", "ignore", "inherit"] },
);
const client = new RestClient({ origin: `http://127.0.0.1:${restPort}`, timeoutMs: 60_000 });
const isAvailable = (name: string): Promise<boolean> =>
  client.getModelStatus({ name }).then(
    (states) => states.some(({ state }) => state === "AVAILABLE"),
    () => false,
  );
while (!(await isAvailable("small"))) await Bun.sleep(50);

async function rss(): Promise<number> {
  const status = await Bun.file(`/proc/${server.pid}/status`).text();
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024;
}

const latencies = { before: [] as number[], during: [] as number[], unloading: [] as number[] };
let phase: keyof typeof latencies = "before";
let running = true;
let failed = 0;
const requests = (async () => {
  while (running) {
    const at = phase;
    const started = performance.now();
    await client.predict({ name: "small" }, { instances: [[5.1, 3.5, 1.4, 0.2]] }).catch(() => failed++);
    latencies[at].push(performance.now() - started);
    await Bun.sleep(1);
  }
})();
await Bun.sleep(5000);
phase = "during";
writeFileSync(config, `model_config_list { ${small} ${big} }`);
const started = performance.now();
while (!(await isAvailable("big"))) await Bun.sleep(100);
const loadSeconds = (performance.now() - started) / 1000;
const loadedMegabytes = await rss();
phase = "unloading";
writeFileSync(config, `model_config_list { ${small} }`);
while (await isAvailable("big")) await Bun.sleep(100);
await Bun.sleep(3000);
running = false;
await requests;
const unloadedMegabytes = await rss();
server.kill("SIGTERM");
await server.exited;
rmSync(base, { recursive: true, force: true });
for (const list of Object.values(latencies)) list.sort((a, b) => a - b);
console.log(
  JSON.stringify(
    {
      bun: Bun.version,
      megabytes: Number(values.megabytes),
      loadSeconds,
      failed,
      rssMegabytes: { loaded: loadedMegabytes, unloaded: unloadedMegabytes },
      ...Object.fromEntries(
        Object.entries(latencies).map(([name, list]) => [
          name,
          {
            requests: list.length,
            p50Ms: percentile(list, 0.5),
            p99Ms: percentile(list, 0.99),
            maxMs: list.at(-1),
          },
        ]),
      ),
    },
    null,
    1,
  ),
);
