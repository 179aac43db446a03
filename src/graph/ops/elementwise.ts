import { invalidArgument, unimplemented } from "../../base/status.ts";
import type { DType, TypedArray } from "../../tensor/dtype.ts";
import type { Shape, Tensor } from "../../tensor/tensor.ts";
import {
  broadcastShapes,
  broadcastStrides,
  formatShape,
  makeTensor,
  newData,
  roundBfloat16,
  roundTo,
} from "./kernel_util.ts";

/** 要素が number の型付き配列。 */
export type NumberArray = Exclude<TypedArray, BigInt64Array | BigUint64Array>;
/** 要素が bigint の型付き配列。 */
export type BigArray = BigInt64Array | BigUint64Array;

export const isBig = (dtype: DType): dtype is "int64" | "uint64" => dtype === "int64" || dtype === "uint64";
export const isComplex = (dtype: DType): boolean => dtype === "complex64" || dtype === "complex128";
export const isFloating = (dtype: DType): boolean =>
  dtype === "float" || dtype === "double" || dtype === "half" || dtype === "bfloat16";

/** number に載る整数(bool は除く)。 */
export const isSmallInt = (dtype: DType): boolean =>
  !isFloating(dtype) && !isBig(dtype) && !isComplex(dtype) && dtype !== "bool" && dtype !== "string";

export const bigMin = (a: bigint, b: bigint): bigint => (a < b ? a : b);
export const bigMax = (a: bigint, b: bigint): bigint => (a > b ? a : b);

/** その dtype の精度に 1 値を丸める関数。整数では恒等。 */
export function rounderOf(dtype: DType): (value: number) => number {
  if (dtype === "float") return Math.fround;
  if (dtype === "half") return Math.f16round;
  if (dtype === "bfloat16") return roundBfloat16;
  return (value) => value;
}

/** number の配列として見る。@throws UNIMPLEMENTED 数でない、または 64 bit 整数。 */
export function numbersOf(x: Tensor): NumberArray {
  if (Array.isArray(x.data) || isBig(x.dtype)) throw unsupported(x.dtype);
  return x.data as NumberArray;
}

/** bigint の配列として見る。 */
export function bigsOf(x: Tensor): BigArray {
  if (!isBig(x.dtype)) throw unsupported(x.dtype);
  return x.data as BigArray;
}

export function unsupported(dtype: DType): Error {
  return unimplemented(`This kernel does not support elements of type ${dtype}`);
}

/** 連なり 1 本。`count` 要素を、それぞれの先頭と歩幅で進む。出力の歩幅は 1。 */
export type RunVisitor = (
  aAt: number,
  aStep: number,
  bAt: number,
  bStep: number,
  outAt: number,
  count: number,
) => void;

/**
 * 2 つの形のブロードキャストを、内側の連なりに畳んで巡る。
 *
 * @returns 出力の形。
 * @throws INVALID_ARGUMENT 合わない形。
 */
export function broadcastPair(a: Shape, b: Shape, visit: (shape: Shape) => RunVisitor): number[] {
  const shape = broadcastShapes(a, b);
  if (shape === undefined) {
    throw invalidArgument(`Incompatible shapes: ${formatShape(a)} vs. ${formatShape(b)}`);
  }
  const run = visit(shape);
  // 隣り合う軸は、両方の歩幅が続いていれば 1 本にまとめる。
  const sizes: number[] = [];
  const aSteps: number[] = [];
  const bSteps: number[] = [];
  const aStrides = broadcastStrides(a, shape);
  const bStrides = broadcastStrides(b, shape);
  for (let i = 0; i < shape.length; i++) {
    const size = shape[i]!;
    if (size === 0) return shape;
    if (size === 1) continue;
    const last = sizes.length - 1;
    if (last >= 0 && aSteps[last] === aStrides[i]! * size && bSteps[last] === bStrides[i]! * size) {
      sizes[last]! *= size;
      aSteps[last] = aStrides[i]!;
      bSteps[last] = bStrides[i]!;
    } else {
      sizes.push(size);
      aSteps.push(aStrides[i]!);
      bSteps.push(bStrides[i]!);
    }
  }
  const inner = sizes.length - 1;
  if (inner < 0) {
    run(0, 0, 0, 0, 0, 1);
    return shape;
  }
  const count = sizes[inner]!;
  const index = new Array<number>(inner).fill(0);
  let aAt = 0;
  let bAt = 0;
  let outAt = 0;
  for (;;) {
    run(aAt, aSteps[inner]!, bAt, bSteps[inner]!, outAt, count);
    outAt += count;
    let axis = inner - 1;
    for (; axis >= 0; axis--) {
      aAt += aSteps[axis]!;
      bAt += bSteps[axis]!;
      if (++index[axis]! < sizes[axis]!) break;
      aAt -= aSteps[axis]! * sizes[axis]!;
      bAt -= bSteps[axis]! * sizes[axis]!;
      index[axis] = 0;
    }
    if (axis < 0) return shape;
  }
}

