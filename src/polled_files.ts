import type { Host } from "./base/host.ts";
import { StatusError } from "./base/status.ts";

/**
 * ファイルの中身を一定の間隔で読み直し、変わっていれば適用する。
 *
 * 読めない間、使えない中身の間(証明書と鍵の片方だけが新しい、など)は、前のものを使い続けて、次の回にまた試す。
 * 同じ失敗を何度も書き留めない。
 *
 * @param what ログに出す名前(英語)。
 * @param intervalMs 0 以下なら何もしない。
 * @param current 今使っている中身。
 * @param apply 使えなければ投げる。
 * @returns 見回りをやめる関数。
 */
export function pollFiles<T>(
  host: Host,
  what: string,
  intervalMs: number,
  current: T,
  read: () => Promise<T>,
  apply: (next: T) => void,
): () => void {
  if (intervalMs <= 0) return () => {};
  let applied = current;
  let reported = "";
  let stopped = false;
  let cancel = (): void => {};
  const pollOnce = async (): Promise<void> => {
    try {
      const next = await read();
      if (stopped) return;
      if (!Bun.deepEquals(next, applied)) {
        apply(next);
        applied = next;
        host.log.info(`Reloaded ${what}`);
      }
      reported = "";
    } catch (thrown) {
      // 文面に中身(鍵)は入らない。
      const reason = thrown instanceof StatusError ? thrown.toString() : String(thrown);
      if (reason !== reported) host.log.error(`Could not reload ${what}, keeping the old one: ${reason}`);
      reported = reason;
    }
    if (!stopped) cancel = host.clock.after(intervalMs, () => void pollOnce());
  };
  cancel = host.clock.after(intervalMs, () => void pollOnce());
  return () => {
    stopped = true;
    cancel();
  };
}
