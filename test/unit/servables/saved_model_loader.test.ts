import { describe, expect, test } from "bun:test";
import { dataLoss, invalidArgument, unimplemented } from "../../../src/base/status.ts";
import { SavedModelLoader, type SavedModelLoaderOptions } from "../../../src/servables/saved_model_loader.ts";
import type { Signature } from "../../../src/tensor/signature.ts";
import { FakeFiles } from "../../helpers/fake_files.ts";
import { FakeHost } from "../../helpers/fake_host.ts";
import { FakeRun } from "../../helpers/fake_run.ts";

const tensorInfo = (name: string) => ({ name, wireDType: 1, dtype: "float" as const, shape: [-1] });
const signature = (key: string, outputs: readonly string[]): Signature => ({
  key,
  methodName: "",
  inputs: new Map([["x", tensorInfo("x:0")]]),
  outputs: new Map(outputs.map((name) => [name, tensorInfo(name)])),
  defaults: new Map(),
});

function setUp(
  signatures: readonly Signature[] = [signature("serving_default", ["y:0"])],
  files: Record<string, string> = {},
  options: Partial<SavedModelLoaderOptions> = {},
) {
  const host = new FakeHost();
  const events: string[] = [];
  const loader = new SavedModelLoader(
    host,
    {
      storage: new FakeFiles(files),
      open: async (directory) => {
        events.push(`open ${directory}`);
        return {
          signatures: new Map(signatures.map((each) => [each.key, each])),
          stateful: false,
          sha256: "abc",
          prepare: (feeds, fetches) => {
            events.push(`prepare ${feeds} → ${fetches}`);
            if (fetches.includes("bad:0")) throw unimplemented("No kernel for op Foo (node foo)");
            if (fetches.includes("broken:0")) throw invalidArgument("Node 'foo' is part of a cycle");
            return new FakeRun();
          },
          dispose: () => void events.push("dispose"),
        };
      },
      coat: async (_directory, { prepare }) => ({ prepare, close: () => void events.push("close") }),
      warmup: undefined,
      ...options,
    },
    { name: "m", version: 1n },
    "/m/1",
  );
  const load = async (signal = new AbortController().signal): Promise<string> => {
    const done = loader.load(signal).then(
      ({ id, signatures }) => `${id.name}/${id.version} ${[...signatures.keys()]}`,
      (thrown: unknown) => String(thrown),
    );
    while (Bun.peek.status(done) === "pending") await host.clock.settle();
    return done;
  };
  return { host, loader, events, load };
}

describe("load()", () => {
  test("opens, plans every signature, and gives everything back on unload", async () => {
    const { host, loader, events, load } = setUp([
      signature("a", ["y:0"]),
      signature("__saved_model_init_op", []),
      signature("b", ["y:0", "z:0"]),
    ]);
    expect(await load()).toBe("m/1 a,__saved_model_init_op,b");
    expect(events).toEqual(["open /m/1", "prepare x:0 → y:0", "prepare x:0 → y:0,z:0"]);
    expect(host.lines).toEqual(["I Reading SavedModel from: /m/1", "I SavedModel loaded"]);
    loader.unload();
    loader.unload();
    expect(events.slice(3)).toEqual(["close", "dispose"]);
    expect(host.metrics.snapshot().map(({ cells }) => cells[0]?.labelValues)).toEqual([
      ["/m/1", "success"],
      ["/m/1"],
    ]);
  });

  test("serves the signatures it can", async () => {
    const { host, load } = setUp([signature("a", ["bad:0"]), signature("b", ["y:0"])]);
    expect(await load()).toBe("m/1 a,b");
    expect(host.lines).toContain(
      "W Signature a cannot be served: UNIMPLEMENTED: No kernel for op Foo (node foo)",
    );
  });

  test("loads even when every signature needs an op without a kernel", async () => {
    const { load } = setUp([signature("a", ["bad:0"])]);
    expect(await load()).toBe("m/1 a");
  });

  test("does not plan the mark of the initialisation", async () => {
    const { host, load, events } = setUp([
      signature("__saved_model_init_op", ["NoOp"]),
      signature("b", ["y:0"]),
    ]);
    expect(await load()).toBe("m/1 __saved_model_init_op,b");
    expect(events.filter((event) => event.startsWith("prepare"))).toEqual(["prepare x:0 → y:0"]);
    expect(host.lines.filter((line) => line.startsWith("W"))).toEqual([]);
  });

  test("fails when its graph is broken for every signature, and gives everything back", async () => {
    const { events, load } = setUp([signature("a", ["broken:0"])]);
    expect(await load()).toBe("INVALID_ARGUMENT: Node 'foo' is part of a cycle");
    expect(events.slice(-2)).toEqual(["close", "dispose"]);
  });

  test("fails with the batching parameters", async () => {
    const { events, load } = setUp(undefined, undefined, {
      coat: () => Promise.reject(invalidArgument("Invalid protobuf file: '/m/1/batching_params.pbtxt'")),
    });
    expect(await load()).toBe("INVALID_ARGUMENT: Invalid protobuf file: '/m/1/batching_params.pbtxt'");
    expect(events.at(-1)).toBe("dispose");
  });

  test("fails with the reader, and counts it", async () => {
    const { host, load } = setUp(undefined, undefined, {
      open: () => Promise.reject(dataLoss("Can't parse /m/1/saved_model.pb as binary proto")),
    });
    expect(await load()).toBe("DATA_LOSS: Can't parse /m/1/saved_model.pb as binary proto");
    expect(host.metrics.snapshot()[0]?.cells[0]?.labelValues).toEqual(["/m/1", "fail"]);
  });

  test("fails with the warm-up", async () => {
    const { events, load } = setUp(
      undefined,
      {
        "/m/1/assets.extra/tf_serving_warmup_requests": "not a tfrecord at all",
      },
      {
        warmup: {
          numRequestIterations: 0,
          runner: { predict() {}, classify() {}, regress() {}, multiInference() {} },
        },
      },
    );
    expect(await load()).toContain("Please verify your warmup data is in TFRecord format.");
    expect(events.slice(-2)).toEqual(["close", "dispose"]);
  });

  test("stops early when nobody wants the version any more", async () => {
    const { events, load } = setUp();
    expect(await load(AbortSignal.abort("unwanted"))).toBe("unwanted");
    expect(events).toEqual(["open /m/1", "close", "dispose"]);
  });
});
