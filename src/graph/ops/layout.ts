import { invalidArgument, unimplemented } from "../../base/status.ts";
import { type Shape, sizeOf, type Tensor } from "../../tensor/tensor.ts";
import {
  checkSize,
  formatShape,
  makeTensor,
  newData,
  normalizeAxis,
  stridesOf,
  toNumber,
  toNumbers,
} from "./kernel_util.ts";
import type { DeviceRow, HostKernel, OpNode, OpRow } from "./registry.ts";
import {
  conjugate,
  copyStrided,
  fillData,
  gatherLattice,
  slice,
  transpose,
  withShape,
} from "./strided_copy.ts";

/** デバイスにあるものを動かすだけなら、仕事量に関わらずデバイスのまま。ホストにあればホストで済ませる。 */
const moveOnly = () => 0;

/** @throws INVALID_ARGUMENT 順列でない。 */
function checkPerm(perm: readonly number[], shape: Shape): number[] {
  const rank = shape.length;
  if (perm.length !== rank) {
    throw invalidArgument(
      `transpose expects a vector of size ${rank}. But input(1) is a vector of size ${perm.length}`,
    );
  }
  const seen = new Set<number>();
  const out = perm.map((axis) => {
    const at = axis < 0 ? axis + rank : axis;
    if (at < 0 || at >= rank) throw invalidArgument(`${axis} is out of range [0 .. ${rank})`);
    seen.add(at);
    return at;
  });
  for (let i = 0; i < rank; i++) {
    if (!seen.has(i)) throw invalidArgument(`${i} is missing from {${perm.join(",")}}.`);
  }
  return out;
}

const transposeDevice: DeviceRow = {
  hostInputs: [1],
  work: moveOnly,
  build: () => (inputs, device) => {
    const perm = checkPerm(toNumbers(inputs.host(1)), inputs.shape(0));
    if (perm.length < 2 || sizeOf(inputs.shape(0)) === 0) {
      const shape = inputs.shape(0);
      return device.reshape(
        inputs.device(0),
        perm.map((axis) => shape[axis]!),
      );
    }
    return device.call("Transpose", { x: inputs.device(0) }, { perm });
  },
};

/** `multiples` 回ずつ並べる。 */
function tile(x: Tensor, multiples: readonly number[]): Tensor {
  if (multiples.length !== x.shape.length) {
    throw invalidArgument(
      `Expected multiples argument to be a vector of length ${x.shape.length} but got length ${multiples.length}`,
    );
  }
  for (const [i, count] of multiples.entries()) {
    if (count < 0) throw invalidArgument(`Expected multiples[${i}] >= 0, but got ${count}`);
  }
  const shape = x.shape.map((dim, i) => dim * multiples[i]!);
  checkSize(x.dtype, shape);
  // 各軸を (繰り返し, 元) の 2 軸にばらし、繰り返しの歩幅を 0 にする。
  const strides = stridesOf(x.shape);
  const sizes = x.shape.flatMap((dim, i) => [multiples[i]!, dim]);
  return gatherLattice(
    x.dtype,
    sizes,
    { data: x.data, at: 0, strides: strides.flatMap((stride) => [0, stride]) },
    shape,
  );
}

/** 軸ごとの前後の幅。 */
type Paddings = readonly (readonly [number, number])[];

/** @throws INVALID_ARGUMENT 形か値が悪い。 */
function readPaddings(x: Shape, paddings: Tensor): Paddings {
  if (paddings.shape.length !== 2 || paddings.shape[1] !== 2) {
    throw invalidArgument(`paddings must be a matrix with 2 columns: ${formatShape(paddings.shape)}`);
  }
  if (paddings.shape[0] !== x.length) {
    throw invalidArgument(
      `The first dimension of paddings must be the rank of inputs${formatShape(paddings.shape)} ${formatShape(x)}`,
    );
  }
  const values = toNumbers(paddings);
  return x.map((_, i) => {
    const pair = [values[i * 2]!, values[i * 2 + 1]!] as const;
    if (pair[0] < 0 || pair[1] < 0) {
      throw invalidArgument(`Paddings must be non-negative: ${pair[0]} ${pair[1]}`);
    }
    return pair;
  });
}

