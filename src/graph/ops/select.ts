import { invalidArgument } from "../../base/status.ts";
import { type DType, lanesOf, type TypedArray } from "../../tensor/dtype.ts";
import { type Shape, sizeOf, type Tensor } from "../../tensor/tensor.ts";
import { toLatin1 } from "./bytes.ts";
import {
  broadcastShapes,
  formatShape,
  makeTensor,
  newData,
  normalizeAxis,
  toNumber,
  toNumbers,
} from "./kernel_util.ts";
import type { HostKernel, OpNode, OpRow } from "./registry.ts";
import { broadcastTo, intTensor } from "./shape.ts";

/** 型を消した配列。2 本が同じ dtype なら要素の移動だけはできる。 */
type Items = { [index: number]: unknown; readonly length: number };

/** 条件で 2 つから選ぶ。3 つともブロードキャストする。 */
const selectV2: HostKernel = ([condition, x, y]) => {
  const pair = broadcastShapes(x!.shape, y!.shape);
  const shape = pair && broadcastShapes(condition!.shape, pair);
  if (shape === undefined) {
    throw invalidArgument(
      `condition ${formatShape(condition!.shape)}, then ${formatShape(x!.shape)}, and else ${formatShape(y!.shape)} must be broadcastable`,
    );
  }
  const same = (t: Tensor) => (formatShape(t.shape) === formatShape(shape) ? t : broadcastTo(t, shape));
  return pick(same(condition!), same(x!), same(y!), shape, 1);
};

function pick(condition: Tensor, x: Tensor, y: Tensor, shape: Shape, block: number): Tensor {
  const lanes = lanesOf(x.dtype) * block;
  const data = newData(x.dtype, shape);
  const out = data as Items;
  const flags = condition.data as Uint8Array;
  for (let i = 0; i < flags.length; i++) {
    const from = (flags[i] ? x.data : y.data) as Items;
    for (let k = i * lanes; k < (i + 1) * lanes; k++) out[k] = from[k];
  }
  return makeTensor(x.dtype, shape, data);
}

/** V1 の選択。条件はスカラー、同じ形、または先頭の軸の列。 */
const selectV1: HostKernel = ([condition, x, y]) => {
  if (formatShape(x!.shape) !== formatShape(y!.shape)) {
    throw invalidArgument(
      `'then' and 'else' must have the same size.  but received: ${formatShape(x!.shape)} vs. ${formatShape(y!.shape)}`,
    );
  }
  const given = condition!.shape;
  if (formatShape(given) === formatShape(x!.shape)) return pick(condition!, x!, y!, x!.shape, 1);
  if (given.length === 0) return condition!.data[0] ? x! : y!;
  if (given.length === 1 && given[0] === x!.shape[0]) {
    return pick(condition!, x!, y!, x!.shape, sizeOf(x!.shape.slice(1)));
  }
  throw invalidArgument(
    `'cond' must be a vector, but saw shape: ${formatShape(given)} for input ${formatShape(x!.shape)}`,
  );
};

const isTrue = (value: unknown): boolean => value !== 0 && value !== 0n;

/** 0 でない要素の座標。形状 [個数, 階数]。 */
const where: HostKernel = ([x]) => {
  const { shape } = x!;
  const lanes = lanesOf(x!.dtype);
  const from = x!.data as Items;
  const found: number[] = [];
  for (let i = 0; i < from.length / lanes; i++) {
    if (isTrue(from[i * lanes]) || (lanes === 2 && isTrue(from[i * 2 + 1]))) found.push(i);
  }
  const rank = shape.length;
  const out = newData("int64", [found.length, rank]);
  for (const [row, flat] of found.entries()) {
    let rest = flat;
    for (let d = rank - 1; d >= 0; d--) {
      out[row * rank + d] = BigInt(rest % shape[d]!);
      rest = Math.floor(rest / shape[d]!);
    }
  }
  return makeTensor("int64", [found.length, rank], out);
};

/**
 * 末尾の軸の大きい順に k 個。同じ値は番号の小さい順、NaN は最も小さい。
 *
 * @returns 値と番号。
 */
