import { inflateBody, isGzip } from "./gzip_body.ts";
import type { Arrival, Route } from "./routes.ts";

/**
 * 待ち受け 1 つで、終わった要求を数える。答えた、答えられないまま客が去った、のどちらも終わりである。
 *
 * ある要求が届いてから数が変わっていなければ、その客は去っていない。要求ごとに `request.signal` を見ると、
 * それを作らせるだけで、小さな要求の手間の 1 割になる。
 */
export class Endings {
  readonly #pending: () => number;
  #begun = 0;

  /** @param pending 届いて、まだ終わっていない要求の数。 */
  constructor(pending: () => number) {
    this.#pending = pending;
  }

  get count(): number {
    return this.#begun - this.#pending();
  }

  /** 要求が 1 つ届いた。 @returns {@link count} */
  begin(): number {
    this.#begun++;
    return this.count;
  }
}

/** 届いた要求 1 つ。 */
export class RestRequest implements Arrival {
  readonly route: Route;
  readonly request: Request;
  /** 送られたままの本文。 */
  sent: Uint8Array = EMPTY;
  arrivedMs = 0;
  /** 答える。 */
  resolve: (response: Response) => void = unanswerable;
  readonly #endings: Endings;
  /** 届いたときの、終わった要求の数。 */
  readonly #ended: number;

  constructor(route: Route, request: Request, endings: Endings, ended: number) {
    this.route = route;
    this.request = request;
    this.#endings = endings;
    this.#ended = ended;
  }

  get body(): Uint8Array {
    return isGzip(this.request.headers.get("content-encoding"))
      ? (inflateBody(this.sent) ?? EMPTY)
      : this.sent;
  }

  get isGone(): boolean {
    return this.#endings.count !== this.#ended && this.request.signal.aborted;
  }

  get signal(): AbortSignal {
    return this.request.signal;
  }
}

const EMPTY = new Uint8Array(0);
const unanswerable = (): void => {};
