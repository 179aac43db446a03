import { invalidArgument } from "../../base/status.ts";
import type { DType, TypedArray } from "../../tensor/dtype.ts";
import { type Tensor, tensor } from "../../tensor/tensor.ts";
import { formatShape, makeTensor, newData, toNumber, toNumbers } from "./kernel_util.ts";
import type { Attrs, HostKernel, OpRow } from "./registry.ts";

/** 1 行ぶんの値と、それぞれの重み(全体での番号)。 */
interface Row {
  readonly values: readonly number[];
  /** 重みの番号。 */
  readonly from: number;
}

const one = (dtype: DType): number | bigint => (dtype === "int64" ? 1n : 1);

/** 重み。空なら 1 ずつ数える。 */
function weightAt(weights: Tensor, index: number): number | bigint {
  return weights.data.length === 0 ? one(weights.dtype) : (weights.data as TypedArray)[index]!;
}

/** 桶ごとの和(または有無)を `out` の `at` から `size` 個に足し込む。大きさの外の値は捨てる。 */
function count(out: TypedArray, at: number, size: number, row: Row, weights: Tensor, binary: boolean): void {
  row.values.forEach((value, i) => {
    if (value >= size) return;
    const bin = at + value;
    // 両辺は同じ dtype なので、BigInt どうしか number どうしになる。
    out[bin] = (
      binary ? one(weights.dtype) : (out[bin] as number) + (weightAt(weights, row.from + i) as number)
    ) as never;
  });
}

function readSize(value: Tensor): number {
  if (value.data.length !== 1) {
    throw invalidArgument(`Shape must be rank 0 but is rank ${value.shape.length}`);
  }
  const size = toNumber(value);
  if (size < 0) throw invalidArgument(`size (${size}) must be non-negative`);
  return size;
}

function checkWeights(weights: Tensor, input: Tensor): void {
  if (weights.data.length > 0 && formatShape(weights.shape) !== formatShape(input.shape)) {
    throw invalidArgument(
      "`weights` must be the same shape as `arr` or a length-0 `Tensor`, in which case it acts as all weights equal to 1. " +
        `Received ${formatShape(weights.shape)}`,
    );
  }
}

const bincount: HostKernel = ([arr, sizeTensor, weights]) => {
  const size = readSize(sizeTensor!);
  const values = toNumbers(arr!);
  if (values.some((value) => value < 0)) throw invalidArgument("Input arr must be non-negative!");
  const out = newData(weights!.dtype, [size]) as TypedArray;
  count(out, 0, size, { values, from: 0 }, weights!, false);
  return makeTensor(weights!.dtype, [size], out);
};

function denseBincount(attrs: Attrs): HostKernel {
  const binary = attrs.bool("binary_output");
  return ([input, sizeTensor, weights]) => {
    const rank = input!.shape.length;
    if (rank > 2) throw invalidArgument("Shape must be at most rank 2 but is rank 3");
    checkWeights(weights!, input!);
    const size = readSize(sizeTensor!);
    const values = toNumbers(input!);
    if (values.some((value) => value < 0)) throw invalidArgument("Input arr must be non-negative!");
    const rows = rank === 2 ? input!.shape[0]! : 1;
    const width = rank === 2 ? input!.shape[1]! : values.length;
    const shape = rank === 2 ? [rows, size] : [size];
    const out = newData(weights!.dtype, shape) as TypedArray;
    for (let r = 0; r < rows; r++) {
      const row = { values: values.slice(r * width, (r + 1) * width), from: r * width };
      count(out, r * size, size, row, weights!, binary);
    }
    return makeTensor(weights!.dtype, shape, out);
  };
}

