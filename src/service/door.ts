/** ワイヤの入口。server.ts が知るのはこの面だけ。 */
export interface Door {
  readonly name: string;
  /**
   * 待ち受けを始める。
   * @returns 実際の宛先(`0.0.0.0:8500` など。port 0 なら割り当てられた番号)。
   */
  start(): Promise<readonly string[]>;
  /** 新しい仕事を断り、処理中のものを最大 `graceMs` 待ってから閉じる。 */
  stop(graceMs: number): Promise<void>;
}
