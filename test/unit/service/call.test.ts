import { expect, test } from "bun:test";
import { deadlineExceeded, invalidArgument, StatusError } from "../../../src/base/status.ts";
import { createCall } from "../../../src/service/call.ts";
import { FakeHost } from "../../helpers/fake_host.ts";

const predict = { api: "Predict", entrypoint: "GRPC", counted: true } as const;

/** `指標{ラベル} 値` の並び。分布は合計と個数。 */
function cells(host: FakeHost): string[] {
  return host.metrics
    .snapshot()
    .flatMap(({ name, cells }) =>
      cells.map(
        ({ labelValues, value, count }) =>
          `${name.split("/").at(-1)} ${labelValues.join()} ${value}${count === undefined ? "" : `/${count}`}`,
      ),
    );
}

test("a synchronous success is returned as it is, counted and timed", () => {
  const host = new FakeHost();
  const call = createCall(host, predict);
  const result = call("m", () => {
    host.clock.spend(1.5);
    return 42;
  });
  expect(result).toBe(42);
  expect(cells(host)).toEqual(["request_count m,OK 1", "request_latency m,Predict,GRPC 1500/1"]);
});

test("an asynchronous success is timed to its end", async () => {
  const host = new FakeHost();
  const call = createCall(host, predict);
  const gate = Promise.withResolvers<number>();
  const running = call("m", () => gate.promise);
  host.clock.spend(3);
  expect(cells(host)).toEqual([]);
  gate.resolve(1);
  expect(await running).toBe(1);
  expect(cells(host)).toEqual(["request_count m,OK 1", "request_latency m,Predict,GRPC 3000/1"]);
});

test.each([
  [
    "thrown",
    (error: Error) => () => {
      throw error;
    },
  ],
  ["rejected", (error: Error) => () => Promise.reject(error)],
])("a failure that is %s is counted by code and has no latency", async (_, fail) => {
  const host = new FakeHost();
  const call = createCall(host, predict);
  const error = deadlineExceeded("late");
  expect(await Promise.try(() => call("m", fail(error))).catch((thrown) => thrown)).toBe(error);
  expect(cells(host)).toEqual(["request_count m,DEADLINE_EXCEEDED 1", "request_latency m,Predict,GRPC 0/0"]);
  expect(host.lines).toEqual(["D call failed"]);
});

test("what nobody foresaw becomes INTERNAL, and only the log sees it", () => {
  const host = new FakeHost();
  const call = createCall(host, predict);
  const secret = new TypeError("undefined is not a function");
  let thrown: unknown;
  try {
    call("m", () => {
      throw secret;
    });
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(StatusError);
  expect((thrown as StatusError).toString()).toBe("INTERNAL: Internal error");
  expect(host.lines).toEqual(["E call failed unexpectedly"]);
});

test("APIs that upstream does not count leave no trace in the metrics", () => {
  const host = new FakeHost();
  const call = createCall(host, { ...predict, counted: false });
  call("m", () => 1);
  expect(() =>
    call("m", () => {
      throw invalidArgument("no");
    }),
  ).toThrow("no");
  expect(cells(host)).toEqual([]);
});

test("made-up model names cannot grow the metrics for ever", () => {
  const host = new FakeHost();
  const call = createCall(host, predict);
  for (let i = 0; i < 3000; i++) call(`model-${i}`, () => 1);
  const counts = cells(host).filter((cell) => cell.startsWith("request_count"));
  expect(counts.length).toBe(1025);
  expect(counts.at(-1)).toBe("request_count (other),OK 1976");
});
