import type { Host } from "../base/host.ts";
import type { BatchScheduler } from "../batching/batch_scheduler.ts";
import type { QueueOptions } from "../batching/batching_parameters.ts";
import { type Batching, QueuedBatching } from "../batching/batching_run.ts";
import { TurnBatching } from "../batching/turn_batching.ts";
import type { OpenedModel } from "./saved_model_loader.ts";

/** `--enable_batching` で待ち行列を使うときの決まり。 */
export interface QueueSettings {
  readonly scheduler: BatchScheduler;
  readonly queue: QueueOptions;
  /**
   * モデルごとの設定(`--enable_per_model_batching_parameters`)を使うなら、それを読む関数。
   * ファイルが無ければ undefined を返し、そのモデルはまとめない。
   */
  readonly readPerModel?: (path: string) => Promise<QueueOptions | undefined>;
}

/** 版のディレクトリからの、モデルごとの設定の場所。 */
const PER_MODEL_FILE = "batching_params.pbtxt";

/**
 * モデルの実行に着せる上着を選ぶ。
 *
 * @param settings 無ければ、待たない合流({@link TurnBatching})。
 * @param maxDelayMs 待たない合流でも、混んで走らせるのが遅れたものを断るまでの時間。0 は見ない。
 * @see tensorflow_serving/servables/tensorflow/saved_model_bundle_factory.cc
 */
export function createModelBatching(
  host: Host,
  settings: QueueSettings | undefined,
  maxDelayMs = 0,
): (directory: string, opened: OpenedModel) => Promise<Batching> {
  return async (directory, { prepare, stateful }) => {
    const plain: Batching = { prepare, close() {} };
    // 頼まれていない合流が、呼び出しの回数に意味のあるモデルの答えを変えてはいけない。
    if (settings === undefined) return stateful ? plain : new TurnBatching(host, prepare, maxDelayMs);
    const { scheduler, readPerModel } = settings;
    const queue =
      readPerModel === undefined ? settings.queue : await readPerModel(`${directory}/${PER_MODEL_FILE}`);
    if (queue === undefined) return plain;
    host.log.info("Wrapping session to perform batch processing");
    return new QueuedBatching(host, scheduler, queue, prepare);
  };
}
