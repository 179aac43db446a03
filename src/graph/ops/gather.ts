import { invalidArgument } from "../../base/status.ts";
import { lanesOf } from "../../tensor/dtype.ts";
import { type Shape, sizeOf, type Tensor } from "../../tensor/tensor.ts";
import { joinBytes, NO_BYTES } from "./bytes.ts";
import { bigMax, bigMin, isBig } from "./elementwise.ts";
import { formatShape, makeTensor, newData, toNumber, toNumbers } from "./kernel_util.ts";
import type { HostKernel, OpRow } from "./registry.ts";

/** `count` 要素の塊を写す。型を問わない。 */
function copyBlock(
  from: Tensor["data"],
  fromAt: number,
  to: Tensor["data"],
  toAt: number,
  count: number,
): void {
  const read = from as Float64Array;
  const write = to as Float64Array;
  if (count >= 16 && !Array.isArray(from)) {
    write.set(read.subarray(fromAt, fromAt + count), toAt);
    return;
  }
  for (let i = 0; i < count; i++) write[toAt + i] = read[fromAt + i]!;
}

/**
 * 軸に沿って添字の行を集める。
 *
 * @param x 形状 [...batch, ...outer, n, ...inner]。
 * @param indices 形状 [...batch, ...picked]。
 * @returns 形状 [...batch, ...outer, ...picked, ...inner]。
 * @throws INVALID_ARGUMENT 範囲外の添字。
 */
export function gather(x: Tensor, indices: Tensor, axis: number, batchDims: number): Tensor {
  const rank = x.shape.length;
  const at = axis < 0 ? axis + rank : axis;
  const batch = batchDims < 0 ? batchDims + indices.shape.length : batchDims;
  if (at < 0 || at >= rank) {
    throw invalidArgument(`Shape must be at least rank ${axis < 0 ? -axis : axis + 1} but is rank ${rank}`);
  }
  if (batch > at || batch < 0 || batch > indices.shape.length) {
    throw invalidArgument(`batch_dims (${batch}) must be less than or equal to axis (${at}).`);
  }
  for (let i = 0; i < batch; i++) {
    if (x.shape[i] !== indices.shape[i]) {
      throw invalidArgument(
        `params.shape[${i}]: ${x.shape[i]} should be equal to indices.shape[${i}]: ${indices.shape[i]}`,
      );
    }
  }
  const lanes = lanesOf(x.dtype);
  const limit = x.shape[at]!;
  const batches = sizeOf(x.shape.slice(0, batch));
  const outer = sizeOf(x.shape.slice(batch, at));
  const inner = sizeOf(x.shape.slice(at + 1)) * lanes;
  const picked = sizeOf(indices.shape.slice(batch));
  const shape = [...x.shape.slice(0, at), ...indices.shape.slice(batch), ...x.shape.slice(at + 1)];
  const data = newData(x.dtype, shape);
  const positions = indices.data;
  for (let i = 0; i < positions.length; i++) {
    const index = Number(positions[i]);
    if (!(index >= 0 && index < limit)) {
      throw invalidArgument(
        `indices${formatIndex(indices.shape, i)} = ${positions[i]} is not in [0, ${limit})`,
      );
    }
  }
  let to = 0;
  for (let b = 0; b < batches; b++) {
    for (let o = 0; o < outer; o++) {
      const base = (b * outer + o) * limit * inner;
      for (let p = 0; p < picked; p++) {
        copyBlock(x.data, base + Number(positions[b * picked + p]) * inner, data, to, inner);
        to += inner;
      }
    }
  }
  return makeTensor(x.dtype, shape, data);
}

/** 平らな番号を `[i,j]` の形に。スカラーは空。 */
function formatIndex(shape: Shape, flat: number): string {
  if (shape.length === 0) return "";
  const parts: number[] = [];
  let rest = flat;
  for (let i = shape.length - 1; i >= 0; i--) {
    parts.unshift(rest % shape[i]!);
    rest = Math.floor(rest / shape[i]!);
  }
  return `[${parts.join(",")}]`;
}

