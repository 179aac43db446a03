import { invalidArgument } from "../../base/status.ts";
import { type Shape, sizeOf, type Tensor } from "../../tensor/tensor.ts";
import type { DeviceTensor } from "../value.ts";
import { formatShape, makeTensor, newData, stridesOf, toNumber, toNumbers } from "./kernel_util.ts";
import type { DeviceKernelInputs, DeviceRow, OpNode, OpRow } from "./registry.ts";
import { copyStrided, gatherLattice, slice, withShape } from "./strided_copy.ts";

const moveOnly = () => 0;

/** Slice の大きさ(−1 は端まで)を解く。 */
function resolveSlice(shape: Shape, begin: readonly number[], size: readonly number[]): number[] {
  if (begin.length !== shape.length || size.length !== shape.length) {
    throw invalidArgument(
      `Expected begin and size arguments to be 1-D tensors of size ${shape.length}, but got shapes [${begin.length}] and [${size.length}] instead.`,
    );
  }
  return shape.map((dim, i) => {
    const from = begin[i]!;
    if (from < 0 || from > dim) {
      throw invalidArgument(`Expected begin[${i}] in [0, ${dim}], but got ${from}`);
    }
    const count = size[i] === -1 ? dim - from : size[i]!;
    if (count < 0 || from + count > dim) {
      throw invalidArgument(`Expected size[${i}] in [0, ${dim - from}], but got ${count}`);
    }
    return count;
  });
}

const sliceRow: OpRow = {
  op: "Slice",
  host:
    () =>
    ([x, begin, size]) => {
      const from = toNumbers(begin!);
      return slice(x!, from, resolveSlice(x!.shape, from, toNumbers(size!)));
    },
  device: {
    hostInputs: "rest",
    work: moveOnly,
    build: () => (inputs, device) => {
      const begin = toNumbers(inputs.host(1));
      const size = resolveSlice(inputs.shape(0), begin, toNumbers(inputs.host(2)));
      if (sizeOf(size) === 0) return slice(inputs.host(0), begin, size);
      return device.call("Slice", { x: inputs.device(0) }, { begin, size });
    },
  },
};

/** StridedSlice の属性。bit i が指定の i 番目に当たる。 */
interface Masks {
  readonly begin: number;
  readonly end: number;
  readonly ellipsis: number;
  readonly newAxis: number;
  readonly shrink: number;
}

/** 入力の軸ごとの始点・歩幅・個数と、出力の形。 */
export interface StridedSpec {
  readonly starts: readonly number[];
  readonly strides: readonly number[];
  readonly counts: readonly number[];
  readonly shape: readonly number[];
}

/**
 * 疎な指定(省略記号、新しい軸、マスク)を、入力の軸ごとの範囲に開く。
 *
 * @see tensorflow/core/util/strided_slice_op.cc ValidateStridedSliceOp
 */
