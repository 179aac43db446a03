import { invalidArgument, unimplemented } from "../../base/status.ts";
import { type DType, lanesOf, type TypedArray } from "../../tensor/dtype.ts";
import { sizeOf, type Tensor } from "../../tensor/tensor.ts";
import { multiply } from "./complex_math.ts";
import { isBig, isComplex } from "./elementwise.ts";
import { formatShape, makeTensor, newData, roundTo, toNumber, toNumbers } from "./kernel_util.ts";
import { highest, lowest } from "./limits.ts";
import type { HostKernel, OpRow } from "./registry.ts";

/** 64 bit 整数の配列でも同じ演算子で書けるよう、数の配列とみなす(両辺が同じ種類であることは dtype が保証する)。 */
type Numbers = Float64Array;

/** 行を区分ごとにまとめる方法。 */
interface Reduction {
  /** `out` の `at` からの `count` 要素に、`data` の `from` からを足し込む。 */
  readonly combine: (out: Numbers, at: number, data: Numbers, from: number, count: number) => void;
  /** 複素数での {@link combine}。無ければ同じもの。 */
  readonly combineComplex?: Reduction["combine"];
  /** どの行も無い区分の値(昇順の区分用)。 */
  readonly gap: number;
  /** どの行も無い区分の値(順不同の区分用)。 */
  readonly identity: (dtype: DType) => number | bigint;
  /** 区分の行数で割る数。 */
  readonly divisor?: (count: number) => number;
}

const add: Reduction["combine"] = (out, at, data, from, count) => {
  for (let i = 0; i < count; i++) out[at + i]! += data[from + i]!;
};

const sum: Reduction = { combine: add, gap: 0, identity: () => 0 };
const reductions = {
  Sum: sum,
  Mean: { ...sum, divisor: (count) => count },
  SqrtN: { ...sum, divisor: Math.sqrt },
  Prod: {
    combine: (out, at, data, from, count) => {
      for (let i = 0; i < count; i++) out[at + i]! *= data[from + i]!;
    },
    combineComplex: (out, at, data, from, count) => {
      for (let i = 0; i < count; i += 2) {
        const product = multiply(out[at + i]!, out[at + i + 1]!, data[from + i]!, data[from + i + 1]!);
        [out[at + i], out[at + i + 1]] = product;
      }
    },
    gap: 1,
    identity: () => 1,
  },
  Max: {
    combine: (out, at, data, from, count) => {
      // NaN の後に来た数は、NaN に置き換わる。
      for (let i = 0; i < count; i++) if (!(out[at + i]! > data[from + i]!)) out[at + i] = data[from + i]!;
    },
    gap: 0,
    identity: lowest,
  },
  Min: {
    combine: (out, at, data, from, count) => {
      for (let i = 0; i < count; i++) if (!(out[at + i]! < data[from + i]!)) out[at + i] = data[from + i]!;
    },
    gap: 0,
    identity: highest,
  },
} as const satisfies Record<string, Reduction>;

function numbersOf(data: Tensor): Numbers {
  if (data.dtype === "string") throw unimplemented("Segment ops do not support strings");
  return data.data as unknown as Numbers;
}

/** 64 bit 整数の配列には BigInt を、複素数には実数を入れる。 */
function fill(out: Numbers, dtype: DType, value: number | bigint): void {
  const lanes = lanesOf(dtype);
  const item = (isBig(dtype) ? BigInt(value) : value) as number;
  for (let i = 0; i < out.length; i += lanes) out[i] = item;
}

/** dtype に合う足し込み方。 */
function combinerOf(reduction: Reduction, dtype: DType): Reduction["combine"] {
  return isComplex(dtype) ? (reduction.combineComplex ?? reduction.combine) : reduction.combine;
}

function divide(out: Numbers, at: number, count: number, by: number): void {
  const wide = typeof (out as TypedArray)[0] === "bigint";
  for (let i = 0; i < count; i++) {
    const value = out[at + i]!;
    out[at + i] = (wide ? (value as unknown as bigint) / BigInt(by) : value / by) as number;
  }
}

/** 区分ごとに、どの行を順に足し込むか。`rows` が無ければ i 番目は i 行目。 */
function reduceSorted(
  data: Tensor,
  ids: readonly number[],
  rows: readonly number[] | undefined,
  segments: number,
  reduction: Reduction,
): Tensor {
  const inner = data.shape.slice(1);
  const width = sizeOf(inner) * lanesOf(data.dtype);
  const shape = [segments, ...inner];
  const source = numbersOf(data);
  const result = newData(data.dtype, shape);
  const out = result as unknown as Numbers;
  const combine = combinerOf(reduction, data.dtype);
  if (reduction.gap !== 0) fill(out, data.dtype, reduction.gap);
  for (let start = 0; start < ids.length; ) {
    const id = ids[start]!;
    const at = id * width;
    const first = (rows?.[start] ?? start) * width;
    for (let k = 0; k < width; k++) out[at + k] = source[first + k]!;
    let end = start + 1;
    for (; end < ids.length && ids[end] === id; end++) {
      combine(out, at, source, (rows?.[end] ?? end) * width, width);
    }
    if (reduction.divisor !== undefined) divide(out, at, width, reduction.divisor(end - start));
    start = end;
  }
  roundTo(data.dtype, result);
  return makeTensor(data.dtype, shape, result);
}

