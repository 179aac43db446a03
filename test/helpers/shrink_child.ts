// backend.test.ts が別のプロセスで走らせる、wasm の作り直しの筋書き。結果を JSON で 1 行書く。
import { wasmFiles } from "../../src/assets.ts";
import { Backend } from "../../src/graph/backend.ts";
import type { DeviceTensor } from "../../src/graph/value.ts";
import { floats } from "./graph_builder.ts";

const BIG = 24 * 2 ** 20;
let collected = 0;
const backend = new Backend(wasmFiles, { collect: () => void collected++ });
const big = () => ({ dtype: "float" as const, shape: [BIG], data: new Float32Array(BIG) });
const read = (tensor: DeviceTensor): number[] => [...(backend.device!.download(tensor).data as Float32Array)];

const scenarios: Record<string, () => Promise<object>> = {
  moves: async () => {
    const old = await backend.boot();
    const small = old.uploadKept(floats([3], 1, 2, 3));
    const bias = old.uploadKept(floats([1], 0));
    old.release(old.uploadKept(big()));
    const before = old.heapBytes;
    const shrunk = await backend.shrink();
    const device = backend.device!;
    const sum = read(device.call("Add", { a: small, b: small }));
    const [a, b] = [device.reshape(small, [1, 1, 3]), device.reshape(small, [1, 3, 1])];
    const product = read(device.call("_FusedMatMul", { a, b, bias }, { activation: "linear" }));
    device.settle([]);
    const result = {
      shrunk,
      heapShrank: device.heapBytes < before / 2,
      collected,
      tensors: device.tensorCount,
      kept: read(small),
      sum,
      product,
      booted: (await backend.boot()) === device,
    };
    device.release(small);
    device.release(bias);
    return { ...result, afterRelease: device.tensorCount };
  },

  leaves: async () => {
    const unbooted = await backend.shrink();
    const device = await backend.boot();
    const small = await backend.shrink();
    const kept = device.uploadKept(big());
    const used = await backend.shrink();
    device.release(kept);
    // 写している途中の重みがある間は移さない。
    let go = (): void => {};
    const gate = new Promise<void>((resolve) => {
      go = resolve;
    });
    const filling = device.uploadInSlices(
      { ...big(), shape: [2 ** 21], data: new Float32Array(2 ** 21) },
      () => gate,
    );
    const result = await backend.shrink();
    go();
    device.release(await filling);
    return { unbooted, small, used, filling: result, collected };
  },

  changes: async () => {
    const device = await backend.boot();
    const early = device.uploadKept(floats([3], 1, 2, 3));
    const leaving = device.uploadKept(floats([2], 4, 5));
    device.release(device.uploadKept(big()));
    let late: DeviceTensor | undefined;
    const shrunk = await backend.shrink(async () => {
      if (late !== undefined) return;
      late = device.uploadKept(floats([1], 7));
      device.release(leaving);
    });
    return { shrunk, tensors: backend.device!.tensorCount, late: read(late!), early: read(early) };
  },
};

console.log(JSON.stringify(await scenarios[process.argv[2]!]!()));
process.exit(0);
