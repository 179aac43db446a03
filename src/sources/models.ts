import type { ServableHandle } from "../core/servable_handle.ts";
import type { ServableId } from "../core/servable_id.ts";
import type { ServableState } from "../core/servable_state.ts";
import type { ModelServerConfig } from "./model_config.ts";

/** 客によるモデルの指し方。版とラベルは高々一方。どちらも無ければ提供中で最大の版。 */
export interface ModelSpec {
  readonly name: string;
  readonly version?: bigint;
  readonly label?: string;
}

/** 提供中のモデルすべて。service が core と sources について知るのはこの面だけ。 */
export interface Models<S> {
  /**
   * 同期で借りる。`using` で受け、1 回の呼び出しの間だけ持つ。
   *
   * @throws INVALID_ARGUMENT `ModelSpec has no name specified.`、`Unrecognized servable version label: …`
   * @throws UNAVAILABLE `Model labels does not init yet.…`
   * @throws NOT_FOUND `Servable not found for request: …`
   */
  acquire(spec: ModelSpec): ServableHandle<S>;
  /**
   * これまでに見たすべての版(終わったものも)の状態。版の降順。
   *
   * @throws NOT_FOUND `Could not find version … of model …`、`Could not find any versions of model …`
   */
  statuses(name: string, version?: bigint): readonly ServableState[];
  /** 今の設定にあるモデルの名前。設定の順。 */
  list(): readonly string[];
  /** 今借りられる版のすべて。 */
  available(): readonly ServableId[];
  /**
   * 設定を丸ごと置き換え、新しい名前のモデルが提供できるまで待つ。並行する呼び出しは順に適用する。
   *
   * @throws 検査の失敗(INVALID_ARGUMENT, FAILED_PRECONDITION)、UNKNOWN `… model(s) did not become available: …`
   * @throws ABORTED 待っている間に、後の設定がそのモデルを外した。
   */
  reloadConfig(config: ModelServerConfig): Promise<void>;
  /** どれかの版の状態が変わるたびに呼ばれる。戻り値で解除する。 */
  onStateChange(listener: (state: ServableState) => void): () => void;
}
