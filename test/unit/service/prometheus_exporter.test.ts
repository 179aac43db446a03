import { expect, test } from "bun:test";
import { exponentialLimits, Metrics } from "../../../src/base/metrics.ts";
import { RequestMetrics } from "../../../src/service/metrics.ts";
import { formatPrometheusPage } from "../../../src/service/prometheus_exporter.ts";

const page = (fill: (metrics: Metrics) => void): string => {
  const metrics = new Metrics();
  fill(metrics);
  return formatPrometheusPage(metrics.snapshot());
};

test.each<[string, (metrics: Metrics) => void, string]>([
  [
    "a counter",
    (m) =>
      m
        .counter({ name: "/test/path/total", help: "", labels: ["name"] })
        .cell("abc")
        .inc(2),
    '# TYPE :test:path:total counter\n:test:path:total{name="abc"} 2\n',
  ],
  [
    "a gauge",
    (m) =>
      m
        .gauge({ name: "/test/path/gague", help: "", labels: ["x", "y"] })
        .cell("abc", "def")
        .set(5),
    '# TYPE :test:path:gague gauge\n:test:path:gague{x="abc",y="def"} 5\n',
  ],
  [
    "a label value with quotes and backslashes",
    (m) =>
      m
        .counter({ name: "/t", help: "", labels: ["name"] })
        .cell('"abc\\"')
        .inc(2),
    '# TYPE :t counter\n:t{name="\\"abc\\\\\\""} 2\n',
  ],
  [
    "a label value with a line break",
    (m) =>
      m
        .counter({ name: "/t", help: "", labels: ["name"] })
        .cell('a"} 1\nfake 2\r')
        .inc(),
    '# TYPE :t counter\n:t{name="a\\"} 1 fake 2 "} 1\n',
  ],
  [
    "an odd label name",
    (m) =>
      m
        .counter({ name: "/t", help: "", labels: ["my-name+1", "2nd"] })
        .cell("abc", "d")
        .inc(2),
    '# TYPE :t counter\n:t{my_name_1="abc",_2nd="d"} 2\n',
  ],
  [
    "an odd metric name",
    (m) =>
      m
        .counter({ name: "0/path-total_count", help: "", labels: ["name"] })
        .cell("abc")
        .inc(2),
    '# TYPE _0:path:total_count counter\n_0:path:total_count{name="abc"} 2\n',
  ],
  ["a metric without cells", (m) => m.counter({ name: "/t", help: "", labels: [] }), "# TYPE :t counter\n"],
  [
    "a metric without labels",
    (m) => m.counter({ name: "/t", help: "", labels: [] }).cell().inc(1.9),
    "# TYPE :t counter\n:t{} 1\n",
  ],
  [
    "two metrics in byte order of their original names",
    (m) => {
      m.counter({ name: "/b", help: "", labels: [] });
      m.counter({ name: "/B", help: "", labels: [] });
    },
    "# TYPE :B counter\n# TYPE :b counter\n",
  ],
  [
    "a histogram without labels",
    (m) => m.histogram({ name: "/h", help: "", labels: [] }, [0.5, 1_000_000]).cell().observe(0.5),
    '# TYPE :h histogram\n:h_bucket{le="0.5"} 0\n:h_bucket{le="1e+06"} 1\n:h_bucket{le="+Inf"} 1\n:h_sum{} 0.5\n:h_count{} 1\n',
  ],
  [
    "cells in byte order of their labels",
    (m) => {
      const family = m.counter({ name: "/t", help: "", labels: ["x", "y"] });
      for (const [x, y] of ["bb", "ba", "ab", "Ab"]) family.cell(x!, y!).inc();
    },
    ["Ab", "ab", "ba", "bb"].reduce(
      (text, [x, y]) => `${text}:t{x="${x}",y="${y}"} 1\n`,
      "# TYPE :t counter\n",
    ),
  ],
  [
    "a histogram that has seen nothing",
    (m) => m.histogram({ name: "/h", help: "", labels: [] }, [1]).cell(),
    "# TYPE :h histogram\n",
  ],
  [
    "a counter at zero",
    (m) => m.counter({ name: "/t", help: "", labels: [] }).cell(),
    "# TYPE :t counter\n:t{} 0\n",
  ],
])("formats %s", (_, fill, expected) => {
  expect(page(fill)).toBe(expected);
});

test("a histogram is cumulative and its limits are exclusive", () => {
  const text = page((metrics) => {
    const cell = metrics
      .histogram({ name: "/test/path/histogram", help: "", labels: ["status"] }, exponentialLimits(1, 2, 10))
      .cell("good");
    for (const value of [2, 20, 200]) cell.observe(value);
  });
  const limits = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, "+Inf"];
  const counts = [0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3];
  expect(text).toBe(
    `# TYPE :test:path:histogram histogram\n${limits
      .map((limit, i) => `:test:path:histogram_bucket{status="good",le="${limit}"} ${counts[i]}\n`)
      .join("")}:test:path:histogram_sum{status="good"} 222\n:test:path:histogram_count{status="good"} 3\n`,
  );
});

test("request metrics have the names, labels and limits clients know", () => {
  const metrics = new Metrics();
  const requests = new RequestMetrics(metrics);
  const cells = requests.requests("predict", "REST").get("half_plus_two");
  cells.latency.observe(812);
  cells.finished(0);
  requests.runtime("Predict").get("half_plus_two").observe(12);
  const lines = formatPrometheusPage(metrics.snapshot()).split("\n");
  expect(lines).toContain(':tensorflow:serving:request_count{model_name="half_plus_two",status="OK"} 1');
  expect(lines).toContain(
    ':tensorflow:serving:runtime_latency_sum{model_name="half_plus_two",API="Predict",runtime="TF1"} 12',
  );
  const prefix = ":tensorflow:serving:request_latency_bucket";
  const limits = lines
    .filter((line) => line.startsWith(prefix))
    .map((line) => /le="(.*)"/.exec(line)![1])
    .join(" ");
  expect(limits).toBe(
    "10 18 32.4 58.32 104.976 188.957 340.122 612.22 1102 1983.59 3570.47 6426.84 11568.3 20823 37481.3 " +
      "67466.4 121440 218591 393464 708235 1.27482e+06 2.29468e+06 4.13043e+06 7.43477e+06 1.33826e+07 " +
      "2.40887e+07 4.33596e+07 7.80473e+07 1.40485e+08 2.52873e+08 4.55172e+08 8.19309e+08 1.47476e+09 +Inf",
  );
  expect(lines.find((line) => line.startsWith(prefix))).toBe(
    `${prefix}{model_name="half_plus_two",API="predict",entrypoint="REST",le="10"} 0`,
  );
});