/** 添字の組の最後の軸を読む。 @throws INVALID_ARGUMENT 範囲外(`what` を文面に使う)。 */
function flatOffsets(indices: Tensor, limits: Shape, what: string): { offsets: number[]; outer: Shape } {
  const depth = indices.shape.at(-1) ?? 1;
  const outer = indices.shape.slice(0, -1);
  const count = sizeOf(outer);
  const offsets = new Array<number>(count);
  for (let i = 0; i < count; i++) {
    let flat = 0;
    for (let d = 0; d < depth; d++) {
      const index = Number(indices.data[i * depth + d]);
      const limit = limits[d]!;
      if (!(index >= 0 && index < limit)) {
        const given = Array.from({ length: depth }, (_, j) => indices.data[i * depth + j]).join(", ");
        throw invalidArgument(`indices${formatIndex(outer, i)} = [${given}] does not index into ${what}`);
      }
      flat = flat * limit + index;
    }
    offsets[i] = flat;
  }
  return { offsets, outer };
}

const gatherNd: HostKernel = ([x, indices]) => {
  if (indices!.shape.length < 1) throw invalidArgument("indices must be at least a vector");
  const depth = indices!.shape.at(-1)!;
  const { shape } = x!;
  if (depth > shape.length) {
    throw invalidArgument(
      `index innermost dimension length must be <= params rank; saw: ${depth} vs. ${shape.length}`,
    );
  }
  const { offsets, outer } = flatOffsets(
    indices!,
    shape.slice(0, depth),
    `param shape ${formatShape(shape)}, node name: GatherNd`,
  );
  const inner = sizeOf(shape.slice(depth)) * lanesOf(x!.dtype);
  const outShape = [...outer, ...shape.slice(depth)];
  const data = newData(x!.dtype, outShape);
  for (const [i, offset] of offsets.entries()) copyBlock(x!.data, offset * inner, data, i * inner, inner);
  return makeTensor(x!.dtype, outShape, data);
};

/** 重ね方。 */
export type Combine = "update" | "add" | "sub" | "mul" | "div" | "min" | "max";

const numberRules: Record<Exclude<Combine, "update">, (a: number, b: number) => number> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  min: Math.min,
  max: Math.max,
};

/** 真偽の足し算は「または」、掛け算は「かつ」。 */
const boolRules: Record<Exclude<Combine, "update">, (a: number, b: number) => number> = {
  add: Math.max,
  sub: (a, b) => a ^ b,
  mul: Math.min,
  div: Math.min,
  min: Math.min,
  max: Math.max,
};

const concatenate = (a: Uint8Array, b: Uint8Array): Uint8Array => joinBytes([a, b], NO_BYTES);

const bigRules: Record<Exclude<Combine, "update">, (a: bigint, b: bigint) => bigint> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  min: bigMin,
  max: bigMax,
};

/**
 * `target` の写しの上に、添字の指す塊へ `updates` を重ねる。
 *
 * @throws INVALID_ARGUMENT 形が合わない、範囲外の添字。
 */
