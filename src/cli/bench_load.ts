import { Latencies } from "./bench_latencies.ts";

/** 負荷の時計。待つ間もプロセスを生かしておく点が `base/clock` と違う。 */
export interface LoadClock {
  /** 単調時計(ミリ秒)。 */
  monotonicMs(): number;
  sleep(ms: number): Promise<void>;
}

export interface LoadPlan {
  /** 同時に待つ要求の数。 */
  readonly concurrency: number;
  /** 送る数。無ければ時間だけで終える。 */
  readonly requests?: number;
  /** 送り始めてよい時間(ミリ秒)。 */
  readonly durationMs: number;
  /** 毎秒の件数。0 なら待たずに送る。 */
  readonly rate: number;
}

/** 数え続けている結果。走っている間も読める。 */
export interface LoadTally {
  readonly latencies: Latencies;
  readonly failures: ReadonlyMap<string, number>;
  readonly failed: number;
  readonly bytesReceived: number;
  readonly elapsedMs: number;
}

/** 種類ごとに数える失敗の上限。文面が毎回違っても溢れない。 */
const MAX_KINDS = 20;

/**
 * `concurrency` 本の流れで送り続ける。
 *
 * `rate` があるときは、遅れを「送るはずだった時刻」から測る。詰まったサーバーを待つ間に送れなかった分も
 * 遅れとして数えるため(coordinated omission を避ける)。
 *
 * @see https://www.azul.com/files/HowNotToMeasureLatency_LLSummit_NYC_12Nov2013.pdf
 */
export class Load {
  readonly #clock: LoadClock;
  readonly #plan: LoadPlan;
  readonly #latencies = new Latencies();
  readonly #failures = new Map<string, number>();
  #failed = 0;
  #bytesReceived = 0;
  #started = 0;
  #ended: number | undefined;
  #sent = 0;
  #stopped = false;

  constructor(clock: LoadClock, plan: LoadPlan) {
    this.#clock = clock;
    this.#plan = plan;
  }

  /** 送り終えたものだけを待って終える。 */
  stop(): void {
    this.#stopped = true;
  }

  get tally(): LoadTally {
    return {
      latencies: this.#latencies,
      failures: this.#failures,
      failed: this.#failed,
      bytesReceived: this.#bytesReceived,
      elapsedMs: (this.#ended ?? this.#clock.monotonicMs()) - this.#started,
    };
  }

  /** @param send `i` 番目の要求を送り、答えのバイト数を返す。 */
  async run(send: (i: number) => Promise<number>): Promise<LoadTally> {
    this.#started = this.#clock.monotonicMs();
    await Promise.all(Array.from({ length: this.#plan.concurrency }, () => this.#stream(send)));
    this.#ended = this.#clock.monotonicMs();
    return this.tally;
  }

  async #stream(send: (i: number) => Promise<number>): Promise<void> {
    const { requests = Number.POSITIVE_INFINITY, durationMs, rate } = this.#plan;
    const clock = this.#clock;
    for (;;) {
      if (this.#stopped || this.#sent >= requests) return;
      const i = this.#sent++;
      let due = clock.monotonicMs();
      if (rate > 0) {
        due = this.#started + (i * 1000) / rate;
        if (due - this.#started >= durationMs) return;
        await this.#until(due);
        if (this.#stopped) return;
      } else if (due - this.#started >= durationMs) return;
      try {
        const length = await send(i);
        this.#bytesReceived += length;
        this.#latencies.add(clock.monotonicMs() - due);
      } catch (thrown) {
        this.#fail(thrown);
      }
    }
  }

  #until(due: number): Promise<void> {
    const wait = due - this.#clock.monotonicMs();
    return wait <= 0 ? Promise.resolve() : this.#clock.sleep(wait);
  }

  #fail(thrown: unknown): void {
    this.#failed++;
    const text = String(thrown instanceof Error && thrown.name === "Error" ? thrown.message : thrown);
    const kind = this.#failures.has(text) || this.#failures.size < MAX_KINDS ? text : "other failures";
    this.#failures.set(kind, (this.#failures.get(kind) ?? 0) + 1);
  }
}
