import { internal, invalidArgument, unimplemented } from "../../base/status.ts";
import { type DType, lanesOf, type TypedArray } from "../../tensor/dtype.ts";
import { type Shape, sizeOf, type Tensor, tensor } from "../../tensor/tensor.ts";
import {
  broadcastStrides,
  formatShape,
  makeTensor,
  newData,
  normalizeAxis,
  roundTo,
  stridesOf,
  toNumber,
  toNumbers,
} from "./kernel_util.ts";
import type { Attrs, HostKernel, OpRow } from "./registry.ts";
import {
  checkBounds,
  compareRows,
  flatIndex,
  int64Matrix,
  int64Vector,
  type Place,
  pick,
  pickPlaces,
  readSparse,
  reorderRows,
  rowOrder,
  type Sparse,
} from "./sparse_tensor.ts";

/** 64 bit 整数の配列でも同じ演算子で書けるよう、数の配列とみなす(両辺の種類は dtype が保証する)。 */
type Numbers = Float64Array;

function numbersOf(values: Tensor): Numbers {
  if (values.dtype === "string") throw unimplemented("Sparse arithmetic does not support strings");
  return values.data as unknown as Numbers;
}

function sparseToDense(attrs: Attrs): HostKernel {
  const validate = attrs.bool("validate_indices");
  return ([indicesTensor, shapeTensor, values, fallback]) => {
    const indexRank = indicesTensor!.shape.length;
    if (indexRank > 2) {
      throw invalidArgument(
        `sparse_indices should be a scalar, vector, or matrix, got shape ${formatShape(indicesTensor!.shape)}`,
      );
    }
    const count = indexRank > 0 ? indicesTensor!.shape[0]! : 1;
    const rank = indexRank > 1 ? indicesTensor!.shape[1]! : 1;
    if (shapeTensor!.shape.length !== 1) {
      throw invalidArgument(`output_shape should be a vector, got shape ${formatShape(shapeTensor!.shape)}`);
    }
    const shape = toNumbers(shapeTensor!);
    if (shape.length !== rank) {
      throw invalidArgument(
        `output_shape has incorrect number of elements: ${shape.length} should be: ${rank}`,
      );
    }
    const scalar = values!.shape.length === 0;
    if (!scalar && formatShape(values!.shape) !== `[${count}]`) {
      throw invalidArgument(
        `sparse_values has incorrect shape ${formatShape(values!.shape)}, should be [] or [${count}]`,
      );
    }
    if (fallback!.shape.length !== 0) throw invalidArgument("default_value should be a scalar.");
    const sparse: Sparse = { indices: toNumbers(indicesTensor!), rank, values: values!, shape };
    if (validate) checkOrder(sparse, count);
    else checkBounds(sparse);
    const { dtype } = values!;
    const out = newData(dtype, shape) as TypedArray;
    const lanes = lanesOf(dtype);
    const source = values!.data as TypedArray;
    const padding = fallback!.data as TypedArray;
    for (let i = 0; i < out.length; i++) out[i] = padding[i % lanes]!;
    for (let row = 0; row < count; row++) {
      const at = flatIndex(sparse.indices, row, shape) * lanes;
      const from = scalar ? 0 : row * lanes;
      for (let lane = 0; lane < lanes; lane++) out[at + lane] = source[from + lane]!;
    }
    return makeTensor(dtype, shape, out);
  };
}

/** 座標が範囲の中で、行優先の昇順で、重ならないこと。 */
function checkOrder(sparse: Sparse, count: number): void {
  const { indices, rank } = sparse;
  checkBounds(sparse);
  for (let row = 1; row < count; row++) {
    const order = compareRows(indices, row - 1, indices, row, rank);
    if (order < 0) continue;
    const text = `indices[${row}] = [${indices.slice(row * rank, (row + 1) * rank).join(",")}]`;
    throw invalidArgument(
      order === 0
        ? `${text} is repeated`
        : `${text} is out of order. Many sparse ops require sorted indices.\n    Use \`tf.sparse.reorder\` to create a correctly ordered copy.\n\n`,
    );
  }
}

