import type { Row } from "./dataset.ts";
import { type AffineMap, foldMap } from "./fisher_axes.ts";
import { seededRandom } from "./random.ts";

/**
 * 網と学習の設定。報告する交差検証とは別の分割(別の種)で選んだ。
 * 減衰 0.01 と 200 エポックは平らな谷の底にあり、倍や半分にしても精度は 0.1 ポイントほどしか動かない。
 */
export const HYPERPARAMETERS = {
  hidden: 16,
  learningRate: 0.05,
  /** 各層の kernel の二乗和に掛ける係数。 */
  weightDecay: 0.01,
  epochs: 200,
} as const;

/** 2 層の重み。kernel は行優先の [入力][出力]。 */
export interface Weights {
  readonly hiddenKernel: readonly (readonly number[])[];
  readonly hiddenBias: readonly number[];
  readonly outputKernel: readonly (readonly number[])[];
  readonly outputBias: readonly number[];
}

/** Glorot の一様分布からの初期値。bias は 0。 */
export function initialWeights(inputs: number, outputs: number, seed: number): Weights {
  const random = seededRandom(seed);
  const { hidden } = HYPERPARAMETERS;
  const glorot = (rows: number, columns: number): number[][] => {
    const limit = Math.sqrt(6 / (rows + columns));
    return Array.from({ length: rows }, () =>
      Array.from({ length: columns }, () => Math.fround((2 * random() - 1) * limit)),
    );
  };
  return {
    hiddenKernel: glorot(inputs, hidden),
    hiddenBias: new Array<number>(hidden).fill(0),
    outputKernel: glorot(hidden, outputs),
    outputBias: new Array<number>(outputs).fill(0),
  };
}

/** 標準化を第 1 層に畳み込み、float32 に丸める。cm をそのまま受ける網になる。 */
export function foldStandardisation(map: AffineMap, weights: Weights): Weights {
  const { kernel, bias } = foldMap(map, weights.hiddenKernel, weights.hiddenBias);
  return {
    ...weights,
    hiddenKernel: kernel.map((row) => row.map(Math.fround)),
    hiddenBias: bias.map(Math.fround),
  };
}

/** Dense → ReLU → Dense → Softmax。倍精度で計算する、書き出しの検算用の前向き計算。 */
export function probabilities(weights: Weights, row: Row): number[] {
  const hidden = dense(weights.hiddenKernel, weights.hiddenBias, row).map((value) => Math.max(0, value));
  const logits = dense(weights.outputKernel, weights.outputBias, hidden);
  const highest = Math.max(...logits);
  const exps = logits.map((logit) => Math.exp(logit - highest));
  const total = exps.reduce((sum, value) => sum + value, 0);
  return exps.map((value) => value / total);
}

function dense(kernel: readonly (readonly number[])[], bias: readonly number[], row: Row): number[] {
  return bias.map((value, unit) => row.reduce((sum, x, k) => sum + x * kernel[k]![unit]!, value));
}
