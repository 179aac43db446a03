import type { Clock } from "../base/clock.ts";
import type { Http2Connection } from "./http2_connection.ts";

/** 接続の寿命。どれも無ければ限りが無い。ミリ秒。 */
export interface LifetimeLimits {
  /** これだけ経ったら、新しい流れを断る。一斉に切れないように、1 割まで前後する。 */
  readonly maxAgeMs?: number | undefined;
  /** その後、開いている流れを待つ時間。 */
  readonly maxAgeGraceMs?: number | undefined;
  /** 流れの無いままこれだけ経ったら切る。 */
  readonly maxIdleMs?: number | undefined;
  /** 生きているかを尋ねる間隔。 */
  readonly keepaliveMs?: number | undefined;
  /** 返事を待つ時間。 */
  readonly keepaliveTimeoutMs?: number | undefined;
}

const KEEPALIVE_PING = Buffer.from("keepaliv");
const DEFAULT_KEEPALIVE_TIMEOUT_MS = 20_000;
const AGE_JITTER = 0.1;

/**
 * 接続の寿命を見張る。
 *
 * @param random [0, 1)。
 * @see https://github.com/grpc/proposal/blob/master/A9-server-side-conn-mgt.md
 */
export function limitLifetime(
  connection: Http2Connection,
  clock: Clock,
  limits: LifetimeLimits,
  random: () => number,
): void {
  const { maxAgeMs, maxIdleMs, keepaliveMs } = limits;
  const timers = new Set<() => void>();
  const after = (delayMs: number, work: () => void): (() => void) => {
    const cancel = clock.after(delayMs, () => {
      timers.delete(cancel);
      work();
    });
    timers.add(cancel);
    return () => {
      timers.delete(cancel);
      cancel();
    };
  };
  void connection.whenClosed.then(() => {
    for (const cancel of timers) cancel();
  });

  if (maxAgeMs !== undefined) {
    after(maxAgeMs * (1 + AGE_JITTER * (2 * random() - 1)), async () => {
      if (limits.maxAgeGraceMs !== undefined) after(limits.maxAgeGraceMs, () => connection.destroy());
      await connection.announce();
      await connection.closeWhenDone();
    });
  }

  if (maxIdleMs !== undefined) {
    const look = (): void => {
      const since = connection.idleSinceMs;
      const restMs = since === undefined ? maxIdleMs : since + maxIdleMs - clock.monotonicMs();
      if (restMs > 0) after(restMs, look);
      else void connection.announce().then(() => connection.closeWhenDone());
    };
    after(maxIdleMs, look);
  }

  if (keepaliveMs !== undefined) {
    const ask = (): void => {
      const timeoutMs = limits.keepaliveTimeoutMs ?? DEFAULT_KEEPALIVE_TIMEOUT_MS;
      const giveUp = after(timeoutMs, () => connection.destroy());
      connection.ping(KEEPALIVE_PING, () => {
        giveUp();
        after(keepaliveMs, ask);
      });
    };
    after(keepaliveMs, ask);
  }
}
