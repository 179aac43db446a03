import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { FileSystemSource, parseVersion } from "../../../src/sources/file_system_source.ts";
import type { ServableVersionPolicy } from "../../../src/sources/model_config.ts";
import { FakeHost } from "../../helpers/fake_host.ts";
import { FakeTree } from "../../helpers/fake_tree.ts";

const latest = (numVersions: number): ServableVersionPolicy => ({ kind: "latest", numVersions });
const specific = (...versions: bigint[]): ServableVersionPolicy => ({ kind: "specific", versions });
const all: ServableVersionPolicy = { kind: "all" };

function setUp(...paths: string[]) {
  const host = new FakeHost();
  const tree = new FakeTree(...paths);
  const emitted: string[] = [];
  const source = new FileSystemSource(host, tree, (name, versions) => {
    emitted.push(`${name}: ${versions.map(({ version, data }) => `${version}=${data}`).join(" ")}`.trim());
  });
  const watch = (
    servables: Record<string, ServableVersionPolicy>,
    { pollWaitSeconds = 1, versionsAlwaysPresent = false } = {},
  ) =>
    source.updateConfig({
      pollWaitSeconds,
      versionsAlwaysPresent,
      servables: Object.entries(servables).map(([name, versionPolicy]) => ({
        name,
        basePath: `/${name}`,
        versionPolicy,
      })),
    });
  const take = () => emitted.splice(0).sort();
  const next = async () => {
    await host.clock.advance(1000);
    return take();
  };
  return { host, tree, source, watch, take, next };
}

/** 1 つのモデル `/m` を一度見回り、知らされた版(`版=名前`)を返す。 */
async function discover(children: readonly string[], policy: ServableVersionPolicy): Promise<string> {
  const { host, watch, take } = setUp("/m", ...children.map((child) => `/m/${child}`));
  watch({ m: policy }, { pollWaitSeconds: 0 });
  await host.clock.settle();
  return take().join("; ").replaceAll("/m/", "").replace("m:", "").trim();
}

describe("parseVersion()", () => {
  test.each([
    ["1", 1n],
    ["0", 0n],
    ["00000123", 123n],
    ["20170111173521", 20170111173521n],
    ["+7", 7n],
    ["-3", -3n],
    [" 5\t", 5n],
    ["9223372036854775807", 9223372036854775807n],
    ["-9223372036854775808", -9223372036854775808n],
    ["9223372036854775808", undefined],
    ["99999999999999999999", undefined],
    ["", undefined],
    ["+", undefined],
    ["+-1", undefined],
    ["- 1", undefined],
    ["123.tmp", undefined],
    ["2.denied", undefined],
    ["v1", undefined],
    ["1a", undefined],
    ["0x1", undefined],
    ["1_000", undefined],
    ["1.0", undefined],
    ["\uff11", undefined],
  ])("%j → %p", (name, expected) => {
    expect(parseVersion(name)).toBe(expected);
  });

  test("reads back every int64", () => {
    fc.assert(
      fc.property(fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n), fc.nat(30), (version, zeros) => {
        const digits = (version < 0n ? -version : version).toString();
        const name = `${version < 0n ? "-" : ""}${"0".repeat(zeros)}${digits}`;
        expect(parseVersion(name)).toBe(version);
      }),
    );
  });
});

describe("version policy", () => {
  const children = ["42", "33", "30", "21", "17", "x"];
  test.each([
    ["latest 1", children, latest(1), "42=42"],
    ["latest 0 counts as 1", children, latest(0), "42=42"],
    ["latest 3", children, latest(3), "42=42 33=33 30=30"],
    ["all", ["42", "17", "non_numerical_child"], all, "17=17 42=42"],
    ["specific", children, specific(17n, 30n), "17=17 30=30"],
    ["specific twice the same", children, specific(17n, 17n), "17=17"],
    ["specific with leading zeros", ["42", "00017"], specific(17n, 42n), "17=00017 42=42"],
    ["specific partly missing", ["42"], specific(17n, 42n), "42=42"],
    ["specific empty", children, specific(), ""],
    ["no numeric child", ["non_numerical_child"], latest(1), ""],
    ["timestamps", ["20170111173521"], latest(1), "20170111173521=20170111173521"],
    ["same version thrice", ["0001", "001", "00001"], all, "1=001"],
    ["plain wins over zeros", ["1", "001"], latest(1), "1=1"],
  ])("%s", async (_, names, policy, expected) => {
    expect(await discover(names, policy)).toBe(expected);
  });

  test("warnings", async () => {
    const { host, watch } = setUp("/m/1", "/m/001", "/n");
    watch({ m: specific(17n), n: specific(), o: latest(1) });
    watch({ m: specific(17n), n: latest(1), o: latest(1) });
    await host.clock.settle();
    expect(host.lines).toEqual([
      "W No specific versions requested for servable n.",
      "E FileSystemStoragePathSource encountered a filesystem access error: Could not find base path /o for servable o with error NOT_FOUND: /o not found",
      "W Duplicate version directories detected. Version 1 will be loaded from 1, 001 will be ignored.",
      "W Version 17 of servable m, which was requested to be served as a 'specific' version in the servable's version policy, was not found in the file system",
      "W No versions of servable m found under base path /m. Did you forget to name your leaf directory as a number (eg. '/1/')?",
      "W No versions of servable n found under base path /n. Did you forget to name your leaf directory as a number (eg. '/1/')?",
    ]);
  });
});