function topK(x: Tensor, k: number, indexType: DType): [Tensor, Tensor] {
  const { shape, dtype } = x;
  if (shape.length < 1) throw invalidArgument(`input must be >= 1-D, got shape ${formatShape(shape)}`);
  const columns = shape.at(-1)!;
  if (k < 0) throw invalidArgument(`Need k >= 0, got ${k}`);
  if (columns < k) throw invalidArgument(`input must have at least k columns. Had ${columns}, needed ${k}`);
  const outShape = [...shape.slice(0, -1), k];
  const values = newData(dtype, outShape) as Items;
  const positions: number[] = [];
  const from = x.data as ArrayLike<number>;
  const rows = sizeOf(shape.slice(0, -1));
  const order = new Array<number>(columns);
  for (let row = 0; row < rows; row++) {
    const base = row * columns;
    for (let i = 0; i < columns; i++) order[i] = i;
    order.sort((i, j) => {
      const a = from[base + i]!;
      const b = from[base + j]!;
      if (a > b) return -1;
      if (a < b) return 1;
      if (Number.isNaN(a) !== Number.isNaN(b)) return Number.isNaN(a) ? 1 : -1;
      return i - j;
    });
    for (let i = 0; i < k; i++) {
      values[row * k + i] = from[base + order[i]!];
      positions.push(order[i]!);
    }
  }
  return [makeTensor(dtype, outShape, values as Tensor["data"]), intTensor(indexType, outShape, positions)];
}

/** 行(バイト列、または数の列)を Map の鍵にする。 */
function keyOf(data: Tensor["data"], at: number, count: number): unknown {
  if (Array.isArray(data)) {
    let key = "";
    for (let i = at; i < at + count; i++) key += `${data[i]!.length}:${toLatin1(data[i]!)}`;
    return key;
  }
  if (count === 1) return data[at];
  return Array.from({ length: count }, (_, i) => data[at + i]).join();
}

/** 現れた順に番号を付ける。 */
function uniqueAlong(x: Tensor, axis: number, idxType: DType): [Tensor, Tensor, number[]] {
  const { shape, dtype } = x;
  const outer = sizeOf(shape.slice(0, axis));
  const size = shape[axis]!;
  const inner = sizeOf(shape.slice(axis + 1));
  const ids: number[] = [];
  const firsts: number[] = [];
  const counts: number[] = [];
  const seen = new Map<unknown, number>();
  const from = x.data as Items;
  for (let i = 0; i < size; i++) {
    let key: unknown;
    if (outer === 1) {
      key = keyOf(x.data, i * inner, inner);
    } else {
      const parts: unknown[] = [];
      for (let o = 0; o < outer; o++) parts.push(keyOf(x.data, (o * size + i) * inner, inner));
      key = parts.join("|");
    }
    let id = seen.get(key);
    if (id === undefined) {
      id = firsts.length;
      seen.set(key, id);
      firsts.push(i);
      counts.push(0);
    }
    counts[id]!++;
    ids.push(id);
  }
  const outShape = shape.map((dim, d) => (d === axis ? firsts.length : dim));
  const data = newData(dtype, outShape) as Items;
  for (let o = 0; o < outer; o++) {
    for (const [j, first] of firsts.entries()) {
      for (let k = 0; k < inner; k++) {
        data[(o * firsts.length + j) * inner + k] = from[(o * size + first) * inner + k];
      }
    }
  }
  return [makeTensor(dtype, outShape, data as Tensor["data"]), intTensor(idxType, [size], ids), counts];
}

function uniqueRow(op: string, withCounts: boolean, withAxis: boolean): OpRow {
  return {
    op,
    host: (node) => {
      const idxType = node.attrs.dtype("out_idx") ?? "int32";
      return ([x, axisTensor]) => {
        const axes = withAxis ? toNumbers(axisTensor!) : [];
        if (axes.length === 0 && x!.shape.length !== 1) {
          throw invalidArgument(`unique expects a 1D vector.`);
        }
        const axis = axes.length === 0 ? 0 : normalizeAxis(axes[0]!, x!.shape.length);
        const [values, ids, counts] = uniqueAlong(x!, axis, idxType);
        return withCounts ? [values, ids, intTensor(idxType, [counts.length], counts)] : [values, ids];
      };
    },
  };
}

