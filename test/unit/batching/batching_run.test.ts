import { describe, expect, test } from "bun:test";
import { invalidArgument } from "../../../src/base/status.ts";
import { BatchScheduler } from "../../../src/batching/batch_scheduler.ts";
import type { QueueOptions } from "../../../src/batching/batching_parameters.ts";
import { QueuedBatching } from "../../../src/batching/batching_run.ts";
import type { PreparedRun, RunContext } from "../../../src/servables/model_servable.ts";
import type { Tensor } from "../../../src/tensor/tensor.ts";
import { FakeHost } from "../../helpers/fake_host.ts";
import { FakeRun, floats, valuesOf } from "../../helpers/fake_run.ts";

function setUp(options: Partial<QueueOptions> = {}, threads = 1) {
  const host = new FakeHost();
  const scheduler = new BatchScheduler(host, threads);
  const inner = new Map<string, FakeRun>();
  const maxBatchSize = options.maxBatchSize ?? 4;
  const batching = new QueuedBatching(
    host,
    scheduler,
    {
      maxBatchSize,
      batchTimeoutMs: 0,
      maxEnqueuedBatches: 10,
      allowedBatchSizes: [],
      padVariableLengthInputs: false,
      enableLargeBatchSplitting: false,
      maxExecutionBatchSize: maxBatchSize,
      ...options,
    },
    (feeds, fetches) => {
      const run = new FakeRun(feeds.length);
      inner.set(`${feeds} → ${fetches}`, run);
      return run;
    },
  );
  const run = batching.prepare(["x"], ["y"]);
  return { host, scheduler, batching, inner, run, model: inner.get("x → y")! };
}

/** 走らせ、結果の値か失敗の文を後で読めるようにする。 */
function start(run: PreparedRun, inputs: readonly Tensor[], context: RunContext = {}) {
  const seen: { result: string } = { result: "waiting" };
  Promise.resolve(run.run(inputs, context)).then(
    (outputs) => {
      seen.result = outputs.map((output) => `[${output.shape}] ${valuesOf(output)}`).join("; ");
    },
    (error) => {
      seen.result = String(error);
    },
  );
  return seen;
}

describe("a client that has gone while waiting", () => {
  test("is left out of the batch, the others run", async () => {
    const { host, run, model } = setUp({ batchTimeoutMs: 1000 });
    const gone = new AbortController();
    const a = start(run, [floats([2], 100, 42)], { signal: gone.signal });
    const b = start(run, [floats([1], 2)], { signal: new AbortController().signal });
    await host.clock.settle();
    gone.abort();
    await host.clock.advance(1000);
    expect([a.result, b.result]).toEqual(["CANCELLED: Run call was cancelled", "[1] 3"]);
    expect(model.rows).toEqual([1]);
  });

  test("alone in its batch costs no run, in pieces neither", async () => {
    const { host, run, model } = setUp({
      batchTimeoutMs: 1000,
      enableLargeBatchSplitting: true,
      maxBatchSize: 8,
      maxExecutionBatchSize: 4,
    });
    const gone = new AbortController();
    const seen = start(run, [floats([8], 1, 2, 3, 4, 5, 6, 7, 8)], { signal: gone.signal });
    gone.abort();
    await host.clock.advance(1000);
    expect(seen.result).toBe("CANCELLED: Run call was cancelled");
    expect(model.rows).toEqual([]);
  });
});

