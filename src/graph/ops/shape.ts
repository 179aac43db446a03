import { invalidArgument, unimplemented } from "../../base/status.ts";
import { type DType, lanesOf } from "../../tensor/dtype.ts";
import { type Shape, sizeOf, type Tensor } from "../../tensor/tensor.ts";
import { Value } from "../value.ts";
import { isBig, rounderOf } from "./elementwise.ts";
import {
  broadcastShapes,
  broadcastStrides,
  checkSize,
  formatShape,
  makeTensor,
  newData,
  normalizeAxis,
  toNumber,
  toNumbers,
} from "./kernel_util.ts";
import type { DeviceRow, HostKernel, OpNode, OpRow } from "./registry.ts";
import { gatherLattice, withShape } from "./strided_copy.ts";

/** number の列を、指定の整数型のテンソルに。 */
export function intTensor(dtype: DType, shape: Shape, values: readonly number[]): Tensor {
  const data = newData(dtype, shape);
  if (isBig(dtype)) {
    const out = data as BigInt64Array;
    for (let i = 0; i < values.length; i++) out[i] = BigInt(values[i]!);
  } else {
    const out = data as Int32Array;
    for (let i = 0; i < values.length; i++) out[i] = values[i]!;
  }
  return makeTensor(dtype, shape, data);
}

const outType = (node: OpNode): DType => (node.attrs.dtype("out_type") === "int64" ? "int64" : "int32");

/** 形だけを見る演算。値をデバイスから写さない。 */
function shapeReader(
  op: string,
  read: (shape: Shape, dtype: DType) => Tensor,
  dtype: (node: OpNode) => DType,
): OpRow {
  return {
    op,
    raw: (node) => {
      const to = dtype(node);
      return (inputs) => inputs.map((value) => Value.ofTensor(read(value.shape, to)));
    },
  };
}

/**
 * −1 を 1 つまで許す形の指定を解く。空のテンソルでも、0 の次元どうしを除いて −1 を求める([0,4] を [0,−1] にすれば [0,4])。
 *
 * @throws INVALID_ARGUMENT 要素数が合わない。
 * @see tensorflow/core/kernels/reshape_op.h
 */
function resolveShape(from: Shape, wanted: readonly number[]): number[] {
  let unknown = -1;
  let known = 1;
  for (const [i, dim] of wanted.entries()) {
    if (dim === -1) {
      if (unknown >= 0) {
        throw invalidArgument(`Only one input size may be -1, not both ${unknown} and ${i}`);
      }
      unknown = i;
    } else if (dim < 0) {
      throw invalidArgument(`Size ${i} must be non-negative, not ${dim}`);
    } else if (dim > 0) {
      known *= dim;
    }
  }
  const size = sizeOf(from);
  const shape = [...wanted];
  if (unknown >= 0) {
    const counted = wanted.includes(0) ? from.filter((dim) => dim > 0) : from;
    const total = sizeOf(counted);
    if (total % known !== 0 && counted.length === from.length) {
      throw invalidArgument(
        `Input to reshape is a tensor with ${total} values, but the requested shape requires a multiple of ${known}`,
      );
    }
    shape[unknown] = Math.floor(total / known);
  }
  const count = sizeOf(shape);
  if (count !== size) {
    throw invalidArgument(
      `Input to reshape is a tensor with ${size} values, but the requested shape has ${count}`,
    );
  }
  return shape;
}

/** 中身を動かさず形だけを変える演算。 */
function reshaper(
  op: string,
  shapeOf: (node: OpNode) => (shape: Shape, rest: readonly Tensor[]) => number[],
  hostInputs: DeviceRow["hostInputs"] = "rest",
): OpRow {
  return {
    op,
    host: (node) => {
      const resolve = shapeOf(node);
      return ([x, ...rest]) => withShape(x!, resolve(x!.shape, rest));
    },
    device: {
      hostInputs,
      work: () => 0,
      build: (node) => {
        const resolve = shapeOf(node);
        return (inputs, device) => {
          const rest: Tensor[] = [];
          for (let i = 1; i < inputs.count; i++) rest.push(inputs.host(i));
          return device.reshape(inputs.device(0), resolve(inputs.shape(0), rest));
        };
      },
    },
  };
}

const reshape = reshaper(
  "Reshape",
  () =>
    (shape, [wanted]) =>
      resolveShape(shape, toNumbers(wanted!)),
);

