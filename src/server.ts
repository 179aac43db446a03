import type { Host } from "./base/host.ts";
import type { Metrics } from "./base/metrics.ts";
import { failedPrecondition, invalidArgument } from "./base/status.ts";
import { BatchScheduler } from "./batching/batch_scheduler.ts";
import { toBatchingParameters, toQueueOptions } from "./batching/batching_parameters.ts";
import { withoutNewListeners } from "./cli/process_listeners.ts";
import { readTextProto } from "./config_files.ts";
import { availabilityPreserving } from "./core/aspired_version_policy.ts";
import type { ServableId } from "./core/servable_id.ts";
import { ModelServerConfigSchema } from "./gen/tensorflow_serving/config/model_server_config_pb.ts";
import { MonitoringConfigSchema } from "./gen/tensorflow_serving/config/monitoring_config_pb.ts";
import { BatchingParametersSchema } from "./gen/tensorflow_serving/servables/tensorflow/session_bundle_config_pb.ts";
import { ThreadPoolFactoryConfigSchema } from "./gen/tensorflow_serving/servables/tensorflow/thread_pool_factory_config_pb.ts";
import { Backend, type WasmFiles } from "./graph/backend.ts";
import { parseChannelArguments } from "./grpc/channel_arguments.ts";
import { GrpcDoor } from "./grpc/grpc_door.ts";
import { relieveOpenFiles } from "./open_files.ts";
import type { ServerOptions } from "./options.ts";
import type { PageFile } from "./page_bundle.ts";
import { type PlatformSettings, readPlatforms } from "./platform_config.ts";
import { pollFiles } from "./polled_files.ts";
import type { WorkerLink } from "./processes/worker_link.ts";
import { createFileCollector } from "./request_log_file.ts";
import { type AskRest, RestDoor } from "./rest/rest_door.ts";
import type { Storage } from "./savedmodel/storage.ts";
import { createModelBatching, type QueueSettings } from "./servables/model_batching.ts";
import type { ModelServable } from "./servables/model_servable.ts";
import { openSavedModel } from "./servables/open_saved_model.ts";
import { SavedModelLoader } from "./servables/saved_model_loader.ts";
import { readServerTls } from "./server_tls_files.ts";
import { AccessLog } from "./service/access_log.ts";
import { Admission } from "./service/admission.ts";
import { ApiKeys } from "./service/api_keys.ts";
import type { Door } from "./service/door.ts";
import { Health } from "./service/health.ts";
import { ModelService } from "./service/model_service.ts";
import { registerModelStateMetrics } from "./service/model_state_metrics.ts";
import { PredictionService } from "./service/prediction_service.ts";
import { formatPrometheusPage } from "./service/prometheus_exporter.ts";
import { readiness } from "./service/readiness.ts";
import { RequestLogger } from "./service/request_logger.ts";
import type { ServerTls } from "./service/server_tls.ts";
import type { Address } from "./sockets/listener.ts";
import {
  fromModelServerConfigProto,
  type ModelServerConfig,
  singleModelConfig,
} from "./sources/model_config.ts";
import { pollModelConfigFile } from "./sources/model_config_file.ts";
import { checkModelRoots } from "./sources/model_roots.ts";
import { type CreateLoader, ServerCore } from "./sources/server_core.ts";
import { VERSION } from "./version.ts";
import { createWarmupRunner } from "./warmup_runner.ts";

const MAX_KEY_FILE_BYTES = 2 ** 20;

/** サーバーが外から受け取るもの。 */
export interface ServerParts {
  readonly options: ServerOptions;
  readonly storage: Storage;
  /** 実行ファイルの中の写しを指すパスか。 */
  readonly isEmbedded?: (path: string) => boolean;
  readonly wasm: WasmFiles;
  /** `/` で見せる頁。無ければ見せない。 */
  readonly page?: () => Promise<readonly PageFile[]>;
  /** 同時に読み込む数や、まとめる実行の数の既定に使う。 */
  readonly cpus: number;
  /** 同じ口を分け合うプロセスの 1 つとして動くとき。 */
  readonly member?: Member;
}

/** 起動し終えたときに、何がどこで提供されているか。 */
export interface Serving {
  /** 名前の順。版は新しいものから。 */
  readonly models: readonly { readonly name: string; readonly versions: readonly string[] }[];
  /** `0.0.0.0:8500` や `unix:/tmp/s`。 */
  readonly grpc: readonly string[];
  readonly rest?: {
    readonly address: string;
    readonly tls: boolean;
    readonly page: boolean;
    readonly metricsPaths: readonly string[];
  };
}

