import { invalidArgument } from "./base/status.ts";

type Kind = "bool" | "int32" | "int64" | "float" | "string";

interface Row<F extends string, K extends Kind, D> {
  readonly flag: F;
  readonly kind: K;
  readonly default: D;
  readonly help: string;
  /** 旗が無いときに見る環境変数。 */
  readonly env?: string;
  /** 受け取るだけの旗。警告に出す理由(英語)。 */
  readonly ignored?: string;
  /** 数の下限と上限(両端を含む)。 */
  readonly range?: readonly [number, number];
  /** 文字列が取りうる値。 */
  readonly choices?: readonly string[];
}

const bool = <F extends string>(
  flag: F,
  value: boolean,
  help: string,
  extra: object = {},
): Row<F, "bool", boolean> => ({
  flag,
  kind: "bool",
  default: value,
  help,
  ...extra,
});
const number =
  (kind: "int32" | "int64" | "float") =>
  <F extends string>(
    flag: F,
    value: number,
    help: string,
    extra: object = {},
  ): Row<F, typeof kind, number> => ({
    flag,
    kind,
    default: value,
    help,
    ...extra,
  });
const int32 = number("int32");
const int64 = number("int64");
const float = number("float");
const text = <F extends string>(
  flag: F,
  value: string,
  help: string,
  extra: object = {},
): Row<F, "string", string> => ({ flag, kind: "string", default: value, help, ...extra });

const port = { range: [0, 65535] as const };
const atLeast = (low: number) => ({ range: [low, 2 ** 31 - 1] as const });
const ignored = (why: string) => ({ ignored: why });
const RUNTIME = "this server has its own runtime, not a TensorFlow session";
const GPU = "this server computes on the CPU";
const TFLITE = "TensorFlow Lite models are not supported";

/**
 * 旗の一覧。解析、`--help`、検査、文書の表はすべてここから作る。名前と既定値は TF Serving のもので、
 * 違うのは埋め込みモデルのための 4 行(rest_api_port, model_name, model_base_path と健全性サービス)だけ。
 *
 * @see tensorflow_serving/model_servers/main.cc
 */
