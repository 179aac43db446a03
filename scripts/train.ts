// model/iris.csv から学習し、SavedModel・成績・報告書を書き出す。同じ種なので、何度走らせても同じバイト列になる。
//   bun scripts/train.ts [--out=model] [--epochs=200] [--repeats=10]
//   bun scripts/train.ts --print-splits     基準(scripts/baselines.py)に渡す分割を標準出力へ
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { writeSavedModel } from "../src/savedmodel/writer.ts";
import { root } from "./steps.ts";
import { parseBaselines } from "./training/baselines.ts";
import { parseDataset } from "./training/dataset.ts";
import {
  crossValidation,
  crossValidationSplits,
  FOLDS,
  heldOutSplit,
  REPEATS,
  splitsDigest,
  trainHeldOut,
} from "./training/experiment.ts";
import { metricsOf } from "./training/metrics_file.ts";
import { HYPERPARAMETERS } from "./training/network.ts";
import { progressTo } from "./training/progress.ts";
import { renderReport } from "./training/report.ts";
import { servedNetwork } from "./training/served_network.ts";
import { useWasmBackend } from "./training/wasm_backend.ts";

const { values } = parseArgs({
  options: {
    out: { type: "string", default: join(root, "model") },
    epochs: { type: "string", default: String(HYPERPARAMETERS.epochs) },
    repeats: { type: "string", default: String(REPEATS) },
    "print-splits": { type: "boolean", default: false },
  },
});
const positive = (name: "epochs" | "repeats"): number => {
  const value = Number(values[name]);
  if (Number.isInteger(value) && value > 0) return value;
  console.error(`--${name} must be a positive integer, got ${values[name]}`);
  process.exit(2);
};
const [epochs, repeats] = [positive("epochs"), positive("repeats")];
const dataset = parseDataset(readFileSync(join(root, "model", "iris.csv"), "utf8"));

if (values["print-splits"]) {
  const splits = crossValidationSplits(dataset, repeats);
  console.log(
    JSON.stringify({
      folds: FOLDS,
      foldsSha256: splitsDigest(splits),
      heldOut: heldOutSplit(dataset),
      crossValidation: splits,
    }),
  );
  process.exit(0);
}

await useWasmBackend();
const terminal = process.stdout.isTTY === true;
const progress = (label: string) => progressTo((text) => process.stdout.write(text), terminal, label);
const percent = (value: number): string => `${(100 * value).toFixed(2)} %`;

const fitting = progress("training");
const trained = await trainHeldOut(dataset, epochs, fitting);
fitting.done(
  `trained: held-out accuracy ${percent(trained.heldOut.accuracy)}, log loss ${trained.heldOut.logLoss.toFixed(4)} (${trained.split.test.length} rows)`,
);

const validating = progress("cross-validation");
const validated = crossValidation(dataset, repeats, epochs, validating);
validating.done(
  `cross-validated ${repeats} × ${FOLDS} folds: accuracy ${percent(validated.accuracy.mean)} ± ${percent(validated.accuracy.sd)}, log loss ${validated.logLoss.mean.toFixed(4)} ± ${validated.logLoss.sd.toFixed(4)}`,
);

const baselines = parseBaselines(readFileSync(join(root, "model", "baselines.json"), "utf8"));
const files = new Map<string, string | Uint8Array>([
  ...[...writeSavedModel(servedNetwork(trained.weights))].map(([path, bytes]): [string, Uint8Array] => [
    join("iris", "1", path),
    bytes,
  ]),
  ["metrics.json", `${JSON.stringify(metricsOf(trained, validated, epochs), null, 2)}\n`],
  ["report.html", renderReport(dataset, trained, validated, baselines)],
]);
for (const [path, content] of files) {
  const target = join(values.out, path);
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, content);
}
console.log(`  wrote ${files.size} files to ${values.out}`);