describe("merging", () => {
  test("fills a batch and gives everyone their own rows, without waiting for the timeout", async () => {
    const { host, run, model } = setUp({ batchTimeoutMs: 1000 });
    const a = start(run, [floats([2], 100, 42)]);
    const b = start(run, [floats([2], 71.5, 18.25)]);
    await host.clock.settle();
    expect([a.result, b.result]).toEqual(["[2] 52,23", "[2] 37.75,11.125"]);
    expect(model.rows).toEqual([4]);
  });

  test("waits for company until the oldest request is too old", async () => {
    const { host, run, model } = setUp({ batchTimeoutMs: 10 });
    const a = start(run, [floats([1], 2)]);
    await host.clock.advance(9);
    const b = start(run, [floats([1], 4)]);
    await host.clock.advance(0.5);
    expect([a.result, b.result]).toEqual(["waiting", "waiting"]);
    await host.clock.advance(0.5);
    expect([a.result, b.result]).toEqual(["[1] 3", "[1] 4"]);
    expect(model.rows).toEqual([2]);
    expect(host.clock.pendingTimers).toBe(0);
  });

  test("with timeout 0 runs a lone request in the same turn", async () => {
    const { host, run, model } = setUp();
    const a = start(run, [floats([1], 2)]);
    await Promise.resolve();
    host.clock.turn();
    expect(model.rows).toEqual([1]);
    await host.clock.settle();
    expect(a.result).toBe("[1] 3");
  });

  test("closes a batch when the next request does not fit, and keeps the order", async () => {
    const { host, run, model } = setUp();
    const results = [3, 2, 1, 4].map((rows) => start(run, [floats([rows], ...new Array(rows).fill(rows))]));
    await host.clock.settle();
    expect(model.rows).toEqual([3, 3, 4]);
    expect(results.map(({ result }) => result)).toEqual([
      "[3] 3.5,3.5,3.5",
      "[2] 3,3",
      "[1] 2.5",
      "[4] 4,4,4,4",
    ]);
  });

  test("does not care about the order of names, and answers in each caller's order", async () => {
    const { host, batching, inner } = setUp();
    const ab = batching.prepare(["a", "b"], ["p", "q"]);
    const ba = batching.prepare(["b", "a"], ["q", "p"]);
    const first = start(ab, [floats([1], 0), floats([1], 2)]);
    const second = start(ba, [floats([1], 6), floats([1], 4)]);
    await host.clock.settle();
    expect([first.result, second.result]).toEqual(["[1] 2; [1] 3", "[1] 5; [1] 4"]);
    expect(inner.get("a,b → p,q")!.rows).toEqual([2]);
    expect(batching.prepare(["a", "b"], ["p", "q"])).toBe(ab);
  });

  test("keeps different sets of tensors apart", async () => {
    const { host, batching, inner, run } = setUp({ batchTimeoutMs: 10 });
    const other = batching.prepare(["x"], ["z"]);
    const a = start(run, [floats([2], 0, 0)]);
    const b = start(other, [floats([2], 0, 0)]);
    await host.clock.advance(9);
    expect([a.result, b.result]).toEqual(["waiting", "waiting"]);
    await host.clock.advance(1);
    expect(inner.get("x → y")!.rows).toEqual([2]);
    expect(inner.get("x → z")!.rows).toEqual([2]);
  });

  test("runs no further batch of a closed version's queue", async () => {
    const { host, batching, run, model } = setUp();
    batching.close();
    start(run, [floats([1], 0)]);
    await host.clock.settle();
    expect(model.rows).toEqual([]);
  });
});

describe("padding", () => {
  test.each([
    [[2, 4], 2, 2],
    [[1, 3, 4], 2, 3],
  ])("allowed sizes %j run %d rows as %d", async (allowedBatchSizes, rows, executed) => {
    const { host, run, model } = setUp({ allowedBatchSizes });
    const a = start(run, [floats([rows], ...new Array(rows).fill(2))]);
    await host.clock.settle();
    expect(model.rows).toEqual([executed]);
    expect(a.result).toBe("[2] 3,3");
  });

  test("says so when a batch is larger than every allowed size", async () => {
    const { host, run, model } = setUp({
      maxBatchSize: 4,
      maxExecutionBatchSize: 4,
      allowedBatchSizes: [1, 2],
    });
    start(run, [floats([3], 1, 2, 3)]);
    await host.clock.settle();
    expect(model.rows).toEqual([3]);
    expect(host.lines).toEqual([
      "W Input batch size 3 is greater than largest allowed size 2 ignoring allowed sizes constraint.",
    ]);
  });

  test("of variable lengths is not taken back from the outputs", async () => {
    const { host, run } = setUp({ maxBatchSize: 2, padVariableLengthInputs: true });
    const a = start(run, [floats([1, 2, 2], 1, 2, 3, 4)]);
    const b = start(run, [floats([1, 3, 3], 5, 6, 7, 8, 9, 10, 11, 12, 13)]);
    await host.clock.settle();
    expect(a.result).toBe("[1,3,3] 2.5,3,2.5,3.5,4,2.5,2.5,2.5,2.5");
    expect(b.result).toBe("[1,3,3] 4.5,5,5.5,6,6.5,7,7.5,8,8.5");
  });
});

