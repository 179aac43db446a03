// 処理能力の 1 倍、2 倍、3 倍の要求を、答えを待たずに送り続け、良い答えの数、遅れ、断られた数、メモリを測る。
//   bun scripts/load/overload.ts [--binary=./iris-serving] [--seconds=5] [--protocol=rest|grpc] [--rows=160]
//                                [--megabytes=2] [--server_flags="--max_queue_delay_ms=200 …"]
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { grpcPath, RawGrpcClient } from "../../src/client/raw_client.ts";
import { writeSavedModel } from "../../src/savedmodel/writer.ts";
import { root } from "../steps.ts";
import { wideNetwork } from "./constant_network.ts";
import { predictRequestBytes } from "./predict_request.ts";
import { freePort, percentile } from "./tools.ts";

const { values } = parseArgs({
  options: {
    binary: { type: "string", default: join(root, "iris-serving") },
    seconds: { type: "string", default: "5" },
    protocol: { type: "string", default: "rest" },
    /** 128 行より多い要求は、ほかの要求とまとめられない。1 件の重さがそのまま能力を決める。 */
    rows: { type: "string", default: "160" },
    megabytes: { type: "string", default: "2" },
    server_flags: { type: "string", default: "" },
  },
});
const MODEL = "wide";
const CLIENT_TIMEOUT_MS = 10_000;
const MAX_SOCKETS = 4000;
const durationMs = Number(values.seconds) * 1000;
const rows = Number(values.rows);

/** 1 件を送る。答えが来れば良い答えかどうか、来なければ false。 */
type Send = () => Promise<"ok" | "refused" | "failed">;

/** 空いている接続を使い回し、無ければ新しくつなぐ HTTP/1.1 の客。 */
class RestLoad {
  readonly #port: number;
  readonly #request: Buffer;
  readonly #idle: ((request: Buffer) => Promise<string>)[] = [];
  #open = 0;

  constructor(port: number, body: string) {
    this.#port = port;
    this.#request = Buffer.from(
      `POST /v1/models/${MODEL}:predict HTTP/1.1\r\nHost: h\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    );
  }

  readonly send: Send = async () => {
    if (this.#idle.length === 0 && this.#open >= MAX_SOCKETS) return "failed";
    try {
      const ask = this.#idle.pop() ?? (await this.#connect());
      const status = await ask(this.#request);
      this.#idle.push(ask);
      if (status === "200") return "ok";
      return status === "429" || status === "503" || status === "504" ? "refused" : "failed";
    } catch {
      return "failed";
    }
  };

  async #connect(): Promise<(request: Buffer) => Promise<string>> {
    this.#open++;
    let settle: { resolve: (status: string) => void; reject: (error: Error) => void } | undefined;
    let received = "";
    const socket = await Bun.connect({
      hostname: "127.0.0.1",
      port: this.#port,
      socket: {
        data(_, chunk) {
          received += chunk.toString("latin1");
          const end = received.indexOf("\r\n\r\n");
          if (end < 0) return;
          const length = Number(/content-length: (\d+)/i.exec(received)?.[1] ?? 0);
          if (received.length < end + 4 + length) return;
          const status = received.slice(9, 12);
          received = "";
          settle?.resolve(status);
        },
        close() {
          settle?.reject(new Error("closed"));
        },
      },
    });
    return (request) =>
      new Promise((resolve, reject) => {
        settle = { resolve, reject };
        socket.write(request);
      });
  }
}

function grpcLoad(port: number): Send {
  const client = new RawGrpcClient({
    address: `127.0.0.1:${port}`,
    connections: 8,
    timeoutMs: CLIENT_TIMEOUT_MS,
  });
  const request = { path: grpcPath("predict"), body: predictRequestBytes(MODEL, rows, 4) };
  return () =>
    client.send(request).then(
      () => "ok" as const,
      (error: unknown) =>
        /RESOURCE_EXHAUSTED|UNAVAILABLE: Server is overloaded|DEADLINE/.test(String(error))
          ? ("refused" as const)
          : ("failed" as const),
    );
}

const base = mkdtempSync(join(tmpdir(), "overload-"));
for (const [path, bytes] of writeSavedModel(wideNetwork(Number(values.megabytes)))) {
  const file = join(base, MODEL, "1", path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, bytes);
}
const [port, restPort] = [await freePort(), await freePort()];
const server = Bun.spawn(
  [
    values.binary,
    `--port=${port}`,
    `--rest_api_port=${restPort}`,
    `--model_name=${MODEL}`,
    `--model_base_path=${join(base, MODEL)}`,
    "--log_level=error",
    ...values.server_flags.split(" ").filter((flag) => flag !== ""),
  ],
  { stdio: ["ignore", "ignore", "inherit"] },
);
const residentMB = (): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.pid}/status`, "utf8"))?.[1]) / 1024;

