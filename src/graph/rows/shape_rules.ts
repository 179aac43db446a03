import type { PlanNode } from "../plan_node.ts";
import {
  axisFrom,
  type Fact,
  fromEnd,
  numberOf,
  numbersOf,
  placed,
  type RowRule,
  rowAxisOf,
  rowsOf,
  sizesOf,
  stretch,
} from "./fact.ts";
import {
  hasRows,
  isKnown,
  isNumber,
  isSame,
  known,
  ONE,
  over,
  product,
  type Size,
  times,
  unknownSize,
} from "./size.ts";

const shapeValues = (fact: Fact): Fact | undefined =>
  fact.shape && { kind: "sizes", shape: [known(fact.shape.length)], values: fact.shape };

/** −1 を解いた形。 */
function resolve(total: Size, wanted: readonly Size[]): Size[] | undefined {
  const missing = wanted.findIndex((size) => isNumber(size, -1));
  if (missing < 0) return [...wanted];
  const rest = over(total, product(wanted.filter((_, i) => i !== missing)));
  return rest && wanted.map((size, i) => (i === missing ? rest : size));
}

const reshape: RowRule = (_, [x, target]) => {
  const wanted = sizesOf(target);
  if (x?.shape === undefined || wanted === undefined) return undefined;
  const shape = resolve(product(x.shape), wanted);
  if (shape === undefined) return undefined;
  if (x.kind === "free") return { ...x, shape };
  if (x.kind === "sizes") return shape.length < 2 ? { ...x, shape } : undefined;
  // 行の前にあるものの大きさが同じなら、行の並びは変わらない。
  const before = product(x.shape.slice(0, x.axis));
  const axis = shape.findIndex((size, i) => hasRows(size) && isSame(product(shape.slice(0, i)), before));
  return axis < 0 ? undefined : rowsOf(shape, axis);
};

const expandDims: RowRule = (_, [x, axisFact]) => {
  if (x?.shape === undefined) return undefined;
  const axis = axisFrom(numberOf(axisFact), x.shape.length + 1);
  if (axis === undefined) return undefined;
  const shape = x.shape.toSpliced(axis, 0, ONE);
  return x.kind === "rows" ? rowsOf(shape, x.axis + Number(axis <= x.axis)) : { ...x, shape };
};

const squeeze: RowRule = ({ attrs }, [x]) => {
  if (x?.shape === undefined) return undefined;
  const rank = x.shape.length;
  const axes = attrs.ints("squeeze_dims").map((axis) => axisFrom(axis, rank));
  // 軸の指定が無ければ、行数が 1 のとき行の軸まで消える。
  if (axes.length === 0 || axes.includes(undefined)) return undefined;
  const shape = x.shape.filter((_, i) => !axes.includes(i));
  if (x.kind !== "rows") return { ...x, shape };
  if (axes.includes(x.axis)) return undefined;
  return rowsOf(shape, x.axis - axes.filter((axis) => axis! < x.axis).length);
};

const transpose: RowRule = (_, [x, permFact]) => {
  const perm = numbersOf(permFact);
  if (x?.shape === undefined || x.kind === "sizes" || perm?.length !== x.shape.length) return undefined;
  const shape = perm.map((axis) => x.shape![axis]!);
  return placed(shape, x.kind === "rows" ? perm.indexOf(x.axis) : -1);
};

/** 軸に沿って並べる。行の軸は揃っていて、別の軸でなければならない。値を追っている列は、値も並べる。 */
function join(parts: readonly Fact[], axisGiven: number | undefined): Fact | undefined {
  const [first] = parts;
  if (first?.shape === undefined) return undefined;
  const rank = first.shape.length;
  const axis = axisFrom(axisGiven, rank);
  if (axis === undefined || parts.some(({ shape }) => shape?.length !== rank)) return undefined;
  const lengths = parts.map(({ shape }) => shape![axis]!);
  const length = lengths.every(isKnown)
    ? known(lengths.reduce((sum, { factor }) => sum + factor, 0))
    : unknownSize();
  if (rank === 1 && parts.every(({ kind }) => kind !== "rows")) {
    const values = parts.flatMap((fact) => (fact.kind === "rows" ? [] : (fact.values ?? [])));
    if (isNumber(length, values.length)) return { kind: "sizes", shape: [length], values };
  }
  if (parts.some(({ kind }) => kind !== first.kind || kind === "sizes")) return undefined;
  const rowAxis = rowAxisOf(first);
  const agrees = parts.every(
    (fact) =>
      rowAxisOf(fact) === rowAxis && (rowAxis < 0 || isSame(fact.shape![rowAxis]!, first.shape![rowAxis]!)),
  );
  if (!agrees || axis === rowAxis) return undefined;
  const shape = first.shape.map((_, i) =>
    i === axis ? length : parts.map((fact) => fact.shape![i]!).reduce(stretch),
  );
  return placed(shape, rowAxis);
}