describe("refusals", () => {
  test("before queueing", async () => {
    const { host, batching, run, model } = setUp({ maxBatchSize: 3 });
    const two = batching.prepare(["a", "b"], ["p", "q"]);
    const results = [
      start(run, [floats([4], 1, 2, 3, 4)]),
      start(run, [floats([], 1)]),
      start(two, [floats([1], 1), floats([2], 1, 2)]),
      start(batching.prepare([], ["y"]), []),
    ];
    await host.clock.settle();
    expect(results.map(({ result }) => result)).toEqual([
      "INVALID_ARGUMENT: Task size 4 is larger than maximum input batch size 3",
      "INVALID_ARGUMENT: Batching Run() input tensors must have at least one dimension",
      "INVALID_ARGUMENT: Batching Run() input tensors must have equal 0th-dimension size",
      "INVALID_ARGUMENT: Batching Run() must have at least one input tensor",
    ]);
    expect(model.calls).toEqual([]);
    expect(
      host.metrics.snapshot().find(({ name }) => name.endsWith("processed_batch_size"))?.cells[0]?.count,
    ).toBe(0);
  });

  test("of the whole batch when shapes differ", async () => {
    const { host, run } = setUp();
    const a = start(run, [floats([1, 1], 1)]);
    const b = start(run, [floats([1, 2], 1, 2)]);
    await host.clock.settle();
    expect(a.result).toStartWith(
      "FAILED_PRECONDITION: Tensors with name 'x' from different tasks have different shapes",
    );
    expect(b.result).toBe(a.result);
  });

  test("when the queue is full", async () => {
    const { host, run } = setUp({ maxBatchSize: 2, maxEnqueuedBatches: 2, batchTimeoutMs: 1000 });
    const results = [2, 2, 1].map((rows) => start(run, [floats([rows], ...new Array(rows).fill(0))]));
    await host.clock.settle();
    expect(results.map(({ result }) => result)).toEqual([
      "[2] 2,2",
      "[2] 2,2",
      "UNAVAILABLE: The batch scheduling queue to which this task was submitted is full; currently 2 batches enqueued and max_enqueued_batches is 2",
    ]);
  });

  test("of outputs without the batch dimension", async () => {
    const { host, run, model } = setUp();
    model.before = () => [floats([], 1)];
    const a = start(run, [floats([1], 1)]);
    await host.clock.settle();
    model.before = () => [floats([3], 1, 2, 3)];
    const b = start(run, [floats([1], 1)]);
    await host.clock.settle();
    expect(a.result).toBe("FAILED_PRECONDITION: Batched output tensor has 0 dimensions");
    expect(b.result).toStartWith(
      "FAILED_PRECONDITION: Batched output tensor's 0th dimension does not equal the sum",
    );
  });

  test.each([false, true])(
    "by the model reach everyone in the batch (asynchronous: %p)",
    async (asynchronous) => {
      const { host, run, model } = setUp();
      model.before = () => {
        if (!asynchronous) throw invalidArgument("bad");
        return undefined;
      };
      if (asynchronous) model.run = () => Promise.reject(invalidArgument("bad"));
      const results = [start(run, [floats([1], 1)]), start(run, [floats([1], 2)])];
      await host.clock.settle();
      expect(results.map(({ result }) => result)).toEqual(["INVALID_ARGUMENT: bad", "INVALID_ARGUMENT: bad"]);
    },
  );
});

describe("large batch splitting", () => {
  const splitting = {
    maxBatchSize: 6,
    maxExecutionBatchSize: 3,
    enableLargeBatchSplitting: true,
  };

  test("cuts a request to fit, and joins the pieces in order", async () => {
    const { host, run, model } = setUp(splitting);
    const a = start(run, [floats([1], 0)]);
    const b = start(run, [floats([6], 2, 4, 6, 8, 10, 12)]);
    await host.clock.settle();
    expect(model.rows).toEqual([3, 3, 1]);
    expect([a.result, b.result]).toEqual(["[1] 2", "[6] 3,4,5,6,7,8"]);
  });

  test("refuses only what exceeds the capacity", async () => {
    const { host, run } = setUp({ ...splitting, maxEnqueuedBatches: 2, batchTimeoutMs: 1000 });
    const results = [
      start(run, [floats([5], 1, 2, 3, 4, 5)]),
      start(run, [floats([2], 1, 2)]),
      start(run, [floats([7], 1, 2, 3, 4, 5, 6, 7)]),
    ];
    await host.clock.advance(1000);
    expect(results.map(({ result }) => result)).toEqual([
      "[5] 2.5,3,3.5,4,4.5",
      "UNAVAILABLE: The batch scheduling queue to which this task was submitted is full; task size is 2 but scheduling capacity is only 1 (num_enqueued_batches=2, max_enqueued_batches=2, open_batch_size=2, max_execution_batch_size=3)",
      "INVALID_ARGUMENT: Task size 7 is larger than maximum input batch size 6",
    ]);
  });

  test("fails the request with the first error of its pieces", async () => {
    const { host, run, model } = setUp(splitting);
    model.before = () => {
      throw invalidArgument(`bad ${model.calls.length}`);
    };
    const a = start(run, [floats([6], 1, 2, 3, 4, 5, 6)]);
    await host.clock.settle();
    expect(a.result).toBe("INVALID_ARGUMENT: bad 1");
  });
});

