import type { Host } from "../base/host.ts";
import { cancelled, resourceExhausted } from "../base/status.ts";
import type { ModelServable, PreparedRun, RunContext } from "../servables/model_servable.ts";
import type { DType } from "../tensor/dtype.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { BatchQueue, BatchScheduler, BatchTask } from "./batch_scheduler.ts";
import { mergeInputs, roundUp, rowsOf, splitOutputs } from "./batch_tensors.ts";
import { BatchingMetrics } from "./batching_metrics.ts";
import type { QueueOptions } from "./batching_parameters.ts";

/** 実行を準備する関数。{@link ModelServable.prepare}。 */
export type Prepare = ModelServable["prepare"];

/** {@link Prepare} に着せる上着。 */
export interface Batching {
  readonly prepare: Prepare;
  /** 版が降りる。待っている仕事はもう無い。 */
  close(): void;
}

/** テンソル名の組を、順序を保って 1 つの鍵にする。名前に改行は現れない。 */
export function keyOf(feeds: readonly string[], fetches: readonly string[]): string {
  return `${feeds.join("\n")}\n\n${fetches.join("\n")}`;
}

interface Queue {
  readonly queue: BatchQueue;
  readonly feeds: readonly string[];
  readonly fetches: readonly string[];
  readonly feedDTypes: readonly (DType | undefined)[];
}

/**
 * 1 つの版の実行を、TF Serving の決まりでまとめる(`--enable_batching`)。待ち行列は
 * (入力の名前の集合, 出力の名前の集合)ごとに 1 本。どの入口のどの API から来ても合流する。
 *
 * @see tensorflow_serving/batching/batching_session.cc
 */
export class QueuedBatching implements Batching {
  readonly #host: Host;
  readonly #scheduler: BatchScheduler;
  readonly #options: QueueOptions;
  readonly #inner: Prepare;
  readonly #metrics: BatchingMetrics;
  readonly #queues = new Map<string, Queue>();
  readonly #runs = new Map<string, PreparedRun>();

  constructor(host: Host, scheduler: BatchScheduler, options: QueueOptions, inner: Prepare) {
    this.#host = host;
    this.#scheduler = scheduler;
    this.#options = options;
    this.#inner = inner;
    this.#metrics = new BatchingMetrics(host.metrics);
  }

  readonly prepare: Prepare = (feeds, fetches) => {
    const key = keyOf(feeds, fetches);
    const known = this.#runs.get(key);
    if (known !== undefined) return known;
    const queue = this.#queueFor(feeds, fetches);
    const run = new QueuedRun(this.#host, this.#metrics, queue, feeds, fetches);
    this.#runs.set(key, run);
    return run;
  };

  close(): void {
    for (const { queue } of this.#queues.values()) this.#scheduler.removeQueue(queue);
  }

  #queueFor(givenFeeds: readonly string[], givenFetches: readonly string[]): Queue {
    const feeds = [...new Set(givenFeeds)].sort();
    const fetches = [...new Set(givenFetches)].sort();
    const key = keyOf(feeds, fetches);
    const known = this.#queues.get(key);
    if (known !== undefined) return known;
    const run = this.#inner(feeds, fetches);
    const created: Queue = {
      queue: this.#scheduler.addQueue(this.#options, (tasks) => this.#process(run, feeds, tasks)),
      feeds,
      fetches,
      feedDTypes: run.feedDTypes,
    };
    this.#queues.set(key, created);
    return created;
  }

  #process(run: PreparedRun, feeds: readonly string[], queued: readonly BatchTask[]): void | Promise<void> {
    const tasks = queued.filter(isStillThere);
    if (tasks.length === 0) return;
    const fail = (error: unknown): void => {
      for (const task of tasks) task.reject(error);
    };
    try {
      const context = this.#dequeue(tasks);
      const counts = tasks.map(({ rows }) => rows);
      const rows = counts.reduce((sum, count) => sum + count, 0);
      const paddingRows = rows === 0 ? 0 : this.#roundUp(rows) - rows;
      this.#metrics.recordBatch(rows + paddingRows, paddingRows);
      const merged = mergeInputs(
        tasks.map(({ inputs }) => inputs),
        feeds,
        paddingRows,
        this.#options.padVariableLengthInputs,
      );
      this.#metrics.wrappedRunCount.inc();
      const finish = (outputs: readonly Tensor[]): void => {
        const split = splitOutputs(outputs, counts, paddingRows);
        for (let i = 0; i < tasks.length; i++) tasks[i]!.resolve(split[i]!);
      };
      const outputs = run.run(merged, context);
      if (outputs instanceof Promise) return outputs.then(finish).catch(fail);
      finish(outputs);
    } catch (thrown) {
      fail(thrown);
    }
  }

