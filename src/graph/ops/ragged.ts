import { invalidArgument, unimplemented } from "../../base/status.ts";
import { lanesOf, type TypedArray } from "../../tensor/dtype.ts";
import { type Shape, sizeOf, type Tensor } from "../../tensor/tensor.ts";
import { EngineObject, Value } from "../value.ts";
import { formatShape, makeTensor, newData, toNumbers } from "./kernel_util.ts";
import { readPartial } from "./partial_shape.ts";
import type { Attrs, HostKernel, OpRow } from "./registry.ts";
import { copyInto, gatherParts, rowAt, sliceRows } from "./rows.ts";
import { int64Vector } from "./sparse_tensor.ts";
import { VariantArray } from "./variant_array.ts";

type SplitsType = "int32" | "int64";

function splitsTensor(type: SplitsType, splits: readonly number[]): Tensor {
  const data = type === "int32" ? Int32Array.from(splits) : BigInt64Array.from(splits, BigInt);
  return makeTensor(type, [splits.length], data);
}

const splitsType = (attrs: Attrs, name = "Tsplits"): SplitsType =>
  attrs.dtype(name) === "int32" ? "int32" : "int64";

/** 区切りの入れ子を確かめる(RaggedGather, RaggedTensorToSparse)。 */
function checkNested(nested: readonly (readonly number[])[], values: number): void {
  nested.forEach((splits, level) => {
    if (splits.length === 0) throw invalidArgument("ragged splits may not be empty.");
    if (splits[0] !== 0) throw invalidArgument("First value of ragged splits must be 0.");
    for (let i = 1; i < splits.length; i++) {
      if (splits[i]! < splits[i - 1]!) {
        throw invalidArgument(
          `Ragged splits should be non decreasing, but we got ${splits[i - 1]} followed by ${splits[i]}`,
        );
      }
    }
    const next = nested[level + 1];
    const limit = next === undefined ? values : next.length - 1;
    if (splits.at(-1) !== limit) {
      throw invalidArgument(
        next === undefined
          ? "Final value of ragged splits must match the length the corresponding ragged values."
          : "Final value of ragged splits must match the length of the next ragged splits.",
      );
    }
  });
}

// --- RaggedTensorToTensor ---

/** 行の区切り方を、区切りの列にそろえる。 */
function partitionsOf(types: readonly string[], tensors: readonly Tensor[]): number[][] {
  const out: number[][] = [];
  let rows = -1;
  types.forEach((type, i) => {
    const data = toNumbers(tensors[i]!);
    if (i === 0 && data.length === 0) {
      throw invalidArgument("Invalid first partition input. Tensor requires at least one element.");
    }
    switch (type) {
      case "FIRST_DIM_SIZE":
        rows = data[0]!;
        return;
      case "ROW_SPLITS":
        if (out.length > 0 && data.length - 1 !== rows) throw invalidArgument("Invalid row split size.");
        out.push(data);
        break;
      case "VALUE_ROWIDS":
        out.push(splitsOfRowIds(data, rows));
        break;
      default:
        throw invalidArgument(`Unsupported partition type: ${type}`);
    }
    rows = out.at(-1)!.at(-1) ?? 0;
  });
  return out;
}

function splitsOfRowIds(ids: readonly number[], rows: number): number[] {
  const splits = [0];
  let at = 0;
  for (let row = 0; row < rows; row++) {
    while (at < ids.length && ids[at] === row) at++;
    splits.push(at);
  }
  if (at !== ids.length) {
    const wrong = ids[at]!;
    throw invalidArgument(
      at > 0 && wrong < ids[at - 1]!
        ? `Unexpected decrease in value_rowids`
        : `Unexpected value_rowid: ${wrong} is not in [0, ${rows})`,
    );
  }
  return splits;
}

