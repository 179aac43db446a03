import {
  type CounterCell,
  exponentialLimits,
  type Family,
  type HistogramCell,
  type Metrics,
} from "../base/metrics.ts";
import { codeName } from "../base/status.ts";

/** 客が名指したモデル名ごとに持つセルの上限。これを超えた名前は 1 つにまとめ、でたらめな名前でメモリを増やさせない。 */
const MAX_MODEL_NAMES = 1024;
const OTHER_NAMES = "(other)";

/** マイクロ秒の分布の境界。 */
const latencyLimits = exponentialLimits(10, 1.8, 33);
const exampleLimits = exponentialLimits(1, 2, 15);

/** モデル名ごとの値を高々 {@link MAX_MODEL_NAMES} 個だけ覚える。 */
class ByModel<T> {
  readonly #values = new Map<string, T>();
  readonly #create: (model: string) => T;

  constructor(create: (model: string) => T) {
    this.#create = create;
  }

  get(model: string): T {
    const known = this.#values.get(model);
    if (known !== undefined) return known;
    const name = this.#values.size < MAX_MODEL_NAMES ? model : OTHER_NAMES;
    const value = this.#values.get(name) ?? this.#create(name);
    this.#values.set(name, value);
    return value;
  }
}

/** 1 つの API × 1 つのモデルのセル。状態ごとの計数は初めて起きたときに作る。 */
class RequestCells {
  readonly latency: HistogramCell;
  readonly #count: (status: string) => CounterCell;
  readonly #byCode: (CounterCell | undefined)[] = [];

  constructor(latency: HistogramCell, count: (status: string) => CounterCell) {
    this.latency = latency;
    this.#count = count;
  }

  finished(code: number): void {
    this.#byCode[code] ??= this.#count(codeName(code));
    this.#byCode[code].inc();
  }
}

/**
 * 要求についての TF Serving の指標。キューと読み込みの指標は、それが起きる部屋で宣言する。
 *
 * @see tensorflow_serving/servables/tensorflow/util.cc
 */
export class RequestMetrics {
  readonly #count: Family<CounterCell>;
  readonly #latency: Family<HistogramCell>;
  readonly #runtime: Family<HistogramCell>;
  readonly #signatureRuntime: Family<HistogramCell>;
  readonly #examples: ByModel<{ readonly counts: HistogramCell; readonly total: CounterCell }>;

  constructor(metrics: Metrics) {
    this.#count = metrics.counter({
      name: "/tensorflow/serving/request_count",
      help: "The total number of requests.",
      labels: ["model_name", "status"],
    });
    this.#latency = metrics.histogram(
      {
        name: "/tensorflow/serving/request_latency",
        help: "Wall time of successful requests in microseconds.",
        labels: ["model_name", "API", "entrypoint"],
      },
      latencyLimits,
    );
    this.#runtime = metrics.histogram(
      {
        name: "/tensorflow/serving/runtime_latency",
        help: "Wall time of model execution in microseconds.",
        labels: ["model_name", "API", "runtime"],
      },
      latencyLimits,
    );
    this.#signatureRuntime = metrics.histogram(
      {
        name: "/iris_serving/signature_runtime_latency",
        help: "Wall time of model execution in microseconds, for each signature.",
        labels: ["model_name", "signature"],
      },
      latencyLimits,
    );
    const counts = metrics.histogram(
      {
        name: "/tensorflow/serving/request_example_counts",
        help: "The number of examples per request.",
        labels: ["model"],
      },
      exampleLimits,
    );
    const total = metrics.counter({
      name: "/tensorflow/serving/request_example_count_total",
      help: "The total number of examples.",
      labels: ["model"],
    });
    this.#examples = new ByModel((model) => ({ counts: counts.cell(model), total: total.cell(model) }));
  }

  /** モデル名 → 要求の数と所要時間のセル。 */
  requests(api: string, entrypoint: string): ByModel<RequestCells> {
    return new ByModel(
      (model) =>
        new RequestCells(this.#latency.cell(model, api, entrypoint), (status) =>
          this.#count.cell(model, status),
        ),
    );
  }

  /** モデル名 → 実行時間のセル。 */
  runtime(api: string): ByModel<HistogramCell> {
    // 実行系は TF1 のセッションと同じ意味論なので、ラベルもその名を使う。
    return new ByModel((model) => this.#runtime.cell(model, api, "TF1"));
  }

  /** 読み込まれたシグネチャの実行時間のセル。名前はモデルのものなので、客には増やせない。 */
  signatureRuntime(model: string, signature: string): HistogramCell {
    return this.#signatureRuntime.cell(model, signature);
  }

  recordExamples(model: string, count: number): void {
    const cells = this.#examples.get(model);
    cells.counts.observe(count);
    cells.total.inc(count);
  }
}
