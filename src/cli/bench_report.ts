import { percentiles } from "./bench_latencies.ts";
import type { LoadPlan, LoadTally } from "./bench_load.ts";

/** 何に何を送ったか。 */
export interface BenchSubject {
  readonly protocol: "rest" | "grpc";
  readonly target: string;
  readonly model: string;
  /** 記録を送ったときは無い。 */
  readonly signature: string | undefined;
  readonly connections: number;
  /** 順に送った本文の数と、1 件の平均のバイト数。 */
  readonly bodies: number;
  readonly bytesPerRequest: number;
  readonly startedAt: string;
}

const round = (value: number): number => Number(value.toPrecision(6));

/** `--json` の中身。時間はミリ秒(名前の末尾に単位)。 */
export function toJson(subject: BenchSubject, plan: LoadPlan, tally: LoadTally): object {
  const { latencies, failures, failed, bytesReceived, elapsedMs } = tally;
  const { min, mean, stdev, max } = latencies.summary();
  return {
    protocol: subject.protocol,
    target: subject.target,
    model: subject.model,
    signature: subject.signature ?? null,
    started_at: subject.startedAt,
    concurrency: plan.concurrency,
    connections: subject.connections,
    rate: plan.rate,
    bodies: subject.bodies,
    bytes_per_request: round(subject.bytesPerRequest),
    elapsed_s: round(elapsedMs / 1000),
    requests: latencies.count + failed,
    failed,
    requests_per_s: round(perSecond(tally)),
    bytes_received: bytesReceived,
    latency_ms: {
      min: round(min),
      mean: round(mean),
      stdev: round(stdev),
      ...Object.fromEntries(
        percentiles.map((p) => [`p${String(p).replace(".", "_")}`, round(latencies.percentile(p))]),
      ),
      max: round(max),
    },
    histogram: latencies
      .buckets()
      .map(({ leMs, count }) => ({ le_ms: Number.isFinite(leMs) ? leMs : "+Inf", count })),
    errors: [...failures].map(([message, count]) => ({ message, count })),
  };
}

function perSecond({ latencies, elapsedMs }: LoadTally): number {
  return elapsedMs > 0 ? (latencies.count * 1000) / elapsedMs : 0;
}

const milliseconds = (ms: number): string => {
  if (ms >= 1000) return `${(ms / 1000).toFixed(2)} s`;
  return `${ms.toFixed(ms >= 100 ? 0 : ms >= 10 ? 1 : ms >= 1 ? 2 : 3)} ms`;
};

/** 走っている間の 1 行。 */
export function progressLine(tally: LoadTally): string {
  const { latencies, failed, elapsedMs } = tally;
  return [
    `${(elapsedMs / 1000).toFixed(1)} s`,
    `${latencies.count + failed} requests`,
    `${perSecond(tally).toFixed(0)}/s`,
    `p50 ${milliseconds(latencies.percentile(50))}`,
    `p99 ${milliseconds(latencies.percentile(99))}`,
    `${failed} failed`,
  ].join("  ");
}

const BAR = 40;

/** 終わりの報告。 */
export function toText(subject: BenchSubject, plan: LoadPlan, tally: LoadTally): string {
  const { latencies, failures, failed, elapsedMs } = tally;
  const { min, mean, max } = latencies.summary();
  const buckets = latencies.buckets();
  const most = Math.max(1, ...buckets.map(({ count }) => count));
  const streams = `${plan.concurrency} at a time${subject.protocol === "grpc" ? ` on ${subject.connections} connections` : ""}`;
  return [
    `${latencies.count + failed} requests in ${(elapsedMs / 1000).toFixed(2)} s, ${streams}: ${perSecond(tally).toFixed(0)} answers/s, ${failed} failed`,
    "",
    `latency   min ${milliseconds(min)}   mean ${milliseconds(mean)}   max ${milliseconds(max)}`,
    percentiles.map((p) => `p${p} ${milliseconds(latencies.percentile(p))}`).join("   "),
    "",
    ...buckets.map(({ leMs, count }) => {
      const label = Number.isFinite(leMs) ? `<= ${leMs} ms` : "slower";
      const bar = "█".repeat(Math.round((count / most) * BAR)) || (count > 0 ? "▏" : "");
      return `${label.padStart(11)}  ${String(count).padStart(9)}  ${bar}`;
    }),
    ...[...failures].map(([message, count]) => `failed ${count}: ${message}`),
  ].join("\n");
}
