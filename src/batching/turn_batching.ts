import { type Clock, hasWaited } from "../base/clock.ts";
import type { Host } from "../base/host.ts";
import { cancelled, deadlineExceeded, unavailable } from "../base/status.ts";
import type { PreparedRun, RunContext } from "../servables/model_servable.ts";
import type { DType } from "../tensor/dtype.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { haveSameRows, mergeInputs, splitOutputs } from "./batch_tensors.ts";
import { BatchingMetrics } from "./batching_metrics.ts";
import { type Batching, keyOf, type Prepare } from "./batching_run.ts";

/** これより速く終わる実行は、まとめる手間のほうが高くつく。ミリ秒。 */
const CHEAP_RUN_MS = 0.01;
/** 速い実行は、この回数に 1 回だけ測る(2 の冪)。 */
const SAMPLE_EVERY = 64;
/** 混んでいる間も、この回数の回に 1 度は 1 つだけで走らせて、固定費を測り直す。 */
const PROBE_EVERY_TURNS = 16;
/** 固定費を測る対象にする行数。多い行の時間は固定費ではない。 */
const FEW_ROWS = 4;
/** 1 つにまとめる行数の上限。固定費はここまでで十分に薄まり、待つ時間はまだ短い。 */
const MAX_ROWS = 256;
/** 1 回に続けて走らせる時間。これを越えたら残りは次の回に回し、ほかの入出力を待たせ過ぎない。 */
const SLICE_MS = 5;

interface Task {
  readonly inputs: readonly Tensor[];
  readonly rows: number;
  readonly enqueuedMs: number;
  readonly context: RunContext;
  readonly resolve: (outputs: readonly Tensor[]) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * 待たない合流。イベントループの同じ回に届いた要求を、その回の終わりに 1 つの実行にまとめる。
 * 誰も仲間を待たないので、1 つだけの要求は何も失わない。
 *
 * まとめても答えが変わらないと分かっている実行({@link PreparedRun.rowShapes})にだけ効く。まとめた実行が失敗した
 * ときは 1 つずつ走らせ直すので、ある要求の誤りがほかの要求に及ぶことはない。
 */
export class TurnBatching implements Batching {
  readonly #host: Host;
  readonly #inner: Prepare;
  readonly #metrics: BatchingMetrics;
  readonly #runs = new Map<string, PreparedRun>();
  readonly #maxDelayMs: number;

  /** @param maxDelayMs 合流を待ってよい時間。これより待ったものは走らせずに断る。0 は見ない。 */
  constructor(host: Host, inner: Prepare, maxDelayMs = 0) {
    this.#host = host;
    this.#maxDelayMs = maxDelayMs === 0 ? Number.POSITIVE_INFINITY : maxDelayMs;
    this.#inner = inner;
    this.#metrics = new BatchingMetrics(host.metrics);
  }

  readonly prepare: Prepare = (feeds, fetches) => {
    const key = keyOf(feeds, fetches);
    const known = this.#runs.get(key);
    if (known !== undefined) return known;
    const inner = this.#inner(feeds, fetches);
    if (feeds.length === 0 || inner.rowShapes === undefined) return inner;
    const run = new TurnRun(this.#host, this.#metrics, inner, inner.rowShapes, feeds, this.#maxDelayMs);
    this.#runs.set(key, run);
    return run;
  };

  close(): void {}
}

class TurnRun implements PreparedRun {
  readonly feedDTypes: readonly (DType | undefined)[];
  readonly #host: Host;
  readonly #metrics: BatchingMetrics;
  readonly #inner: PreparedRun;
  readonly #shapes: readonly (readonly number[])[];
  readonly #feeds: readonly string[];
  readonly #maxDelayMs: number;
  /** 1 回の実行の固定費の見積もり。測るまでは高いものとする。 */
  #costMs = Number.POSITIVE_INFINITY;
  #cheapRuns = 0;
  #busyTurns = 0;
  #arrivals = 0;
  /** 前の回に 2 つ以上届いた。次の回も、最初の 1 つを先に走らせずに仲間とまとめる。 */
  #busy = false;
  #queue: Task[] = [];

