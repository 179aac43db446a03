import { readdirSync, readFileSync } from "node:fs";
import type { Host } from "../base/host.ts";
import { COMMIT, VERSION } from "../version.ts";

/** イベントループの遅れを測る間隔。 */
const LAG_MS = 500;

/** 開いているファイル記述子の数。/proc の無い所では undefined。 */
function openFileCount(): number | undefined {
  try {
    return readdirSync("/proc/self/fd").length;
  } catch {
    return undefined;
  }
}

/** `ulimit -n`。無制限か、/proc の無い所では undefined。 */
function openFileLimit(): number | undefined {
  try {
    const limit = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
    return limit === undefined ? undefined : Number(limit);
  } catch {
    return undefined;
  }
}

/**
 * プロセスの指標。名前は Prometheus の客の慣わしのもので、どのダッシュボードでも読める。
 *
 * @see https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics
 */
export function registerProcessMetrics({ metrics, clock }: Host): void {
  const gauge = (name: string, help: string, across?: "max" | "min") =>
    metrics.gauge({ name, help, labels: [], ...(across === undefined ? {} : { across }) }).cell();
  const resident = gauge("process_resident_memory_bytes", "Resident memory.");
  const cpu = metrics
    .counter({ name: "process_cpu_seconds_total", help: "User and system CPU time.", labels: [] })
    .cell();
  const start = gauge("process_start_time_seconds", "When the process started, in UNIX time.", "min");
  const open = gauge("process_open_fds", "Open file descriptors.");
  const limit = gauge("process_max_fds", "The limit of open file descriptors.");
  const lag = gauge("/iris_serving/event_loop_lag_milliseconds", "How late the last timer was.", "max");
  metrics
    .gauge({
      name: "/iris_serving/build_info",
      help: "Always 1; what runs is in the labels.",
      labels: ["version", "commit", "bun"],
      across: "max",
    })
    .cell(VERSION, COMMIT, Bun.version)
    .set(1);
  start.set(Math.round((clock.now() - process.uptime() * 1000) / 1000));

  let counted = 0;
  metrics.onCollect(() => {
    resident.set(process.memoryUsage.rss());
    const { user, system } = process.cpuUsage();
    const seconds = (user + system) / 1e6;
    cpu.inc(seconds - counted);
    counted = seconds;
    const [files, most] = [openFileCount(), openFileLimit()];
    if (files !== undefined) open.set(files);
    if (most !== undefined) limit.set(most);
  });
  const measureLag = (): void => {
    const due = clock.monotonicMs() + LAG_MS;
    clock.after(LAG_MS, () => {
      lag.set(Math.max(0, clock.monotonicMs() - due));
      measureLag();
    });
  };
  measureLag();
}
