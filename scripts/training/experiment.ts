import { createHash } from "node:crypto";
import { crossValidate } from "./cross_validation.ts";
import { type Dataset, subset } from "./dataset.ts";
import { applyMap, fisherAxes } from "./fisher_axes.ts";
import { type Epoch, fitNetwork } from "./fit.ts";
import { foldStandardisation, initialWeights, probabilities, type Weights } from "./network.ts";
import type { Progress } from "./progress.ts";
import { seededRandom } from "./random.ts";
import { type Scores, scoresOf, spreadOf } from "./scores.ts";
import { repeatedStratifiedFolds, type Split, stratifiedSplit } from "./split.ts";

/** すべての乱数の種。データが載った論文の年で、結果を見て選んだものではない。 */
export const SEED = 1936;
export const TEST_FRACTION = 0.2;
export const FOLDS = 5;
export const REPEATS = 10;

/** 学習と試験への二分。 */
export function heldOutSplit({ labels }: Dataset): Split {
  return stratifiedSplit(labels, TEST_FRACTION, seededRandom(SEED));
}

/** 交差検証の分割。 */
export function crossValidationSplits({ labels }: Dataset, repeats = REPEATS): Split[] {
  return repeatedStratifiedFolds(labels, FOLDS, repeats, seededRandom(SEED));
}

/** 分割の指紋。基準の成績が同じ分割で測られたことを確かめるのに使う。 */
export function splitsDigest(splits: readonly Split[]): string {
  return createHash("sha256")
    .update(JSON.stringify(splits.map(({ test }) => test)))
    .digest("hex");
}

/** 学習した網と、その曲線と成績。 */
export interface Trained {
  readonly split: Split;
  /** cm をそのまま受ける重み。 */
  readonly weights: Weights;
  readonly curve: readonly Epoch[];
  readonly training: Scores;
  readonly heldOut: Scores;
}

/** 学習側の 120 行で学習し、残りの 30 行で測る。 */
export async function trainHeldOut(dataset: Dataset, epochs: number, progress: Progress): Promise<Trained> {
  const split = heldOutSplit(dataset);
  const [train, test] = [subset(dataset, split.train), subset(dataset, split.test)];
  const map = fisherAxes(train);
  const standardised = ({ rows, labels }: Dataset): Dataset => ({
    rows: rows.map((row) => applyMap(map, row)),
    labels,
  });
  const classes = new Set(dataset.labels).size;
  const curve: Epoch[] = [];
  const fitted = await fitNetwork(
    standardised(train),
    standardised(test),
    initialWeights(classes - 1, classes, SEED),
    epochs,
    (epoch, values) => {
      curve.push(values);
      progress.epoch(epoch + 1, epochs, values);
    },
  );
  const weights = foldStandardisation(map, fitted);
  const score = ({ rows, labels }: Dataset): Scores =>
    scoresOf(
      rows.map((row) => probabilities(weights, row)),
      labels,
    );
  return { split, weights, curve, training: score(train), heldOut: score(test) };
}

/** 交差検証のまとめ。 */
export interface CrossValidation {
  readonly repeats: number;
  readonly foldsSha256: string;
  /** 全分割にわたる平均と標準偏差。 */
  readonly accuracy: { readonly mean: number; readonly sd: number };
  readonly logLoss: { readonly mean: number; readonly sd: number };
  /** 繰り返しごとの精度(150 行すべてを 1 度ずつ予測したもの)。 */
  readonly accuracyByRepeat: readonly number[];
  /** 全繰り返しの合計。 */
  readonly confusion: readonly (readonly number[])[];
}

export function crossValidation(
  dataset: Dataset,
  repeats: number,
  epochs: number,
  progress: Progress,
): CrossValidation {
  const splits = crossValidationSplits(dataset, repeats);
  const scores = crossValidate(dataset, splits, SEED, epochs, (epoch) => progress.epoch(epoch + 1, epochs));
  return {
    repeats,
    foldsSha256: splitsDigest(splits),
    accuracy: spreadOf(scores.map(({ accuracy }) => accuracy)),
    logLoss: spreadOf(scores.map(({ logLoss }) => logLoss)),
    accuracyByRepeat: Array.from(
      { length: repeats },
      (_, repeat) => spreadOf(scores.slice(repeat * FOLDS, (repeat + 1) * FOLDS).map((s) => s.accuracy)).mean,
    ),
    confusion: scores
      .map(({ confusion }) => confusion)
      .reduce((total, one) => total.map((row, i) => row.map((count, j) => count + one[i]![j]!))),
  };
}
