// 書き出した変数を読み直し、iris.csv の全行の出力を計算して JSON に書く。相互運用試験が TensorFlow の答えと比べる。
//   bun scripts/reference_outputs.ts outputs.json [model/iris/1]
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { CheckpointReader } from "../src/savedmodel/checkpoint.ts";
import { diskStorage } from "../src/savedmodel/storage.ts";
import { root } from "./steps.ts";
import { parseDataset, SPECIES } from "./training/dataset.ts";
import { probabilities, type Weights } from "./training/network.ts";

const [target, model = join(root, "model", "iris", "1")] = process.argv.slice(2);
if (target === undefined) {
  console.error("usage: bun scripts/reference_outputs.ts OUTPUTS_JSON [MODEL_DIRECTORY]");
  process.exit(2);
}

const names = ["dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias"];
const values: number[][][] = [];
await using checkpoint = await CheckpointReader.open(diskStorage, join(model, "variables", "variables"));
for (const index of names.keys()) {
  const { data, shape } = await checkpoint.read(`variables/${index}/.ATTRIBUTES/VARIABLE_VALUE`);
  const flat = Array.from(data as Float32Array);
  const columns = shape.at(-1)!;
  values.push(
    Array.from({ length: flat.length / columns }, (_, row) => flat.slice(row * columns, (row + 1) * columns)),
  );
}
const [hiddenKernel, hiddenBias, outputKernel, outputBias] = values;
const weights: Weights = {
  hiddenKernel: hiddenKernel!,
  hiddenBias: hiddenBias![0]!,
  outputKernel: outputKernel!,
  outputBias: outputBias![0]!,
};
// float32 で渡されるものとして丸めてから計算する。
const inputs = parseDataset(readFileSync(join(root, "model", "iris.csv"), "utf8")).rows;
const outputs = inputs.map((row) => probabilities(weights, row.map(Math.fround)));
mkdirSync(dirname(target), { recursive: true });
writeFileSync(
  target,
  JSON.stringify({
    inputs,
    outputs,
    labels: SPECIES,
    variables: Object.fromEntries(
      names.map((name, index) => [name, name.endsWith("bias") ? values[index]![0] : values[index]]),
    ),
  }),
);
