import { describe, expect, test } from "bun:test";
import { EventBus } from "../../../src/base/event_bus.ts";
import { internal } from "../../../src/base/status.ts";
import { LOAD_CANCELLED } from "../../../src/core/loader_harness.ts";
import type { ServableRequest } from "../../../src/core/servable_id.ts";
import type { ManagerState, ServableState } from "../../../src/core/servable_state.ts";
import { describeFailure, ServableStateMonitor } from "../../../src/core/servable_state_monitor.ts";

const never = new AbortController().signal;

function setUp() {
  const bus = new EventBus<ServableState>();
  const monitor = new ServableStateMonitor(bus);
  const publish = (name: string, version: bigint, state: ManagerState, error?: ServableState["error"]) =>
    bus.publish(
      error === undefined ? { id: { name, version }, state } : { id: { name, version }, state, error },
    );
  /** 待ちの結果を文にする。まだなら `waiting`。 */
  const watch = (requests: readonly ServableRequest[], signal = never) => {
    const seen = { result: "waiting" };
    monitor.waitUntil(requests, "AVAILABLE", signal).then(
      ({ reached, states }) => {
        seen.result = `${reached} ${states.map(({ id, state }) => `${id.name}/${id.version} ${state}`).join(", ")}`;
      },
      (reason: unknown) => {
        seen.result = String(reason);
      },
    );
    return async () => {
      await Promise.resolve();
      await Promise.resolve();
      return seen.result;
    };
  };
  return { bus, monitor, publish, watch };
}

describe("versions()", () => {
  test("lists every version ever seen, highest first, ended ones included", () => {
    const { monitor, publish } = setUp();
    publish("m", 2n, "AVAILABLE");
    publish("m", 10n, "START");
    publish("m", -1n, "LOADING");
    publish("m", 2n, "END");
    expect(monitor.versions("m").map(({ id, state }) => `${id.version} ${state}`)).toEqual([
      "10 START",
      "2 END",
      "-1 LOADING",
    ]);
    expect(monitor.versions("x")).toEqual([]);
    expect(monitor.state({ name: "m", version: 2n })?.state).toBe("END");
    expect(monitor.state({ name: "m", version: 3n })).toBeUndefined();
  });
});

describe("waitUntil()", () => {
  test("on nothing is reached at once", async () => {
    expect(await setUp().watch([])()).toBe("true ");
  });

  test("is reached when every request is, looking at what already happened", async () => {
    const { publish, watch } = setUp();
    publish("a", 1n, "AVAILABLE");
    const look = watch([{ name: "b" }, { name: "a" }]);
    publish("b", 3n, "LOADING");
    expect(await look()).toBe("waiting");
    publish("b", 3n, "AVAILABLE");
    expect(await look()).toBe("true a/1 AVAILABLE, b/3 AVAILABLE");
  });

  test("reports a specific version that ended", async () => {
    const { publish, watch } = setUp();
    const look = watch([{ name: "m", version: 1n }]);
    publish("m", 2n, "AVAILABLE");
    expect(await look()).toBe("waiting");
    publish("m", 1n, "END");
    expect(await look()).toBe("false m/1 END");
  });

  test("takes the highest decisive version of a stream", async () => {
    const { publish, watch } = setUp();
    publish("m", 1n, "AVAILABLE");
    publish("m", 2n, "END", internal("bad"));
    publish("m", 3n, "LOADING");
    expect(await watch([{ name: "m" }])()).toBe("false m/2 END");
  });

  test("does not take withdrawn or unloaded versions for a failure", async () => {
    const { publish, watch } = setUp();
    const look = watch([{ name: "m" }]);
    publish("m", 1n, "END", LOAD_CANCELLED);
    publish("m", 2n, "END");
    expect(await look()).toBe("waiting");
    publish("m", 3n, "AVAILABLE");
    expect(await look()).toBe("true m/3 AVAILABLE");
  });

  test("gives up with the signal", async () => {
    const { publish, watch } = setUp();
    const stop = new AbortController();
    const look = watch([{ name: "m" }], stop.signal);
    stop.abort("stopped");
    expect(await look()).toBe("stopped");
    publish("m", 1n, "AVAILABLE");
    expect(await watch([{ name: "x" }], stop.signal)()).toBe("stopped");
  });
});

test("a disposed monitor no longer listens", () => {
  const { monitor, publish } = setUp();
  monitor[Symbol.dispose]();
  publish("m", 1n, "AVAILABLE");
  expect(monitor.versions("m")).toEqual([]);
});

describe("describeFailure()", () => {
  test("names each failed version with its reason", () => {
    const text = describeFailure("servable(s)", {
      reached: false,
      states: [
        { id: { name: "a", version: 1n }, state: "AVAILABLE" },
        { id: { name: "b", version: 2n }, state: "END", error: internal("bad") },
        { id: { name: "c", version: 3n }, state: "END" },
      ],
    });
    expect(text).toBe(
      "2 servable(s) did not become available: {{{name: b version: 2} due to error: INTERNAL: bad}, {{name: c version: 3}}, }",
    );
  });
});
