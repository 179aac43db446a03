import type { FamilySnapshot } from "../base/metrics.ts";
import type { ServableState } from "../core/servable_state.ts";
import type { Fleet } from "../service/fleet.ts";
import type { ModelServerConfig } from "../sources/model_config.ts";
import { mergeMetrics } from "./merge_metrics.ts";
import { mergeStates } from "./merge_states.ts";
import {
  type Answer,
  type FromWorker,
  fromFailure,
  fromWireState,
  type Question,
  type ToWorker,
  toFailure,
  toWireState,
} from "./message.ts";

/** このプロセス 1 つでの答え方。 */
export interface LocalAnswers {
  statuses(name: string, version: bigint | undefined): readonly ServableState[];
  reloadConfig(config: ModelServerConfig): Promise<void>;
  metrics(): readonly FamilySnapshot[];
}

/** 働き手の側の、親とのつながり。親を介して、全プロセスに尋ねる。 */
export class WorkerLink implements Fleet {
  readonly #send: (message: FromWorker) => void;
  readonly #welcome = Promise.withResolvers<ModelServerConfig | undefined>();
  readonly #drain = Promise.withResolvers<void>();
  readonly #asked = new Map<number, (answers: readonly Answer[]) => void>();
  #local: LocalAnswers | undefined;
  #nextId = 0;

  constructor(send: (message: FromWorker) => void) {
    this.#send = send;
  }

  /** 親が降ろすと言ったら(または親がいなくなったら)済む。 */
  get drained(): Promise<void> {
    return this.#drain.promise;
  }

  /** 親に加わりを告げ、RPC で置き換えられた最後の設定(あれば)を受け取る。 */
  join(): Promise<ModelServerConfig | undefined> {
    this.#send({ kind: "join" });
    return this.#welcome.promise;
  }

  /** 問いに答えられるようになったことを告げる。 */
  ready(local: LocalAnswers): void {
    this.#local = local;
    this.#send({ kind: "ready" });
  }

  receive(message: ToWorker): void {
    switch (message.kind) {
      case "welcome":
        this.#welcome.resolve(message.config);
        return;
      case "drain":
        this.#drain.resolve();
        return;
      case "answers": {
        this.#asked.get(message.id)?.(message.answers);
        this.#asked.delete(message.id);
        return;
      }
      case "question": {
        const { id } = message;
        void this.#answer(message.question)
          .catch((thrown: unknown): Answer => ({ failure: toFailure(thrown) }))
          .then((answer) => this.#send({ kind: "reply", id, answer }));
      }
    }
  }

  /** 親がいなくなった。残っても誰も面倒を見ないので、降りる。 */
  disconnected(): void {
    this.#drain.resolve();
  }

  async statuses(name: string, version: bigint | undefined): Promise<readonly ServableState[]> {
    const answers = await this.#ask({ ask: "statuses", name, version });
    const found = answers.flatMap((answer) => ("states" in answer ? [answer.states] : []));
    if (found.length === 0) throwFailure(answers);
    return mergeStates(found).map(fromWireState);
  }

  async reloadConfig(config: ModelServerConfig): Promise<void> {
    throwFailure(await this.#ask({ ask: "reload", config }));
  }

  async metrics(): Promise<readonly FamilySnapshot[]> {
    const answers = await this.#ask({ ask: "metrics" });
    return mergeMetrics(answers.flatMap((answer) => ("metrics" in answer ? [answer.metrics] : [])));
  }

  #ask(question: Question): Promise<readonly Answer[]> {
    const id = this.#nextId++;
    const { promise, resolve } = Promise.withResolvers<readonly Answer[]>();
    this.#asked.set(id, resolve);
    this.#send({ kind: "ask", id, question });
    return promise;
  }

  async #answer(question: Question): Promise<Answer> {
    const local = this.#local;
    if (local === undefined) throw new Error("asked before ready");
    switch (question.ask) {
      case "metrics":
        return { metrics: local.metrics() };
      case "statuses":
        return { states: local.statuses(question.name, question.version).map(toWireState) };
      case "reload":
        await local.reloadConfig(question.config);
        return { reloaded: true };
    }
  }
}

/** 答えのなかの最初の失敗を投げる。 */
function throwFailure(answers: readonly Answer[]): void {
  for (const answer of answers) if ("failure" in answer) throw fromFailure(answer.failure);
}
