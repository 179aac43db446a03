import * as tf from "@tensorflow/tfjs";
import { type Dataset, subset } from "./dataset.ts";
import { applyMap, fisherAxes } from "./fisher_axes.ts";
import { HYPERPARAMETERS, initialWeights } from "./network.ts";
import { type Scores, scoresOf } from "./scores.ts";
import type { Split } from "./split.ts";

/**
 * すべての分割を同時に学習する。網は分割ごとに独立だが、先頭に分割の軸を足して 1 つの行列積にまとめると、
 * 50 個の網が 1 個ぶんの手数で済む。算術は {@link fitNetwork} と同じ(標準化も分割の学習側だけで決める)。
 *
 * @param splits 学習側の行数はどれも等しい。
 * @param seed 分割 i の初期値の種は seed + i。
 * @returns 分割ごとの、試験側の成績。
 */
export function crossValidate(
  dataset: Dataset,
  splits: readonly Split[],
  seed: number,
  epochs: number,
  onEpoch: (epoch: number) => void,
): Scores[] {
  const { learningRate, weightDecay } = HYPERPARAMETERS;
  const classes = new Set(dataset.labels).size;
  const maps = splits.map(({ train }) => fisherAxes(subset(dataset, train)));
  const inputsOf = (side: "train" | "test"): tf.Tensor3D =>
    tf.tensor3d(splits.map((split, f) => split[side].map((i) => applyMap(maps[f]!, dataset.rows[i]!))));
  const initial = splits.map((_, f) => initialWeights(classes - 1, classes, seed + f));
  const mutable = (rows: readonly (readonly number[])[]): number[][] => rows.map((row) => [...row]);
  const kernels = [
    tf.variable(tf.tensor3d(initial.map((w) => mutable(w.hiddenKernel)))),
    tf.variable(tf.tensor3d(initial.map((w) => mutable(w.outputKernel)))),
  ] as const;
  const biases = [
    tf.variable(tf.tensor3d(initial.map((w) => [[...w.hiddenBias]]))),
    tf.variable(tf.tensor3d(initial.map((w) => [[...w.outputBias]]))),
  ] as const;
  const logits = (x: tf.Tensor): tf.Tensor => {
    const hidden = tf.relu(tf.add(tf.matMul(x, kernels[0]), biases[0]));
    return tf.add(tf.matMul(hidden, kernels[1]), biases[1]);
  };

  const x = inputsOf("train");
  const y = tf.tidy(() =>
    tf
      .oneHot(
        tf.tensor1d(
          splits.flatMap(({ train }) => train.map((i) => dataset.labels[i]!)),
          "int32",
        ),
        classes,
      )
      .toFloat(),
  );
  const optimizer = tf.train.adam(learningRate);
  for (let epoch = 0; epoch < epochs; epoch++) {
    optimizer.minimize(
      () => {
        // 平均は全分割にわたるので、分割の数を掛けて「分割ごとの平均の和」に戻す。
        const loss = tf.mul(
          tf.losses.softmaxCrossEntropy(y, tf.reshape(logits(x), [-1, classes])),
          splits.length,
        );
        const decay = tf.add(tf.sum(tf.square(kernels[0])), tf.sum(tf.square(kernels[1])));
        return tf.add(loss, tf.mul(decay, weightDecay)) as tf.Scalar;
      },
      false,
      [...kernels, ...biases],
    );
    onEpoch(epoch);
  }

  const testX = inputsOf("test");
  const output = tf.tidy(() => tf.softmax(logits(testX)));
  const predictions = output.arraySync() as number[][][];
  tf.dispose([x, y, testX, output, ...kernels, ...biases]);
  optimizer.dispose();
  return splits.map(({ test }, f) =>
    scoresOf(
      predictions[f]!,
      test.map((i) => dataset.labels[i]!),
    ),
  );
}
