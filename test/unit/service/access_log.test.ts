import { describe, expect, test } from "bun:test";
import type { LogFields } from "../../../src/base/log.ts";
import { AccessLog } from "../../../src/service/access_log.ts";
import { FakeHost } from "../../helpers/fake_host.ts";

function setup(rate: number, random = 0.5) {
  const host = new FakeHost();
  const lines: LogFields[] = [];
  host.log.info = (_event: string, fields: LogFields = {}) => void lines.push(fields);
  return { host, lines, log: new AccessLog(host, rate, () => random) };
}
const headers = (id: string | null, traceparent: string | null = null) => ({
  get: (name: string) => (name === "x-request-id" ? id : traceparent),
});
const finished = { door: "REST", method: "GET", path: "/v1/models/m", status: 200 } as const;

describe("begin()", () => {
  test.each([
    ["nothing to do", 0, null, undefined],
    ["a request id comes back although nothing is logged", 0, "abc-1", "abc-1"],
    ["an id that would break a line is not accepted", 0, "a b", undefined],
    ["nor one that is too long", 0, "x".repeat(129), undefined],
    ["a sampled request keeps its id", 1, "abc-1", "abc-1"],
  ])("%s", (_, rate, given, id) => {
    expect(setup(rate).log.begin(headers(given))?.requestId).toBe(id as string);
  });

  test("a sampled request without an id gets one", () => {
    expect(setup(1).log.begin(headers(null))?.requestId).toMatch(/^[\da-f-]{36}$/);
  });

  test.each([
    [0.6, 0.5, true],
    [0.5, 0.5, false],
    [1, 0.999, true],
    [0, 0, false],
  ])("rate %p, random %p: sampled %p", (rate, random, sampled) => {
    expect(setup(rate, random).log.begin(headers(null)) !== undefined).toBe(sampled);
  });

  const TRACE = "0af7651916cd43dd8448eb211c80319c";
  test.each([
    [`00-${TRACE}-b7ad6b7169203331-01`, TRACE],
    [`cc-${TRACE}-b7ad6b7169203331-01-later`, TRACE],
    [`ff-${TRACE}-b7ad6b7169203331-01`, undefined],
    [`00-${"0".repeat(32)}-b7ad6b7169203331-01`, undefined],
    [`00-${TRACE}-${"0".repeat(16)}-01`, undefined],
    ["nonsense", undefined],
  ])("traceparent %s", (header, id) => {
    expect(setup(1).log.begin(headers(null, header))?.traceId).toBe(id as string);
  });
});

test("finish() writes one line for a sampled request only", () => {
  const { host, lines, log } = setup(1);
  const trace = log.begin(headers("id-1"))!;
  host.clock.spend(12.3456);
  log.finish(trace, finished);
  log.finish({ ...trace, sampled: false }, finished);
  expect(lines).toEqual([{ ...finished, ms: 12.346, requestId: "id-1" }]);
});
