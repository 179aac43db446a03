import { DEFAULT_WINDOW_BYTES } from "./frames.ts";
import type { RequestHeaders } from "./request_headers.ts";

/** 1 つの流れの要求を受け取るもの。 */
export interface StreamHandler {
  /** 本文の一部。渡された後に書き換わることはない。 */
  data(chunk: Uint8Array): void;
  /** 要求の終わり。1 度だけ。 */
  end(): void;
  /** 答え終える前に流れが終わった(取り消し、切断、誤り)。1 度だけで、この後は何も呼ばれない。 */
  abort(): void;
  /** 窓が開くのを待っていた答えを、送り終えた。 */
  drained?(): void;
}

/** 流れが答えを渡す先。 */
export interface StreamWriter {
  writeHeaders(stream: Http2Stream, block: Uint8Array, isLast: boolean): void;
  writeData(stream: Http2Stream, data: Uint8Array): void;
  finish(stream: Http2Stream): void;
}

/** 要求と答えの 1 往復。答えは、ヘッダー、本文、末尾のヘッダーの順に 1 度ずつ渡す。 */
export class Http2Stream {
  readonly id: number;
  readonly headers: RequestHeaders;
  handler: StreamHandler | undefined;
  /** もう何も送れない(答え終えた、取り消された、切れた)。 */
  closed = false;

  // ここから先は接続だけが触る。
  /** 客は送り終えた。 */
  remoteClosed = false;
  /** あとどれだけ送ってよいか。客が SETTINGS で狭めると負になる。 */
  sendWindow: number;
  /** 受け取って、まだ窓を広げ直していない量。 */
  unacknowledged = 0;
  /** 受け取った本文の長さ。 */
  received = 0;
  /** 窓が開くのを待つ本文。 */
  pending: Uint8Array[] = [];
  /** 本文の後に送る末尾のヘッダー。 */
  trailers: Uint8Array | undefined;

  readonly #writer: StreamWriter;

  constructor(
    writer: StreamWriter,
    id: number,
    headers: RequestHeaders,
    sendWindow: number = DEFAULT_WINDOW_BYTES,
  ) {
    this.#writer = writer;
    this.id = id;
    this.headers = headers;
    this.sendWindow = sendWindow;
  }

  /** @param block 符号化したヘッダー。 */
  respond(block: Uint8Array): void {
    if (!this.closed) this.#writer.writeHeaders(this, block, false);
  }

  /** @param data 渡した後は書き換えないこと。 */
  send(data: Uint8Array): void {
    if (!this.closed) this.#writer.writeData(this, data);
  }

  /** @param block 符号化した末尾のヘッダー。ほかに何も送っていなければ、これだけの答えになる。 */
  end(block: Uint8Array): void {
    if (this.closed) return;
    this.trailers = block;
    if (this.pending.length === 0) this.#writer.finish(this);
  }
}
