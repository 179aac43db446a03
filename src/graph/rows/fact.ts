import type { PlanNode } from "../plan_node.ts";
import { isKnown, isNumber, isSame, type Size, unknownSize } from "./size.ts";

/**
 * 線について分かっていること。undefined は「行どうしが混ざりうる、または分からない」。
 *
 * - `free`: 入力の中身にも行数にもよらない。
 * - `sizes`: 中身にはよらず、行数によりうる小さな数の列(形の計算)。分からない要素は undefined。
 * - `rows`: `axis` の軸に行が順に並び、ある行の部分はその行の入力だけで決まる。軸の大きさは行数の倍数。
 */
export type Fact =
  | { readonly kind: "free"; readonly shape?: readonly Size[]; readonly values?: readonly Size[] }
  | {
      readonly kind: "sizes";
      readonly shape: readonly Size[];
      readonly values: readonly (Size | undefined)[];
    }
  | { readonly kind: "rows"; readonly shape: readonly Size[]; readonly axis: number };

export type RowsFact = Extract<Fact, { kind: "rows" }>;

/** 出力ごとに分かること。1 つだけなら配列にしなくてよい。 */
export type RowRule = (
  node: PlanNode,
  inputs: readonly Fact[],
) => Fact | undefined | readonly (Fact | undefined)[];

/** 定数の値。 */
export function numbersOf(fact: Fact | undefined): number[] | undefined {
  if (fact?.kind !== "free" || fact.values === undefined) return undefined;
  return fact.values.every(isKnown) ? fact.values.map(({ factor }) => factor) : undefined;
}

export function numberOf(fact: Fact | undefined): number | undefined {
  const values = numbersOf(fact);
  return values?.length === 1 ? values[0] : undefined;
}

/** 形として使う値。1 つでも分からなければ undefined。 */
export function sizesOf(fact: Fact | undefined): readonly Size[] | undefined {
  if (fact === undefined || fact.kind === "rows") return undefined;
  const values: readonly (Size | undefined)[] | undefined = fact.values;
  return values?.every((value): value is Size => value !== undefined) ? values : undefined;
}

/** 非負にした軸。範囲の外なら undefined。 */
export const axisFrom = (axis: number | undefined, rank: number): number | undefined =>
  axis === undefined || axis < -rank || axis >= rank ? undefined : axis < 0 ? axis + rank : axis;

export const rowsOf = (shape: readonly Size[], axis: number): RowsFact => ({ kind: "rows", shape, axis });

/** 行の軸。`free` には無い(−1)。 */
export const rowAxisOf = (fact: Fact): number => (fact.kind === "rows" ? fact.axis : -1);

/** 行の軸が `axis`(無ければ −1)になったもの。 */
export const placed = (shape: readonly Size[], axis: number): Fact =>
  axis < 0 ? { kind: "free", shape } : rowsOf(shape, axis);

/** 値は変わるが形は同じ。 */
export const sameShape = (x: Fact | undefined): Fact | undefined =>
  x?.kind === "free" && x.shape !== undefined ? { kind: "free", shape: x.shape } : undefined;

/** 重ねた 2 つの軸の大きさ。 */
export function stretch(a: Size | undefined, b: Size | undefined): Size {
  if (a === undefined || b === undefined) return (a ?? b)!;
  if (isNumber(a, 1) || isSame(a, b)) return b;
  if (isNumber(b, 1)) return a;
  return isKnown(a) ? a : isKnown(b) ? b : unknownSize();
}

/** 末尾から数えた軸。 */
export const fromEnd = (shape: readonly Size[], at: number): Size | undefined => shape[shape.length - at];

/** ブロードキャストした形。 */
export function broadcast(shapes: readonly (readonly Size[])[]): Size[] {
  const rank = Math.max(0, ...shapes.map((shape) => shape.length));
  return Array.from({ length: rank }, (_, i) => {
    const sizes = shapes.map((shape) => fromEnd(shape, rank - i)).filter((size) => size !== undefined);
    return sizes.reduce(stretch);
  });
}
