/** つながっている相手とのバイトの流れ。平文か TLS かを、その上の層は知らない。 */
export interface Transport {
  /**
   * @param data 文字列は ASCII に限る。バイト列は、戻った後なら書き換えてよい。
   * @returns まだ送ってよいか。false なら、{@link TransportHandler.drained} を待つのが行儀。
   */
  write(data: Uint8Array | string): boolean;
  /** 受信を止める、また始める。 */
  pause(): void;
  resume(): void;
  /** 送り終えたら、もう送らないと伝える。受信は続く。 */
  end(): void;
  /** すぐに切る。 */
  destroy(): void;
}

/** 流れの上の層。 */
export interface TransportHandler {
  /** @param chunk 後から書き換わらない。 */
  data(chunk: Uint8Array): void;
  /** 待っていた分を送り終えた。 */
  drained(): void;
  /** 相手はもう何も送らない。 */
  ended(): void;
  /** 切れた。1 度だけで、この後は何も呼ばれない。 */
  closed(): void;
}

/** つながった流れに、その上の層を載せる。 */
export type Accept = (transport: Transport) => TransportHandler;
