import { invalidArgument } from "../../base/status.ts";
import { wireOfDType } from "../../tensor/dtype.ts";
import { type Tensor, tensor } from "../../tensor/tensor.ts";
import { bytesOf, joinBytes } from "./bytes.ts";
import { fingerprint64, fingerprintCat64 } from "./farmhash.ts";
import { encodeText, formatShape, toNumbers } from "./kernel_util.ts";
import { sipHash } from "./keyed_hash.ts";
import type { Attrs, HostKernel, OpRow } from "./registry.ts";
import { int64Vector } from "./sparse_tensor.ts";

const INT64_MAX = 0x7fffffffffffffffn;

/** 掛け合わせる列。行ごとの特徴の数と、その値。 */
interface Column {
  readonly sparse: boolean;
  readonly values: Tensor;
  readonly counts: readonly number[];
  readonly starts: readonly number[];
}

function sparseColumn(indices: Tensor, values: Tensor, batch: number): Column {
  const counts = new Array<number>(batch).fill(0);
  const starts = new Array<number>(batch).fill(0);
  const coordinates = toNumbers(indices);
  const rank = indices.shape[1] ?? 0;
  for (let i = 0; i < values.data.length; i++) {
    const row = coordinates[i * rank]!;
    if (row < 0 || row >= batch) throw invalidArgument("Row index out of range");
    if (counts[row] === 0) starts[row] = i;
    counts[row]!++;
  }
  return { sparse: true, values, counts, starts };
}

function denseColumn(values: Tensor, batch: number): Column {
  const width = values.shape[1]!;
  return {
    sparse: false,
    values,
    counts: new Array<number>(batch).fill(width),
    starts: Array.from({ length: batch }, (_, row) => row * width),
  };
}

function columnsOf(
  inputs: readonly Tensor[],
  count: number,
  denseFrom: number,
  denseTo: number,
): { columns: Column[]; batch: number } {
  const dense = inputs.slice(denseFrom, denseTo);
  const shapes = inputs.slice(2 * count, 3 * count);
  shapes.forEach((shape, i) => {
    if (shape.data.length !== 2) {
      throw invalidArgument(
        `shape should imply a 2D tensor, but got ${formatShape(toNumbers(shape))} at position ${i}`,
      );
    }
  });
  dense.forEach(({ shape }, i) => {
    if (shape.length !== 2) {
      throw invalidArgument(
        `Dense inputs should be a matrix but received shape ${formatShape(shape)} at position ${i}`,
      );
    }
  });
  const batch = shapes.length > 0 ? toNumbers(shapes[0]!)[0]! : (dense[0]?.shape[0] ?? 0);
  for (const shape of shapes) {
    const rows = toNumbers(shape)[0];
    if (rows !== batch) throw invalidArgument(`Expected batch size ${batch}, got ${rows}`);
  }
  for (const { shape } of dense) {
    if (shape[0] !== batch) throw invalidArgument(`Expected batch size ${batch}, got ${shape[0]}`);
  }
  const columns = [
    ...Array.from({ length: count }, (_, i) => sparseColumn(inputs[i]!, inputs[count + i]!, batch)),
    ...dense.map((values) => denseColumn(values, batch)),
  ];
  return { columns, batch };
}

/** 行ごとに、すべての列から 1 つずつ選ぶ組(最後の列が最も速く回る)。`picks` は値の番号。 */
function* products(columns: readonly Column[], batch: number): Generator<{ row: number; picks: number[] }> {
  for (let row = 0; row < batch; row++) {
    if (columns.length === 0 || columns.some(({ counts }) => counts[row] === 0)) continue;
    const at = new Array<number>(columns.length).fill(0);
    for (let last = columns.length - 1; last >= 0; ) {
      yield { row, picks: at.map((n, i) => columns[i]!.starts[row]! + n) };
      for (last = columns.length - 1; last >= 0; last--) {
        at[last]!++;
        if (at[last]! < columns[last]!.counts[row]!) break;
        at[last] = 0;
      }
    }
  }
}

