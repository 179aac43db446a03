import type { Clock } from "../base/clock.ts";
import type { Http1Connection } from "./http1_connection.ts";

/** 見出しを送り終えるまでに許す時間。秒。 */
const HEAD_SECONDS = 10;
/** こちらが閉じた後、相手が閉じるのを待つ時間。秒。 */
const LINGER_SECONDS = 2;
const TICK_MS = 1000;

/**
 * 開いている接続を数え、黙ったままのものを閉じる。
 *
 * 要求ごとにタイマーを掛けず、1 秒ごとに全部を見回る。時刻も `Date` の値も、見回りのときに作る。
 */
export class ConnectionKeeper {
  /** 1 秒ごとに進む目盛り。 */
  tick = 0;
  /** `Date` の値。 */
  date: string;
  readonly connections = new Set<Http1Connection>();
  readonly #clock: Clock;
  readonly #idleSeconds: number;
  #cancel: () => void = () => {};

  /** @param idleSeconds 黙っていてよい時間。本文 1 つに掛けてよい時間でもある。0 は見ない。 */
  constructor(clock: Clock, idleSeconds: number) {
    this.#clock = clock;
    this.#idleSeconds = idleSeconds;
    this.date = this.#now();
  }

  start(): void {
    this.date = this.#now();
    this.#cancel = this.#clock.after(TICK_MS, this.#look);
  }

  stop(): void {
    this.#cancel();
  }

  readonly #look = (): void => {
    this.tick++;
    this.start();
    for (const connection of this.connections) this.#judge(connection);
  };

  #judge(connection: Http1Connection): void {
    const silent = this.tick - connection.lastActive;
    const running = this.tick - connection.startedAt;
    const idle = this.#idleSeconds === 0 ? Number.POSITIVE_INFINITY : this.#idleSeconds;
    if (connection.isClosed) {
      if (silent > LINGER_SECONDS) connection.destroy();
    } else if (connection.isInsideHead) {
      if (running > HEAD_SECONDS) connection.destroy();
    } else if (connection.isInsideBody) {
      if (running > idle) connection.destroy();
    } else if (connection.isCongested) {
      if (silent > idle) connection.destroy();
    } else if (connection.isIdle && silent > idle) connection.close();
  }

  #now(): string {
    return new Date(this.#clock.now()).toUTCString();
  }
}
