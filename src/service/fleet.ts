import type { FamilySnapshot } from "../base/metrics.ts";
import type { ServableState } from "../core/servable_state.ts";
import type { ModelServerConfig } from "../sources/model_config.ts";

/**
 * 同じ宛先を分け合うすべてのプロセス。どのプロセスに届いた問い合わせにも、全体としての答えを返すための窓。
 * 推論は各プロセスのなかで閉じていて、ここを通らない。
 */
export interface Fleet {
  /**
   * 全プロセスで見た版の状態。AVAILABLE は、どのプロセスに届いた要求にも答えられることを約束する。
   *
   * @throws どのプロセスにも無いとき、その失敗(NOT_FOUND など)。
   */
  statuses(name: string, version: bigint | undefined): Promise<readonly ServableState[]>;
  /** 全プロセスの設定を置き換える。 @throws どれか 1 つの失敗。 */
  reloadConfig(config: ModelServerConfig): Promise<void>;
  /** 全プロセスの指標を 1 つにまとめたもの。 */
  metrics(): Promise<readonly FamilySnapshot[]>;
}
