import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Finding, FuzzReport } from "./run.ts";

/** 番号の範囲。`to` は含まない。 */
export interface Range {
  readonly from: number;
  readonly to: number;
}

/** 子の起こし方と、外から見張る限度。 */
export interface Watch {
  /** 範囲を試す子の引数。いま試している番号を `progressFile` に書き、最後に FuzzReport を標準出力に書く。 */
  command(range: Range, progressFile: string): string[];
  /** 番号がこれだけ進まなければ、止まったとみなして終わらせる。 */
  readonly maxStillMs: number;
  /** 子の常駐メモリがこれを越えたら終わらせる。 */
  readonly maxRssBytes: number;
  /** 見に行く間隔。 */
  readonly pollMs: number;
}

export interface SupervisedReport extends FuzzReport {
  readonly peakRssBytes: number;
}

/** 子が自分で報告できなかった終わり方。 */
interface Death {
  readonly index: number;
  readonly problem: string;
}

/**
 * 1 つの範囲を子プロセスで試す。子が死ぬ・止まる・膨らむと、その番号を記録し、残りを別の子で続ける。
 *
 * @throws Error 1 件も始めないうちに子が死んだ。
 */
export async function supervise(range: Range, watch: Watch): Promise<SupervisedReport> {
  const outcomes = new Map<string, Map<string, number>>();
  const findings: Finding[] = [];
  let slowestMs = 0;
  let peakRssBytes = 0;
  const queue: Range[] = [range];
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    const { report, death, peak } = await runChild(next, watch);
    peakRssBytes = Math.max(peakRssBytes, peak);
    if (death !== undefined) {
      findings.push({ target: "process", ...death });
      // 死んだ番号の手前は結果を失ったので、もう一度試す。
      const rest = [
        { from: next.from, to: death.index },
        { from: death.index + 1, to: next.to },
      ];
      queue.unshift(...rest.filter(({ from, to }) => from < to));
      continue;
    }
    slowestMs = Math.max(slowestMs, report!.slowestMs);
    findings.push(...report!.findings);
    mergeOutcomes(outcomes, report!.outcomes);
  }
  return { outcomes, findings, slowestMs, peakRssBytes };
}

/** `into` に足し込む。 */
export function mergeOutcomes(into: Map<string, Map<string, number>>, from: FuzzReport["outcomes"]): void {
  for (const [target, counts] of from) {
    const sums = into.get(target) ?? new Map<string, number>();
    into.set(target, sums);
    for (const [outcome, count] of counts) sums.set(outcome, (sums.get(outcome) ?? 0) + count);
  }
}

interface ChildResult {
  readonly report?: FuzzReport;
  readonly death?: Death;
  readonly peak: number;
}

async function runChild(range: Range, watch: Watch): Promise<ChildResult> {
  const directory = mkdtempSync(join(tmpdir(), "fuzz-"));
  const progressFile = join(directory, "progress");
  const child = Bun.spawn([process.execPath, ...watch.command(range, progressFile)], {
    stdout: "pipe",
    stderr: "pipe",
  });
  let problem: string | undefined;
  let last = -1;
  let sinceMs = performance.now();
  const timer = setInterval(() => {
    const index = progressOf(progressFile);
    if (index !== last) {
      last = index;
      sinceMs = performance.now();
    }
    if (performance.now() - sinceMs > watch.maxStillMs) problem ??= "still running";
    if (rssOf(child.pid) > watch.maxRssBytes) problem ??= "memory is over the limit";
    if (problem !== undefined) child.kill("SIGKILL");
  }, watch.pollMs);
  try {
    const [output, errors, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    const peak = child.resourceUsage()?.maxRSS ?? 0;
    if (problem === undefined && code === 0) return { report: parseReport(output), peak };
    const index = progressOf(progressFile);
    const reason = problem ?? `the process ended with ${child.signalCode ?? code}: ${errors.trim()}`;
    if (index < 0) throw new Error(`The fuzz worker failed to start: ${reason}`);
    return { death: { index, problem: reason }, peak };
  } finally {
    clearInterval(timer);
    rmSync(directory, { recursive: true, force: true });
  }
}

/** まだ何も始めていなければ -1。 */
function progressOf(path: string): number {
  try {
    const text = readFileSync(path, "utf8").trim();
    return text === "" ? -1 : Number(text);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === "ENOENT") return -1;
    throw thrown;
  }
}

/** Linux だけ。ほかでは終わった後の最大値だけを見る。 */
function rssOf(pid: number): number {
  try {
    const pages = readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1];
    return Number(pages) * 4096;
  } catch (thrown) {
    if (["ENOENT", "ESRCH"].includes((thrown as NodeJS.ErrnoException).code ?? "")) return 0;
    throw thrown;
  }
}

/** {@link FuzzReport} を 1 行の JSON にする。 */
export function formatReport({ outcomes, findings, slowestMs }: FuzzReport): string {
  const counts = [...outcomes].map(([name, sums]) => [name, [...sums]]);
  return JSON.stringify({ outcomes: counts, findings, slowestMs });
}

function parseReport(line: string): FuzzReport {
  const { outcomes, findings, slowestMs } = JSON.parse(line) as {
    outcomes: [string, [string, number][]][];
    findings: Finding[];
    slowestMs: number;
  };
  return { outcomes: new Map(outcomes.map(([name, sums]) => [name, new Map(sums)])), findings, slowestMs };
}