function sparseBincount(attrs: Attrs): HostKernel {
  const binary = attrs.bool("binary_output");
  return ([indices, input, denseShape, sizeTensor, weights]) => {
    const size = readSize(sizeTensor!);
    const values = toNumbers(input!);
    const dims = toNumbers(denseShape!);
    checkWeights(weights!, input!);
    if (values.some((value) => value < 0)) throw invalidArgument("Input arr must be non-negative!");
    const rank = indices!.shape[1] ?? 1;
    const flat = dims.length === 1;
    const rows = flat ? 1 : dims[0]!;
    const shape = flat ? [size] : [rows, size];
    const out = newData(weights!.dtype, shape) as TypedArray;
    const coordinates = toNumbers(indices!);
    values.forEach((value, i) => {
      const r = flat ? 0 : coordinates[i * rank]!;
      if (r < 0 || r >= rows) {
        throw invalidArgument(
          `Index out of bound. \`batch\` (${r}) must be less than the dimension size (${rows}).`,
        );
      }
      count(out, r * size, size, { values: [value], from: i }, weights!, binary);
    });
    return makeTensor(weights!.dtype, shape, out);
  };
}

/** 区切りの列から行を切り出す。 */
function raggedRows(splits: readonly number[], values: readonly number[]): Row[] {
  if (splits[0] !== 0) throw invalidArgument(`Splits must start with 0, not with ${splits[0]}`);
  if (splits.at(-1) !== values.length) {
    throw invalidArgument(
      `Splits must end with the number of values, got ${splits.at(-1)} instead of ${values.length}`,
    );
  }
  return splits.slice(1).map((end, i) => {
    if (end < splits[i]!) throw invalidArgument("Splits must be monotonically increasing");
    return { values: values.slice(splits[i], end), from: splits[i]! };
  });
}

function raggedBincount(attrs: Attrs): HostKernel {
  const binary = attrs.bool("binary_output");
  return ([splits, input, sizeTensor, weights]) => {
    const size = readSize(sizeTensor!);
    const values = toNumbers(input!);
    if (values.some((value) => value < 0)) throw invalidArgument("Input arr must be non-negative!");
    const rows = raggedRows(toNumbers(splits!), values);
    const out = newData(weights!.dtype, [rows.length, size]) as TypedArray;
    rows.forEach((row, r) => {
      count(out, r * size, size, row, weights!, binary);
    });
    return makeTensor(weights!.dtype, [rows.length, size], out);
  };
}

/** 行ごとの「値 → 数」を疎な表にする。 */
function sparseCounts(rows: readonly Row[], weights: Tensor, attrs: Attrs, flat: boolean): readonly Tensor[] {
  const min = attrs.int("minlength");
  const max = attrs.int("maxlength");
  const binary = attrs.bool("binary_output");
  let widest = 0;
  const counted = rows.map((row) => {
    const counts = new Map<number, number | bigint>();
    row.values.forEach((value, i) => {
      if (value < 0) throw invalidArgument("Input values must all be non-negative");
      if (max >= 0 && value >= max) return;
      widest = Math.max(widest, value);
      const weight = weightAt(weights, row.from + i);
      const before = counts.get(value);
      counts.set(
        value,
        binary ? one(weights.dtype) : before === undefined ? weight : (before as number) + (weight as number),
      );
    });
    return [...counts].sort(([a], [b]) => a - b);
  });
  const size = max > 0 ? max : Math.max(widest + 1, min);
  const total = counted.reduce((sum, row) => sum + row.length, 0);
  const rank = flat ? 1 : 2;
  const indices = new BigInt64Array(total * rank);
  const values = newData(weights.dtype, [total]) as TypedArray;
  let at = 0;
  counted.forEach((row, r) => {
    for (const [value, number] of row) {
      if (!flat) indices[at * 2] = BigInt(r);
      indices[at * rank + rank - 1] = BigInt(value);
      values[at++] = number as never;
    }
  });
  const shape = flat ? [size] : [rows.length, size];
  return [
    tensor("int64", [total, rank], indices),
    makeTensor(weights.dtype, [total], values),
    tensor("int64", [rank], BigInt64Array.from(shape, BigInt)),
  ];
}

