import { create, type DescField, isFieldSet } from "@bufbuild/protobuf";
import { unpackAny } from "./base/any.ts";
import type { Host } from "./base/host.ts";
import { invalidArgument } from "./base/status.ts";
import { readTextProto } from "./config_files.ts";
import { ConfigProtoSchema } from "./gen/tensorflow/core/protobuf/config_pb.ts";
import {
  type PlatformConfig,
  PlatformConfigMapSchema,
} from "./gen/tensorflow_serving/config/platform_config_pb.ts";
import { SavedModelBundleSourceAdapterConfigSchema } from "./gen/tensorflow_serving/servables/tensorflow/saved_model_bundle_source_adapter_pb.ts";
import {
  type BatchingParameters,
  BatchingParametersSchema,
  type SessionBundleConfig,
  SessionBundleConfigSchema,
} from "./gen/tensorflow_serving/servables/tensorflow/session_bundle_config_pb.ts";
import type { ServerOptions } from "./options.ts";
import type { Storage } from "./savedmodel/storage.ts";
import { TENSORFLOW_PLATFORM } from "./sources/model_config.ts";

/** モデルの種類 1 つの、版の開き方と走らせ方。 */
export interface PlatformSettings {
  /** 提供する MetaGraph の札。空にはならない。 */
  readonly tags: readonly string[];
  /** 無ければ、待ち行列を使わない。 */
  readonly batching: BatchingParameters | undefined;
  /** 版のディレクトリの batching_params.pbtxt を読む。 */
  readonly perModelBatching: boolean;
  readonly warmup: boolean;
  /** 0 以下は 1 回。 */
  readonly numRequestIterations: number;
}

const DEFAULT_TAGS = ["serve"];

/** この中身だけが、ここで意味を持つ。 */
const meaningful: ReadonlySet<string> = new Set([
  "batching_parameters",
  "saved_model_tags",
  "enable_model_warmup",
  "model_warmup_options",
  "enable_per_model_batching_params",
  // 使わない項目はもともと持たない。
  "remove_unused_fields_from_bundle_metagraph",
]);
/** `--platform_config_file` があるときに効かなくなる旗と、その既定値。 */
const replaced = [
  ["enable_batching", "enableBatching", false],
  ["enable_per_model_batching_parameters", "enablePerModelBatchingParameters", false],
  ["batching_parameters_file", "batchingParametersFile", ""],
  ["saved_model_tags", "savedModelTags", "serve"],
  ["enable_model_warmup", "enableModelWarmup", true],
  ["num_request_iterations_for_warmup", "numRequestIterationsForWarmup", 0],
  ["tensorflow_session_config_file", "tensorflowSessionConfigFile", ""],
] as const;

/**
 * モデルの種類の名前 → 設定。`--platform_config_file` があればそれだけから、無ければ旗から作る。
 *
 * @throws NOT_FOUND, INVALID_ARGUMENT 設定ファイルの誤り、合わない旗の組。
 * @see tensorflow_serving/model_servers/server.cc BuildAndStart
 */
export async function readPlatforms(
  host: Host,
  storage: Pick<Storage, "read">,
  options: ServerOptions,
): Promise<ReadonlyMap<string, PlatformSettings>> {
  if (options.platformConfigFile === "") {
    return new Map([[TENSORFLOW_PLATFORM, await settingsOfFlags(host, storage, options)]]);
  }
  for (const [flag, name, value] of replaced) {
    if (options[name] !== value) host.log.warn(`flag --${flag} has no effect beside --platform_config_file`);
  }
  const { platformConfigs } = await readTextProto(
    host,
    storage,
    PlatformConfigMapSchema,
    options.platformConfigFile,
  );
  return new Map(
    Object.entries(platformConfigs).map(([platform, config]) => [
      platform,
      settingsOfBundle(host, platform, bundleConfigOf(config)),
    ]),
  );
}

async function settingsOfFlags(
  host: Host,
  storage: Pick<Storage, "read">,
  options: ServerOptions,
): Promise<PlatformSettings> {
  checkFlags(options);
  const { batchingParametersFile, tensorflowSessionConfigFile } = options;
  let batching: BatchingParameters | undefined;
  if (options.enableBatching) {
    batching =
      batchingParametersFile === ""
        ? create(BatchingParametersSchema)
        : await readTextProto(host, storage, BatchingParametersSchema, batchingParametersFile);
  }
  if (tensorflowSessionConfigFile !== "") {
    await readTextProto(host, storage, ConfigProtoSchema, tensorflowSessionConfigFile);
  }
  return {
    tags: tagsOr(options.savedModelTags.split(",").filter((tag) => tag !== "")),
    batching,
    perModelBatching: options.enablePerModelBatchingParameters,
    warmup: options.enableModelWarmup,
    numRequestIterations: options.numRequestIterationsForWarmup,
  };
}

/** 矛盾する旗の組。設定ファイルがあれば、どれも見られない。 */
function checkFlags(options: ServerOptions): void {
  if (options.batchingParametersFile !== "" && !options.enableBatching) {
    throw invalidArgument(
      "server_options.batching_parameters_file is set without setting server_options.enable_batching to true.",
    );
  }
  const { tensorflowSessionParallelism, tensorflowIntraOpParallelism, tensorflowInterOpParallelism } =
    options;
  if (
    tensorflowSessionParallelism > 0 &&
    tensorflowIntraOpParallelism > 0 &&
    tensorflowInterOpParallelism > 0
  ) {
    throw invalidArgument(
      "Either configure server_options.tensorflow_session_parallelism or " +
        "(server_options.tensorflow_intra_op_parallelism, server_options.tensorflow_inter_op_parallelism) separately. " +
        "You cannot configure all.",
    );
  }
}

/** @see tensorflow_serving/util/class_registration.h CreateFromAny */
function bundleConfigOf({ sourceAdapterConfig: any }: PlatformConfig): SessionBundleConfig {
  const typeUrl = any?.typeUrl ?? "";
  if (any === undefined || !/\/[^/]+$/.test(typeUrl)) {
    throw invalidArgument(`Supplied config's type_url could not be parsed: ${typeUrl}`);
  }
  const adapter = unpackAny(any, SavedModelBundleSourceAdapterConfigSchema);
  if (adapter === undefined) {
    throw invalidArgument(
      `Couldn't find factory for config proto message type ${typeUrl.slice(typeUrl.lastIndexOf("/") + 1)}`,
    );
  }
  return adapter.legacyConfig ?? create(SessionBundleConfigSchema);
}

function settingsOfBundle(host: Host, platform: string, config: SessionBundleConfig): PlatformSettings {
  const isSet = (field: DescField): boolean => isFieldSet(config, field);
  for (const field of SessionBundleConfigSchema.fields.filter(isSet)) {
    if (!meaningful.has(field.name)) {
      host.log.warn(`legacy_config.${field.name} of platform ${platform} has no effect`);
    }
  }
  return {
    tags: tagsOr(config.savedModelTags),
    batching: config.batchingParameters,
    perModelBatching: config.enablePerModelBatchingParams,
    warmup: config.enableModelWarmup,
    numRequestIterations: config.modelWarmupOptions?.numRequestIterations ?? 0,
  };
}

function tagsOr(tags: readonly string[]): readonly string[] {
  return tags.length === 0 ? DEFAULT_TAGS : tags;
}
