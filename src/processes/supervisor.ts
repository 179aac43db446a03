import type { Cancel } from "../base/clock.ts";
import type { Host } from "../base/host.ts";
import { unavailable } from "../base/status.ts";
import type { ModelServerConfig } from "../sources/model_config.ts";
import { type Answer, type FromWorker, type Question, type ToWorker, toFailure } from "./message.ts";

/** プロセスの終わり方。 */
export interface Exit {
  readonly code: number | null;
  readonly signal: string | number | null;
}

/** 起こした働き手。 */
export interface WorkerProcess {
  readonly pid: number;
  send(message: ToWorker): void;
  /** 待たずに終わらせる。 */
  kill(): void;
  readonly exited: Promise<Exit>;
}

/** 働き手を起こす。`index` は 0 から。 */
export type Spawn = (index: number, onMessage: (message: FromWorker) => void) => WorkerProcess;

interface Worker {
  readonly child: WorkerProcess;
  readonly bornMs: number;
  isReady: boolean;
  /** この働き手が今持っている、RPC で置き換えられた設定。 */
  config: ModelServerConfig | undefined;
  readonly questions: Map<number, (answer: Answer | undefined) => void>;
}

/** これより長く生きた働き手の後継は、すぐに起こす。 */
const SETTLED_MS = 10_000;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 10_000;
/** 答えない働き手を待つ長さ。設定の置き換えだけは、終わるまで待つ。 */
const ANSWER_MS = 5_000;

/**
 * 同じ口を分け合う働き手(プロセス)の親。死んだ働き手を起こし直し、全体への問いを配って答えを集める。
 * 親は要求に触れない。
 */
export class Supervisor {
  readonly #host: Host;
  readonly #count: number;
  readonly #spawn: Spawn;
  readonly #workers = new Map<number, Worker>();
  readonly #failures = new Map<number, number>();
  readonly #pauses = new Map<number, Cancel>();
  readonly #alive;
  readonly #restarts;
  #config: ModelServerConfig | undefined;
  #isStarted = false;
  #isDraining = false;
  #nextId = 0;

  constructor(host: Host, count: number, spawn: Spawn) {
    this.#host = host;
    this.#count = count;
    this.#spawn = spawn;
    this.#alive = host.metrics
      .gauge({ name: ":iris_serving:processes", help: "Worker processes that are serving.", labels: [] })
      .cell();
    this.#restarts = host.metrics
      .counter({
        name: ":iris_serving:process_restarts_total",
        help: "Worker processes that died and were replaced.",
        labels: [],
      })
      .cell();
  }

