import {
  type CounterCell,
  exponentialLimits,
  type Family,
  type HistogramCell,
  type Metrics,
} from "../base/metrics.ts";

const PREFIX = "/tensorflow/serving/batching_session/";
const sizeLimits = exponentialLimits(1, 2, 14);

/**
 * バッチの指標。名前と境界は TF Serving のもの。
 *
 * @see tensorflow_serving/batching/batching_session.cc, incremental_barrier.h
 */
export class BatchingMetrics {
  /** 待った時間。マイクロ秒。 */
  readonly queuingLatency: HistogramCell;
  readonly wrappedRunCount: CounterCell;
  readonly inputBatchSize: HistogramCell;
  readonly processedBatchSize: HistogramCell;
  readonly #paddingSize: Family<HistogramCell>;

  constructor(metrics: Metrics) {
    this.queuingLatency = metrics
      .histogram(
        {
          name: `${PREFIX}queuing_latency`,
          help: "Time a task waited in the batch queue, in microseconds.",
          labels: ["thread_pool_name"],
        },
        exponentialLimits(100, 1.2, 52),
      )
      .cell("");
    this.wrappedRunCount = metrics
      .counter({ name: `${PREFIX}wrapped_run_count`, help: "Batched executions.", labels: [] })
      .cell();
    this.inputBatchSize = metrics
      .histogram(
        { name: `${PREFIX}input_batch_size`, help: "Rows of each input tensor.", labels: [] },
        sizeLimits,
      )
      .cell();
    this.processedBatchSize = metrics
      .histogram(
        { name: `${PREFIX}processed_batch_size`, help: "Rows of each executed batch.", labels: [] },
        sizeLimits,
      )
      .cell();
    this.#paddingSize = metrics.histogram(
      { name: `${PREFIX}padding_size`, help: "Rows added to each batch.", labels: ["execution_batch_size"] },
      sizeLimits,
    );
  }

  /** @param rows 埋めた後の行数。 */
  recordBatch(rows: number, paddingRows: number): void {
    this.#paddingSize.cell(String(rows)).observe(paddingRows);
    this.processedBatchSize.observe(rows);
  }
}