/** -1 を含む新しい形を決める。 */
function resolveShape(from: Shape, wanted: readonly number[]): number[] {
  const total = sizeOf(from);
  const text = (shape: Shape): string => formatShape(shape);
  let unknown = -1;
  let known = 1;
  wanted.forEach((dim, axis) => {
    if (dim === -1) {
      if (unknown >= 0) {
        throw invalidArgument(`only one output dimension may be -1, not both ${unknown} and ${axis}`);
      }
      unknown = axis;
    } else if (dim < 0) {
      throw invalidArgument(`size ${axis} must be non-negative, not ${dim}`);
    } else known *= dim;
  });
  const shape = [...wanted];
  if (unknown >= 0) {
    if (known === 0) {
      throw invalidArgument(
        "reshape cannot infer the missing input size for an empty tensor unless all specified input sizes are non-zero",
      );
    }
    if (total % known !== 0) {
      const output = shape.map((dim) => (dim === -1 ? 1 : dim));
      throw invalidArgument(
        `Input to reshape is a SparseTensor with ${total} dense values, but the requested shape requires a multiple of ${known}. input_shape=${text(from)} output_shape=${text(output)}`,
      );
    }
    shape[unknown] = total / known;
  }
  if (sizeOf(shape) !== total) {
    throw invalidArgument(
      `Input to reshape is a tensor with ${total} dense values, but the requested shape has ${sizeOf(shape)}. input_shape=${text(from)} output_shape=${text(shape)}`,
    );
  }
  return shape;
}

const sparseReshape: HostKernel = ([indicesTensor, fromTensor, wantedTensor]) => {
  if (indicesTensor!.shape.length !== 2) {
    throw invalidArgument(
      `Input indices should be a matrix but received shape ${formatShape(indicesTensor!.shape)}`,
    );
  }
  const from = toNumbers(fromTensor!);
  if (indicesTensor!.shape[1] !== from.length) {
    throw invalidArgument(
      `Input tensor rank must match input shape length. Got ${indicesTensor!.shape[1]} and ${from.length}`,
    );
  }
  const shape = resolveShape(from, toNumbers(wantedTensor!));
  const indices = toNumbers(indicesTensor!);
  const rows = indicesTensor!.shape[0]!;
  const strides = stridesOf(shape);
  const out: number[] = [];
  for (let row = 0; row < rows; row++) {
    let flat = flatIndex(indices, row, from);
    for (const stride of strides) {
      out.push(Math.floor(flat / stride));
      flat %= stride;
    }
  }
  return [int64Matrix(out, shape.length), int64Vector(shape)].map((value, i) =>
    i === 0 && rows === 0 ? makeTensor("int64", [0, shape.length], value.data) : value,
  );
};

const sparseReorder: HostKernel = ([indices, values, shape]) => {
  const sparse = readSparse(indices!, values!, shape!);
  const order = rowOrder(sparse);
  return [
    makeTensor("int64", indices!.shape, int64Vector(reorderRows(sparse.indices, sparse.rank, order)).data),
    pick(values!, order),
  ];
};

