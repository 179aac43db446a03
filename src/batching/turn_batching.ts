import { type Clock, hasWaited } from "../base/clock.ts";
import type { Host } from "../base/host.ts";
import { cancelled, deadlineExceeded, unavailable } from "../base/status.ts";
import type { PreparedRun, RunContext } from "../servables/model_servable.ts";
import type { DType } from "../tensor/dtype.ts";
import type { Signature } from "../tensor/signature.ts";
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
 * 入力も出力もすべて「先頭が未知の次元」であるシグネチャにだけ効く。まとめた実行が失敗したときは
 * 1 つずつ走らせ直すので、ある要求の誤りがほかの要求に及ぶことはない。
 */
export class TurnBatching implements Batching {
  readonly #host: Host;
  readonly #inner: Prepare;
  readonly #metrics: BatchingMetrics;
  /** 先頭の次元が行であるテンソルの名前。 */
  readonly #rowTensors: ReadonlySet<string>;
  readonly #runs = new Map<string, PreparedRun>();
  readonly #maxDelayMs: number;

  /** @param maxDelayMs 合流を待ってよい時間。これより待ったものは走らせずに断る。0 は見ない。 */
  constructor(host: Host, signatures: Iterable<Signature>, inner: Prepare, maxDelayMs = 0) {
    this.#host = host;
    this.#maxDelayMs = maxDelayMs === 0 ? Number.POSITIVE_INFINITY : maxDelayMs;
    this.#inner = inner;
    this.#metrics = new BatchingMetrics(host.metrics);
    this.#rowTensors = rowTensorsOf(signatures);
  }

  readonly prepare: Prepare = (feeds, fetches) => {
    const rowwise = feeds.length > 0 && feeds.concat(fetches).every((name) => this.#rowTensors.has(name));
    if (!rowwise) return this.#inner(feeds, fetches);
    const key = keyOf(feeds, fetches);
    const known = this.#runs.get(key);
    if (known !== undefined) return known;
    const run = new TurnRun(this.#host, this.#metrics, this.#inner(feeds, fetches), feeds, this.#maxDelayMs);
    this.#runs.set(key, run);
    return run;
  };

  close(): void {}
}

/** どのシグネチャでも先頭の次元が未知とされているテンソル。1 つでも違う宣言があれば外す。 */
function rowTensorsOf(signatures: Iterable<Signature>): Set<string> {
  const rowwise = new Set<string>();
  const fixed = new Set<string>();
  for (const { inputs, outputs } of signatures) {
    for (const { name, shape } of [...inputs.values(), ...outputs.values()]) {
      (shape?.[0] === -1 ? rowwise : fixed).add(name);
    }
  }
  return rowwise.difference(fixed);
}

class TurnRun implements PreparedRun {
  readonly feedDTypes: readonly (DType | undefined)[];
  readonly #host: Host;
  readonly #metrics: BatchingMetrics;
  readonly #inner: PreparedRun;
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
  /** まとめた実行の出力が行ごとでなかった。もうまとめない。 */
  #unmergeable = false;

  constructor(
    host: Host,
    metrics: BatchingMetrics,
    inner: PreparedRun,
    feeds: readonly string[],
    maxDelayMs: number,
  ) {
    this.#maxDelayMs = maxDelayMs;
    this.#host = host;
    this.#metrics = metrics;
    this.#inner = inner;
    this.#feeds = feeds;
    this.feedDTypes = inner.feedDTypes;
  }

  run(inputs: readonly Tensor[], context: RunContext): readonly Tensor[] | Promise<readonly Tensor[]> {
    if (this.#costMs < CHEAP_RUN_MS) {
      if ((++this.#cheapRuns & (SAMPLE_EVERY - 1)) !== 0) return this.#inner.run(inputs, context);
      return this.#runTimed(inputs, context, commonRows(inputs));
    }
    const rows = commonRows(inputs);
    if (rows < 1 || rows > MAX_ROWS / 2 || this.#unmergeable) return this.#inner.run(inputs, context);
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
      let split: Tensor[][];
      try {
        split = splitOutputs(
          outputs,
          tasks.map((task) => task.rows),
          0,
        );
      } catch {
        // 宣言と違い、出力の先頭は行ではなかった。
        this.#unmergeable = true;
        separately();
        return;
      }
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
      if (outputs instanceof Promise) outputs.then(finish, separately);
      else finish(outputs);
    } catch {
      // 誰の入力が悪かったのかは、1 つずつ走らせれば分かる。
      separately();
    }
  }
}

/** 入力に共通の行数。揃っていないかスカラーがあれば -1。 */
function commonRows(inputs: readonly Tensor[]): number {
  const rows = inputs[0]!.shape[0] ?? -1;
  for (let i = 1; i < inputs.length; i++) if (inputs[i]!.shape[0] !== rows) return -1;
  return rows;
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
