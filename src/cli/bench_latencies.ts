import { createHistogram } from "node:perf_hooks";

/** 3 桁の精度で、1 マイクロ秒から 1 時間まで。 */
const RANGE = { lowest: 1, highest: 3_600_000_000, figures: 3 };

/** 図の段の上端(ミリ秒)。1-2-5 の列。 */
const bounds = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000];

export const percentiles = [50, 75, 90, 95, 99, 99.9] as const;

/** 遅れの度数。件数によらず大きさは一定。単位はミリ秒。 */
export class Latencies {
  /** HDR 形式の度数。Bun に備わる。 */
  readonly #histogram = createHistogram(RANGE);
  readonly #counts = new Array<number>(bounds.length + 1).fill(0);

  add(ms: number): void {
    this.#histogram.record(Math.min(RANGE.highest, Math.max(1, Math.round(ms * 1000))));
    const at = bounds.findIndex((bound) => ms <= bound);
    this.#counts[at < 0 ? bounds.length : at]!++;
  }

  get count(): number {
    return this.#histogram.count;
  }

  /** @param p 0 より大きく 100 以下。 */
  percentile(p: number): number {
    return this.count === 0 ? 0 : this.#histogram.percentile(p) / 1000;
  }

  summary(): { readonly min: number; readonly mean: number; readonly stdev: number; readonly max: number } {
    if (this.count === 0) return { min: 0, mean: 0, stdev: 0, max: 0 };
    const { min, mean, stddev, max } = this.#histogram;
    return { min: min / 1000, mean: mean / 1000, stdev: stddev / 1000, max: max / 1000 };
  }

  /** 値のある段だけ。`leMs` は段の上端(最後の段は Infinity)。 */
  buckets(): readonly { readonly leMs: number; readonly count: number }[] {
    const all = this.#counts.map((count, i) => ({ leMs: bounds[i] ?? Number.POSITIVE_INFINITY, count }));
    const first = all.findIndex(({ count }) => count > 0);
    const last = all.findLastIndex(({ count }) => count > 0);
    return first < 0 ? [] : all.slice(first, last + 1);
  }
}
