import { type Shape, sizeOf, type Tensor, tensor } from "../../tensor/tensor.ts";
import { atNode } from "../execute.ts";
import type { DeviceTensor } from "../value.ts";
import { checkSize } from "./kernel_util.ts";
import { checkMatrices, denseOnDevice, incompatible } from "./matmul.ts";
import type { DeviceKernel, HostKernel, OpNode, OpRow } from "./registry.ts";
import { type LayerActivation, SimdDense } from "./simd_dense.ts";

/** 形の誤りは、最初の層の誤りとして言う。 */
function checkInput(shape: Shape, weights: Shape, first: string): void {
  try {
    checkMatrices(shape, weights);
    if (shape[1] !== weights[0]) throw incompatible(shape, weights);
  } catch (thrown) {
    throw atNode(thrown, first);
  }
}

const activationsOf = ({ attrs }: OpNode): LayerActivation[] =>
  attrs.strings("activations") as LayerActivation[];

function layersHost(node: OpNode): HostKernel {
  const layers = activationsOf(node).map((activation, i) => ({
    weights: node.constant(2 * i + 1)!.data as Float32Array,
    biases: node.constant(2 * i + 2)!.data as Float32Array,
    activation,
  }));
  const simd = new SimdDense(layers);
  const weights = node.constant(1)!.shape;
  const columns = layers.at(-1)!.biases.length;
  const first = node.attrs.string("first");
  return ([x]) => {
    checkInput(x!.shape, weights, first);
    const shape = [x!.shape[0]!, columns];
    checkSize("float", shape);
    return tensor("float", shape, simd.run(x!.data as Float32Array, shape[0]!));
  };
}

/** 入力がもうデバイスにあるとき。1 層ずつ tfjs-wasm に渡す。 */
function layersDevice(node: OpNode): DeviceKernel {
  const activations = activationsOf(node);
  const first = node.attrs.string("first");
  const host = layersHost(node);
  return (inputs, device) => {
    const shape = inputs.shape(0);
    checkInput(shape, inputs.shape(1), first);
    // 空の行列は XNNPACK が受け付けない。
    if (sizeOf(shape) === 0) return host([inputs.host(0)]) as Tensor;
    return activations.reduce<DeviceTensor>((x, named, i) => {
      const activation = named === "softmax" ? "linear" : named;
      const attrs = { activation, leakyreluAlpha: 0 };
      const y = denseOnDevice(x, inputs.device(2 * i + 1), inputs.device(2 * i + 2), attrs, device);
      return named === "softmax" ? device.call("Softmax", { logits: y }, { dim: 1 }) : y;
    }, inputs.device(0));
  };
}

/** fuse_layers.ts が作る、小さい全結合の続き。wasm の SIMD で走るホストの演算。 */
export const denseLayersOps: readonly OpRow[] = [
  {
    op: "_DenseLayers",
    host: layersHost,
    device: {
      anyDType: true,
      hostInputs: "rest",
      // ホストにあるものは、どれだけ大きくても tfjs に渡すより速い。
      work: () => 0,
      build: layersDevice,
    },
  },
];
