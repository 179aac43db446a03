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

/** 変数の合計がおよそ `megabytes` MB の 4-n-n-3 の網。 */
export function wideNetwork(megabytes: number): DenseNetwork {
  const width = Math.round(Math.sqrt((megabytes * 2 ** 20) / 4));
  const layer = (from: number, to: number, activation: "relu" | "softmax") => ({
    kernel: { dtype: "float" as const, shape: [from, to], data: new Float32Array(from * to).fill(1e-4) },
    bias: { dtype: "float" as const, shape: [to], data: new Float32Array(to) },
    activation,
  });
  return {
    inputName: "input",
    outputName: "output",
    layers: [layer(4, width, "relu"), layer(width, width, "relu"), layer(width, 3, "softmax")],
  };
}
