/** 補完が何を並べるか。 */
export type Completes = "file" | "directory";

/** 副コマンドの旗の 1 行。解析、`--help`、補完、docs/cli.md はすべてここから作る。 */
export interface CommandFlag {
  readonly type: "string" | "boolean";
  /** 旗も環境変数も無いときの値。 */
  readonly default?: string;
  /** 旗が無いときに見る環境変数。空なら無いのと同じ。 */
  readonly env?: string;
  /** 値の書き方(`URL`, `N`, `FILE`)。 */
  readonly hint?: string;
  readonly help: string;
  readonly choices?: readonly string[];
  readonly completes?: Completes;
}

export type CommandFlags = Readonly<Record<string, CommandFlag>>;

/** コマンド行とその説明。 */
export type Example = readonly [line: string, meaning: string];

/** 副コマンド。 */
export interface Command {
  readonly name: string;
  /** 一覧に出る 1 行。 */
  readonly summary: string;
  /** 旗のほかの引数の書き方。 */
  readonly synopsis: string;
  readonly examples: readonly Example[];
  /** 例と旗だけでは分からないこと。 */
  readonly notes?: string;
  readonly flags: CommandFlags;
  /** 旗のほかの引数に補完が並べるもの。 */
  readonly completes?: Completes | readonly string[];
  /** 0(成功)と 2(使い方の誤り)のほかの終了コードと、0 の意味。 */
  readonly exitCodes: readonly (readonly [code: number, meaning: string])[];
  /** @returns 終了コード。 */
  readonly run: (args: readonly string[]) => Promise<number>;
}

/** 使い方の誤り。終了コード 2 になる。 */
export class UsageError extends Error {
  override readonly name = "UsageError";
}
