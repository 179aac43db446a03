import { describe, expect, test } from "bun:test";
import { cancelled, internal } from "../../../src/base/status.ts";
import { availabilityPreserving } from "../../../src/core/aspired_version_policy.ts";
import type { ServableId } from "../../../src/core/servable_id.ts";
import type { ModelConfig, ModelServerConfig } from "../../../src/sources/model_config.ts";
import type { ModelSpec } from "../../../src/sources/models.ts";
import { ServerCore, type ServerCoreOptions } from "../../../src/sources/server_core.ts";
import { FakeHost } from "../../helpers/fake_host.ts";
import { FakeLoader, type FakeServable } from "../../helpers/fake_loader.ts";
import { FakeTree } from "../../helpers/fake_tree.ts";

const list = (...models: (Partial<ModelConfig> & { name: string })[]): ModelServerConfig => ({
  kind: "list",
  models: models.map((model) => ({
    basePath: `/${model.name}`,
    modelType: 0,
    modelPlatform: "tensorflow",
    versionPolicy: { kind: "all" },
    versionLabels: new Map(),
    ...model,
  })),
});
const labels = (entries: Record<string, bigint>) => new Map(Object.entries(entries));

function setUp(paths: readonly string[], options: Partial<ServerCoreOptions<FakeServable>> = {}) {
  const host = new FakeHost();
  const tree = new FakeTree(...paths);
  /** 版の場所 → そこを読むローダー。無ければ成功するもの。 */
  const loaders = new Map<string, FakeLoader>();
  const core = new ServerCore<FakeServable>(host, tree, {
    manager: {
      policy: availabilityPreserving,
      retry: { maxRetries: 0, intervalMs: 0 },
      numLoadThreads: 0,
      numUnloadThreads: 0,
    },
    numInitialLoadThreads: 8,
    fileSystemPollWaitSeconds: 1,
    allowVersionLabelsForUnavailableModels: false,
    platforms: new Map([
      [
        "tensorflow",
        (_id: ServableId, path: string) => {
          const loader = loaders.get(path) ?? new FakeLoader();
          loaders.set(path, loader);
          return loader;
        },
      ],
      ["other", () => new FakeLoader()],
    ]),
    ...options,
  });
  const reload = async (config: ModelServerConfig): Promise<string> => {
    try {
      await core.reloadConfig(config);
      return "OK";
    } catch (thrown) {
      return String(thrown);
    }
  };
  const acquire = (spec: ModelSpec): string => {
    try {
      using handle = core.acquire(spec);
      return `${handle.id.name}/${handle.id.version}`;
    } catch (thrown) {
      return String(thrown);
    }
  };
  const statuses = (name: string): string =>
    core
      .statuses(name)
      .map(({ id, state, error }) => `${id.version} ${state}${error === undefined ? "" : ` ${error}`}`)
      .join(", ");
  return { host, tree, loaders, core, reload, acquire, statuses };
}

