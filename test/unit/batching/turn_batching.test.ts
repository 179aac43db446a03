import { describe, expect, test } from "bun:test";
import { invalidArgument } from "../../../src/base/status.ts";
import { TurnBatching } from "../../../src/batching/turn_batching.ts";
import type { PreparedRun, RunContext } from "../../../src/servables/model_servable.ts";
import type { Tensor } from "../../../src/tensor/tensor.ts";
import { FakeHost } from "../../helpers/fake_host.ts";
import { FakeRun, floats, valuesOf } from "../../helpers/fake_run.ts";

function setUp({ runMs = 1, maxDelayMs = 0, rowShapes = [[-1]] } = {}) {
  const host = new FakeHost();
  const model = new FakeRun();
  model.rowShapes = rowShapes;
  let onRun = (_inputs: readonly Tensor[]): readonly Tensor[] | undefined => undefined;
  model.before = (inputs) => {
    host.clock.spend(runMs);
    return onRun(inputs);
  };
  const batching = new TurnBatching(host, () => model, maxDelayMs);
  const run = batching.prepare(["x"], ["y"]);
  return {
    host,
    model,
    batching,
    run,
    /** 実行の代わりに行うこと。 */
    instead: (replacement: typeof onRun) => {
      onRun = replacement;
    },
  };
}

/** 同期で答えたなら値、そうでなければ後で分かる。 */
function start(run: PreparedRun, inputs: readonly Tensor[], context: RunContext = {}) {
  const seen = { result: "waiting" };
  const show = (outputs: readonly Tensor[]) => {
    seen.result = String(outputs.map(valuesOf));
  };
  const outputs = run.run(inputs, context);
  if (outputs instanceof Promise) {
    outputs.then(show, (error) => {
      seen.result = String(error);
    });
  } else {
    show(outputs);
  }
  return seen;
}

describe("prepare()", () => {
  test("coats only runs whose rows are known to be independent, and the same one once", () => {
    const { batching, model, run } = setUp();
    expect(run).not.toBe(model);
    expect(batching.prepare(["x"], ["y"])).toBe(run);
    expect(batching.prepare([], ["y"])).toBe(model);
    const dependent = new FakeRun();
    expect(new TurnBatching(new FakeHost(), () => dependent).prepare(["x"], ["y"])).toBe(dependent);
    batching.close();
  });
});