  constructor(
    host: Host,
    metrics: BatchingMetrics,
    inner: PreparedRun,
    shapes: readonly (readonly number[])[],
    feeds: readonly string[],
    maxDelayMs: number,
  ) {
    this.#maxDelayMs = maxDelayMs;
    this.#host = host;
    this.#metrics = metrics;
    this.#inner = inner;
    this.#shapes = shapes;
    this.#feeds = feeds;
    this.feedDTypes = inner.feedDTypes;
  }

  run(inputs: readonly Tensor[], context: RunContext): readonly Tensor[] | Promise<readonly Tensor[]> {
    if (this.#costMs < CHEAP_RUN_MS) {
      if ((++this.#cheapRuns & (SAMPLE_EVERY - 1)) !== 0) return this.#inner.run(inputs, context);
      return this.#runTimed(inputs, context, commonRows(inputs, this.#shapes));
    }
    const rows = commonRows(inputs, this.#shapes);
    if (rows < 1 || rows > MAX_ROWS / 2) return this.#inner.run(inputs, context);
    if (this.#arrivals++ === 0) {
      this.#host.clock.endOfTurn(this.#endTurn);
      if (!this.#busy) return this.#runTimed(inputs, context, rows);
    }
    return this.#enqueue(inputs, context, rows);
  }

  #enqueue(inputs: readonly Tensor[], context: RunContext, rows: number): Promise<readonly Tensor[]> {
    const { promise, resolve, reject } = Promise.withResolvers<readonly Tensor[]>();
    const enqueuedMs = this.#host.clock.monotonicMs();
    this.#queue.push({ inputs, rows, enqueuedMs, context, resolve, reject });
    return promise;
  }

  #runTimed(
    inputs: readonly Tensor[],
    context: RunContext,
    rows: number,
  ): readonly Tensor[] | Promise<readonly Tensor[]> {
    const { clock } = this.#host;
    const startMs = clock.monotonicMs();
    const outputs = this.#inner.run(inputs, context);
    if (rows <= FEW_ROWS && !(outputs instanceof Promise)) this.#learn(clock.monotonicMs() - startMs);
    return outputs;
  }

  /** 最初の実行や割り込みで大きく出ることはあっても、実際より小さく出ることはない。下がるときはすぐ従う。 */
  #learn(ms: number): void {
    const known = this.#costMs;
    this.#costMs = ms < known ? ms : known + (Math.min(ms, known * 2) - known) / 4;
  }

  readonly #endTurn = (): void => {
    this.#busy = this.#arrivals > 1;
    this.#arrivals = 0;
    if (this.#queue.length === 0) return;
    const tasks = this.#queue;
    this.#queue = [];
    const now = this.#host.clock.monotonicMs();
    let waiting = tasks.filter((task) => isWanted(task, this.#host.clock, now, this.#maxDelayMs));
    if (++this.#busyTurns % PROBE_EVERY_TURNS === 0) {
      const probe = waiting.shift();
      if (probe !== undefined) this.#runAlone(probe);
    }
    while (waiting.length > 0) {
      const batch: Task[] = [];
      const rest: Task[] = [];
      let rows = 0;
      for (const task of waiting) {
        const fits = rows + task.rows <= MAX_ROWS && haveSameShapes(task, waiting[0]!);
        (fits ? batch : rest).push(task);
        if (fits) rows += task.rows;
      }
      waiting = rest;
      if (batch.length === 1) this.#runAlone(batch[0]!);
      else this.#runMerged(batch, rows, now);
      if (waiting.length > 0 && this.#host.clock.monotonicMs() - now >= SLICE_MS) {
        this.#postpone(waiting);
        return;
      }
    }
  };

  /** 残りを次の回の先頭に回す。これから届くものは、その後ろに並ぶ。 */
  #postpone(tasks: Task[]): void {
    this.#queue = tasks;
    this.#arrivals = tasks.length;
    this.#busy = true;
    this.#host.clock.endOfTurn(this.#endTurn);
  }

  #runAlone({ inputs, context, rows, resolve, reject }: Task): void {
    try {
      const outputs = this.#runTimed(inputs, context, rows);
      if (outputs instanceof Promise) outputs.then(resolve, reject);
      else resolve(outputs);
    } catch (thrown) {
      reject(thrown);
    }
  }

  #runMerged(tasks: readonly Task[], rows: number, now: number): void {
    for (const { enqueuedMs } of tasks) this.#metrics.queuingLatency.observe((now - enqueuedMs) * 1000);
    this.#metrics.recordBatch(rows, 0);
    this.#metrics.wrappedRunCount.inc();
    const separately = (): void => {
      for (const task of tasks) this.#runAlone(task);
    };
    const finish = (outputs: readonly Tensor[]): void => {
      const split = splitOutputs(
        outputs,
        tasks.map((task) => task.rows),
        0,
      );
      for (let i = 0; i < tasks.length; i++) tasks[i]!.resolve(split[i]!);
    };
    try {
      const merged = mergeInputs(
        tasks.map(({ inputs }) => inputs),
        this.#feeds,
        0,
        false,
      );
      const outputs = this.#inner.run(merged, latestDeadline(tasks));
      if (outputs instanceof Promise) outputs.then(finish).catch(separately);
      else finish(outputs);
    } catch {
      // 誰の入力が悪かったのかは、1 つずつ走らせれば分かる。
      separately();
    }
  }
}

/** 入力に共通の行数。行数が揃っていないか、求められる形でなければ -1。 */
function commonRows(inputs: readonly Tensor[], shapes: readonly (readonly number[])[]): number {
  const rows = inputs[0]!.shape[0] ?? -1;
  for (let i = 0; i < inputs.length; i++) {
    const { shape } = inputs[i]!;
    const wanted = shapes[i]!;
    if (shape.length !== wanted.length || shape[0] !== rows) return -1;
    for (let axis = 1; axis < shape.length; axis++) {
      if (shape[axis] !== (wanted[axis] === -1 ? openDim(inputs, shapes, axis) : wanted[axis])) return -1;
    }
  }
  return rows;
}

/** 大きさの決まっていない軸は、どの入力でも同じ大きさでなければならない。その最初のもの。 */
function openDim(inputs: readonly Tensor[], shapes: readonly (readonly number[])[], axis: number): number {
  const first = shapes.findIndex((shape) => shape[axis] === -1);
  return inputs[first]!.shape[axis]!;
}

function haveSameShapes(a: Task, b: Task): boolean {
  return a === b || a.inputs.every((input, i) => haveSameRows(input, b.inputs[i]!));
}

/** 待つ間に客が去ったか期限が過ぎたもの、待たせ過ぎたものは、バッチに入れない。 */
function isWanted(
  { context, enqueuedMs, reject }: Task,
  clock: Clock,
  now: number,
  maxDelayMs: number,
): boolean {
  if (hasWaited(clock, enqueuedMs, maxDelayMs, now)) {
    reject(unavailable("Server is overloaded: the request waited too long to be started"));
    return false;
  }
  if (context.deadlineMs !== undefined && context.deadlineMs <= now) {
    reject(deadlineExceeded("Timed out waiting for notification"));
    return false;
  }
  if (context.abortedBeforeRun ?? context.signal?.aborted) {
    reject(cancelled("Run call was cancelled"));
    return false;
  }
  return true;
}

/** まとめた実行は、最も遅い期限まで走ってよい。 */
function latestDeadline(tasks: readonly Task[]): RunContext {
  let latest = 0;
  for (const { context } of tasks) latest = Math.max(latest, context.deadlineMs ?? Number.POSITIVE_INFINITY);
  return latest === Number.POSITIVE_INFINITY ? {} : { deadlineMs: latest };
}
