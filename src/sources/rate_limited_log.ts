import type { Host } from "../base/host.ts";

const REPEAT_MS = 60_000;

/**
 * 見回りのたびに同じことを言わない。新しい文はすぐに、続いている文は 1 分ごとに書き、
 * 一度途切れた文が戻ったらまたすぐに書く。
 */
export class RateLimitedLog {
  readonly #host: Host;
  /** 文 → 最後に書いた時刻。 */
  #written = new Map<string, number>();
  #current = new Map<string, number>();

  constructor(host: Host) {
    this.#host = host;
  }

  say(level: "warn" | "error", text: string): void {
    const now = this.#host.clock.monotonicMs();
    const last = this.#current.get(text) ?? this.#written.get(text);
    if (last !== undefined && now - last < REPEAT_MS) {
      this.#current.set(text, last);
      return;
    }
    this.#current.set(text, now);
    this.#host.log[level](text);
  }

  /** 1 回の見回りが終わった。今回言わなかった文は途切れたものとする。 */
  endRound(): void {
    this.#written = this.#current;
    this.#current = new Map();
  }
}
