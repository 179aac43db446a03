import type { Clock } from "../base/clock.ts";
import { StatusError } from "../base/status.ts";
import type { Admission } from "./admission.ts";

/** 届いて、まだ始まっていない仕事。 */
export interface Job {
  /** 届いた時刻(Clock.monotonicMs)。列が書き込む。 */
  arrivedMs: number;
  /** 始める。失敗も自分で答え、投げない。 @returns すぐに終わらないなら、終わったとき(失敗しない)。 */
  start(): Promise<void> | undefined;
  /** 始めずに断る。 */
  refuse(error: StatusError): void;
}

/** 続けて始める時間。これを越えたら残りは次の回に回し、健全性の問い合わせや新しい要求を待たせ過ぎない。 */
const SLICE_MS = 5;

/**
 * 届いた順に始まる仕事の列。空いていればその場で始める。仕事が続けて届いているときは、回の終わりにまとめて始める:
 * 同じ命令列が続けて走るので、届くたびに始めるより 1 件が安い。混んでいれば、さらに後の回に回す。
 *
 * 列に並んでいる間は、待ち過ぎたものを断れる。仕事をその場で続けて始めると、届いた塊の後ろのほうは
 * 届いたことさえ知られずに待つことになる。
 */
export class WorkQueue {
  readonly #clock: Clock;
  readonly #admission: Admission;
  #waiting: Job[] = [];
  /** この回に届いた数。 */
  #submitted = 0;
  /** 前の回に 2 つ以上届いた。 */
  #isBusy = false;
  #isTurnPlanned = false;
  /** 列が空になったら呼ぶもの。 */
  #whenEmpty: (() => void)[] = [];

  constructor(clock: Clock, admission: Admission) {
    this.#clock = clock;
    this.#admission = admission;
  }

  submit(job: Job): void {
    job.arrivedMs = this.#admission.arrive();
    this.#submitted++;
    this.#planTurn();
    const isFree = !this.#isBusy && this.#waiting.length === 0;
    if (isFree && this.#clock.monotonicMs() - job.arrivedMs < SLICE_MS) {
      this.#start(job);
      return;
    }
    this.#admission.line(1);
    this.#waiting.push(job);
  }

  #planTurn(): void {
    if (this.#isTurnPlanned) return;
    this.#isTurnPlanned = true;
    this.#clock.endOfTurn(this.#endTurn);
  }

  /** 今の回の終わりに、列が空なら呼ぶ。空でなければ、空になる回の終わりに呼ぶ。 */
  whenEmpty(callback: () => void): void {
    if (this.#whenEmpty.push(callback) === 1) this.#clock.endOfTurn(this.#noticeEmpty);
  }

  readonly #noticeEmpty = (): void => {
    if (this.#waiting.length > 0) {
      this.#clock.endOfTurn(this.#noticeEmpty);
      return;
    }
    const callbacks = this.#whenEmpty;
    this.#whenEmpty = [];
    for (const callback of callbacks) callback();
  };

  readonly #endTurn = (): void => {
    this.#isTurnPlanned = false;
    this.#isBusy = this.#submitted > 1;
    this.#submitted = 0;
    const waiting = this.#waiting;
    if (waiting.length === 0) return;
    const untilMs = this.#clock.monotonicMs() + SLICE_MS;
    let at = 0;
    do {
      this.#admission.line(-1);
      this.#start(waiting[at++]!);
    } while (at < waiting.length && this.#clock.monotonicMs() < untilMs);
    this.#waiting = waiting.slice(at);
    if (this.#waiting.length > 0) this.#planTurn();
  };

  #start(job: Job): void {
    try {
      this.#admission.enter(job.arrivedMs);
    } catch (thrown) {
      job.refuse(StatusError.from(thrown));
      return;
    }
    const later = job.start();
    if (later === undefined) this.#admission.leave();
    else void later.then(this.#leave);
  }

  readonly #leave = (): void => this.#admission.leave();
}
