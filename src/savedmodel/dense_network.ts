import { invalidArgument } from "../base/status.ts";
import type { TensorOf } from "../tensor/tensor.ts";

/** 活性化関数。`linear` は何もしない。 */
export type Activation = "linear" | "relu" | "sigmoid" | "softmax" | "tanh";

/** 全結合層。kernel は [入力幅, 出力幅]、bias は [出力幅]。 */
interface DenseLayer {
  readonly kernel: TensorOf<"float">;
  readonly bias: TensorOf<"float">;
  readonly activation: Activation;
}

/** `tf.Example` を受ける classify シグネチャの中身。 */
export interface ExampleClassifier {
  /** Example の特徴名。1 つにつき float が 1 個で、並びは入力の列の順。 */
  readonly features: readonly string[];
  /** 出力の列ごとの名前。 */
  readonly labels: readonly string[];
}

/** 書き出す網。全結合層を順に重ねたもの。 */
export interface DenseNetwork {
  /** `serving_default` の入力の別名。小文字・数字・下線。 */
  readonly inputName: string;
  readonly outputName: string;
  readonly layers: readonly DenseLayer[];
  readonly classifier?: ExampleClassifier;
}

/** 重みひとつ。名前は Keras の流儀(`dense/kernel`, `dense/bias`, `dense_1/kernel` …)。 */
export interface NetworkVariable {
  readonly name: string;
  /** チェックポイントでのキー。物体グラフの根からの道でもある。 */
  readonly checkpointKey: string;
  /** 関数がこの変数の資源を受け取る引数の名前。 */
  readonly argument: string;
  readonly value: TensorOf<"float">;
}

/** i 番目の層の名前。 */
export function layerName(index: number): string {
  return index === 0 ? "dense" : `dense_${index}`;
}

/** 層の順に kernel, bias と並べた変数。関数が捕らえる順でもある。 */
export function variablesOf(network: DenseNetwork): NetworkVariable[] {
  return network.layers
    .flatMap((layer, index) => [
      { name: `${layerName(index)}/kernel`, value: layer.kernel },
      { name: `${layerName(index)}/bias`, value: layer.bias },
    ])
    .map(({ name, value }, index) => ({
      name,
      value,
      checkpointKey: `variables/${index}/.ATTRIBUTES/VARIABLE_VALUE`,
      argument: `${name.replace("/", "_")}_resource`,
    }));
}

export function inputWidth(network: DenseNetwork): number {
  return network.layers[0]!.kernel.shape[0]!;
}

export function outputWidth(network: DenseNetwork): number {
  return network.layers.at(-1)!.bias.shape[0]!;
}

/** 関数の引数名と出力名の文法。@see tensorflow/core/framework/op_def_util.cc */
const ARGUMENT_NAME = /^[a-z][a-z0-9_]*$/;

/**
 * 書き出す前の検査。ここを通ったものは TensorFlow が受け入れる。
 *
 * @throws INVALID_ARGUMENT 層が無い、幅がつながらない、名前が文法に合わない、名前の数が幅と違うとき。
 */
export function checkNetwork(network: DenseNetwork): void {
  if (network.layers.length === 0) throw invalidArgument("A network needs at least one layer");
  for (const name of [network.inputName, network.outputName]) {
    if (!ARGUMENT_NAME.test(name)) throw invalidArgument(`"${name}" is not a valid argument name`);
  }
  let width: number | undefined;
  network.layers.forEach(({ kernel, bias }, index) => {
    const [rows, columns] = kernel.shape;
    const connected = width === undefined || width === rows;
    if (kernel.shape.length !== 2 || bias.shape.length !== 1 || bias.shape[0] !== columns || !connected) {
      throw invalidArgument(
        `Layer ${layerName(index)} does not fit: kernel [${kernel.shape}], bias [${bias.shape}], input width ${width ?? "any"}`,
      );
    }
    width = columns;
  });
  const { classifier } = network;
  if (classifier === undefined) return;
  if (classifier.features.length !== inputWidth(network)) {
    throw invalidArgument(
      `${classifier.features.length} feature names for ${inputWidth(network)} input columns`,
    );
  }
  if (classifier.labels.length !== outputWidth(network)) {
    throw invalidArgument(`${classifier.labels.length} labels for ${outputWidth(network)} output columns`);
  }
}
