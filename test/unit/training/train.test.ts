import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseBaselines } from "../../../scripts/training/baselines.ts";
import { crossValidate } from "../../../scripts/training/cross_validation.ts";
import { parseDataset, subset } from "../../../scripts/training/dataset.ts";
import { crossValidationSplits, splitsDigest } from "../../../scripts/training/experiment.ts";
import { applyMap, fisherAxes } from "../../../scripts/training/fisher_axes.ts";
import { fitNetwork } from "../../../scripts/training/fit.ts";
import { initialWeights, probabilities } from "../../../scripts/training/network.ts";
import { scoresOf } from "../../../scripts/training/scores.ts";
import { useWasmBackend } from "../../../scripts/training/wasm_backend.ts";

const root = join(import.meta.dir, "../../..");
const model = join(root, "model");
const dataset = parseDataset(readFileSync(join(model, "iris.csv"), "utf8"));
let scratch = "";

beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), "iris-train-"));
});
afterAll(() => rmSync(scratch, { recursive: true }));

/** 別のプロセスで学習し、書かれたファイルを返す。 */
async function train(name: string, ...args: string[]): Promise<Map<string, Uint8Array>> {
  const out = join(scratch, name);
  const child = Bun.spawn([process.execPath, "scripts/train.ts", `--out=${out}`, ...args], {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  // 端末でないので描き直しは無く、tfjs の案内文も出ない。
  expect({ code, stderr, redrawn: stdout.includes("\r") }).toEqual({ code: 0, stderr: "", redrawn: false });
  return filesUnder(out);
}

function filesUnder(folder: string): Map<string, Uint8Array> {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
  return new Map(names.sort().map((name) => [name, readFileSync(join(folder, name))]));
}

test(
  "train.ts writes the same bytes twice",
  async () => {
    const [first, second] = await Promise.all([
      train("first", "--epochs=6", "--repeats=2"),
      train("second", "--epochs=6", "--repeats=2"),
    ]);
    expect([...first.keys()]).toEqual([
      "iris/1/saved_model.pb",
      "iris/1/variables/variables.data-00000-of-00001",
      "iris/1/variables/variables.index",
      "metrics.json",
      "report.html",
    ]);
    expect(second).toEqual(first);
  },
  { timeout: 120_000 },
);

test(
  "train.ts writes what is committed under model/",
  async () => {
    const fresh = await train("full");
    const committed = filesUnder(model);
    for (const [name, bytes] of fresh) {
      expect({ name, same: Bun.deepEquals(committed.get(name), bytes) }).toEqual({ name, same: true });
    }
  },
  { timeout: 120_000 },
);

test.each(["--epochs=0", "--epochs=many", "--repeats=1.5"])("train.ts refuses %s", (argument) => {
  const { exitCode, stderr } = Bun.spawnSync([process.execPath, "scripts/train.ts", argument], { cwd: root });
  expect(exitCode).toBe(2);
  expect(stderr.toString()).toContain("must be a positive integer");
});

test("metrics.json reaches the goal, and the baselines saw the same folds", () => {
  const metrics = JSON.parse(readFileSync(join(model, "metrics.json"), "utf8"));
  expect(metrics.heldOut.accuracy).toBeGreaterThan(0.95);
  expect(metrics.crossValidation.accuracy.mean).toBeGreaterThanOrEqual(0.975);
  const digest = splitsDigest(crossValidationSplits(dataset));
  expect(metrics.crossValidation.foldsSha256).toBe(digest);
  expect(parseBaselines(readFileSync(join(model, "baselines.json"), "utf8")).foldsSha256).toBe(digest);
});

test("report.html stands alone and shows the figures", () => {
  const report = readFileSync(join(model, "report.html"), "utf8");
  expect(report).not.toMatch(/<script|<link|src=|https?:/);
  expect(report).not.toMatch(/NaN|undefined|Infinity/);
  const metrics = JSON.parse(readFileSync(join(model, "metrics.json"), "utf8"));
  expect(report).toContain(`${(100 * metrics.crossValidation.accuracy.mean).toFixed(2)} %`);
  expect(report).toContain(metrics.crossValidation.logLoss.mean.toFixed(3));
  expect(report.match(/<g class="test /g)).toHaveLength(30 + 3);
});

test("crossValidate() trains each fold as fitNetwork() would alone", async () => {
  await useWasmBackend();
  const splits = crossValidationSplits(dataset, 1);
  const together = crossValidate(dataset, splits, 11, 40, () => {});
  expect(together).toHaveLength(5);
  for (const [fold, { train, test }] of splits.entries()) {
    const map = fisherAxes(subset(dataset, train));
    const [inside, outside] = [subset(dataset, train), subset(dataset, test)].map(({ rows, labels }) => ({
      rows: rows.map((row) => applyMap(map, row)),
      labels,
    }));
    const weights = await fitNetwork(inside!, outside!, initialWeights(2, 3, 11 + fold), 40, () => {});
    const alone = scoresOf(
      outside!.rows.map((row) => probabilities(weights, row)),
      outside!.labels,
    );
    expect(together[fold]!.confusion).toEqual(alone.confusion);
    expect(together[fold]!.logLoss).toBeCloseTo(alone.logLoss, 4);
  }
});
