import { failedPrecondition, invalidArgument } from "../base/status.ts";
import { allocate, lanesOf, type TypedArray } from "../tensor/dtype.ts";
import { concatRows, sizeOf, splitRows, type Tensor, tensor } from "../tensor/tensor.ts";

/**
 * 入力に共通の行数(先頭の次元)。
 *
 * @throws INVALID_ARGUMENT 入力が無い、スカラーがある、行数が食い違う。
 * @see tensorflow_serving/batching/batching_util.h ComputeTensorBatchSize
 */
export function rowsOf(inputs: readonly Tensor[]): number {
  let rows = -1;
  for (const { shape } of inputs) {
    if (shape.length === 0) {
      throw invalidArgument("Batching Run() input tensors must have at least one dimension");
    }
    if (rows >= 0 && shape[0] !== rows) {
      throw invalidArgument("Batching Run() input tensors must have equal 0th-dimension size");
    }
    rows = shape[0]!;
  }
  if (rows < 0) throw invalidArgument("Batching Run() must have at least one input tensor");
  return rows;
}

/** 実行する行数。大きすぎてどれにも収まらなければそのまま。 */
export function roundUp(rows: number, allowedBatchSizes: readonly number[]): number {
  return allowedBatchSizes.find((size) => size >= rows) ?? rows;
}

/** 先頭以外の次元が等しいか。 */
export function haveSameRows(a: Tensor, b: Tensor): boolean {
  if (a.dtype !== b.dtype || a.shape.length !== b.shape.length) return false;
  for (let i = 1; i < a.shape.length; i++) if (a.shape[i] !== b.shape[i]) return false;
  return true;
}

/**
 * 同じ位置の入力どうしを先頭軸で連結する。行数の端数は、最後の要求の先頭の行で埋める。
 *
 * @param tasks 要求ごとの入力(1 つ以上)。どれも同じ数。
 * @param names 入力のテンソル名。エラー文に使う。
 * @param paddingRows 埋める行数。1 以上なら、1 行以上の要求がある。
 * @throws FAILED_PRECONDITION 形が違い、詰め物もしない。
 * @throws INVALID_ARGUMENT 詰め物ができない形。
 * @see tensorflow_serving/batching/batching_session.cc MergeInputTensors
 */
export function mergeInputs(
  tasks: readonly (readonly Tensor[])[],
  names: readonly string[],
  paddingRows: number,
  padVariableLengthInputs: boolean,
): Tensor[] {
  return names.map((name, i) => {
    let parts = tasks.map((inputs) => inputs[i]!);
    if (padVariableLengthInputs) {
      parts = padToLargest(parts);
    } else if (parts.some((part) => !haveSameRows(part, parts[0]!))) {
      throw failedPrecondition(
        `Tensors with name '${name}' from different tasks have different shapes and padding is turned off. ` +
          "Set pad_variable_length_inputs to true, or ensure that all tensors with the same name have equal " +
          "dimensions starting with the first dim.",
      );
    }
    if (paddingRows > 0) {
      const last = parts.findLast(({ shape }) => shape[0]! > 0)!;
      const [row] = splitRows(last, [1, last.shape[0]! - 1]);
      for (let n = 0; n < paddingRows; n++) parts.push(row!);
    }
    return parts.length === 1 ? parts[0]! : concatRows(parts);
  });
}

/**
 * 出力を要求ごとに切り分ける。端数を埋めた行は捨てる。
 *
 * @param counts 要求ごとの行数。
 * @returns 要求ごとの出力。
 * @throws FAILED_PRECONDITION 出力の先頭の次元がバッチの行数でない。
 */
export function splitOutputs(
  outputs: readonly Tensor[],
  counts: readonly number[],
  paddingRows: number,
): Tensor[][] {
  let rows = paddingRows;
  for (const count of counts) rows += count;
  const pieces = paddingRows > 0 ? [...counts, paddingRows] : counts;
  const split = outputs.map((output) => {
    if (output.shape.length === 0) throw failedPrecondition("Batched output tensor has 0 dimensions");
    if (output.shape[0] !== rows) {
      throw failedPrecondition(
        "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input tensors",
      );
    }
    return splitRows(output, pieces);
  });
  return counts.map((_, task) => split.map((parts) => parts[task]!));
}

/** 先頭以外の各次元を、列の中の最大に揃える。 */
function padToLargest(parts: readonly Tensor[]): Tensor[] {
  const rank = parts[0]!.shape.length;
  if (rank < 1 || rank > 6) throw invalidArgument("Only tensors with rank from 1 to 6 can be padded.");
  if (parts.some(({ shape }) => shape.length !== rank)) {
    throw invalidArgument("Tensors of different ranks cannot be padded to the same shape.");
  }
  const largest = parts[0]!.shape.map((_, d) => Math.max(...parts.map(({ shape }) => shape[d]!)));
  return parts.map((part) => pad(part, [part.shape[0]!, ...largest.slice(1)]));
}

/**
 * 各次元の後ろを、先頭の要素の値で埋めて広げる。
 *
 * @param shape 元の形の各次元以上。先頭の次元は等しい。
 */
function pad(part: Tensor, shape: readonly number[]): Tensor {
  const size = sizeOf(shape);
  if (size === sizeOf(part.shape)) return tensor(part.dtype, shape, part.data);
  if (sizeOf(part.shape) === 0) throw invalidArgument("Got empty tensor in batch of non-empty tensors.");
  const data = allocate(part.dtype, size);
  const lanes = lanesOf(part.dtype);
  if (Array.isArray(data)) data.fill((part.data as Uint8Array[])[0]!);
  else fillFirst(data, part.data as TypedArray, lanes);
  // 最も内側の次元は続いているので、そのひと続きごとに写す。
  const run = part.shape.at(-1)! * lanes;
  const runs = sizeOf(part.shape.slice(0, -1));
  for (let r = 0; r < runs; r++) {
    let rest = r;
    let target = 0;
    let stride = shape.at(-1)!;
    for (let d = part.shape.length - 2; d >= 0; d--) {
      target += (rest % part.shape[d]!) * stride;
      rest = Math.floor(rest / part.shape[d]!);
      stride *= shape[d]!;
    }
    if (Array.isArray(data)) {
      for (let i = 0; i < run; i++) data[target + i] = (part.data as Uint8Array[])[r * run + i]!;
    } else {
      (data as Uint8Array).set((part.data as Uint8Array).subarray(r * run, (r + 1) * run), target * lanes);
    }
  }
  return tensor(part.dtype, shape, data);
}

/** 複素数は実部と虚部の組で埋める。 */
function fillFirst(data: TypedArray, source: TypedArray, lanes: number): void {
  if (lanes === 1) (data as Uint8Array).fill(source[0] as number);
  else for (let i = 0; i < data.length; i++) data[i] = source[i % lanes]!;
}
