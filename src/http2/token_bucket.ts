import type { Clock } from "../base/clock.ts";

/** 溜めておける数と、1 秒に溜まる数で決まる、使ってよい量。 */
export class TokenBucket {
  readonly #clock: Clock;
  readonly #burst: number;
  readonly #perSecond: number;
  #tokens: number;
  #filledMs: number;

  constructor(clock: Clock, burst: number, perSecond: number) {
    this.#clock = clock;
    this.#burst = burst;
    this.#perSecond = perSecond;
    this.#tokens = burst;
    this.#filledMs = clock.monotonicMs();
  }

  /** 1 つ使う。 @returns 足りたか。時計は、溜めた分が尽きたときにだけ読む。 */
  take(): boolean {
    if (this.#tokens < 1) this.#fill();
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }

  /** 良い行いに報いて足す。 */
  give(count: number): void {
    this.#tokens = Math.min(this.#burst, this.#tokens + count);
  }

  #fill(): void {
    const now = this.#clock.monotonicMs();
    this.give(((now - this.#filledMs) / 1000) * this.#perSecond);
    this.#filledMs = now;
  }
}
