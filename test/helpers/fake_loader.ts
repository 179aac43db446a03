import type { Loader } from "../../src/core/loader.ts";

/** 読み込まれたことになっているもの。 */
export interface FakeServable {
  readonly loader: FakeLoader;
}

/**
 * 言われたとおりに成功し、失敗し、待つローダー。
 */
export class FakeLoader implements Loader<FakeServable> {
  loads = 0;
  unloads = 0;
  signal: AbortSignal | undefined;
  /** 残りの読み込みで投げるもの。先頭から使う。尽きたら成功する。 */
  readonly #failures: unknown[];
  #gate: Promise<void> | undefined;
  #open: () => void = () => {};
  #unloadGate: Promise<void> | undefined;

  constructor(failures: readonly unknown[] = []) {
    this.#failures = [...failures];
  }

  /** いつまでも失敗し続ける。 */
  static failing(error: unknown): FakeLoader {
    return new FakeLoader(Array.from({ length: 100 }, () => error));
  }

  /** `release()` まで読み込みを終えない。 */
  held(): this {
    this.#gate = new Promise((resolve) => {
      this.#open = resolve;
    });
    return this;
  }

  release(): void {
    this.#open();
  }

  /** 解放が `gate` まで終わらない。 */
  unloadsAfter(gate: Promise<void>): this {
    this.#unloadGate = gate;
    return this;
  }

  async load(signal: AbortSignal): Promise<FakeServable> {
    this.loads++;
    this.signal = signal;
    await this.#gate;
    if (this.#failures.length > 0) throw this.#failures.shift();
    return { loader: this };
  }

  async unload(): Promise<void> {
    await this.#unloadGate;
    this.unloads++;
  }
}
