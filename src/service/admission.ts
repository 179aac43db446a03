import { hasWaited } from "../base/clock.ts";
import type { Host } from "../base/host.ts";
import type { CounterCell } from "../base/metrics.ts";
import { resourceExhausted, type StatusError, unavailable } from "../base/status.ts";

export interface AdmissionOptions {
  /** 同時に処理する推論の上限(全部の入口の合計)。0 は無制限。 */
  readonly maxInFlight: number;
  /** 届いてから始めるまでに待ってよい時間。これより待ったものは、始めずに断る。0 は見ない。 */
  readonly maxQueueDelayMs: number;
}

/**
 * 混んだときに、早く安く断る。断るのは本文を読み解く前で、モデルには届かない。
 *
 * 待ち行列は「届いたが、まだ始まっていない要求」で、イベントループが 1 本なので入口をまたいで 1 つと見てよい。
 * 数の上限はメモリを、待ち時間の上限は受けた要求の p99 を抑える。
 */
export class Admission {
  readonly #host: Host;
  readonly #options: AdmissionOptions;
  readonly #shed: { readonly full: CounterCell; readonly late: CounterCell };
  #inFlight = 0;
  /** 届いて、まだ始まっていないもの。 */
  #waiting = 0;
  /** 今の回に最初の要求が届いた時刻。まだ届いていなければ -1。 */
  #turnMs = -1;

  constructor(host: Host, options: AdmissionOptions) {
    this.#host = host;
    this.#options = options;
    const shed = host.metrics.counter({
      name: "/iris_serving/shed_request_count",
      help: "The number of requests refused because of overload.",
      labels: ["reason"],
    });
    const inFlight = host.metrics
      .gauge({
        name: "/iris_serving/requests_in_flight",
        help: "Requests that are being worked on.",
        labels: [],
      })
      .cell();
    host.metrics.onCollect(() => inFlight.set(this.#inFlight));
    this.#shed = { full: shed.cell("in_flight"), late: shed.cell("queue_delay") };
  }

  /**
   * 要求が届いた時刻(Clock.monotonicMs)。同じ回に届いたものは同じ時刻とし、時計は 1 度だけ読む。
   */
  arrive(): number {
    if (this.#turnMs < 0) {
      this.#turnMs = this.#host.clock.monotonicMs();
      this.#host.clock.endOfTurn(this.#endTurn);
    }
    return this.#turnMs;
  }

  readonly #endTurn = (): void => {
    this.#turnMs = -1;
  };

  /** 列に並んだ、または列を出た。 */
  line(change: 1 | -1): void {
    this.#waiting += change;
  }

  /** 上限に達しているなら、断る理由。本文を受け取る前に聞く。並んでいるものも数える。 */
  refusal(): StatusError | undefined {
    return this.#refuseAt(this.#inFlight + this.#waiting);
  }

  #refuseAt(count: number): StatusError | undefined {
    const { maxInFlight } = this.#options;
    if (maxInFlight === 0 || count < maxInFlight) return undefined;
    this.#shed.full.inc();
    return resourceExhausted("Too many requests in flight");
  }

  /**
   * 仕事を始める。終わったら {@link leave} を 1 度呼ぶ。
   *
   * @param arrivedMs {@link arrive} の値。
   * @throws RESOURCE_EXHAUSTED 同時の数の上限。
   * @throws UNAVAILABLE 待ち過ぎた。
   */
  enter(arrivedMs: number): void {
    const refusal = this.#refuseAt(this.#inFlight);
    if (refusal !== undefined) throw refusal;
    this.#checkDelay(arrivedMs);
    this.#inFlight++;
  }

  /** @throws UNAVAILABLE 待ち過ぎた。 */
  #checkDelay(arrivedMs: number): void {
    const { maxQueueDelayMs } = this.#options;
    if (maxQueueDelayMs === 0 || !hasWaited(this.#host.clock, arrivedMs, maxQueueDelayMs)) return;
    this.#shed.late.inc();
    throw unavailable("Server is overloaded: the request waited too long to be started");
  }

  leave(): void {
    this.#inFlight--;
  }
}