/** 定数で囲む。 */
function pad(x: Tensor, paddings: Paddings, value: Tensor | undefined): Tensor {
  const shape = x.shape.map((dim, i) => dim + paddings[i]![0] + paddings[i]![1]);
  const data = newData(x.dtype, shape);
  if (value !== undefined) fillData(data, value);
  const strides = stridesOf(shape);
  const at = paddings.reduce((sum, [before], i) => sum + before * strides[i]!, 0);
  copyStrided(x.dtype, x.shape, { data: x.data, at: 0, strides: stridesOf(x.shape) }, { data, at, strides });
  return makeTensor(x.dtype, shape, data);
}

/** 端で折り返して囲む。`skip` は端の要素を重ねない幅(REFLECT 1、SYMMETRIC 0)。 */
function mirrorPad(x: Tensor, paddings: Paddings, skip: 0 | 1): Tensor {
  for (const [i, [before, after]] of paddings.entries()) {
    const limit = x.shape[i]! - skip;
    if (before > limit || after > limit) {
      const relation = skip === 1 ? "less than" : "no greater than";
      throw invalidArgument(
        `paddings must be ${relation} the dimension size: ${before}, ${after} ${skip === 1 ? "not less than" : "greater than"} ${x.shape[i]}`,
      );
    }
  }
  // 軸を 1 本ずつ広げる。1 本なら [前の鏡像, 本体, 後の鏡像] の 3 回の写しで済む。
  let current = x;
  for (const [axis, [before, after]] of paddings.entries()) {
    if (before === 0 && after === 0) continue;
    const { shape } = current;
    const size = shape[axis]!;
    const outShape = shape.map((dim, i) => (i === axis ? dim + before + after : dim));
    const data = newData(x.dtype, outShape);
    const from = stridesOf(shape);
    const to = stridesOf(outShape);
    const flipped = from.map((stride, i) => (i === axis ? -stride : stride));
    const piece = (count: number, fromAt: number, strides: readonly number[], toAt: number) =>
      copyStrided(
        x.dtype,
        shape.map((dim, i) => (i === axis ? count : dim)),
        { data: current.data, at: fromAt * from[axis]!, strides },
        { data, at: toAt * to[axis]!, strides: to },
      );
    piece(before, before - 1 + skip, flipped, 0);
    piece(size, 0, from, before);
    piece(after, size - 1 - skip, flipped, before + size);
    current = makeTensor(x.dtype, outShape, data);
  }
  return current;
}

function reverse(x: Tensor, axes: ReadonlySet<number>): Tensor {
  const strides = stridesOf(x.shape);
  if (sizeOf(x.shape) === 0) return x;
  let at = 0;
  const flipped = strides.map((stride, i) => {
    if (!axes.has(i)) return stride;
    at += (x.shape[i]! - 1) * stride;
    return -stride;
  });
  return gatherLattice(x.dtype, x.shape, { data: x.data, at, strides: flipped });
}

const reverseV2: HostKernel = ([x, axesTensor]) => {
  const axes = new Set<number>();
  for (const axis of toNumbers(axesTensor!)) {
    const rank = x!.shape.length;
    if (axis < -rank || axis >= rank) {
      throw invalidArgument(`'axis'[${axes.size}] = ${axis} is out of valid range [0, ${rank - 1}]`);
    }
    const at = axis < 0 ? axis + rank : axis;
    if (axes.has(at)) throw invalidArgument(`axis ${at} specified more than once.`);
    axes.add(at);
  }
  return reverse(x!, axes);
};

const reverseV1: HostKernel = ([x, flags]) => {
  const axes = new Set<number>();
  for (const [i, flag] of toNumbers(flags!).entries()) if (flag) axes.add(i);
  return reverse(x!, axes);
};