/** @param cross 1 組の値。 */
function crossAll<T>(
  columns: readonly Column[],
  batch: number,
  cross: (picks: readonly number[]) => T,
): { indices: Tensor; shape: Tensor; values: T[] } {
  const indices: number[] = [];
  const values: T[] = [];
  let widest = 0;
  let row = -1;
  let n = 0;
  for (const product of products(columns, batch)) {
    n = product.row === row ? n + 1 : 0;
    row = product.row;
    widest = Math.max(widest, n + 1);
    indices.push(row, n);
    values.push(cross(product.picks));
  }
  return {
    indices: tensor("int64", [values.length, 2], BigInt64Array.from(indices, BigInt)),
    shape: int64Vector([batch, widest]),
    values,
  };
}

const intAt = (values: Tensor, index: number): bigint =>
  BigInt.asUintN(64, (values.data as BigInt64Array)[index]!);

/** int64 の下位 4 バイト。TF が列挙型の大きさで切って指紋を取るのに合わせる。 */
function lowBytes(value: bigint): Uint8Array {
  const out = new Uint8Array(4);
  new DataView(out.buffer).setUint32(0, Number(value & 0xffffffffn), true);
  return out;
}

const toBucket = (hash: bigint, buckets: bigint): bigint => hash % (buckets > 0n ? buckets : INT64_MAX);

function hashed(
  { columns, batch }: { columns: Column[]; batch: number },
  feature: (column: Column, index: number) => bigint,
  seed: bigint | undefined,
  buckets: bigint,
): Tensor[] {
  const { indices, shape, values } = crossAll(columns, batch, (picks) => {
    let hash = seed;
    picks.forEach((index, i) => {
      const part = feature(columns[i]!, index);
      hash = hash === undefined ? part : fingerprintCat64(hash, part);
    });
    return toBucket(hash!, buckets);
  });
  return [indices, tensor("int64", [values.length], BigInt64Array.from(values)), shape];
}

function joined({ columns, batch }: { columns: Column[]; batch: number }, separator: Uint8Array): Tensor[] {
  const text = ({ values }: Column, index: number): Uint8Array =>
    values.dtype === "string" ? values.data[index]! : encodeText(`${(values.data as BigInt64Array)[index]}`);
  const { indices, shape, values } = crossAll(columns, batch, (picks) =>
    joinBytes(
      picks.map((index, i) => text(columns[i]!, index)),
      separator,
    ),
  );
  return [indices, tensor("string", [values.length], values), shape];
}

function crossV1(attrs: Attrs): HostKernel {
  const count = attrs.int("N");
  const hash = attrs.bool("hashed_output");
  const buckets = attrs.bigint("num_buckets");
  const key = BigInt.asUintN(64, attrs.bigint("hash_key"));
  const plain = ({ values }: Column, index: number): bigint =>
    values.dtype === "string" ? fingerprint64(values.data[index]!) : intAt(values, index);
  const internal = attrs.dtype("internal_type");
  return (inputs) => {
    const all = columnsOf(inputs, count, 3 * count, inputs.length);
    for (const { values } of all.columns) {
      // 内部が int64 なら、文字列は指紋にして受け入れる。
      if (internal === "string" && values.dtype !== internal) {
        throw invalidArgument(
          `Input values should be of internal type ${wireOfDType(internal)} but received ${wireOfDType(values.dtype)}`,
        );
      }
    }
    return hash ? hashed(all, plain, key, buckets) : joined(all, encodeText("_X_"));
  };
}

function crossV2(attrs: Attrs): HostKernel {
  const count = attrs.int("N");
  return (inputs) =>
    joined(columnsOf(inputs, count, 3 * count, inputs.length - 1), bytesOf(inputs.at(-1)!)[0]!);
}

