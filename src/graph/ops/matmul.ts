import { invalidArgument, unimplemented } from "../../base/status.ts";
import type { DType } from "../../tensor/dtype.ts";
import { type Shape, sizeOf, type Tensor, tensor } from "../../tensor/tensor.ts";
import type { Device, DeviceTensor, Value } from "../value.ts";
import { castTensor } from "./cast.ts";
import { type Activation, activateInPlace, denseInto } from "./dense_kernel.ts";
import { isBig, isComplex, isFloating, unsupported } from "./elementwise.ts";
import {
  broadcastShapes,
  broadcastStrides,
  formatShape,
  makeTensor,
  newData,
  roundTo,
} from "./kernel_util.ts";
import type { DeviceKernel, DeviceKernelInputs, DeviceRow, HostKernel, OpNode, OpRow } from "./registry.ts";
import { conjugate } from "./strided_copy.ts";

/** tfjs-wasm の融合カーネルが知っている活性化。 */
export const onWasm: ReadonlySet<Activation> = new Set([
  "linear",
  "relu",
  "relu6",
  "elu",
  "sigmoid",
  "leakyrelu",
]);

export /** 行列 1 組の大きさと歩幅。 */
interface Product {
  readonly rows: number;
  readonly inner: number;
  readonly columns: number;
  /** a[i, p] は `i * aRow + p * aInner`。 */
  readonly aRow: number;
  readonly aInner: number;
  /** b[p, j] は `p * bInner + j * bColumn`。 */
  readonly bInner: number;
  readonly bColumn: number;
}

/** 和は倍精度のレジスタに溜める。どの歩幅でもよいかわりに、{@link denseInto} より遅い。 */
function multiply(
  a: Float32Array,
  b: Float32Array,
  out: Float32Array,
  { rows, inner, columns, aRow, aInner, bInner, bColumn }: Product,
  aAt: number,
  bAt: number,
  outAt: number,
): void {
  for (let i = 0; i < rows; i++) {
    const rowAt = aAt + i * aRow;
    const to = outAt + i * columns;
    for (let j = 0; j < columns; j++) {
      let sum = 0;
      let from = rowAt;
      let weight = bAt + j * bColumn;
      for (let p = 0; p < inner; p++) {
        sum += a[from]! * b[weight]!;
        from += aInner;
        weight += bInner;
      }
      out[to + j] = sum;
    }
  }
}

/** 64 bit 整数の積。 */
function multiplyBig(
  a: BigInt64Array,
  b: BigInt64Array,
  out: BigInt64Array,
  { rows, inner, columns, aRow, aInner, bInner, bColumn }: Product,
  aAt: number,
  bAt: number,
  outAt: number,
): void {
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      let sum = 0n;
      for (let p = 0; p < inner; p++) {
        sum += a[aAt + i * aRow + p * aInner]! * b[bAt + p * bInner + j * bColumn]!;
      }
      out[outAt + i * columns + j] = sum;
    }
  }
}

/** 32 bit 整数の積。桁あふれは折り返す。 */
function multiplyInt(
  a: Int32Array,
  b: Int32Array,
  out: Int32Array,
  { rows, inner, columns, aRow, aInner, bInner, bColumn }: Product,
  aAt: number,
  bAt: number,
  outAt: number,
): void {
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      let sum = 0;
      for (let p = 0; p < inner; p++) {
        sum = (sum + Math.imul(a[aAt + i * aRow + p * aInner]!, b[bAt + p * bInner + j * bColumn]!)) | 0;
      }
      out[outAt + i * columns + j] = sum;
    }
  }
}

/** 複素数の積。実部と虚部は交互に並ぶ。 */
function multiplyComplex(
  a: Float64Array,
  b: Float64Array,
  out: Float64Array,
  { rows, inner, columns, aRow, aInner, bInner, bColumn }: Product,
  aAt: number,
  bAt: number,
  outAt: number,
): void {
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      let [re, im] = [0, 0];
      for (let p = 0; p < inner; p++) {
        const x = (aAt + i * aRow + p * aInner) * 2;
        const y = (bAt + p * bInner + j * bColumn) * 2;
        re += a[x]! * b[y]! - a[x + 1]! * b[y + 1]!;
        im += a[x]! * b[y + 1]! + a[x + 1]! * b[y]!;
      }
      out[(outAt + i * columns + j) * 2] = re;
      out[(outAt + i * columns + j) * 2 + 1] = im;
    }
  }
}

function productOf(a: Shape, b: Shape, transposeA: boolean, transposeB: boolean): Product {
  const [aFirst, aLast] = [a.at(-2)!, a.at(-1)!];
  const [bFirst, bLast] = [b.at(-2)!, b.at(-1)!];
  const inner = transposeA ? aFirst : aLast;
  if (inner !== (transposeB ? bLast : bFirst)) {
    throw incompatible(a, b);
  }
  return {
    rows: transposeA ? aLast : aFirst,
    inner,
    columns: transposeB ? bFirst : bLast,
    aRow: transposeA ? 1 : aLast,
    aInner: transposeA ? aLast : 1,
    bInner: transposeB ? 1 : bLast,
    bColumn: transposeB ? bLast : 1,
  };
}

