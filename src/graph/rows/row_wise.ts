import { sizeOf } from "../../tensor/tensor.ts";
import { isBig } from "../ops/elementwise.ts";
import { opRows } from "../ops/index.ts";
import { constantOf, type PlanNode, type Wire } from "../plan_node.ts";
import { type Fact, numberOf } from "./fact.ts";
import { rowRules } from "./rules.ts";
import { hasRows, isRowMultiple, isSame, known, rows, type Size, unknownSize } from "./size.ts";

/** 値まで追う定数の要素数。 */
const MAX_TRACKED = 32;

/**
 * ある要求の行の答えが、一緒に走る行によらないことを確かめる。確かめられないものは「よる」とみなす。
 * 要求を 1 つの実行にまとめてよいのは、確かめられた計画だけ。
 *
 * @param order 依存の順。融合の前。
 * @returns 入力ごとに求められる形。−1 はどの大きさでもよいが、同じ軸どうしは等しくなければならない。行ごとと言えなければ undefined。
 */
export function rowShapes(
  order: readonly PlanNode[],
  feeds: readonly PlanNode[],
  fetches: readonly Wire[],
): (readonly number[])[] | undefined {
  const shapes: (readonly number[])[] = [];
  const open: Size[] = [];
  const facts = new Map<PlanNode, readonly (Fact | undefined)[]>();
  for (const feed of feeds) {
    const shape = feed.attrs.has("shape") ? feed.attrs.shape("shape") : undefined;
    if (shape?.[0] !== -1) return undefined;
    shapes.push(shape);
    const inner = shape.slice(1).map((dim, i) => {
      if (dim >= 0) return known(dim);
      open[i] ??= unknownSize();
      return open[i];
    });
    facts.set(feed, [{ kind: "rows", shape: [rows, ...inner], axis: 0 }]);
  }
  const factOf = (wire: Wire): Fact | undefined => constantFact(wire) ?? facts.get(wire.node)?.[wire.index];
  for (const node of order) {
    if (node.constants !== undefined || node.feed !== undefined) continue;
    // 失敗するだけの Assert は、まとめて走らせて失敗すれば 1 つずつ走らせ直される。
    if (opRows.get(node.op)?.stateful === true && node.op !== "Assert") return undefined;
    const fixed = clamped(node);
    const inputs = node.inputs.map(factOf);
    if (fixed !== undefined) facts.set(node, [fixed]);
    else if (inputs.every((fact) => fact !== undefined)) facts.set(node, outputsOf(node, inputs));
  }
  const isPerRow = fetches.every((fetch) => {
    const fact = factOf(fetch);
    return fact?.kind === "rows" && fact.axis === 0 && isSame(fact.shape[0]!, rows);
  });
  return isPerRow ? shapes : undefined;
}

function constantFact(wire: Wire): Fact | undefined {
  const value = constantOf(wire);
  if (value === undefined) return undefined;
  const { dtype } = value;
  if (dtype === undefined) return { kind: "free" };
  const shape = value.shape.map(known);
  const isTracked =
    value.onHost &&
    value.shape.length < 3 &&
    sizeOf(value.shape) <= MAX_TRACKED &&
    (dtype === "int32" || isBig(dtype));
  if (!isTracked) return { kind: "free", shape };
  const data = value.tensor(undefined).data as ArrayLike<number | bigint>;
  return { kind: "free", shape, values: Array.from(data, (item) => known(Number(item))) };
}

function outputsOf(node: PlanNode, inputs: readonly Fact[]): readonly (Fact | undefined)[] {
  const found = rowRules.get(node.op)?.(node, inputs);
  if (found !== undefined) return (Array.isArray(found) ? found : [found]).map(checked);
  // 規則が無くても、入力によらないものからは入力によらないものしかできない。
  if (inputs.every(({ kind }) => kind === "free")) return node.outputWires.map(() => ({ kind: "free" }));
  return [];
}

/** 行の軸は 1 本だけで、ほかの軸の大きさは行数によらない。値が行数によらない `sizes` は `free`。 */
function checked(fact: Fact | undefined): Fact | undefined {
  if (fact === undefined) return undefined;
  const { kind, shape } = fact;
  if (kind === "rows") {
    return shape.every((size, i) => (i === fact.axis ? isRowMultiple(size) : !hasRows(size)))
      ? fact
      : undefined;
  }
  if (shape?.some(hasRows) === true) return undefined;
  if (kind === "free") return fact;
  const values = fact.values.filter((value) => value !== undefined && !hasRows(value));
  return values.length === fact.values.length ? { kind: "free", shape, values: values as Size[] } : fact;
}

/**
 * min(c, max(d, 何か)) は、c ≤ d なら c。数える上限を決めた bincount(CategoryEncoding, StringLookup)に現れる。
 */
function clamped({ op, inputs }: PlanNode): Fact | undefined {
  if (op !== "Minimum") return undefined;
  for (const [i, limit] of inputs.entries()) {
    const inner = inputs[1 - i]?.node;
    const fact = constantFact(limit);
    const upper = numberOf(fact);
    if (inner?.op !== "Maximum" || upper === undefined) continue;
    const lower = (wire: Wire): number => numberOf(constantFact(wire)) ?? Number.NEGATIVE_INFINITY;
    if (inner.inputs.some((wire) => lower(wire) >= upper)) return fact;
  }
  return undefined;
}