function crossHashed(attrs: Attrs): HostKernel {
  const count = attrs.int("N");
  return (inputs) => {
    const end = inputs.length - 3;
    const buckets = (inputs[end]!.data as BigInt64Array)[0]!;
    const strong = inputs[end + 1]!.data[0] === 1;
    const salt = inputs[end + 2]!;
    const key = [intAt(salt, 0), intAt(salt, 1)] as const;
    const feature = ({ sparse, values }: Column, index: number): bigint => {
      const bytes = values.dtype === "string" ? values.data[index]! : lowBytes(intAt(values, index));
      if (strong) return sipHash(key, bytes);
      if (!sparse && values.dtype !== "string") return intAt(values, index);
      return fingerprint64(bytes);
    };
    return hashed(columnsOf(inputs, count, 3 * count, end), feature, undefined, buckets);
  };
}

/** ragged の列。行の区切りがそのまま数になる。 */
function raggedColumn(values: Tensor, splits: Tensor): Column {
  const ends = toNumbers(splits);
  if (
    ends[0] !== 0 ||
    ends.some((end, i) => i > 0 && end < ends[i - 1]!) ||
    ends.at(-1) !== values.data.length
  ) {
    throw invalidArgument("Invalid ragged splits");
  }
  const counts = ends.slice(1).map((end, row) => end - ends[row]!);
  return { sparse: true, values, counts, starts: ends.slice(0, -1) };
}

/**
 * ragged, sparse, dense の混ざった列を、`input_order` の順に掛け合わせる。
 *
 * @see tensorflow/core/kernels/ragged_cross_op.cc
 */
function raggedCross(attrs: Attrs): HostKernel {
  const ragged = attrs.dtypes("ragged_values_types").length;
  const sparse = attrs.int("Nsparse");
  const order = attrs.string("input_order");
  const hash = attrs.bool("hashed_output");
  const buckets = attrs.bigint("num_buckets");
  const key = BigInt.asUintN(64, attrs.bigint("hash_key"));
  const splitType = attrs.dtype("out_row_splits_type") === "int32" ? "int32" : "int64";
  const feature = ({ values }: Column, index: number): bigint =>
    values.dtype === "string" ? fingerprint64(values.data[index]!) : intAt(values, index);
  return (inputs) => {
    const from = 2 * ragged;
    const others = columnsOf(inputs.slice(from), sparse, 3 * sparse, inputs.length - from);
    const batch =
      sparse > 0 || inputs.length > from + 3 * sparse ? others.batch : inputs[ragged]!.shape[0]! - 1;
    const kinds = {
      R: Array.from({ length: ragged }, (_, i) => raggedColumn(inputs[i]!, inputs[ragged + i]!)),
      S: others.columns.slice(0, sparse),
      D: others.columns.slice(sparse),
    };
    const columns = [...order].map((kind) => {
      const next = kinds[kind as keyof typeof kinds]?.shift();
      if (next === undefined || next.counts.length !== batch) {
        throw invalidArgument(`inputs must all have the same batch dimension size.`);
      }
      return next;
    });
    const all = { columns, batch };
    const [indices, values] = hash ? hashed(all, feature, key, buckets) : joined(all, encodeText("_X_"));
    const ends = new Array<number>(batch + 1).fill(0);
    const rows = indices!.data as BigInt64Array;
    for (let i = 0; i < rows.length; i += 2) ends[Number(rows[i]) + 1]!++;
    for (let row = 0; row < batch; row++) ends[row + 1]! += ends[row]!;
    const splits =
      splitType === "int32"
        ? tensor("int32", [batch + 1], Int32Array.from(ends))
        : tensor("int64", [batch + 1], BigInt64Array.from(ends, BigInt));
    return [values!, splits];
  };
}

/** 特徴の掛け合わせ(feature column と HashedCrossing)。 */
export const sparseCrossOps: readonly OpRow[] = [
  { op: "SparseCross", host: ({ attrs }) => crossV1(attrs) },
  { op: "SparseCrossV2", host: ({ attrs }) => crossV2(attrs) },
  { op: "RaggedCross", host: ({ attrs }) => raggedCross(attrs) },
  { op: "SparseCrossHashed", host: ({ attrs }) => crossHashed(attrs) },
];