describe("deadlines", () => {
  test("that all passed in the queue refuse the batch", async () => {
    const { host, run, model } = setUp({ batchTimeoutMs: 10 });
    const a = start(run, [floats([1], 1)], { deadlineMs: 1 });
    const b = start(run, [floats([1], 2)], { deadlineMs: 10 });
    await host.clock.advance(10);
    const expected = "RESOURCE_EXHAUSTED: Run() timeout exceeded while waiting in batching queue";
    expect([a.result, b.result]).toEqual([expected, expected]);
    expect(model.calls).toEqual([]);
  });

  test("give the batch the latest of them", async () => {
    const { host, run, model } = setUp({ batchTimeoutMs: 10 });
    const a = start(run, [floats([1], 1)], { deadlineMs: 1 });
    const b = start(run, [floats([1], 2)], { deadlineMs: 50 });
    await host.clock.advance(10);
    expect([a.result, b.result]).toEqual(["[1] 2.5", "[1] 3"]);
    start(run, [floats([1], 1)], { deadlineMs: 60 });
    start(run, [floats([1], 1)]);
    await host.clock.advance(10);
    expect(model.calls.map(({ context }) => context.deadlineMs)).toEqual([50, undefined]);
  });
});

describe("scheduling", () => {
  test("goes round the queues", async () => {
    const { host, batching, inner, run } = setUp({ maxBatchSize: 1 });
    const order: string[] = [];
    const other = batching.prepare(["x"], ["z"]);
    for (const [name, model] of inner) {
      model.before = () => {
        order.push(name.at(-1)!);
        return undefined;
      };
    }
    for (const each of [run, run, run, other, other]) start(each, [floats([1], 0)]);
    await host.clock.settle();
    expect(order.join("")).toBe("yzyzy");
  });

  test("runs as many asynchronous batches at a time as there are threads", async () => {
    const { host, run, model } = setUp({ maxBatchSize: 1 }, 2);
    const gates = [1, 2, 3].map(() => Promise.withResolvers<readonly Tensor[]>());
    let started = 0;
    model.run = () => gates[started++]!.promise;
    const results = [1, 2, 3].map((x) => start(run, [floats([1], x)]));
    await host.clock.settle();
    expect(started).toBe(2);
    gates[0]!.resolve([floats([1], 9)]);
    await host.clock.settle();
    expect([started, results[0]!.result]).toEqual([3, "[1] 9"]);
  });

  test("hurries at the end", async () => {
    const { host, scheduler, run } = setUp({ batchTimeoutMs: 1000 });
    const a = start(run, [floats([1], 2)]);
    await host.clock.settle();
    expect(a.result).toBe("waiting");
    scheduler.hurry();
    await host.clock.settle();
    expect(a.result).toBe("[1] 3");
  });
});

test("metrics have TensorFlow Serving's names and values", async () => {
  const { host, run } = setUp({ allowedBatchSizes: [1, 3, 4], batchTimeoutMs: 5 });
  start(run, [floats([2], 1, 2)]);
  await host.clock.advance(5);
  const cells = Object.fromEntries(
    host.metrics
      .snapshot()
      .map(({ name, limits, cells }) => [
        name.replace("/tensorflow/serving/batching_session/", ""),
        [limits.length, ...cells.map(({ labelValues, value }) => `${labelValues} ${value}`)],
      ]),
  );
  expect(cells).toEqual({
    queuing_latency: [52, " 5000"],
    wrapped_run_count: [0, " 1"],
    padding_size: [14, "3 1"],
    input_batch_size: [14, " 2"],
    processed_batch_size: [14, " 3"],
  });
});
