/** 種から決まる乱数(mulberry32)。同じ種は必ず同じ列になる。 */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** 0 以上 2^32 未満の整数。 */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }

  /** 0 以上 `limit` 未満の整数。 */
  below(limit: number): number {
    return limit <= 0 ? 0 : this.next() % limit;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }
}

/** 2 つの数から、互いに遠い種を作る。 */
export function mixSeeds(a: number, b: number): number {
  return new Random(a ^ Math.imul(b + 1, 0x9e3779b1)).next();
}