export const optionRows = [
  int32("port", 8500, "TCP port for gRPC; 0 turns it off", { env: "PORT", ...port }),
  text("grpc_socket_path", "", "UNIX socket for gRPC, beside or instead of the port"),
  int32("rest_api_port", 8501, "TCP port for REST; 0 turns it off", { env: "REST_API_PORT", ...port }),
  int32(
    "rest_api_num_threads",
    0,
    "REST worker threads",
    ignored("REST runs on one event loop; see --processes"),
  ),
  int32("rest_api_timeout_in_ms", 30000, "Time limit of one REST inference; 0 or less means none"),
  bool("rest_api_enable_cors_support", false, "Send CORS headers on REST replies"),
  bool("enable_batching", false, "Batch with TensorFlow Serving's rules instead of per event-loop turn"),
  text("batching_parameters_file", "", "Text-format BatchingParameters; needs --enable_batching"),
  bool("enable_per_model_batching_parameters", false, "Read batching_params.pbtxt beside each model version"),
  bool(
    "allow_version_labels_for_unavailable_models",
    false,
    "Let new labels point at versions that are not loaded",
  ),
  text(
    "model_config_file",
    "",
    "Text-format ModelServerConfig; overrides --model_name and --model_base_path",
  ),
  text("model_name", "iris", "Name of the single model", { env: "MODEL_NAME" }),
  text("model_base_path", "/models/iris", "Directory with numbered version directories", {
    env: "MODEL_BASE_PATH",
  }),
  int32(
    "model_config_file_poll_wait_seconds",
    0,
    "Re-read --model_config_file this often; 0 or less means never",
  ),
  int32(
    "file_system_poll_wait_seconds",
    1,
    "Look for new versions this often; 0 means once, less than 0 never",
  ),
  int32("num_load_threads", 0, "Versions loaded at the same time after start; 0 means one after another"),
  int32("num_unload_threads", 0, "Versions unloaded at the same time; 0 means one after another"),
  int32("max_num_load_retries", 5, "Retries of a failed load"),
  int64("load_retry_interval_micros", 60_000_000, "Pause before each load retry; less than 0 means none"),
  bool("flush_filesystem_caches", true, "", ignored("the page cache is left to the kernel")),
  int64("tensorflow_session_parallelism", 0, "", ignored(RUNTIME)),
  int64("tensorflow_intra_op_parallelism", 0, "", ignored(RUNTIME)),
  int64("tensorflow_inter_op_parallelism", 0, "", ignored(RUNTIME)),
  text(
    "tensorflow_session_config_file",
    "",
    "Text-format ConfigProto; checked, then ignored",
    ignored(RUNTIME),
  ),
  text(
    "platform_config_file",
    "",
    "Text-format PlatformConfigMap; replaces the flags for batching, tags and warm-up",
  ),
  float("per_process_gpu_memory_fraction", 0, "", ignored(GPU)),
  text("saved_model_tags", "serve", "Comma-separated tag set of the MetaGraph to serve"),
  bool("use_alts_credentials", false, "", ignored("Google ALTS exists only inside Google")),
  text("ssl_config_file", "", "Text-format SSLConfig with PEM texts; turns on TLS for gRPC"),
  text("grpc_channel_arguments", "", "Comma-separated key=value channel arguments"),
  int32("grpc_max_threads", 0, "", ignored("gRPC runs on one event loop; see --processes")),
  bool(
    "enable_model_warmup",
    true,
    "Replay assets.extra/tf_serving_warmup_requests before a version is served",
  ),
  int32("num_request_iterations_for_warmup", 0, "Times each warm-up record is replayed; 0 means once"),
  text("monitoring_config_file", "", "Text-format MonitoringConfig"),
  bool("version", false, "Print the version and exit"),
  bool("remove_unused_fields_from_bundle_metagraph", true, "", ignored(RUNTIME)),
  bool("prefer_tflite_model", false, "", ignored(TFLITE)),
  int32("num_tflite_pools", 0, "", ignored(TFLITE)),
  int32("num_tflite_interpreters_per_pool", 1, "", ignored(TFLITE)),
  bool(
    "enable_signature_method_name_check",
    false,
    "Refuse signatures whose method name does not fit the call",
  ),
  bool("xla_cpu_compilation_enabled", false, "", ignored(RUNTIME)),
  bool("xla_gpu_compilation_enabled", false, "", ignored(GPU)),
  bool("enable_profiler", true, "", ignored("there is no TensorFlow profiler to expose")),
  text("thread_pool_factory_config_file", "", "", ignored(RUNTIME)),
  text("mixed_precision", "", "", ignored(RUNTIME)),
  bool("skip_initialize_tpu", false, "", ignored(GPU)),
  bool("enable_grpc_healthcheck_service", true, "Serve grpc.health.v1.Health"),
  bool(
    "enable_serialization_as_tensor_content",
    false,
    "Answer gRPC with tensor_content instead of typed fields",
  ),
  int64("rest_api_max_body_bytes", 2 ** 30, "Largest REST request body; a larger one is answered with 413", {
    range: [1, 2 ** 40],
  }),
  int32(
    "rest_api_idle_timeout_seconds",
    120,
    "Close REST connections that stay silent this long; 0 means never",
    {
      range: [0, 255],
    },
  ),
  int32("rest_api_max_json_depth", 1000, "Deepest nesting of a JSON body; 0 means no limit", atLeast(0)),
  int64("max_tensor_elements", 2 ** 27, "Most tensor elements in the inputs of one request", atLeast(1)),
  int32(
    "max_in_flight_requests",
    4096,
    "Most inference requests at the same time; more are refused (429, RESOURCE_EXHAUSTED); 0 means no limit",
    atLeast(0),
  ),
  int32(
    "max_queue_delay_ms",
    2000,
    "Longest wait before an inference starts; older requests are refused (503, UNAVAILABLE); 0 means no limit",
    atLeast(0),
  ),
  int32("grpc_max_connections", 4096, "Most gRPC connections per address; 0 means no limit", atLeast(0)),
  int32(
    "grpc_handshake_timeout_ms",
    20_000,
    "Time for a new gRPC connection to shake hands and begin HTTP/2",
    atLeast(1),
  ),
  int32(
    "grpc_max_concurrent_streams",
    1024,
    "Most calls at the same time on one gRPC connection",
    atLeast(1),
  ),
  int32("grpc_max_header_bytes", 16384, "Largest header list of one gRPC call", atLeast(1024)),
  int32(
    "grpc_reset_burst",
    1000,
    "Calls a gRPC client may cancel in one go before it is cut off",
    atLeast(1),
  ),
  int32(
    "grpc_resets_per_second",
    200,
    "Calls a gRPC client may cancel per second, in the long run",
    atLeast(1),
  ),
  text(
    "rest_api_ssl_config_file",
    "",
    "Text-format SSLConfig with PEM texts; turns on TLS for REST (--ssl_config_file is for gRPC alone)",
  ),
  text("tls_cert_file", "", "PEM certificate chain; turns on TLS for both doors"),
  text("tls_key_file", "", "PEM key of --tls_cert_file"),
  text("tls_client_ca_file", "", "PEM roots; only clients with a certificate of theirs are let in"),
  text("api_key_file", "", "One bearer token per line; requests without one are refused, health excepted"),
  int32(
    "credentials_poll_wait_seconds",
    10,
    "Re-read certificates, keys and --api_key_file this often; 0 means never",
    atLeast(0),
  ),
  text(
    "model_roots",
    "",
    "Comma-separated directories; clients' HandleReloadConfigRequest may name base paths only under them; empty means anywhere",
  ),
  bool(
    "require_model_manifest",
    false,
    "Load a version only if its SHA256SUMS (or assets.extra/SHA256SUMS) lists and matches every file",
  ),
  bool("enable_page", true, "Show the page at / of the REST port"),
  int32("processes", 1, "Processes that share the ports (Linux); 0 means one for each core", {
    range: [0, 1024],
  }),
  text("log_format", "auto", "text, json, or auto (text on a terminal)", {
    choices: ["auto", "text", "json"],
  }),
  float("access_log_sample_rate", 0, "Share of requests that get a line in the log; 1 means all", {
    range: [0, 1],
  }),
  text("log_level", "info", "debug, info, warn, error or silent", {
    choices: ["debug", "info", "warn", "error", "silent"],
  }),
  int64("shutdown_grace_ms", 30_000, "How long calls in flight may take after SIGTERM", {
    range: [0, 86_400_000],
  }),
] as const;

