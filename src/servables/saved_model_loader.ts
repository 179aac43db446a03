import type { Host } from "../base/host.ts";
import { Code, StatusError } from "../base/status.ts";
import type { Batching, Prepare } from "../batching/batching_run.ts";
import type { Loader } from "../core/loader.ts";
import type { ServableId } from "../core/servable_id.ts";
import type { Storage } from "../savedmodel/storage.ts";
import type { Signature } from "../tensor/signature.ts";
import type { ModelServable } from "./model_servable.ts";
import { type WarmupOptions, warmUp } from "./warmup.ts";

/** 開いた SavedModel。計画はまだ立てていない。 */
export interface OpenedModel {
  readonly signatures: ReadonlyMap<string, Signature>;
  readonly prepare: Prepare;
  /** 実行が変数を書き換えうる。 */
  readonly stateful: boolean;
  /** 読んだ中身の SHA-256。16 進。 */
  readonly sha256: string;
  /** 変数などのメモリを返す。 */
  dispose(): void;
}

export interface SavedModelLoaderOptions {
  readonly storage: Pick<Storage, "exists" | "read">;
  /** 版のディレクトリを開く。大きなモデルでも、ほかの要求を止めない。 */
  readonly open: (directory: string, signal: AbortSignal) => Promise<OpenedModel>;
  /** 実行に着せる、まとめ方の上着を選ぶ。 */
  readonly coat: (directory: string, opened: OpenedModel) => Promise<Batching>;
  /** 無ければ慣らし運転をしない。 */
  readonly warmup: WarmupOptions | undefined;
}

/** 初期化の演算を指す印。値を持たない。 */
const INIT_SIGNATURE = "__saved_model_init_op";

/**
 * 1 つの版の SavedModel を読み、計画を立て、慣らし運転をして、提供できる形にする。
 *
 * @see tensorflow_serving/servables/tensorflow/saved_model_bundle_factory.cc
 */
export class SavedModelLoader implements Loader<ModelServable> {
  readonly #host: Host;
  readonly #options: SavedModelLoaderOptions;
  readonly #id: ServableId;
  readonly #directory: string;
  #release = (): void => {};

  constructor(host: Host, options: SavedModelLoaderOptions, id: ServableId, directory: string) {
    this.#host = host;
    this.#options = options;
    this.#id = id;
    this.#directory = directory;
  }

  /**
   * @throws UNIMPLEMENTED 実行できる signature が 1 つも無い。
   * @throws 読み込み、まとめ方の設定、慣らし運転の失敗。
   */
  async load(signal: AbortSignal): Promise<ModelServable> {
    const startMs = this.#host.clock.monotonicMs();
    try {
      const servable = await this.#load(signal, startMs);
      this.#record("success", startMs);
      return servable;
    } catch (thrown) {
      this.unload();
      this.#record("fail", startMs);
      throw thrown;
    }
  }

  unload(): void {
    const release = this.#release;
    this.#release = () => {};
    release();
  }

  async #load(signal: AbortSignal, startMs: number): Promise<ModelServable> {
    const { open, coat, storage, warmup } = this.#options;
    const { clock, log } = this.#host;
    log.info(`Reading SavedModel from: ${this.#directory}`);
    const opened = await open(this.#directory, signal);
    this.#release = () => opened.dispose();
    const batching = await coat(this.#directory, opened);
    this.#release = () => {
      batching.close();
      opened.dispose();
    };
    const servable: ModelServable = {
      id: this.#id,
      signatures: opened.signatures,
      sha256: opened.sha256,
      stateful: opened.stateful,
      prepare: batching.prepare,
    };
    await this.#plan(servable, signal);
    if (warmup !== undefined) await warmUp(this.#host, storage, this.#directory, servable, warmup);
    signal.throwIfAborted();
    log.info("SavedModel loaded", {
      path: this.#directory,
      sha256: opened.sha256,
      stateful: opened.stateful,
      signatures: [...opened.signatures.keys()],
      ms: Math.round(clock.monotonicMs() - startMs),
    });
    return servable;
  }

  /**
   * signature ごとの計画を先に立て、最初の要求を遅らせない。実行できないものが混じっていても、
   * ほかの signature は提供する。未対応の演算は呼び出しが同じ文で断るだけで、読み込みは成り立つ。
   * ほかの理由で 1 つも実行できなければ(壊れたグラフ)、読み込みの失敗とする。
   */
  async #plan({ signatures, prepare }: ModelServable, signal: AbortSignal): Promise<void> {
    let first: unknown;
    let usable = signatures.size === 0;
    for (const [key, { inputs, outputs }] of signatures) {
      // 大きなグラフの計画は時間が掛かる。1 つごとに、待っている要求へ譲る。
      await new Promise<void>((resolve) => this.#host.clock.endOfTurn(resolve));
      signal.throwIfAborted();
      const feeds = [...inputs.values()].map(({ name }) => name).sort();
      const fetches = [...outputs.values()].map(({ name }) => name);
      // 出力の無いものと初期化の印は、要求からは呼べない。
      if (fetches.length === 0 || key === INIT_SIGNATURE) continue;
      try {
        prepare(feeds, fetches);
        usable = true;
      } catch (thrown) {
        const error = StatusError.from(thrown);
        if (error.code === Code.UNIMPLEMENTED) usable = true;
        first ??= thrown;
        this.#host.log.warn(`Signature ${key} cannot be served: ${error}`);
      }
    }
    if (!usable && first !== undefined) throw first;
  }

  #record(outcome: "success" | "fail", startMs: number): void {
    const { clock, metrics } = this.#host;
    metrics
      .counter({
        name: "/tensorflow/cc/saved_model/load_attempt_count",
        help: "The number of times a SavedModel was requested to be loaded.",
        labels: ["model_path", "status"],
      })
      .cell(this.#directory, outcome)
      .inc();
    metrics
      .counter({
        name: "/tensorflow/cc/saved_model/load_latency",
        help: "Time spent loading SavedModels, in microseconds.",
        labels: ["model_path"],
      })
      .cell(this.#directory)
      .inc(Math.round((clock.monotonicMs() - startMs) * 1000));
  }
}