/** 区分の番号が昇順で、範囲の中にあることを確かめる。 */
function checkSortedIds(ids: readonly number[], segments: number, complain: (id: number) => Error): void {
  if (ids.some((id, i) => i > 0 && id < ids[i - 1]!)) {
    throw invalidArgument("segment ids are not increasing");
  }
  const wrong = ids.find((id) => id < 0 || id >= segments);
  if (wrong !== undefined) throw complain(wrong);
}

const sorted =
  (reduction: Reduction): HostKernel =>
  ([data, ids, count]) => {
    if (ids!.shape.length !== 1) throw invalidArgument("segment_ids should be a vector.");
    if (data!.shape.length === 0) throw invalidArgument("input must be at least rank 1");
    const numbers = toNumbers(ids!);
    if (data!.shape[0] !== numbers.length) {
      throw invalidArgument("segment_ids should be the same size as dimension 0 of input.");
    }
    const segments = count === undefined ? (numbers.at(-1) ?? -1) + 1 : toNumber(count);
    checkSortedIds(numbers, segments, (id) =>
      invalidArgument(
        `Segment id ${id} out of range [0, ${segments}), possibly because 'segment_ids' input is not sorted.`,
      ),
    );
    return reduceSorted(data!, numbers, undefined, segments, reduction);
  };

const sparse =
  (reduction: Reduction): HostKernel =>
  ([data, indices, ids, count]) => {
    if (indices!.shape.length !== 1) throw invalidArgument("indices should be a vector.");
    if (ids!.shape.length !== 1) throw invalidArgument("segment_ids should be a vector.");
    if (indices!.data.length !== ids!.data.length) {
      throw invalidArgument("segment_ids and indices should have same size.");
    }
    if (data!.shape.length === 0) throw invalidArgument("input must be at least rank 1");
    const rows = toNumbers(indices!);
    const numbers = toNumbers(ids!);
    const size = data!.shape[0]!;
    const segments = count === undefined ? (numbers.at(-1) ?? -1) + 1 : toNumber(count);
    checkSortedIds(numbers, segments, (id) =>
      invalidArgument(id < 0 ? "segment ids must be >= 0" : "segment ids must be < num_segments"),
    );
    rows.forEach((row, i) => {
      if (row < 0 || row >= size) {
        throw invalidArgument(`Bad: indices[${i}] == ${row} out of range [0, ${size})`);
      }
    });
    return reduceSorted(data!, numbers, rows, segments, reduction);
  };

const unsorted =
  (reduction: Reduction): HostKernel =>
  ([data, ids, count]) => {
    const segments = toNumber(count!);
    if (segments < 0) {
      throw invalidArgument(`Input num_segments == ${segments} must not be negative.`);
    }
    const prefix = ids!.shape;
    if (formatShape(data!.shape.slice(0, prefix.length)) !== formatShape(prefix)) {
      throw invalidArgument(
        `data.shape = ${formatShape(data!.shape)} does not start with segment_ids.shape = ${formatShape(prefix)}`,
      );
    }
    const inner = data!.shape.slice(prefix.length);
    const width = sizeOf(inner) * lanesOf(data!.dtype);
    const shape = [segments, ...inner];
    const source = numbersOf(data!);
    const result = newData(data!.dtype, shape);
    const out = result as unknown as Numbers;
    const combine = combinerOf(reduction, data!.dtype);
    fill(out, data!.dtype, reduction.identity(data!.dtype));
    const numbers = toNumbers(ids!);
    numbers.forEach((id, row) => {
      if (id < 0) return;
      if (id >= segments) {
        throw invalidArgument(`segment_ids${position(row, prefix)} = ${id} is out of range [0, ${segments})`);
      }
      combine(out, id * width, source, row * width, width);
    });
    roundTo(data!.dtype, result);
    return makeTensor(data!.dtype, shape, result);
  };

/** 平らな番号を `[1,0]` の形に。 */
function position(flat: number, shape: readonly number[]): string {
  const coordinates: number[] = [];
  let rest = flat;
  for (const dim of shape.toReversed()) {
    coordinates.unshift(rest % dim);
    rest = Math.floor(rest / dim);
  }
  return formatShape(coordinates);
}

const rowsFor = (
  names: readonly (keyof typeof reductions)[],
  prefix: string,
  suffix: string,
  kernel: (reduction: Reduction) => HostKernel,
): OpRow[] =>
  names.map((name) => ({ op: `${prefix}${name}${suffix}`, host: () => kernel(reductions[name]) }));

/** 区分ごとの集計。 */
export const segmentOps: readonly OpRow[] = [
  ...rowsFor(["Sum", "Mean", "Prod", "Max", "Min"], "Segment", "", sorted),
  ...rowsFor(["Sum", "Prod", "Max", "Min"], "Segment", "V2", sorted),
  ...rowsFor(["Sum", "Prod", "Max", "Min"], "UnsortedSegment", "", unsorted),
  ...rowsFor(["Sum", "Mean", "SqrtN"], "SparseSegment", "", sparse),
  ...rowsFor(["Sum", "Mean", "SqrtN"], "SparseSegment", "WithNumSegments", sparse),
];
