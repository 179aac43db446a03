import { invalidArgument, unimplemented } from "../../base/status.ts";
import type { OpNode } from "./registry.ts";

/** 1 つの空間軸の上の窓の動き。 */
export interface WindowAxis {
  readonly input: number;
  readonly filter: number;
  readonly stride: number;
  readonly dilation: number;
  /** 手前に足す 0 の数。 */
  readonly before: number;
  readonly after: number;
  readonly output: number;
}

/** 囲み方。明示は空間軸ごとの [前, 後]。 */
export type Padding = "SAME" | "VALID" | readonly (readonly [number, number])[];

/**
 * 出力の大きさと余白を決める。
 *
 * @see tensorflow/core/framework/kernel_shape_util.cc GetWindowedOutputSizeVerbose
 */
export function windowAxis(
  input: number,
  filter: number,
  stride: number,
  dilation: number,
  padding: "SAME" | "VALID" | readonly [number, number],
): WindowAxis {
  if (stride <= 0) throw invalidArgument(`Stride must be > 0, but got ${stride}`);
  if (dilation <= 0) throw invalidArgument(`Dilation rate must be > 0, but got ${dilation}`);
  const reach = (filter - 1) * dilation + 1;
  const base = { input, filter, stride, dilation };
  if (padding === "SAME") {
    const output = Math.ceil(input / stride);
    const total = Math.max((output - 1) * stride + reach - input, 0);
    const before = Math.floor(total / 2);
    return { ...base, before, after: total - before, output };
  }
  const [before, after] = padding === "VALID" ? [0, 0] : padding;
  const output = Math.max(0, Math.floor((input + before + after - reach + stride) / stride));
  return { ...base, before, after, output };
}

/** padding と explicit_paddings の属性を読む。`spatial` は空間軸の番号の範囲。 */
export function readPadding(node: Pick<OpNode, "attrs">, spatialRank: number): Padding {
  const padding = node.attrs.string("padding");
  if (padding === "SAME" || padding === "VALID") return padding;
  if (padding !== "EXPLICIT") throw unimplemented(`padding ${padding} is not supported`);
  const edges = node.attrs.ints("explicit_paddings");
  return Array.from(
    { length: spatialRank },
    (_, i) => [edges[(i + 1) * 2]!, edges[(i + 1) * 2 + 1]!] as const,
  );
}

export function paddingOf(padding: Padding, axis: number): "SAME" | "VALID" | readonly [number, number] {
  return typeof padding === "string" ? padding : padding[axis]!;
}

/**
 * tfjs の `pad` 属性の形。SAME は、窓より歩幅が大きく端が余るとき XNNPACK が断るので、決まった余白に直して渡す。
 *
 * @param axes 空間軸ごとの窓の動き。
 */
export function devicePadding(
  padding: Padding,
  axes: readonly WindowAxis[],
): "valid" | readonly (readonly [number, number])[] {
  if (padding === "VALID") return "valid";
  return [[0, 0], ...axes.map(({ before, after }) => [before, after] as const), [0, 0]];
}

/** バッチとチャンネルの歩幅は 1 でなければならない。 */
export function spatialAttr(node: OpNode, name: string, spatialRank: number): number[] {
  const values = node.attrs.ints(name);
  if (values.length === 0) return new Array<number>(spatialRank).fill(1);
  if (values[0] !== 1 || values[spatialRank + 1] !== 1) {
    throw unimplemented(`${node.op} does not support ${name} in the batch and depth dimensions`);
  }
  return values.slice(1, spatialRank + 1);
}
