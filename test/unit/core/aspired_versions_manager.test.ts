import { describe, expect, test } from "bun:test";
import { EventBus } from "../../../src/base/event_bus.ts";
import { cancelled, internal, type StatusError } from "../../../src/base/status.ts";
import { availabilityPreserving, resourcePreserving } from "../../../src/core/aspired_version_policy.ts";
import { AspiredVersionsManager, type ManagerOptions } from "../../../src/core/aspired_versions_manager.ts";
import type { ServableState } from "../../../src/core/servable_state.ts";
import { FakeHost } from "../../helpers/fake_host.ts";
import { FakeLoader, type FakeServable } from "../../helpers/fake_loader.ts";

function setUp(options: Partial<ManagerOptions> = {}) {
  const host = new FakeHost();
  const bus = new EventBus<ServableState>();
  const events: string[] = [];
  bus.subscribe(({ id, state, error }) => {
    events.push(`${id.name}/${id.version} ${state}${error === undefined ? "" : ` ${error}`}`);
  });
  const manager = new AspiredVersionsManager<FakeServable>(host, bus, {
    policy: availabilityPreserving,
    retry: { maxRetries: 0, intervalMs: 1000 },
    numLoadThreads: 0,
    numUnloadThreads: 0,
    ...options,
  });
  const aspire = (name: string, versions: Record<string, FakeLoader | StatusError>): void =>
    manager.aspire(
      name,
      Object.entries(versions).map(([version, data]) => ({ version: BigInt(version), data })),
    );
  const settle = () => host.clock.settle();
  /** 出来事を取り出して空にする。 */
  const take = () => events.splice(0);
  return { host, manager, aspire, settle, take };
}

/** 借りて、すぐ返す。 */
function versionOf(manager: AspiredVersionsManager<FakeServable>, name: string, version?: bigint): bigint {
  using handle = manager.acquire({ name, version });
  return handle.id.version;
}

function errorOf(run: () => unknown): string {
  try {
    run();
  } catch (thrown) {
    return String(thrown);
  }
  return "no error";
}

describe("acquire()", () => {
  test("lends the latest or the named version, and knows nothing else", async () => {
    const { manager, aspire, settle } = setUp();
    aspire("m", { 0: new FakeLoader(), 1: new FakeLoader() });
    await settle();
    expect(versionOf(manager, "m")).toBe(1n);
    expect(versionOf(manager, "m", 0n)).toBe(0n);
    expect(errorOf(() => manager.acquire({ name: "m", version: 7n }))).toBe(
      "NOT_FOUND: Servable not found for request: Specific(m, 7)",
    );
    expect(errorOf(() => manager.acquire({ name: "x" }))).toBe(
      "NOT_FOUND: Servable not found for request: Latest(x)",
    );
    expect(manager.available()).toEqual([
      { name: "m", version: 1n },
      { name: "m", version: 0n },
    ]);
  });

  test("treats zero and negative numbers as versions", async () => {
    const { manager, aspire, settle } = setUp();
    aspire("m", { 0: new FakeLoader(), "-3": new FakeLoader() });
    await settle();
    expect(versionOf(manager, "m")).toBe(0n);
    expect(versionOf(manager, "m", -3n)).toBe(-3n);
  });

  test("does not lend while loading, nor once unloading began", async () => {
    const { manager, aspire, settle } = setUp();
    const loader = new FakeLoader().held();
    aspire("m", { 1: loader });
    expect(errorOf(() => manager.acquire({ name: "m" }))).toContain("Latest(m)");
    loader.release();
    await settle();
    const handle = manager.acquire({ name: "m" });
    aspire("m", {});
    expect(errorOf(() => manager.acquire({ name: "m", version: 1n }))).toContain("Specific(m, 1)");
    handle[Symbol.dispose]();
    await settle();
  });
});

