/**
 * 届いている仕事が片付くまでに、埋め草(短い `*_val` を形の大きさまで伸ばしたもの)のために取ってよい場所。
 * 数十バイトの要求が 1 つで大きな場所を取れるので、1 つずつの上限だけでは、同時に来るとメモリが尽きる。
 */
export class PaddingBudget {
  readonly #bytes: number;
  readonly #whenIdle: (callback: () => void) => void;
  #left: number;
  #isSpent = false;

  /** @param whenIdle 片付いたら 1 度呼ばれるようにする。 */
  constructor(bytes: number, whenIdle: (callback: () => void) => void) {
    this.#bytes = bytes;
    this.#whenIdle = whenIdle;
    this.#left = bytes;
  }

  /** @returns 足りなければ false。何も取らない。 */
  take(bytes: number): boolean {
    if (!this.#isSpent) {
      this.#isSpent = true;
      this.#whenIdle(() => {
        this.#isSpent = false;
        this.#left = this.#bytes;
      });
    }
    if (bytes > this.#left) return false;
    this.#left -= bytes;
    return true;
  }
}