/** 軸に沿って回す。 */
const roll: HostKernel = ([x, shiftTensor, axisTensor]) => {
  const shifts = toNumbers(shiftTensor!);
  const axes = toNumbers(axisTensor!);
  if (shifts.length !== axes.length) throw invalidArgument("shift and axis must have the same size");
  let current = x!;
  for (const [i, given] of axes.entries()) {
    const axis = normalizeAxis(given, x!.shape.length);
    const size = x!.shape[axis]!;
    if (size === 0) continue;
    const by = ((shifts[i]! % size) + size) % size;
    if (by === 0) continue;
    const strides = stridesOf(current.shape);
    const data = newData(x!.dtype, current.shape);
    const piece = (count: number, fromAt: number, toAt: number) =>
      copyStrided(
        x!.dtype,
        current.shape.map((dim, j) => (j === axis ? count : dim)),
        { data: current.data, at: fromAt * strides[axis]!, strides },
        { data, at: toAt * strides[axis]!, strides },
      );
    piece(size - by, 0, by);
    piece(by, size - by, 0);
    current = makeTensor(x!.dtype, current.shape, data);
  }
  return current;
};

/** 列ごとの長さだけを逆順にする。 */
function reverseSequence(node: OpNode): HostKernel {
  const seqDim = node.attrs.int("seq_dim");
  const batchDim = node.attrs.int("batch_dim");
  return ([x, lengthsTensor]) => {
    const lengths = toNumbers(lengthsTensor!);
    const { shape } = x!;
    if (seqDim >= shape.length || batchDim >= shape.length || seqDim === batchDim) {
      throw invalidArgument(
        `seq_dim and batch_dim must be distinct and < input rank: ${seqDim}, ${batchDim} for ${formatShape(shape)}`,
      );
    }
    if (lengths.length !== shape[batchDim]) {
      throw invalidArgument(
        `Length of seq_lengths != input.dims(${batchDim}), (${lengths.length} vs. ${shape[batchDim]})`,
      );
    }
    const strides = stridesOf(shape);
    const data = newData(x!.dtype, shape);
    const flipped = strides.map((stride, i) => (i === seqDim ? -stride : stride));
    for (const [row, length] of lengths.entries()) {
      if (length < 0 || length > shape[seqDim]!) {
        throw invalidArgument(
          length < 0 ? `seq_lens(${row}) < 0` : `seq_lens(${row}) > input.dims(${seqDim})`,
        );
      }
      const base = row * strides[batchDim]!;
      const piece = (count: number, fromAt: number, from: readonly number[], toAt: number) =>
        copyStrided(
          x!.dtype,
          shape.map((dim, i) => (i === seqDim ? count : i === batchDim ? 1 : dim)),
          { data: x!.data, at: base + fromAt * strides[seqDim]!, strides: from },
          { data, at: base + toAt * strides[seqDim]!, strides },
        );
      piece(length, length - 1, flipped, 0);
      piece(shape[seqDim]! - length, length, strides, length);
    }
    return makeTensor(x!.dtype, shape, data);
  };
}

/** NHWC だけを扱う演算の門番。 @throws UNIMPLEMENTED NCHW など。 */
export function requireChannelsLast(node: OpNode, format = "NHWC"): void {
  const given = node.attrs.string("data_format");
  if (given !== format) {
    throw unimplemented(`${node.op} supports only data_format ${format}, got ${given}`);
  }
}

function spaceToDepth(x: Tensor, block: number): Tensor {
  const [batch, height, width, depth] = fourDims(x.shape);
  if (height % block !== 0 || width % block !== 0) {
    throw invalidArgument(
      `Image width ${width} and height ${height} should be divisible by block_size: ${block}`,
    );
  }
  const split = withShape(x, [batch, height / block, block, width / block, block, depth]);
  const moved = transpose(split, [0, 1, 3, 2, 4, 5]);
  return withShape(moved, [batch, height / block, width / block, block * block * depth]);
}

