import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { wasmFiles } from "../../../src/assets.ts";
import { StatusError } from "../../../src/base/status.ts";
import { Backend } from "../../../src/graph/backend.ts";
import { matMul } from "../../../src/graph/ops/matmul.ts";
import { EngineObject, Value } from "../../../src/graph/value.ts";
import { sizeOf } from "../../../src/tensor/tensor.ts";
import { backend, floats, ints, longs } from "../../helpers/graph_builder.ts";

class Thing extends EngineObject {
  readonly kind = "thing";
}

describe("Backend", () => {
  test("boots once and shares the device", async () => {
    const own = new Backend(wasmFiles);
    expect(own.device).toBeUndefined();
    const [first, second] = await Promise.all([own.boot(), own.boot()]);
    expect(first).toBe(second);
    expect(own.device).toBe(first);
  });

  test("wraps the start, and tries again after a failure", async () => {
    let calls = 0;
    const around = async <T>(run: () => Promise<T>): Promise<T> => {
      if (++calls === 1) throw new Error("not today");
      return run();
    };
    const own = new Backend(wasmFiles, { around });
    await expect(own.boot()).rejects.toThrow(StatusError);
    expect(own.device).toBeUndefined();
    await own.boot();
    expect(calls).toBe(2);
  });
});

describe("shrink()", () => {
  // tfjs の wasm はプロセスに 1 つなので、ほかの試験と分けて走らせる。
  const run = async (scenario: string): Promise<unknown> => {
    const child = Bun.spawn(
      [process.execPath, join(import.meta.dir, "../../helpers/shrink_child.ts"), scenario],
      {
        stdout: "pipe",
        stderr: "inherit",
      },
    );
    return JSON.parse(await new Response(child.stdout).text());
  };

  test("moves what is alive to a small heap, and goes on computing", async () => {
    expect(await run("moves")).toEqual({
      shrunk: true,
      heapShrank: true,
      collected: 1,
      tensors: 2,
      kept: [1, 2, 3],
      sum: [2, 4, 6],
      product: [14],
      booted: true,
      afterRelease: 0,
    });
  });

  test("leaves a heap alone that is small, well used, or being filled", async () => {
    expect(await run("leaves")).toEqual({
      unbooted: false,
      small: false,
      used: false,
      filling: false,
      collected: 0,
    });
  });

  test("follows what appears and disappears while it moves", async () => {
    expect(await run("changes")).toEqual({ shrunk: true, tensors: 2, late: [7], early: [1, 2, 3] });
  });
});