try {
  while (
    !(await fetch(`http://127.0.0.1:${restPort}/v1/models/${MODEL}`).then(
      ({ ok }) => ok,
      () => false,
    ))
  ) {
    if (server.exitCode !== null) throw new Error(`the server exited with ${server.exitCode}`);
    await Bun.sleep(50);
  }
  const body = JSON.stringify({ instances: Array.from({ length: rows }, () => [5.1, 3.5, 1.4, 0.2]) });
  const send = values.protocol === "grpc" ? grpcLoad(port) : new RestLoad(restPort, body).send;

  /** 8 本の流れで休まず送ったときの、毎秒の数。 */
  const capacityOf = async (ms: number): Promise<number> => {
    const until = performance.now() + ms;
    let answered = 0;
    const flow = async (): Promise<void> => {
      while (performance.now() < until) if ((await send()) === "ok") answered++;
    };
    await Promise.all(Array.from({ length: 8 }, flow));
    return answered / (ms / 1000);
  };

  /** 毎秒 `rate` 件を、答えを待たずに送る。遅れは送るはずだった時刻から測る。 */
  const overload = async (rate: number) => {
    const count = { ok: 0, refused: 0, failed: 0 };
    const latencies: number[] = [];
    const waiting: Promise<void>[] = [];
    let peakMB = 0;
    const started = performance.now();
    for (let sent = 0; ; ) {
      const elapsed = performance.now() - started;
      if (elapsed >= durationMs) break;
      for (; sent < (elapsed / 1000) * rate; sent++) {
        const dueMs = started + (sent / rate) * 1000;
        waiting.push(
          send().then((outcome) => {
            count[outcome]++;
            if (outcome === "ok") latencies.push(performance.now() - dueMs);
          }),
        );
      }
      peakMB = Math.max(peakMB, residentMB());
      await Bun.sleep(2);
    }
    await Promise.all(waiting);
    // 送り終えた後に片付いた分も、掛かった時間で割る。
    const tookMs = performance.now() - started;
    latencies.sort((a, b) => a - b);
    return {
      goodput: count.ok / (tookMs / 1000),
      refused: count.refused,
      failed: count.failed,
      p50: percentile(latencies, 0.5),
      p99: percentile(latencies, 0.99),
      peakMB,
    };
  };

  await capacityOf(2000);
  const capacity = await capacityOf(durationMs);
  console.log(
    `${values.protocol}, ${rows} rows × ${values.megabytes} MB, capacity ${capacity.toFixed(0)}/s, ${residentMB().toFixed(0)} MB`,
  );
  console.log("offered  rate/s  goodput/s  of peak  refused  failed  p50 ms  p99 ms  peak MB");
  let peak = capacity;
  for (const factor of [0.5, 1, 2, 3, 5]) {
    const { goodput, refused, failed, p50, p99, peakMB } = await overload(capacity * factor);
    peak = Math.max(peak, goodput);
    console.log(
      [
        `${factor}×`.padEnd(7),
        (capacity * factor).toFixed(0).padStart(7),
        goodput.toFixed(0).padStart(10),
        (goodput / peak).toFixed(2).padStart(8),
        String(refused).padStart(8),
        String(failed).padStart(7),
        p50.toFixed(1).padStart(7),
        p99.toFixed(1).padStart(7),
        peakMB.toFixed(0).padStart(8),
      ].join(" "),
    );
    await Bun.sleep(500);
  }
} finally {
  server.kill("SIGTERM");
  await server.exited;
  rmSync(base, { recursive: true, force: true });
}
process.exit(0);