describe("start", () => {
  test("returns only when every model is available, and logs in order", async () => {
    const { host, loaders, core, reload, acquire } = setUp(["/a/1", "/b/1"]);
    const slow = new FakeLoader().held();
    loaders.set("/b/1", slow);
    let done = "";
    const start = reload(list({ name: "a" }, { name: "b" })).then((result) => {
      done = result;
    });
    await host.clock.settle();
    expect([done, acquire({ name: "a" })]).toEqual(["", "a/1"]);
    slow.release();
    await start;
    expect(done).toBe("OK");
    expect(acquire({ name: "b", version: 1n })).toBe("b/1");
    expect(core.list()).toEqual(["a", "b"]);
    expect(core.available()).toHaveLength(2);
    expect(host.lines.slice(0, 3)).toEqual([
      "I Adding/updating models.",
      "I  (Re-)adding model: a",
      "I  (Re-)adding model: b",
    ]);
    expect(host.lines.at(-1)).toBe("I Finished adding/updating models");
  });

  test("loads everything side by side, later only numLoadThreads", async () => {
    const { host, tree, loaders, reload } = setUp(["/a/1", "/a/2"]);
    for (const path of ["/a/1", "/a/2"]) loaders.set(path, new FakeLoader().held());
    const start = reload(list({ name: "a" }));
    await host.clock.settle();
    expect([...loaders.values()].map(({ loads }) => loads)).toEqual([1, 1]);
    for (const loader of loaders.values()) loader.release();
    expect(await start).toBe("OK");
    for (const path of ["/a/3", "/a/4"]) {
      tree.add(path);
      loaders.set(path, new FakeLoader().held());
    }
    await host.clock.advance(1000);
    expect([loaders.get("/a/3")?.loads, loaders.get("/a/4")?.loads]).toEqual([0, 1]);
  });

  test("fails with the reason of each model that could not be loaded", async () => {
    const { loaders, reload, statuses } = setUp(["/m/1", "/n/2"]);
    loaders.set("/m/1", FakeLoader.failing(cancelled("injected error")));
    expect(await reload(list({ name: "m" }, { name: "n" }))).toBe(
      "UNKNOWN: 1 servable(s) did not become available: {{{name: m version: 1} due to error: CANCELLED: injected error}, }",
    );
    expect(statuses("m")).toBe("1 END CANCELLED: injected error");
    expect(statuses("n")).toBe("2 AVAILABLE");
  });

  test("waits for ever for a base path, and starts when it appears", async () => {
    const { host, tree, reload } = setUp([]);
    let done = "";
    const start = reload(list({ name: "m" })).then((result) => {
      done = result;
    });
    await host.clock.advance(3_600_000);
    expect(done).toBe("");
    tree.add("/m/1");
    await host.clock.advance(1000);
    await start;
    expect(done).toBe("OK");
  });

  test("is not failed by a version that is replaced while it loads", async () => {
    const { host, tree, loaders, reload, acquire } = setUp(["/m/1"]);
    const slow = new FakeLoader().held();
    loaders.set("/m/1", slow);
    const start = reload(list({ name: "m", versionPolicy: { kind: "latest", numVersions: 1 } }));
    await host.clock.settle();
    tree.add("/m/2");
    loaders.set("/m/2", new FakeLoader().held());
    await host.clock.advance(1000);
    slow.release();
    await host.clock.settle();
    loaders.get("/m/2")?.release();
    expect(await start).toBe("OK");
    expect(acquire({ name: "m" })).toBe("m/2");
  });

  test.each([[{ kind: "list", models: [] }], [{ kind: "none" }]] as [ModelServerConfig][])(
    "with %o serves nothing and accepts reloads",
    async (config) => {
      const { core, reload, acquire } = setUp(["/m/1"]);
      expect(await reload(config)).toBe("OK");
      expect(core.list()).toEqual([]);
      expect(await reload(list({ name: "m" }))).toBe("OK");
      expect(acquire({ name: "m" })).toBe("m/1");
    },
  );

  test("logs that an empty config does nothing", async () => {
    const { host, reload } = setUp([]);
    await reload({ kind: "none" });
    expect(host.lines).toEqual(["I Taking no action for empty config."]);
  });

  test("does not support a custom config", async () => {
    const { reload } = setUp([]);
    expect(await reload({ kind: "custom" })).toBe(
      "INVALID_ARGUMENT: ModelServer does not yet support custom model config.",
    );
    expect(await reload(list())).toContain("Cannot transition to requested config.");
  });

  test("ends its waiting on shutdown()", async () => {
    const { host, core, reload } = setUp([]);
    const start = reload(list({ name: "m" }));
    await host.clock.settle();
    await core.shutdown();
    expect(await start).toBe("UNAVAILABLE: The server is shutting down");
    expect(await reload(list())).toBe("UNAVAILABLE: The server is shutting down");
    expect(host.clock.pendingTimers).toBe(0);
  });
});