/** 先頭の軸をブロードキャストする行列積。 */
export function matMul(a: Tensor, b: Tensor, transposeA = false, transposeB = false): Tensor {
  checkRanks(a.shape, b.shape);
  const product = productOf(a.shape, b.shape, transposeA, transposeB);
  const batch = batchOf(a.shape, b.shape);
  const { dtype } = a;
  const shape = [...batch, product.rows, product.columns];
  const out = newData(dtype, shape);
  const run = coreOf(dtype);
  const count = sizeOf(batch);
  const aSize = product.rows * product.inner;
  const bSize = product.inner * product.columns;
  const aStrides = broadcastStrides(a.shape.slice(0, -2), batch);
  const bStrides = broadcastStrides(b.shape.slice(0, -2), batch);
  for (let at = 0; at < count; at++) {
    let [rest, aAt, bAt] = [at, 0, 0];
    for (let axis = batch.length - 1; axis >= 0; axis--) {
      const index = rest % batch[axis]!;
      rest = (rest - index) / batch[axis]!;
      aAt += index * aStrides[axis]!;
      bAt += index * bStrides[axis]!;
    }
    run(a.data, b.data, out, product, aAt * aSize, bAt * bSize, at * product.rows * product.columns);
  }
  roundTo(dtype, out);
  return makeTensor(dtype, shape, out);
}

type Core = (
  a: Tensor["data"],
  b: Tensor["data"],
  out: Tensor["data"],
  product: Product,
  aAt: number,
  bAt: number,
  outAt: number,
) => void;

function coreOf(dtype: DType): Core {
  if (dtype === "string" || dtype === "bool") throw unsupported(dtype);
  if (isComplex(dtype)) return multiplyComplex as Core;
  if (isBig(dtype)) return multiplyBig as Core;
  if (isFloating(dtype)) return multiply as Core;
  return multiplyInt as Core;
}

/** 全結合 1 層の設定。 */
interface DenseSettings {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  readonly activation: Activation;
  readonly alpha: number;
}

/** [rows, inner] × [inner, columns] + [columns]、続けて活性化。小さいモデルの実行時間はほぼここで決まる。 */
function denseHost({ transposeA, transposeB, activation, alpha }: DenseSettings): HostKernel {
  return ([a, b, bias]) => {
    const [aShape, bShape] = [a!.shape, b!.shape];
    checkMatrices(aShape, bShape);
    const rows = aShape[transposeA ? 1 : 0]!;
    const columns = bShape[transposeB ? 0 : 1]!;
    const inner = aShape[transposeA ? 0 : 1]!;
    if (inner !== bShape[transposeB ? 1 : 0]) throw incompatible(aShape, bShape);
    const shape = [rows, columns];
    const biases = bias?.data as Float32Array | undefined;
    if (biases !== undefined && biases.length !== columns) {
      throw invalidArgument(
        `Must provide as many biases as the last dimension of the input tensor: ${formatShape(bias!.shape)} vs. ${formatShape(shape)}`,
      );
    }
    const out = newData("float", shape);
    const [left, right] = [a!.data as Float32Array, b!.data as Float32Array];
    if (!transposeA && !transposeB) denseInto(left, right, biases, out, rows, inner, columns);
    else {
      multiply(left, right, out, productOf(aShape, bShape, transposeA, transposeB), 0, 0, 0);
      if (biases !== undefined) for (let i = 0; i < out.length; i++) out[i]! += biases[i % columns]!;
    }
    if (activation !== "linear") activateInPlace(out, activation, alpha);
    return tensor("float", shape, out);
  };
}

/** 内側の大きさが合わない。 */
export function incompatible(a: Shape, b: Shape): Error {
  return invalidArgument(`Matrix size-incompatible: In[0]: ${formatShape(a)}, In[1]: ${formatShape(b)}`);
}

/** @throws INVALID_ARGUMENT どちらかが行列でない。 */
export function checkMatrices(a: Shape, b: Shape): void {
  if (a.length === 2 && b.length === 2) return;
  throw invalidArgument(
    a.length === b.length
      ? `In[0] and In[1] ndims must be == 2: ${a.length}`
      : `In[0] and In[1] has different ndims: ${formatShape(a)} vs. ${formatShape(b)}`,
  );
}

/** 形だけを変えて見る。記憶は元のものなので、入力に渡すだけで、返してはならない。 */
function viewOf({ dataId, dtype }: DeviceTensor, shape: number[]): DeviceTensor {
  return { dataId, shape, dtype };
}

