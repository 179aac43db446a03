import type { Accept, Transport, TransportHandler } from "./transport.ts";

/**
 * 初めてつながったときに、上の層を読み込む。読み込む間(数 ms)に届いたものは、貯めておいて渡す。
 *
 * @param load 1 度だけ呼ぶ。
 * @param onFailure 読み込めなかった。待っていた接続は切られる。
 */
export function lateAccept(load: () => Promise<Accept>, onFailure: (error: unknown) => void): Accept {
  let accept: Accept | undefined;
  let loading: Promise<Accept> | undefined;
  return (transport) => {
    if (accept !== undefined) return accept(transport);
    loading ??= load();
    const waiting = new Waiting(transport);
    loading.then(
      (loaded) => {
        accept = loaded;
        waiting.start(loaded);
      },
      (error: unknown) => {
        onFailure(error);
        transport.destroy();
      },
    );
    return waiting;
  };
}

/** 上の層を待つ接続。届いた後は、ただ伝える。 */
class Waiting implements TransportHandler {
  readonly #transport: Transport;
  #handler: TransportHandler | undefined;
  #chunks: Uint8Array[] = [];
  #isEnded = false;
  #isClosed = false;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  start(accept: Accept): void {
    if (this.#isClosed) return;
    const handler = accept(this.#transport);
    this.#handler = handler;
    for (const chunk of this.#chunks) handler.data(chunk);
    this.#chunks = [];
    if (this.#isEnded) handler.ended();
  }

  data(chunk: Uint8Array): void {
    if (this.#handler === undefined) this.#chunks.push(chunk);
    else this.#handler.data(chunk);
  }

  drained(): void {
    this.#handler?.drained();
  }

  ended(): void {
    this.#isEnded = true;
    this.#handler?.ended();
  }

  closed(): void {
    this.#isClosed = true;
    this.#handler?.closed();
  }
}
