import { EventBus } from "../base/event_bus.ts";
import type { Host } from "../base/host.ts";
import {
  Code,
  failedPrecondition,
  invalidArgument,
  notFound,
  StatusError,
  unavailable,
  unknown,
} from "../base/status.ts";
import { AspiredVersionsManager, type ManagerOptions } from "../core/aspired_versions_manager.ts";
import type { Loader } from "../core/loader.ts";
import type { ServableHandle } from "../core/servable_handle.ts";
import type { ServableId } from "../core/servable_id.ts";
import type { ServableState } from "../core/servable_state.ts";
import { describeFailure, ServableStateMonitor } from "../core/servable_state_monitor.ts";
import { FileSystemSource, type VersionStorage } from "./file_system_source.ts";
import {
  checkTransition,
  isSameConfig,
  type ModelConfig,
  type ModelServerConfig,
  platformOf,
} from "./model_config.ts";
import type { ModelSpec, Models } from "./models.ts";

/** 版の場所からローダーを作る。作るだけでは何も読まない。 */
export type CreateLoader<S> = (id: ServableId, path: string) => Loader<S>;

export interface ServerCoreOptions<S> {
  readonly manager: ManagerOptions;
  /** 最初の設定で同時に読み込む数。 */
  readonly numInitialLoadThreads: number;
  /** @see FileSystemSourceConfig.pollWaitSeconds */
  readonly fileSystemPollWaitSeconds: number;
  /** 新しいラベルに限り、まだ提供していない版を指してよい。 */
  readonly allowVersionLabelsForUnavailableModels: boolean;
  /** 種類名(`tensorflow`)→ ローダーの作り方。 */
  readonly platforms: ReadonlyMap<string, CreateLoader<S>>;
  /** 要求の記録の設定を受け取る。無ければ、記録を求める設定を断る。 */
  readonly setLogging?: (models: readonly ModelConfig[]) => void;
}

/** 新しいモデルが提供できるまでの待ち。 */
interface Waiting {
  readonly names: ReadonlySet<string>;
  readonly giveUp: AbortController;
}

type Labels = ReadonlyMap<string, ReadonlyMap<string, bigint>>;

/**
 * 源、manager、状態の記録を組み合わせ、設定の変更をそれらに行き渡らせる。
 *
 * @see tensorflow_serving/model_servers/server_core.h
 */
export class ServerCore<S> implements Models<S> {
  readonly #host: Host;
  readonly #options: ServerCoreOptions<S>;
  readonly #bus = new EventBus<ServableState>();
  readonly #monitor = new ServableStateMonitor(this.#bus);
  readonly #manager: AspiredVersionsManager<S>;
  readonly #source: FileSystemSource;
  readonly #stop = new AbortController();
  #config: ModelServerConfig = { kind: "none" };
  #labels: Labels | undefined;
  /** 今の設定での、モデルの名前 → ローダーの作り方。 */
  #routes: ReadonlyMap<string, CreateLoader<S>> = new Map();
  #started = false;
  readonly #waiting = new Set<Waiting>();