const pack: RowRule = ({ attrs }, parts) => {
  const [first] = parts;
  if (first?.shape === undefined) return undefined;
  if (first.shape.length === 0) {
    if (parts.some(({ kind }) => kind === "rows")) return undefined;
    const values = parts.map((fact) => (fact.kind === "rows" ? undefined : fact.values?.[0]));
    return { kind: "sizes", shape: [known(values.length)], values };
  }
  const axis = axisFrom(attrs.int("axis"), first.shape.length + 1);
  if (axis === undefined) return undefined;
  const widened = parts.map((fact): Fact => {
    const shape = fact.shape?.toSpliced(axis, 0, ONE);
    if (shape === undefined || fact.kind === "sizes") return { kind: "free" };
    return placed(shape, fact.kind === "rows" ? fact.axis + Number(axis <= fact.axis) : -1);
  });
  return parts.some(({ kind }) => kind === "sizes") ? undefined : join(widened, axis);
};

const unpack: RowRule = ({ attrs }, [x]) => {
  if (x?.shape === undefined) return undefined;
  const axis = axisFrom(attrs.int("axis"), x.shape.length);
  if (axis === undefined) return undefined;
  const count = attrs.int("num");
  const shape = x.shape.toSpliced(axis, 1);
  if (x.kind !== "rows") {
    const { values } = x;
    if (x.shape.length !== 1 || values?.length !== count) return undefined;
    return values.map((value): Fact => ({ kind: "sizes", shape, values: [value] }));
  }
  if (axis === x.axis) return undefined;
  return new Array<Fact>(count).fill(rowsOf(shape, x.axis - Number(axis < x.axis)));
};

/** 行の軸でない軸を切り分ける。`lengths` が無ければ等分。 */
function split(
  x: Fact | undefined,
  axisFact: Fact | undefined,
  count: number,
  lengths: number[] | undefined,
): Fact[] | undefined {
  if (x?.shape === undefined || x.kind === "sizes") return undefined;
  const { shape } = x;
  const axis = axisFrom(numberOf(axisFact), shape.length);
  if (axis === undefined || axis === rowAxisOf(x)) return undefined;
  const sizeAt = (i: number): Size | undefined => {
    if (lengths === undefined) return over(shape[axis]!, known(count));
    return lengths[i] === undefined || lengths[i] < 0 ? undefined : known(lengths[i]);
  };
  return Array.from({ length: count }, (_, i) =>
    placed(shape.with(axis, sizeAt(i) ?? unknownSize()), rowAxisOf(x)),
  );
}

const slice: RowRule = (_, [x, beginFact, sizeFact]) => {
  const [begin, size] = [numbersOf(beginFact), sizesOf(sizeFact)];
  if (x?.shape === undefined || begin === undefined || size === undefined) return undefined;
  const shape = x.shape.map((dim, i) => {
    const wanted = size[i]!;
    if (!isNumber(wanted, -1)) return wanted;
    return isKnown(dim) ? known(dim.factor - begin[i]!) : begin[i] === 0 ? dim : unknownSize();
  });
  if (x.kind === "sizes") {
    const [count] = shape;
    if (shape.length !== 1 || count === undefined || !isKnown(count)) return undefined;
    return { kind: "sizes", shape, values: x.values.slice(begin[0], begin[0]! + count.factor) };
  }
  const axis = rowAxisOf(x);
  const isWhole = axis < 0 || (begin[axis] === 0 && isSame(shape[axis]!, x.shape[axis]!));
  return isWhole ? placed(shape, axis) : undefined;
};

/** 値を追っている列から、1 つ、または続きを取り出す。 */
function pick(
  values: readonly (Size | undefined)[],
  node: PlanNode,
  begin: Fact,
  end: Fact,
): Fact | undefined {
  const [from, to] = [numberOf(begin), numberOf(end)];
  const masked = (name: string) => node.attrs.int(name) !== 0;
  if (from === undefined || to === undefined || masked("ellipsis_mask") || masked("new_axis_mask")) {
    return undefined;
  }
  if (masked("shrink_axis_mask")) return { kind: "sizes", shape: [], values: [values.at(from)] };
  const picked = values.slice(masked("begin_mask") ? 0 : from, masked("end_mask") ? values.length : to);
  return { kind: "sizes", shape: [known(picked.length)], values: picked };
}

/** 続きを切り出した大きさ。終わりが軸の外に出ないものとする(出れば、続く演算で形が合わずに失敗する)。 */
function sliced(dim: Size, first: Size | undefined, last: Size | undefined, step: number): Size {
  if (first === undefined || last === undefined || step !== 1) return unknownSize();
  if (![dim, first, last].every(isKnown)) {
    return isNumber(first, 0) && last.factor > 0 ? last : unknownSize();
  }
  const at = ({ factor }: Size) => Math.min(factor < 0 ? factor + dim.factor : factor, dim.factor);
  return known(Math.max(at(last) - Math.max(at(first), 0), 0));
}

