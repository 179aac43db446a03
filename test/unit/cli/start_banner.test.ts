import { expect, test } from "bun:test";
import { bannerFields, bannerLines } from "../../../src/cli/start_banner.ts";
import type { Serving } from "../../../src/server.ts";

const serving: Serving = {
  models: [
    { name: "iris", versions: ["1"] },
    { name: "m", versions: ["20", "3"] },
  ],
  grpc: ["0.0.0.0:8500", "unix:/tmp/s"],
  rest: {
    address: "[::]:8501",
    tls: false,
    page: true,
    metricsPaths: ["/monitoring/prometheus/metrics", "/metrics"],
  },
};

test("the banner says what is served where", () => {
  expect(bannerLines(serving, 98.7)).toEqual([
    "Ready after 99 ms",
    "  model     iris, version 1",
    "  model     m, versions 20, 3",
    "  gRPC      localhost:8500",
    "  gRPC      unix:/tmp/s",
    "  REST      http://localhost:8501/v1/models",
    "  page      http://localhost:8501/",
    "  API docs  http://localhost:8501/docs",
    "  health    http://localhost:8501/readyz",
    "  metrics   http://localhost:8501/metrics",
  ]);
  expect(bannerFields(serving, 98.7)).toEqual({
    ms: 99,
    models: { iris: ["1"], m: ["20", "3"] },
    grpc: ["0.0.0.0:8500", "unix:/tmp/s"],
    rest: "http://localhost:8501",
    page: "/",
    health: "/readyz",
    metrics: "/metrics",
  });
});

test("what is turned off is not named, and the list of models ends", () => {
  const models = Array.from({ length: 10 }, (_, i) => ({ name: `m${i}`, versions: ["1"] }));
  expect(bannerLines({ models, grpc: [] }, 1)).toHaveLength(10);
  expect(bannerLines({ models, grpc: [] }, 1).at(-1)).toBe("            and 2 more");
  const bare: Serving = {
    models: [],
    grpc: [],
    rest: { address: "[::]:8443", tls: true, page: false, metricsPaths: [] },
  };
  expect(bannerLines(bare, 1)).toEqual([
    "Ready after 1 ms",
    "  REST      https://localhost:8443/v1/models",
    "  health    https://localhost:8443/readyz",
  ]);
  expect(bannerFields(bare, 1)).toMatchObject({ page: null, metrics: null });
});
