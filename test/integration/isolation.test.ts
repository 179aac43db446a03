import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { embeddedModel, wasmFiles } from "../../src/assets.ts";
import { systemClock } from "../../src/base/clock.ts";
import { createLogger } from "../../src/base/log.ts";
import { Metrics } from "../../src/base/metrics.ts";
import { StatusError } from "../../src/base/status.ts";
import { GrpcClient } from "../../src/client/grpc_client.ts";
import { withEmbedded } from "../../src/embedded_storage.ts";
import { parseOptions } from "../../src/options.ts";
import { diskStorage, type Storage } from "../../src/savedmodel/storage.ts";
import { ModelServer } from "../../src/server.ts";
import { tensor } from "../../src/tensor/tensor.ts";
import { createAuthority, issue } from "../helpers/certificates.ts";
import { freePort } from "../helpers/free_port.ts";

const MOUNT = "/models/isolated-iris";
const TOKEN = "very-secret-token";
const directory = mkdtempSync(join(tmpdir(), "iris-isolation-"));
const file = (name: string): string => join(directory, name);

/** 触られたパス。 */
const touched = new Set<string>();
function watching(storage: Storage): Storage {
  const note = <T>(path: string, work: () => Promise<T>): Promise<T> => {
    touched.add(path);
    return work();
  };
  return {
    exists: (path) => note(path, () => storage.exists(path)),
    stat: (path) => note(path, () => storage.stat(path)),
    list: (path) => note(path, () => storage.list(path)),
    read: (path, maxBytes) => note(path, () => storage.read(path, maxBytes)),
    open: (path) => note(path, () => storage.open(path)),
    realPath: (path) => note(path, () => storage.realPath(path)),
  };
}

const lines: string[] = [];
let server: ModelServer;
let port: number;
let restPort: number;
let ca: string;
let key: string;
let origin: string;

beforeAll(async () => {
  const authority = await createAuthority("authority");
  const identity = await issue(authority, "server");
  ({ key } = identity);
  ca = authority.cert;
  writeFileSync(file("server.crt"), identity.cert);
  writeFileSync(file("server.key"), identity.key);
  writeFileSync(file("keys"), `${TOKEN}\n`);
  [port, restPort] = [await freePort(), await freePort()];
  origin = `https://localhost:${restPort}`;
  const storage = withEmbedded(
    diskStorage,
    MOUNT,
    new Map([...embeddedModel].map(([path, asset]) => [path, new Uint8Array(readFileSync(asset))])),
  );
  const { options } = parseOptions(
    [
      `--model_base_path=${MOUNT}`,
      "--model_name=iris",
      `--port=${port}`,
      `--rest_api_port=${restPort}`,
      `--tls_cert_file=${file("server.crt")}`,
      `--tls_key_file=${file("server.key")}`,
      `--api_key_file=${file("keys")}`,
      "--model_roots=/models",
    ],
    {},
  );
  server = new ModelServer(
    {
      clock: systemClock,
      log: createLogger("json", "debug", (line) => lines.push(line)),
      metrics: new Metrics(),
    },
    { options, storage: watching(storage), wasm: wasmFiles, cpus: 2 },
  );
  await server.start();
});

afterAll(async () => {
  await server.stop(1000);
  rmSync(directory, { recursive: true, force: true });
});

const headers = { Authorization: `Bearer ${TOKEN}` };
const tls = { ca: "" };
const ask = (path: string, init: RequestInit = {}) =>
  fetch(origin + path, { ...init, headers, tls: { ...tls, ca } } as RequestInit);

/** 見回り(1 秒ごとの版探し)と起動が触るものを除いた、触られたパス。 */
const strange = () =>
  [...touched].filter(
    (path) => path !== MOUNT && !path.startsWith(`${MOUNT}/`) && !path.startsWith(directory),
  );