export function resolveStridedSlice(
  input: Shape,
  begin: readonly number[],
  end: readonly number[],
  strides: readonly number[],
  masks: Masks,
): StridedSpec {
  const bit = (mask: number, i: number) => ((mask >> i) & 1) === 1;
  const given = strides.length;
  if (begin.length !== given || end.length !== given) {
    throw invalidArgument(
      `Expected begin, end, and strides to be 1D equal size tensors, but got shapes [${begin.length}], [${end.length}], and [${given}] instead.`,
    );
  }
  let ellipsisAt = -1;
  let newAxesAfter = 0;
  for (let i = 0; i < given; i++) {
    if (bit(masks.ellipsis, i)) {
      if (ellipsisAt >= 0) throw invalidArgument("Multiple ellipses in slice spec not allowed");
      ellipsisAt = i;
    } else if (ellipsisAt >= 0 && bit(masks.newAxis, i)) {
      newAxesAfter++;
    }
  }
  const starts: number[] = [];
  const steps: number[] = [];
  const counts: number[] = [];
  const shape: number[] = [];
  const whole = (dim: number) => {
    starts.push(0);
    steps.push(1);
    counts.push(dim);
    shape.push(dim);
  };
  for (let i = 0; i < given; i++) {
    if (i === ellipsisAt) {
      // 省略記号は、残りの指定(新しい軸を除く)が使う分を引いた軸すべて。
      const until = Math.min(input.length - (given - i) + 1 + newAxesAfter, input.length);
      while (starts.length < until) whole(input[starts.length]!);
      continue;
    }
    if (bit(masks.newAxis, i)) {
      shape.push(1);
      continue;
    }
    const axis = starts.length;
    if (axis >= input.length) {
      throw invalidArgument(
        `Index out of range using input dim ${axis}; input has only ${input.length} dims`,
      );
    }
    const dim = input[axis]!;
    const stride = strides[i]!;
    if (stride === 0) throw invalidArgument(`strides[${i}] must be non-zero`);
    if (bit(masks.shrink, i)) {
      if (stride <= 0) throw invalidArgument("only stride 1 allowed on non-range indexing.");
      const at = begin[i]! < 0 ? begin[i]! + dim : begin[i]!;
      if (at < 0 || at >= dim) {
        throw invalidArgument(`slice index ${begin[i]} of dimension ${axis} out of bounds.`);
      }
      starts.push(at);
      steps.push(1);
      counts.push(1);
      continue;
    }
    const low = stride > 0 ? 0 : -1;
    const high = stride > 0 ? dim : dim - 1;
    const clamp = (value: number) => Math.min(Math.max(value < 0 ? value + dim : value, low), high);
    const from = bit(masks.begin, i) ? (stride > 0 ? low : high) : clamp(begin[i]!);
    const to = bit(masks.end, i) ? (stride > 0 ? high : low) : clamp(end[i]!);
    const count = Math.max(0, Math.ceil((to - from) / stride));
    starts.push(from);
    steps.push(stride);
    counts.push(count);
    shape.push(count);
  }
  while (starts.length < input.length) whole(input[starts.length]!);
  return { starts, strides: steps, counts, shape };
}

export function readMasks(node: OpNode): Masks {
  return {
    begin: node.attrs.int("begin_mask"),
    end: node.attrs.int("end_mask"),
    ellipsis: node.attrs.int("ellipsis_mask"),
    newAxis: node.attrs.int("new_axis_mask"),
    shrink: node.attrs.int("shrink_axis_mask"),
  };
}

function stridedSlice(x: Tensor, spec: StridedSpec): Tensor {
  if (spec.strides.every((stride) => stride === 1))
    return withShape(slice(x, spec.starts, spec.counts), spec.shape);
  const strides = stridesOf(x.shape);
  return gatherLattice(
    x.dtype,
    spec.counts,
    {
      data: x.data,
      at: spec.starts.reduce((sum, start, i) => sum + start * strides[i]!, 0),
      strides: strides.map((stride, i) => stride * spec.strides[i]!),
    },
    spec.shape,
  );
}

const stridedSliceRow: OpRow = {
  op: "StridedSlice",
  host: (node) => {
    const masks = readMasks(node);
    return ([x, begin, end, strides]) =>
      stridedSlice(
        x!,
        resolveStridedSlice(x!.shape, toNumbers(begin!), toNumbers(end!), toNumbers(strides!), masks),
      );
  },
  device: {
    hostInputs: "rest",
    work: moveOnly,
    build: (node) => {
      const masks = readMasks(node);
      return (inputs, device) => {
        const [begin, end, strides] = [1, 2, 3].map((i) => toNumbers(inputs.host(i))) as [
          number[],
          number[],
          number[],
        ];
        const spec = resolveStridedSlice(inputs.shape(0), begin, end, strides, masks);
        if (sizeOf(spec.counts) === 0 || spec.strides.some((stride) => stride !== 1)) {
          return stridedSlice(inputs.host(0), spec);
        }
        const part = device.call("Slice", { x: inputs.device(0) }, { begin: spec.starts, size: spec.counts });
        return device.reshape(part, spec.shape);
      };
    },
  },
};