const expandDims = reshaper("ExpandDims", () => (shape, [axis]) => {
  const at = toNumber(axis!);
  const rank = shape.length;
  if (at < -1 - rank || at > rank) {
    throw invalidArgument(`Tried to expand dim index ${at} for tensor with ${rank} dimensions.`);
  }
  const out = [...shape];
  out.splice(at < 0 ? at + rank + 1 : at, 0, 1);
  return out;
});

const squeeze = reshaper("Squeeze", (node) => {
  const axes = node.attrs.ints("squeeze_dims");
  return (shape) => {
    const rank = shape.length;
    const chosen = new Set<number>();
    for (const axis of axes) {
      if (axis < -rank || axis >= rank) {
        throw invalidArgument(`Tried to squeeze dim index ${axis} for tensor with ${rank} dimensions.`);
      }
      chosen.add(axis < 0 ? axis + rank : axis);
    }
    return shape.filter((dim, i) => {
      if (chosen.size === 0) return dim !== 1;
      if (!chosen.has(i)) return true;
      if (dim !== 1)
        throw invalidArgument(`Can not squeeze dim[${i}], expected a dimension of 1, got ${dim}`);
      return false;
    });
  };
});

/** `shape` の形に広げた写し。 */
export function broadcastTo(x: Tensor, shape: readonly number[]): Tensor {
  checkSize(x.dtype, shape);
  const merged = broadcastShapes(x.shape, shape);
  if (merged === undefined || formatShape(merged) !== formatShape(shape)) {
    throw invalidArgument(`Incompatible shapes: ${formatShape(x.shape)} vs. ${formatShape(shape)}`);
  }
  return gatherLattice(x.dtype, shape, { data: x.data, at: 0, strides: broadcastStrides(x.shape, shape) });
}

const broadcastToRow: OpRow = {
  op: "BroadcastTo",
  host:
    () =>
    ([x, shape]) =>
      broadcastTo(x!, toNumbers(shape!)),
};

const broadcastArgs: OpRow = {
  op: "BroadcastArgs",
  host:
    () =>
    ([a, b]) => {
      const left = toNumbers(a!);
      const right = toNumbers(b!);
      const shape = broadcastShapes(left, right);
      if (shape === undefined) {
        throw invalidArgument(`Incompatible shapes: ${formatShape(left)} vs. ${formatShape(right)}`);
      }
      return intTensor(a!.dtype, [shape.length], shape);
    },
};

function fill([dims, value]: readonly Tensor[]): Tensor {
  if (value!.shape.length !== 0)
    throw invalidArgument(`value must be a scalar, got shape ${formatShape(value!.shape)}`);
  const shape = toNumbers(dims!);
  return broadcastTo(value!, shape);
}

/** 等差数列の長さ。 */
function rangeLength(start: number, limit: number, delta: number): number {
  return Math.max(0, Math.ceil((limit - start) / delta));
}

function range([start, limit, delta]: readonly Tensor[]): Tensor {
  const { dtype } = start!;
  const check = <T extends number | bigint>(from: T, to: T, step: T, zero: T) => {
    if (step === zero) throw invalidArgument("Requires delta != 0: 0");
    if (step > zero && from > to) {
      throw invalidArgument(`Requires start <= limit when delta > 0: ${from}/${to}`);
    }
    if (step < zero && from < to) {
      throw invalidArgument(`Requires start >= limit when delta < 0: ${from}/${to}`);
    }
  };
  if (isBig(dtype)) {
    const [from, to, step] = [start!, limit!, delta!].map((t) => (t.data as BigInt64Array)[0]!) as [
      bigint,
      bigint,
      bigint,
    ];
    check(from, to, step, 0n);
    const distance = to - from;
    const length = Number(distance / step + (distance % step === 0n ? 0n : 1n));
    const out = newData(dtype, [length]) as BigInt64Array;
    let value = from;
    for (let i = 0; i < length; i++) {
      out[i] = value;
      value += step;
    }
    return makeTensor(dtype, [length], out);
  }
  const [from, to, step] = [start!, limit!, delta!].map((t) => Number(t.data[0])) as [number, number, number];
  check(from, to, step, 0);
  const length = rangeLength(from, to, step);
  const out = newData(dtype, [length]) as Float64Array;
  const round = rounderOf(dtype);
  let value = from;
  for (let i = 0; i < length; i++) {
    out[i] = value;
    // TF は掛け算でなく足し込みで作る。その精度での誤差まで揃える。
    value = round(value + step);
  }
  return makeTensor(dtype, [length], out);
}