test("a base path that is a version itself is explained", async () => {
  const { host, watch } = setUp("/m/saved_model.pb", "/m/variables");
  watch({ m: latest(1) });
  await host.clock.settle();
  expect(host.lines).toEqual([
    "W No versions of servable m found under base path /m. Did you forget to name your leaf directory as a number (eg. '/1/')?",
    "W /m holds a SavedModel itself; the base path is the directory above the numbered ones.",
  ]);
});

describe("polling", () => {
  test("waits for a base path to appear, and says so once a minute", async () => {
    const { host, tree, watch, take, next } = setUp();
    watch({ m: latest(1) });
    for (let i = 0; i < 61; i++) await next();
    expect(take()).toEqual([]);
    expect(host.linesWith("Could not find base path /m")).toHaveLength(2);
    tree.add("/m/3");
    expect(await next()).toEqual(["m: 3=/m/3"]);
  });

  test("goes on for the other models when one base path is missing or unreadable", async () => {
    const { host, tree, watch, next } = setUp("/b/1", "/c/1");
    tree.broken.add("/c");
    watch({ a: latest(1), b: latest(1), c: latest(1) });
    expect(await next()).toEqual(["b: 1=/b/1", "b: 1=/b/1"]);
    expect(host.lines).toContain(
      "E FileSystemStoragePathSource encountered a filesystem access error: /c; Permission denied",
    );
  });

  test("sees versions appear, get renamed and disappear", async () => {
    const { tree, watch, next } = setUp("/m/1", "/m/2", "/m/3", "/m/5", "/m/8");
    watch({ m: all });
    expect((await next())[0]).toBe("m: 1=/m/1 2=/m/2 3=/m/3 5=/m/5 8=/m/8");
    tree.rename("/m/2", "/m/2.denied");
    tree.rename("/m/5", "/m/5.denied");
    tree.remove("/m/8");
    expect(await next()).toEqual(["m: 1=/m/1 3=/m/3"]);
  });

  test("announces nothing when the last version is gone", async () => {
    const { tree, watch, next } = setUp("/m/42");
    watch({ m: latest(1) });
    await next();
    tree.remove("/m/42");
    expect(await next()).toEqual(["m:"]);
  });

  test("keeps the last versions when they must always be present", async () => {
    const { host, tree, watch, next } = setUp("/m/42");
    watch({ m: latest(1) }, { versionsAlwaysPresent: true });
    await next();
    tree.remove("/m/42");
    expect(await next()).toEqual([]);
    expect(host.lines).toContain("E Refusing to unload all versions for Servable: m");
  });

  test("happens once when the period is zero", async () => {
    const { tree, watch, next } = setUp("/m/3");
    watch({ m: all }, { pollWaitSeconds: 0 });
    expect(await next()).toEqual(["m: 3=/m/3"]);
    tree.add("/m/4");
    expect(await next()).toEqual([]);
  });

  test("never happens when the period is negative", async () => {
    const { watch, next } = setUp("/m/3");
    watch({ m: all }, { pollWaitSeconds: -1 });
    expect(await next()).toEqual([]);
  });

  test("ends with stop()", async () => {
    const { host, source, watch, next } = setUp("/m/3");
    watch({ m: all });
    await next();
    source.stop();
    expect(await next()).toEqual([]);
    expect(host.clock.pendingTimers).toBe(0);
  });
});

describe("updateConfig()", () => {
  test("announces emptiness for removed models and polls the new ones at once", async () => {
    const { host, source, watch, take } = setUp("/a/1", "/a/3", "/b/42", "/c");
    watch({ a: latest(1), b: latest(1) });
    await host.clock.settle();
    expect(take()).toEqual(["a: 3=/a/3", "b: 42=/b/42"]);
    watch({ b: latest(1), c: latest(1) });
    expect(take()).toEqual(["a:"]);
    await host.clock.settle();
    expect(take()).toEqual(["b: 42=/b/42", "c:"]);
    expect(source.names).toEqual(["b", "c"]);
  });

  test("changes the policy of a model", async () => {
    const { host, watch, take } = setUp("/m/1", "/m/02", "/m/3", "/m/5", "/m/8", "/m/13");
    watch({ m: latest(2) });
    await host.clock.settle();
    expect(take()).toEqual(["m: 13=/m/13 8=/m/8"]);
    watch({ m: specific(2n, 5n) });
    await host.clock.settle();
    expect(take()).toEqual(["m: 2=/m/02 5=/m/5"]);
  });

  test("refuses another period", async () => {
    const { watch } = setUp();
    watch({});
    expect(() => watch({}, { pollWaitSeconds: 2 })).toThrow(
      "Changing file_system_poll_wait_seconds is not supported",
    );
  });

  test("does not let a poll under way bring back a removed model", async () => {
    const { host, watch, take } = setUp("/a/1");
    watch({ a: latest(1) });
    watch({});
    await host.clock.settle();
    expect(take()).toEqual(["a:"]);
  });
});