const sparseFillEmptyRows: HostKernel = ([indicesTensor, values, shapeTensor, fallback]) => {
  const { indices, rank, shape } = readSparse(indicesTensor!, values!, shapeTensor!);
  if (fallback!.shape.length !== 0)
    throw invalidArgument(`default_value must be a scalar, saw: ${formatShape(fallback!.shape)}`);
  if (shape.length === 0) throw invalidArgument("Dense shape cannot be empty.");
  const count = values!.shape[0]!;
  const rows = shape[0]!;
  if (rows === 0 && count > 0) {
    throw invalidArgument(`Received SparseTensor with dense_shape[0] = 0 but indices.shape[0] = ${count}`);
  }
  const groups: number[][] = newData("string", [rows]).map(() => []);
  for (let i = 0; i < count; i++) {
    const row = indices[i * rank]!;
    if (row < 0 || row >= rows) throw invalidArgument(`indices(${i}, 0) is invalid: ${row} >= ${rows}`);
    groups[row]!.push(i);
  }
  const outIndices: number[] = [];
  const places: Place[] = [];
  const reverse = new Array<number>(count).fill(0);
  groups.forEach((group, row) => {
    if (group.length === 0) {
      outIndices.push(row, ...new Array<number>(rank - 1).fill(0));
      places.push({ source: 1, index: 0 });
    }
    for (const i of group) {
      reverse[i] = places.length;
      outIndices.push(...indices.slice(i * rank, (i + 1) * rank));
      places.push({ source: 0, index: i });
    }
  });
  return [
    makeTensor("int64", [places.length, rank], int64Vector(outIndices).data),
    pickPlaces(values!.dtype, [values!, fallback!], places),
    tensor(
      "bool",
      [rows],
      Uint8Array.from(groups, (group) => (group.length === 0 ? 1 : 0)),
    ),
    int64Vector(reverse),
  ];
};

/** 並べ替えた座標と、値の在りか。 */
function assemble(
  dtype: DType,
  rank: number,
  shape: Shape,
  rows: { at: readonly number[]; place: Place }[],
  sources: readonly Tensor[],
): Tensor[] {
  return [
    makeTensor("int64", [rows.length, rank], int64Vector(rows.flatMap(({ at }) => at)).data),
    pickPlaces(
      dtype,
      sources,
      rows.map(({ place }) => place),
    ),
    int64Vector(shape),
  ];
}

const compareCoordinates = (a: readonly number[], b: readonly number[]): number =>
  compareRows(a, 0, b, 0, a.length);

function sparseConcat(attrs: Attrs): HostKernel {
  const axisAttr = attrs.int("concat_dim");
  const count = attrs.int("N");
  return (inputs) => {
    const parts = Array.from({ length: count }, (_, i) =>
      readSparse(inputs[i]!, inputs[count + i]!, inputs[2 * count + i]!),
    );
    const first = parts[0]!;
    const { rank } = first;
    if (axisAttr < -rank || axisAttr >= rank) {
      throw invalidArgument(`Concat dimension must be in range [${-rank}, ${rank}), got ${axisAttr}`);
    }
    const axis = normalizeAxis(axisAttr, rank);
    parts.forEach(({ shape }, i) => {
      if (shape.length !== rank) {
        throw invalidArgument(
          `Ranks of all input tensors must match: expected ${rank} but got ${shape.length} at position ${i}`,
        );
      }
      shape.forEach((dim, d) => {
        if (d !== axis && dim !== first.shape[d]) {
          throw invalidArgument(
            `Input shapes must match: expected ${first.shape[d]} for dimension ${d} but got ${dim} at position ${i}`,
          );
        }
      });
    });
    let offset = 0;
    const rows = parts.flatMap((part, source) => {
      const shifted = rowOrder(part).map((index) => {
        const at = part.indices.slice(index * rank, (index + 1) * rank);
        at[axis]! += offset;
        return { at, place: { source, index } };
      });
      offset += part.shape[axis]!;
      return shifted;
    });
    rows.sort((a, b) => compareCoordinates(a.at, b.at));
    const shape = first.shape.map((dim, d) => (d === axis ? offset : dim));
    const values = parts.map((part) => part.values);
    return assemble(first.values.dtype, rank, shape, rows, values);
  };
}

