import type { Cancel, Clock } from "../../src/base/clock.ts";

interface Timer {
  readonly at: number;
  readonly callback: () => void;
}

/** 手で進める時計。動かさない限り何も起きない。 */
export class FakeClock implements Clock {
  #now = 0;
  readonly #timers = new Set<Timer>();
  readonly #freezes: { readonly endMs: number; readonly lostMs: number }[] = [];
  #endOfTurn: (() => void)[] = [];

  now(): number {
    return 1_700_000_000_000 + this.#now;
  }

  monotonicMs(): number {
    return this.#now;
  }

  frozenSince(sinceMs: number): number {
    return this.#freezes.reduce((sum, { endMs, lostMs }) => sum + (endMs > sinceMs ? lostMs : 0), 0);
  }

  after(delayMs: number, callback: () => void): Cancel {
    const timer = { at: this.#now + Math.max(0, delayMs), callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  endOfTurn(callback: () => void): void {
    this.#endOfTurn.push(callback);
  }

  /** 予約されたままのタイマーの数。 */
  get pendingTimers(): number {
    return this.#timers.size;
  }

  /** 今の回を終える。その中で頼まれたものは次の回になる。 */
  turn(): void {
    const callbacks = this.#endOfTurn;
    this.#endOfTurn = [];
    for (const callback of callbacks) callback();
  }

  /** 時刻だけを進める(タイマーは鳴らない)。実行に時間が掛かったことにする。 */
  spend(ms: number): void {
    this.#now += ms;
  }

  /** プロセスが凍っていたことにする。 */
  freeze(ms: number): void {
    this.#now += ms;
    this.#freezes.push({ endMs: this.#now, lostMs: ms });
  }

  /** 時計を進め、鳴るべきタイマーを順に鳴らす。1 つ鳴るごとに、続きの処理と回の終わりまで走らせる。 */
  async advance(ms: number): Promise<void> {
    const until = this.#now + ms;
    await this.settle();
    for (;;) {
      const due = [...this.#timers].filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.#timers.delete(due);
      this.#now = Math.max(this.#now, due.at);
      due.callback();
      await this.settle();
    }
    this.#now = until;
  }

  /** 時刻を進めずに、走れる処理をすべて走らせる。 */
  async settle(): Promise<void> {
    do {
      this.turn();
      // 入出力の無い Promise の連なりは、本物の 1 回の間にすべて終わる。
      await new Promise((resolve) => setImmediate(resolve));
    } while (this.#endOfTurn.length > 0);
  }
}
