/** 予約した処理を取り消す関数。二度呼んでも害はない。 */
export type Cancel = () => void;

/**
 * 時刻とタイマーの唯一の入口。試験では手で進める時計に差し替える。
 */
export interface Clock {
  /** 壁時計。UNIX 時刻のミリ秒。後戻りしうるので経過の計測には使わない。 */
  now(): number;
  /** 単調時計。単位はミリ秒(小数あり)、起点は任意。 */
  monotonicMs(): number;
  /** `sinceMs`({@link monotonicMs} の値)から今までのうち、プロセスが凍っていた時間。知る術が無ければ 0。 */
  frozenSince(sinceMs: number): number;
  /** `delayMs` 後に一度だけ呼ぶ。プロセスの終了は妨げない。 */
  after(delayMs: number, callback: () => void): Cancel;
  /**
   * イベントループの今の回の終わり(届いている入出力をさばいた後)に一度だけ呼ぶ。取り消せない。
   * 終わりの処理の中で頼まれたものも、一段だけは同じ回のうちに続けて呼ぶ(その先は次の回)。
   */
  endOfTurn(callback: () => void): void;
}

/** 今の回の終わりに呼ぶもの。 */
let turn: (() => void)[] = [];
/** 終わりの処理の中にいるか。 */
let isEnding = false;

/**
 * 入口がまとめて読んだ要求が、その場でバッチに加わり、同じ回のうちに走れるように二段で呼ぶ。
 * 二段で止めるのは、終わりの処理が自分を頼み続けても入出力が飢えないようにするため。
 */
function endTurn(): void {
  isEnding = true;
  try {
    for (let level = 0; level < 2; level++) callAll();
  } finally {
    isEnding = false;
    if (turn.length > 0) setImmediate(endTurn);
  }
}

function callAll(): void {
  const callbacks = turn;
  turn = [];
  let at = 0;
  try {
    while (at < callbacks.length) callbacks[at++]!();
  } finally {
    // 1 つが投げても、残りは次の回に呼ぶ。
    if (at < callbacks.length) turn.unshift(...callbacks.slice(at));
  }
}

/** 実時間の時計。 */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  frozenSince: () => 0,
  after(delayMs, callback) {
    // setTimeout は 2^31-1 ms を超えると即時発火するので、そこで頭打ちにする。
    const timer = setTimeout(callback, Math.min(delayMs, 0x7fffffff));
    timer.unref();
    return () => clearTimeout(timer);
  },
  endOfTurn(callback) {
    if (turn.push(callback) === 1 && !isEnding) setImmediate(endTurn);
  },
};

/** `sinceMs` から、凍っていた間を除いて `limitMs` より長く経ったか。 */
export function hasWaited(
  clock: Clock,
  sinceMs: number,
  limitMs: number,
  nowMs = clock.monotonicMs(),
): boolean {
  const waitedMs = nowMs - sinceMs;
  return waitedMs > limitMs && waitedMs - clock.frozenSince(sinceMs) > limitMs;
}

/**
 * プロセスを終わらせない。時計のタイマーは終了を妨げず、入口も開くまでは何も待っていないので、
 * これが無いと、モデルの置き場所や読み込みのやり直しを待つ間に黙って(終了コード 0 で)終わる。
 */
export function holdProcess(): void {
  setInterval(() => {}, 0x7fffffff);
}