function raggedToTensor(attrs: Attrs): HostKernel {
  const types = attrs.strings("row_partition_types");
  return ([shapeTensor, values, fallback, ...partitionTensors]) => {
    const partitions = partitionsOf(types, partitionTensors);
    const valueRank = values!.shape.length;
    if (fallback!.shape.length >= valueRank) {
      throw invalidArgument(
        `default_value.shape=${formatShape(fallback!.shape)} and rt_input.flat_values.shape=${formatShape(values!.shape)} are incompatible: default_value.rank = ${fallback!.shape.length}  must be less than rt_input.flat_values.rank = ${valueRank}`,
      );
    }
    partitions.forEach((splits, level) => {
      const limit =
        partitions[level + 1] === undefined ? values!.shape[0]! : partitions[level + 1]!.length - 1;
      const bad = splits[0] !== 0 || splits.some((end, i) => i > 0 && end < splits[i - 1]!);
      if (bad || splits.at(-1)! > limit) throw invalidArgument("Invalid row split size.");
    });
    const inner = values!.shape.slice(1);
    const natural = [
      partitions[0]!.length - 1,
      ...partitions.map((splits) =>
        splits.slice(1).reduce((most, end, i) => Math.max(most, end - splits[i]!), 0),
      ),
      ...inner,
    ];
    const wanted = readPartial(shapeTensor!);
    if (wanted !== undefined && wanted.length !== natural.length) {
      throw invalidArgument(
        `rt_input.shape and shape=${formatShape(wanted)} are incompatible: rt_input.rank = ${natural.length} but shape.rank = ${wanted.length}`,
      );
    }
    const shape = natural.map((dim, d) => (wanted === undefined || wanted[d]! < 0 ? dim : wanted[d]!));
    inner.forEach((dim, i) => {
      const d = natural.length - inner.length + i;
      if (shape[d] !== dim) {
        throw invalidArgument(
          `rt_input.shape and shape=${formatShape(wanted!)} are incompatible: rt_input.shape[${d}] = ${dim} but shape[${d}] = ${shape[d]}`,
        );
      }
    });
    return pour(values!, fallback!, partitions, shape, inner);
  };
}

/** 既定値で埋めた箱に、行を注ぐ。はみ出た分は捨てる。 */
function pour(
  values: Tensor,
  fallback: Tensor,
  partitions: readonly number[][],
  shape: Shape,
  inner: Shape,
): Tensor {
  const { dtype } = values;
  const out = newData(dtype, shape);
  fillWith(values.dtype, out, fallback, inner);
  const width = sizeOf(inner);
  const strides = partitions.map((_, level) => sizeOf(shape.slice(level + 1)));
  const place = (level: number, row: number, at: number): void => {
    const splits = partitions[level]!;
    const [start, end] = [splits[row]!, splits[row + 1]!];
    const count = Math.min(end - start, shape[level + 1]!);
    if (level === partitions.length - 1) {
      copyInto(dtype, out, at, sliceRows(values, start, count).data);
      return;
    }
    for (let i = 0; i < count; i++) place(level + 1, start + i, at + i * strides[level + 1]!);
  };
  const rows = Math.min(partitions[0]!.length - 1, shape[0]!);
  if (width > 0) for (let row = 0; row < rows; row++) place(0, row, row * strides[0]!);
  return makeTensor(dtype, shape, out);
}

/** 既定値を、値の内側の形に広げて敷き詰める。 */
function fillWith(dtype: Tensor["dtype"], out: Tensor["data"], fallback: Tensor, inner: Shape): void {
  const lanes = lanesOf(dtype);
  const target = out as TypedArray;
  const source = fallback.data as TypedArray;
  const offset = inner.length - fallback.shape.length;
  fallback.shape.forEach((dim, d) => {
    if (dim !== 1 && dim !== inner[offset + d]) {
      throw invalidArgument(
        `default_value.shape=${formatShape(fallback.shape)} and rt_input.flat_values.shape[1:]=${formatShape(inner)} are incompatible`,
      );
    }
  });
  const width = sizeOf(inner);
  const pattern = Array.from({ length: width }, (_, i) => {
    let from = 0;
    let rest = i;
    let stride = 1;
    for (let d = fallback.shape.length - 1; d >= 0; d--) {
      const dim = inner[offset + d]!;
      if (fallback.shape[d] !== 1) from += (rest % dim) * stride;
      rest = Math.floor(rest / dim);
      stride *= fallback.shape[d]!;
    }
    return from;
  });
  for (let i = 0; i < target.length; i++) {
    target[i] = source[pattern[Math.floor(i / lanes) % width]! * lanes + (i % lanes)]!;
  }
}

