import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { embeddedModel, wasmFiles } from "../../src/assets.ts";
import { systemClock } from "../../src/base/clock.ts";
import { silentLogger } from "../../src/base/log.ts";
import { Metrics } from "../../src/base/metrics.ts";
import { withEmbedded } from "../../src/embedded_storage.ts";
import { parseOptions } from "../../src/options.ts";
import { findObstacle, searchSample } from "../../src/page/sample.ts";
import { type MetadataJson, readSignatures } from "../../src/page/signature.ts";
import { pageFiles } from "../../src/page_assets.ts";
import { diskStorage } from "../../src/savedmodel/storage.ts";
import { ModelServer } from "../../src/server.ts";
import { freePort } from "../helpers/free_port.ts";
import { zooNames } from "../helpers/zoo.ts";

const MOUNT = "/models/embedded-iris";

interface Running extends AsyncDisposable {
  readonly url: string;
  readonly grpcPort: number;
}

async function start(...flags: string[]): Promise<Running> {
  const files = new Map<string, Uint8Array>();
  for (const [path, asset] of embeddedModel) files.set(path, await Bun.file(asset).bytes());
  const [grpcPort, restPort] = [await freePort(), await freePort()];
  const { options } = parseOptions(
    [
      `--port=${grpcPort}`,
      `--rest_api_port=${restPort}`,
      `--model_base_path=${MOUNT}`,
      "--model_name=iris",
      ...flags,
    ],
    {},
  );
  const server = new ModelServer(
    { clock: systemClock, log: silentLogger, metrics: new Metrics() },
    {
      options,
      storage: withEmbedded(diskStorage, MOUNT, files),
      wasm: wasmFiles,
      page: async () => pageFiles,
      cpus: 2,
    },
  );
  await server.start();
  return {
    url: `http://127.0.0.1:${restPort}`,
    grpcPort,
    [Symbol.asyncDispose]: () => server.stop(1000),
  };
}

/** 頁から指されるファイルの道。 */
const linkedPaths = (html: string): string[] =>
  [...html.matchAll(/(?:src|href)="(\/page\/[^"]+)"/g)].map((match) => match[1]!);

