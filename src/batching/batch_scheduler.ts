import type { Cancel } from "../base/clock.ts";
import type { Host } from "../base/host.ts";
import { invalidArgument, unavailable } from "../base/status.ts";
import { concatRows, splitRows, type Tensor } from "../tensor/tensor.ts";
import type { QueueOptions } from "./batching_parameters.ts";

/** 要求 1 つぶん(または切り分けられたその一部)の仕事。 */
export interface BatchTask {
  readonly inputs: readonly Tensor[];
  readonly rows: number;
  readonly enqueuedMs: number;
  /** Clock.monotonicMs の時刻。無ければ無期限。 */
  readonly deadlineMs?: number;
  /** 客が去ったら立つ。 */
  readonly signal?: AbortSignal;
  readonly resolve: (outputs: readonly Tensor[]) => void;
  readonly reject: (error: unknown) => void;
}

/** 閉じたバッチを実行する。投げず、すべての task を resolve か reject する。 */
export type ProcessBatch = (tasks: readonly BatchTask[]) => void | Promise<void>;

interface Batch {
  readonly tasks: BatchTask[];
  rows: number;
  /** 最初の仕事が入った時刻。 */
  startMs: number;
}

const emptyBatch = (): Batch => ({ tasks: [], rows: 0, startMs: 0 });

/**
 * 待ち行列 1 本。末尾の開いたバッチに足していき、溢れたら閉じて次を開く。順序は入れ替えない。
 *
 * @see tensorflow/core/kernels/batching_util/shared_batch_scheduler.h Queue
 */
export class BatchQueue {
  readonly process: ProcessBatch;
  readonly #host: Host;
  readonly #options: QueueOptions;
  readonly #wake: () => void;
  readonly #closed: Batch[] = [];
  #open = emptyBatch();
  #cancelTimer: Cancel | undefined;

  constructor(host: Host, options: QueueOptions, process: ProcessBatch, wake: () => void) {
    this.#host = host;
    this.#options = options;
    this.process = process;
    this.#wake = wake;
  }

  /**
   * 仕事を入れる。
   *
   * @throws INVALID_ARGUMENT 1 要求として大きすぎる。
   * @throws UNAVAILABLE 満杯。
   */
  schedule(task: BatchTask): void {
    this.#checkCapacity(task.rows);
    const max = this.#options.maxExecutionBatchSize;
    const free = max - this.#open.rows;
    const pieces =
      task.rows <= free || !this.#options.enableLargeBatchSplitting ? [task] : splitTask(task, free, max);
    for (const piece of pieces) {
      if (this.#open.rows + piece.rows > max) this.#startNewBatch();
      if (this.#open.tasks.length === 0) this.#open.startMs = this.#host.clock.monotonicMs();
      this.#open.tasks.push(piece);
      this.#open.rows += piece.rows;
    }
    this.#wake();
  }

  /**
   * 実行すべきバッチを 1 つ取り出す。開いているものは、それだけが残っていて、満ちたか古くなったときに閉じる。
   *
   * @param hurry 古くなるのを待たない。
   */
  take(hurry: boolean): readonly BatchTask[] | undefined {
    if (this.#closed.length === 0 && this.#isOpenBatchReady(hurry)) this.#startNewBatch();
    return this.#closed.shift()?.tasks;
  }

  /** まだ若い開いたバッチがあれば、古くなる時刻に起こしてもらう。 */
  armTimer(): void {
    if (this.#cancelTimer !== undefined || this.#open.tasks.length === 0) return;
    const dueMs = this.#open.startMs + this.#options.batchTimeoutMs - this.#host.clock.monotonicMs();
    this.#cancelTimer = this.#host.clock.after(dueMs, () => {
      this.#cancelTimer = undefined;
      this.#wake();
    });
  }

  #isOpenBatchReady(hurry: boolean): boolean {
    const { tasks, rows, startMs } = this.#open;
    if (tasks.length === 0) return false;
    if (hurry || rows >= this.#options.maxExecutionBatchSize) return true;
    return this.#host.clock.monotonicMs() >= startMs + this.#options.batchTimeoutMs;
  }

  #startNewBatch(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#closed.push(this.#open);
    this.#open = emptyBatch();
  }

  #checkCapacity(rows: number): void {
    const { maxBatchSize, maxEnqueuedBatches, maxExecutionBatchSize, enableLargeBatchSplitting } =
      this.#options;
    if (rows > maxBatchSize) {
      throw invalidArgument(`Task size ${rows} is larger than maximum input batch size ${maxBatchSize}`);
    }
    // 開いたバッチは空でも 1 つと数える。
    const enqueued = this.#closed.length + 1;
    const full = "The batch scheduling queue to which this task was submitted is full; ";
    if (enableLargeBatchSplitting) {
      const capacity =
        (maxEnqueuedBatches - enqueued) * maxExecutionBatchSize + (maxExecutionBatchSize - this.#open.rows);
      if (rows <= capacity) return;
      throw unavailable(
        `${full}task size is ${rows} but scheduling capacity is only ${capacity} (num_enqueued_batches=${enqueued}, ` +
          `max_enqueued_batches=${maxEnqueuedBatches}, open_batch_size=${this.#open.rows}, ` +
          `max_execution_batch_size=${maxExecutionBatchSize})`,
      );
    }
    if (this.#open.rows + rows > maxBatchSize && enqueued >= maxEnqueuedBatches) {
      throw unavailable(
        `${full}currently ${enqueued} batches enqueued and max_enqueued_batches is ${maxEnqueuedBatches}`,
      );
    }
  }
}

/**
 * 全モデルの待ち行列を順番に回り、同時に決まった数までのバッチを実行する。
 *
 * TF の「手の空いたスレッド」は、ここでは「イベントループの回の終わり」に当たる。待ち時間 0 でも、
 * 同じ回に届いた要求は 1 つのバッチになる。同期の実行は 1 回に 1 バッチずつにして、入出力を止めない。
 *
 * @see tensorflow/core/kernels/batching_util/shared_batch_scheduler.h SharedBatchScheduler
 */
export class BatchScheduler {
  readonly #host: Host;
  readonly #threads: number;
  /** 次に見る順。 */
  readonly #queues: BatchQueue[] = [];
  #running = 0;
  #armed = false;
  #hurry = false;

