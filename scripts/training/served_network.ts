import type { DenseNetwork } from "../../src/savedmodel/dense_network.ts";
import type { TensorOf } from "../../src/tensor/tensor.ts";
import { FEATURES, SPECIES } from "./dataset.ts";
import type { Weights } from "./network.ts";

/** 書き出す形。配信されるグラフは Dense → ReLU → Dense → Softmax だけになる。 */
export function servedNetwork(weights: Weights): DenseNetwork {
  return {
    inputName: "input",
    outputName: "output",
    layers: [
      { kernel: matrix(weights.hiddenKernel), bias: vector(weights.hiddenBias), activation: "relu" },
      { kernel: matrix(weights.outputKernel), bias: vector(weights.outputBias), activation: "softmax" },
    ],
    classifier: { features: FEATURES, labels: SPECIES },
  };
}

function matrix(rows: readonly (readonly number[])[]): TensorOf<"float"> {
  return { dtype: "float", shape: [rows.length, rows[0]!.length], data: new Float32Array(rows.flat()) };
}

function vector(values: readonly number[]): TensorOf<"float"> {
  return { dtype: "float", shape: [values.length], data: new Float32Array(values) };
}