  constructor(host: Host, storage: VersionStorage, options: ServerCoreOptions<S>) {
    this.#host = host;
    this.#options = options;
    this.#manager = new AspiredVersionsManager<S>(host, this.#bus, options.manager);
    this.#source = new FileSystemSource(host, storage, (name, versions) => {
      const create = this.#routes.get(name);
      this.#manager.aspire(
        name,
        versions.map(({ version, data }) => ({
          version,
          // 源が版を知らせるのは経路を張った後なので、ここで無いのは空の希望のときだけ。
          data: typeof data === "string" ? create!({ name, version }, data) : data,
        })),
      );
    });
  }

  acquire(spec: ModelSpec): ServableHandle<S> {
    if (spec.name === "") throw invalidArgument("ModelSpec has no name specified.");
    const { label } = spec;
    if (label === undefined) return this.#manager.acquire(spec);
    if (this.#labels === undefined) throw unavailable(`Model labels does not init yet.${label}`);
    const version = this.#labels.get(spec.name)?.get(label);
    if (version === undefined) throw invalidArgument(`Unrecognized servable version label: ${label}`);
    return this.#manager.acquire({ name: spec.name, version });
  }

  statuses(name: string, version?: bigint): readonly ServableState[] {
    if (version !== undefined) {
      const state = this.#monitor.state({ name, version });
      if (state === undefined) throw notFound(`Could not find version ${version} of model ${name}`);
      return [state];
    }
    const states = this.#monitor.versions(name);
    if (states.length === 0) throw notFound(`Could not find any versions of model ${name}`);
    return states;
  }

  list(): readonly string[] {
    return this.#config.kind === "list" ? this.#config.models.map(({ name }) => name) : [];
  }

  available(): readonly ServableId[] {
    return this.#manager.available();
  }

  onStateChange(listener: (state: ServableState) => void): () => void {
    return this.#bus.subscribe(listener);
  }

  /**
   * 検査から源への反映までは 1 続きの同期処理なので、並行する呼び出しも混ざらない。新しいモデルを
   * 待つ間は次の呼び出しを受け付ける。置き場所を書き間違えたモデルを待ったまま、直した設定まで
   * 受け付けなくなる、ということが無いように(TF Serving はそうなる)。
   */
  async reloadConfig(next: ModelServerConfig): Promise<void> {
    this.#stop.signal.throwIfAborted();
    const { log } = this.#host;
    checkTransition(this.#host, this.#config, next);
    if (next.kind === "none") {
      log.info("Taking no action for empty config.");
      return;
    }
    // 設定ファイルの見回りは変化が無くても同じ道を通る。そのたびに同じ行を並べない。
    const level = isSameConfig(this.#config, next) ? "debug" : "info";
    this.#config = next;
    if (next.kind === "custom")
      throw invalidArgument("ModelServer does not yet support custom model config.");
    this.#labels = this.#assignLabels(next.models);
    log[level]("Adding/updating models.");
    for (const { name } of next.models) log[level](` (Re-)adding model: ${name}`);
    await this.#watch(next.models);
    log[level]("Finished adding/updating models");
    const { setLogging } = this.#options;
    if (setLogging !== undefined) setLogging(next.models);
    else if (next.models.some(({ logging }) => logging !== undefined)) {
      throw invalidArgument("No request-logger-creator provided.");
    }
  }

  /** 見回りと待ちをやめ、すべての版を降ろす。借りられているものが返るまで待つ。 */
  async shutdown(): Promise<void> {
    this.#stop.abort(unavailable("The server is shutting down"));
    this.#source.stop();
    await this.#manager.shutdown();
  }

  /** 表を丸ごと作り直す。1 つでも許されなければ今の表を残す。 */
  #assignLabels(models: readonly ModelConfig[]): Labels {
    const labels = new Map<string, Map<string, bigint>>();
    for (const { name, versionLabels } of models) {
      for (const [label, version] of versionLabels) {
        const assigned = this.#labels?.get(name)?.get(label);
        const free =
          this.#options.allowVersionLabelsForUnavailableModels &&
          (assigned === undefined || assigned === version);
        if (!free && this.#monitor.state({ name, version })?.state !== "AVAILABLE") {
          throw failedPrecondition(
            `Request to assign label to version ${version} of model ${name}, ` +
              "which is not currently available for inference",
          );
        }
      }
      labels.set(name, new Map(versionLabels));
    }
    return labels;
  }

  /** 見張るものを差し替え、新しいものが提供できるまで待つ。 */
  async #watch(models: readonly ModelConfig[]): Promise<void> {
    // 降ろす知らせと新しい希望が行き違わないよう、経路は先に差し替える。
    this.#routes = this.#route(models);
    const watched = new Set(this.#source.names);
    const names = models.map(({ name }) => name).filter((name) => !watched.has(name));
    const first = !this.#started;
    this.#started = true;
    // 前に END になった版をもう一度読むことがあるので、ここから後の出来事だけで判断する。
    using monitor = new ServableStateMonitor(this.#bus);
    const waiting: Waiting = { names: new Set(names), giveUp: new AbortController() };
    this.#waiting.add(waiting);
    if (first) this.#manager.numLoadThreads = this.#options.numInitialLoadThreads;
    try {
      this.#source.updateConfig({
        pollWaitSeconds: this.#options.fileSystemPollWaitSeconds,
        versionsAlwaysPresent: false,
        servables: models,
      });
      this.#endWaitsForRemoved(models);
      const verdict = await monitor.waitUntil(
        names.map((name) => ({ name })),
        "AVAILABLE",
        AbortSignal.any([this.#stop.signal, waiting.giveUp.signal]),
      );
      if (!verdict.reached) throw unknown(describeFailure(first ? "servable(s)" : "model(s)", verdict));
    } finally {
      this.#waiting.delete(waiting);
      if (first) this.#manager.numLoadThreads = undefined;
    }
  }

  /** 待たれているのに新しい設定から外れたモデルは、もう現れない。 */
  #endWaitsForRemoved(models: readonly ModelConfig[]): void {
    const kept = new Set(models.map(({ name }) => name));
    for (const { names, giveUp } of this.#waiting) {
      for (const name of names) {
        if (kept.has(name)) continue;
        giveUp.abort(
          new StatusError(
            Code.ABORTED,
            `Model ${name} was removed by a newer config before it became available`,
          ),
        );
      }
    }
  }

  #route(models: readonly ModelConfig[]): Map<string, CreateLoader<S>> {
    const routes = new Map<string, CreateLoader<S>>();
    for (const model of models) {
      const platform = platformOf(this.#host, model);
      const create = this.#options.platforms.get(platform);
      if (create === undefined) {
        throw invalidArgument(`Model ${model.name} requests unsupported platform ${platform}`);
      }
      routes.set(model.name, create);
    }
    return routes;
  }
}