// --- RaggedTensorToSparse, RaggedGather, RaggedRange ---

function raggedToSparse(attrs: Attrs): HostKernel {
  const rank = attrs.int("RAGGED_RANK");
  return (inputs) => {
    const nested = inputs.slice(0, rank).map(toNumbers);
    const values = inputs[rank]!;
    checkNested(nested, values.shape[0] ?? 0);
    const inner = values.shape.slice(1);
    const width = sizeOf(inner);
    const indices: number[] = [];
    const visit = (level: number, row: number, prefix: readonly number[]): void => {
      const splits = nested[level]!;
      for (let i = splits[row]!; i < splits[row + 1]!; i++) {
        const at = [...prefix, i - splits[row]!];
        if (level < rank - 1) visit(level + 1, i, at);
        else for (let k = 0; k < width; k++) indices.push(...at, ...coordinatesOf(k, inner));
      }
    };
    const rows = nested[0]!.length - 1;
    for (let row = 0; row < rows; row++) visit(0, row, [row]);
    const total = values.shape[0]! * width;
    const columns = rank + 1 + inner.length;
    const shape = [
      rows,
      ...nested.map((splits) =>
        splits.slice(1).reduce((most, end, i) => Math.max(most, end - splits[i]!), 0),
      ),
      ...inner,
    ];
    return [
      makeTensor("int64", [total, columns], int64Vector(indices).data),
      makeTensor(values.dtype, [total], values.data),
      int64Vector(shape),
    ];
  };
}

function coordinatesOf(flat: number, shape: Shape): number[] {
  const out: number[] = [];
  let rest = flat;
  for (let d = shape.length - 1; d >= 0; d--) {
    out.unshift(rest % shape[d]!);
    rest = Math.floor(rest / shape[d]!);
  }
  return out;
}

function raggedGather(attrs: Attrs): HostKernel {
  const rank = attrs.int("PARAMS_RAGGED_RANK");
  const type = splitsType(attrs);
  return (inputs) => {
    const nested = inputs.slice(0, rank).map(toNumbers);
    const values = inputs[rank]!;
    const indicesTensor = inputs[rank + 1]!;
    const indices = toNumbers(indicesTensor);
    checkNested(nested, values.shape[0] ?? 0);
    const rows = nested[0]!.length - 1;
    indices.forEach((index, i) => {
      if (index < 0 || index >= rows) {
        throw invalidArgument(
          `indices${formatShape(coordinatesOf(i, indicesTensor.shape))} = ${index} is not in [0, ${rows})`,
        );
      }
    });
    // 添字の形の内側の次元は、一様な区切りになる。
    const dims = indicesTensor.shape;
    const uniform = dims.slice(1).map((dim, d) => {
      const count = sizeOf(dims.slice(0, d + 1));
      return Array.from({ length: count + 1 }, (_, i) => i * dim);
    });
    const outSplits: number[][] = nested.map(() => [0]);
    const parts: Tensor[] = [];
    for (const index of indices) {
      let [start, end] = [index, index + 1];
      nested.forEach((splits, level) => {
        const out = outSplits[level]!;
        const shift = out.at(-1)! - splits[start]!;
        for (let i = start; i < end; i++) out.push(splits[i + 1]! + shift);
        [start, end] = [splits[start]!, splits[end]!];
      });
      parts.push(sliceRows(values, start, end - start));
    }
    const total = parts.reduce((sum, part) => sum + part.shape[0]!, 0);
    return [
      ...[...uniform, ...outSplits].map((splits) => splitsTensor(type, splits)),
      gatherParts(values.dtype, [total, ...values.shape.slice(1)], parts),
    ];
  };
}