/** 区画の番号ごとに行を分ける。 */
function dynamicPartition(node: OpNode): HostKernel {
  const count = node.attrs.int("num_partitions");
  return ([x, partitionsTensor]) => {
    const partitions = toNumbers(partitionsTensor!);
    const depth = partitionsTensor!.shape.length;
    if (formatShape(x!.shape.slice(0, depth)) !== formatShape(partitionsTensor!.shape)) {
      throw invalidArgument(
        `data.shape must start with partitions.shape, got data.shape = ${formatShape(x!.shape)}, partitions.shape = ${formatShape(partitionsTensor!.shape)}`,
      );
    }
    const tail = x!.shape.slice(depth);
    const block = sizeOf(tail) * lanesOf(x!.dtype);
    const rows: number[][] = Array.from({ length: count }, () => []);
    for (const [i, partition] of partitions.entries()) {
      if (partition < 0 || partition >= count) {
        throw invalidArgument(`partitions[${i}] = ${partition} is not in [0, ${count})`);
      }
      rows[partition]!.push(i);
    }
    const from = x!.data as Items;
    return rows.map((list) => {
      const shape = [list.length, ...tail];
      const data = newData(x!.dtype, shape) as Items;
      for (const [to, row] of list.entries()) {
        for (let k = 0; k < block; k++) data[to * block + k] = from[row * block + k];
      }
      return makeTensor(x!.dtype, shape, data as Tensor["data"]);
    });
  };
}

/** 行を番号の位置に並べ直す。同じ番号は後の入力が勝つ。 */
const dynamicStitch: HostKernel = (inputs) => {
  const count = inputs.length / 2;
  const first = inputs[count]!;
  const tail = first.shape.slice(inputs[0]!.shape.length);
  const { dtype } = first;
  const block = sizeOf(tail) * lanesOf(dtype);
  const positions = inputs.slice(0, count).map(toNumbers);
  const size = 1 + positions.reduce((high, list) => list.reduce((a, b) => Math.max(a, b), high), -1);
  const shape = [size, ...tail];
  const data = newData(dtype, shape) as Items;
  for (const [n, list] of positions.entries()) {
    const part = inputs[count + n]!;
    const from = part.data as Items;
    const expected = [...inputs[n]!.shape, ...tail];
    if (formatShape(part.shape) !== formatShape(expected)) {
      throw invalidArgument(
        `Need data[0].shape[${inputs[0]!.shape.length}:] = data[${n}].shape[${inputs[n]!.shape.length}:], got data[0].shape = ${formatShape(first.shape)}, data[${n}].shape = ${formatShape(part.shape)}, indices[0].shape = ${formatShape(inputs[0]!.shape)}, indices[${n}].shape = ${formatShape(inputs[n]!.shape)}`,
      );
    }
    for (const [i, row] of list.entries()) {
      if (row < 0) throw invalidArgument(`indices[${n}] is out of range`);
      for (let k = 0; k < block; k++) data[row * block + k] = from[i * block + k];
    }
  }
  return makeTensor(dtype, shape, data as Tensor["data"]);
};

/** x にあって y に無い要素と、その位置。 */
function listDiff(node: OpNode): HostKernel {
  const idxType = node.attrs.dtype("out_idx") ?? "int32";
  return ([x, y]) => {
    const known = new Set<unknown>();
    for (let i = 0; i < y!.data.length; i++) known.add(keyOf(y!.data, i, 1));
    const kept: number[] = [];
    for (let i = 0; i < x!.data.length; i++) if (!known.has(keyOf(x!.data, i, 1))) kept.push(i);
    const data = newData(x!.dtype, [kept.length]) as Items;
    for (const [i, at] of kept.entries()) data[i] = x!.data[at];
    return [
      makeTensor(x!.dtype, [kept.length], data as Tensor["data"]),
      intTensor(idxType, [kept.length], kept),
    ];
  };
}

