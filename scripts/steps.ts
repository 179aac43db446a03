// 手順を順に走らせ、何をしているかを 1 行ずつ示す。依存パッケージを入れる前にも動くよう、Bun 以外は使わない。
import { join } from "node:path";

export const root = join(import.meta.dir, "..");

/** 手順の失敗。終了コードをそのまま外へ伝える。 */
export function fail(what: string, exitCode: number): never {
  console.error(`✗ ${what} failed with exit code ${exitCode}`);
  process.exit(exitCode === 0 ? 1 : exitCode);
}

/** 1 手順。出力は端末へそのまま流す(進捗の描き分けは各手順が端末かどうかを見て決める)。 */
export async function step(
  what: string,
  command: readonly string[],
  env: Record<string, string> = {},
): Promise<void> {
  console.log(`▸ ${what}`);
  const started = performance.now();
  const child = Bun.spawn([...command], {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ["ignore", "inherit", "inherit"],
  });
  const exitCode = await child.exited;
  if (exitCode !== 0) fail(what, exitCode);
  console.log(`✓ ${what} (${((performance.now() - started) / 1000).toFixed(1)} s)`);
}

/** 実行中の Bun そのもの。PATH に bun が無くても動く。 */
export const bun = process.execPath;

export function install(): Promise<void> {
  return step("Installing dependencies", [bun, "install", "--frozen-lockfile"]);
}
