import { invalidArgument } from "../../base/status.ts";
import { lanesOf } from "../../tensor/dtype.ts";
import { type Shape, sizeOf, type Tensor } from "../../tensor/tensor.ts";
import { bigsOf, isBig, numbersOf } from "./elementwise.ts";
import { formatShape, makeTensor, newData, roundTo } from "./kernel_util.ts";
import type { DeviceRow, HostKernel, OpNode, OpRow } from "./registry.ts";

/** 2 番目(NCHW)の軸に足すか。 */
const channelsFirst = (node: OpNode): boolean =>
  node.attrs.has("data_format") && node.attrs.string("data_format") === "NCHW";

function checkBias(x: Shape, bias: Shape, first: boolean): void {
  if (x.length < 2) throw invalidArgument(`Input tensor must be at least 2D: ${formatShape(x)}`);
  if (bias.length !== 1) throw invalidArgument(`Biases must be 1D: ${formatShape(bias)}`);
  if (bias[0] !== (first ? x[1] : x.at(-1))) {
    throw invalidArgument(
      `Must provide as many biases as the ${first ? "channel" : "last"} dimension of the input tensor: ${formatShape(bias)} vs. ${formatShape(x)}`,
    );
  }
}

/** チャンネルの軸に沿って足す。 */
function biasAdd(node: OpNode): HostKernel {
  const first = channelsFirst(node);
  return ([x, bias]) => {
    checkBias(x!.shape, bias!.shape, first);
    const { dtype, shape } = x!;
    const data = newData(dtype, shape);
    // 複素数では 1 要素が 2 つの数で、偏りも同じ並び。チャンネルが末尾でないときだけ別に数える。
    const lanes = lanesOf(dtype);
    const inner = first ? sizeOf(shape.slice(2)) * lanes : 1;
    const channels = bias!.shape[0]! * (first ? 1 : lanes);
    const channel = (i: number): number => {
      if (inner === 1) return i % channels;
      return (Math.floor(i / inner) % channels) * lanes + (i % lanes);
    };
    if (isBig(dtype)) {
      const [from, add, out] = [bigsOf(x!), bigsOf(bias!), data as BigInt64Array];
      for (let i = 0; i < from.length; i++) out[i] = from[i]! + add[channel(i)]!;
    } else {
      const [from, add, out] = [numbersOf(x!), numbersOf(bias!), data as Float64Array];
      for (let i = 0; i < from.length; i++) out[i] = from[i]! + add[channel(i)]!;
      roundTo(dtype, data as Tensor["data"]);
    }
    return makeTensor(dtype, shape, data);
  };
}

const device: DeviceRow = {
  build: (node) => {
    if (node.inputTypes[0] !== "float" || channelsFirst(node)) return undefined;
    return (inputs, wasm) => {
      checkBias(inputs.shape(0), inputs.shape(1), false);
      return wasm.call("Add", { a: inputs.device(0), b: inputs.device(1) });
    };
  },
};

export const biasAddOps: readonly OpRow[] = [
  { op: "BiasAdd", host: biasAdd, device },
  { op: "BiasAddV1", host: biasAdd, device },
];