  #roundUp(rows: number): number {
    const { allowedBatchSizes } = this.#options;
    const rounded = roundUp(rows, allowedBatchSizes);
    const largest = allowedBatchSizes.at(-1);
    if (largest !== undefined && rounded === rows && !allowedBatchSizes.includes(rows)) {
      this.#host.log.warn(
        `Input batch size ${rows} is greater than largest allowed size ${largest} ignoring allowed sizes constraint.`,
      );
    }
    return rounded;
  }

  /**
   * 待った時間を数え、バッチの期限を決める。間に合う要求が 1 つでもあれば、最も遅い期限まで走る。
   *
   * @throws RESOURCE_EXHAUSTED すべての要求の期限が過ぎている。
   */
  #dequeue(tasks: readonly BatchTask[]): RunContext {
    const now = this.#host.clock.monotonicMs();
    let latest = 0;
    for (const { enqueuedMs, deadlineMs = Number.POSITIVE_INFINITY } of tasks) {
      this.#metrics.queuingLatency.observe((now - enqueuedMs) * 1000);
      latest = Math.max(latest, deadlineMs);
    }
    if (latest <= now) throw resourceExhausted("Run() timeout exceeded while waiting in batching queue");
    return latest === Number.POSITIVE_INFINITY ? {} : { deadlineMs: latest };
  }
}

/** 待つ間に客が去ったものは、バッチに入れない。 */
function isStillThere({ signal, reject }: BatchTask): boolean {
  if (!signal?.aborted) return true;
  reject(cancelled("Run call was cancelled"));
  return false;
}

/** 待ち行列に入れて待つ実行。名前の順が違っても、待ち行列の順に並べ替えて合流する。 */
class QueuedRun implements PreparedRun {
  readonly feedDTypes: readonly (DType | undefined)[];
  readonly #host: Host;
  readonly #metrics: BatchingMetrics;
  readonly #queue: BatchQueue;
  /** 待ち行列の i 番目の入力が、呼び手の何番目か。 */
  readonly #inputs: readonly number[];
  /** 呼び手の i 番目の出力が、待ち行列の何番目か。 */
  readonly #outputs: readonly number[];

  constructor(
    host: Host,
    metrics: BatchingMetrics,
    { queue, feeds: queueFeeds, fetches: queueFetches, feedDTypes }: Queue,
    feeds: readonly string[],
    fetches: readonly string[],
  ) {
    this.#host = host;
    this.#metrics = metrics;
    this.#queue = queue;
    this.#inputs = queueFeeds.map((name) => feeds.indexOf(name));
    this.#outputs = fetches.map((name) => queueFetches.indexOf(name));
    this.feedDTypes = feeds.map((name) => feedDTypes[queueFeeds.indexOf(name)]);
  }

  async run(inputs: readonly Tensor[], { deadlineMs, signal }: RunContext): Promise<readonly Tensor[]> {
    const rows = rowsOf(inputs);
    for (let i = 0; i < inputs.length; i++) this.#metrics.inputBatchSize.observe(rows);
    const outputs = await new Promise<readonly Tensor[]>((resolve, reject) => {
      this.#queue.schedule({
        inputs: this.#inputs.map((i) => inputs[i]!),
        rows,
        enqueuedMs: this.#host.clock.monotonicMs(),
        deadlineMs,
        signal,
        resolve,
        reject,
      });
    });
    return this.#outputs.map((i) => outputs[i]!);
  }
}