describe("the page", () => {
  let server: Running;
  beforeAll(async () => {
    server = await start();
  });
  afterAll(() => server[Symbol.asyncDispose]());

  test("is served at / with a policy that allows nothing inline and nothing foreign", async () => {
    const reply = await fetch(`${server.url}/`);
    const html = await reply.text();
    expect(reply.status).toBe(200);
    expect(reply.headers.get("content-type")).toBe("text/html; charset=utf-8");
    expect(reply.headers.get("x-content-type-options")).toBe("nosniff");
    expect(reply.headers.get("cache-control")).toBe("no-cache");
    const directives = new Map(
      reply.headers
        .get("content-security-policy")!
        .split("; ")
        .map((directive) => directive.split(/ (.*)/) as [string, string]),
    );
    expect(directives.get("default-src")).toBe("'none'");
    expect(directives.get("script-src")).toBe("'self'");
    expect(directives.get("style-src")).toBe("'self'");
    expect(directives.get("connect-src")).toBe("'self'");
    expect(directives.get("frame-ancestors")).toBe("'none'");
    expect(html).not.toMatch(/<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|https?:\/\//);
    expect(html).not.toContain("{{");
    expect(html).toContain(`<meta name="grpc-port" content="${server.grpcPort}"`);
  });

  test("points at files that exist and may be kept for ever", async () => {
    const paths = linkedPaths(await (await fetch(`${server.url}/?from=test`)).text());
    expect(paths.map((path) => path.replace(/^.*\./, "")).sort()).toEqual(["css", "js", "svg"]);
    for (const path of paths) {
      const reply = await fetch(server.url + path);
      expect(reply.status).toBe(200);
      expect(reply.headers.get("cache-control")).toContain("immutable");
      expect((await reply.text()).length).toBeGreaterThan(10);
    }
  });

  test("is less than 150 KB of gzip in all", async () => {
    let total = 0;
    for (const path of ["/", ...linkedPaths(await (await fetch(`${server.url}/`)).text())]) {
      const reply = await fetch(server.url + path, {
        headers: { "accept-encoding": "br, gzip" },
        decompress: false,
      });
      const bytes = await reply.bytes();
      total += bytes.length;
      if (reply.headers.get("content-encoding") !== "gzip") continue;
      expect(gunzipSync(bytes).toString()).toBe(await (await fetch(server.url + path)).text());
    }
    expect(total).toBeGreaterThan(1000);
    expect(total).toBeLessThan(150_000);
  });

  test("is not sent again to a client that has it", async () => {
    const first = await fetch(`${server.url}/`);
    const etag = first.headers.get("etag")!;
    const tags = [etag, etag.replace("W/", ""), `"other", ${etag}`, "*"];
    for (const tag of tags) {
      const again = await fetch(`${server.url}/`, { headers: { "if-none-match": tag } });
      expect(again.status).toBe(304);
      expect(again.headers.get("etag")).toBe(etag);
      expect(await again.text()).toBe("");
    }
    const other = await fetch(`${server.url}/`, { headers: { "if-none-match": '"other"' } });
    expect(other.status).toBe(200);
  });

  test("answers HEAD without a body", async () => {
    const length = (await (await fetch(`${server.url}/`)).bytes()).length;
    const reply = await fetch(`${server.url}/`, {
      method: "HEAD",
      headers: { "accept-encoding": "identity" },
    });
    expect(reply.status).toBe(200);
    expect(reply.headers.get("content-length")).toBe(String(length));
    expect(await reply.text()).toBe("");
  });

  test.each([
    ["POST", "/"],
    ["GET", "/page/"],
    ["GET", "/page/index.html"],
    ["GET", "/index.html"],
  ])("%s %s stays unknown", async (method, path) => {
    const reply = await fetch(server.url + path, { method });
    expect(reply.status).toBe(404);
    expect(await reply.text()).toContain("<H1>Not Found</H1>");
  });
});

test("--enable_page=false answers / as TensorFlow Serving does", async () => {
  await using server = await start("--enable_page=false");
  for (const path of ["/", `/page/${pageFiles.find(({ name }) => name.endsWith(".js"))!.name}`]) {
    const reply = await fetch(server.url + path);
    expect(reply.status).toBe(404);
    expect(await reply.text()).toContain("<H1>Not Found</H1>");
  }
  expect((await fetch(`${server.url}/v1/models/iris`)).status).toBe(200);
});

describe("the sample of the page", () => {
  const work = mkdtempSync(join(tmpdir(), "iris-serving-samples-"));
  let server: Running;
  beforeAll(async () => {
    const zoo = join(import.meta.dir, "../fixtures/zoo");
    const entries = [...zooNames.map((name) => [name, join(zoo, name)]), ["iris", MOUNT]].map(
      ([name, path]) => `config { name: "${name}" base_path: "${path}" model_platform: "tensorflow" }`,
    );
    const config = join(work, "models.config");
    writeFileSync(config, `model_config_list { ${entries.join("\n")} }`);
    server = await start(`--model_config_file=${config}`);
    // zoo を丸ごと読むので、混んだ機械では既定の 5 秒に収まらない。
  }, 60_000);
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    rmSync(work, { recursive: true });
  });

  test.each([...zooNames, "iris"])(
    "is answered by %s, or is known to be impossible by REST",
    async (name) => {
      const url = `${server.url}/v1/models/${name}`;
      const signatures = readSignatures((await (await fetch(`${url}/metadata`)).json()) as MetadataJson);
      expect(signatures.length).toBeGreaterThan(0);
      for (const signature of signatures) {
        const { answer } = await searchSample(signature, async ({ verb, body }) => {
          const reply = await fetch(`${url}:${verb}`, { method: "POST", body: JSON.stringify(body) });
          const text = await reply.text();
          return { ok: reply.ok, text: reply.ok ? text : (JSON.parse(text) as { error: string }).error };
        });
        const isPossible = findObstacle(signature) === undefined;
        expect({ key: signature.key, ok: answer.ok, text: answer.text }).toMatchObject({ ok: isPossible });
      }
    },
  );
});