/** 正解の得点が上位 k に入るか。同点は入る側に数える。 */
function inTopK(predictions: Tensor, targets: Tensor, k: number): Tensor {
  const [rows, classes] = predictions.shape as [number, number];
  const wanted = toNumbers(targets);
  if (wanted.length !== rows) {
    throw invalidArgument(
      `First dimension of predictions ${rows} must match length of targets ${wanted.length}`,
    );
  }
  const out = newData("bool", [rows]);
  const scores = predictions.data as Float32Array;
  for (let row = 0; row < rows; row++) {
    const target = wanted[row]!;
    const own = scores[row * classes + target];
    if (own === undefined || target < 0 || target >= classes || !Number.isFinite(own)) continue;
    let better = 0;
    let finite = true;
    for (let c = 0; c < classes; c++) {
      const score = scores[row * classes + c]!;
      if (!Number.isFinite(score)) finite = false;
      else if (score > own) better++;
    }
    out[row] = Number(finite && better < k);
  }
  return makeTensor("bool", [rows], out);
}

/** 整列済みの行の中での挿入位置。`strict` なら等しい値の後。 */
function bound(node: OpNode, strict: boolean): HostKernel {
  const to = node.attrs.dtype("out_type") ?? "int32";
  return ([sorted, values]) => {
    const [rows, width] = sorted!.shape as [number, number];
    if (values!.shape[0] !== rows) {
      throw invalidArgument(`Leading dim_size of both tensors must match.`);
    }
    const per = values!.shape[1]!;
    const keys = sorted!.data as ArrayLike<number>;
    const wanted = values!.data as ArrayLike<number>;
    const out: number[] = [];
    for (let row = 0; row < rows; row++) {
      for (let i = 0; i < per; i++) {
        const value = wanted[row * per + i]!;
        let low = 0;
        let high = width;
        while (low < high) {
          const middle = (low + high) >> 1;
          const key = keys[row * width + middle]!;
          if (key < value || (strict && key === value)) low = middle + 1;
          else high = middle;
        }
        out.push(low);
      }
    }
    return intTensor(to, values!.shape, out);
  };
}

/** 指数 n の順位の値(末尾の軸で n 番目に小さい)。 */
function nthElement(node: OpNode): HostKernel {
  const reverse = node.attrs.bool("reverse");
  return ([x, nTensor]) => {
    const n = toNumber(nTensor!);
    const width = x!.shape.at(-1) ?? 0;
    if (n < 0 || n >= width) throw invalidArgument(`Input must have at least n+1 columns`);
    const shape = x!.shape.slice(0, -1);
    const data = newData(x!.dtype, shape) as Items;
    const from = x!.data as TypedArray;
    for (let row = 0; row < sizeOf(shape); row++) {
      const line = from.slice(row * width, (row + 1) * width);
      line.sort();
      data[row] = line[reverse ? width - 1 - n : n];
    }
    return makeTensor(x!.dtype, shape, data as Tensor["data"]);
  };
}

export const selectOps: readonly OpRow[] = [
  {
    op: "SelectV2",
    host: () => selectV2,
  },
  { op: "Select", host: () => selectV1 },
  { op: "Where", host: () => where },
  {
    op: "TopKV2",
    host: (node) => {
      const indexType = node.attrs.dtype("index_type") ?? "int32";
      return ([x, k]) => topK(x!, toNumber(k!), indexType);
    },
  },
  {
    op: "TopK",
    host: (node) => {
      const k = node.attrs.int("k");
      return ([x]) => topK(x!, k, "int32");
    },
  },
  uniqueRow("Unique", false, false),
  uniqueRow("UniqueV2", false, true),
  uniqueRow("UniqueWithCounts", true, false),
  uniqueRow("UniqueWithCountsV2", true, true),
  { op: "DynamicPartition", host: dynamicPartition },
  { op: "DynamicStitch", host: () => dynamicStitch },
  { op: "ParallelDynamicStitch", host: () => dynamicStitch },
  { op: "ListDiff", host: listDiff },
  {
    op: "InTopK",
    host: (node) => {
      const k = node.attrs.int("k");
      return ([predictions, targets]) => inTopK(predictions!, targets!, k);
    },
  },
  {
    op: "InTopKV2",
    host:
      () =>
      ([predictions, targets, k]) =>
        inTopK(predictions!, targets!, toNumber(k!)),
  },
  { op: "LowerBound", host: (node) => bound(node, false) },
  { op: "UpperBound", host: (node) => bound(node, true) },
  { op: "NthElement", host: nthElement },
];