function raggedRange(attrs: Attrs): HostKernel {
  const type = splitsType(attrs);
  return (inputs) => {
    const [starts, limits, deltas] = inputs.map(({ shape, data }, i) => {
      if (shape.length > 1) {
        throw invalidArgument(`${["starts", "limits", "deltas"][i]} must be a scalar or vector`);
      }
      return { scalar: shape.length === 0, numbers: Array.from(data as ArrayLike<number | bigint>, Number) };
    });
    const columns = [starts!, limits!, deltas!];
    const lengths = new Set(columns.filter(({ scalar }) => !scalar).map(({ numbers }) => numbers.length));
    if (lengths.size > 1) throw invalidArgument("starts, limits, and deltas must have the same shape");
    const rows = [...lengths][0] ?? 1;
    const { dtype } = inputs[0]!;
    const splits = [0];
    const at = ({ scalar, numbers }: { scalar: boolean; numbers: number[] }, row: number): number =>
      numbers[scalar ? 0 : row]!;
    for (let row = 0; row < rows; row++) {
      const [start, limit, delta] = [at(starts!, row), at(limits!, row), at(deltas!, row)];
      if (delta === 0) throw invalidArgument("Requires delta != 0");
      splits.push(splits.at(-1)! + Math.max(0, Math.ceil((limit - start) / delta)));
    }
    const out = newData(dtype, [splits.at(-1)!]) as TypedArray;
    const wide = dtype === "int64";
    for (let row = 0; row < rows; row++) {
      const source = (tensor: Tensor, column: { scalar: boolean }): number | bigint =>
        (tensor.data as TypedArray)[column.scalar ? 0 : row]!;
      const start = source(inputs[0]!, starts!);
      const delta = source(inputs[2]!, deltas!);
      let value = start as number;
      for (let i = splits[row]!; i < splits[row + 1]!; i++) {
        out[i] = value as never;
        // 足し込みは TF と同じく、その dtype の精度で進む。
        value = (wide ? value + (delta as number) : (out[i] as number) + (delta as number)) as number;
      }
    }
    return [splitsTensor(type, splits), makeTensor(dtype, [out.length], out)];
  };
}

// --- variant との行き来 ---

/** variant の中の RaggedTensor 1 つ。 */
class RaggedVariant extends EngineObject {
  readonly kind = "ragged variant";

  constructor(
    readonly nested: readonly (readonly number[])[],
    readonly values: Tensor,
  ) {
    super();
  }
}

function unbatch(nested: readonly (readonly number[])[], values: Tensor): VariantArray {
  const outer = nested[0];
  const rows = outer === undefined ? values.shape[0]! : outer.length - 1;
  const items = Array.from({ length: rows }, (_, row) => {
    if (outer === undefined) return new RaggedVariant([], rowAt(values, row));
    let [start, end] = [outer[row]!, outer[row + 1]!];
    const rest = nested.slice(1).map((splits) => {
      const base = splits[start]!;
      const part = splits.slice(start, end + 1).map((split) => split - base);
      [start, end] = [base, splits[end]!];
      return part;
    });
    return new RaggedVariant(rest, sliceRows(values, start, end - start));
  });
  return new VariantArray([rows], items);
}