describe("acquire()", () => {
  test("without a version takes the highest, with one takes that one", async () => {
    const { reload, acquire } = setUp(["/m/123", "/m/124"]);
    await reload(list({ name: "m" }));
    expect(acquire({ name: "m" })).toBe("m/124");
    expect(acquire({ name: "m", version: 123n })).toBe("m/123");
  });

  test("explains what is wrong with the model spec", async () => {
    const { reload, acquire } = setUp(["/m/1"]);
    expect(acquire({ name: "m", label: "x" })).toBe("UNAVAILABLE: Model labels does not init yet.x");
    await reload(list({ name: "m" }));
    const rows: [ModelSpec, string][] = [
      [{ name: "" }, "INVALID_ARGUMENT: ModelSpec has no name specified."],
      [{ name: "m", label: "x" }, "INVALID_ARGUMENT: Unrecognized servable version label: x"],
      [{ name: "m", label: "" }, "INVALID_ARGUMENT: Unrecognized servable version label: "],
      [{ name: "x", label: "y" }, "INVALID_ARGUMENT: Unrecognized servable version label: y"],
      [{ name: "m", version: 0n }, "NOT_FOUND: Servable not found for request: Specific(m, 0)"],
      [{ name: "x" }, "NOT_FOUND: Servable not found for request: Latest(x)"],
    ];
    for (const [spec, expected] of rows) expect(acquire(spec)).toBe(expected);
  });
});

describe("statuses()", () => {
  test("lists all versions or one, and knows what it never saw", async () => {
    const { core, reload, statuses } = setUp(["/m/1", "/m/2"]);
    await reload(list({ name: "m" }));
    expect(statuses("m")).toBe("2 AVAILABLE, 1 AVAILABLE");
    expect(core.statuses("m", 1n)).toHaveLength(1);
    expect(() => core.statuses("m", 7n)).toThrow("Could not find version 7 of model m");
    expect(() => core.statuses("x")).toThrow("Could not find any versions of model x");
  });
});

describe("onStateChange()", () => {
  test("reports every change until cancelled", async () => {
    const { core, reload } = setUp(["/m/1"]);
    const seen: string[] = [];
    const cancel = core.onStateChange(({ state }) => seen.push(state));
    await reload(list({ name: "m" }));
    cancel();
    await reload(list());
    expect(seen).toEqual(["START", "LOADING", "AVAILABLE"]);
  });
});

