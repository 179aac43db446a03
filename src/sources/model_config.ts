import type { Host } from "../base/host.ts";
import { failedPrecondition, invalidArgument } from "../base/status.ts";
import type { FileSystemStoragePathSourceConfig_ServableVersionPolicy as PolicyProto } from "../gen/tensorflow_serving/config/file_system_storage_path_source_pb.ts";
import type { ModelServerConfig as ModelServerConfigProto } from "../gen/tensorflow_serving/config/model_server_config_pb.ts";

/** どの版を望むか。@see tensorflow_serving/config/file_system_storage_path_source.proto ServableVersionPolicy */
export type ServableVersionPolicy =
  | { readonly kind: "latest"; readonly numVersions: number }
  | { readonly kind: "all" }
  | { readonly kind: "specific"; readonly versions: readonly bigint[] };

/** 要求の記録のしかた。 @see tensorflow_serving/config/logging_config.proto */
export interface ModelLogging {
  /** `LogCollectorConfig.type` */
  readonly collector: string;
  readonly filenamePrefix: string;
  /** 0 から 1。 */
  readonly samplingRate: number;
}

/** 提供するモデル 1 つの設定。検査の前の、書かれたままの値。 */
export interface ModelConfig {
  readonly name: string;
  readonly basePath: string;
  /** 廃止された、数による種類の指定。0 は無し、1 は TENSORFLOW。 */
  readonly modelType: number;
  readonly modelPlatform: string;
  readonly versionPolicy: ServableVersionPolicy;
  /** ラベル → 版。 */
  readonly versionLabels: ReadonlyMap<string, bigint>;
  /** 要求の記録。無ければ残さない。 */
  readonly logging?: ModelLogging;
}

/** サーバー全体の設定。`none` は「まだ何も指定されていない」。 */
export type ModelServerConfig =
  | { readonly kind: "none" }
  | { readonly kind: "list"; readonly models: readonly ModelConfig[] }
  | { readonly kind: "custom" };

/** SavedModel の種類名。@see tensorflow_serving/model_servers/model_platform_types.h */
export const TENSORFLOW_PLATFORM = "tensorflow";

/** 旗で指定した 1 つのモデル。 */
export function singleModelConfig(host: Host, name: string, basePath: string): ModelServerConfig {
  host.log.info(
    `Building single TensorFlow model file config:  model_name: ${name} model_base_path: ${basePath}`,
  );
  return {
    kind: "list",
    models: [
      {
        name,
        basePath,
        modelType: 0,
        modelPlatform: TENSORFLOW_PLATFORM,
        versionPolicy: { kind: "latest", numVersions: 1 },
        versionLabels: new Map(),
      },
    ],
  };
}

/** メッセージ(設定ファイルか再設定の要求)から。 */
export function fromModelServerConfigProto({ config }: ModelServerConfigProto): ModelServerConfig {
  if (config.case === undefined) return { kind: "none" };
  if (config.case === "customModelConfig") return { kind: "custom" };
  return {
    kind: "list",
    models: config.value.config.map((model) => ({
      name: model.name,
      basePath: model.basePath,
      modelType: model.modelType,
      modelPlatform: model.modelPlatform,
      versionPolicy: toVersionPolicy(model.modelVersionPolicy),
      versionLabels: new Map(Object.entries(model.versionLabels)),
      ...(model.loggingConfig === undefined
        ? {}
        : {
            logging: {
              collector: model.loggingConfig.logCollectorConfig?.type ?? "",
              filenamePrefix: model.loggingConfig.logCollectorConfig?.filenamePrefix ?? "",
              samplingRate: model.loggingConfig.samplingConfig?.samplingRate ?? 0,
            },
          }),
    })),
  };
}

