import { connect, type Socket } from "node:net";

/** 生のバイトを送り、返ってきたものを覚える TCP の接続。失敗(切断など)は投げずに `closed` で知らせる。 */
export class RawConnection {
  readonly #socket: Socket;
  readonly #chunks: Uint8Array[] = [];
  #size = 0;
  #closed = false;
  readonly #done = Promise.withResolvers<void>();
  #wake = Promise.withResolvers<void>();

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    // 切られるのは、ここでは失敗ではない。
    socket.on("error", () => this.#finish());
    socket.on("close", () => this.#finish());
    socket.on("data", (chunk: Buffer) => {
      this.#size += chunk.length;
      // 応答の中身は頭だけ見れば足りる。
      if (this.#size < KEPT_BYTES) this.#chunks.push(chunk);
      this.#notify();
    });
    // 相手が閉じたら、もう何も届かない。
    socket.on("end", () => {
      socket.destroy();
      this.#finish();
    });
  }

  static async open(port: number): Promise<RawConnection> {
    const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
    const connection = new RawConnection(socket);
    await new Promise<void>((resolve) => {
      socket.once("connect", () => resolve());
      connection.#done.promise.then(resolve);
    });
    return connection;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** 届いたバイトの総数。 */
  get received(): number {
    return this.#size;
  }

  text(): string {
    return Buffer.concat(this.#chunks).toString("latin1");
  }

  bytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  /** 送り切るか、相手が切るか、`limitMs` が過ぎるまで待つ。 @returns 送り切ったか。 */
  async send(bytes: Uint8Array | string, limitMs = 2000): Promise<boolean> {
    if (this.#closed) return false;
    const sent = new Promise<boolean>((resolve) => {
      this.#socket.write(bytes, (error) => resolve(error === undefined || error === null));
    });
    return await Promise.race([
      sent,
      this.#done.promise.then(() => false),
      Bun.sleep(limitMs).then(() => false),
    ]);
  }

  /** 読むのをやめる。相手の送信は、やがて詰まる。 */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** 書く側だけを閉じる(FIN)。 */
  halfClose(): void {
    this.#socket.end();
  }

  /** 条件が満たされるか、閉じられるか、時間切れになるまで待つ。 */
  async until(condition: (connection: RawConnection) => boolean, limitMs: number): Promise<boolean> {
    const deadline = performance.now() + limitMs;
    while (!condition(this)) {
      const leftMs = deadline - performance.now();
      if (this.#closed || leftMs <= 0) return condition(this);
      await Promise.race([this.#wake.promise, Bun.sleep(leftMs)]);
    }
    return true;
  }

  /** RST で切る。 */
  reset(): void {
    this.#socket.resetAndDestroy();
    this.#finish();
  }

  close(): void {
    this.#socket.destroy();
    this.#finish();
  }

  #notify(): void {
    const wake = this.#wake;
    this.#wake = Promise.withResolvers<void>();
    wake.resolve();
  }

  #finish(): void {
    this.#closed = true;
    this.#done.resolve();
    this.#notify();
  }
}

const KEPT_BYTES = 1 << 20;
