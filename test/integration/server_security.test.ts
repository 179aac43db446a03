import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { embeddedModel, wasmFiles } from "../../src/assets.ts";
import { systemClock } from "../../src/base/clock.ts";
import type { Host } from "../../src/base/host.ts";
import { silentLogger } from "../../src/base/log.ts";
import { Metrics } from "../../src/base/metrics.ts";
import { commands } from "../../src/cli/commands.ts";
import { GrpcClient } from "../../src/client/grpc_client.ts";
import { RestClient } from "../../src/client/rest_client.ts";
import { withEmbedded } from "../../src/embedded_storage.ts";
import { parseOptions } from "../../src/options.ts";
import { diskStorage } from "../../src/savedmodel/storage.ts";
import { ModelServer } from "../../src/server.ts";
import { createAuthority, type Identity, issue } from "../helpers/certificates.ts";
import { FakeClock } from "../helpers/fake_clock.ts";
import { freePort } from "../helpers/free_port.ts";

const MOUNT = "/models/secured-iris";
const ROW = [5.1, 3.5, 1.4, 0.2];
const directory = mkdtempSync(join(tmpdir(), "iris-security-"));
const file = (name: string): string => join(directory, name);
const embedded = withEmbedded(
  diskStorage,
  MOUNT,
  new Map([...embeddedModel].map(([path, asset]) => [path, new Uint8Array(readFileSync(asset))])),
);
let authority: Identity;

interface Running extends AsyncDisposable {
  readonly port: number;
  readonly restPort: number;
  readonly timers: FakeClock;
}

function createServer(timers: FakeClock, flags: readonly string[]): ModelServer {
  const clock = { ...systemClock, after: timers.after.bind(timers) };
  const host: Host = { clock, log: silentLogger, metrics: new Metrics() };
  const { options } = parseOptions([`--model_base_path=${MOUNT}`, "--model_name=iris", ...flags], {});
  return new ModelServer(host, { options, storage: embedded, wasm: wasmFiles, cpus: 2 });
}

async function start(...flags: string[]): Promise<Running> {
  const [port, restPort] = [await freePort(), await freePort()];
  const timers = new FakeClock();
  const server = createServer(timers, [`--port=${port}`, `--rest_api_port=${restPort}`, ...flags]);
  await server.start();
  return {
    port,
    restPort,
    timers,
    [Symbol.asyncDispose]: async () => {
      let isStopped = false;
      const stopped = server.stop(0).finally(() => {
        isStopped = true;
      });
      while (!isStopped) await timers.advance(100);
      await stopped;
    },
  };
}

const write = (name: string, { cert, key }: Identity): void => {
  writeFileSync(file(`${name}.crt`), cert);
  writeFileSync(file(`${name}.key`), key);
};
const sslConfig = ({ cert, key }: Identity): string =>
  `server_key: ${JSON.stringify(key)} server_cert: ${JSON.stringify(cert)}`;

/** その番号で名乗られる名前。 */
function nameAt(port: number, protocol: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(
      { port, host: "127.0.0.1", servername: "localhost", ca: authority.cert, ALPNProtocols: [protocol] },
      () => {
        resolve(String(socket.getPeerCertificate().subject.CN));
        socket.destroy();
      },
    );
    socket.on("error", reject);
  });
}

