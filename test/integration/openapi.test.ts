import { afterAll, beforeAll, expect, test } from "bun:test";
import { wasmFiles } from "../../src/assets.ts";
import { systemClock } from "../../src/base/clock.ts";
import { silentLogger } from "../../src/base/log.ts";
import { Metrics } from "../../src/base/metrics.ts";
import { parseOptions } from "../../src/options.ts";
import { pageFiles } from "../../src/page_assets.ts";
import { diskStorage } from "../../src/savedmodel/storage.ts";
import { ModelServer } from "../../src/server.ts";
import { freePort } from "../helpers/free_port.ts";

interface Operation {
  readonly operationId: string;
  readonly requestBody?: {
    readonly content: {
      readonly "application/json": { readonly examples: Record<string, { readonly value: unknown }> };
    };
  };
  readonly responses: Record<string, unknown>;
}
interface Document {
  readonly openapi: string;
  readonly paths: Record<string, { readonly get?: Operation; readonly post?: Operation }>;
  readonly components: { readonly responses: Record<string, unknown> };
}

let server: ModelServer;
let origin: string;
let document: Document;

beforeAll(async () => {
  const [port, rest] = [await freePort(), await freePort()];
  const { options } = parseOptions(
    [
      `--port=${port}`,
      `--rest_api_port=${rest}`,
      "--model_name=iris",
      `--model_base_path=${process.cwd()}/model/iris`,
    ],
    {},
  );
  server = new ModelServer(
    { clock: systemClock, log: silentLogger, metrics: new Metrics() },
    { options, storage: diskStorage, wasm: wasmFiles, page: async () => pageFiles, cpus: 2 },
  );
  await server.start();
  origin = `http://127.0.0.1:${rest}`;
  document = (await (await fetch(`${origin}/openapi.json`)).json()) as Document;
});

afterAll(() => server.stop(1000));

test("names every route of every model", () => {
  expect(document.openapi).toStartWith("3.1");
  expect(Object.keys(document.paths).sort()).toEqual([
    "/healthz",
    "/metrics",
    "/monitoring/prometheus/metrics",
    "/openapi.json",
    "/readyz",
    "/v1/models",
    "/v1/models/iris",
    "/v1/models/iris/metadata",
    "/v1/models/iris/versions/1",
    "/v1/models/iris/versions/1/metadata",
    "/v1/models/iris/versions/1:classify",
    "/v1/models/iris/versions/1:predict",
    "/v1/models/iris:classify",
    "/v1/models/iris:predict",
  ]);
  const ids = Object.values(document.paths).flatMap(({ get, post }) =>
    [get, post].flatMap((operation) => operation?.operationId ?? []),
  );
  expect(new Set(ids).size).toBe(ids.length);
});

test("every example is answered with 200", async () => {
  let examples = 0;
  for (const [path, { post }] of Object.entries(document.paths)) {
    for (const { value } of Object.values(post?.requestBody?.content["application/json"].examples ?? {})) {
      const response = await fetch(origin + path, { method: "POST", body: JSON.stringify(value) });
      expect(`${path} ${response.status} ${await response.text()}`).toStartWith(`${path} 200`);
      examples++;
    }
  }
  expect(examples).toBeGreaterThanOrEqual(4);
});

test("every query is answered with 200, and every reference has its target", async () => {
  for (const [path, { get }] of Object.entries(document.paths)) {
    if (get !== undefined) expect(`${path} ${(await fetch(origin + path)).status}`).toBe(`${path} 200`);
  }
  for (const [, name] of JSON.stringify(document).matchAll(/#\/components\/responses\/(\w+)/g)) {
    expect(document.components.responses).toHaveProperty(name!);
  }
});

test("/docs brings all it needs", async () => {
  const page = await fetch(`${origin}/docs`);
  expect(page.headers.get("content-security-policy")).toContain("default-src 'none'");
  const needed = [...(await page.text()).matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => path!);
  expect(needed).toHaveLength(5);
  for (const path of needed) {
    const file = await fetch(origin + path);
    expect(`${path} ${file.status}`).toBe(`${path} 200`);
    expect((await file.text()).length).toBeGreaterThan(50);
  }
});