function checkConcat(shapes: readonly Shape[], axis: number): number {
  const first = shapes[0]!;
  const rank = first.length;
  if (axis < -rank || axis >= rank) {
    throw invalidArgument(
      `ConcatOp : Expected concatenating dimensions in the range [${-rank}, ${rank}), but got ${axis}`,
    );
  }
  const at = axis < 0 ? axis + rank : axis;
  for (let i = 1; i < shapes.length; i++) {
    const shape = shapes[i]!;
    if (shape.length !== rank) {
      throw invalidArgument(
        `ConcatOp : Ranks of all input tensors should match: shape[0] = ${formatShape(first)} vs. shape[${i}] = ${formatShape(shape)}`,
      );
    }
    for (let d = 0; d < rank; d++) {
      if (d !== at && shape[d] !== first[d]) {
        throw invalidArgument(
          `ConcatOp : Dimension ${d} in both shapes must be equal: shape[0] = ${formatShape(first)} vs. shape[${i}] = ${formatShape(shape)}`,
        );
      }
    }
  }
  return at;
}

/** `axis` に沿ってつなぐ。ほかの次元は等しいこと。 */
export function concat(parts: readonly Tensor[], axis: number): Tensor {
  const at = checkConcat(
    parts.map((part) => part.shape),
    axis,
  );
  if (parts.length === 1) return parts[0]!;
  const first = parts[0]!;
  const total = parts.reduce((sum, part) => sum + part.shape[at]!, 0);
  const shape = first.shape.map((dim, i) => (i === at ? total : dim));
  const data = newData(first.dtype, shape);
  const strides = stridesOf(shape);
  let offset = 0;
  for (const part of parts) {
    copyStrided(
      first.dtype,
      part.shape,
      { data: part.data, at: 0, strides: stridesOf(part.shape) },
      { data, at: offset * strides[at]!, strides },
    );
    offset += part.shape[at]!;
  }
  return makeTensor(first.dtype, shape, data);
}

/** 軸の入力が先頭(Concat)か末尾(ConcatV2)か。 */
function concatRow(op: string, axisFirst: boolean): OpRow {
  return {
    op,
    host: () => (inputs) =>
      axisFirst
        ? concat(inputs.slice(1), toNumber(inputs[0]!))
        : concat(inputs.slice(0, -1), toNumber(inputs.at(-1)!)),
    device: {
      hostInputs: [axisFirst ? 0 : -1],
      work: moveOnly,
      build: () => (inputs, device) => {
        const from = axisFirst ? 1 : 0;
        const until = axisFirst ? inputs.count : inputs.count - 1;
        const shapes: Shape[] = [];
        for (let i = from; i < until; i++) shapes.push(inputs.shape(i));
        const axis = checkConcat(shapes, toNumber(inputs.host(axisFirst ? 0 : inputs.count - 1)));
        // tfjs の Concat は空の部分を読み飛ばさない。
        const parts: DeviceTensor[] = [];
        for (let i = from; i < until; i++) {
          if (sizeOf(inputs.shape(i)) > 0) parts.push(inputs.device(i));
        }
        if (parts.length === 0) {
          const shape = shapes[0]!.map((dim, d) =>
            d === axis ? shapes.reduce((sum, s) => sum + s[d]!, 0) : dim,
          );
          return device.reshape(inputs.device(from), shape);
        }
        if (parts.length === 1) return device.reshape(parts[0]!, parts[0]!.shape);
        return device.callMany("Concat", parts, { axis })[0]!;
      },
    },
  };
}