describe("reloadConfig()", () => {
  test("with an empty list unloads everything, remembers it, and can load it again", async () => {
    const { host, reload, acquire, statuses } = setUp(["/m/1"]);
    await reload(list({ name: "m" }));
    expect(await reload(list())).toBe("OK");
    await host.clock.settle();
    expect(acquire({ name: "m" })).toBe("NOT_FOUND: Servable not found for request: Latest(m)");
    expect(statuses("m")).toBe("1 END");
    expect(await reload(list({ name: "m" }))).toBe("OK");
    expect(acquire({ name: "m" })).toBe("m/1");
  });

  test("waits for a model added again while its old version is still borrowed", async () => {
    const { host, core, reload, acquire } = setUp(["/m/1"]);
    await reload(list({ name: "m" }));
    const handle = core.acquire({ name: "m" });
    await reload(list());
    let done = "";
    const again = reload(list({ name: "m" })).then((result) => {
      done = result;
    });
    await host.clock.settle();
    expect(done).toBe("");
    handle[Symbol.dispose]();
    await again;
    expect([done, acquire({ name: "m" })]).toEqual(["OK", "m/1"]);
  });

  test("replaces one model by another and returns when the new one serves", async () => {
    const { host, reload, acquire } = setUp(["/a/1", "/b/1"]);
    await reload(list({ name: "a" }));
    expect(await reload(list({ name: "b", modelPlatform: "other" }))).toBe("OK");
    expect(acquire({ name: "b" })).toBe("b/1");
    await host.clock.settle();
    expect(acquire({ name: "a" })).toContain("NOT_FOUND");
  });

  test("takes another base path in the background, by version number only", async () => {
    const { host, loaders, reload, statuses } = setUp(["/m/1", "/other/1", "/other/2"]);
    await reload(list({ name: "m" }));
    expect(await reload(list({ name: "m", basePath: "/other" }))).toBe("OK");
    await host.clock.settle();
    expect(statuses("m")).toBe("2 AVAILABLE, 1 AVAILABLE");
    expect([loaders.get("/m/1")?.unloads, loaders.get("/other/1")?.loads]).toEqual([0, 0]);
    await reload(list({ name: "m" }));
    await host.clock.settle();
    expect(statuses("m")).toBe("2 END, 1 AVAILABLE");
  });

  test("names the models that did not load; the others and the config stay", async () => {
    const { host, loaders, core, reload, acquire } = setUp(["/a/1", "/bad/1", "/c/1"]);
    loaders.set("/bad/1", FakeLoader.failing(internal("broken")));
    await reload(list({ name: "a" }));
    const next = list({ name: "a" }, { name: "bad" }, { name: "c" });
    expect(await reload(next)).toBe(
      "UNKNOWN: 1 model(s) did not become available: {{{name: bad version: 1} due to error: INTERNAL: broken}, }",
    );
    await host.clock.settle();
    expect([acquire({ name: "a" }), acquire({ name: "c" })]).toEqual(["a/1", "c/1"]);
    expect(core.list()).toEqual(["a", "bad", "c"]);
    // 同じ設定には新しい名前が無いので、待つものも無い。
    expect(await reload(next)).toBe("OK");
  });

  test("logs an unchanged config only for debugging", async () => {
    const { host, reload } = setUp(["/m/1"]);
    await reload(list({ name: "m" }));
    host.lines.length = 0;
    await reload(list({ name: "m" }));
    expect(host.lines).toEqual([
      "D Adding/updating models.",
      "D  (Re-)adding model: m",
      "D Finished adding/updating models",
    ]);
  });

  test("refuses to leave the list, and what is served stays", async () => {
    const { host, reload, acquire } = setUp(["/m/1"]);
    await reload(list({ name: "m" }));
    for (const config of [{ kind: "none" }, { kind: "custom" }] as const) {
      expect(await reload(config)).toContain("Cannot transition to requested config.");
    }
    await host.clock.settle();
    expect(acquire({ name: "m" })).toBe("m/1");
  });

  test("refuses an unknown platform, but the config becomes the current one", async () => {
    const { core, reload, acquire } = setUp(["/m/1"]);
    await reload(list({ name: "m" }));
    expect(await reload(list({ name: "m" }, { name: "n", modelPlatform: "tflite" }))).toBe(
      "INVALID_ARGUMENT: Model n requests unsupported platform tflite",
    );
    expect(core.list()).toEqual(["m", "n"]);
    expect(acquire({ name: "m" })).toBe("m/1");
  });

  test("serves two platforms side by side, and keeps a model on its own", async () => {
    const { reload } = setUp(["/a/1", "/b/1"]);
    expect(await reload(list({ name: "a" }, { name: "b", modelPlatform: "other" }))).toBe("OK");
    expect(await reload(list({ name: "a", modelPlatform: "other" }))).toContain(
      "Illegal to change a model's platform",
    );
  });

  test("refuses logging_config after the models were loaded", async () => {
    const { reload, acquire } = setUp(["/m/1"]);
    expect(
      await reload(list({ name: "m", logging: { collector: "", filenamePrefix: "", samplingRate: 0 } })),
    ).toBe("INVALID_ARGUMENT: No request-logger-creator provided.");
    expect(acquire({ name: "m" })).toBe("m/1");
  });

  test("applies concurrent calls in their order while earlier ones still wait", async () => {
    const { host, loaders, core, reload } = setUp(["/a/1", "/b/1"]);
    loaders.set("/a/1", new FakeLoader().held());
    const order: string[] = [];
    const first = reload(list({ name: "a" })).then(() => order.push("a"));
    const second = reload(list({ name: "a" }, { name: "b" })).then(() => order.push("b"));
    await host.clock.settle();
    expect([order, core.list()]).toEqual([["b"], ["a", "b"]]);
    loaders.get("/a/1")?.release();
    await Promise.all([first, second]);
    expect(order).toEqual(["b", "a"]);
  });

  test("ends the wait for a model that a newer config removes", async () => {
    const { host, reload, acquire } = setUp(["/a/1", "/b/1"]);
    await reload(list({ name: "a" }));
    const typo = reload(list({ name: "a" }, { name: "b", basePath: "/typo" }, { name: "c" }));
    await host.clock.settle();
    expect(await reload(list({ name: "a" }, { name: "b" }))).toBe("OK");
    expect(await typo).toBe("ABORTED: Model c was removed by a newer config before it became available");
    await host.clock.settle();
    expect(acquire({ name: "b" })).toBe("b/1");
  });

  test("finds a model added later even when polling happens only once", async () => {
    const { reload, acquire } = setUp(["/a/1", "/b/1"], { fileSystemPollWaitSeconds: 0 });
    await reload(list({ name: "a" }));
    expect(await reload(list({ name: "a" }, { name: "b" }))).toBe("OK");
    expect(acquire({ name: "b" })).toBe("b/1");
  });
});