/** 同じ口を分け合うプロセスの 1 つ。 */
export interface Member {
  /** 0 から。UNIX ソケットは分け合えないので、0 だけが開く。 */
  readonly index: number;
  readonly link: WorkerLink;
}

type RestFacts = Omit<NonNullable<Serving["rest"]>, "address">;

function listVersions(available: readonly ServableId[]): Serving["models"] {
  const byName = Map.groupBy(available, ({ name }) => name);
  return [...byName]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, ids]) => ({
      name,
      versions: ids
        .map(({ version }) => version)
        .sort((a, b) => (a > b ? -1 : 1))
        .map(String),
    }));
}

/** `path` が空でなければ読む。 */
async function optional<T>(path: string, read: (path: string) => Promise<T>): Promise<T | undefined> {
  return path === "" ? undefined : await read(path);
}

/** カンマ区切りの列。空の項目は数えない。 */
const splitList = (text: string): string[] => text.split(",").filter((item) => item !== "");

/** 矛盾する旗の組。 @see tensorflow_serving/model_servers/server.cc BuildAndStart */
function checkCombination(options: ServerOptions): void {
  if (options.port === 0 && options.grpcSocketPath === "") {
    throw invalidArgument(
      "At least one of server_options.grpc_port or server_options.grpc_socket_path must be set.",
    );
  }
  if (options.useAltsCredentials && options.sslConfigFile !== "") {
    throw invalidArgument("Either use_alts_credentials must be false or ssl_config_file must be empty.");
  }
  if (options.modelBasePath === "" && options.modelConfigFile === "") {
    throw invalidArgument(
      "Both server_options.model_base_path and server_options.model_config_file are empty!",
    );
  }
}

/** 漏れがあれば、要求の数とともに増え続ける。 */
function reportTensors(metrics: Metrics, backend: Backend): void {
  const tensors = metrics
    .gauge({ name: "/iris_serving/device_tensors", help: "Tensors alive in the wasm heap.", labels: [] })
    .cell();
  metrics.onCollect(() => tensors.set(backend.device?.tensorCount ?? 0));
}

/** すべての部品を起動の順に組み立て、逆の順に止める。 */
export class ModelServer {
  readonly #host: Host;
  readonly #parts: ServerParts;
  readonly #accessLog: AccessLog;
  readonly #requestLogger: RequestLogger;
  readonly #health = new Health();
  readonly #admission: Admission;
  readonly #doors: Door[] = [];
  #core: ServerCore<ModelServable> | undefined;
  /** 待ち行列。モデルの種類ごと。 */
  readonly #batches: BatchScheduler[] = [];
  #stopPolling = (): void => {};
  /** 証明書、鍵、開いているファイルの見回りをやめる関数。 */
  readonly #following: (() => void)[] = [];

