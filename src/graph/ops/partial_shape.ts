import { invalidArgument } from "../../base/status.ts";
import type { Shape, Tensor } from "../../tensor/tensor.ts";
import { formatShape, toNumbers } from "./kernel_util.ts";
import type { PartialShape } from "./tensor_list.ts";

/** `[?,3]`、階数が未知なら `<unknown>`。 */
export function formatPartial(shape: PartialShape): string {
  return shape === undefined ? "<unknown>" : `[${shape.map((dim) => (dim < 0 ? "?" : dim)).join(",")}]`;
}

/** 形を表す入力(スカラーの -1 は階数も未知)。 */
export function readPartial(value: Tensor): PartialShape {
  const dims = toNumbers(value);
  if (value.shape.length === 0) {
    if (dims[0] === -1) return undefined;
    throw invalidArgument(`The only valid scalar shape tensor is the fully unknown shape specified as -1.`);
  }
  if (dims.some((dim) => dim < -1)) {
    throw invalidArgument(`Invalid shape: dimension must be >= -1, got ${formatShape(dims)}`);
  }
  return dims;
}

export function isFullyDefined(shape: PartialShape): shape is Shape {
  return shape?.every((dim) => dim >= 0) ?? false;
}

/** 食い違う次元が無いか。 */
export function isCompatible(a: PartialShape, b: PartialShape): boolean {
  if (a === undefined || b === undefined) return true;
  return a.length === b.length && a.every((dim, i) => dim < 0 || b[i]! < 0 || dim === b[i]);
}

/** @throws INVALID_ARGUMENT 食い違うとき。 */
export function mergeShapes(a: PartialShape, b: PartialShape): PartialShape {
  if (!isCompatible(a, b)) {
    const what =
      a!.length === b!.length ? "Incompatible shapes during merge" : "Incompatible ranks during merge";
    throw invalidArgument(`PartialTensorShape: ${what}: ${formatPartial(a)} vs. ${formatPartial(b)}`);
  }
  if (a === undefined || b === undefined) return a ?? b;
  return a.map((dim, i) => (dim < 0 ? b[i]! : dim));
}
