/**
 * Philox 4×32-10。カウンタ 128 bit と鍵 64 bit から 32 bit を 4 つ作る。
 *
 * @see Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011
 */
export interface PhiloxState {
  /** 下位の語から。 */
  readonly counter: readonly [number, number, number, number];
  readonly key: readonly [number, number];
}

const MULTIPLIER_A = 0xd2511f53;
const MULTIPLIER_B = 0xcd9e8d57;
const WEYL_A = 0x9e3779b9;
const WEYL_B = 0xbb67ae85;

/** 32 bit どうしの積の上位 32 bit。 */
function multiplyHigh(a: number, b: number): number {
  const [aHigh, aLow] = [a >>> 16, a & 0xffff];
  const [bHigh, bLow] = [b >>> 16, b & 0xffff];
  const low = aLow * bLow;
  const middle = aHigh * bLow + (low >>> 16);
  const cross = (middle & 0xffff) + aLow * bHigh;
  return (aHigh * bHigh + Math.floor(middle / 0x10000) + Math.floor(cross / 0x10000)) >>> 0;
}

/** 1 つのカウンタ値から 4 語を作り、`out` の `at` から書く。 */
export function philoxBlock(state: PhiloxState, out: Uint32Array, at = 0): void {
  let [c0, c1, c2, c3] = state.counter;
  let [k0, k1] = state.key;
  for (let round = 0; round < 10; round++) {
    const highA = multiplyHigh(MULTIPLIER_A, c0);
    const lowA = Math.imul(MULTIPLIER_A, c0) >>> 0;
    const highB = multiplyHigh(MULTIPLIER_B, c2);
    const lowB = Math.imul(MULTIPLIER_B, c2) >>> 0;
    c0 = (highB ^ c1 ^ k0) >>> 0;
    c1 = lowB;
    c2 = (highA ^ c3 ^ k1) >>> 0;
    c3 = lowA;
    k0 = (k0 + WEYL_A) >>> 0;
    k1 = (k1 + WEYL_B) >>> 0;
  }
  out[at] = c0;
  out[at + 1] = c1;
  out[at + 2] = c2;
  out[at + 3] = c3;
}

/** カウンタを `blocks` だけ進めた状態。 */
export function skip(state: PhiloxState, blocks: number): PhiloxState {
  const [c0, c1, c2, c3] = state.counter;
  const low = c0 + (blocks % 2 ** 32);
  const next = c1 + Math.floor(blocks / 2 ** 32) + Math.floor(low / 2 ** 32);
  const third = c2 + Math.floor(next / 2 ** 32);
  const fourth = c3 + Math.floor(third / 2 ** 32);
  return { counter: [low >>> 0, next >>> 0, third >>> 0, fourth >>> 0], key: state.key };
}

/** 状態の列から 1 語ずつ取り出す。 */
export class PhiloxStream {
  readonly #block = new Uint32Array(4);
  #used = 4;
  #state: PhiloxState;

  constructor(state: PhiloxState) {
    this.#state = state;
  }

  next(): number {
    if (this.#used === 4) {
      philoxBlock(this.#state, this.#block);
      this.#state = skip(this.#state, 1);
      this.#used = 0;
    }
    return this.#block[this.#used++]!;
  }
}