describe("WasmDevice", () => {
  test("moves float, int32 and bool both ways, and nothing else", async () => {
    const device = await backend.boot();
    for (const given of [
      floats([2], 1.5, -0),
      ints([1], -7),
      { dtype: "bool" as const, shape: [2], data: Uint8Array.of(1, 0) },
    ]) {
      expect(device.download(device.upload(given))).toEqual(given);
    }
    expect(() => device.upload(longs([1], 1))).toThrow("do not fit the device");
    device.settle([]);
  });

  test("frees what a step made unless it is kept", async () => {
    const device = await backend.boot();
    const before = device.tensorCount;
    const x = device.upload(floats([2], 1, 2));
    const y = device.call("Add", { a: x, b: x });
    device.settle([y]);
    expect(device.tensorCount).toBe(before + 1);
    expect(device.download(y).data).toEqual(Float32Array.of(2, 4));
    device.release(y);
    expect(device.tensorCount).toBe(before);
  });

  test("multiplies matrices pair by pair, leaving no tensor behind", async () => {
    const device = await backend.boot();
    const before = device.tensorCount;
    const random = (...shape: number[]) =>
      floats(shape, ...Array.from({ length: sizeOf(shape) }, (_, i) => Math.sin(i * 12.9898 + shape.length)));
    const [count, rows, inner, columns] = [3, 5, 17, 9];
    const [x, y] = [random(count, rows, inner), random(count, inner, columns)];
    const [a, b] = [device.upload(x), device.upload(y)];
    // 2 度目は、並べ替えた重みの覚えが前の窓のものと取り違えられないことを確かめる。
    for (let turn = 0; turn < 2; turn++) {
      const { shape, data } = device.download(device.products(a, b));
      expect(shape).toEqual([count, rows, columns]);
      const wanted = matMul(x, y).data as Float32Array;
      (data as Float32Array).forEach((value, i) => void expect(value).toBeCloseTo(wanted[i]!, 4));
    }
    device.settle([]);
    expect(device.tensorCount).toBe(before);
  });

  test("views the same memory in another shape", async () => {
    const device = await backend.boot();
    const before = device.tensorCount;
    const x = device.upload(floats([2, 3], 1, 2, 3, 4, 5, 6));
    const view = device.reshape(x, [3, 2]);
    device.settle([view]);
    expect(device.download(view)).toEqual(floats([3, 2], 1, 2, 3, 4, 5, 6));
    expect(() => device.reshape(view, [4])).toThrow("with 6 values, but the requested shape has 4");
    device.release(view);
    device.settle([]);
    expect(device.tensorCount).toBe(before);
  });

  test("runs kernels that wasm lacks on the cpu", async () => {
    const device = await backend.boot();
    expect([device.has("Add"), device.has("Einsum")]).toEqual([true, false]);
    const before = device.tensorCount;
    const x = device.upload(floats([2, 2], 1, 2, 3, 4));
    const [out] = device.callMany("Einsum", [x, x], { equation: "ij,jk->ik" });
    expect(device.download(out!)).toEqual(floats([2, 2], 7, 10, 15, 22));
    device.settle([]);
    expect(device.tensorCount).toBe(before);
    expect(() => device.call("NoSuchKernel", {})).toThrow("registered neither for wasm nor for cpu");
  });

  test("packs weights per shape, so one memory may be two weights", async () => {
    const device = await backend.boot();
    const attrs = { transposeA: false, transposeB: false, activation: "linear" };
    const w = device.upload(floats([1, 2, 3], 1, 2, 3, 4, 5, 6));
    const a = device.upload(floats([1, 1, 2], 1, 1));
    const b = device.upload(floats([1, 1, 3], 1, 1, 1));
    const first = device.call("_FusedMatMul", { a, b: w }, attrs);
    const second = device.call("_FusedMatMul", { a: b, b: device.reshape(w, [1, 3, 2]) }, attrs);
    expect(device.download(first).data).toEqual(Float32Array.of(5, 7, 9));
    expect(device.download(second).data).toEqual(Float32Array.of(9, 12));
    device.settle([]);
  });

  test("fails instead of writing outside the heap", async () => {
    const device = await backend.boot();
    const huge = { shape: [2 ** 29], value: 0, dtype: "float32" };
    const kept = [];
    let failure: unknown;
    try {
      for (let i = 0; i < 3; i++) kept.push(device.call("Fill", {}, { ...huge, shape: [2 ** 30 - 1] }));
    } catch (thrown) {
      failure = thrown;
    }
    device.settle([]);
    expect(failure).toBeInstanceOf(StatusError);
    expect(String(failure)).toContain("RESOURCE_EXHAUSTED: OOM when allocating");
  });
});

describe("Value", () => {
  test("knows what it carries", () => {
    const host = Value.ofTensor(floats([2], 1, 2));
    expect([host.dtype, host.shape, host.onHost, host.resident]).toEqual(["float", [2], true, undefined]);
    const thing = Value.ofObject(new Thing());
    expect([thing.dtype, thing.shape, thing.onHost]).toEqual([undefined, [], false]);
    expect(thing.objectOf(Thing).kind).toBe("thing");
    expect(() => host.objectOf(Thing)).toThrow("Expected a Thing, got a tensor");
    expect(() => thing.tensor(undefined)).toThrow("Expected a tensor, got a thing");
  });

  test("frees its device copy with its last holder", async () => {
    const device = await backend.boot();
    const before = device.tensorCount;
    const value = Value.ofDevice(device.uploadKept(ints([1], 3)))
      .retain()
      .retain();
    expect([value.dtype, value.shape]).toEqual(["int32", [1]]);
    value.drop(device);
    expect(device.tensorCount).toBe(before + 1);
    expect(value.tensor(device)).toEqual(ints([1], 3));
    value.dropHost();
    expect(value.onHost).toBe(false);
    value.drop(device);
    expect(device.tensorCount).toBe(before);
    expect(() => value.tensor(device)).toThrow("released value");
  });
});
