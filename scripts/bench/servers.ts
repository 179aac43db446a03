// 測られる側のプロセス。どれも同じ CPU に留める。
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { bun } from "../steps.ts";

/** 測られる側の CPU。 */
const SERVER_CPU = "0";

export interface Running {
  readonly pid: number;
  /** 常駐メモリ(MB = 10^6 バイト)。 */
  rss(): number;
  stop(): Promise<void>;
}

export interface StartOptions {
  readonly env?: Record<string, string>;
  /** これより長くは待たない。 */
  readonly seconds?: number;
  /** 提供を始めたかを、この間隔で尋ねる。 */
  readonly pollMs?: number;
}

/** @param isReady 例外を投げずに真を返せば、提供を始めた。 @throws 先に終わったか、`seconds` 秒待っても始まらない。 */
export async function startServer(
  command: readonly string[],
  isReady: () => Promise<boolean>,
  { env = {}, seconds = 20, pollMs = 10 }: StartOptions = {},
): Promise<Running> {
  const child = Bun.spawn(["taskset", "-c", SERVER_CPU, ...command], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "ignore", "pipe"],
  });
  // 測定が途中で失敗しても、相手を残さない。
  process.once("exit", () => child.kill("SIGKILL"));
  const errors = new Response(child.stderr).text();
  const deadline = performance.now() + seconds * 1000;
  while (!(await isReady().catch(() => false))) {
    if (child.exitCode !== null) {
      throw new Error(`${command.join(" ")} exited with ${child.exitCode}\n${(await errors).slice(-2000)}`);
    }
    if (performance.now() > deadline) {
      child.kill("SIGKILL");
      throw new Error(`${command.join(" ")} did not start in ${seconds} s\n${(await errors).slice(-2000)}`);
    }
    await Bun.sleep(pollMs);
  }
  return {
    pid: child.pid,
    rss() {
      const kilobytes = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))?.[1];
      return (Number(kilobytes) * 1024) / 1e6;
    },
    async stop() {
      child.kill("SIGTERM");
      const impatient = setTimeout(() => child.kill("SIGKILL"), 10_000);
      await child.exited;
      clearTimeout(impatient);
    },
  };
}

/** inside/ の台本を測られる側の CPU で走らせ、最後に書いた JSON を読む。 */
export async function pinned<T>(script: string, args: readonly string[] = []): Promise<T> {
  const command = [bun, join(import.meta.dir, "inside", script), ...args];
  const child = Bun.spawn(["taskset", "-c", SERVER_CPU, ...command], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const output = await new Response(child.stdout).text();
  if ((await child.exited) !== 0) throw new Error(`${script} exited with ${child.exitCode}\n${output}`);
  return JSON.parse(output.trim().split("\n").at(-1)!) as T;
}
