import { readdir, readFile } from "node:fs/promises";
import type { Host } from "./base/host.ts";

const INTERVAL_MS = 2000;
/** 上限のこの割合に達したら空け始める。残りは、モデルのファイルと新しい接続のためのもの。 */
const SHARE = 0.9;

/** 開いているファイルの数と、その上限(`ulimit -n`)。Linux でなければ undefined。 */
export async function countOpenFiles(): Promise<{ open: number; limit: number } | undefined> {
  try {
    const [limits, open] = await Promise.all([
      readFile("/proc/self/limits", "utf8"),
      readdir("/proc/self/fd"),
    ]);
    const limit = Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY);
    return { open: open.length, limit };
  } catch (thrown) {
    // ファイルをもう開けないことこそ、空けるべき合図。
    if (thrown instanceof Error && Reflect.get(thrown, "code") === "EMFILE") return { open: 1, limit: 1 };
    return undefined;
  }
}

/**
 * 開いているファイルが上限に近づいたら、遊んでいる接続を閉じる。接続だけで使い切ると、新しい客も、
 * モデルの新しい版も入れなくなるため。
 *
 * @param closeIdle 遊んでいる接続を閉じ、その数を返す。
 * @returns 見張りをやめる関数。
 */
export function relieveOpenFiles(
  host: Host,
  closeIdle: () => number,
  count: () => Promise<{ readonly open: number; readonly limit: number } | undefined> = countOpenFiles,
): () => void {
  let stopped = false;
  let cancel = (): void => {};
  const look = async (): Promise<void> => {
    const files = await count();
    if (stopped || files === undefined) return;
    if (files.open >= files.limit * SHARE) {
      host.log.warn("Close to the limit of open files, closed idle REST connections", {
        open: files.open,
        limit: files.limit,
        closed: closeIdle(),
      });
    }
    cancel = host.clock.after(INTERVAL_MS, () => void look());
  };
  cancel = host.clock.after(INTERVAL_MS, () => void look());
  return () => {
    stopped = true;
    cancel();
  };
}