function denseDevice(settings: DenseSettings): DeviceKernel {
  const { transposeA, transposeB, activation, alpha } = settings;
  const attrs = { activation, leakyreluAlpha: alpha };
  const host = denseHost(settings);
  return (inputs, device) => {
    const [aShape, bShape] = [inputs.shape(0), inputs.shape(1)];
    checkMatrices(aShape, bShape);
    const { rows, inner, columns } = productOf(aShape, bShape, transposeA, transposeB);
    // 空の行列は XNNPACK が受け付けない。
    if (sizeOf(aShape) === 0 || sizeOf(bShape) === 0) return host(hostInputs(inputs));
    // tfjs-wasm の融合カーネルは、転置があると偏りと活性化を忘れる。先に転置すれば XNNPACK にも乗る。
    const left = transposeA ? transposed(inputs.device(0), device) : inputs.device(0);
    const right = transposeB ? transposed(inputs.device(1), device) : inputs.device(1);
    const bias = inputs.count > 2 ? inputs.device(2) : undefined;
    return denseOnDevice(viewOf(left, [rows, inner]), viewOf(right, [inner, columns]), bias, attrs, device);
  };
}

/** 転置の無い、空でない全結合の 1 層。 */
export function denseOnDevice(
  x: DeviceTensor,
  weights: DeviceTensor,
  bias: DeviceTensor | undefined,
  attrs: { readonly activation: Activation; readonly leakyreluAlpha: number },
  device: Device,
): DeviceTensor {
  const [rows, inner] = x.shape as [number, number];
  const columns = weights.shape[1]!;
  const a = viewOf(x, [1, rows, inner]);
  const b = viewOf(weights, [1, inner, columns]);
  const out = device.call("_FusedMatMul", { a, b, bias }, { transposeA: false, transposeB: false, ...attrs });
  return device.reshape(out, [rows, columns]);
}

function transposed(x: DeviceTensor, device: Device): DeviceTensor {
  return device.call("Transpose", { x }, { perm: [1, 0] });
}

function hostInputs(inputs: DeviceKernelInputs): Tensor[] {
  return Array.from({ length: inputs.count }, (_, i) => inputs.host(i));
}

const denseWork = (inputs: readonly Value[]): number => {
  const columns = inputs[1]!.shape.at(-1) ?? 1;
  return sizeOf(inputs[0]!.shape) * columns;
};

function settingsOf({ attrs }: OpNode): DenseSettings {
  const fused = attrs.has("activation");
  return {
    transposeA: attrs.bool("transpose_a"),
    transposeB: attrs.bool("transpose_b"),
    activation: fused ? (attrs.string("activation") as Activation) : "linear",
    alpha: fused ? attrs.float("alpha") : 0,
  };
}

const matMulRow: OpRow = {
  op: "MatMul",
  host: (node) => {
    const settings = settingsOf(node);
    if (node.inputTypes[0] === "float") return denseHost(settings);
    return ([a, b]) => {
      checkMatrices(a!.shape, b!.shape);
      return matMul(a!, b!, settings.transposeA, settings.transposeB);
    };
  },
  device: { work: denseWork, build: (node) => denseDevice(settingsOf(node)) },
};

/** fuse.ts が作る、MatMul + 偏り + 活性化。float だけ。 */
const dense: OpRow = {
  op: "_Dense",
  host: (node) => denseHost(settingsOf(node)),
  device: {
    anyDType: true,
    work: denseWork,
    build: (node) => {
      const settings = settingsOf(node);
      return onWasm.has(settings.activation) ? denseDevice(settings) : undefined;
    },
  },
};

/** 1 組の積和がこれより少ないか、行が少なければ、XNNPACK に右の行列を並べ替えて渡す手間のほうが大きい。 */
const MIN_PRODUCT = 4096;
const MIN_PRODUCT_ROWS = 4;

/**
 * 行列積をデバイスで。b が 1 枚なら a の先頭の軸を行に畳み、XNNPACK の速い道に乗せる。空の行列は扱わない。
 *
 * @returns 形 [...batch, rows, columns]。
 */
