import { existsSync, fstatSync } from "node:fs";
import { availableParallelism } from "node:os";
import { wasmFiles } from "../assets.ts";
import { systemClock } from "../base/clock.ts";
import { FreezeWatch } from "../base/freeze_watch.ts";
import type { Host } from "../base/host.ts";
import { createLogger, type LogFormat, type LogLevel } from "../base/log.ts";
import { Metrics } from "../base/metrics.ts";
import { StatusError } from "../base/status.ts";
import { withEmbedded } from "../embedded_storage.ts";
import { type ParsedOptions, parseOptions } from "../options.ts";
import { digestEmbeddedModel, type Payload, readPayload } from "../payload.ts";
import { diskStorage } from "../savedmodel/storage.ts";
import type { Serving } from "../server.ts";
import { COMMIT, VERSION } from "../version.ts";
import { START_FAILED } from "./exit_codes.ts";
import { createLogOutput } from "./log_output.ts";
import { registerProcessMetrics } from "./process_metrics.ts";
import { joinSupervisor, supervise } from "./serve_processes.ts";
import { bannerFields, bannerLines } from "./start_banner.ts";
import { onStopSignal } from "./stop_signals.ts";

const STDERR = 2;

/**
 * 像の起動スクリプトとして呼ばれたときの旗。TF Serving の像と同じく MODEL_BASE_PATH は親で、
 * その下の MODEL_NAME を提供する。どちらも無ければ埋め込みのモデルになる。
 *
 * @see tensorflow_serving/tools/docker/Dockerfile
 */
function entrypointFlags(env: Readonly<Record<string, string | undefined>>): string[] {
  const { MODEL_NAME: name, MODEL_BASE_PATH: base } = env;
  const flags = ["--port=8500", "--rest_api_port=8501"];
  if (!name && !base) return flags;
  const model = name || "model";
  return [...flags, `--model_name=${model}`, `--model_base_path=${base || "/models"}/${model}`];
}

const isRelative = (path: string): boolean => path !== "" && !/^(\/|\w+:\/\/)/.test(path);

/** 埋め込みのモデルを使うのは、道を名指しされず、既定の場所にも何も無いときだけ。 */
function isEmbeddedServed({ options, sources }: ParsedOptions): boolean {
  const named = sources.has("model_base_path") || options.modelConfigFile !== "";
  return !named && !existsSync(options.modelBasePath);
}

/** 端末は文字の装置なので、管やファイルのために流れを開いてみることはない。 */
const isTerminal = (): boolean => fstatSync(STDERR).isCharacterDevice() && process.stderr.isTTY === true;

async function printVersion(): Promise<void> {
  const { version, sha256 } = await digestEmbeddedModel(await readPayload());
  console.log(`TensorFlow ModelServer: iris-serving ${VERSION} (${COMMIT})`);
  console.log(`TensorFlow Library: none (own SavedModel runtime, Bun ${Bun.version})`);
  console.log(`Embedded model: iris version ${version}, SHA-256 ${sha256}`);
}

function announce(host: Host, { options, sources, warnings }: ParsedOptions, embedded: boolean): void {
  const { log } = host;
  log.info(`iris-serving ${VERSION}`, { commit: COMMIT, bun: Bun.version, pid: process.pid });
  for (const [flag, source] of sources) {
    const value = Reflect.get(
      options,
      flag.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase()),
    );
    log.info(`option ${flag}`, { value, source });
  }
  for (const warning of warnings) log.warn(warning);
  if (embedded) log.info(`Serving the embedded model at ${options.modelBasePath}`);
}

/** 何がどこで提供されているか。人には 1 行に 1 つ、機械には 1 件で。 */
function greet({ log }: Host, format: LogFormat, serving: Serving): void {
  const startMs = process.uptime() * 1000;
  if (format === "json") log.info("Ready", { ...bannerFields(serving, startMs) });
  else for (const line of bannerLines(serving, startMs)) log.info(line);
}

/**
 * サーバーとして動き、合図が来るまで戻らない。
 *
 * @returns 終了コード。合図で止まれば 0、2 度目の合図なら 1、起動できなければ 255。
 */
