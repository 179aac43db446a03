import { numberRows } from "../gen/wasm/number_rows.ts";

/** wasm/number_rows.ts の面。番地はバイト。 */
interface Exports {
  readonly memory: WebAssembly.Memory;
  readonly POWERS: WebAssembly.Global;
  rows(start: number, columns: number, values: number): number;
  position(): number;
  hasReals(): number;
}

/** 本文を写す所と、値を置く所。数は区切りと合わせて 2 バイト以上なので、値はその 4 倍に収まる。 */
const TEXT = 2 ** 16;
const TEXT_BYTES = 2 ** 17;
const VALUES = TEXT + TEXT_BYTES + 64;

function boot() {
  const module = new WebAssembly.Module(Buffer.from(numberRows, "base64"));
  const exported = new WebAssembly.Instance(module).exports as unknown as Exports;
  const { buffer } = exported.memory;
  const powers = new Float64Array(buffer, exported.POWERS.value, 309);
  for (let exponent = 0; exponent < powers.length; exponent++) powers[exponent] = Number(`1e${exponent}`);
  return { ...exported, bytes: new Uint8Array(buffer), values: new Float64Array(buffer, VALUES) };
}

let engine: ReturnType<typeof boot> | undefined;

/** 1 つの本文の、行の並びを wasm で速く読む。読めない所では 0 行を返すだけで、いつでも続きから試せる。 */
export class NumberRows {
  readonly #body: Uint8Array;
  readonly #engine: ReturnType<typeof boot>;
  /** wasm の記憶に写してある範囲。 */
  #from = 0;
  #to = 0;
  /** 1 行が写す範囲に収まらない。 */
  #isTooLong = false;
  /** 読み終えた位置。次の行の始まりの括弧。 */
  at = 0;
  /** 直前に読んだ行に、整数でない文面があったか。 */
  hasReals = false;

  constructor(body: Uint8Array) {
    engine ??= boot();
    this.#engine = engine;
    this.#body = body;
  }

  /**
   * 揃った数だけの行を、読めるだけ読む。
   *
   * @param start 行の始まりの括弧の位置。
   * @returns 読んだ値。次に呼ぶまで有効。
   */
  take(start: number, columns: number): Float64Array {
    const { rows, position, hasReals, values } = this.#engine;
    let count = 0;
    if (!this.#isTooLong) {
      if (start < this.#from || start >= this.#to) this.#show(start);
      count = rows(TEXT + start - this.#from, columns, VALUES);
      // 写した範囲の終わりで切れた行。
      if (count === 0 && this.#to < this.#body.length && start > this.#from) {
        this.#show(start);
        count = rows(TEXT, columns, VALUES);
      }
      this.#isTooLong = count === 0 && this.#to < this.#body.length;
      this.at = position() - TEXT + this.#from;
      this.hasReals = hasReals() !== 0;
    }
    return values.subarray(0, count * columns);
  }

  #show(start: number): void {
    const { bytes } = this.#engine;
    this.#from = start;
    this.#to = Math.min(this.#body.length, start + TEXT_BYTES);
    bytes.set(this.#body.subarray(start, this.#to), TEXT);
    // 数の続きにならないもの。
    bytes[TEXT + this.#to - start] = 0;
  }
}
