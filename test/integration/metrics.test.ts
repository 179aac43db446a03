import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { wasmFiles } from "../../src/assets.ts";
import { systemClock } from "../../src/base/clock.ts";
import { silentLogger } from "../../src/base/log.ts";
import { Metrics } from "../../src/base/metrics.ts";
import { registerProcessMetrics } from "../../src/cli/process_metrics.ts";
import { parseOptions } from "../../src/options.ts";
import { diskStorage } from "../../src/savedmodel/storage.ts";
import { ModelServer } from "../../src/server.ts";
import { freePort } from "../helpers/free_port.ts";

const root = join(import.meta.dir, "..", "..");
let server: ModelServer;
let page: string;

beforeAll(async () => {
  const [port, rest] = [await freePort(), await freePort()];
  const { options } = parseOptions(
    [
      `--port=${port}`,
      `--rest_api_port=${rest}`,
      "--model_name=iris",
      `--model_base_path=${join(root, "model", "iris")}`,
    ],
    {},
  );
  const host = { clock: systemClock, log: silentLogger, metrics: new Metrics() };
  registerProcessMetrics(host);
  server = new ModelServer(host, { options, storage: diskStorage, wasm: wasmFiles, cpus: 2 });
  await server.start();
  const origin = `http://127.0.0.1:${rest}`;
  const body = JSON.stringify({ instances: [[5.1, 3.5, 1.4, 0.2]] });
  expect((await fetch(`${origin}/v1/models/iris:predict`, { method: "POST", body })).status).toBe(200);
  page = await (await fetch(`${origin}/metrics`)).text();
});

afterAll(() => server.stop(1000));

/** 文書にある、指標らしい名前。 */
function metricsIn(text: string): string[] {
  const names = text.matchAll(/(?:(?<![\w$])|\B):(?:tensorflow|iris_serving):[\w:]+|\bprocess_[a-z_]+/g);
  return [...new Set([...names].map(([name]) => name))].sort();
}

test.each(["deploy/grafana/iris-serving.json", "deploy/prometheus/alerts.yaml", "docs/operations.md"])(
  "every metric in %s is exported",
  (file) => {
    const names = metricsIn(readFileSync(join(root, file), "utf8"));
    expect(names.length).toBeGreaterThan(5);
    const exported = new Set([...page.matchAll(/^([\w:]+)(?:\{|\s)/gm)].map(([, name]) => name!));
    // まだ何も数えていない指標は TYPE の行だけがある。
    for (const [, name] of page.matchAll(/^# TYPE (\S+)/gm)) exported.add(name!);
    expect(names.filter((name) => !exported.has(name))).toEqual([]);
  },
);

test.each([
  [/^:iris_serving:model_available\{model_name="iris"\} 1$/m],
  [/^:iris_serving:model_state\{model_name="iris",version="1",state="AVAILABLE"\} 1$/m],
  [/^:iris_serving:signature_runtime_latency_count\{model_name="iris",signature="serving_default"\} 1$/m],
  [/^:iris_serving:requests_in_flight\{\} 0$/m],
  [/^:iris_serving:build_info\{version="[\d.]+",commit="\w+",bun="[\d.]+"\} 1$/m],
  [/^process_resident_memory_bytes\{\} [1-9]\d+$/m],
  [/^process_cpu_seconds_total\{\} \d+(\.\d+)?$/m],
])("the page has %s", (line) => {
  expect(page).toMatch(line);
});
