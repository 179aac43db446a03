import type { DenseNetwork } from "../../src/savedmodel/dense_network.ts";

/** 何を入れても `best` 番のクラスを選ぶ 4-3 の網。版ごとに違う答えを作るのに使う。 */
export function constantNetwork(best: number): DenseNetwork {
  const bias = new Float32Array(3);
  bias[best] = 5;
  return {
    inputName: "input",
    outputName: "output",
    layers: [
      {
        kernel: { dtype: "float", shape: [4, 3], data: new Float32Array(12) },
        bias: { dtype: "float", shape: [3], data: bias },
        activation: "softmax",
      },
    ],
  };
}
