// 784-512-256-10 の網: 読み込んだ SavedModel の 1 回と、同じ重みを素の tfjs-wasm の matMul でつないだ 1 回。
//   bun dense.ts → {"1": {ours, raw}, "32": {ours, raw}} 1 回の µs(交互に 5 回ずつの中央値)
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { wasmFiles } from "../../../src/assets.ts";
import { Backend } from "../../../src/graph/backend.ts";
import { GraphSession } from "../../../src/graph/session.ts";
import type { DenseNetwork } from "../../../src/savedmodel/dense_network.ts";
import { readAssets, readSavedModel } from "../../../src/savedmodel/saved_model.ts";
import { diskStorage } from "../../../src/savedmodel/storage.ts";
import { writeSavedModel } from "../../../src/savedmodel/writer.ts";
import { tensor } from "../../../src/tensor/tensor.ts";
import { median } from "../numbers.ts";

const sizes = [784, 512, 256, 10];
// 値は速さに関わらない。種のある数列で足りる。
let seed = 1;
const random = (): number => {
  seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
  return seed / 0x7fffffff - 0.5;
};
const filled = (n: number): Float32Array => Float32Array.from({ length: n }, random);
const layers = sizes.slice(1).map((to, i) => ({
  kernel: { dtype: "float" as const, shape: [sizes[i]!, to], data: filled(sizes[i]! * to) },
  bias: { dtype: "float" as const, shape: [to], data: filled(to) },
  activation: i === sizes.length - 2 ? ("softmax" as const) : ("relu" as const),
}));
const network: DenseNetwork = { inputName: "input", outputName: "output", layers };

const directory = mkdtempSync(join(tmpdir(), "dense-"));
for (const [path, bytes] of writeSavedModel(network)) await Bun.write(join(directory, path), bytes);
const backend = new Backend(wasmFiles);
await backend.boot();
await using bundle = await readSavedModel(diskStorage, directory, ["serve"]);
const session = await GraphSession.load(
  { ...bundle, assetFiles: await readAssets(diskStorage, bundle) },
  {
    backend,
    yieldTurn: async () => {},
    onDeviceFailure: (error) => {
      throw error;
    },
  },
);
rmSync(directory, { recursive: true });
const signature = bundle.signatures.get("serving_default")!;
const names = (infos: typeof signature.inputs) => Array.from(infos.values(), ({ name }) => name);
const prepared = session.prepare(names(signature.inputs), names(signature.outputs));

const weights = layers.map(({ kernel, bias }) => ({
  kernel: tf.tensor2d(kernel.data, kernel.shape as [number, number]),
  bias: tf.tensor1d(bias.data),
}));
/** 素の tfjs: 前もって置いた重みと、行列積、足し算、活性化だけ。 */
function raw(data: Float32Array, rows: number): Float32Array {
  const last = tf.tidy(() =>
    weights.reduce<tf.Tensor2D>(
      (x, { kernel, bias }, i) => {
        const sum = tf.add(tf.matMul(x, kernel), bias) as tf.Tensor2D;
        return i === weights.length - 1 ? tf.softmax(sum) : tf.relu(sum);
      },
      tf.tensor2d(data, [rows, sizes[0]!]),
    ),
  );
  const values = last.dataSync<"float32">();
  last.dispose();
  return values;
}

const results: Record<string, { ours: number; raw: number }> = {};
for (const rows of [1, 32]) {
  const data = filled(rows * sizes[0]!);
  const x = tensor("float", [rows, sizes[0]!], data);
  const [a, b] = [prepared.run([x])[0]!.data as Float32Array, raw(data, rows)];
  if (a.some((value, i) => Math.abs(value - b[i]!) > 1e-5)) throw new Error("the answers differ");
  const calls = rows === 1 ? 2000 : 300;
  const time = (call: () => unknown): number => {
    const start = performance.now();
    for (let i = 0; i < calls; i++) call();
    return ((performance.now() - start) * 1000) / calls;
  };
  const times = { ours: [] as number[], raw: [] as number[] };
  for (let round = 0; round < 6; round++) {
    times.ours.push(time(() => prepared.run([x])));
    times.raw.push(time(() => raw(data, rows)));
  }
  results[rows] = { ours: median(times.ours.slice(1)), raw: median(times.raw.slice(1)) };
}
console.log(JSON.stringify(results));
process.exit(0);