describe("aspire()", () => {
  test("walks a version through its life and logs it", async () => {
    const { host, aspire, settle, take } = setUp();
    const loader = new FakeLoader();
    aspire("m", { 1: loader });
    await settle();
    expect(take()).toEqual(["m/1 START", "m/1 LOADING", "m/1 AVAILABLE"]);
    expect(host.lines).toEqual([
      "I Successfully reserved resources to load servable {name: m version: 1}",
      "I Approving load for servable version {name: m version: 1}",
      "I Loading servable version {name: m version: 1}",
      "I Successfully loaded servable version {name: m version: 1}",
    ]);
    aspire("m", {});
    await settle();
    expect(take()).toEqual(["m/1 UNLOADING", "m/1 END"]);
    expect([loader.loads, loader.unloads]).toEqual([1, 1]);
  });

  test("loads the highest version first", async () => {
    const { aspire, settle, take } = setUp();
    aspire("m", { 1: new FakeLoader(), 3: new FakeLoader(), 2: new FakeLoader() });
    await settle();
    expect(take().filter((event) => event.endsWith("AVAILABLE"))).toEqual([
      "m/3 AVAILABLE",
      "m/2 AVAILABLE",
      "m/1 AVAILABLE",
    ]);
  });

  test("is idempotent", async () => {
    const { aspire, settle, take } = setUp();
    const first = new FakeLoader();
    const again = new FakeLoader();
    aspire("m", { 1: first });
    await settle();
    take();
    aspire("m", { 1: again });
    await settle();
    expect(take()).toEqual([]);
    expect([first.loads, again.loads]).toEqual([1, 0]);
  });

  test("keeps the old version until the new one serves", async () => {
    const { manager, aspire, settle, take } = setUp();
    aspire("m", { 1: new FakeLoader() });
    await settle();
    const next = new FakeLoader().held();
    aspire("m", { 2: next });
    await settle();
    expect(versionOf(manager, "m")).toBe(1n);
    next.release();
    await settle();
    expect(versionOf(manager, "m")).toBe(2n);
    expect(take().slice(3)).toEqual([
      "m/2 START",
      "m/2 LOADING",
      "m/2 AVAILABLE",
      "m/1 UNLOADING",
      "m/1 END",
    ]);
  });

  test("goes back to a lower version in the same way", async () => {
    const { manager, aspire, settle, take } = setUp();
    aspire("m", { 2: new FakeLoader() });
    await settle();
    aspire("m", { 1: new FakeLoader() });
    await settle();
    expect(versionOf(manager, "m")).toBe(1n);
    expect(take().slice(3)).toEqual([
      "m/1 START",
      "m/1 LOADING",
      "m/1 AVAILABLE",
      "m/2 UNLOADING",
      "m/2 END",
    ]);
  });

  test("keeps the old versions when the new one fails", async () => {
    const { manager, aspire, settle, take } = setUp();
    aspire("m", { 0: new FakeLoader(), 1: new FakeLoader() });
    await settle();
    take();
    aspire("m", { 2: FakeLoader.failing(internal("Error on load.")), 1: new FakeLoader() });
    await settle();
    expect(versionOf(manager, "m")).toBe(1n);
    aspire("n", { 5: FakeLoader.failing(internal("Error on load.")) });
    await settle();
    expect(take()).toEqual([
      "m/2 START",
      "m/0 UNLOADING",
      "m/2 LOADING",
      "m/2 END INTERNAL: Error on load.",
      "m/0 END",
      "n/5 START",
      "n/5 LOADING",
      "n/5 END INTERNAL: Error on load.",
    ]);
  });

  test("keeps one unaspired version until a new one can be loaded", async () => {
    const { manager, aspire, settle, take } = setUp();
    aspire("m", { 0: new FakeLoader(), 1: new FakeLoader() });
    await settle();
    aspire("m", { 7: FakeLoader.failing(internal("An error.")) });
    await settle();
    expect(manager.available()).toEqual([{ name: "m", version: 1n }]);
    take();
    aspire("m", { 8: new FakeLoader() });
    await settle();
    expect(manager.available()).toEqual([{ name: "m", version: 8n }]);
    expect(take()).toEqual(["m/8 START", "m/8 LOADING", "m/8 AVAILABLE", "m/1 UNLOADING", "m/1 END"]);
  });

  test("with the resource preserving policy first unloads, then loads", async () => {
    const { aspire, settle, take } = setUp({ policy: resourcePreserving });
    aspire("m", { 1: new FakeLoader() });
    await settle();
    aspire("m", { 2: new FakeLoader() });
    await settle();
    expect(take().slice(3)).toEqual([
      "m/2 START",
      "m/1 UNLOADING",
      "m/1 END",
      "m/2 LOADING",
      "m/2 AVAILABLE",
    ]);
  });

  test("starts pending unloads before pending loads of other models", async () => {
    const { aspire, settle, take } = setUp();
    aspire("b", { 1: new FakeLoader() });
    await settle();
    take();
    aspire("b", {});
    aspire("a", { 1: new FakeLoader() });
    await settle();
    expect(take().filter((event) => !event.endsWith("START"))[0]).toBe("b/1 UNLOADING");
  });

  test("publishes a version that its source could not prepare as ended", async () => {
    const { manager, aspire, settle, take } = setUp();
    aspire("m", { 1: internal("source error"), 2: new FakeLoader() });
    await settle();
    expect(take()[0]).toBe("m/1 END INTERNAL: source error");
    expect(manager.available()).toEqual([{ name: "m", version: 2n }]);
  });

  test("does not retry a failed version while it stays aspired, but does when it comes back", async () => {
    const { manager, aspire, settle } = setUp();
    aspire("m", { 1: FakeLoader.failing(internal("bad")) });
    await settle();
    const healthy = new FakeLoader();
    aspire("m", { 1: healthy });
    await settle();
    expect(healthy.loads).toBe(0);
    aspire("m", {});
    aspire("m", { 1: healthy });
    await settle();
    expect(versionOf(manager, "m")).toBe(1n);
  });

  test("reloads a version aspired again only after the first one is gone", async () => {
    const { manager, aspire, settle, take } = setUp();
    const first = new FakeLoader();
    aspire("m", { 1: first });
    await settle();
    const handle = manager.acquire({ name: "m" });
    aspire("m", {});
    const second = new FakeLoader();
    aspire("m", { 1: second });
    await settle();
    expect([first.unloads, second.loads]).toEqual([0, 0]);
    handle[Symbol.dispose]();
    await settle();
    expect([first.unloads, second.loads]).toEqual([1, 1]);
    expect(take().slice(3)).toEqual([
      "m/1 UNLOADING",
      "m/1 END",
      "m/1 START",
      "m/1 LOADING",
      "m/1 AVAILABLE",
    ]);
  });

  test("drops a version that was never started, and never loads it with its old loader", async () => {
    const { aspire, settle, take } = setUp({ policy: resourcePreserving });
    const gate = Promise.withResolvers<void>();
    aspire("m", { 1: new FakeLoader().unloadsAfter(gate.promise) });
    await settle();
    const old = new FakeLoader();
    aspire("m", { 2: old });
    await settle();
    const fresh = new FakeLoader();
    aspire("m", {});
    aspire("m", { 2: fresh });
    gate.resolve();
    await settle();
    expect([old.loads, fresh.loads]).toEqual([0, 1]);
    expect(take().slice(5)).toEqual([
      "m/2 END CANCELLED: Loading of servable cancelled",
      "m/2 START",
      "m/1 END",
      "m/2 LOADING",
      "m/2 AVAILABLE",
    ]);
  });
});