describe("version labels", () => {
  const unavailable = (version: number) =>
    `FAILED_PRECONDITION: Request to assign label to version ${version} of model m, which is not currently available for inference`;

  test("resolve once assigned, and vanish when left out", async () => {
    const { reload, acquire } = setUp(["/m/123", "/m/124"]);
    await reload(list({ name: "m" }));
    expect(await reload(list({ name: "m", versionLabels: labels({ A: 123n, B: 124n }) }))).toBe("OK");
    expect([acquire({ name: "m", label: "A" }), acquire({ name: "m", label: "B" })]).toEqual([
      "m/123",
      "m/124",
    ]);
    expect(acquire({ name: "m", label: "C" })).toContain("Unrecognized servable version label: C");
    expect(await reload(list({ name: "m", versionLabels: labels({ A: 124n }) }))).toBe("OK");
    expect(acquire({ name: "m", label: "A" })).toBe("m/124");
    expect(acquire({ name: "m", label: "B" })).toContain("Unrecognized");
  });

  test("in the first config are refused, since nothing is available yet", async () => {
    const { reload } = setUp(["/m/1"]);
    expect(await reload(list({ name: "m", versionLabels: labels({ A: 1n }) }))).toBe(unavailable(1));
  });

  test("for a version that is not there are refused; the old table stays", async () => {
    const { core, reload, acquire } = setUp(["/m/1"]);
    await reload(list({ name: "m" }));
    await reload(list({ name: "m", versionLabels: labels({ A: 1n }) }));
    expect(await reload(list({ name: "m", versionLabels: labels({ A: 1n, B: 9n }) }))).toBe(unavailable(9));
    expect(acquire({ name: "m", label: "A" })).toBe("m/1");
    expect(core.list()).toEqual(["m"]);
  });

  test("stay when their version goes away", async () => {
    const { host, tree, reload, acquire } = setUp(["/m/1", "/m/2"]);
    await reload(list({ name: "m" }));
    await host.clock.settle();
    await reload(list({ name: "m", versionLabels: labels({ old: 1n }) }));
    tree.remove("/m/1");
    await host.clock.advance(1000);
    expect(acquire({ name: "m", label: "old" })).toBe(
      "NOT_FOUND: Servable not found for request: Specific(m, 1)",
    );
  });

  test("with the allow flag may point anywhere when new or unmoved, but not be moved", async () => {
    const { reload, acquire } = setUp(["/m/1"], { allowVersionLabelsForUnavailableModels: true });
    expect(await reload(list({ name: "m", versionLabels: labels({ A: 1n, B: 7n }) }))).toBe("OK");
    expect(acquire({ name: "m", label: "A" })).toBe("m/1");
    expect(acquire({ name: "m", label: "B" })).toContain("NOT_FOUND");
    expect(await reload(list({ name: "m", versionLabels: labels({ A: 1n, B: 7n }) }))).toBe("OK");
    expect(await reload(list({ name: "m", versionLabels: labels({ A: 8n }) }))).toBe(unavailable(8));
    expect(await reload(list({ name: "m", versionLabels: labels({ B: 1n }) }))).toBe("OK");
    expect(acquire({ name: "m", label: "B" })).toBe("m/1");
  });
});
