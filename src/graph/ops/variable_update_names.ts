const arithmetic = ["Add", "Sub", "Mul", "Div", "Min", "Max", "Update"];
const arithmeticNd = ["Add", "Sub", "Min", "Max", "Update"];

/** 変数の一部に書き込む演算。 */
export const scatterUpdates: readonly string[] = [
  ...arithmetic.flatMap((how) => [`Scatter${how}`, `ResourceScatter${how}`]),
  ...arithmeticNd.flatMap((how) => [`ScatterNd${how}`, `ResourceScatterNd${how}`]),
  "StridedSliceAssign",
  "ResourceStridedSliceAssign",
];

/** 変数に置かれた状態から引き、状態を進める乱数。 */
export const generatorUpdates: readonly string[] = [
  "RngReadAndSkip",
  "RngSkip",
  "StatefulUniform",
  "StatefulUniformInt",
  "StatefulUniformFullInt",
  "StatefulStandardNormalV2",
  "StatefulTruncatedNormal",
];