describe("retries", () => {
  const error = internal("Error on load.");

  test("try again after the interval and then serve", async () => {
    const { host, aspire, settle, take } = setUp({ retry: { maxRetries: 2, intervalMs: 60_000 } });
    const loader = new FakeLoader([error, error]);
    aspire("m", { 1: loader });
    await settle();
    expect(loader.loads).toBe(1);
    await host.clock.advance(59_999);
    expect(loader.loads).toBe(1);
    await host.clock.advance(1);
    expect(loader.loads).toBe(2);
    expect(take()).toEqual(["m/1 START", "m/1 LOADING"]);
    await host.clock.advance(60_000);
    expect(take()).toEqual(["m/1 AVAILABLE"]);
    expect(host.linesWith("Loading servable: {")).toEqual([
      "E Loading servable: {name: m version: 1} failed: INTERNAL: Error on load.",
      "I Retrying of Loading servable: {name: m version: 1} retry: 1",
      "E Loading servable: {name: m version: 1} failed: INTERNAL: Error on load.",
      "I Retrying of Loading servable: {name: m version: 1} retry: 2",
    ]);
  });

  test("end with the last error when exhausted", async () => {
    const { host, aspire, take } = setUp({ retry: { maxRetries: 1, intervalMs: 10 } });
    aspire("m", { 1: new FakeLoader([internal("first"), internal("last")]) });
    await host.clock.advance(10);
    expect(take().at(-1)).toBe("m/1 END INTERNAL: last");
    expect(host.lines).toContain(
      "I Retrying of Loading servable: {name: m version: 1} exhausted max_num_retries: 1",
    );
    expect(host.lines).toContain("E Servable {name: m version: 1} cannot be loaded: INTERNAL: last");
    expect(host.lines).toContain(
      "I Encountered an error for servable version {name: m version: 1}: INTERNAL: last",
    );
  });

  test("with a negative interval follow at once", async () => {
    const { aspire, settle, take } = setUp({ retry: { maxRetries: 3, intervalMs: -1 } });
    aspire("m", { 1: new FakeLoader([error, error, error]) });
    await settle();
    expect(take().at(-1)).toBe("m/1 AVAILABLE");
  });

  test("stop as soon as the version is no longer aspired", async () => {
    const { host, aspire, settle, take } = setUp({ retry: { maxRetries: 5, intervalMs: 60_000 } });
    const loader = FakeLoader.failing(error);
    aspire("m", { 1: loader });
    await settle();
    aspire("m", {});
    await settle();
    expect(take().at(-1)).toBe("m/1 END CANCELLED: Loading of servable cancelled");
    expect(host.clock.pendingTimers).toBe(0);
    await host.clock.advance(600_000);
    expect(loader.loads).toBe(1);
  });

  test("of one version do not hold up another model", async () => {
    const { manager, aspire, settle } = setUp({ retry: { maxRetries: 5, intervalMs: 60_000 } });
    aspire("bad", { 1: FakeLoader.failing(error) });
    aspire("good", { 1: new FakeLoader() });
    await settle();
    expect(versionOf(manager, "good")).toBe(1n);
  });

  test("hide what is not a status, but log it", async () => {
    const { aspire, settle, take } = setUp();
    aspire("m", { 1: FakeLoader.failing(new RangeError("boom")) });
    await settle();
    expect(take().at(-1)).toBe("m/1 END INTERNAL: Internal error");
  });
});

