/** どの版を望むか。@see tensorflow_serving/config/file_system_storage_path_source.proto ServableVersionPolicy */
export type ServableVersionPolicy =
  | { readonly kind: "latest"; readonly numVersions: number }
  | { readonly kind: "all" }
  | { readonly kind: "specific"; readonly versions: readonly bigint[] };

/** 提供するモデル 1 つの設定。検査の前の、書かれたままの値。 */
export interface ModelConfig {
  readonly name: string;
  readonly basePath: string;
  /** 廃止された数の形の指定。0 は無し、1 は TENSORFLOW。 */
  readonly modelType: number;
  readonly modelPlatform: string;
  readonly versionPolicy: ServableVersionPolicy;
  /** ラベル → 版。 */
  readonly versionLabels: ReadonlyMap<string, bigint>;
  readonly hasLoggingConfig: boolean;
}

/** サーバー全体の設定。`none` は「まだ何も指定されていない」。 */
export type ModelServerConfig =
  | { readonly kind: "none" }
  | { readonly kind: "list"; readonly models: readonly ModelConfig[] }
  | { readonly kind: "custom" };
