// 2 つのサーバーを代理なしで並べ、二つの入口に負荷を掛けたまま交互に再起動する。失敗した要求が 1 つでもあれば 1。
//   bun scripts/load/direct_restart.ts [--restarts=100] [--pause_ms=2] [--binary=./iris-serving] [--json=FILE]
// - REST の客は接続を使い回し、要求を送り直さない。`Connection: close` を受けたら、もう一方につなぎ直す。
// - gRPC の客は 2 つの宛先を round_robin で使う。
import { writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Client, credentials } from "@grpc/grpc-js";
import { startBinary } from "../../test/interop/binary_server.ts";
import { irisRequest, PREDICT_PATH } from "../fuzz/doors/http2_frames.ts";
import { root } from "../steps.ts";
import { freePort, percentile } from "./tools.ts";

const { values } = parseArgs({
  options: {
    restarts: { type: "string", default: "100" },
    pause_ms: { type: "string", default: "2" },
    binary: { type: "string", default: join(root, "iris-serving") },
    json: { type: "string" },
  },
});
const restarts = Number(values.restarts);
const pauseMs = Number(values.pause_ms);
const STREAMS = 4;
const CALL_LIMIT_MS = 10_000;
/** 戻ったサーバーに gRPC の客がつなぎ直すまで待つ。両方を同時に失わないため。 */
const SETTLE_MS = 1200;
const BODY = '{"instances":[[5.1,3.5,1.4,0.2]]}';

const ports = [
  { grpc: await freePort(), rest: await freePort() },
  { grpc: await freePort(), rest: await freePort() },
] as const;
const start = ({ grpc, rest }: (typeof ports)[number]) =>
  startBinary({
    binary: values.binary,
    cwd: join(tmpdir(), "direct-restart"),
    port: grpc,
    restPort: rest,
  });
const servers = await Promise.all(ports.map(start));

let running = true;
const latencies: number[] = [];
const failures: string[] = [];
const counts = { rest: 0, grpc: 0, reconnects: 0 };

/** 送り直しをしない、最小の HTTP/1.1 の客。1 本の接続を使い回す。 */
class KeepAliveClient {
  #socket: Socket | undefined;
  #at: number;

  constructor(at: number) {
    this.#at = at;
  }

  /** @throws 送った後に、応答が無いまま切れた。状態が 200 でない。 */
  async predict(): Promise<string> {
    this.#socket ??= await this.#connect();
    const socket = this.#socket;
    const text = await new Promise<string>((resolve, reject) => {
      let answer = "";
      const cleanUp = () => socket.removeAllListeners("data").removeAllListeners("close");
      socket.on("data", (chunk: Buffer) => {
        answer += chunk.toString("latin1");
        const end = answer.indexOf("\r\n\r\n");
        const length = Number(/content-length: (\d+)/i.exec(answer)?.[1]);
        if (end < 0 || answer.length < end + 4 + length) return;
        cleanUp();
        resolve(answer);
      });
      socket.on("close", () => {
        cleanUp();
        reject(new Error(`cut after ${answer.length} bytes of an answer`));
      });
      socket.write(
        `POST /v1/models/iris:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY}`,
      );
    }).catch((error: unknown) => {
      this.#leave(socket);
      throw error;
    });
    if (/^connection: close/im.test(text)) this.#leave(socket);
    // 使っていない間に切られたら、次は新しい接続で送る。
    else socket.once("close", () => this.#leave(socket));
    if (!text.startsWith("HTTP/1.1 200")) throw new Error(text.split("\r\n")[0]);
    return text;
  }

  close(): void {
    this.#socket?.destroy();
  }

  /** この接続をやめ、次はもう一方から始める。 */
  #leave(socket: Socket): void {
    if (this.#socket !== socket) return;
    socket.destroy();
    this.#socket = undefined;
    this.#at = 1 - this.#at;
    counts.reconnects++;
  }

  /** つながらないうちは、何も送っていない。もう一方を試すのは、送り直しではない。 */
  async #connect(): Promise<Socket> {
    for (let attempt = 0; ; attempt++) {
      const socket = connect({ host: "127.0.0.1", port: ports[this.#at]!.rest });
      const error = await new Promise<Error | undefined>((resolve) => {
        socket.once("connect", () => resolve(undefined));
        socket.once("error", resolve);
      });
      // 応答の途中の失敗は close で分かる。
      socket.on("error", () => socket.destroy());
      if (error === undefined) return socket;
      if (attempt > 3) throw error;
      this.#at = 1 - this.#at;
    }
  }
}

const grpcClient = new Client(
  `ipv4:${ports.map(({ grpc }) => `127.0.0.1:${grpc}`).join(",")}`,
  credentials.createInsecure(),
  {
    "grpc.service_config": JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 200,
    // 送り直しに頼らない。
    "grpc.enable_retries": 0,
  },
);

const callGrpc = (): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    grpcClient.makeUnaryRequest(
      PREDICT_PATH,
      (message: Uint8Array) => Buffer.from(message),
      (answer: Buffer) => answer,
      irisRequest,
      { deadline: Date.now() + CALL_LIMIT_MS },
      (error, answer) => (error ? reject(error) : resolve(answer!)),
    );
  });

async function stream(door: "rest" | "grpc", ask: () => Promise<{ readonly length: number }>): Promise<void> {
  while (running) {
    const started = performance.now();
    try {
      if ((await ask()).length === 0) throw new Error("empty answer");
    } catch (error) {
      failures.push(`${door}: ${error}`);
    }
    latencies.push(performance.now() - started);
    counts[door]++;
    await Bun.sleep(pauseMs);
  }
}

const clients = Array.from({ length: STREAMS }, (_, i) => new KeepAliveClient(i % 2));
const streams = [
  ...clients.map((client) => stream("rest", () => client.predict())),
  ...clients.map(() => stream("grpc", callGrpc)),
];
await Bun.sleep(SETTLE_MS);
const stopsMs: number[] = [];
let drained = true;
for (let restart = 0; restart < restarts; restart++) {
  const at = restart % 2;
  const asked = performance.now();
  const code = await servers[at]!.stop();
  stopsMs.push(performance.now() - asked);
  drained &&= code === 0;
  servers[at] = await start(ports[at]!);
  await Bun.sleep(SETTLE_MS);
  if ((restart + 1) % 20 === 0) {
    console.log(
      `${restart + 1} restarts: ${counts.rest} REST, ${counts.grpc} gRPC, ${failures.length} failed`,
    );
  }
}
running = false;
await Promise.all(streams);
grpcClient.close();
for (const client of clients) client.close();
await Promise.all(servers.map((server) => server.stop()));

latencies.sort((a, b) => a - b);
const report = {
  restarts,
  ...counts,
  failed: failures.length,
  drained,
  slowestStopMs: Math.round(Math.max(...stopsMs)),
  latencyMs: {
    p50: percentile(latencies, 0.5),
    p99: percentile(latencies, 0.99),
    max: latencies.at(-1),
  },
};
console.log(JSON.stringify(report, null, 1));
for (const failure of failures.slice(0, 10)) console.log(failure);
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(report, null, 1)}\n`);
const ok = failures.length === 0 && drained && counts.rest > 0 && counts.grpc > 0;
console.log(ok ? "1 passed, 0 failed" : "0 passed, 1 failed");
process.exit(ok ? 0 : 1);