export function matMulOnDevice(
  device: Device,
  a: DeviceTensor,
  b: DeviceTensor,
  transposeA: boolean,
  transposeB: boolean,
): DeviceTensor {
  const { rows, inner, columns } = productOf(a.shape, b.shape, transposeA, transposeB);
  const batch = batchOf(a.shape, b.shape);
  const attrs = { transposeA, transposeB, activation: "linear" };
  const shape = [...batch, rows, columns];
  const [bRows, bColumns] = [b.shape.at(-2)!, b.shape.at(-1)!];
  if (sizeOf(b.shape.slice(0, -2)) === 1) {
    const last = a.shape.at(-1)!;
    const flat = transposeA
      ? [sizeOf(a.shape.slice(0, -2)), a.shape.at(-2)!, last]
      : [1, sizeOf(a.shape.slice(0, -1)), last];
    const kernel = flat[0] === 1 ? "_FusedMatMul" : "BatchMatMul";
    const operands = { a: viewOf(a, flat), b: viewOf(b, [1, bRows, bColumns]) };
    return device.reshape(device.call(kernel, operands, attrs), shape);
  }
  const count = sizeOf(batch);
  const left = viewOf(spread(a, batch, device), [count, a.shape.at(-2)!, a.shape.at(-1)!]);
  const right = viewOf(spread(b, batch, device), [count, bRows, bColumns]);
  if (rows < MIN_PRODUCT_ROWS || rows * inner * columns < MIN_PRODUCT) {
    return device.reshape(device.call("BatchMatMul", { a: left, b: right }, attrs), shape);
  }
  const product = device.products(
    transposeA ? turned(left, device) : left,
    transposeB ? turned(right, device) : right,
  );
  return device.reshape(product, shape);
}

/** 組ごとに転置する。 */
function turned(x: DeviceTensor, device: Device): DeviceTensor {
  return device.call("Transpose", { x }, { perm: [0, 2, 1] });
}

/** ブロードキャスト後の先頭の軸。 @throws INVALID_ARGUMENT 行列でない、または合わない。 */
function batchOf(a: Shape, b: Shape): number[] {
  const batch = broadcastShapes(a.slice(0, -2), b.slice(0, -2));
  if (batch !== undefined) return batch;
  throw invalidArgument(
    `In[0] and In[1] must have compatible batch dimensions: ${formatShape(a)} vs. ${formatShape(b)}`,
  );
}

function checkRanks(a: Shape, b: Shape): void {
  if (a.length < 2) throw invalidArgument(`In[0] ndims must be >= 2: ${a.length}`);
  if (b.length < 2) throw invalidArgument(`In[1] ndims must be >= 2: ${b.length}`);
}

const batchDevice =
  (transposeA: boolean, transposeB: boolean): DeviceKernel =>
  (inputs, device) => {
    const [a, b] = [inputs.shape(0), inputs.shape(1)];
    checkRanks(a, b);
    // 空の行列は XNNPACK が受け付けない。
    if (sizeOf(a) === 0 || sizeOf(b) === 0) {
      return matMul(inputs.host(0), inputs.host(1), transposeA, transposeB);
    }
    return matMulOnDevice(device, inputs.device(0), inputs.device(1), transposeA, transposeB);
  };

/** 先頭の軸を `batch` に広げる。同じなら写さない。 */
function spread(from: DeviceTensor, batch: Shape, device: Device): DeviceTensor {
  const own = from.shape.slice(0, -2);
  if (sizeOf(own) === sizeOf(batch)) return from;
  const padded = [...new Array<number>(batch.length - own.length).fill(1), ...own];
  const reps = [...batch.map((dim, i) => (padded[i] === dim ? 1 : dim)), 1, 1];
  return device.call("Tile", { x: viewOf(from, [...padded, ...from.shape.slice(-2)]) }, { reps });
}

const batchRow = (op: string): OpRow => {
  const build = (node: OpNode): [boolean, boolean] => [node.attrs.bool("adj_x"), node.attrs.bool("adj_y")];
  const device: DeviceRow = {
    work: denseWork,
    build: (node) =>
      node.inputTypes.every((dtype) => dtype === "float") ? batchDevice(...build(node)) : undefined,
  };
  return {
    op,
    host: (node) => {
      const [adjX, adjY] = build(node);
      return ([a, b]) => matMul(adjX ? conjugate(a!) : a!, adjY ? conjugate(b!) : b!, adjX, adjY);
    },
    device,
  };
};

/**
 * 入力と出力の型が違いうる積(int8 どうしを int32 に、など)。先に出力の型へ直せば、その型での積と同じになる。
 */
const sameTypes = batchRow("BatchMatMulV3");

const mixedBatch: OpRow = {
  ...sameTypes,
  host: (node) => {
    const { outputTypes, inputTypes, attrs } = node;
    const [out] = outputTypes;
    if (out === undefined) throw unimplemented("The product of values without a type is not supported");
    if (inputTypes.every((dtype) => dtype === out)) return sameTypes.host!(node);
    const [adjX, adjY] = [attrs.bool("adj_x"), attrs.bool("adj_y")];
    return ([a, b]) => matMul(castTensor(a!, out), castTensor(b!, out), adjX, adjY);
  },
};

/**
 * 行列積。
 *
 * @see tensorflow/core/kernels/matmul_op_impl.h
 */
export const matmulOps: readonly OpRow[] = [
  matMulRow,
  dense,
  batchRow("BatchMatMul"),
  batchRow("BatchMatMulV2"),
  mixedBatch,
];