describe("run()", () => {
  test("answers a lone request at once", async () => {
    const { host, run } = setUp();
    for (const x of [2, 4, 6]) {
      expect(start(run, [floats([1], x)]).result).toBe(`${x / 2 + 2}`);
      await host.clock.settle();
    }
  });

  test("merges what arrives in the same turn, and from then on the first as well", async () => {
    const { host, model, run } = setUp();
    const first = [2, 4, 6].map((x) => start(run, [floats([1], x)]));
    expect(first.map(({ result }) => result)).toEqual(["3", "waiting", "waiting"]);
    await host.clock.settle();
    expect(first.map(({ result }) => result)).toEqual(["3", "4", "5"]);
    expect(model.rows).toEqual([1, 2]);
    const second = [2, 4, 6].map((x) => start(run, [floats([1], x)]));
    expect(second.map(({ result }) => result)).toEqual(["waiting", "waiting", "waiting"]);
    host.clock.turn();
    await Promise.resolve();
    expect(second.map(({ result }) => result)).toEqual(["3", "4", "5"]);
    expect(model.rows).toEqual([1, 2, 3]);
  });

  test("lets the event loop turn between long runs", async () => {
    const { host, model, run } = setUp({ runMs: 6 });
    start(run, [floats([1], 0)]);
    const early = Array.from({ length: 5 }, () => start(run, [floats([100], ...new Array(100).fill(2))]));
    host.clock.turn();
    expect(model.rows).toEqual([1, 200]);
    const late = start(run, [floats([1], 4)]);
    host.clock.turn();
    host.clock.turn();
    expect(model.rows).toEqual([1, 200, 201, 100]);
    await host.clock.settle();
    expect(early.every(({ result }) => result.startsWith("3,3"))).toBe(true);
    expect(late.result).toBe("4");
    expect(host.clock.pendingTimers).toBe(0);
  });

  test("refuses what has waited too long, without running it", async () => {
    const { host, model, run } = setUp({ runMs: 30, maxDelayMs: 20 });
    start(run, [floats([1], 0)]);
    const rows = Array.from({ length: 5 }, () => start(run, [floats([128], ...new Array(128).fill(2))]));
    await host.clock.settle();
    expect(model.rows).toEqual([1, 256]);
    expect(rows.map(({ result }) => result.slice(0, 32))).toEqual([
      ...rows.slice(0, 2).map(({ result }) => result.slice(0, 32)),
      ...new Array(3).fill("UNAVAILABLE: Server is overloade"),
    ]);
    expect(rows[0]!.result).toStartWith("3,3");
  });

  test("runs what waited only because the process was frozen", async () => {
    const { host, run } = setUp({ runMs: 1, maxDelayMs: 20 });
    start(run, [floats([1], 0)]);
    const waiting = start(run, [floats([1], 2)]);
    host.clock.freeze(3000);
    await host.clock.settle();
    expect(waiting.result).toBe("3");
  });

  test("is alone again after a quiet turn", async () => {
    const { host, run } = setUp();
    start(run, [floats([1], 2)]);
    start(run, [floats([1], 2)]);
    await host.clock.settle();
    const waiting = start(run, [floats([1], 2)]);
    expect(waiting.result).toBe("waiting");
    await host.clock.settle();
    expect(start(run, [floats([1], 2)]).result).toBe("3");
  });

  test("never waits for a run that is cheaper than merging", async () => {
    const { host, model, run } = setUp({ runMs: 0.001 });
    for (let i = 0; i < 200; i++) expect(start(run, [floats([1], 2)]).result).toBe("3");
    await host.clock.settle();
    expect(model.rows).toEqual(new Array(200).fill(1));
  });

  test("notices when a cheap run becomes expensive", async () => {
    const { host, run, model, instead } = setUp({ runMs: 0.001 });
    start(run, [floats([1], 2)]);
    await host.clock.settle();
    instead(() => {
      host.clock.spend(1);
      return undefined;
    });
    for (let i = 0; i < 2000; i++) start(run, [floats([1], 2)]);
    model.calls.length = 0;
    await host.clock.settle();
    expect(model.rows.length).toBeGreaterThan(1);
    expect(Math.max(...model.rows.map(Number))).toBe(256);
  });

  test("notices under steady load that a run has become cheap", async () => {
    const { host, model, run } = setUp();
    const costs = [1, 1];
    model.before = () => {
      host.clock.spend(costs.shift() ?? 0.001);
      return undefined;
    };
    let merged = 0;
    for (let turn = 0; turn < 40; turn++) {
      const first = start(run, [floats([1], 2)]);
      start(run, [floats([1], 2)]);
      start(run, [floats([1], 2)]);
      if (first.result === "waiting") merged++;
      await host.clock.settle();
    }
    expect(merged).toBeGreaterThan(0);
    expect(start(run, [floats([1], 2)]).result).toBe("3");
    expect(start(run, [floats([1], 2)]).result).toBe("3");
  });

  test("does not queue large requests, nor those it cannot count", async () => {
    const { host, model, run } = setUp();
    start(run, [floats([1], 0)]);
    for (const shape of [[129], [0], []]) {
      const input = floats(shape, ...new Array(shape[0] ?? 1).fill(0));
      expect(start(run, [input]).result).not.toBe("waiting");
    }
    await host.clock.settle();
    expect(model.rows).toEqual([1, 129, 0, undefined]);
  });

  test("merges only equal shapes, and at most 256 rows", async () => {
    const { host, model, run } = setUp({ rowShapes: [[-1, -1]] });
    start(run, [floats([1, 1], 0)]);
    const results = [
      start(run, [floats([1, 2], 0, 2)]),
      start(run, [floats([100, 1], ...new Array(100).fill(0))]),
      start(run, [floats([1, 2], 4, 6)]),
      start(run, [floats([100, 1], ...new Array(100).fill(0))]),
      start(run, [floats([100, 1], ...new Array(100).fill(0))]),
    ];
    await host.clock.settle();
    expect(model.rows).toEqual([1, 2, 200, 100]);
    expect([results[0]!.result, results[2]!.result]).toEqual(["2,3", "4,5"]);
  });

  test("keeps one request's error from the others", async () => {
    const { host, run, instead } = setUp();
    instead(([x]) => {
      if (valuesOf(x!).includes(13)) throw invalidArgument("unlucky");
      return undefined;
    });
    start(run, [floats([1], 0)]);
    const results = [2, 13, 4].map((x) => start(run, [floats([1], x)]));
    await host.clock.settle();
    expect(results.map(({ result }) => result)).toEqual(["3", "INVALID_ARGUMENT: unlucky", "4"]);
  });

  test("does not queue what is not of the shapes for which rows are independent", async () => {
    const { host, model, run } = setUp({ rowShapes: [[-1, 3, -1]] });
    start(run, [floats([1, 3, 1], 0, 0, 0)]);
    for (const shape of [[1], [1, 2, 1], [1, 3, 1, 1]]) {
      const size = shape.reduce((a, b) => a * b, 1);
      expect(start(run, [floats(shape, ...new Array(size).fill(0))]).result).not.toBe("waiting");
    }
    expect(start(run, [floats([1, 3, 2], 0, 0, 0, 0, 0, 0)]).result).toBe("waiting");
    await host.clock.settle();
    expect(model.calls.length).toBe(5);
  });

  test("dimensions that are open must be the same in every input", async () => {
    const { host, run } = setUp({
      rowShapes: [
        [-1, -1],
        [-1, 2],
        [-1, -1],
      ],
    });
    const inputs = (...columns: number[]) => columns.map((n) => floats([1, n], ...new Array(n).fill(0)));
    start(run, inputs(3, 2, 3));
    expect(start(run, inputs(3, 2, 3)).result).toBe("waiting");
    expect(start(run, inputs(3, 2, 4)).result).not.toBe("waiting");
    await host.clock.settle();
  });

  test("runs requests one by one when the merged outputs do not have their rows", async () => {
    const { host, run, model, instead } = setUp();
    instead(() => [floats([1], 9)]);
    start(run, [floats([1], 0)]);
    const results = [1, 2].map((x) => start(run, [floats([1], x)]));
    await host.clock.settle();
    expect(results.map(({ result }) => result)).toEqual(["9", "9"]);
    expect(model.rows).toEqual([1, 2, 1, 1]);
  });

  test("leaves out whoever is gone or too late, and runs until the latest deadline", async () => {
    const { host, model, run } = setUp();
    const gone = AbortSignal.abort();
    start(run, [floats([1], 0)]);
    const results = [
      start(run, [floats([1], 2)], { signal: gone }),
      start(run, [floats([1], 2)], { deadlineMs: 1 }),
      start(run, [floats([1], 2)], { deadlineMs: 500 }),
      start(run, [floats([1], 2)], { deadlineMs: 400 }),
    ];
    await host.clock.settle();
    expect(results.map(({ result }) => result)).toEqual([
      "CANCELLED: Run call was cancelled",
      "DEADLINE_EXCEEDED: Timed out waiting for notification",
      "3",
      "3",
    ]);
    expect(model.rows).toEqual([1, 2]);
    expect(model.calls.at(-1)?.context).toEqual({ deadlineMs: 500 });
  });

  test("works with asynchronous models", async () => {
    const { host, model, run } = setUp();
    model.asynchronous = true;
    const results = [2, 4, 6].map((x) => start(run, [floats([1], x)]));
    await host.clock.settle();
    expect(results.map(({ result }) => result)).toEqual(["3", "4", "5"]);
    expect(model.rows).toEqual([1, 2]);
    const alone = start(run, [floats([1], 2)]);
    await host.clock.settle();
    expect(alone.result).toBe("3");
  });

  test("separates an asynchronous batch that failed", async () => {
    const { host, model, run } = setUp();
    model.asynchronous = true;
    const plain = model.run.bind(model);
    model.run = (inputs, context) =>
      inputs[0]!.shape[0] === 1 ? plain(inputs, context) : Promise.reject(invalidArgument("only one row"));
    const results = [2, 4, 6].map((x) => start(run, [floats([1], x)]));
    await host.clock.settle();
    expect(results.map(({ result }) => result)).toEqual(["3", "4", "5"]);
  });
});