describe("cancelling", () => {
  test("undoes a load that succeeds although nobody wants it any more", async () => {
    const { aspire, settle, take } = setUp();
    const loader = new FakeLoader().held();
    aspire("m", { 1: loader });
    await settle();
    aspire("m", {});
    await settle();
    expect(loader.signal?.aborted).toBe(true);
    loader.release();
    await settle();
    expect(take()).toEqual(["m/1 START", "m/1 LOADING", "m/1 END CANCELLED: Loading of servable cancelled"]);
    expect(loader.unloads).toBe(1);
  });

  test("leaves the queue of loads without reading anything", async () => {
    const { aspire, settle, take } = setUp();
    const slow = new FakeLoader().held();
    const queued = new FakeLoader();
    aspire("slow", { 1: slow });
    aspire("queued", { 1: queued });
    aspire("queued", {});
    await settle();
    expect(take().at(-1)).toBe("queued/1 END CANCELLED: Loading of servable cancelled");
    slow.release();
    await settle();
    expect(queued.loads).toBe(0);
  });
});

describe("numLoadThreads", () => {
  test.each([
    [0, ["m/2 LOADING"]],
    [1, ["m/2 LOADING"]],
    [2, ["m/2 LOADING", "m/1 LOADING"]],
  ])("%d loads at the same time", async (numLoadThreads, expected) => {
    const { aspire, settle, take } = setUp({ numLoadThreads });
    aspire("m", { 0: new FakeLoader(), 1: new FakeLoader().held(), 2: new FakeLoader().held() });
    await settle();
    expect(take().filter((event) => event.endsWith("LOADING"))).toEqual(expected);
  });

  test("can be raised while loads are waiting", async () => {
    const { manager, aspire, settle, take } = setUp();
    aspire("m", { 0: new FakeLoader(), 1: new FakeLoader().held(), 2: new FakeLoader().held() });
    await settle();
    take();
    manager.numLoadThreads = 8;
    await settle();
    expect(take()).toEqual(["m/1 LOADING", "m/0 LOADING", "m/0 AVAILABLE"]);
  });
});