describe("no file outside the model paths is read on a client's word", () => {
  const names = [
    "../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/etc/passwd",
    "/etc/passwd",
    "..\\..\\etc\\passwd",
    "iris/../../etc",
    "iris%00/etc/passwd",
    "file:///etc/passwd",
    "proc/self/environ",
  ];

  test.each(names)("REST: %s", async (name) => {
    for (const path of [
      `/v1/models/${name}`,
      `/v1/models/${name}/metadata`,
      `/v1/models/iris/labels/${name}`,
      `/${name}`,
      `/monitoring/prometheus/metrics/${name}`,
    ]) {
      const reply = await ask(path);
      // 状態の問い合わせのラベルは、どんなものでも見ない。
      if (!path.includes("/labels/")) expect(reply.status).toBeGreaterThanOrEqual(400);
      expect(await reply.text()).not.toContain("root:");
    }
    const reply = await ask(`/v1/models/${name}:predict`, {
      method: "POST",
      body: '{"instances":[[1,2,3,4]]}',
    });
    expect(reply.status).toBeGreaterThanOrEqual(400);
    expect(strange()).toEqual([]);
  });

  test.each(names)("gRPC: %s", async (name) => {
    using client = new GrpcClient({ address: `localhost:${port}`, tls: { rootCerts: ca }, headers });
    const input = new Map([["input", tensor("float", [1, 4], Float32Array.of(1, 2, 3, 4))]]);
    expect(await client.predict({ name }, input).catch((thrown: unknown) => thrown)).toBeInstanceOf(
      StatusError,
    );
    expect(
      await client.predict({ name: "iris", label: name }, input).catch((thrown: unknown) => thrown),
    ).toBeInstanceOf(StatusError);
    expect(
      await client.predict({ name: "iris", signatureName: name }, input).catch((thrown: unknown) => thrown),
    ).toBeInstanceOf(StatusError);
    expect(await client.getModelMetadata({ name }).catch((thrown: unknown) => thrown)).toBeInstanceOf(
      StatusError,
    );
    expect(await client.getModelStatus({ name }).catch((thrown: unknown) => thrown)).toBeInstanceOf(
      StatusError,
    );
    expect(strange()).toEqual([]);
  });

  test("strings in inputs and feature names are only data", async () => {
    const reply = await ask("/v1/models/iris:classify", {
      method: "POST",
      body: JSON.stringify({ signature_name: "classify", examples: [{ "/etc/passwd": "/etc/passwd" }] }),
    });
    expect(reply.status).toBe(400);
    expect(strange()).toEqual([]);
  });
});

describe("errors", () => {
  const secrets = /node_modules|\/src\/|\.ts:\d|at \w+ \(|BEGIN/;

  test.each<[string, string, string]>([
    ["broken JSON", "/v1/models/iris:predict", `{"instances": [${"1,".repeat(100_000)}`],
    [
      "a wrong type",
      "/v1/models/iris:predict",
      JSON.stringify({ instances: new Array(50_000).fill({ a: 1 }) }),
    ],
    [
      "a wrong shape",
      "/v1/models/iris:predict",
      JSON.stringify({ instances: new Array(50_000).fill([1, 2]) }),
    ],
    ["a wrong document", "/v1/models/iris:predict", JSON.stringify(new Array(50_000).fill("payload"))],
    ["a wrong verb", "/v1/models/iris:nope", "x".repeat(100_000)],
  ])("about %s are short and show no stack", async (_, path, body) => {
    const reply = await ask(path, { method: "POST", body });
    const text = await reply.text();
    expect(reply.status).toBe(400);
    expect(text.length).toBeLessThan(1000);
    expect(text).not.toMatch(secrets);
  });

  test("of gRPC are cut at the same length as upstream's", async () => {
    using client = new GrpcClient({ address: `localhost:${port}`, tls: { rootCerts: ca }, headers });
    const failure = await client.getModelStatus({ name: "n".repeat(100_000) }).catch(String);
    expect(String(failure).length).toBeLessThan(1100);
    expect(String(failure)).not.toMatch(secrets);
  });
});

describe("the log", () => {
  test("has no token and no key at any level, and payloads only in debug lines", async () => {
    const payload = "private-payload-of-a-client";
    const wrong = "wrong-token-of-a-client";
    const body = JSON.stringify({ instances: [payload], signature_name: "serving_default" });
    expect((await ask("/v1/models/iris:predict", { method: "POST", body })).status).toBe(400);
    const refused = await fetch(`${origin}/v1/models/iris`, {
      headers: { Authorization: `Bearer ${wrong}` },
      tls: { ca },
    });
    expect(refused.status).toBe(401);
    using stranger = new GrpcClient({
      address: `localhost:${port}`,
      tls: { rootCerts: ca },
      headers: { Authorization: `Bearer ${wrong}` },
    });
    expect(await stranger.getModelStatus({ name: "iris" }).catch(String)).toContain("bearer token");
    // 平文を TLS の入口へ送る客。
    const closed = Promise.withResolvers<void>();
    const plain = connect(restPort, "127.0.0.1", () =>
      plain.write(`GET / HTTP/1.1\r\nAuthorization: ${TOKEN}\r\n\r\n`),
    );
    plain.on("error", () => {});
    plain.on("close", () => closed.resolve());
    plain.resume();
    await closed.promise;
    const log = lines.join("");
    expect(log).toContain("Running gRPC ModelServer");
    expect(log).not.toContain(TOKEN);
    expect(log).not.toContain(wrong);
    expect(lines.filter((line) => line.includes(payload) && !line.includes('"level":"debug"'))).toEqual([]);
    expect(log).not.toContain("PRIVATE KEY");
    expect(log).not.toContain(key.split("\n")[1]!);
  });
});

test("CORS is closed unless asked for", async () => {
  const reply = await ask("/v1/models/iris");
  expect([...reply.headers.keys()].filter((name) => name.startsWith("access-control"))).toEqual([]);
});