function depthToSpace(x: Tensor, block: number): Tensor {
  const [batch, height, width, depth] = fourDims(x.shape);
  if (depth % (block * block) !== 0) {
    throw invalidArgument(`Input depth dimension ${depth} should be divisible by: ${block * block}`);
  }
  const inner = depth / (block * block);
  const split = withShape(x, [batch, height, width, block, block, inner]);
  const moved = transpose(split, [0, 1, 3, 2, 4, 5]);
  return withShape(moved, [batch, height * block, width * block, inner]);
}

function fourDims(shape: Shape): [number, number, number, number] {
  if (shape.length !== 4) throw invalidArgument(`Input rank should be: 4 instead of: ${shape.length}`);
  return shape as unknown as [number, number, number, number];
}

function blockRow(op: string, move: (x: Tensor, block: number) => Tensor): OpRow {
  return {
    op,
    host: (node) => {
      requireChannelsLast(node);
      const block = node.attrs.int("block_size");
      return ([x]) => move(x!, block);
    },
  };
}

/** 空間の軸をブロックに切ってバッチに移す。 */
const spaceToBatch: HostKernel = ([x, blockTensor, paddingTensor]) => {
  const blocks = toNumbers(blockTensor!);
  const edges = readBlockEdges(x!, blocks, paddingTensor!, "paddings");
  const rank = x!.shape.length;
  const m = blocks.length;
  const padded = pad(
    x!,
    x!.shape.map((_, i) => (i >= 1 && i <= m ? edges[i - 1]! : [0, 0])),
    undefined,
  );
  const dims = padded.shape;
  for (let i = 0; i < m; i++) {
    if (dims[i + 1]! % blocks[i]! !== 0) {
      throw invalidArgument(
        `padded_shape[${i}]=${dims[i + 1]} is not divisible by block_shape[${i}]=${blocks[i]}`,
      );
    }
  }
  const split = [
    dims[0]!,
    ...blocks.flatMap((block, i) => [dims[i + 1]! / block, block]),
    ...dims.slice(m + 1),
  ];
  const perm = [
    ...blocks.map((_, i) => i * 2 + 2),
    0,
    ...blocks.map((_, i) => i * 2 + 1),
    ...Array.from({ length: rank - m - 1 }, (_, i) => m * 2 + 1 + i),
  ];
  const moved = transpose(withShape(padded, split), perm);
  return withShape(moved, [
    dims[0]! * blocks.reduce((a, b) => a * b, 1),
    ...blocks.map((block, i) => dims[i + 1]! / block),
    ...dims.slice(m + 1),
  ]);
};

/** {@link spaceToBatch} の逆。 */
const batchToSpace: HostKernel = ([x, blockTensor, cropTensor]) => {
  const blocks = toNumbers(blockTensor!);
  const crops = readBlockEdges(x!, blocks, cropTensor!, "crops");
  const { shape } = x!;
  const m = blocks.length;
  const product = blocks.reduce((a, b) => a * b, 1);
  if (shape[0]! % product !== 0) {
    throw invalidArgument(
      `Input batch dimension (${shape[0]}) is not divisible by product of block sizes (${product})`,
    );
  }
  const batch = shape[0]! / product;
  const split = withShape(x!, [...blocks, batch, ...shape.slice(1)]);
  const perm = [
    m,
    ...blocks.flatMap((_, i) => [m + 1 + i, i]),
    ...Array.from({ length: shape.length - m - 1 }, (_, i) => m * 2 + 1 + i),
  ];
  const whole = [batch, ...blocks.map((block, i) => shape[i + 1]! * block), ...shape.slice(m + 1)];
  const merged = withShape(transpose(split, perm), whole);
  const size = whole.map((dim, i) => (i >= 1 && i <= m ? dim - crops[i - 1]![0] - crops[i - 1]![1] : dim));
  if (size.some((dim) => dim < 0))
    throw invalidArgument(`crops remove more than the whole of ${formatShape(whole)}`);
  return slice(
    merged,
    whole.map((_, i) => (i >= 1 && i <= m ? crops[i - 1]![0] : 0)),
    size,
  );
};

