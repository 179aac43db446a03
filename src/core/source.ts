import type { StatusError } from "../base/status.ts";

/** 希望する 1 つの版。源がその版の準備に失敗したときは、中身の代わりにその理由を渡す。 */
export interface AspiredVersion<T> {
  readonly version: bigint;
  readonly data: T | StatusError;
}

/**
 * 「このストリームで今あるべき版はこれがすべて」という知らせ。載っていない版は降ろされる。
 * 空なら全部降ろす。同じ知らせを何度送ってもよい。
 *
 * @see tensorflow_serving/core/source.h AspiredVersionsCallback
 */
export type Aspire<T> = (name: string, versions: readonly AspiredVersion<T>[]) => void;
