/** 1 度に 1 つだけ行い、待たせたものは最後の 1 つだけを残す。 */
export class Latest {
  #running = false;
  #waiting: (() => Promise<void>) | undefined;

  run(task: () => Promise<void>): void {
    this.#waiting = task;
    if (!this.#running) void this.#drain();
  }

  async #drain(): Promise<void> {
    this.#running = true;
    try {
      while (this.#waiting !== undefined) {
        const task = this.#waiting;
        this.#waiting = undefined;
        await task();
      }
    } finally {
      this.#running = false;
    }
  }
}