/** 箱の中の要素だけを、箱の角を原点にして。 */
function cut(sparse: Sparse, start: readonly number[], size: readonly number[]): Tensor[] {
  const { indices, rank, values } = sparse;
  const rows: { at: number[]; place: Place }[] = [];
  for (let index = 0; index < values.shape[0]!; index++) {
    const at = start.map((from, d) => indices[index * rank + d]! - from);
    if (at.every((coordinate, d) => coordinate >= 0 && coordinate < size[d]!)) {
      rows.push({ at, place: { source: 0, index } });
    }
  }
  return assemble(values.dtype, rank, size, rows, [values]);
}

const sparseSlice: HostKernel = ([indices, values, shape, startTensor, sizeTensor]) => {
  const sparse = readSparse(indices!, values!, shape!);
  const start = toNumbers(startTensor!);
  const size = toNumbers(sizeTensor!);
  if (start.length !== sparse.rank) {
    throw invalidArgument(
      `Expected start to be a vector of length ${sparse.rank} but got length ${start.length}`,
    );
  }
  if (size.length !== sparse.rank) {
    throw invalidArgument(
      `Expected size to be a vector of length ${sparse.rank} but got length ${size.length}`,
    );
  }
  const clipped = size.map((length, d) => Math.max(0, Math.min(length, sparse.shape[d]! - start[d]!)));
  return cut(sparse, start, clipped);
};

function sparseSplit(attrs: Attrs): HostKernel {
  const count = attrs.int("num_split");
  return ([axisTensor, indices, values, shape]) => {
    const sparse = readSparse(indices!, values!, shape!);
    const { rank } = sparse;
    const given = toNumber(axisTensor!);
    if (given < -rank || given >= rank) {
      throw invalidArgument(`Input axis should be in range [${-rank}, ${rank}), got ${given}`);
    }
    const axis = normalizeAxis(given, rank);
    const dim = sparse.shape[axis]!;
    if (count < 1 || count > dim) {
      throw invalidArgument(
        `Input num_split should be between 1 and the splitting dimension size (${dim}), got ${count}`,
      );
    }
    const base = Math.floor(dim / count);
    const residue = dim % count;
    let from = 0;
    const parts = Array.from({ length: count }, (_, i) => {
      const length = base + (i < residue ? 1 : 0);
      const start = sparse.shape.map((_, d) => (d === axis ? from : 0));
      const size = sparse.shape.map((whole, d) => (d === axis ? length : whole));
      from += length;
      return cut(sparse, start, size);
    });
    return [0, 1, 2].flatMap((output) => parts.map((part) => part[output]!));
  };
}

function sparseDenseMatMul(attrs: Attrs): HostKernel {
  const adjointA = attrs.bool("adjoint_a");
  const adjointB = attrs.bool("adjoint_b");
  return ([indicesTensor, values, shapeTensor, b]) => {
    const a = readSparse(indicesTensor!, values!, shapeTensor!);
    if (b!.shape.length !== 2) throw invalidArgument(`Tensor 'b' is not a matrix`);
    if (a.rank !== 2) throw invalidArgument("Tensor 'a_shape' must have 2 elements");
    const [rows, inner] = adjointA ? [a.shape[1]!, a.shape[0]!] : [a.shape[0]!, a.shape[1]!];
    const [innerB, columns] = adjointB ? [b!.shape[1]!, b!.shape[0]!] : [b!.shape[0]!, b!.shape[1]!];
    if (inner !== innerB) {
      throw invalidArgument(
        `Cannot multiply A and B because inner dimension does not match: ${inner} vs. ${innerB}.  Did you forget a transpose?  Dimensions of A: [${rows}, ${inner}).  Dimensions of B: ${formatShape(b!.shape)}`,
      );
    }
    const { dtype } = values!;
    const lanes = lanesOf(dtype);
    const shape = [rows, columns];
    const result = newData(dtype, shape);
    const out = result as unknown as Numbers;
    const av = numbersOf(values!);
    const bv = numbersOf(b!);
    const [rowStride, columnStride] = adjointB ? [1, b!.shape[1]!] : [b!.shape[1]!, 1];
    for (let i = 0; i < values!.shape[0]!; i++) {
      const m = a.indices[i * 2 + (adjointA ? 1 : 0)]!;
      const k = a.indices[i * 2 + (adjointA ? 0 : 1)]!;
      if (k < 0 || k >= inner) throw outOfBounds("k", k, i, adjointA ? 0 : 1, inner);
      if (m < 0 || m >= rows) throw outOfBounds("m", m, i, adjointA ? 1 : 0, rows);
      for (let n = 0; n < columns; n++) {
        const to = m * columns + n;
        const from = k * rowStride + n * columnStride;
        if (lanes === 1) {
          out[to]! += av[i]! * bv[from]!;
          continue;
        }
        const [ar, ai] = [av[2 * i]!, adjointA ? -av[2 * i + 1]! : av[2 * i + 1]!];
        const [br, bi] = [bv[2 * from]!, adjointB ? -bv[2 * from + 1]! : bv[2 * from + 1]!];
        out[2 * to]! += ar * br - ai * bi;
        out[2 * to + 1]! += ar * bi + ai * br;
      }
    }
    roundTo(dtype, result);
    return makeTensor(dtype, shape, result);
  };
}

