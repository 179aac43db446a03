import { describe, expect, test } from "bun:test";
import { Metrics } from "../../../src/base/metrics.ts";
import { quantile, ratesBetween, readTotals } from "../../../src/page/metrics_text.ts";
import { RequestMetrics } from "../../../src/service/metrics.ts";
import { formatPrometheusPage } from "../../../src/service/prometheus_exporter.ts";

describe("readTotals()", () => {
  test("reads what the server writes", () => {
    const metrics = new Metrics();
    const requests = new RequestMetrics(metrics);
    const predict = requests.requests("predict", "REST").get('a"}b');
    const status = requests.requests("", "REST").get("m");
    for (const microseconds of [100, 200, 300]) predict.latency.observe(microseconds);
    predict.finished(0);
    predict.finished(3);
    status.latency.observe(9000);
    status.finished(0);
    const totals = readTotals(formatPrometheusPage(metrics.snapshot()));
    expect(totals.requests).toBe(3);
    expect(totals.errors).toBe(1);
    expect(totals.latency.limits.at(-1)).toBe(Infinity);
    expect(totals.latency.counts.at(-1)).toBe(3);
    expect(totals.latency.limits).toEqual([...totals.latency.limits].sort((a, b) => a - b));
  });

  test("reads nothing from an empty page", () => {
    expect(readTotals("")).toEqual({ requests: 0, errors: 0, latency: { limits: [], counts: [] } });
  });
});

describe("quantile()", () => {
  const limits = [10, 20, 40, Infinity];
  test.each([
    [0.5, [0, 10, 10, 10], 15],
    [0.99, [0, 0, 100, 100], 39.8],
    [0.5, [4, 4, 4, 4], 5],
    [0.9, [0, 0, 0, 5], 40],
  ])("%p of %j is %p", (q, counts, expected) => {
    expect(quantile({ limits, counts }, q)).toBeCloseTo(expected, 6);
  });
  test("is unknown without samples", () => {
    expect(quantile({ limits, counts: [0, 0, 0, 0] }, 0.5)).toBeUndefined();
    expect(quantile({ limits: [], counts: [] }, 0.5)).toBeUndefined();
  });
});

describe("ratesBetween()", () => {
  const totals = (requests: number, errors: number, ...counts: number[]) => ({
    requests,
    errors,
    latency: { limits: [1000, 2000, Infinity], counts },
  });

  test("looks only at what came between", () => {
    expect(ratesBetween(totals(10, 1, 10, 10, 10), totals(14, 2, 10, 14, 14), 2)).toEqual({
      requestsPerSecond: 2,
      errorsPerSecond: 0.5,
      p50: 1.5,
      p99: 1.99,
    });
  });

  test("is quiet without requests, and after a restart of the server", () => {
    const quiet = { requestsPerSecond: 0, errorsPerSecond: 0, p50: undefined, p99: undefined };
    expect(ratesBetween(totals(10, 1, 10, 10, 10), totals(10, 1, 10, 10, 10), 1)).toEqual(quiet);
    expect(ratesBetween(totals(10, 1, 10, 10, 10), totals(2, 0, 2, 2, 2), 1)).toEqual(quiet);
  });
});
