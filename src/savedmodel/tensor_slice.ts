import { invalidArgument } from "../base/status.ts";
import { allocate, type DType, lanesOf } from "../tensor/dtype.ts";
import { type Shape, sizeOf, type Tensor, tensor } from "../tensor/tensor.ts";

/** テンソルの中の直方体。 */
export interface Block {
  readonly start: Shape;
  readonly shape: Shape;
}

/** 保存された切片の 1 次元ぶん。length の無いものはその次元の全体。 */
export interface Extent {
  readonly start: bigint;
  readonly length: bigint | undefined;
}

/** テンソル全体。 */
export function wholeBlock(shape: Shape): Block {
  return { start: shape.map(() => 0), shape };
}

/**
 * 切片の範囲を数に直す。
 *
 * @throws INVALID_ARGUMENT 次元の数が違う、はみ出す。
 */
export function blockOfExtents(extents: readonly Extent[], shape: Shape): Block {
  const block: Block = {
    start: extents.map(({ start }) => Number(start)),
    shape: extents.map(({ start, length }, i) => Number(length ?? BigInt(shape[i] ?? 0) - start)),
  };
  const fits = extents.length === shape.length && shape.every((size, i) => isPart(block, i, size));
  if (!fits) throw invalidArgument(`slice ${formatBlock(block)} does not fit shape [${shape.join(",")}]`);
  return block;
}

function isPart({ start, shape }: Block, axis: number, size: number): boolean {
  return start[axis]! >= 0 && shape[axis]! >= 0 && start[axis]! + shape[axis]! <= size;
}

/** `2,3:0,4` の形。 */
export function formatBlock({ start, shape }: Block): string {
  return start.map((from, i) => `${from},${shape[i]}`).join(":");
}

/**
 * RestoreV2 の `shape_and_slices` の 1 要素を読む。
 *
 * @param spec `"4 3 2,2:-"`(全体の形、空白、次元ごとに `始め,長さ` か `-`)。空文字列は全体。
 * @param shape 保存された全体の形。
 * @throws INVALID_ARGUMENT 書き方が違う、保存された形と食い違う。
 * @see tensorflow/core/util/saved_tensor_slice_util.cc ParseShapeAndSlice
 */
export function parseShapeAndSlice(spec: string, shape: Shape): Block {
  if (spec === "") return wholeBlock(shape);
  const parts = spec.split(" ");
  const slices = parts.pop()!.split(":");
  if (parts.some((part) => !/^\d+$/.test(part)))
    throw invalidArgument(`Invalid shape in shape_and_slice spec: ${spec}`);
  if (parts.map(Number).join() !== shape.join()) {
    throw invalidArgument(
      `Shape in shape_and_slice spec [${parts.join(",")}] does not match the shape stored in checkpoint: [${shape.join(",")}]`,
    );
  }
  return blockOfExtents(
    slices.map((slice) => {
      if (slice === "-") return { start: 0n, length: undefined };
      const match = /^(\d{1,18}),(\d{1,18})$/.exec(slice);
      if (match === null) throw invalidArgument(`Invalid slice in shape_and_slice spec: ${spec}`);
      return { start: BigInt(match[1]!), length: BigInt(match[2]!) };
    }),
    shape,
  );
}

/** 2 つの直方体の重なり。無ければ undefined。 */
export function intersect(a: Block, b: Block): Block | undefined {
  const start = a.start.map((from, i) => Math.max(from, b.start[i]!));
  const shape = start.map((from, i) => Math.min(a.start[i]! + a.shape[i]!, b.start[i]! + b.shape[i]!) - from);
  return shape.every((size) => size > 0) ? { start, shape } : undefined;
}

/** `part` だけを取り出した {@link Tensor} を組み立てる器。 */
export class BlockAssembler {
  readonly #dtype: Exclude<DType, "string">;
  readonly #part: Block;
  readonly #data: Float32Array;

  constructor(dtype: Exclude<DType, "string">, part: Block) {
    this.#dtype = dtype;
    this.#part = part;
    this.#data = allocate(dtype, sizeOf(part.shape)) as Float32Array;
  }

  /** `source`(全体の中で `block` を占める)のうち、求める部分と重なる所を写す。 */
  add(source: Tensor, block: Block): void {
    const overlap = intersect(block, this.#part);
    if (overlap === undefined) return;
    const lanes = lanesOf(this.#dtype);
    const from = source.data as Float32Array;
    const run = (overlap.shape.at(-1) ?? 1) * lanes;
    const outer = sizeOf(overlap.shape.slice(0, -1));
    for (let row = 0; row < outer; row++) {
      let rest = row;
      const position = [...overlap.start];
      for (let axis = overlap.shape.length - 2; axis >= 0; axis--) {
        position[axis]! += rest % overlap.shape[axis]!;
        rest = Math.floor(rest / overlap.shape[axis]!);
      }
      const at = offsetIn(block, position) * lanes;
      this.#data.set(from.subarray(at, at + run), offsetIn(this.#part, position) * lanes);
    }
  }

  finish(): Tensor {
    return tensor(this.#dtype, this.#part.shape, this.#data as never);
  }
}

function offsetIn({ start, shape }: Block, position: readonly number[]): number {
  let offset = 0;
  for (let axis = 0; axis < shape.length; axis++) {
    offset = offset * shape[axis]! + position[axis]! - start[axis]!;
  }
  return offset;
}

/**
 * 切片 1 つを指す索引のキー。順序を保つ符号で、先頭の 0x00 が切片の印になる。
 *
 * @see tensorflow/core/util/saved_tensor_slice_util.cc EncodeTensorNameSlice
 * @see tensorflow/core/lib/strings/ordered_code.cc
 */
export function sliceKey(name: Uint8Array, extents: readonly Extent[]): Uint8Array {
  const key: number[] = [0];
  for (const byte of name) {
    key.push(byte);
    if (byte === 0x00) key.push(0xff);
    else if (byte === 0xff) key.push(0x00);
  }
  key.push(0, 1);
  pushNumber(key, extents.length);
  for (const { start, length } of extents) {
    pushSigned(key, start);
    pushSigned(key, length ?? -1n);
  }
  return Uint8Array.from(key);
}

function pushNumber(key: number[], value: number): void {
  const bytes: number[] = [];
  for (let rest = value; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  key.push(bytes.length, ...bytes);
}

/** n バイトの形は 7n-1 ビットを運ぶ。先頭の 1 の並び(負なら 0 の並び)が n を表す。 */
function pushSigned(key: number[], value: bigint): void {
  const magnitude = value < 0n ? ~value : value;
  let bytes = 1;
  while (magnitude >> BigInt(7 * bytes - 1) > 0n) bytes++;
  const header = ((1n << BigInt(bytes)) - 1n) << BigInt(7 * bytes);
  let code = BigInt.asUintN(8 * bytes, value) ^ BigInt.asUintN(8 * bytes, header);
  const encoded: number[] = [];
  for (let i = 0; i < bytes; i++) {
    encoded.unshift(Number(code & 255n));
    code >>= 8n;
  }
  key.push(...encoded);
}