  constructor(host: Host, parts: ServerParts) {
    this.#host = host;
    // 起動とプロセスごとに別の名前にし、前のものを上書きしない。
    const mark = `${host.clock.now()}-${parts.member?.index ?? 0}`;
    const file = createFileCollector(host, (prefix, index) => `${prefix}-${mark}-${index}.tfrecord`);
    const collectors = new Map([
      ["", file],
      ["file", file],
    ]);
    this.#requestLogger = new RequestLogger(host, collectors, Math.random);
    this.#accessLog = new AccessLog(host, parts.options.accessLogSampleRate, Math.random);
    this.#parts = parts;
    this.#admission = new Admission(host, {
      maxInFlight: parts.options.maxInFlightRequests,
      maxQueueDelayMs: parts.options.maxQueueDelayMs,
    });
  }

  /**
   * 設定されたモデルがすべて提供できるようになってから、入口を開く。
   *
   * @throws 旗や設定ファイルの誤り、モデルの読み込みの失敗、使えない宛先。
   */
  async start(): Promise<Serving> {
    const { options, storage } = this.#parts;
    const { log } = this.#host;
    checkCombination(options);
    const { member } = this.#parts;
    const config = (await member?.link.join()) ?? (await this.#readModelConfig());
    const core = this.#createCore(await readPlatforms(this.#host, storage, options));
    this.#core = core;
    registerModelStateMetrics(this.#host.metrics, core);
    await core.reloadConfig(config);
    await optional(options.threadPoolFactoryConfigFile, (path) =>
      readTextProto(this.#host, storage, ThreadPoolFactoryConfigSchema, path),
    );
    if (options.modelConfigFile !== "") {
      this.#stopPolling = pollModelConfigFile(
        this.#host,
        options.modelConfigFilePollWaitSeconds * 1000,
        () => this.#readModelConfig(),
        (next) => core.reloadConfig(next),
      );
    }
    const services = {
      prediction: new PredictionService(this.#host, core, {
        methodNameCheck: options.enableSignatureMethodNameCheck,
        requestLogger: this.#requestLogger,
        maxTensorElements: options.maxTensorElements,
      }),
      model: new ModelService(this.#host, core, member?.link, (models) => {
        this.#requestLogger.checkKnown(models);
        return checkModelRoots(storage, splitList(options.modelRoots), models);
      }),
      health: this.#health,
    };
    const authorize = await this.#readApiKeys();
    const grpc = await this.#createGrpcDoor(services, authorize);
    const rest = await this.#createRestDoor({ ...services, core }, authorize);
    const grpcAddresses = await this.#open(grpc);
    for (const address of grpcAddresses) log.info(`Running gRPC ModelServer at ${address} ...`);
    const restAddresses = rest === undefined ? [] : await this.#open(rest.door);
    for (const address of restAddresses) log.info(`Exporting HTTP/REST API at:${address} ...`);
    this.#health.setServing(true);
    member?.link.ready({
      statuses: (name, version) => core.statuses(name, version),
      reloadConfig: (next) => core.reloadConfig(next),
      metrics: () => this.#host.metrics.snapshot(),
    });
    const [restAddress] = restAddresses;
    return {
      models: listVersions(core.available()),
      grpc: grpcAddresses,
      ...(rest === undefined || restAddress === undefined
        ? {}
        : { rest: { ...rest.facts, address: restAddress } }),
    };
  }

  /** 入口で新しい仕事を断り、処理中のものを最大 `graceMs` 待ってから、モデルを降ろす。 */
  async stop(graceMs: number): Promise<void> {
    this.#health.setServing(false);
    this.#stopPolling();
    for (const stopFollowing of this.#following) stopFollowing();
    // もう仲間は来ない。仲間を待っている仕事を、待ち時間を使い切らずに終わらせる。
    for (const scheduler of this.#batches) scheduler.hurry();
    await Promise.all(this.#doors.map((door) => door.stop(graceMs)));
    await this.#core?.shutdown();
    await this.#requestLogger.close();
  }

  async #open(door: Door): Promise<readonly string[]> {
    const addresses = await door.start();
    this.#doors.push(door);
    return addresses;
  }

  async #readModelConfig(): Promise<ModelServerConfig> {
    const { options, storage } = this.#parts;
    if (options.modelConfigFile === "") {
      return singleModelConfig(this.#host, options.modelName, options.modelBasePath);
    }
    return fromModelServerConfigProto(
      await readTextProto(this.#host, storage, ModelServerConfigSchema, options.modelConfigFile),
    );
  }

  #createCore(platforms: ReadonlyMap<string, PlatformSettings>): ServerCore<ModelServable> {
    const { options, storage, wasm, cpus } = this.#parts;
    const backend = new Backend(wasm, { around: withoutNewListeners, collect: () => Bun.gc(true) });
    reportTensors(this.#host.metrics, backend);
    return new ServerCore<ModelServable>(this.#host, storage, {
      manager: {
        policy: availabilityPreserving,
        retry: {
          // TF Serving は符号なしで数え、1 を足してから比べる。-1 はやり直さず、それより小さいとやめない。
          maxRetries: Math.max(0, ((options.maxNumLoadRetries + 1) >>> 0) - 1),
          intervalMs: options.loadRetryIntervalMicros / 1000,
        },
        numLoadThreads: options.numLoadThreads,
        numUnloadThreads: options.numUnloadThreads,
      },
      numInitialLoadThreads: 4 * cpus,
      fileSystemPollWaitSeconds: options.fileSystemPollWaitSeconds,
      setLogging: (models) => this.#requestLogger.configure(models),
      allowVersionLabelsForUnavailableModels: options.allowVersionLabelsForUnavailableModels,
      platforms: new Map(
        Array.from(platforms, ([platform, settings]) => [platform, this.#createLoaders(settings, backend)]),
      ),
    });
  }

  #createLoaders(settings: PlatformSettings, backend: Backend): CreateLoader<ModelServable> {
    const { options, storage, isEmbedded = () => false } = this.#parts;
    const loader = {
      storage,
      open: openSavedModel(this.#host, storage, {
        tags: settings.tags,
        backend,
        // 埋め込みのモデルは、実行ファイルの指紋の表で確かめてある。
        requiresManifest: (directory) => options.requireModelManifest && !isEmbedded(directory),
      }),
      coat: createModelBatching(this.#host, this.#createQueues(settings), options.maxQueueDelayMs),
      warmup: settings.warmup
        ? {
            runner: createWarmupRunner(this.#host, {
              methodNameCheck: options.enableSignatureMethodNameCheck,
            }),
            numRequestIterations: settings.numRequestIterations,
          }
        : undefined,
    };
    return (id, path) => new SavedModelLoader(this.#host, loader, id, path);
  }

  #createQueues({ batching, perModelBatching }: PlatformSettings): QueueSettings | undefined {
    if (batching === undefined) return undefined;
    const { storage, cpus } = this.#parts;
    const parameters = toBatchingParameters(batching, cpus);
    const perModel = async (path: string) =>
      (await storage.exists(path))
        ? toQueueOptions(await readTextProto(this.#host, storage, BatchingParametersSchema, path))
        : undefined;
    const scheduler = new BatchScheduler(this.#host, parameters.numBatchThreads);
    this.#batches.push(scheduler);
    return {
      scheduler,
      queue: parameters.queue,
      ...(perModelBatching ? { readPerModel: perModel } : {}),
    };
  }

  async #createGrpcDoor(
    services: { prediction: PredictionService; model: ModelService; health: Health },
    authorize: ApiKeys["allows"] | undefined,
  ): Promise<GrpcDoor> {
    const { options, member } = this.#parts;
    const { log } = this.#host;
    const channelArguments = parseChannelArguments(
      // 後のものが勝つので、引数で明示されたほうが旗より強い。
      `grpc.max_concurrent_streams=${options.grpcMaxConcurrentStreams},${options.grpcChannelArguments}`,
    );
    for (const name of channelArguments.ignored) log.warn(`gRPC channel argument ${name} has no effect`);
    const readTls = this.#tlsReader(options.sslConfigFile);
    const tls = await readTls();
    log.info(tls === undefined ? "Using InsecureServerCredentials" : "Using SSL credentials");
    const addresses: Address[] = [];
    const reusePort = channelArguments.reusePort || member !== undefined;
    if (options.port !== 0) {
      addresses.push({ host: "0.0.0.0", port: options.port, reusePort });
    }
    if (options.grpcSocketPath !== "" && (member?.index ?? 0) === 0)
      addresses.push({ path: options.grpcSocketPath });
    const door = new GrpcDoor(this.#host, services, {
      addresses,
      ...(tls === undefined ? {} : { tls }),
      channelArguments,
      accessLog: this.#accessLog,
      healthCheck: options.enableGrpcHealthcheckService,
      tensorContent: options.enableSerializationAsTensorContent,
      admission: this.#admission,
      ...(authorize === undefined ? {} : { authorize }),
      limits: {
        maxConnections: options.grpcMaxConnections,
        handshakeTimeoutMs: options.grpcHandshakeTimeoutMs,
        maxHeaderBytes: options.grpcMaxHeaderBytes,
        resetBurst: options.grpcResetBurst,
        resetsPerSecond: options.grpcResetsPerSecond,
      },
    });
    this.#followTls("the gRPC certificate", tls, readTls, (next) => door.replaceCertificate(next));
    return door;
  }

  /** 入口の TLS の読み方。自分の SSLConfig が無い入口は、共通の PEM のファイルを使う。 */
  #tlsReader(sslConfigFile: string): () => Promise<ServerTls | undefined> {
    const { options, storage } = this.#parts;
    return () =>
      readServerTls(this.#host, storage, {
        sslConfigFile,
        certFile: options.tlsCertFile,
        keyFile: options.tlsKeyFile,
        clientCaFile: options.tlsClientCaFile,
      });
  }

  #followTls(
    what: string,
    current: ServerTls | undefined,
    read: () => Promise<ServerTls | undefined>,
    replace: (next: ServerTls) => void,
  ): void {
    if (current === undefined) return;
    const apply = (next: ServerTls | undefined): void => {
      if (next !== undefined) replace(next);
    };
    this.#following.push(
      pollFiles<ServerTls | undefined>(this.#host, what, this.#credentialsPollMs, current, read, apply),
    );
  }

  get #credentialsPollMs(): number {
    return this.#parts.options.credentialsPollWaitSeconds * 1000;
  }

  /** @returns 鍵のファイルが無ければ undefined(誰でも通す)。 */
  async #readApiKeys(): Promise<ApiKeys["allows"] | undefined> {
    const { options, storage } = this.#parts;
    const path = options.apiKeyFile;
    if (path === "") return undefined;
    const read = async () => new TextDecoder().decode(await storage.read(path, MAX_KEY_FILE_BYTES));
    const text = await read();
    const keys = new ApiKeys(text);
    if (keys.size === 0) throw invalidArgument(`${path}; No API key in the file`);
    this.#following.push(
      pollFiles(this.#host, "the API keys", this.#credentialsPollMs, text, read, (next) => {
        keys.replace(next);
        if (keys.size === 0) this.#host.log.warn("The API key file is empty: nobody is let in");
      }),
    );
    return keys.allows;
  }

  async #createRestDoor(
    services: { prediction: PredictionService; model: ModelService; core: ServerCore<ModelServable> },
    authorize: ApiKeys["allows"] | undefined,
  ): Promise<{ readonly door: RestDoor; readonly facts: RestFacts } | undefined> {
    const { options, storage, page, member } = this.#parts;
    if (options.restApiPort === 0) return undefined;
    if (options.restApiPort === options.port) {
      throw failedPrecondition(
        "server_options.http_port cannot be same as grpc_port. Please use a different port for HTTP/REST API.",
      );
    }
    const monitoring = await optional(options.monitoringConfigFile, (path) =>
      readTextProto(this.#host, storage, MonitoringConfigSchema, path),
    );
    const prometheus = monitoring?.prometheusConfig;
    const readTls = this.#tlsReader(options.restApiSslConfigFile);
    const tls = await readTls();
    const metricsPaths =
      prometheus?.enable === false ? [] : [prometheus?.path || "/monitoring/prometheus/metrics", "/metrics"];
    const isStateless = (name: string): boolean => {
      using handle = services.core.acquire({ name });
      return !handle.servable.stateful;
    };
    let openApi: Promise<(ask: AskRest) => Promise<string>> | undefined;
    const door = new RestDoor(this.#host, services, {
      openApi: async (ask) => {
        openApi ??= import("./openapi_site.ts").then(({ createOpenApi }) =>
          createOpenApi({ version: VERSION, needsKey: authorize !== undefined, metricsPaths }, isStateless),
        );
        return (await openApi)(ask);
      },
      accessLog: this.#accessLog,
      readiness: () => readiness(this.#health, services.core),
      port: options.restApiPort,
      reusePort: member !== undefined,
      ...(tls === undefined ? {} : { tls }),
      ...(authorize === undefined ? {} : { authorize }),
      maxBodyBytes: options.restApiMaxBodyBytes,
      idleTimeoutSeconds: options.restApiIdleTimeoutSeconds,
      timeoutMs: options.restApiTimeoutInMs,
      cors: options.restApiEnableCorsSupport,
      admission: this.#admission,
      ...(options.restApiMaxJsonDepth === 0 ? {} : { json: { maxDepth: options.restApiMaxJsonDepth } }),
      ...(page !== undefined && options.enablePage
        ? {
            pages: async () => {
              const [files, { createPageSite, iconPath }, { createDocsSite }] = await Promise.all([
                page(),
                import("./page_site.ts"),
                import("./docs_site.ts"),
              ]);
              const facts = {
                version: VERSION,
                grpcPort: options.port,
                grpcTls: options.sslConfigFile !== "" || options.tlsCertFile !== "",
              };
              return new Map([...createPageSite(files, facts), ...createDocsSite(iconPath(files))]);
            },
          }
        : {}),
      ...(metricsPaths.length === 0
        ? {}
        : {
            metrics: {
              paths: metricsPaths,
              print: async () =>
                formatPrometheusPage((await member?.link.metrics()) ?? this.#host.metrics.snapshot()),
            },
          }),
    });
    this.#followTls("the REST certificate", tls, readTls, (next) => door.replaceCertificate(next));
    this.#following.push(relieveOpenFiles(this.#host, () => door.closeIdle()));
    return {
      door,
      facts: { tls: tls !== undefined, page: page !== undefined && options.enablePage, metricsPaths },
    };
  }
}