beforeAll(async () => {
  authority = await createAuthority("authority");
  writeFileSync(file("ca.crt"), authority.cert);
  writeFileSync(file("other_ca.crt"), (await createAuthority("other")).cert);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function askBoth({ port, restPort }: Running, tls: boolean, headers: Record<string, string> = {}) {
  const rootCerts = authority.cert;
  const rest = new RestClient({
    origin: `${tls ? "https" : "http"}://localhost:${restPort}`,
    headers,
    ...(tls ? { rootCerts } : {}),
  });
  using grpc = new GrpcClient({
    address: `localhost:${port}`,
    headers,
    ...(tls ? { tls: { rootCerts } } : {}),
  });
  const outcome = async (work: Promise<unknown>) =>
    work.then(
      () => "OK",
      (thrown: unknown) => String(thrown),
    );
  return {
    rest: await outcome(rest.predict({ name: "iris" }, { instances: [ROW] })),
    grpc: await outcome(grpc.getModelStatus({ name: "iris" })),
  };
}

describe("TLS by PEM files", () => {
  test("covers both doors, and follows the files", async () => {
    write("server", await issue(authority, "first"));
    await using server = await start(
      `--tls_cert_file=${file("server.crt")}`,
      `--tls_key_file=${file("server.key")}`,
      "--credentials_poll_wait_seconds=1",
    );
    expect(await askBoth(server, true)).toEqual({ rest: "OK", grpc: "OK" });
    expect((await askBoth(server, false)).rest).toContain("UNAVAILABLE");

    // 片方だけが新しい間は、元のまま。
    const second = await issue(authority, "second");
    writeFileSync(file("server.crt"), second.cert);
    await server.timers.advance(5000);
    expect(await nameAt(server.restPort, "http/1.1")).toBe("first");
    expect(await nameAt(server.port, "h2")).toBe("first");
    writeFileSync(file("server.key"), second.key);
    while ((await nameAt(server.port, "h2")) !== "second") await server.timers.advance(1000);
    while ((await nameAt(server.restPort, "http/1.1")) !== "second") await server.timers.advance(1000);
    expect(await askBoth(server, true)).toEqual({ rest: "OK", grpc: "OK" });
  });

  test("with client roots lets in only their clients", async () => {
    write("server", await issue(authority, "server"));
    await using server = await start(
      `--tls_cert_file=${file("server.crt")}`,
      `--tls_key_file=${file("server.key")}`,
      `--tls_client_ca_file=${file("ca.crt")}`,
    );
    const { rest, grpc } = await askBoth(server, true);
    expect(rest).toContain("UNAVAILABLE");
    expect(grpc).toContain("UNAVAILABLE");
    const client = await issue(authority, "client");
    using known = new GrpcClient({
      address: `localhost:${server.port}`,
      tls: { rootCerts: authority.cert, ...client },
    });
    expect(await known.health()).toBe(true);
    const reply = await fetch(`https://localhost:${server.restPort}/v1/models/iris`, {
      tls: { ca: authority.cert, ...client },
    });
    expect(reply.status).toBe(200);
  });

  test("an SSLConfig turns on TLS for its own door alone", async () => {
    writeFileSync(file("ssl.txt"), sslConfig(await issue(authority, "by config")));
    await using server = await start(`--rest_api_ssl_config_file=${file("ssl.txt")}`);
    expect(await nameAt(server.restPort, "http/1.1")).toBe("by config");
    using plain = new GrpcClient({ address: `localhost:${server.port}` });
    expect(await plain.health()).toBe(true);
  });

  test.each<[string, string[], string]>([
    ["a certificate without a key", ["tls_cert_file=server.crt"], "must be given together"],
    ["client roots without a certificate", ["tls_client_ca_file=ca.crt"], "must be given together"],
    [
      "a certificate and another's key",
      ["tls_cert_file=ca.crt", "tls_key_file=server.key"],
      "Not a usable certificate and key",
    ],
    ["a missing file", ["tls_cert_file=nope", "tls_key_file=server.key"], "No such file or directory"],
    ["a missing key file", ["api_key_file=nope"], "No such file or directory"],
    ["a key file without a key", ["api_key_file=empty"], "No API key in the file"],
  ])("refuses to start with %s", async (_, flags, message) => {
    write("server", await issue(authority, "server"));
    writeFileSync(file("empty"), "\n\n");
    const paths = flags.map((flag) => flag.replace("=", `=${directory}/`)).map((flag) => `--${flag}`);
    const server = createServer(new FakeClock(), [
      `--port=${await freePort()}`,
      "--rest_api_port=0",
      ...paths,
    ]);
    expect(await server.start().catch(String)).toContain(message);
    await server.stop(0);
  });
});

describe("API keys", () => {
  test("are asked for at both doors, and follow the file", async () => {
    writeFileSync(file("keys"), "alpha\nbeta\n");
    await using server = await start(`--api_key_file=${file("keys")}`, "--credentials_poll_wait_seconds=1");
    const ask = (token: string) => askBoth(server, false, { Authorization: `Bearer ${token}` });
    const refused = "UNAUTHENTICATED: Missing or invalid bearer token";
    expect(await ask("beta")).toEqual({ rest: "OK", grpc: "OK" });
    expect(await askBoth(server, false)).toEqual({ rest: refused, grpc: refused });
    writeFileSync(file("keys"), "gamma\n");
    while ((await ask("beta")).rest === "OK") await server.timers.advance(1000);
    expect(await ask("beta")).toEqual({ rest: refused, grpc: refused });
    expect(await ask("gamma")).toEqual({ rest: "OK", grpc: "OK" });
    using probe = new GrpcClient({ address: `localhost:${server.port}` });
    expect(await probe.health()).toBe(true);
  });

  test("and roots can be given to the commands", async () => {
    write("server", await issue(authority, "server"));
    writeFileSync(file("keys"), "alpha\n");
    writeFileSync(file("token"), "alpha\n");
    await using server = await start(
      `--api_key_file=${file("keys")}`,
      `--tls_cert_file=${file("server.crt")}`,
      `--tls_key_file=${file("server.key")}`,
    );
    const run = (name: string, ...args: string[]) => commands.get(name)!.run(args);
    const [ca, token] = [`--ca=${file("ca.crt")}`, `--token_file=${file("token")}`];
    const rest = `--server=localhost:${server.restPort}`;
    const grpc = `--server=localhost:${server.port}`;
    const values = ROW.map(String);
    expect(await run("predict", rest, ca, token, ...values)).toBe(0);
    expect(await run("predict", "--grpc", grpc, ca, token, ...values)).toBe(0);
    expect(await run("predict", rest, ca, ...values)).toBe(1);
    expect(await run("predict", rest, `--ca=${file("other_ca.crt")}`, token, ...values)).toBe(1);
    expect(await run("predict", rest, ca, `--token_file=${file("nope")}`, ...values)).toBe(1);
    const few = ["--requests=3", "--warmup=1", "--quiet"];
    const targets = [`--rest=localhost:${server.restPort}`, `--grpc=localhost:${server.port}`];
    for (const target of targets) {
      expect(await run("bench", target, ca, token, ...few)).toBe(0);
      expect(await run("bench", target, ca, ...few)).toBe(1);
      expect(await run("bench", target, ca, `--token_file=${file("nope")}`, ...few)).toBe(1);
    }
    expect(await run("health", grpc, ca)).toBe(0);
    expect(await run("health", grpc)).toBe(1);
  });
});
