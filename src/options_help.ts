import { optionRows } from "./options.ts";

interface Row {
  readonly flag: string;
  readonly kind: string;
  readonly default: boolean | number | string;
  readonly help: string;
  readonly env?: string;
  readonly ignored?: string;
}

type Flag = (typeof optionRows)[number]["flag"];

/** 探しやすいように分けた旗。どの旗もどれか 1 つに入る(効き目の無い旗を除く)。 */
const groups = {
  Ports: ["port", "rest_api_port", "grpc_socket_path", "processes"],
  Models: [
    "model_name",
    "model_base_path",
    "model_config_file",
    "model_config_file_poll_wait_seconds",
    "file_system_poll_wait_seconds",
    "allow_version_labels_for_unavailable_models",
    "saved_model_tags",
    "platform_config_file",
    "num_load_threads",
    "num_unload_threads",
    "max_num_load_retries",
    "load_retry_interval_micros",
    "enable_model_warmup",
    "num_request_iterations_for_warmup",
    "enable_signature_method_name_check",
  ],
  Batching: ["enable_batching", "batching_parameters_file", "enable_per_model_batching_parameters"],
  REST: [
    "rest_api_timeout_in_ms",
    "rest_api_idle_timeout_seconds",
    "rest_api_enable_cors_support",
    "enable_page",
  ],
  gRPC: [
    "grpc_channel_arguments",
    "enable_grpc_healthcheck_service",
    "enable_serialization_as_tensor_content",
  ],
  "TLS and keys": [
    "tls_cert_file",
    "tls_key_file",
    "tls_client_ca_file",
    "ssl_config_file",
    "rest_api_ssl_config_file",
    "api_key_file",
    "credentials_poll_wait_seconds",
    "model_roots",
    "require_model_manifest",
  ],
  Limits: [
    "rest_api_max_body_bytes",
    "rest_api_max_json_depth",
    "max_tensor_elements",
    "max_in_flight_requests",
    "max_queue_delay_ms",
    "grpc_max_connections",
    "grpc_handshake_timeout_ms",
    "grpc_max_concurrent_streams",
    "grpc_max_header_bytes",
    "grpc_reset_burst",
    "grpc_resets_per_second",
  ],
  "Logs and metrics": ["log_format", "log_level", "access_log_sample_rate", "monitoring_config_file"],
  "Start and stop": ["shutdown_grace_ms", "version"],
} as const satisfies Readonly<Record<string, readonly Flag[]>>;

export interface FlagLine {
  /** `--port=8500` */
  readonly spelled: string;
  readonly help: string;
}

export interface FlagGroup {
  readonly title: string;
  readonly lines: readonly FlagLine[];
}

const rows: ReadonlyMap<string, Row> = new Map((optionRows as readonly Row[]).map((row) => [row.flag, row]));

function lineOf({ flag, default: value, help, env }: Row): FlagLine {
  const shown = typeof value === "string" ? JSON.stringify(value) : String(value);
  return { spelled: `--${flag}=${shown}`, help: env === undefined ? help : `${help} [env ${env}]` };
}

/** 効き目のある旗。`--help` と docs/cli.md に載る。 */
export const flagGroups: readonly FlagGroup[] = Object.entries(groups).map(([title, flags]) => ({
  title,
  lines: flags.map((flag) => lineOf(rows.get(flag)!)),
}));

/** 受け取るだけの旗。 */
export const flagsWithoutEffect: readonly string[] = [...rows.values()]
  .filter(({ ignored }) => ignored !== undefined)
  .map(({ flag }) => `--${flag}`);

const WIDTH = 110;

/** 語を `WIDTH` 桁で折り返し、字下げする。 */
function wrap(words: readonly string[]): string {
  const lines = [""];
  for (const word of words) {
    const line = lines.at(-1)!;
    if (line === "") lines[lines.length - 1] = word;
    else if (line.length + 1 + word.length > WIDTH) lines.push(word);
    else lines[lines.length - 1] = `${line} ${word}`;
  }
  return lines.map((line) => `  ${line}`).join("\n");
}

/** `--help` の旗の一覧。 */
export function formatFlags(): string {
  const column =
    2 + Math.max(...flagGroups.flatMap(({ lines }) => lines.map(({ spelled }) => spelled.length)));
  const sections = flagGroups.map(
    ({ title, lines }) =>
      `${title}:\n${lines.map(({ spelled, help }) => `  ${spelled.padEnd(column)}${help}`).join("\n")}`,
  );
  return `${sections.join("\n\n")}\n\nAccepted without effect:\n${wrap(flagsWithoutEffect)}\n`;
}