function toVersionPolicy(proto: PolicyProto | undefined): ServableVersionPolicy {
  const choice = proto?.policyChoice;
  switch (choice?.case) {
    case "all":
      return { kind: "all" };
    case "specific":
      return { kind: "specific", versions: choice.value.versions };
    default:
      return { kind: "latest", numVersions: Math.max(1, choice?.value?.numVersions ?? 1) };
  }
}

/** 種類名。@throws INVALID_ARGUMENT 両方ある、どちらも無い、知らない番号。 */
export function platformOf(host: Host, { name, modelType, modelPlatform }: ModelConfig): string {
  if (modelType === 0) {
    if (modelPlatform !== "") return modelPlatform;
    throw invalidArgument(
      "Illegal setting neither ModelServerConfig::model_type (deprecated) nor " +
        `ModelServerConfig::model_platform, model name is ${name}`,
    );
  }
  host.log.warn(
    "Deprecated ModelServerConfig::model_type field used. Prefer ModelServerConfig::model_platform.",
  );
  if (modelPlatform !== "") {
    throw invalidArgument(
      "Illegal setting both ModelServerConfig::model_type (deprecated) and " +
        `ModelServerConfig::model_platform, model name is ${name}`,
    );
  }
  if (modelType === 1) return TENSORFLOW_PLATFORM;
  throw invalidArgument(`ModelServerConfig::model_type choice ${modelType} not supported.`);
}

/**
 * 今の設定から次の設定に移ってよいか。
 *
 * @throws FAILED_PRECONDITION 一覧どうしでない移り変わり。
 * @throws INVALID_ARGUMENT 名前の重複、相対パス、種類の変更。
 * @see tensorflow_serving/model_servers/server_core.cc ReloadConfig
 */
export function checkTransition(host: Host, current: ModelServerConfig, next: ModelServerConfig): void {
  const bothLists = current.kind === "list" && next.kind === "list";
  if (current.kind !== "none" && !bothLists && !isSameConfig(current, next)) {
    const text =
      "Cannot transition to requested config. It is only legal to transition from one ModelConfigList to another.";
    host.log.error(text);
    throw failedPrecondition(text);
  }
  if (next.kind !== "list") return;
  checkModels(next.models);
  if (current.kind === "list") checkPlatformsKept(host, current.models, next.models);
}

function checkModels(models: readonly ModelConfig[]): void {
  const names = new Set<string>();
  for (const { name } of models) {
    if (names.has(name)) throw invalidArgument(`Illegal to list model ${name} multiple times in config list`);
    names.add(name);
  }
  for (const { name, basePath } of models) {
    if (isRelative(basePath)) {
      throw invalidArgument(
        `Expected model ${name} to have an absolute path or URI; got base_path()=${basePath}`,
      );
    }
  }
}

function checkPlatformsKept(host: Host, current: readonly ModelConfig[], next: readonly ModelConfig[]): void {
  const platforms = new Map(current.map((model) => [model.name, platformOf(host, model)]));
  for (const model of next) {
    const was = platforms.get(model.name);
    if (was === undefined) continue;
    const requested = platformOf(host, model);
    if (requested !== was) {
      throw invalidArgument(
        `Illegal to change a model's platform. For model ${model.name} platform was ${was} ` +
          `and new platform requested is ${requested}`,
      );
    }
  }
}

/** 絶対パスでも `scheme://…` でもない。@see tensorflow/core/platform/path.cc ParseURI */
function isRelative(path: string): boolean {
  return !/^(\/|[a-zA-Z][0-9a-zA-Z.]*:\/\/)/.test(path);
}

/** 同じ内容か。モデルの並び順も含めて比べる。 */
export function isSameConfig(a: ModelServerConfig, b: ModelServerConfig): boolean {
  return canonical(a) === canonical(b);
}

function canonical(config: ModelServerConfig): string {
  return JSON.stringify(config, (_, value: unknown) => {
    if (typeof value === "bigint") return value.toString();
    if (value instanceof Map) return [...value].sort(([a], [b]) => (a < b ? -1 : 1));
    return value;
  });
}
