import { dense as moduleText } from "../../gen/wasm/dense.ts";

/** 層の後に掛けるもの。 */
export type LayerActivation = "linear" | "relu" | "relu6" | "sigmoid" | "softmax";

/** 全結合の 1 層。 */
export interface Layer {
  /** [inner, columns]。 */
  readonly weights: Float32Array;
  /** 長さ columns。 */
  readonly biases: Float32Array;
  readonly activation: LayerActivation;
}

/** wasm/dense.ts の面。番地はバイト。 */
interface Exports {
  readonly memory: WebAssembly.Memory;
  run(program: number, layers: number, x: number, a: number, b: number, rows: number): number;
}

const HEADER = 8;
const AFTER: Readonly<Record<LayerActivation, number>> = {
  linear: 0,
  relu: 0,
  relu6: 0,
  sigmoid: 1,
  softmax: 2,
};
/** 記憶の前半は重み、後半は入力と層の出力。 */
const PROGRAM_FLOATS = 2 ** 18;
/** 1 本の列の、重みなどの大きさの上限。いくつかのモデルが同時に載るように。 */
export const MAX_PROGRAM_FLOATS = PROGRAM_FLOATS / 4;
/** 一度に進める行の、入力と出力の大きさ。CPU の近いキャッシュに収まるように。 */
const BLOCK_FLOATS = 2 ** 14;
/** これより短い列は、1 つずつ写すほうが速い。 */
const FEW = 32;

let exported: Exports | undefined;
let heap = new Float32Array(0);
/** 重みを置いた所の終わり。一杯になれば世代を替え、頭から置き直す。 */
let placed = 0;
let generation = 0;

function boot(): Exports {
  if (exported === undefined) {
    exported = new WebAssembly.Instance(compiled()!).exports as unknown as Exports;
    heap = new Float32Array(exported.memory.buffer);
  }
  return exported;
}

/** まだ訳していなければ undefined、訳せなければ null。 */
let module: WebAssembly.Module | null | undefined;

function compiled(): WebAssembly.Module | null {
  if (module === undefined) {
    try {
      module = new WebAssembly.Module(Buffer.from(moduleText, "base64"));
    } catch (thrown) {
      if (!(thrown instanceof WebAssembly.CompileError)) throw thrown;
      module = null;
    }
  }
  return module;
}

/** この CPU で wasm の SIMD が使えるか(AVX の無い x64 では使えない)。 */
export const hasSimd = (): boolean => compiled() !== null;

/** 4 列ずつ進めるための、出力 1 行の長さ。 */
const padded = (columns: number): number => (columns + 3) & ~3;

/** 層 1 つが占める大きさ。 */
export function layerFloats(inner: number, columns: number): number {
  return HEADER + padded(columns) * (inner + 1);
}

/** 層の並びを、wasm の SIMD で一息に走らせる。途中の結果は外に出ない。 */
export class SimdDense {
  readonly #run = boot().run;
  readonly #program: Float32Array;
  readonly #layers: number;
  readonly #inner: number;
  readonly #columns: number;
  /** 一番広い層の出力の長さ。 */
  readonly #widest: number;
  /** 一度に進める行の数。 */
  readonly #blockRows: number;
  #at = 0;
  #generation = -1;

  /** @param layers 1 つ以上。softmax は最後だけ。大きさは {@link MAX_PROGRAM_FLOATS} まで。 */
  constructor(layers: readonly Layer[]) {
    const sizes = layers.map(({ weights, biases: { length } }) => ({
      inner: weights.length / length,
      columns: length,
    }));
    this.#program = new Float32Array(
      sizes.reduce((sum, { inner, columns }) => sum + layerFloats(inner, columns), 0),
    );
    this.#layers = layers.length;
    this.#inner = sizes[0]!.inner;
    this.#columns = sizes.at(-1)!.columns;
    this.#widest = Math.max(...sizes.map(({ columns }) => padded(columns)));
    this.#blockRows = Math.max(4, Math.floor(BLOCK_FLOATS / (this.#inner + 2 * this.#widest)) & ~3);
    let at = 0;
    for (const [i, layer] of layers.entries()) at = this.#write(layer, sizes[i]!, at);
  }

  #write(
    { weights, biases, activation }: Layer,
    { inner, columns }: { inner: number; columns: number },
    from: number,
  ): number {
    const program = this.#program;
    const width = padded(columns);
    const header = new Int32Array(program.buffer, from * 4, HEADER);
    header.set([inner, columns, width * 4, AFTER[activation]]);
    program[from + 4] = activation === "relu" || activation === "relu6" ? 0 : Number.NEGATIVE_INFINITY;
    program[from + 5] = activation === "relu6" ? 6 : Number.POSITIVE_INFINITY;
    let at = from + HEADER;
    program.set(biases, at);
    for (let row = 0; row < inner; row++) {
      at += width;
      program.set(weights.subarray(row * columns, (row + 1) * columns), at);
    }
    return at + width;
  }

  /** 重みが wasm の記憶にあるようにする。 @returns 番地。 */
  #place(): number {
    if (this.#generation !== generation) {
      if (placed + this.#program.length > PROGRAM_FLOATS) {
        placed = 0;
        generation++;
      }
      heap.set(this.#program, placed);
      this.#at = placed * 4;
      this.#generation = generation;
      placed += this.#program.length;
    }
    return this.#at;
  }

  /**
   * @param x 形 [rows, inner]。
   * @returns 形 [rows, columns]。
   */
  run(x: Float32Array, rows: number): Float32Array {
    const program = this.#place();
    const block = Math.min(rows, this.#blockRows);
    const inputAt = PROGRAM_FLOATS;
    const a = padded(inputAt + block * this.#inner);
    // 詰めるときに、最後の行は 3 つまではみ出す。
    const b = a + block * this.#widest + 4;
    const columns = this.#columns;
    if (rows * columns <= FEW && x.length <= FEW) {
      for (let i = 0; i < x.length; i++) heap[inputAt + i] = x[i]!;
      const from = this.#run(program, this.#layers, inputAt * 4, a * 4, b * 4, rows) >>> 2;
      const out = new Float32Array(rows * columns);
      for (let i = 0; i < out.length; i++) out[i] = heap[from + i]!;
      return out;
    }
    const out = new Float32Array(rows * columns);
    for (let row = 0; row < rows; row += block) {
      const count = Math.min(block, rows - row);
      heap.set(x.subarray(row * this.#inner, (row + count) * this.#inner), inputAt);
      const from = this.#run(program, this.#layers, inputAt * 4, a * 4, b * 4, count) >>> 2;
      out.set(heap.subarray(from, from + count * columns), row * columns);
    }
    return out;
  }
}