function outOfBounds(name: string, value: number, row: number, column: number, limit: number): Error {
  return invalidArgument(`${name} (${value}) from index[${row},${column}] out of bounds (>=${limit})`);
}

const sparseAdd: HostKernel = ([ai, av, as, bi, bv, bs, thresholdTensor]) => {
  const a = readSparse(ai!, av!, as!);
  const b = readSparse(bi!, bv!, bs!);
  if (a.rank !== b.rank) {
    throw invalidArgument(
      `Operands' shapes do not match: got ${formatShape(a.shape)} and ${formatShape(b.shape)}`,
    );
  }
  a.shape.forEach((dim, d) => {
    if (dim !== b.shape[d]) {
      throw invalidArgument(`Operands' shapes do not match: got ${dim} and ${b.shape[d]} for dimension ${d}`);
    }
  });
  const { rank } = a;
  const [left, right] = [numbersOf(av!), numbersOf(bv!)];
  if (lanesOf(av!.dtype) !== 1) throw unimplemented("SparseAdd of complex values is not supported");
  const threshold = numbersOf(thresholdTensor!)[0]!;
  const large = (value: number): boolean => (value < 0 ? -value : value) >= threshold;
  const indices: number[] = [];
  const sums: number[] = [];
  const take = (from: Sparse, row: number, value: number): void => {
    indices.push(...from.indices.slice(row * rank, (row + 1) * rank));
    sums.push(value);
  };
  let [i, j] = [0, 0];
  while (i < left.length && j < right.length) {
    const order = compareRows(a.indices, i, b.indices, j, rank);
    if (order < 0) take(a, i, left[i++]!);
    else if (order > 0) take(b, j, right[j++]!);
    else {
      // float のまま足した値で閾値と比べる。
      const sum = left.subarray(i, i + 1).slice() as Numbers;
      sum[0]! += right[j]!;
      if (large(sum[0]!)) take(a, i, sum[0]!);
      i++;
      j++;
    }
  }
  while (i < left.length) take(a, i, left[i++]!);
  while (j < right.length) take(b, j, right[j++]!);
  const out = newData(av!.dtype, [sums.length]) as TypedArray;
  sums.forEach((sum, k) => {
    out[k] = sum as never;
  });
  roundTo(av!.dtype, out);
  return [
    makeTensor("int64", [sums.length, rank], int64Vector(indices).data),
    makeTensor(av!.dtype, [sums.length], out),
    as!,
  ];
};

type Fold = (a: number, b: number) => number;
const folds: Readonly<Record<string, Fold>> = {
  Sum: (a, b) => a + b,
  // int64 の BigInt も通るので Math.max は使えない。
  Max: (a, b) => {
    if (b > a) return b;
    return a;
  },
};