function stackVariants(
  shape: Shape,
  items: readonly RaggedVariant[],
  inputRank: number,
  outputRank: number,
  empty: Tensor,
): { nested: number[][]; values: Tensor } {
  const uniform = shape.slice(1).map((dim, d) => {
    const count = sizeOf(shape.slice(0, d + 1));
    return Array.from({ length: count + 1 }, (_, i) => i * dim);
  });
  const lengths = [0];
  const inner: number[][] = Array.from({ length: Math.max(inputRank, 0) }, () => [0]);
  for (const { nested, values } of items) {
    if (nested.length !== inputRank) {
      throw invalidArgument(
        `Encoded input RaggedTensorVariant has ragged_rank=${nested.length}.  Expected ragged_rank=${inputRank}.`,
      );
    }
    lengths.push(lengths.at(-1)! + (nested[0] === undefined ? values.shape[0]! : nested[0].length - 1));
    nested.forEach((splits, level) => {
      const out = inner[level]!;
      const base = out.at(-1)!;
      for (const split of splits.slice(1)) out.push(base + split);
    });
  }
  const first = items[0]?.values ?? empty;
  const total = items.reduce((sum, { values }) => sum + values.shape[0]!, 0);
  const values = gatherParts(
    first.dtype,
    [total, ...first.shape.slice(1)],
    items.map((item) => item.values),
  );
  const nested = [...uniform, lengths, ...inner].slice(-outputRank);
  return { nested, values };
}

/** RaggedTensor の演算。 */
export const raggedOps: readonly OpRow[] = [
  { op: "RaggedTensorToTensor", host: ({ attrs }) => raggedToTensor(attrs) },
  { op: "RaggedTensorToSparse", host: ({ attrs }) => raggedToSparse(attrs) },
  { op: "RaggedGather", host: ({ attrs }) => raggedGather(attrs) },
  { op: "RaggedRange", host: ({ attrs }) => raggedRange(attrs) },
  {
    op: "RaggedTensorToVariant",
    raw: ({ attrs }) => {
      const rank = attrs.int("RAGGED_RANK");
      const batched = attrs.bool("batched_input");
      return (inputs, run) => {
        const nested = inputs.slice(0, rank).map((value) => toNumbers(value.tensor(run.device)));
        const values = inputs[rank]!.tensor(run.device);
        checkNested(nested, values.shape[0] ?? 0);
        return Value.ofObject(batched ? unbatch(nested, values) : new RaggedVariant(nested, values));
      };
    },
  },
  {
    op: "RaggedTensorFromVariant",
    raw: ({ attrs }) => {
      const given = attrs.int("input_ragged_rank");
      const outputRank = attrs.int("output_ragged_rank");
      const type = splitsType(attrs);
      const dtype = attrs.dtype("Tvalues");
      if (dtype === undefined) throw unimplemented("Ragged tensors of variants are not supported");
      return ([encoded]) => {
        const object = encoded!.object;
        const [shape, objects] =
          object instanceof VariantArray ? [object.shape, object.items] : [[], [object]];
        const items = objects.map((item) => {
          if (item instanceof RaggedVariant) return item;
          throw invalidArgument(`Input Variant element doesn't hold a RaggedTensorVariant`);
        });
        for (const { values } of items) {
          if (values.dtype !== dtype) {
            throw invalidArgument(`Expected values Tensor dtype: ${dtype}, found: ${values.dtype}`);
          }
        }
        const inputRank = given === -1 ? outputRank - shape.length : given;
        if (shape.length === 0) {
          const { nested, values } = items[0]!;
          if (nested.length !== outputRank) {
            throw invalidArgument(
              `Encoded input RaggedTensorVariant has ragged_rank=${nested.length}.  Expected ragged_rank=${outputRank}.`,
            );
          }
          return [
            ...nested.map((splits) => Value.ofTensor(splitsTensor(type, splits))),
            Value.ofTensor(values),
          ];
        }
        if (inputRank < 0 || outputRank !== inputRank + shape.length) {
          throw invalidArgument(
            `output_ragged_rank must be equal to input_ragged_rank + encoded_ragged.dims(); output_ragged_rank: ${outputRank}, input_ragged_rank: ${inputRank}, encoded_ragged.dims(): ${shape.length}.`,
          );
        }
        const empty = makeTensor(dtype, [0], newData(dtype, [0]));
        const { nested, values } = stackVariants(shape, items, inputRank, outputRank, empty);
        return [
          ...nested.map((splits) => Value.ofTensor(splitsTensor(type, splits))),
          Value.ofTensor(values),
        ];
      };
    },
  },
];