type CamelCase<S extends string> = S extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : S;
type OptionRow = (typeof optionRows)[number];
type ValueOf<K extends Kind> = K extends "bool" ? boolean : K extends "string" ? string : number;

/** すべての設定。完全で不変。ほかのコードは旗も環境変数も読まない。 */
export type ServerOptions = { readonly [R in OptionRow as CamelCase<R["flag"]>]: ValueOf<R["kind"]> };

export type OptionSource = "flag" | "env" | "default";

export interface ParsedOptions {
  readonly options: ServerOptions;
  /** 既定でない値の、旗の名前 → 由来。 */
  readonly sources: ReadonlyMap<string, OptionSource>;
  /** 意味を持たない旗についての警告(1 旗 1 文)。 */
  readonly warnings: readonly string[];
  readonly help: boolean;
}

type AnyRow = Row<string, Kind, boolean | number | string>;
const rows: readonly AnyRow[] = optionRows;
const rowByFlag = new Map(rows.map((row) => [row.flag, row]));

function camelCase(flag: string): string {
  const words = flag.split("_");
  for (let i = 1; i < words.length; i++) words[i] = words[i]![0]!.toUpperCase() + words[i]!.slice(1);
  return words.join("");
}

function badValue(value: string, from: string): Error {
  return invalidArgument(`Couldn't interpret value ${value} for ${from}.`);
}

