import * as tf from "@tensorflow/tfjs";
import type { Dataset } from "./dataset.ts";
import { HYPERPARAMETERS, type Weights } from "./network.ts";

/** 1 エポックの後の値。損失は重みの減衰を含まない対数損失。 */
export interface Epoch {
  readonly loss: number;
  readonly accuracy: number;
  readonly heldOutLoss: number;
  readonly heldOutAccuracy: number;
}

/** 対数損失。名前が tfjs の記録の鍵になる。 */
const logLoss = (labels: tf.Tensor, logits: tf.Tensor): tf.Tensor =>
  tf.losses.softmaxCrossEntropy(labels, logits);

/**
 * tfjs layers で網を学習する。毎回全行を使う(一括)ので、順序の乱数が要らず、結果は種だけで決まる。
 *
 * softmax は損失の側に持たせる。数値的に安定で、配信するグラフには書き出しのときに付ける。
 *
 * @param train 標準化済みの行。
 * @param heldOut 曲線を描くためだけに使う。学習には触れない。
 */
export async function fitNetwork(
  train: Dataset,
  heldOut: Dataset,
  initial: Weights,
  epochs: number,
  onEpoch: (epoch: number, values: Epoch) => void,
): Promise<Weights> {
  const { hidden, learningRate, weightDecay } = HYPERPARAMETERS;
  const classes = initial.outputBias.length;
  const kernelRegularizer = tf.regularizers.l2({ l2: weightDecay });
  const model = tf.sequential({
    layers: [
      tf.layers.dense({
        inputShape: [initial.hiddenKernel.length],
        units: hidden,
        activation: "relu",
        kernelRegularizer,
      }),
      tf.layers.dense({ units: classes, kernelRegularizer }),
    ],
  });
  const start = [
    tf.tensor2d(initial.hiddenKernel.map((row) => [...row])),
    tf.tensor1d([...initial.hiddenBias]),
    tf.tensor2d(initial.outputKernel.map((row) => [...row])),
    tf.tensor1d([...initial.outputBias]),
  ];
  model.setWeights(start);
  model.compile({
    optimizer: tf.train.adam(learningRate),
    loss: logLoss,
    metrics: ["accuracy", logLoss],
  });
  const [x, y] = [features(train), oneHot(train.labels, classes)];
  const [heldOutX, heldOutY] = [features(heldOut), oneHot(heldOut.labels, classes)];
  await model.fit(x, y, {
    epochs,
    batchSize: train.rows.length,
    shuffle: false,
    verbose: 0,
    yieldEvery: "never",
    validationData: [heldOutX, heldOutY],
    callbacks: {
      onEpochEnd: (epoch, logs) => {
        onEpoch(epoch, {
          loss: logs!["logLoss"]!,
          accuracy: logs!["acc"]!,
          heldOutLoss: logs!["val_logLoss"]!,
          heldOutAccuracy: logs!["val_acc"]!,
        });
      },
    },
  });
  const [hiddenKernel, hiddenBias, outputKernel, outputBias] = model.getWeights().map((w) => w.arraySync());
  tf.dispose([start, x, y, heldOutX, heldOutY]);
  model.dispose();
  return { hiddenKernel, hiddenBias, outputKernel, outputBias } as unknown as Weights;
}

function features({ rows }: Dataset): tf.Tensor2D {
  return tf.tensor2d(rows.map((row) => [...row]));
}

function oneHot(labels: readonly number[], classes: number): tf.Tensor {
  return tf.tidy(() => tf.oneHot(tf.tensor1d([...labels], "int32"), classes).toFloat());
}