const stridedSlice: RowRule = (node, [x, beginFact, endFact, stepFact]) => {
  const steps = numbersOf(stepFact);
  if (x?.shape === undefined || beginFact === undefined || endFact === undefined || steps === undefined) {
    return undefined;
  }
  const isPlain = steps.length === 1 && steps[0] === 1;
  if (x.kind !== "rows" && x.values !== undefined && x.shape.length === 1 && isPlain) {
    return pick(x.values, node, beginFact, endFact);
  }
  if (x.kind === "sizes") return undefined;
  const [begin, end] = [sizesOf(beginFact), sizesOf(endFact)];
  const isSteady = beginFact.kind === "free" && endFact.kind === "free";
  const bit = (mask: string, i: number) => ((node.attrs.int(mask) >> i) & 1) === 1;
  const newAxesAfter = (i: number) => steps.filter((_, j) => j > i && bit("new_axis_mask", j)).length;
  const from = x.shape;
  const shape: Size[] = [];
  let axis = 0;
  let rowAxis = -1;
  const keep = (size: Size) => {
    if (axis === rowAxisOf(x)) rowAxis = shape.length;
    shape.push(size);
    axis++;
  };
  for (const [i, step] of steps.entries()) {
    if (bit("ellipsis_mask", i)) {
      const until = Math.min(from.length - (steps.length - i) + 1 + newAxesAfter(i), from.length);
      while (axis < until) keep(from[axis]!);
      continue;
    }
    if (bit("new_axis_mask", i)) {
      shape.push(ONE);
      continue;
    }
    const dim = from[axis];
    if (dim === undefined) return undefined;
    const shrinks = bit("shrink_axis_mask", i);
    const [first, last] = [begin?.[i], end?.[i]];
    const starts = bit("begin_mask", i) || (step > 0 && first !== undefined && isNumber(first, 0));
    const ends = bit("end_mask", i) || (step > 0 && last !== undefined && isSame(last, dim));
    const isWhole = !shrinks && starts && ends;
    if (axis === rowAxisOf(x) && !(isWhole && step === 1)) return undefined;
    // 切り方が行数によってはならない。
    if (!isWhole && !isSteady) return undefined;
    if (shrinks) axis++;
    else if (isWhole && Math.abs(step) === 1) keep(dim);
    else keep(sliced(dim, starts ? known(0) : first, ends ? dim : last, step));
  }
  while (axis < from.length) keep(from[axis]!);
  return placed(shape, rowAxis);
};

const pad: RowRule = (_, [x, paddingFact]) => {
  const edges = numbersOf(paddingFact);
  if (x?.shape === undefined || x.kind === "sizes" || edges?.length !== x.shape.length * 2) return undefined;
  const shape = x.shape.map((dim, i) => {
    const added = edges[i * 2]! + edges[i * 2 + 1]!;
    if (added === 0) return dim;
    return isKnown(dim) ? known(dim.factor + added) : unknownSize();
  });
  const axis = rowAxisOf(x);
  return axis < 0 || isSame(shape[axis]!, x.shape[axis]!) ? placed(shape, axis) : undefined;
};

const tile: RowRule = (_, [x, multipleFact]) => {
  const multiples = sizesOf(multipleFact);
  if (x?.shape === undefined || multiples?.length !== x.shape.length) return undefined;
  const shape = x.shape.map((dim, i) => times(dim, multiples[i]!));
  if (x.kind === "rows") return isNumber(multiples[x.axis]!, 1) ? rowsOf(shape, x.axis) : undefined;
  // 同じものを行の数だけ並べたものは、どの行も同じ。
  return x.kind === "free" ? placed(shape, shape.findIndex(hasRows)) : undefined;
};

/** 値まで追う列の長さ。 */
const MAX_FILLED = 64;

const fill: RowRule = (_, [dims, value]) => {
  const shape = sizesOf(dims);
  if (shape === undefined || value?.kind !== "free") return undefined;
  const axis = shape.findIndex(hasRows);
  if (axis >= 0) return rowsOf(shape, axis);
  const count = product(shape);
  const [item] = value.values ?? [];
  if (item === undefined || !isKnown(count) || count.factor > MAX_FILLED) return { kind: "free", shape };
  return { kind: "free", shape, values: new Array<Size>(count.factor).fill(item) };
};

const range: RowRule = (_, inputs) =>
  inputs.every(({ kind }) => kind === "free") ? { kind: "free", shape: [unknownSize()] } : undefined;

