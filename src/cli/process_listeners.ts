const events = ["uncaughtException", "unhandledRejection"] as const;

/**
 * `run` の間に加わった「捕まらなかった失敗」の受け手を外す。
 *
 * tfjs-wasm の殻(emscripten)は、受け取った失敗を投げ直してプロセスを終わらせる受け手を登録し、外さない。
 * 残すと、どこかの 1 件の失敗がサーバー全体を止める。
 */
export async function withoutNewListeners<T>(run: () => Promise<T>): Promise<T> {
  const before = new Map(
    events.map((event) => [event, new Set<unknown>(process.listeners(event as "exit"))]),
  );
  try {
    return await run();
  } finally {
    for (const event of events) {
      for (const listener of process.listeners(event as "exit")) {
        if (!before.get(event)!.has(listener)) process.removeListener(event, listener);
      }
    }
  }
}