/** 軸をまとめた結果。現れた位置だけ。 */
function reduceSparse(sparse: Sparse, axesTensor: Tensor, fold: Fold) {
  const { indices, rank, shape } = sparse;
  const given = toNumbers(axesTensor);
  for (const axis of given) {
    if (axis < -rank || axis >= rank) {
      throw invalidArgument(`Invalid reduction dimension ${axis}, for input with ${rank} dimensions.`);
    }
  }
  const axes = new Set(given.map((axis) => normalizeAxis(axis, rank)));
  const kept = [...shape.keys()].filter((axis) => !axes.has(axis));
  const source = numbersOf(sparse.values);
  if (lanesOf(sparse.values.dtype) !== 1) throw unimplemented("Reducing complex values is not supported");
  const groups = new Map<string, { at: number[]; value: number }>();
  for (const row of rowOrder(sparse)) {
    const at = kept.map((axis) => indices[row * rank + axis]!);
    const key = at.join();
    const found = groups.get(key);
    if (found === undefined) groups.set(key, { at, value: source[row]! });
    else found.value = fold(found.value, source[row]!);
  }
  return { kept, axes, groups: [...groups.values()].sort((a, b) => compareCoordinates(a.at, b.at)) };
}

const sparseReduce =
  (fold: Fold) =>
  ({ attrs }: { attrs: Attrs }): HostKernel => {
    const keep = attrs.bool("keep_dims");
    return ([indices, values, shapeTensor, axes]) => {
      const sparse = readSparse(indices!, values!, shapeTensor!);
      const reduced = reduceSparse(sparse, axes!, fold);
      const inner = reduced.kept.map((axis) => sparse.shape[axis]!);
      const shape = keep ? sparse.shape.map((dim, axis) => (reduced.axes.has(axis) ? 1 : dim)) : inner;
      const out = newData(values!.dtype, shape) as TypedArray;
      for (const { at, value } of reduced.groups) out[flatIndex(at, 0, inner)] = value as never;
      roundTo(values!.dtype, out);
      return makeTensor(values!.dtype, shape, out);
    };
  };

const sparseReduceSparse =
  (fold: Fold) =>
  ({ attrs }: { attrs: Attrs }): HostKernel => {
    const keep = attrs.bool("keep_dims");
    return ([indices, values, shapeTensor, axes]) => {
      const sparse = readSparse(indices!, values!, shapeTensor!);
      const { kept, axes: gone, groups } = reduceSparse(sparse, axes!, fold);
      const expand = (at: readonly number[], missing: number): number[] => {
        if (!keep) return [...at];
        let next = 0;
        return sparse.shape.map((_, axis) => (gone.has(axis) ? missing : at[next++]!));
      };
      const shape = expand(
        kept.map((axis) => sparse.shape[axis]!),
        1,
      );
      const coordinates = groups.flatMap(({ at }) => expand(at, 0));
      const out = newData(values!.dtype, [groups.length]) as TypedArray;
      groups.forEach(({ value }, i) => {
        out[i] = value as never;
      });
      return [
        makeTensor("int64", [groups.length, shape.length], int64Vector(coordinates).data),
        makeTensor(values!.dtype, [groups.length], out),
        int64Vector(shape),
      ];
    };
  };

const cwise: Readonly<Record<string, (a: number, b: number) => number>> = {
  Mul: (a, b) => a * b,
  Div: (a, b) => a / b,
  Add: (a, b) => a + b,
};

