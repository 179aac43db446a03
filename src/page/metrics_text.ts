/** 分布の累計。`counts` は境界ごとの累積の個数。 */
export interface Histogram {
  readonly limits: readonly number[];
  readonly counts: readonly number[];
}

/** ある時刻の累計。 */
export interface Totals {
  /** 成功した推論の数。 */
  readonly requests: number;
  /** 失敗した要求の数。 */
  readonly errors: number;
  /** 推論の所要時間(マイクロ秒)。 */
  readonly latency: Histogram;
}

/** 区間の速さ。所要時間はミリ秒で、要求が無ければ undefined。 */
export interface Rates {
  readonly requestsPerSecond: number;
  readonly errorsPerSecond: number;
  readonly p50: number | undefined;
  readonly p99: number | undefined;
}

const line = /^([a-zA-Z_:][\w:]*)\{(.*)\} (\S+)/;
const label = /(\w+)="((?:[^"\\]|\\.)*)"/g;

/**
 * Prometheus の文面から推論の累計を読む。
 *
 * @see tensorflow_serving/util/prometheus_exporter.cc
 */
export function readTotals(text: string): Totals {
  let requests = 0;
  let errors = 0;
  const buckets = new Map<number, number>();
  for (const row of text.split("\n")) {
    if (!row.startsWith(":tensorflow:serving:request_")) continue;
    const match = line.exec(row);
    if (match === null) continue;
    const [, name, pairs = "", value = ""] = match;
    const labels = new Map([...pairs.matchAll(label)].map(([, key = "", text = ""]) => [key, text]));
    if (name === ":tensorflow:serving:request_count") {
      if (labels.get("status") !== "OK") errors += Number(value);
    } else if (labels.get("API") !== "") {
      // 状態やメタデータの問い合わせ(この頁自身のものを含む)は API の名が空で、推論ではない。
      if (name === ":tensorflow:serving:request_latency_count") requests += Number(value);
      if (name === ":tensorflow:serving:request_latency_bucket") {
        const limit = labels.get("le") === "+Inf" ? Infinity : Number(labels.get("le"));
        buckets.set(limit, (buckets.get(limit) ?? 0) + Number(value));
      }
    }
  }
  const limits = [...buckets.keys()].sort((a, b) => a - b);
  return { requests, errors, latency: { limits, counts: limits.map((limit) => buckets.get(limit)!) } };
}

/** 区間に入った標本の分位点。区間の中は一様とみなす。 @see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile */
export function quantile({ limits, counts }: Histogram, q: number): number | undefined {
  const total = counts.at(-1) ?? 0;
  if (total <= 0) return undefined;
  const rank = q * total;
  const at = counts.findIndex((count) => count >= rank);
  const low = at === 0 ? 0 : limits[at - 1]!;
  const high = limits[at]!;
  if (high === Infinity) return low;
  const below = at === 0 ? 0 : counts[at - 1]!;
  return low + ((high - low) * (rank - below)) / (counts[at]! - below);
}

/** 2 つの時刻の間の速さ。サーバーが始まり直して累計が減ったら 0 とする。 */
export function ratesBetween(before: Totals, after: Totals, seconds: number): Rates {
  const known = new Map(before.latency.limits.map((limit, i) => [limit, before.latency.counts[i]!]));
  const { limits } = after.latency;
  const counts = after.latency.counts.map((count, i) => Math.max(0, count - (known.get(limits[i]!) ?? 0)));
  const milliseconds = (q: number): number | undefined => {
    const value = quantile({ limits, counts }, q);
    return value === undefined ? undefined : value / 1000;
  };
  return {
    requestsPerSecond: Math.max(0, after.requests - before.requests) / seconds,
    errorsPerSecond: Math.max(0, after.errors - before.errors) / seconds,
    p50: milliseconds(0.5),
    p99: milliseconds(0.99),
  };
}