  constructor(host: Host, numBatchThreads: number) {
    this.#host = host;
    this.#threads = numBatchThreads;
  }

  addQueue(options: QueueOptions, process: ProcessBatch): BatchQueue {
    const queue = new BatchQueue(this.#host, options, process, this.#wake);
    this.#queues.push(queue);
    return queue;
  }

  /** 空の待ち行列を外す。 */
  removeQueue(queue: BatchQueue): void {
    this.#queues.splice(this.#queues.indexOf(queue), 1);
  }

  /** 終了が近い。以後は仲間を待たずに実行する。 */
  hurry(): void {
    this.#hurry = true;
    this.#wake();
  }

  readonly #wake = (): void => {
    if (this.#armed) return;
    this.#armed = true;
    this.#host.clock.endOfTurn(this.#pump);
  };

  readonly #pump = (): void => {
    this.#armed = false;
    while (this.#running < this.#threads) {
      const ran = this.#runNext();
      if (ran === "nothing") {
        for (const queue of this.#queues) queue.armTimer();
        return;
      }
      if (ran === "done") {
        this.#wake();
        return;
      }
    }
  };

  #runNext(): "nothing" | "done" | "running" {
    for (let i = 0; i < this.#queues.length; i++) {
      const queue = this.#queues[i]!;
      const tasks = queue.take(this.#hurry);
      if (tasks === undefined) continue;
      this.#queues.push(...this.#queues.splice(0, i + 1));
      const running = queue.process(tasks);
      if (!(running instanceof Promise)) return "done";
      this.#running++;
      void running.finally(() => {
        this.#running--;
        this.#wake();
      });
      return "running";
    }
    return "nothing";
  }
}

/** 開いたバッチの空きを埋める片、満杯の片、残りの片に切り分ける。 */
function splitTask(task: BatchTask, free: number, max: number): BatchTask[] {
  const counts: number[] = free > 0 ? [free] : [];
  for (let left = task.rows - free; left > 0; left -= max) counts.push(Math.min(left, max));
  const inputs = task.inputs.map((input) => splitRows(input, counts));
  const results = new Array<readonly Tensor[]>(counts.length);
  let left = counts.length;
  let failure: { readonly error: unknown } | undefined;
  const finish = (): void => {
    left--;
    if (left > 0) return;
    if (failure !== undefined) {
      task.reject(failure.error);
      return;
    }
    task.resolve(results[0]!.map((_, output) => concatRows(results.map((piece) => piece[output]!))));
  };
  return counts.map((rows, piece) => ({
    inputs: inputs.map((parts) => parts[piece]!),
    rows,
    enqueuedMs: task.enqueuedMs,
    deadlineMs: task.deadlineMs,
    signal: task.signal,
    resolve: (outputs) => {
      results[piece] = outputs;
      finish();
    },
    reject: (error) => {
      failure ??= { error };
      finish();
    },
  }));
}
