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
  /** `delayMs` 後に一度だけ呼ぶ。プロセスの終了は妨げない。 */
  after(delayMs: number, callback: () => void): Cancel;
  /** イベントループの今の回の終わり(届いている入出力をさばいた後)に一度だけ呼ぶ。取り消せない。 */
  endOfTurn(callback: () => void): void;
}

/** 実時間の時計。 */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, callback) {
    // setTimeout は 2^31-1 ms を超えると即時発火するので、そこで頭打ちにする。
    const timer = setTimeout(callback, Math.min(delayMs, 0x7fffffff));
    timer.unref();
    return () => clearTimeout(timer);
  },
  endOfTurn(callback) {
    setImmediate(callback);
  },
};