const integerRange = {
  int32: [-(2 ** 31), 2 ** 31 - 1],
  int64: [-Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
} as const;

function parseValue(row: AnyRow, value: string, from: string): boolean | number | string {
  switch (row.kind) {
    case "bool": {
      const word = value.toLowerCase();
      if (word === "true" || word === "1") return true;
      if (word === "false" || word === "0") return false;
      throw badValue(value, from);
    }
    case "string":
      if (row.choices !== undefined && !row.choices.includes(value)) throw badValue(value, from);
      return value;
    default: {
      const pattern =
        row.kind === "float" ? /^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$/ : /^\s*[+-]?\d+\s*$/;
      const parsed = Number(value);
      const [low, high] =
        row.range ?? (row.kind === "float" ? [-Infinity, Infinity] : integerRange[row.kind]);
      if (!pattern.test(value) || parsed < low || parsed > high) throw badValue(value, from);
      return parsed;
    }
  }
}

/** 編集距離(Levenshtein)。打ち間違いの候補を選ぶためだけに使う。 */
function distance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      current[j] = Math.min(
        previous[j]! + 1,
        current[j - 1]! + 1,
        previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1),
      );
    }
    previous = current;
  }
  return previous[b.length]!;
}

/** 最も近い名前。3 分の 1 以上が違うなら無し。 */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.ceil(word.length / 3)) + 1;
  for (const candidate of candidates) {
    const d = distance(word, candidate);
    if (d < bestDistance) {
      best = candidate;
      bestDistance = d;
    }
  }
  return best;
}

function unknownArgument(raw: string, name: string): Error {
  const near = nearest(name, rowByFlag.keys());
  return invalidArgument(`unknown argument: ${raw}${near === undefined ? "" : ` (did you mean --${near}?)`}`);
}

/**
 * 旗 > 環境変数 > 既定値 の順に重ねる。`--name=value`、`--name value`、真偽値の裸の `--name` を受ける。
 * 同じ旗は後のものが勝つ。
 *
 * @throws INVALID_ARGUMENT 知らない旗、余分な語、読めない値、範囲外。
 */
export function parseOptions(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): ParsedOptions {
  const given = new Map<string, string>();
  let help = false;
  for (let i = 0; i < argv.length && argv[i] !== "--"; i++) {
    const word = argv[i]!;
    const equals = word.indexOf("=");
    const name = word.slice(2, equals < 0 ? word.length : equals);
    if (word === "-h" || (word.startsWith("--") && name === "help")) {
      help = true;
      continue;
    }
    const row = word.startsWith("--") ? rowByFlag.get(name) : undefined;
    if (row === undefined) throw unknownArgument(word, word.startsWith("-") ? name : word);
    const next = argv[i + 1];
    if (equals >= 0) given.set(row.flag, word.slice(equals + 1));
    else if (row.kind === "bool" && !/^(true|false|0|1)$/i.test(next ?? "")) given.set(row.flag, "true");
    else if (next === undefined) throw invalidArgument(`flag --${row.flag} needs a value`);
    else {
      given.set(row.flag, next);
      i++;
    }
  }

  const values: Record<string, boolean | number | string> = {};
  const sources = new Map<string, OptionSource>();
  const warnings: string[] = [];
  for (const row of rows) {
    const flagValue = given.get(row.flag);
    const envValue = row.env === undefined ? undefined : env[row.env];
    let value = row.default;
    if (flagValue !== undefined) {
      value = parseValue(row, flagValue, `flag ${row.flag}`);
      sources.set(row.flag, "flag");
      if (row.ignored !== undefined) warnings.push(`flag --${row.flag} has no effect: ${row.ignored}`);
    } else if (envValue !== undefined && envValue !== "") {
      value = parseValue(row, envValue, `environment variable ${row.env}`);
      sources.set(row.flag, "env");
    }
    values[camelCase(row.flag)] = value;
  }
  // 道だけを名指した起動は TF Serving の既定の名前に従う。手元のスクリプトが /v1/models/default を叩くため。
  if (sources.get("model_base_path") === "flag" && !sources.has("model_name"))
    values["modelName"] = "default";
  return { options: Object.freeze(values) as unknown as ServerOptions, sources, warnings, help };
}
