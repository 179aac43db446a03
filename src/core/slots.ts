interface Waiter {
  readonly grant: (slot: Disposable) => void;
  readonly signal: AbortSignal;
}

/**
 * 同時に走ってよい数の制限。待つ者は先着順。TF Serving のスレッドプールの大きさに当たる。
 */
export class Slots {
  #limit: number;
  #used = 0;
  readonly #queue: Waiter[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** 途中で増減できる。減らしても使用中のものは取り上げない。 */
  set limit(limit: number) {
    this.#limit = limit;
    this.#grant();
  }

  /**
   * 空くまで待つ。返す時は dispose する。
   *
   * @throws signal が立ったら、その理由。
   */
  async acquire(signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted();
    return await new Promise<Disposable>((resolve, reject) => {
      const waiter: Waiter = {
        signal,
        grant: (slot) => {
          signal.removeEventListener("abort", giveUp);
          resolve(slot);
        },
      };
      const giveUp = (): void => {
        this.#queue.splice(this.#queue.indexOf(waiter), 1);
        reject(signal.reason);
      };
      signal.addEventListener("abort", giveUp, { once: true });
      this.#queue.push(waiter);
      this.#grant();
    });
  }

  #grant(): void {
    while (this.#used < this.#limit && this.#queue.length > 0) {
      this.#used++;
      let held = true;
      this.#queue.shift()!.grant({
        [Symbol.dispose]: () => {
          if (!held) return;
          held = false;
          this.#used--;
          this.#grant();
        },
      });
    }
  }
}