function denseCounts(attrs: Attrs): HostKernel {
  return ([input, weights]) => {
    const rank = input!.shape.length;
    if (rank !== 1 && rank !== 2) {
      throw invalidArgument(`Input must be a 1 or 2-dimensional tensor. Got: ${formatShape(input!.shape)}`);
    }
    if (weights!.data.length > 0 && formatShape(weights!.shape) !== formatShape(input!.shape)) {
      throw invalidArgument(
        `Weights and data must have the same shape. Weight shape: ${formatShape(weights!.shape)}; data shape: ${formatShape(input!.shape)}`,
      );
    }
    const values = toNumbers(input!);
    const width = rank === 1 ? values.length : input!.shape[1]!;
    const count = rank === 1 ? 1 : input!.shape[0]!;
    const rows = Array.from({ length: count }, (_, r) => ({
      values: values.slice(r * width, (r + 1) * width),
      from: r * width,
    }));
    return sparseCounts(rows, weights!, attrs, rank === 1);
  };
}

function sparseInputCounts(attrs: Attrs): HostKernel {
  return ([indices, input, denseShape, weights]) => {
    if (indices!.shape.length !== 2) {
      throw invalidArgument(
        `Input indices must be a 2-dimensional tensor. Got: ${formatShape(indices!.shape)}`,
      );
    }
    const values = toNumbers(input!);
    const dims = toNumbers(denseShape!);
    const coordinates = toNumbers(indices!);
    const flat = dims.length === 1;
    const rank = indices!.shape[1]!;
    const rows = Array.from({ length: flat ? 1 : dims[0]! }, () => ({ values: [] as number[], from: 0 }));
    values.forEach((value, i) => {
      const r = flat ? 0 : coordinates[i * rank]!;
      const row = rows[r];
      if (row === undefined) {
        throw invalidArgument(
          `Indices value along the first dimension must be lower than the first index of the shape.Got ${r} as batch and ${rows.length} as the first dimension of the shape.`,
        );
      }
      if (row.values.length === 0) row.from = i;
      row.values.push(value);
    });
    return sparseCounts(rows, weights!, attrs, flat);
  };
}

/** 値ごとに数える演算(CategoryEncoding, TextVectorization が使う)。 */
export const bincountOps: readonly OpRow[] = [
  { op: "Bincount", host: () => bincount },
  { op: "DenseBincount", host: ({ attrs }) => denseBincount(attrs) },
  { op: "SparseBincount", host: ({ attrs }) => sparseBincount(attrs) },
  { op: "RaggedBincount", host: ({ attrs }) => raggedBincount(attrs) },
  { op: "DenseCountSparseOutput", host: ({ attrs }) => denseCounts(attrs) },
  { op: "SparseCountSparseOutput", host: ({ attrs }) => sparseInputCounts(attrs) },
  {
    op: "RaggedCountSparseOutput",
    host:
      ({ attrs }) =>
      ([splits, values, weights]) =>
        sparseCounts(raggedRows(toNumbers(splits!), toNumbers(values!)), weights!, attrs, false),
  },
  {
    op: "Bucketize",
    host: ({ attrs }) => {
      const boundaries = attrs.floats("boundaries");
      if (boundaries.some((value, i) => i > 0 && value < boundaries[i - 1]!)) {
        throw invalidArgument("Expected sorted boundaries");
      }
      const bucket = (value: number): number => {
        let low = 0;
        let high = boundaries.length;
        while (low < high) {
          const middle = (low + high) >> 1;
          // NaN は最後の桶に入る。
          if (value < boundaries[middle]!) high = middle;
          else low = middle + 1;
        }
        return low;
      };
      return ([input]) =>
        tensor(
          "int32",
          input!.shape,
          Int32Array.from(input!.data as ArrayLike<number | bigint>, (value) => bucket(Number(value))),
        );
    },
  },
];
