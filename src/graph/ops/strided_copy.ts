import { type DType, lanesOf } from "../../tensor/dtype.ts";
import { type Shape, sizeOf, type Tensor } from "../../tensor/tensor.ts";
import { makeTensor, newData, stridesOf } from "./kernel_util.ts";

/** 配列の上の格子。`at` は先頭、`strides` は軸ごとの歩幅(要素単位、負でもよい)。 */
export interface Lattice {
  readonly data: Tensor["data"];
  readonly at: number;
  readonly strides: readonly number[];
}

/**
 * 同じ大きさの格子から格子へ写す。転置・切り出し・反転・繰り返し・詰め物はすべてこれでできる。
 * 内側の続いた部分はまとめて写す。
 *
 * @param sizes 格子の大きさ。複素数でも 1 要素は 1 と数える。
 */
export function copyStrided(dtype: DType, sizes: Shape, from: Lattice, to: Lattice): void {
  const lanes = lanesOf(dtype);
  const dims: number[] = [];
  const source: number[] = [];
  const target: number[] = [];
  const push = (size: number, fromStride: number, toStride: number) => {
    const last = dims.length - 1;
    if (size === 1) return;
    if (last >= 0 && source[last] === fromStride * size && target[last] === toStride * size) {
      dims[last]! *= size;
      source[last] = fromStride;
      target[last] = toStride;
    } else {
      dims.push(size);
      source.push(fromStride);
      target.push(toStride);
    }
  };
  for (let i = 0; i < sizes.length; i++) {
    if (sizes[i] === 0) return;
    push(sizes[i]!, from.strides[i]! * lanes, to.strides[i]! * lanes);
  }
  if (lanes > 1) push(lanes, 1, 1);
  copyRuns(from.data, from.at * lanes, source, to.data, to.at * lanes, target, dims);
}

function copyRuns(
  from: Tensor["data"],
  fromStart: number,
  source: readonly number[],
  to: Tensor["data"],
  toStart: number,
  target: readonly number[],
  dims: readonly number[],
): void {
  // 型の種類を消して添字だけで読み書きする(両者は同じ dtype なので要素の型は一致する)。
  const read = from as Float64Array;
  const write = to as Float64Array;
  const inner = dims.length - 1;
  if (inner < 0) {
    write[toStart] = read[fromStart]!;
    return;
  }
  const count = dims[inner]!;
  const fromStep = source[inner]!;
  const toStep = target[inner]!;
  const whole = fromStep === 1 && toStep === 1 && count >= 16 && !Array.isArray(from);
  const index = new Array<number>(inner).fill(0);
  let fromAt = fromStart;
  let toAt = toStart;
  for (;;) {
    if (whole) {
      write.set(read.subarray(fromAt, fromAt + count), toAt);
    } else {
      let p = fromAt;
      let q = toAt;
      for (let i = 0; i < count; i++) {
        write[q] = read[p]!;
        p += fromStep;
        q += toStep;
      }
    }
    let axis = inner - 1;
    for (; axis >= 0; axis--) {
      fromAt += source[axis]!;
      toAt += target[axis]!;
      if (++index[axis]! < dims[axis]!) break;
      fromAt -= source[axis]! * dims[axis]!;
      toAt -= target[axis]! * dims[axis]!;
      index[axis] = 0;
    }
    if (axis < 0) return;
  }
}

/**
 * 格子を新しい密なテンソルに写す。
 *
 * @param shape 出力の形。要素数は `sizes` に等しい。
 */
export function gatherLattice(dtype: DType, sizes: Shape, from: Lattice, shape: Shape = sizes): Tensor {
  const data = newData(dtype, shape);
  copyStrided(dtype, sizes, from, { data, at: 0, strides: stridesOf(sizes) });
  return makeTensor(dtype, shape, data);
}

/** 軸の入れ替え。 */
export function transpose(x: Tensor, perm: readonly number[]): Tensor {
  const strides = stridesOf(x.shape);
  return gatherLattice(
    x.dtype,
    perm.map((axis) => x.shape[axis]!),
    { data: x.data, at: 0, strides: perm.map((axis) => strides[axis]!) },
  );
}

/** 箱の切り出し。`begin + size` は形の内側。 */
export function slice(x: Tensor, begin: readonly number[], size: readonly number[]): Tensor {
  const strides = stridesOf(x.shape);
  const at = begin.reduce((sum, from, i) => sum + from * strides[i]!, 0);
  // 先頭の軸だけを切るなら、続いた領域なので写さずに見せる。
  const contiguous = size.every((count, i) => i === 0 || count === x.shape[i]);
  if (contiguous) {
    const lanes = lanesOf(x.dtype);
    const end = (at + sizeOf(size)) * lanes;
    const { data } = x;
    return makeTensor(
      x.dtype,
      size,
      Array.isArray(data) ? data.slice(at, end) : data.subarray(at * lanes, end),
    );
  }
  return gatherLattice(x.dtype, size, { data: x.data, at, strides });
}

/** 全要素を `value` の(先頭の)1 要素に。 */
export function fillData(data: Tensor["data"], value: Tensor): void {
  const out = data as unknown[];
  if (lanesOf(value.dtype) === 1) out.fill(value.data[0]);
  else for (let i = 0; i < out.length; i++) out[i] = value.data[i % 2];
}

/** 複素数なら共役に。 */
export function conjugate(x: Tensor): Tensor {
  if (lanesOf(x.dtype) === 1) return x;
  const data = (x.data as Float64Array).slice();
  for (let i = 1; i < data.length; i += 2) data[i] = -data[i]!;
  return makeTensor(x.dtype, x.shape, data as Tensor["data"]);
}

/** 同じ中身を別の形で。 */
export function withShape(x: Tensor, shape: Shape): Tensor {
  return makeTensor(x.dtype, shape, x.data);
}
