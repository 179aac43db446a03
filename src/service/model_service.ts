import type { Host } from "../base/host.ts";
import { Code, invalidArgument, StatusError } from "../base/status.ts";
import type { ServableState } from "../core/servable_state.ts";
import type { ModelConfig, ModelServerConfig } from "../sources/model_config.ts";
import type { Fleet } from "./fleet.ts";
import { type ModelSpec, requireModelSpec, type ServedModels } from "./model_spec.ts";

export { fromModelServerConfigProto } from "../sources/model_config.ts";

type CheckModels = (models: readonly ModelConfig[]) => Promise<void>;

/** モデルと、その版の状態(版の降順)。 */
export interface ModelSummary {
  readonly name: string;
  readonly states: readonly ServableState[];
  /** 版 → 読み込んだ中身の SHA-256(16 進)。このプロセスで提供中の版だけにある。 */
  readonly digests: ReadonlyMap<bigint, string>;
}

/**
 * モデルの状態と設定の API。
 *
 * @see tensorflow_serving/model_servers/get_model_status_impl.cc
 * @see tensorflow_serving/model_servers/model_service_impl.cc
 */
export class ModelService {
  readonly #host: Host;
  readonly #models: ServedModels;
  readonly #fleet: Fleet | undefined;
  readonly #checkModels: CheckModels;

  /**
   * @param fleet 同じ宛先を分け合うプロセスがあるとき。答えは全体のものになる。
   * @param checkModels 客の言う設定を断るなら投げる。
   */
  constructor(host: Host, models: ServedModels, fleet?: Fleet, checkModels: CheckModels = async () => {}) {
    this.#host = host;
    this.#models = models;
    this.#fleet = fleet;
    this.#checkModels = checkModels;
  }

  /**
   * 版の降順。ラベルは見ない(TF Serving と同じ)。
   *
   * @throws INVALID_ARGUMENT `Missing ModelSpec`
   * @throws NOT_FOUND その名前、またはその版を見たことがない。
   */
  getModelStatus(spec: ModelSpec | undefined): readonly ServableState[] | Promise<readonly ServableState[]> {
    const { name, version } = requireModelSpec(spec);
    return (this.#fleet ?? this.#models).statuses(name, version);
  }

  /** 設定にあるモデルのすべて。設定の順。版をまだ見ていないモデルの `states` は空。 */
  async listModels(): Promise<ModelSummary[]> {
    return Promise.all(
      this.#models.list().map(async (name) => ({
        name,
        states: await this.#statesOf(name),
        digests: this.#digestsOf(name),
      })),
    );
  }

  #digestsOf(name: string): ReadonlyMap<bigint, string> {
    const ids = this.#models.available().filter((id) => id.name === name);
    return new Map(
      ids.map(({ version }) => {
        using handle = this.#models.acquire({ name, version });
        return [version, handle.servable.sha256];
      }),
    );
  }

  async #statesOf(name: string): Promise<readonly ServableState[]> {
    try {
      return await this.getModelStatus({ name });
    } catch (thrown) {
      if (StatusError.from(thrown).code === Code.NOT_FOUND) return [];
      throw thrown;
    }
  }

  /**
   * 設定を置き換える。新しいモデルが提供できるまで戻らない。
   *
   * @param metricNames 増分を知りたい指標の原名(`/tensorflow/serving/…`)。
   * @returns 指標の名前 → 増分。知らない名前は 0。
   * @throws INVALID_ARGUMENT リストでない設定。PERMISSION_DENIED `--model_roots` の外。ほかは {@link Models.reloadConfig} の失敗。
   */
  async reloadConfig(
    config: ModelServerConfig,
    metricNames: readonly string[],
  ): Promise<ReadonlyMap<string, number>> {
    const before = this.#readMetrics(metricNames);
    if (config.kind !== "list") {
      throw invalidArgument(
        "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported",
      );
    }
    await this.#checkModels(config.models);
    for (const [index, { name, basePath, modelPlatform }] of config.models.entries()) {
      this.#host.log.info("config entry", { index, name, path: basePath, platform: modelPlatform });
    }
    await (this.#fleet ?? this.#models).reloadConfig(config);
    const after = this.#readMetrics(metricNames);
    return new Map([...after].map(([name, value]) => [name, value - (before.get(name) ?? 0)]));
  }

  /** 指標の最初のセルの値。分布は整数の値を持たないので 0。 */
  #readMetrics(names: readonly string[]): Map<string, number> {
    const values = new Map(names.map((name) => [name, 0]));
    if (values.size === 0) return values;
    for (const { name, kind, cells } of this.#host.metrics.snapshot()) {
      if (values.has(name) && kind !== "histogram") values.set(name, cells[0]?.value ?? 0);
    }
    return values;
  }
}
