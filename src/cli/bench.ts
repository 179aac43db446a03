import { systemClock } from "../base/clock.ts";
import type { RawClient, RawRequest } from "../client/raw_client.ts";
import { DEFAULT_SIGNATURE } from "../tensor/signature.ts";
import { Load, type LoadPlan } from "./bench_load.ts";
import { type BenchSubject, progressLine, toJson, toText } from "./bench_report.ts";
import { type ClientSecurity, clientFlags, readClientSecurity, toGrpcSecurity } from "./client_flags.ts";
import { type Command, type CommandFlags, UsageError } from "./command.ts";
import { parseFlags, readNumber } from "./command_flags.ts";
import { askSignature, type Target } from "./model_signature.ts";
import { printFailure } from "./print_failure.ts";
import { type RequestData, readDataFile } from "./request_data.ts";

const flags = {
  rest: {
    type: "string",
    hint: "URL",
    help: "REST endpoint to load; the local server by default, on REST_API_PORT (8501)",
  },
  grpc: { type: "string", hint: "HOST:PORT", help: "gRPC endpoint to load instead" },
  ...clientFlags,
  model: { type: "string", env: "MODEL_NAME", hint: "NAME", help: "model to ask, iris by default" },
  version: { type: "string", hint: "N", help: "version to ask; the newest one by default" },
  signature: { type: "string", default: DEFAULT_SIGNATURE, hint: "NAME", help: "signature to run" },
  data: {
    type: "string",
    hint: "FILE",
    help: "bodies: JSON as for curl (one, or one per line) or a TFRecord of PredictionLogs; - is stdin",
    completes: "file",
  },
  rows: { type: "string", default: "1", hint: "N", help: "rows of a made-up request" },
  concurrency: {
    type: "string",
    default: "8",
    hint: "N",
    help: "requests waiting at the same time (REST: up to 256)",
  },
  connections: { type: "string", default: "1", hint: "N", help: "HTTP/2 connections of --grpc" },
  duration_s: { type: "string", default: "10", hint: "N", help: "seconds to send for" },
  requests: { type: "string", hint: "N", help: "stop after this many requests" },
  rate: { type: "string", default: "0", hint: "N", help: "requests per second; 0 sends without a pause" },
  warmup: { type: "string", default: "20", hint: "N", help: "requests sent first and not counted" },
  timeout_ms: { type: "string", default: "10000", hint: "N", help: "a slower answer counts as failed" },
  json: { type: "string", hint: "FILE", help: "write the report as JSON; - is stdout", completes: "file" },
  quiet: { type: "boolean", help: "no progress and no text report" },
} as const satisfies CommandFlags;

/** Bun の fetch が同時に開く接続の上限。 */
const MAX_REST_CONCURRENCY = 256;
const PROGRESS_MS = 200;

async function prepare(
  target: Target,
  key: string,
  rows: number,
  data: RequestData | undefined,
  named: string | undefined,
): Promise<readonly RawRequest[]> {
  const { grpcRequests, recordedRequests, restRequests } = await import("./bench_requests.ts");
  if (target.protocol === "grpc" && data?.kind === "records") return recordedRequests(data.records, named);
  const signature = await askSignature(target, key);
  if (target.protocol === "rest") return restRequests(target, signature, rows, data);
  return grpcRequests(target, signature, rows, data?.kind === "bodies" ? data : undefined);
}

/** 端末なら 1 行を書き換え続ける。@returns 止めて行を消す関数。 */
function showProgress(load: Load): () => void {
  if (!process.stderr.isTTY) return () => {};
  let cancel = (): void => {};
  const draw = (): void => {
    process.stderr.write(`\r\x1b[K${progressLine(load.tally)}`);
    cancel = systemClock.after(PROGRESS_MS, draw);
  };
  draw();
  return () => {
    cancel();
    process.stderr.write("\r\x1b[K");
  };
}

/** 途中の Ctrl-C は、そこまでの報告をして終わる。 */
async function withInterrupt<T>(stop: () => void, body: () => Promise<T>): Promise<T> {
  process.once("SIGINT", stop);
  try {
    return await body();
  } finally {
    process.removeListener("SIGINT", stop);
  }
}