function checkPack(shapes: readonly Shape[], axis: number): number {
  const first = shapes[0]!;
  const rank = first.length + 1;
  if (axis < -rank || axis >= rank) {
    throw invalidArgument(`axis = ${axis} not in [${-rank}, ${rank})`);
  }
  for (let i = 1; i < shapes.length; i++) {
    if (formatShape(shapes[i]!) !== formatShape(first)) {
      throw invalidArgument(
        `Shapes of all inputs must match: values[0].shape = ${formatShape(first)} != values[${i}].shape = ${formatShape(shapes[i]!)}`,
      );
    }
  }
  return axis < 0 ? axis + rank : axis;
}

const insertAxis = (shape: Shape, axis: number): number[] => [
  ...shape.slice(0, axis),
  1,
  ...shape.slice(axis),
];

const pack: OpRow = {
  op: "Pack",
  host: (node) => {
    const axis = node.attrs.int("axis");
    return (inputs) => {
      const at = checkPack(
        inputs.map((x) => x.shape),
        axis,
      );
      return concat(
        inputs.map((x) => withShape(x, insertAxis(x.shape, at))),
        at,
      );
    };
  },
  device: {
    work: moveOnly,
    build: (node) => {
      const axis = node.attrs.int("axis");
      return (inputs, device) => {
        const shapes = Array.from({ length: inputs.count }, (_, i) => inputs.shape(i));
        const at = checkPack(shapes, axis);
        const parts = shapes.map((shape, i) => device.reshape(inputs.device(i), insertAxis(shape, at)));
        if (parts.length === 1 || sizeOf(shapes[0]!) === 0) {
          const shape = insertAxis(shapes[0]!, at);
          shape[at] = parts.length;
          return device.reshape(parts[0]!, shape);
        }
        return device.callMany("Concat", parts, { axis: at })[0]!;
      };
    },
  },
};

/** 軸に沿って大きさ `sizes` の部分に分ける。 */
function splitAlong(x: Tensor, axis: number, sizes: readonly number[]): Tensor[] {
  let offset = 0;
  return sizes.map((count) => {
    const begin = x.shape.map((_, i) => (i === axis ? offset : 0));
    offset += count;
    return slice(
      x,
      begin,
      x.shape.map((dim, i) => (i === axis ? count : dim)),
    );
  });
}

function splitOnDevice(
  inputs: DeviceKernelInputs,
  index: number,
  axis: number,
  sizes: readonly number[],
  call: (begin: number[], size: number[]) => DeviceTensor,
): (DeviceTensor | Tensor)[] {
  const shape = inputs.shape(index);
  let offset = 0;
  return sizes.map((count) => {
    const begin = shape.map((_, i) => (i === axis ? offset : 0));
    const size = shape.map((dim, i) => (i === axis ? count : dim));
    offset += count;
    return sizeOf(size) === 0 ? makeTensor("float", size, newData("float", size)) : call(begin, size);
  });
}

function splitAxis(shape: Shape, axis: number): number {
  const rank = shape.length;
  if (axis < -rank || axis >= rank) {
    throw invalidArgument(`-input rank(-${rank}) <= split_dim < input rank (${rank}), but got ${axis}`);
  }
  return axis < 0 ? axis + rank : axis;
}

function evenSizes(shape: Shape, axis: number, count: number): number[] {
  const dim = shape[axis]!;
  if (dim % count !== 0) {
    throw invalidArgument(
      `Number of ways to split should evenly divide the split dimension, but got split_dim ${axis} (size = ${dim}) and num_split ${count}`,
    );
  }
  return new Array<number>(count).fill(dim / count);
}

function givenSizes(shape: Shape, axis: number, sizes: readonly number[]): number[] {
  const dim = shape[axis]!;
  const known = sizes.reduce((sum, size) => sum + Math.max(size, 0), 0);
  const unknown = sizes.indexOf(-1);
  const fits = unknown >= 0 ? known <= dim : known === dim;
  if (!fits || sizes.some((size) => size < -1) || sizes.lastIndexOf(-1) !== unknown) {
    throw invalidArgument(
      `Determined shape must either match input shape along split_dim exactly if fully specified, or be less than the size of the input along split_dim if not fully specified.  Got: ${known}`,
    );
  }
  return sizes.map((size) => (size === -1 ? dim - known : size));
}