  /**
   * 最初の働き手が提供を始めたら、残りを起こす。起動の失敗を 1 度だけ、はっきり告げるため。
   *
   * @returns 最初の働き手が提供を始めずに終わったときは、その終わり方。
   */
  async start(): Promise<Exit | undefined> {
    const ready = Promise.withResolvers<void>();
    const first = this.#raise(0, ready.resolve);
    const outcome = await Promise.race([ready.promise, first.child.exited]);
    if (outcome !== undefined) return outcome;
    for (let index = 1; index < this.#count && !this.#isDraining; index++) this.#raise(index);
    return undefined;
  }

  /**
   * 全員に降りるよう告げ、終わるのを待つ。`graceMs` に余裕を足しても終わらないものは、終わらせる。
   *
   * @returns 全員が 0 で終わったか。
   */
  async stop(graceMs: number): Promise<boolean> {
    this.#isDraining = true;
    for (const cancel of this.#pauses.values()) cancel();
    const workers = [...this.#workers.values()];
    for (const { child } of workers) child.send({ kind: "drain" });
    const cancel = this.#host.clock.after(graceMs + ANSWER_MS, () => this.kill());
    const exits = await Promise.all(workers.map(({ child }) => child.exited));
    cancel();
    return exits.every(({ code }) => code === 0);
  }

  /** 待たずに終わらせる。 */
  kill(): void {
    for (const { child } of this.#workers.values()) child.kill();
  }

  #raise(index: number, onReady?: () => void): Worker {
    const { clock, log } = this.#host;
    const worker: Worker = {
      child: this.#spawn(index, (message) => {
        if (message.kind === "ready") onReady?.();
        this.#receive(index, worker, message);
      }),
      bornMs: clock.monotonicMs(),
      isReady: false,
      config: undefined,
      questions: new Map(),
    };
    this.#workers.set(index, worker);
    log.info("worker process started", { worker: index, pid: worker.child.pid });
    void worker.child.exited.then((exit) => this.#buried(index, worker, exit));
    return worker;
  }

  #buried(index: number, worker: Worker, { code, signal }: Exit): void {
    const { clock, log } = this.#host;
    this.#workers.delete(index);
    if (worker.isReady) this.#alive.add(-1);
    for (const answer of worker.questions.values()) answer(undefined);
    worker.questions.clear();
    if (this.#isDraining) return;
    // 最初の起動の失敗は、直しても同じなので起こし直さない。start() が告げる。
    if (!this.#isStarted) return;
    const settled = clock.monotonicMs() - worker.bornMs >= SETTLED_MS;
    const failures = settled ? 0 : (this.#failures.get(index) ?? 0) + 1;
    this.#failures.set(index, failures);
    const pauseMs = settled ? 0 : Math.min(FIRST_PAUSE_MS * 2 ** (failures - 1), LONGEST_PAUSE_MS);
    log.error("worker process ended; replacing it", {
      worker: index,
      pid: worker.child.pid,
      code,
      signal,
      pauseMs,
    });
    this.#restarts.inc();
    this.#pauses.set(
      index,
      clock.after(pauseMs, () => {
        this.#pauses.delete(index);
        this.#raise(index);
      }),
    );
  }

  #receive(index: number, worker: Worker, message: FromWorker): void {
    switch (message.kind) {
      case "join":
        worker.config = this.#config;
        worker.child.send({
          kind: "welcome",
          ...(this.#config === undefined ? {} : { config: this.#config }),
        });
        if (this.#isDraining) worker.child.send({ kind: "drain" });
        return;
      case "ready":
        worker.isReady = true;
        this.#isStarted = true;
        this.#alive.add(1);
        this.#host.log.info("worker process is serving", { worker: index, pid: worker.child.pid });
        // 起きている間に置き換えられた設定に追いつかせる。
        if (this.#config !== undefined && worker.config !== this.#config) {
          void this.#question(worker, { ask: "reload", config: this.#config });
        }
        return;
      case "ask":
        void this.#collect(message.question).then((answers) =>
          worker.child.send({ kind: "answers", id: message.id, answers }),
        );
        return;
      case "reply":
        worker.questions.get(message.id)?.(message.answer);
        worker.questions.delete(message.id);
    }
  }

  async #collect(question: Question): Promise<Answer[]> {
    const asked = [...this.#workers.values()].filter(({ isReady }) => isReady);
    const answers = await Promise.all(asked.map((worker) => this.#question(worker, question)));
    const given = answers.filter((answer) => answer !== undefined);
    if (question.ask === "reload" && given.every((answer) => "reloaded" in answer)) {
      this.#config = question.config;
      for (const worker of asked) worker.config = question.config;
    }
    if (question.ask === "metrics") given.push({ metrics: this.#host.metrics.snapshot() });
    if (given.length > 0) return given;
    return [{ failure: toFailure(unavailable("no worker process answered")) }];
  }

  /** @returns 答えずに終わったか、待ち切れなければ undefined。 */
  #question(worker: Worker, question: Question): Promise<Answer | undefined> {
    const id = this.#nextId++;
    const { promise, resolve } = Promise.withResolvers<Answer | undefined>();
    worker.questions.set(id, resolve);
    worker.child.send({ kind: "question", id, question });
    if (question.ask === "reload") return promise;
    const cancel = this.#host.clock.after(ANSWER_MS, () => {
      worker.questions.delete(id);
      resolve(undefined);
    });
    return promise.finally(cancel);
  }
}
