/**
 * 1 つの版の読み込みと解放。`load()` を呼ばれるまでは何も持たず、作るだけなら安い。
 *
 * @see tensorflow_serving/core/loader.h
 */
export interface Loader<S> {
  /**
   * 読み込む。失敗したらその途中のものを自分で片付けて投げる。後でもう一度呼ばれうる(再試行)。
   * ほかの要求を止めないこと。長い同期処理は区切って譲る。
   *
   * @param signal 版が要らなくなると立つ。早めに投げてよい(無視してもよい)。
   */
  load(signal: AbortSignal): Promise<S>;
  /** `load()` が返したものを解放する。借り手がいなくなった後に一度だけ呼ばれる。 */
  unload(servable: S): void | Promise<void>;
}