export function scatter(
  target: Tensor,
  indices: Tensor,
  updates: Tensor,
  how: Combine,
  fresh = false,
): Tensor {
  const depth = indices.shape.length === 0 ? 1 : indices.shape.at(-1)!;
  const { shape } = target;
  const expected = [...indices.shape.slice(0, -1), ...shape.slice(depth)];
  if (depth > shape.length || formatShape(expected) !== formatShape(updates.shape)) {
    throw invalidArgument(
      `Must have updates.shape = indices.shape[:batch_dim] + params_shape[slice_dim:], got updates.shape: ${formatShape(updates.shape)}, indices.shape: ${formatShape(indices.shape)}, params_shape: ${formatShape(shape)}, slice_dim: ${depth}, and batch_dim: ${Math.max(0, indices.shape.length - 1)}`,
    );
  }
  const { offsets } = flatOffsets(indices, shape.slice(0, depth), `shape ${formatShape(shape)}`);
  const inner = sizeOf(shape.slice(depth)) * lanesOf(target.dtype);
  const data = fresh ? target.data : (target.data as Float64Array).slice();
  if (how !== "update" && target.dtype === "string") {
    combine(data as unknown as Uint8Array[], updates.data as Uint8Array[], offsets, inner, concatenate);
  } else if (how !== "update" && target.dtype === "bool") {
    combine(data as unknown as number[], updates.data as unknown as number[], offsets, inner, boolRules[how]);
  } else if (how === "update") {
    for (const [i, offset] of offsets.entries()) {
      copyBlock(updates.data, i * inner, data as Tensor["data"], offset * inner, inner);
    }
  } else if (isBig(target.dtype)) {
    combine(data as unknown as bigint[], updates.data as unknown as bigint[], offsets, inner, bigRules[how]);
  } else {
    combine(
      data as unknown as number[],
      updates.data as unknown as number[],
      offsets,
      inner,
      numberRules[how],
    );
  }
  return makeTensor(target.dtype, shape, data as Tensor["data"]);
}

function combine<T>(
  out: T[],
  updates: readonly T[],
  offsets: readonly number[],
  inner: number,
  rule: (a: T, b: T) => T,
): void {
  for (const [i, offset] of offsets.entries()) {
    for (let j = 0; j < inner; j++) {
      out[offset * inner + j] = rule(out[offset * inner + j]!, updates[i * inner + j]!);
    }
  }
}

const scatterNd: HostKernel = ([indices, updates, shapeTensor]) => {
  const shape = toNumbers(shapeTensor!);
  const { dtype } = updates!;
  const target = makeTensor(dtype, shape, newData(dtype, shape));
  // 同じ場所が 2 度現れれば足す。文字列なら継ぎ、真偽なら「または」。
  return scatter(target, indices!, updates!, "add", true);
};

const tensorScatter: Record<string, Combine> = {
  TensorScatterUpdate: "update",
  TensorScatterAdd: "add",
  TensorScatterSub: "sub",
  TensorScatterMin: "min",
  TensorScatterMax: "max",
  ScatterNdNonAliasingAdd: "add",
};

export const gatherOps: readonly OpRow[] = [
  {
    op: "GatherV2",
    host: (node) => {
      const batchDims = node.attrs.int("batch_dims");
      return ([x, indices, axis]) => gather(x!, indices!, toNumber(axis!), batchDims);
    },
    device: {
      hostInputs: [1, 2],
      tables: [0],
      work: () => 0,
      build: (node) => {
        if (node.attrs.int("batch_dims") !== 0) return undefined;
        return (inputs, device) => {
          const shape = inputs.shape(0);
          const indices = inputs.host(1);
          const axis = toNumber(inputs.host(2));
          const at = axis < 0 ? axis + shape.length : axis;
          const positions = toNumbers(indices);
          const inside = positions.every((index) => index >= 0 && index < shape[at]!);
          // 範囲外の文面と空の場合はホストの側に任せる。
          if (!inside || positions.length === 0 || sizeOf(shape) === 0) {
            return gather(inputs.host(0), indices, axis, 0);
          }
          const picked = makeTensor("int32", indices.shape, Int32Array.from(positions));
          return device.call(
            "GatherV2",
            { x: inputs.device(0), indices: device.upload(picked) },
            { axis: at, batchDims: 0 },
          );
        };
      },
    },
  },
  {
    op: "Gather",
    host:
      () =>
      ([x, indices]) =>
        gather(x!, indices!, 0, 0),
  },
  { op: "GatherNd", host: () => gatherNd },
  { op: "ScatterNd", host: () => scatterNd },
  ...Object.entries(tensorScatter).map(
    ([op, how]): OpRow => ({
      op,
      host:
        () =>
        ([x, indices, updates]) =>
          scatter(x!, indices!, updates!, how),
    }),
  ),
];
