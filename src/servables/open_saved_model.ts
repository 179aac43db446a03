import type { Clock } from "../base/clock.ts";
import type { Host } from "../base/host.ts";
import { deadlineExceeded } from "../base/status.ts";
import type { Backend } from "../graph/backend.ts";
import { GraphSession, type PreparedGraph } from "../graph/session.ts";
import { readAssets, readSavedModel } from "../savedmodel/saved_model.ts";
import type { Storage } from "../savedmodel/storage.ts";
import type { DType } from "../tensor/dtype.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { digestDirectory } from "./content_digest.ts";
import { checkManifest } from "./manifest.ts";
import type { PreparedRun, RunContext } from "./model_servable.ts";
import type { SavedModelLoaderOptions } from "./saved_model_loader.ts";
import { yieldingStorage } from "./yielding_storage.ts";

export interface OpenOptions {
  /** 提供する MetaGraph の札。順は問わない。 */
  readonly tags: readonly string[];
  /** 全モデルで共有する。要るモデルを初めて読むときに立ち上がる。 */
  readonly backend: Backend;
  /** 添えられた指紋の表を確かめてから読む版か。無ければ確かめない。 */
  readonly requiresManifest?: (directory: string) => boolean;
}

/**
 * SavedModel の読み手と、グラフの実行系をつなぐ。
 *
 * ファイルは数 MiB ずつ読み、検査合計も計画も区切りごとにイベントループへ譲るので、大きなモデルを
 * 読む間もほかの要求は止まらない。
 */
export function openSavedModel(
  host: Host,
  disk: Storage,
  { tags, backend, requiresManifest }: OpenOptions,
): SavedModelLoaderOptions["open"] {
  const yieldTurn = (): Promise<void> => new Promise((resolve) => host.clock.endOfTurn(resolve));
  const storage = yieldingStorage(disk, yieldTurn);
  return async (directory, signal) => {
    if (requiresManifest?.(directory)) await checkManifest(storage, directory, signal);
    await using bundle = await readSavedModel(storage, directory, tags);
    const { metaGraph, signatures, assets, initOp, checkpoint } = bundle;
    await checkpoint?.checkRanges();
    const session = await GraphSession.load(
      {
        metaGraph,
        signatures,
        assets,
        assetFiles: await readAssets(storage, bundle),
        initOp,
        checkpoint,
      },
      {
        backend,
        yieldTurn,
        signal,
        onDeviceFailure: (error) => host.log.error("the wasm backend failed", { error }),
        onPrint: (text) => host.log.info("printed by the graph", { directory, text }),
      },
    );
    try {
      const sha256 = await digestDirectory(storage, directory, signal);
      const runs = new WeakMap<PreparedGraph, PreparedRun>();
      return {
        signatures,
        stateful: session.writesVariables,
        sha256,
        prepare: (feeds, fetches) => {
          const graph = session.prepare(feeds, fetches);
          const known = runs.get(graph);
          if (known !== undefined) return known;
          const run = new GraphRun(host.clock, graph);
          runs.set(graph, run);
          return run;
        },
        dispose: () => session.dispose(),
      };
    } catch (thrown) {
      session.dispose();
      throw thrown;
    }
  };
}

/** 期限のある呼び出しは、グラフの中の繰り返しの 1 周ごとに期限を見る。 */
class GraphRun implements PreparedRun {
  readonly feedDTypes: readonly (DType | undefined)[];
  readonly rowShapes: readonly (readonly number[])[] | undefined;
  readonly #clock: Clock;
  readonly #graph: PreparedGraph;
  #deadlineMs = 0;

  constructor(clock: Clock, graph: PreparedGraph) {
    this.#clock = clock;
    this.#graph = graph;
    this.feedDTypes = graph.feedDTypes;
    this.rowShapes = graph.rowShapes;
  }

  run(inputs: readonly Tensor[], { deadlineMs }: RunContext): readonly Tensor[] {
    if (deadlineMs === undefined) return this.#graph.run(inputs);
    // 実行は同期で重ならないので、期限は使い回しの場所に置ける。
    this.#deadlineMs = deadlineMs;
    return this.#graph.run(inputs, this.#checkpoint);
  }

  readonly #checkpoint = (): void => {
    if (this.#clock.monotonicMs() >= this.#deadlineMs) {
      throw deadlineExceeded("Timed out waiting for notification");
    }
  };
}