export async function serve(argv: readonly string[], { entrypoint = false } = {}): Promise<number> {
  let parsed: ParsedOptions;
  const args = entrypoint ? [...entrypointFlags(process.env), ...argv] : argv;
  try {
    parsed = parseOptions(args, process.env);
  } catch (thrown) {
    console.error(`${StatusError.from(thrown).message}\nSee iris-serving --help.`);
    return START_FAILED;
  }
  const { options } = parsed;
  if (parsed.help) {
    const [{ commands }, { serverHelp }] = await Promise.all([import("./commands.ts"), import("./usage.ts")]);
    console.log(serverHelp(commands.values()).trimEnd());
    return 0;
  }
  let payload: Payload;
  try {
    if (options.version) {
      await printVersion();
      return 0;
    }
    payload = await readPayload();
  } catch (thrown) {
    console.error(`Failed to start server. Error: ${StatusError.from(thrown)}`);
    return START_FAILED;
  }
  const format: LogFormat =
    options.logFormat === "auto" ? (isTerminal() ? "text" : "json") : (options.logFormat as LogFormat);
  const output = createLogOutput({ fd: STDERR, open: () => process.stderr }, format);
  const freezes = new FreezeWatch(systemClock, () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  });
  const host: Host = {
    clock: { ...systemClock, frozenSince: (sinceMs) => freezes.frozenSince(sinceMs) },
    log: createLogger(format, options.logLevel as LogLevel, output),
    metrics: new Metrics(),
  };
  // 1 つの要求の後始末で漏れた例外に、ほかの要求を巻き込ませない。
  process.on("uncaughtException", (error) => host.log.error("uncaught exception", { error }));
  process.on("unhandledRejection", (error) => host.log.error("unhandled rejection", { error }));
  const embedded = isEmbeddedServed(parsed);
  const mount = options.modelBasePath;
  const storage = embedded ? withEmbedded(diskStorage, mount, payload.model) : diskStorage;
  const member = joinSupervisor();
  // いくつかのプロセスで動くなら、親だけが言う。
  if (member === undefined) announce(host, parsed, embedded);
  const cpus = availableParallelism();
  const processes = options.processes === 0 ? cpus : options.processes;
  if (processes > 1 && member === undefined) return await supervise(host, options, processes, args);
  registerProcessMetrics(host);
  const { ModelServer } = await import("../server.ts");
  const server = new ModelServer(host, {
    options,
    storage,
    isEmbedded: (path) => embedded && path.startsWith(`${mount}/`),
    wasm: wasmFiles,
    page: async () => (await import("../page_assets.ts")).pageFiles,
    cpus,
    ...(member === undefined ? {} : { member }),
  });

  const signalled = Promise.withResolvers<string>();
  if (member === undefined) onStopSignal(signalled.resolve, () => process.exit(1));
  else {
    // 端末や管理者は合図を群れ全体に送るので、2 度目の合図を「急げ」と読まない。急がせるのは親。
    process.on("SIGINT", () => {});
    process.on("SIGTERM", () => signalled.resolve("SIGTERM"));
    void member.link.drained.then(() => signalled.resolve("the supervisor's word"));
  }
  const started = server.start().catch((thrown: unknown) => StatusError.from(thrown));
  const outcome = await Promise.race([started, signalled.promise]);
  if (outcome instanceof StatusError) {
    if (outcome.cause !== undefined) host.log.error("start failed", { error: outcome.cause });
    // TF Serving の文面だけでは、口が使えないことは分かっても、なぜかが分からない。
    const { cause } = outcome;
    const reason = cause instanceof Error && !(cause instanceof StatusError) ? ` (${cause.message})` : "";
    console.error(`Failed to start server. Error: ${outcome}${reason}`);
    if (isRelative(options.modelBasePath) && outcome.message.includes("absolute path")) {
      console.error(`Try --model_base_path="$PWD/${options.modelBasePath.replace(/^\.\//, "")}"`);
    }
    return START_FAILED;
  }
  if (typeof outcome === "object" && (member === undefined || member.index === 0)) {
    greet(host, format, outcome);
  }
  const signal = await signalled.promise;
  host.log.info(`${signal} received, draining`, { graceMs: options.shutdownGraceMs });
  await server.stop(options.shutdownGraceMs);
  host.log.info("stopped");
  return 0;
}