const sparseDenseCwise =
  (apply: (a: number, b: number) => number): (() => HostKernel) =>
  () =>
  ([indices, values, shapeTensor, dense]) => {
    const sparse = readSparse(indices!, values!, shapeTensor!);
    const { shape, rank } = sparse;
    const fits =
      dense!.shape.length <= rank &&
      dense!.shape.every((dim, d) => dim === 1 || dim === shape[rank - dense!.shape.length + d]);
    if (!fits) {
      throw invalidArgument(
        `SparseDenseBinaryOpShared broadcasts dense to sparse only; got incompatible shapes: ${formatShape(shape)} vs. ${formatShape(dense!.shape)}`,
      );
    }
    checkBounds(sparse);
    const strides = broadcastStrides(dense!.shape, shape);
    const left = numbersOf(values!);
    const right = numbersOf(dense!);
    const result = newData(values!.dtype, values!.shape);
    const out = result as unknown as Numbers;
    for (let i = 0; i < out.length; i++) {
      let at = 0;
      for (let d = 0; d < rank; d++) at += sparse.indices[i * rank + d]! * strides[d]!;
      out[i] = apply(left[i]!, right[at]!);
    }
    roundTo(values!.dtype, result);
    return makeTensor(values!.dtype, values!.shape, result);
  };

/** 最後の軸の中で、現れた要素だけの softmax。 */
const sparseSoftmax: HostKernel = ([indices, values, shapeTensor]) => {
  const sparse = readSparse(indices!, values!, shapeTensor!);
  const { rank } = sparse;
  if (rank < 2)
    throw invalidArgument(`Input should have rank >= 2, but got shape ${formatShape(sparse.shape)}`);
  const source = numbersOf(values!);
  const result = newData(values!.dtype, values!.shape);
  const out = result as unknown as Numbers;
  const order = rowOrder(sparse);
  const sameRow = (a: number, b: number): boolean => {
    for (let d = 0; d < rank - 1; d++) {
      if (sparse.indices[a * rank + d] !== sparse.indices[b * rank + d]) return false;
    }
    return true;
  };
  for (let start = 0; start < order.length; ) {
    let end = start + 1;
    while (end < order.length && sameRow(order[start]!, order[end]!)) end++;
    const group = order.slice(start, end);
    const most = group.reduce((max, i) => Math.max(max, source[i]!), Number.NEGATIVE_INFINITY);
    const powers = group.map((i) => Math.exp(source[i]! - most));
    const total = powers.reduce((sum, power) => sum + power, 0);
    group.forEach((i, k) => {
      out[i] = powers[k]! / total;
    });
    start = end;
  }
  roundTo(values!.dtype, result);
  return makeTensor(values!.dtype, values!.shape, result);
};

function rowsFor<T>(
  table: Readonly<Record<string, T>>,
  op: (name: string) => string,
  host: (entry: T) => OpRow["host"],
): OpRow[] {
  return Object.entries(table).map(([name, entry]) => {
    const build = host(entry);
    if (build === undefined) throw internal(`no kernel for ${op(name)}`);
    return { op: op(name), host: build };
  });
}

/** SparseTensor の演算。 */
export const sparseOps: readonly OpRow[] = [
  { op: "SparseToDense", host: ({ attrs }) => sparseToDense(attrs) },
  { op: "SparseReshape", host: () => sparseReshape },
  { op: "SparseReorder", host: () => sparseReorder },
  { op: "SparseFillEmptyRows", host: () => sparseFillEmptyRows },
  { op: "SparseConcat", host: ({ attrs }) => sparseConcat(attrs) },
  { op: "SparseSlice", host: () => sparseSlice },
  { op: "SparseSplit", host: ({ attrs }) => sparseSplit(attrs) },
  { op: "SparseTensorDenseMatMul", host: ({ attrs }) => sparseDenseMatMul(attrs) },
  { op: "SparseAdd", host: () => sparseAdd },
  { op: "SparseSoftmax", host: () => sparseSoftmax },
  ...rowsFor(folds, (name) => `SparseReduce${name}`, sparseReduce),
  ...rowsFor(folds, (name) => `SparseReduce${name}Sparse`, sparseReduceSparse),
  ...rowsFor(cwise, (name) => `SparseDenseCwise${name}`, sparseDenseCwise),
];
