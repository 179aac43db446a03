/**
 * イベントループの 1 回に、埋め草(短い `*_val` を形の大きさまで伸ばしたもの)のために取ってよい場所。
 * 数十バイトの要求が 1 つで大きな場所を取れるので、1 つずつの上限だけでは、同時に来るとメモリが尽きる。
 */
export class PaddingBudget {
  readonly #bytesPerTurn: number;
  readonly #endOfTurn: (callback: () => void) => void;
  #left: number;
  #isTurnOpen = false;

  /** @param endOfTurn 今の回の終わりに 1 度呼ばれるようにする。 */
  constructor(bytesPerTurn: number, endOfTurn: (callback: () => void) => void) {
    this.#bytesPerTurn = bytesPerTurn;
    this.#endOfTurn = endOfTurn;
    this.#left = bytesPerTurn;
  }

  /** @returns 足りなければ false。何も取らない。 */
  take(bytes: number): boolean {
    if (!this.#isTurnOpen) {
      this.#isTurnOpen = true;
      this.#endOfTurn(() => {
        this.#isTurnOpen = false;
        this.#left = this.#bytesPerTurn;
      });
    }
    if (bytes > this.#left) return false;
    this.#left -= bytes;
    return true;
  }
}
