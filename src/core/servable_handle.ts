import type { ServableId, ServableRequest } from "./servable_id.ts";

/**
 * 数えられた借り物。`using` で受け、1 回の呼び出しの間だけ持つ。
 * 最後の 1 つが返るまで版は降ろされない。
 */
export interface ServableHandle<S> extends Disposable {
  readonly id: ServableId;
  readonly servable: S;
}

/** 要求から借り物への入口。manager が実装し、service はこれだけを見る。 */
export interface ServableProvider<S> {
  /**
   * 同期で借りる。
   * @throws NOT_FOUND `Servable not found for request: …`
   */
  acquire(request: ServableRequest): ServableHandle<S>;
}
