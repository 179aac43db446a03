import { EventBus } from "../base/event_bus.ts";

/**
 * このサーバーが仕事を受けるか。モデルの状態には左右されない(TF Serving と同じ)。
 * 起動が終わると立ち、終了の最初に降りる。
 */
export class Health {
  readonly #changes = new EventBus<boolean>();
  #serving = false;

  get serving(): boolean {
    return this.#serving;
  }

  setServing(serving: boolean): void {
    if (serving === this.#serving) return;
    this.#serving = serving;
    this.#changes.publish(serving);
  }

  /** 変わるたびに呼ばれる。戻り値で解除する。 */
  onChange(listener: (serving: boolean) => void): () => void {
    return this.#changes.subscribe(listener);
  }
}