const broadcastTo: RowRule = (_, [x, dims]) => {
  const shape = sizesOf(dims);
  if (x?.shape === undefined || shape === undefined) return undefined;
  if (x.kind === "rows") {
    const axis = shape.length - (x.shape.length - x.axis);
    return isSame(shape[axis] ?? ONE, x.shape[x.axis]!) ? rowsOf(shape, axis) : undefined;
  }
  const axis = shape.findIndex(hasRows);
  const own = axis < 0 ? undefined : fromEnd(x.shape, shape.length - axis);
  if (x.kind !== "free" || (own !== undefined && !isNumber(own, 1))) return undefined;
  return placed(shape, axis);
};

const oneHot: RowRule = ({ attrs }, [indices, depth, on, off]) => {
  if (indices?.shape === undefined || indices.kind === "sizes") return undefined;
  if (depth?.kind !== "free" || on?.kind !== "free" || off?.kind !== "free") return undefined;
  const given = attrs.int("axis");
  const axis = given === -1 ? indices.shape.length : given;
  const rowAxis = rowAxisOf(indices);
  const shape = indices.shape.toSpliced(axis, 0, sizesOf(depth)?.[0] ?? unknownSize());
  return placed(shape, rowAxis < 0 ? -1 : rowAxis + Number(axis <= rowAxis));
};

const gather: RowRule = (node, [params, indices, axisFact]) => {
  if (params?.shape === undefined || indices?.shape === undefined || indices.kind === "sizes")
    return undefined;
  const axis = node.op === "Gather" ? 0 : axisFrom(numberOf(axisFact), params.shape.length);
  const batchDims = node.op === "Gather" ? 0 : node.attrs.int("batch_dims");
  if (axis === undefined || batchDims < 0) return undefined;
  const picks = numbersOf(indices);
  if (
    params.kind !== "rows" &&
    params.values !== undefined &&
    params.shape.length === 1 &&
    picks !== undefined
  ) {
    // 形の列からの取り出し(tensordot)。
    if (indices.shape.length > 1) return undefined;
    return { kind: "sizes", shape: indices.shape, values: picks.map((at) => params.values![at]) };
  }
  if (params.kind === "sizes") return undefined;
  const shape = [
    ...params.shape.slice(0, axis),
    ...indices.shape.slice(batchDims),
    ...params.shape.slice(axis + 1),
  ];
  const [from, at] = [rowAxisOf(params), rowAxisOf(indices)];
  if (batchDims > 0) return from >= 0 && from === at && from < batchDims ? rowsOf(shape, from) : undefined;
  if (from < 0) return placed(shape, at < 0 ? -1 : axis + at);
  if (at >= 0 || axis === from) return undefined;
  return rowsOf(shape, from < axis ? from : from - 1 + indices.shape.length);
};

const gatherNd: RowRule = (_, [params, indices]) => {
  if (params?.kind !== "free" || params.shape === undefined || indices?.kind !== "rows") return undefined;
  const depth = indices.shape.at(-1)!;
  if (!isKnown(depth) || indices.axis === indices.shape.length - 1) return undefined;
  return rowsOf([...indices.shape.slice(0, -1), ...params.shape.slice(depth.factor)], indices.axis);
};

/** 形を動かす演算と、形を計算する演算。 */
export const shapeRules: readonly (readonly [string, RowRule])[] = [
  ["Shape", (_, [x]) => shapeValues(x!)],
  ["ShapeN", (_, inputs) => inputs.map(shapeValues)],
  ["Size", (_, [x]) => x!.shape && { kind: "sizes", shape: [], values: [product(x!.shape)] }],
  ["Rank", (_, [x]) => x!.shape && { kind: "free", shape: [], values: [known(x!.shape.length)] }],
  ["Reshape", reshape],
  ["ExpandDims", expandDims],
  ["Squeeze", squeeze],
  ["Transpose", transpose],
  ["ConcatV2", (_, inputs) => join(inputs.slice(0, -1), numberOf(inputs.at(-1)))],
  ["Pack", pack],
  ["Unpack", unpack],
  ["Split", ({ attrs }, [axis, x]) => split(x, axis, attrs.int("num_split"), undefined)],
  [
    "SplitV",
    ({ attrs }, [x, sizes, axis]) => {
      const lengths = numbersOf(sizes);
      return lengths && split(x, axis, attrs.int("num_split"), lengths);
    },
  ],
  ["Slice", slice],
  ["StridedSlice", stridedSlice],
  ["Pad", pad],
  ["PadV2", pad],
  ["MirrorPad", pad],
  ["Tile", tile],
  ["Fill", fill],
  ["Range", range],
  ["BroadcastTo", broadcastTo],
  ["OneHot", oneHot],
  ["Gather", gather],
  ["GatherV2", gather],
  ["GatherNd", gatherNd],
];
