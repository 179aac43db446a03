import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { wasmFiles } from "../../../src/assets.ts";
import { Backend } from "../../../src/graph/backend.ts";
import { diskStorage } from "../../../src/savedmodel/storage.ts";
import type { PreparedRun } from "../../../src/servables/model_servable.ts";
import { openSavedModel } from "../../../src/servables/open_saved_model.ts";
import type { OpenedModel } from "../../../src/servables/saved_model_loader.ts";
import { type Tensor, tensor } from "../../../src/tensor/tensor.ts";
import { FakeHost } from "../../helpers/fake_host.ts";

const root = join(import.meta.dir, "../../..");
const iris = join(root, "model/iris/1");
const zoo = (name: string) => join(root, "test/fixtures/zoo", name, "1");
const never = new AbortController().signal;

/** 時計は回の終わりを進めるほかは止めておく。 */
async function open(directory: string, { tags = ["serve"], signal = never } = {}) {
  const host = new FakeHost();
  const opening = openSavedModel(host, diskStorage, { tags, backend: new Backend(wasmFiles) })(
    directory,
    signal,
  );
  opening.catch(() => {});
  while (Bun.peek.status(opening) === "pending") await host.clock.settle();
  return { host, model: await opening };
}

function prepare({ signatures, prepare }: OpenedModel, key: string): PreparedRun {
  const { inputs, outputs } = signatures.get(key)!;
  const names = (infos: typeof inputs) => Array.from(infos.values(), ({ name }) => name);
  return prepare(names(inputs), names(outputs));
}

const flower: readonly Tensor[] = [tensor("float", [1, 4], Float32Array.of(5.1, 3.5, 1.4, 0.2))];

describe("openSavedModel()", () => {
  test("reads, plans and runs a model, until it is disposed", async () => {
    const { model } = await open(iris);
    expect([...model.signatures.keys()]).toContain("serving_default");
    expect(model.stateful).toBe(false);
    expect(model.sha256).toMatch(/^[0-9a-f]{64}$/);
    const run = prepare(model, "serving_default");
    expect(prepare(model, "serving_default")).toBe(run);
    expect(run.feedDTypes).toEqual(["float"]);
    const [scores] = await run.run(flower, {});
    expect(scores?.shape).toEqual([1, 3]);
    expect((scores!.data as Float32Array)[0]).toBeGreaterThan(0.9);
    model.dispose();
    expect(() => run.run(flower, {})).toThrow("Session has been closed.");
  });

  test("knows which models count their calls", async () => {
    const { model } = await open(zoo("state_counter"));
    expect(model.stateful).toBe(true);
    model.dispose();
  });

  test("lets a run with a deadline finish in time", async () => {
    const { model } = await open(iris);
    const [scores] = await prepare(model, "serving_default").run(flower, { deadlineMs: 1 });
    expect(scores?.shape).toEqual([1, 3]);
    model.dispose();
  });

  test("stops a loop at its deadline", async () => {
    const { host, model } = await open(zoo("control_while"));
    host.clock.spend(10);
    const late = [...model.signatures].flatMap(([key, { inputs }]) => {
      if (key === "__saved_model_init_op") return [];
      const run = prepare(model, key);
      const args = Array.from(inputs.values(), ({ dtype, shape }) => oneOf(dtype, shape));
      try {
        run.run(args, { deadlineMs: 5 });
        return [];
      } catch (thrown) {
        return [String(thrown)];
      }
    });
    expect(late).toContain("DEADLINE_EXCEEDED: Timed out waiting for notification");
    model.dispose();
  });

  test("fails without the tags, and without a model", async () => {
    await expect(open(iris, { tags: ["train"] })).rejects.toThrow(
      "Could not find meta graph def matching supplied tags: { train }.",
    );
    await expect(open(join(root, "model"))).rejects.toThrow("does not appear to contain a SavedModel bundle");
  });

  test("stops when nobody wants the version any more", async () => {
    await expect(open(iris, { signal: AbortSignal.abort("unwanted") })).rejects.toBe("unwanted");
  });
});

/** 未知の次元を 1 とした、値が 3 のテンソル。 */
function oneOf(dtype: string | undefined, shape: readonly number[] | undefined): Tensor {
  const dims = (shape ?? []).map((dim) => (dim < 0 ? 1 : dim));
  const size = dims.reduce((product, dim) => product * dim, 1);
  if (dtype === "int64") return tensor("int64", dims, new BigInt64Array(size).fill(3n));
  if (dtype === "int32") return tensor("int32", dims, new Int32Array(size).fill(3));
  return tensor("float", dims, new Float32Array(size).fill(3));
}
