import * as tf from "@tensorflow/tfjs-core";

/** write_networks.py が書いた、重みの置き場所。 */
interface Stored {
  readonly at: number;
  readonly shape: number[];
}

interface Dense {
  readonly kernel: Stored;
  readonly bias: Stored;
}

interface Norm {
  readonly gamma: Stored;
  readonly beta: Stored;
}

interface ConvPart {
  readonly kind: "conv" | "depthwise";
  readonly kernel: Stored;
  readonly norm: Norm & { readonly moving_mean: Stored; readonly moving_variance: Stored };
  readonly epsilon: number;
  readonly stride: number;
  readonly padding: "same" | "valid";
  readonly relu6: boolean;
  readonly startsBlock: boolean;
}

type MobilePart =
  | ConvPart
  | { readonly kind: "pad"; readonly padding: [[number, number], [number, number]] }
  | { readonly kind: "add" | "mean" }
  | ({ readonly kind: "dense" } & Dense);

interface EncoderPart {
  readonly heads: number;
  readonly query: Dense;
  readonly key: Dense;
  readonly value: Dense;
  readonly output: Dense;
  readonly first: Norm;
  readonly second: Norm;
  readonly up: Dense;
  readonly down: Dense;
}

/** network.json。 */
export interface Network {
  readonly input: string;
  readonly parts: readonly (MobilePart | EncoderPart)[];
  readonly cases: readonly { readonly input: Stored; readonly output: Stored }[];
}

/** 素の tfjs で 1 回走らせる関数。入力も出力も float32 の列。 */
export type RawCall = (x: Float32Array, shape: number[]) => Float32Array;

export const slice = (weights: Float32Array, { at, shape }: Stored): Float32Array =>
  weights.subarray(at, at + shape.reduce((a, b) => a * b, 1));

/**
 * 同じ重みの網を、tfjs の公開された関数だけで組む。正規化は畳み込みに畳み、融合カーネルを使う
 * (手で書くなら一番速い形)。
 */
export function rawNetwork({ parts }: Network, weights: Float32Array): RawCall {
  const load = (stored: Stored): tf.Tensor => tf.tensor(slice(weights, stored), stored.shape);
  const layers = parts.map((part) => ("heads" in part ? encoderBlock(part, load) : mobileLayer(part, load)));
  return (x, shape) => {
    // tidy から型付き配列を返すと要素ごとに調べられて遅い。
    const y = tf.tidy(() => {
      let at: tf.Tensor = tf.tensor(x, shape);
      let saved = at;
      for (const layer of layers) {
        if (layer.startsBlock) saved = at;
        at = layer.run(at, saved);
      }
      return at;
    });
    const out = y.dataSync() as Float32Array;
    y.dispose();
    return out;
  };
}

interface Layer {
  /** 残差の元になる値を、この層の入力に取り直す。 */
  readonly startsBlock?: boolean;
  run(x: tf.Tensor, saved: tf.Tensor): tf.Tensor;
}

type Load = (stored: Stored) => tf.Tensor;

function mobileLayer(part: MobilePart, load: Load): Layer {
  switch (part.kind) {
    case "pad":
      return { run: (x) => tf.pad4d(x as tf.Tensor4D, [[0, 0], ...part.padding, [0, 0]]) };
    case "add":
      return { run: (x, saved) => tf.add(saved, x) };
    case "mean":
      return { run: (x) => tf.mean(x, [1, 2]) };
    case "dense": {
      const [kernel, bias] = [load(part.kernel), load(part.bias)];
      return { run: (x) => tf.softmax(tf.fused.matMul({ a: x, b: kernel, bias })) };
    }
    default:
      return convLayer(part, load);
  }
}

function convLayer(part: ConvPart, load: Load): Layer {
  const { norm, epsilon, kind, stride, padding, relu6, startsBlock } = part;
  const gain = tf.div(load(norm.gamma), tf.sqrt(tf.add(load(norm.moving_variance), epsilon)));
  const bias = tf.sub(load(norm.beta), tf.mul(load(norm.moving_mean), gain));
  const kernel = load(part.kernel);
  const [h, w, c] = kernel.shape as [number, number, number];
  const folded = tf.mul(kernel, kind === "conv" ? gain : tf.reshape(gain, [1, 1, c, -1]));
  const filter = folded as tf.Tensor4D;
  const activation = relu6 ? ("relu6" as const) : ("linear" as const);
  // 1×1 の畳み込みは、tfjs でも内側では行列積。
  if (h * w === 0) throw new Error("the filter is empty");
  const run = kind === "conv" ? tf.fused.conv2d : tf.fused.depthwiseConv2d;
  return {
    startsBlock,
    run: (x) => run({ x: x as tf.Tensor4D, filter, strides: stride, pad: padding, bias, activation }),
  };
}

function encoderBlock(part: EncoderPart, load: Load): Layer {
  const dense = ({ kernel, bias }: Dense) => {
    const [b, add] = [load(kernel), load(bias)];
    return (x: tf.Tensor): tf.Tensor => tf.fused.matMul({ a: x, b, bias: add });
  };
  const norm = ({ gamma, beta }: Norm) => {
    const [g, b] = [load(gamma), load(beta)];
    return (x: tf.Tensor): tf.Tensor => {
      const { mean, variance } = tf.moments(x, -1, true);
      return tf.add(tf.mul(tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, 1e-6))), g), b);
    };
  };
  const [query, key, value, output] = [part.query, part.key, part.value, part.output].map(dense) as [
    ReturnType<typeof dense>,
    ReturnType<typeof dense>,
    ReturnType<typeof dense>,
    ReturnType<typeof dense>,
  ];
  const [first, second] = [norm(part.first), norm(part.second)];
  const [up, down] = [dense(part.up), dense(part.down)];
  const { heads } = part;
  return {
    run: (input) => {
      const [batch, length, width] = input.shape as [number, number, number];
      const depth = width / heads;
      const x = tf.reshape(input, [batch * length, width]);
      const split = (y: tf.Tensor): tf.Tensor =>
        tf.transpose(tf.reshape(y, [batch, length, heads, depth]), [0, 2, 1, 3]);
      const scaled = tf.mul(split(query(x)), 1 / Math.sqrt(depth));
      const scores = tf.softmax(tf.matMul(scaled, split(key(x)), false, true));
      const mixed = tf.transpose(tf.matMul(scores, split(value(x))), [0, 2, 1, 3]);
      const attended = first(tf.add(x, output(tf.reshape(mixed, [batch * length, width]))));
      const wide = up(attended);
      const gelu = tf.mul(tf.mul(wide, 0.5), tf.add(tf.erf(tf.mul(wide, Math.SQRT1_2)), 1));
      return tf.reshape(second(tf.add(attended, down(gelu))), [batch, length, width]);
    },
  };
}
