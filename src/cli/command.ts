/** 副コマンド。 */
export interface Command {
  readonly name: string;
  /** 一覧に出る 1 行。 */
  readonly summary: string;
  /** 例と旗。 */
  readonly help: string;
  /** @returns 終了コード。 */
  readonly run: (args: readonly string[]) => Promise<number>;
}

/** 使い方の誤り。終了コード 2 になる。 */
export class UsageError extends Error {
  override readonly name = "UsageError";
}