function linSpace([start, stop, count]: readonly Tensor[]): Tensor {
  const { dtype } = start!;
  const length = toNumber(count!);
  if (length <= 0) throw invalidArgument(`Requires num > 0: ${length}`);
  const from = Number(start!.data[0]);
  const to = Number(stop!.data[0]);
  const round = rounderOf(dtype);
  const step = length === 1 ? 0 : round(round(to - from) / (length - 1));
  const out = newData(dtype, [length]) as Float64Array;
  for (let i = 0; i < length; i++) out[i] = round(from + round(step * i));
  if (length > 1) out[length - 1] = to;
  return makeTensor(dtype, [length], out);
}

const oneHot: OpRow = {
  op: "OneHot",
  host: (node) => {
    const axis = node.attrs.int("axis");
    return ([indices, depthTensor, on, off]) => {
      const depth = toNumber(depthTensor!);
      if (depth < 0) throw invalidArgument(`depth must be non-negative, got: ${depth}`);
      const rank = indices!.shape.length;
      if (axis < -1 || axis > rank) {
        throw invalidArgument(`Expected axis to be -1 or between [0, ${rank + 1}).  But received: ${axis}`);
      }
      const at = axis === -1 ? rank : axis;
      const shape = [...indices!.shape.slice(0, at), depth, ...indices!.shape.slice(at)];
      const out = broadcastTo(withShape(off!, []), shape);
      const outer = sizeOf(indices!.shape.slice(0, at));
      const inner = sizeOf(indices!.shape.slice(at));
      const values = out.data as unknown[];
      const lanes = lanesOf(out.dtype);
      for (let i = 0; i < outer; i++) {
        for (let j = 0; j < inner; j++) {
          const index = Number(indices!.data[i * inner + j]);
          if (!(index >= 0 && index < depth)) continue;
          const to = ((i * depth + index) * inner + j) * lanes;
          for (let lane = 0; lane < lanes; lane++) values[to + lane] = on!.data[lane];
        }
      }
      return out;
    };
  },
};

function invertPermutation([x]: readonly Tensor[]): Tensor {
  const values = toNumbers(x!);
  const out = new Array<number>(values.length).fill(-1);
  for (const [i, value] of values.entries()) {
    if (value < 0 || value >= values.length) {
      throw invalidArgument(`${value} is not between 0 and ${values.length}`);
    }
    if (out[value] !== -1) throw invalidArgument(`${value} is duplicated in the input.`);
    out[value] = i;
  }
  return intTensor(x!.dtype, x!.shape, out);
}

const empty: OpRow = {
  op: "Empty",
  host: (node) => {
    const dtype = node.attrs.dtype("dtype");
    if (dtype === undefined) throw unimplemented("Empty of a type without values is not supported");
    return ([shape]) => {
      const dims = toNumbers(shape!);
      return makeTensor(dtype, dims, newData(dtype, dims));
    };
  },
};

/** 連結する各部の開始位置。 */
const concatOffset: HostKernel = ([axisTensor, ...shapes]) => {
  const axis = normalizeAxis(toNumber(axisTensor!), shapes[0]!.shape[0]!);
  let offset = 0;
  return shapes.map((shape) => {
    const dims = toNumbers(shape);
    const out = dims.map((_, i) => (i === axis ? offset : 0));
    offset += dims[axis]!;
    return intTensor(shape.dtype, shape.shape, out);
  });
};

export const shapeOps: readonly OpRow[] = [
  shapeReader("Shape", (shape, dtype) => intTensor(dtype, [shape.length], shape), outType),
  shapeReader("ShapeN", (shape, dtype) => intTensor(dtype, [shape.length], shape), outType),
  shapeReader("Size", (shape, dtype) => intTensor(dtype, [], [sizeOf(shape)]), outType),
  shapeReader(
    "Rank",
    (shape) => intTensor("int32", [], [shape.length]),
    () => "int32",
  ),
  reshape,
  expandDims,
  squeeze,
  broadcastToRow,
  broadcastArgs,
  { op: "Fill", host: () => fill },
  { op: "Range", host: () => range },
  { op: "LinSpace", host: () => linSpace },
  oneHot,
  { op: "InvertPermutation", host: () => invertPermutation },
  empty,
  { op: "ConcatOffset", host: () => concatOffset },
];