function readBlockEdges(x: Tensor, blocks: readonly number[], edges: Tensor, name: string): Paddings {
  const m = blocks.length;
  if (x.shape.length < m + 1) {
    throw invalidArgument(`input rank should be >= ${m + 1} instead of ${x.shape.length}`);
  }
  if (edges.shape.length !== 2 || edges.shape[0] !== m || edges.shape[1] !== 2) {
    throw invalidArgument(`${name} should have shape [${m}, 2] instead of ${formatShape(edges.shape)}`);
  }
  if (blocks.some((block) => block < 1)) throw invalidArgument("block_shape must be >= 1");
  const values = toNumbers(edges);
  if (values.some((value) => value < 0)) throw invalidArgument(`${name} must be non-negative`);
  return blocks.map((_, i) => [values[i * 2]!, values[i * 2 + 1]!]);
}

const padRow = (op: string, valueIndex?: number): OpRow => ({
  op,
  host: () => (inputs) =>
    pad(
      inputs[0]!,
      readPaddings(inputs[0]!.shape, inputs[1]!),
      valueIndex === undefined ? undefined : inputs[valueIndex]!,
    ),
  device: {
    hostInputs: "rest",
    work: moveOnly,
    build: () => (inputs, device) => {
      const paddings = readPaddings(inputs.shape(0), inputs.host(1));
      checkSize(
        "float",
        inputs.shape(0).map((dim, i) => dim + paddings[i]![0] + paddings[i]![1]),
      );
      const constantValue = valueIndex === undefined ? 0 : toNumber(inputs.host(valueIndex));
      return device.call("PadV2", { x: inputs.device(0) }, { paddings, constantValue });
    },
  },
});

export const layoutOps: readonly OpRow[] = [
  {
    op: "Transpose",
    host:
      () =>
      ([x, perm]) =>
        transpose(x!, checkPerm(toNumbers(perm!), x!.shape)),
    device: transposeDevice,
  },
  {
    op: "ConjugateTranspose",
    host:
      () =>
      ([x, perm]) =>
        conjugate(transpose(x!, checkPerm(toNumbers(perm!), x!.shape))),
  },
  {
    op: "Tile",
    host:
      () =>
      ([x, multiples]) =>
        tile(x!, toNumbers(multiples!)),
    device: {
      hostInputs: [1],
      work: moveOnly,
      build: () => (inputs, device) => {
        const reps = toNumbers(inputs.host(1));
        const shape = inputs.shape(0);
        if (reps.length !== shape.length || reps.includes(0) || sizeOf(shape) === 0) {
          return tile(inputs.host(0), reps);
        }
        checkSize(
          "float",
          shape.map((dim, i) => dim * reps[i]!),
        );
        return device.call("Tile", { x: inputs.device(0) }, { reps });
      },
    },
  },
  padRow("Pad"),
  padRow("PadV2", 2),
  {
    op: "MirrorPad",
    host: (node) => {
      const skip = node.attrs.string("mode") === "REFLECT" ? 1 : 0;
      return ([x, paddings]) => mirrorPad(x!, readPaddings(x!.shape, paddings!), skip);
    },
  },
  { op: "ReverseV2", host: () => reverseV2 },
  { op: "Reverse", host: () => reverseV1 },
  { op: "Roll", host: () => roll },
  { op: "ReverseSequence", host: reverseSequence },
  blockRow("SpaceToDepth", spaceToDepth),
  blockRow("DepthToSpace", depthToSpace),
  { op: "SpaceToBatchND", host: () => spaceToBatch },
  { op: "BatchToSpaceND", host: () => batchToSpace },
];
