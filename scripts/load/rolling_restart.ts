// 3 つのサーバーを本物の代理(nginx か HAProxy)の後ろに並べ、二つの入口に負荷を掛けたまま 1 つずつ再起動する。
//   bun scripts/load/rolling_restart.ts [--proxy=nginx|haproxy] [--rounds=3] [--rate=0] [--binary=./iris-serving] [--json=FILE]
// 代理の設定は deploy/proxies のもの。失敗した要求が 1 つでもあれば終了コード 1。
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { root } from "../steps.ts";
import { findProxy, type ProxyName, proxies, runCommand, writeProxyConfig } from "./proxy.ts";
import { freePort } from "./tools.ts";

const { values } = parseArgs({
  options: {
    proxy: { type: "string", default: "nginx" },
    rounds: { type: "string", default: "3" },
    rate: { type: "string", default: "0" },
    binary: { type: "string", default: join(root, "iris-serving") },
    json: { type: "string" },
  },
});
const proxy = values.proxy as ProxyName;
const executable = proxies.includes(proxy) ? findProxy(proxy) : null;
if (executable === null) throw new Error(`${values.proxy} is not installed`);
const binary = resolve(values.binary);
const work = mkdtempSync(join(tmpdir(), "rolling-"));
const SERVERS = 3;
const START_LIMIT_MS = 30_000;
/** 代理が、戻ったサーバーに気づくまで(nginx の fail_timeout、HAProxy の inter)。 */
const SETTLE_MS = 1500;

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  const limit = performance.now() + START_LIMIT_MS;
  while (!(await condition())) {
    if (performance.now() > limit) throw new Error(`${what} did not happen`);
    await Bun.sleep(20);
  }
}

const answers = (url: string): Promise<boolean> =>
  fetch(url).then(
    (reply) => reply.ok,
    () => false,
  );

interface Ports {
  readonly grpc: number;
  readonly rest: number;
}

async function startServer({ grpc, rest }: Ports) {
  const child = Bun.spawn([binary, `--port=${grpc}`, `--rest_api_port=${rest}`, "--log_level=warn"], {
    cwd: work,
    stdio: ["ignore", "ignore", "inherit"],
  });
  await until("the server's start", () => answers(`http://127.0.0.1:${rest}/readyz`));
  return child;
}

interface Report {
  readonly requests: number;
  readonly failed: number;
  readonly requests_per_s: number;
  readonly latency_ms: { readonly p50: number; readonly p99: number; readonly max: number };
  readonly errors: readonly { readonly message: string; readonly count: number }[];
}

/** 合図されるまで負荷を掛け、報告を返す。 */
function startLoad(target: string) {
  const child = Bun.spawn(
    [
      binary,
      "bench",
      target,
      "--duration_s=3600",
      "--concurrency=8",
      `--rate=${values.rate}`,
      "--json=-",
      "--quiet",
    ],
    { cwd: work, stdio: ["ignore", "pipe", "inherit"] },
  );
  const text = new Response(child.stdout).text();
  return async (): Promise<Report> => {
    child.kill("SIGINT");
    return JSON.parse(await text) as Report;
  };
}

const ports: Ports[] = [];
for (let i = 0; i < SERVERS; i++) ports.push({ grpc: await freePort(), rest: await freePort() });
const own = { grpc: await freePort(), rest: await freePort() };
const config = writeProxyConfig(proxy, work, own, ports);
const servers = await Promise.all(ports.map(startServer));
const front = Bun.spawn(runCommand(proxy, executable, config), {
  cwd: work,
  stdio: ["ignore", "ignore", "ignore"],
});
let exitCode = 1;
try {
  await until("the proxy's start", () => answers(`http://127.0.0.1:${own.rest}/readyz`));
  const loads = {
    rest: startLoad(`--rest=http://127.0.0.1:${own.rest}`),
    grpc: startLoad(`--grpc=127.0.0.1:${own.grpc}`),
  };
  await Bun.sleep(SETTLE_MS);
  const stops: number[] = [];
  let drained = true;
  for (let round = 1; round <= Number(values.rounds); round++) {
    for (let i = 0; i < SERVERS; i++) {
      const asked = performance.now();
      servers[i]!.kill("SIGTERM");
      const code = await servers[i]!.exited;
      stops.push(performance.now() - asked);
      drained &&= code === 0;
      servers[i] = await startServer(ports[i]!);
      await Bun.sleep(SETTLE_MS);
    }
    console.log(`round ${round} of ${values.rounds}`);
  }
  const [rest, grpc] = [await loads.rest(), await loads.grpc()];
  const report = { proxy, restarts: stops.length, drained, slowestStopMs: Math.max(...stops), rest, grpc };
  for (const [door, { requests, failed, requests_per_s, latency_ms, errors }] of Object.entries({
    rest,
    grpc,
  })) {
    console.log(
      `${door}: ${requests} requests (${requests_per_s.toFixed(0)}/s), ${failed} failed, p50 ${latency_ms.p50} ms, p99 ${latency_ms.p99} ms, max ${latency_ms.max} ms`,
    );
    for (const { message, count } of errors) console.log(`  ${count} × ${message}`);
  }
  console.log(
    `${stops.length} restarts, slowest stop ${report.slowestStopMs.toFixed(0)} ms, ${drained ? "all" : "not all"} exited with 0`,
  );
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(report, null, 1)}\n`);
  exitCode =
    rest.failed === 0 && grpc.failed === 0 && drained && rest.requests > 0 && grpc.requests > 0 ? 0 : 1;
  console.log(exitCode === 0 ? "1 passed, 0 failed" : "0 passed, 1 failed");
} finally {
  front.kill("SIGTERM");
  for (const server of servers) server.kill("SIGTERM");
  await Promise.all([front.exited, ...servers.map((server) => server.exited)]);
  rmSync(work, { recursive: true, force: true });
}
process.exit(exitCode);