function readTarget(
  values: ReturnType<typeof parseFlags<typeof flags>>["values"],
  security: ClientSecurity,
): Target {
  if (values.rest !== undefined && values.grpc !== undefined)
    throw new UsageError("give --rest or --grpc, not both");
  if (values.version !== undefined && !/^\d+$/.test(values.version)) {
    throw new UsageError(`--version needs a number, not ${values.version}`);
  }
  const { REST_API_PORT } = process.env;
  const rest = (values.rest ?? `http://127.0.0.1:${REST_API_PORT || "8501"}`).replace(/\/+$/, "");
  return {
    protocol: values.grpc === undefined ? "rest" : "grpc",
    address:
      values.grpc ??
      (/^https?:\/\//.test(rest) ? rest : `http${security.rootCerts === undefined ? "" : "s"}://${rest}`),
    name: values.model || "iris",
    security,
    timeoutMs: readNumber("timeout_ms", values.timeout_ms, 1),
    ...(values.version === undefined ? {} : { version: BigInt(values.version) }),
  };
}

export const benchCommand: Command = {
  name: "bench",
  summary: "put load on any TensorFlow Serving endpoint and measure it",
  synopsis: "",
  examples: [
    ["iris-serving bench", "10 s of made-up requests to the local server by REST"],
    ["iris-serving bench --grpc=127.0.0.1:8500 --concurrency=32", "the same by gRPC, 32 at a time"],
    [
      "iris-serving bench --model=m --data=request.json --requests=10000",
      "a request of your own, 10000 times",
    ],
    ["iris-serving bench --rate=500 --duration_s=60", "500 per second, late starts counted as latency"],
    [
      "iris-serving bench --json=report.json --quiet",
      "for a CI job: report in a file, exit code 1 on failures",
    ],
    [
      "iris-serving bench --grpc=HOST:8500 --data=/models/m/1/assets.extra/tf_serving_warmup_requests",
      "replay recorded requests",
    ],
  ],
  notes:
    "Without --data the request is made up from the signature in the model's metadata. Ctrl-C ends early with the\nreport so far. Latency is measured from sending (with --rate: from when it should have been sent) to the last byte.",
  flags,
  exitCodes: [
    [0, "every request was answered"],
    [1, "a request failed, or the server was not reachable"],
  ],
  async run(args) {
    const { values, positionals } = parseFlags(flags, args);
    if (positionals.length > 0) throw new UsageError(`bench takes only flags, not ${positionals[0]}`);
    const rows = readNumber("rows", values.rows, 1, true);
    const connections = readNumber("connections", values.connections, 1, true);
    const warmup = readNumber("warmup", values.warmup, 0, true);
    const plan: LoadPlan = {
      concurrency: readNumber("concurrency", values.concurrency, 1, true),
      durationMs: readNumber("duration_s", values.duration_s) * 1000,
      rate: readNumber("rate", values.rate),
      ...(values.requests === undefined
        ? {}
        : { requests: readNumber("requests", values.requests, 1, true) }),
    };
    let security: ClientSecurity;
    try {
      security = await readClientSecurity(values);
    } catch (thrown) {
      return printFailure(thrown);
    }
    const target = readTarget(values, security);
    if (target.protocol === "rest" && plan.concurrency > MAX_REST_CONCURRENCY) {
      throw new UsageError(`--concurrency is at most ${MAX_REST_CONCURRENCY} for REST`);
    }
    const data = values.data === undefined ? undefined : await readDataFile(values.data);
    const { address, timeoutMs } = target;
    const { RawGrpcClient, RawRestClient } = await import("../client/raw_client.ts");
    using client: RawClient =
      target.protocol === "grpc"
        ? new RawGrpcClient({
            address,
            connections,
            timeoutMs,
            ...toGrpcSecurity(security),
          })
        : new RawRestClient({
            origin: address,
            timeoutMs,
            ...security,
          });
    let requests: readonly RawRequest[];
    try {
      requests = await prepare(target, values.signature, rows, data, values.model);
      for (let i = 0; i < warmup; i++) await client.send(requests[i % requests.length]!);
    } catch (thrown) {
      if (thrown instanceof UsageError) throw thrown;
      return printFailure(thrown);
    }
    const subject: BenchSubject = {
      protocol: target.protocol,
      target: address,
      model: target.name,
      signature: data?.kind === "records" ? undefined : values.signature,
      connections: target.protocol === "grpc" ? connections : plan.concurrency,
      bodies: requests.length,
      bytesPerRequest: requests.reduce((sum, { body }) => sum + body.length, 0) / requests.length,
      startedAt: new Date(systemClock.now()).toISOString(),
    };
    const load = new Load({ monotonicMs: systemClock.monotonicMs, sleep: Bun.sleep }, plan);
    const hide = values.quiet ? () => {} : showProgress(load);
    const tally = await withInterrupt(
      () => load.stop(),
      () => load.run((i) => client.send(requests[i % requests.length]!)),
    );
    hide();
    if (!values.quiet && values.json !== "-") console.log(toText(subject, plan, tally));
    if (values.json !== undefined) {
      const text = JSON.stringify(toJson(subject, plan, tally), null, 1);
      if (values.json === "-") console.log(text);
      else await Bun.write(values.json, `${text}\n`);
    }
    return tally.failed === 0 && tally.latencies.count > 0 ? 0 : 1;
  },
};
