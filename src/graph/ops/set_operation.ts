import { invalidArgument } from "../../base/status.ts";
import { type Tensor, tensor } from "../../tensor/tensor.ts";
import { toLatin1 } from "./bytes.ts";
import { formatShape, makeTensor, newData } from "./kernel_util.ts";
import type { Attrs, HostKernel, OpNode, OpRow } from "./registry.ts";
import { int64Vector, readSparse } from "./sparse_tensor.ts";

/** 集合の要素。文字列は 1 バイト 1 文字で表す。 */
type Item = string | number | bigint;

/** 最後の軸を除いた座標 → その集合。 */
interface Groups {
  /** 最後の軸を除いた形。 */
  readonly shape: readonly number[];
  readonly sets: ReadonlyMap<string, ReadonlySet<Item>>;
}

function itemAt(values: Tensor, index: number): Item {
  const { data } = values;
  return Array.isArray(data) ? toLatin1(data[index]!) : data[index]!;
}

function denseGroups(value: Tensor): Groups {
  if (value.shape.length < 2) throw invalidArgument(`Invalid rank ${value.shape.length}.`);
  const shape = value.shape.slice(0, -1);
  const width = value.shape.at(-1)!;
  const sets = new Map<string, Set<Item>>();
  coordinates(shape).forEach((at, row) => {
    const items = Array.from({ length: width }, (_, i) => itemAt(value, row * width + i));
    sets.set(at.join(), new Set(items));
  });
  return { shape, sets };
}

function sparseGroups(indices: Tensor, values: Tensor, shapeTensor: Tensor): Groups {
  const sparse = readSparse(indices, values, shapeTensor);
  if (sparse.rank < 2) throw invalidArgument(`Invalid rank ${sparse.rank}.`);
  const sets = new Map<string, Set<Item>>();
  for (let row = 0; row < values.shape[0]!; row++) {
    const key = sparse.indices.slice(row * sparse.rank, (row + 1) * sparse.rank - 1).join();
    const set = sets.get(key) ?? new Set<Item>();
    set.add(itemAt(values, row));
    sets.set(key, set);
  }
  return { shape: sparse.shape.slice(0, -1), sets };
}

/** 形のすべての座標(行優先)。 */
function coordinates(shape: readonly number[]): number[][] {
  return shape.reduce<number[][]>(
    (rows, dim) => rows.flatMap((row) => Array.from({ length: dim }, (_, i) => [...row, i])),
    [[]],
  );
}

const empty: ReadonlySet<Item> = new Set();
const operations: Readonly<Record<string, (a: ReadonlySet<Item>, b: ReadonlySet<Item>) => Set<Item>>> = {
  "a-b": (a, b) => a.difference(b),
  "b-a": (a, b) => b.difference(a),
  intersection: (a, b) => a.intersection(b),
  union: (a, b) => a.union(b),
};

const compare = (a: Item, b: Item): number => (a < b ? -1 : a > b ? 1 : 0);

/** 集合ごとの結果を SparseTensor の三つ組に。要素は昇順。 */
function combine(a: Groups, b: Groups, attrs: Attrs): readonly Tensor[] {
  const name = attrs.string("set_operation");
  const apply = operations[name.toLowerCase()];
  if (apply === undefined) throw invalidArgument(`Invalid set_operation ${name}.`);
  const dtype = attrs.dtype("T")!;
  if (formatShape(a.shape) !== formatShape(b.shape)) {
    throw invalidArgument(`Mismatched shapes ${formatShape(a.shape)} vs ${formatShape(b.shape)}`);
  }
  const rank = a.shape.length + 1;
  const indices: number[] = [];
  const items: Item[] = [];
  let widest = 0;
  for (const at of coordinates(a.shape)) {
    const key = at.join();
    const result = [...apply(a.sets.get(key) ?? empty, b.sets.get(key) ?? empty)].sort(compare);
    widest = Math.max(widest, result.length);
    result.forEach((item, i) => {
      indices.push(...at, i);
      items.push(item);
    });
  }
  const values = newData(dtype, [items.length]) as (Uint8Array | number | bigint)[];
  items.forEach((item, i) => {
    values[i] = typeof item === "string" ? Buffer.from(item, "latin1") : item;
  });
  return [
    makeTensor("int64", [items.length, rank], int64Vector(indices).data),
    makeTensor(dtype, [items.length], values as unknown as Tensor["data"]),
    int64Vector([...a.shape, widest]),
  ];
}

const setSize: HostKernel = ([indices, values, shape]) => {
  const groups = sparseGroups(indices!, values!, shape!);
  const sizes = coordinates(groups.shape).map((at) => groups.sets.get(at.join())?.size ?? 0);
  return tensor("int32", groups.shape, Int32Array.from(sizes));
};

/** 最後の軸を集合とみなす演算。 */
export const setOps: readonly OpRow[] = [
  {
    op: "DenseToDenseSetOperation",
    host:
      ({ attrs }: OpNode) =>
      ([a, b]) =>
        combine(denseGroups(a!), denseGroups(b!), attrs),
  },
  {
    op: "DenseToSparseSetOperation",
    host:
      ({ attrs }: OpNode) =>
      ([a, ...b]) =>
        combine(denseGroups(a!), sparseGroups(b[0]!, b[1]!, b[2]!), attrs),
  },
  {
    op: "SparseToSparseSetOperation",
    host:
      ({ attrs }: OpNode) =>
      (inputs) =>
        combine(
          sparseGroups(inputs[0]!, inputs[1]!, inputs[2]!),
          sparseGroups(inputs[3]!, inputs[4]!, inputs[5]!),
          attrs,
        ),
  },
  { op: "SetSize", host: () => setSize },
];
