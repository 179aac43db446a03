import type { Socket } from "bun";
import type { Transport, TransportHandler } from "./transport.ts";

/**
 * 平文の流れ。Bun のソケットをじかに使う。node:net を間に置くと、往復のたびに流れの物(Readable、Writable)の手間が
 * 2 µs ほど掛かる。
 */
export class PlainTransport implements Transport {
  handler: TransportHandler | undefined;
  readonly #socket: Socket<PlainTransport>;
  /** ソケットが受け取り切れなかったもの。 */
  #pending: Uint8Array[] = [];
  #isEnding = false;
  #isClosed = false;

  constructor(socket: Socket<PlainTransport>) {
    this.#socket = socket;
  }

  write(data: Uint8Array | string): boolean {
    if (this.#isClosed) return true;
    if (this.#pending.length > 0) {
      this.#pending.push(copyOf(data, 0));
      return false;
    }
    const written = this.#socket.write(data);
    // 負は、もう切れているということ。すぐに close が来る。
    if (written < 0 || written >= data.length) return true;
    this.#pending.push(copyOf(data, written));
    return false;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  end(): void {
    this.#isEnding = true;
    if (this.#pending.length === 0) this.#socket.shutdown();
  }

  destroy(): void {
    // terminate() は RST を送り、相手に届いていない答えを失わせる。
    this.#socket.end();
  }

  /** ソケットに空きができた。 */
  drain(): void {
    const pending = this.#pending;
    if (pending.length === 0) return;
    while (pending.length > 0) {
      const [first] = pending;
      const written = this.#socket.write(first!);
      if (written < 0) return;
      if (written < first!.length) {
        pending[0] = first!.subarray(written);
        return;
      }
      pending.shift();
    }
    if (this.#isEnding) this.#socket.shutdown();
    this.handler!.drained();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#pending = [];
    this.handler?.closed();
  }
}

/** 送り残し。渡したものは書き換えられるので、写しておく。 */
const copyOf = (data: Uint8Array | string, from: number): Uint8Array =>
  typeof data === "string"
    ? Buffer.from(data.slice(from), "latin1")
    : Uint8Array.prototype.slice.call(data, from);