describe("handles", () => {
  test("keep a version loaded until the last one is returned", async () => {
    const { manager, aspire, settle, take } = setUp();
    const loader = new FakeLoader();
    aspire("m", { 1: loader });
    await settle();
    take();
    const first = manager.acquire({ name: "m" });
    const second = manager.acquire({ name: "m" });
    aspire("m", {});
    await settle();
    expect(take()).toEqual(["m/1 UNLOADING"]);
    first[Symbol.dispose]();
    first[Symbol.dispose]();
    await settle();
    expect(loader.unloads).toBe(0);
    expect(second.servable.loader).toBe(loader);
    second[Symbol.dispose]();
    await settle();
    expect(loader.unloads).toBe(1);
    expect(take()).toEqual(["m/1 END"]);
  });

  test("of a long request do not hold up the unload of another model", async () => {
    const { manager, aspire, settle, take } = setUp();
    aspire("a", { 1: new FakeLoader() });
    aspire("b", { 1: new FakeLoader() });
    await settle();
    using _busy = manager.acquire({ name: "a" });
    aspire("a", {});
    aspire("b", {});
    await settle();
    expect(take().at(-1)).toBe("b/1 END");
  });
});

describe("unload", () => {
  test("that fails still ends the version", async () => {
    const { host, aspire, settle, take } = setUp();
    const gate = Promise.withResolvers<void>();
    aspire("m", { 1: new FakeLoader().unloadsAfter(gate.promise) });
    await settle();
    aspire("m", {});
    await settle();
    gate.reject(new Error("no"));
    await settle();
    expect(take().at(-1)).toBe("m/1 END");
    expect(host.lines).toContain("E Unloading servable version {name: m version: 1} failed");
  });
});

describe("shutdown()", () => {
  test("cancels loads, waits for handles, unloads everything and takes no more wishes", async () => {
    const { manager, aspire, settle, take } = setUp({ numLoadThreads: 4 });
    const slow = new FakeLoader().held();
    aspire("a", { 1: new FakeLoader() });
    aspire("b", { 1: slow });
    await settle();
    const handle = manager.acquire({ name: "a" });
    let done = false;
    const down = manager.shutdown().then(() => {
      done = true;
    });
    slow.release();
    await settle();
    expect(done).toBe(false);
    handle[Symbol.dispose]();
    await down;
    aspire("c", { 1: new FakeLoader() });
    await settle();
    expect(take().slice(-3)).toEqual([
      "a/1 UNLOADING",
      "b/1 END CANCELLED: Loading of servable cancelled",
      "a/1 END",
    ]);
    expect(manager.available()).toEqual([]);
  });

  test("returns at once when nothing is loaded", async () => {
    const { manager } = setUp();
    await manager.shutdown();
    expect(manager.available()).toEqual([]);
  });
});

test("an injected CANCELLED is an ordinary failure", async () => {
  const { aspire, settle, take } = setUp();
  aspire("m", { 1: FakeLoader.failing(cancelled("injected error")) });
  await settle();
  expect(take().at(-1)).toBe("m/1 END CANCELLED: injected error");
});
