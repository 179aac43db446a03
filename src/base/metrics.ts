/** 単調に増える数。 */
export interface CounterCell {
  inc(by?: number): void;
}

/** 上下する数。 */
export interface GaugeCell {
  set(value: number): void;
  add(by: number): void;
}

/** 分布。 */
export interface HistogramCell {
  observe(value: number): void;
}

/** ラベル値の組ごとに 1 つのセルを返す。熱い経路では戻り値を覚えておき、毎回引かない。 */
export interface Family<C> {
  cell(...labelValues: readonly string[]): C;
}

export type MetricKind = "counter" | "gauge" | "histogram";

/** 1 つの指標の宣言。名前は TF Serving の原名(`/tensorflow/serving/request_count`)か Prometheus 名。 */
export interface MetricSpec {
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
  /** 上下する数を、いくつかのプロセスのぶん合わせるときの方法。無ければ足す。 */
  readonly across?: "sum" | "max" | "min";
}

/** 出力用に読み出した 1 セル。histogram だけ `buckets`(累積でない個数、末尾は +Inf)と `count` を持つ。 */
export interface CellSnapshot {
  readonly labelValues: readonly string[];
  readonly value: number;
  readonly buckets?: readonly number[];
  readonly count?: number;
}

/** 出力用に読み出した 1 指標。`limits` は histogram の境界(昇順、+Inf を含まない)。 */
export interface FamilySnapshot extends MetricSpec {
  readonly kind: MetricKind;
  readonly limits: readonly number[];
  readonly cells: readonly CellSnapshot[];
}

class Scalar implements CounterCell, GaugeCell {
  value = 0;
  inc(by = 1): void {
    this.value += by;
  }
  add(by: number): void {
    this.value += by;
  }
  set(value: number): void {
    this.value = value;
  }
}

class Distribution implements HistogramCell {
  readonly buckets: number[];
  readonly #limits: readonly number[];
  sum = 0;
  count = 0;

  constructor(limits: readonly number[]) {
    this.#limits = limits;
    this.buckets = new Array<number>(limits.length + 1).fill(0);
  }

  observe(value: number): void {
    // 境界と等しい標本は次の区間に入る(TF の monitoring::Buckets と同じ)。
    const limits = this.#limits;
    let low = 0;
    let high = limits.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (value < limits[middle]!) high = middle;
      else low = middle + 1;
    }
    this.buckets[low]!++;
    this.sum += value;
    this.count++;
  }
}

class CellFamily<C> implements Family<C> {
  readonly cells = new Map<string, { labelValues: readonly string[]; cell: C }>();
  readonly #create: () => C;

  constructor(create: () => C) {
    this.#create = create;
  }

  cell(...labelValues: readonly string[]): C {
    const key = labelValues.join("\u0000");
    const found = this.cells.get(key);
    if (found !== undefined) return found.cell;
    const cell = this.#create();
    this.cells.set(key, { labelValues, cell });
    return cell;
  }
}

interface Entry {
  readonly spec: MetricSpec;
  readonly kind: MetricKind;
  readonly limits: readonly number[];
  readonly family: CellFamily<Scalar> | CellFamily<Distribution>;
}

/**
 * 指標の登録簿。数えるのはここ、文字にするのは出力側(TF Serving 形式と Prometheus 形式)。
 * 同じ名前の再登録は同じ Family を返すので、版ごとに作り直される部品からも呼べる。
 */
export class Metrics {
  readonly #entries = new Map<string, Entry>();
  readonly #collectors = new Set<() => void>();

  counter(spec: MetricSpec): Family<CounterCell> {
    return this.#scalar("counter", spec);
  }

  gauge(spec: MetricSpec): Family<GaugeCell> {
    return this.#scalar("gauge", spec);
  }

  /** @param limits 昇順の区間境界。+Inf は含めない。 */
  histogram(spec: MetricSpec, limits: readonly number[]): Family<HistogramCell> {
    return this.#register("histogram", spec, limits, () => new CellFamily(() => new Distribution(limits)))
      .family as CellFamily<Distribution>;
  }

  /** 読み出しの直前に呼ばれる関数を登録する(プロセスのメモリ量など、その時に測るもの)。 */
  onCollect(collect: () => void): void {
    this.#collectors.add(collect);
  }

  /** 全指標の現在値。原名の昇順。 */
  snapshot(): FamilySnapshot[] {
    for (const collect of this.#collectors) collect();
    return [...this.#entries.values()]
      .sort((a, b) => (a.spec.name < b.spec.name ? -1 : 1))
      .map(({ spec, kind, limits, family }) => ({
        ...spec,
        kind,
        limits,
        cells: [...family.cells.values()].map(({ labelValues, cell }) =>
          cell instanceof Scalar
            ? { labelValues, value: cell.value }
            : { labelValues, value: cell.sum, buckets: cell.buckets, count: cell.count },
        ),
      }));
  }

  #scalar(kind: "counter" | "gauge", spec: MetricSpec): CellFamily<Scalar> {
    return this.#register(kind, spec, [], () => new CellFamily(() => new Scalar()))
      .family as CellFamily<Scalar>;
  }

  #register(
    kind: MetricKind,
    spec: MetricSpec,
    limits: readonly number[],
    create: () => Entry["family"],
  ): Entry {
    const known = this.#entries.get(spec.name);
    if (known !== undefined) {
      if (known.kind !== kind || known.spec.labels.join() !== spec.labels.join()) {
        throw new Error(`metric ${spec.name} is already registered with another shape`);
      }
      return known;
    }
    const entry = { spec, kind, limits, family: create() };
    this.#entries.set(spec.name, entry);
    return entry;
  }
}

/** 等比の区間境界。@see tensorflow/core/lib/monitoring/sampler.cc Buckets::Exponential */
export function exponentialLimits(start: number, factor: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => start * factor ** i);
}
