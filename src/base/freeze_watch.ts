import type { Clock } from "./clock.ts";

/** 生きていることを確かめる間隔。ミリ秒。 */
const BEAT_MS = 500;
/** 覚えておく凍結の数。古いものを待っている要求はもう無い。 */
const MAX_FREEZES = 16;

interface Freeze {
  readonly endMs: number;
  readonly lostMs: number;
}

/**
 * プロセスが凍っていた時間(SIGSTOP、仮想機械の一時停止、CPU を貰えなかった間)を見つける。
 *
 * 鼓動が遅れ、その間に CPU 時間も進んでいなければ、混んでいたのではなく凍っていた。凍っている間に
 * 「待ち過ぎた」要求は過負荷の印ではないので、断る理由にしない。
 */
export class FreezeWatch {
  readonly #clock: Clock;
  readonly #cpuMs: () => number;
  #freezes: Freeze[] = [];
  #markMs: number;
  #markCpuMs: number;

  /** @param cpuMs このプロセスが使った CPU 時間。ミリ秒。 */
  constructor(clock: Clock, cpuMs: () => number) {
    this.#clock = clock;
    this.#cpuMs = cpuMs;
    this.#markMs = clock.monotonicMs();
    this.#markCpuMs = cpuMs();
    clock.after(BEAT_MS, this.#beat);
  }

  /** `sinceMs`(Clock.monotonicMs)からの時間のうち、凍っていた分。ミリ秒。 */
  frozenSince(sinceMs: number): number {
    // 目が覚めた直後は、鼓動より先に聞かれる。
    if (this.#clock.monotonicMs() - this.#markMs > 2 * BEAT_MS) this.#mark();
    let lost = 0;
    for (const { endMs, lostMs } of this.#freezes) if (endMs > sinceMs) lost += lostMs;
    return lost;
  }

  readonly #beat = (): void => {
    this.#mark();
    this.#clock.after(BEAT_MS, this.#beat);
  };

  #mark(): void {
    const nowMs = this.#clock.monotonicMs();
    const cpuMs = this.#cpuMs();
    const lostMs = nowMs - this.#markMs - BEAT_MS - (cpuMs - this.#markCpuMs);
    if (lostMs > BEAT_MS) this.#freezes = [...this.#freezes.slice(1 - MAX_FREEZES), { endMs: nowMs, lostMs }];
    this.#markMs = nowMs;
    this.#markCpuMs = cpuMs;
  }
}
