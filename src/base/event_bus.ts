/** 型付きの同期 publish / subscribe。 */
export class EventBus<T> {
  readonly #listeners = new Set<(event: T) => void>();

  /** 購読する。戻り値を呼ぶと解除される。 */
  subscribe(listener: (event: T) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** 購読者を登録順にその場で呼ぶ。 */
  publish(event: T): void {
    for (const listener of [...this.#listeners]) listener(event);
  }
}