const splitDevice = (
  valueIndex: number,
  axisIndex: number,
  sizesOf: (node: OpNode) => (shape: Shape, axis: number, inputs: DeviceKernelInputs) => number[],
): DeviceRow => ({
  hostInputs: [0, 1, 2].filter((i) => i !== valueIndex),
  work: moveOnly,
  build: (node) => {
    const resolve = sizesOf(node);
    return (inputs, device) => {
      const shape = inputs.shape(valueIndex);
      const axis = splitAxis(shape, toNumber(inputs.host(axisIndex)));
      const sizes = resolve(shape, axis, inputs);
      const x = inputs.device(valueIndex);
      return splitOnDevice(inputs, valueIndex, axis, sizes, (begin, size) =>
        device.call("Slice", { x }, { begin, size }),
      );
    };
  },
});

const split: OpRow = {
  op: "Split",
  host: (node) => {
    const count = node.attrs.int("num_split");
    return ([axisTensor, x]) => {
      const axis = splitAxis(x!.shape, toNumber(axisTensor!));
      return splitAlong(x!, axis, evenSizes(x!.shape, axis, count));
    };
  },
  device: splitDevice(1, 0, (node) => {
    const count = node.attrs.int("num_split");
    return (shape, axis) => evenSizes(shape, axis, count);
  }),
};

const splitV: OpRow = {
  op: "SplitV",
  host:
    () =>
    ([x, sizes, axisTensor]) => {
      const axis = splitAxis(x!.shape, toNumber(axisTensor!));
      return splitAlong(x!, axis, givenSizes(x!.shape, axis, toNumbers(sizes!)));
    },
  device: splitDevice(
    0,
    2,
    () => (shape, axis, inputs) => givenSizes(shape, axis, toNumbers(inputs.host(1))),
  ),
};

function unpackAxis(shape: Shape, axis: number, count: number): number {
  const rank = shape.length;
  if (axis < -rank || axis >= rank) throw invalidArgument(`axis = ${axis} not in [${-rank}, ${rank})`);
  const at = axis < 0 ? axis + rank : axis;
  if (shape[at] !== count) {
    throw invalidArgument(`Input shape axis ${at} must equal ${count}, got shape ${formatShape(shape)}`);
  }
  return at;
}

const removeAxis = (shape: Shape, axis: number): number[] => shape.filter((_, i) => i !== axis);

const unpack: OpRow = {
  op: "Unpack",
  host: (node) => {
    const count = node.attrs.int("num");
    const axis = node.attrs.int("axis");
    return ([x]) => {
      const at = unpackAxis(x!.shape, axis, count);
      const shape = removeAxis(x!.shape, at);
      return splitAlong(x!, at, new Array<number>(count).fill(1)).map((part) => withShape(part, shape));
    };
  },
  device: {
    work: moveOnly,
    build: (node) => {
      const count = node.attrs.int("num");
      const axis = node.attrs.int("axis");
      return (inputs, device) => {
        const shape = inputs.shape(0);
        const at = unpackAxis(shape, axis, count);
        const x = inputs.device(0);
        const out = removeAxis(shape, at);
        return splitOnDevice(inputs, 0, at, new Array<number>(count).fill(1), (begin, size) =>
          device.reshape(device.call("Slice", { x }, { begin, size }), out),
        ).map((part) => ("data" in part ? withShape(part, out) : part));
      };
    },
  },
};

export const sliceOps: readonly OpRow[] = [
  sliceRow,
  stridedSliceRow,
  concatRow("ConcatV2", false),
  concatRow("Concat", true),
  pack,
  {
    op: "ParallelConcat",
    host: () => (inputs) => concat(inputs, 0),
  },
  split,
  splitV,
  unpack,
];