type Writable<T> = { [index: number]: T };

/** 2 つのテンソルを要素ごとに合わせる。 */
function zip(aShape: Shape, bShape: Shape, dtype: DType, apply: (out: Tensor["data"]) => RunVisitor): Tensor {
  let data: Tensor["data"] | undefined;
  const shape = broadcastPair(aShape, bShape, (to) => {
    data = newData(dtype, to);
    return apply(data);
  });
  roundTo(dtype, data!);
  return makeTensor(dtype, shape, data!);
}

/** number どうし。`dtype` は出力の型。 */
export function zipNumbers(
  a: Tensor,
  b: Tensor,
  dtype: DType,
  rule: (a: number, b: number) => number,
): Tensor {
  const left = numbersOf(a);
  const right = numbersOf(b);
  return zip(a.shape, b.shape, dtype, (data) => {
    const out = data as Writable<number>;
    return (aAt, aStep, bAt, bStep, outAt, count) => {
      for (let i = 0; i < count; i++) {
        out[outAt + i] = rule(left[aAt]!, right[bAt]!);
        aAt += aStep;
        bAt += bStep;
      }
    };
  });
}

/** bigint どうし。`rule` の戻り値は出力の型に合うもの(bool なら number)。 */
export function zipBigs<R extends number | bigint>(
  a: Tensor,
  b: Tensor,
  dtype: DType,
  rule: (a: bigint, b: bigint) => R,
): Tensor {
  const left = bigsOf(a);
  const right = bigsOf(b);
  return zip(a.shape, b.shape, dtype, (data) => {
    const out = data as unknown as Writable<R>;
    return (aAt, aStep, bAt, bStep, outAt, count) => {
      for (let i = 0; i < count; i++) {
        out[outAt + i] = rule(left[aAt]!, right[bAt]!);
        aAt += aStep;
        bAt += bStep;
      }
    };
  });
}

/** 文字列どうし。 */
export function zipStrings<R extends number | Uint8Array>(
  a: Tensor,
  b: Tensor,
  dtype: DType,
  rule: (a: Uint8Array, b: Uint8Array) => R,
): Tensor {
  const left = a.data as Uint8Array[];
  const right = b.data as Uint8Array[];
  return zip(a.shape, b.shape, dtype, (data) => {
    const out = data as unknown as Writable<R>;
    return (aAt, aStep, bAt, bStep, outAt, count) => {
      for (let i = 0; i < count; i++) {
        out[outAt + i] = rule(left[aAt]!, right[bAt]!);
        aAt += aStep;
        bAt += bStep;
      }
    };
  });
}

/** 複素数どうし。`rule` は実部と虚部を受け、結果を `out` の 2 要素(bool なら 1 要素)に書く。 */
export function zipComplex(
  a: Tensor,
  b: Tensor,
  dtype: DType,
  rule: (out: Writable<number>, at: number, ar: number, ai: number, br: number, bi: number) => void,
): Tensor {
  const left = numbersOf(a);
  const right = numbersOf(b);
  const lanes = isComplex(dtype) ? 2 : 1;
  return zip(a.shape, b.shape, dtype, (data) => {
    const out = data as Writable<number>;
    return (aAt, aStep, bAt, bStep, outAt, count) => {
      for (let i = 0; i < count; i++) {
        const p = aAt * 2;
        const q = bAt * 2;
        rule(out, (outAt + i) * lanes, left[p]!, left[p + 1]!, right[q]!, right[q + 1]!);
        aAt += aStep;
        bAt += bStep;
      }
    };
  });
}

/** 要素ごと。`dtype` は出力の型。 */
export function mapNumbers(x: Tensor, dtype: DType, rule: (x: number) => number): Tensor {
  const from = numbersOf(x);
  const data = newData(dtype, x.shape);
  const out = data as Writable<number>;
  for (let i = 0; i < from.length; i++) out[i] = rule(from[i]!);
  roundTo(dtype, data);
  return makeTensor(dtype, x.shape, data);
}

export function mapBigs<R extends number | bigint>(x: Tensor, dtype: DType, rule: (x: bigint) => R): Tensor {
  const from = bigsOf(x);
  const data = newData(dtype, x.shape);
  const out = data as unknown as Writable<R>;
  for (let i = 0; i < from.length; i++) out[i] = rule(from[i]!);
  return makeTensor(dtype, x.shape, data);
}
