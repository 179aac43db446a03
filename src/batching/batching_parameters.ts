import { invalidArgument } from "../base/status.ts";
import type { BatchingParameters as BatchingParametersProto } from "../gen/tensorflow_serving/servables/tensorflow/session_bundle_config_pb.ts";

/** 待ち行列 1 本の決まり。モデルごとに変えられるのはここまで。 */
export interface QueueOptions {
  /** 受け付ける要求の最大の行数。splitting が無ければ 1 バッチの最大でもある。 */
  readonly maxBatchSize: number;
  /** 最初の要求が仲間を待つ時間。ミリ秒(小数あり)。0 なら待たない。 */
  readonly batchTimeoutMs: number;
  /** 待っているバッチの最大数。開いているものを含む。 */
  readonly maxEnqueuedBatches: number;
  /** 実行してよい行数。足りない分は詰め物をする。空なら何行でもよい。 */
  readonly allowedBatchSizes: readonly number[];
  readonly padVariableLengthInputs: boolean;
  readonly enableLargeBatchSplitting: boolean;
  /** 1 バッチの最大の行数。splitting が無ければ maxBatchSize に等しい。 */
  readonly maxExecutionBatchSize: number;
}

export interface BatchingParameters {
  /** 同時に実行するバッチの数。全モデルの合計。 */
  readonly numBatchThreads: number;
  readonly queue: QueueOptions;
}

/** @see tensorflow/core/kernels/batching_util/shared_batch_scheduler.h QueueOptions */
const DEFAULT_MAX_BATCH_SIZE = 1000;
const DEFAULT_MAX_ENQUEUED_BATCHES = 10;

/**
 * 設定ファイルの値を、無いものは既定値で補って読む。
 *
 * @param proto ファイルが無ければ undefined。
 * @param defaultThreads num_batch_threads が無いときの値(CPU の数)。
 * @throws INVALID_ARGUMENT 待ち行列として成り立たない値。
 * @see tensorflow_serving/servables/tensorflow/bundle_factory_util.cc
 */
export function toBatchingParameters(
  proto: BatchingParametersProto | undefined,
  defaultThreads: number,
): BatchingParameters {
  const numBatchThreads = Number(proto?.numBatchThreads ?? defaultThreads);
  if (numBatchThreads < 1) {
    throw invalidArgument(`num_batch_threads must be positive; was ${numBatchThreads}`);
  }
  return { numBatchThreads, queue: toQueueOptions(proto) };
}

/**
 * 待ち行列の分だけを読む。モデルごとのファイルはここだけが効く。
 *
 * @throws INVALID_ARGUMENT 待ち行列として成り立たない値。
 */
export function toQueueOptions(proto: BatchingParametersProto | undefined): QueueOptions {
  const maxBatchSize = Number(proto?.maxBatchSize ?? DEFAULT_MAX_BATCH_SIZE);
  const allowedBatchSizes = (proto?.allowedBatchSizes ?? []).map(Number);
  const last = allowedBatchSizes.at(-1);
  if (last !== undefined && last !== maxBatchSize) {
    throw invalidArgument(
      `Last entry in allowed_batch_sizes must match max_batch_size; last entry was ${last}; expected ${maxBatchSize}`,
    );
  }
  const enableLargeBatchSplitting = proto?.enableLargeBatchSplitting ?? false;
  const maxEnqueuedBatches = Number(proto?.maxEnqueuedBatches ?? DEFAULT_MAX_ENQUEUED_BATCHES);
  const options: QueueOptions = {
    maxBatchSize,
    batchTimeoutMs: Number(proto?.batchTimeoutMicros ?? 0) / 1000,
    // splitting の無い古い設定では 0 も通っていたので、1 と読む。
    maxEnqueuedBatches: enableLargeBatchSplitting || maxEnqueuedBatches !== 0 ? maxEnqueuedBatches : 1,
    allowedBatchSizes,
    padVariableLengthInputs: proto?.padVariableLengthInputs ?? false,
    enableLargeBatchSplitting,
    maxExecutionBatchSize: enableLargeBatchSplitting
      ? // どちらも書かれていないと、TF Serving では 1 行も実行できない待ち行列になる。
        Number(proto?.maxExecutionBatchSize ?? proto?.maxBatchSize ?? 0)
      : maxBatchSize,
  };
  checkQueueOptions(options);
  return options;
}

function checkQueueOptions(options: QueueOptions): void {
  const { maxBatchSize, batchTimeoutMs, maxEnqueuedBatches, maxExecutionBatchSize } = options;
  if (maxBatchSize < 1) throw invalidArgument(`input_batch_size_limit must be positive; was ${maxBatchSize}`);
  if (batchTimeoutMs < 0) {
    throw invalidArgument(`batch_timeout_micros must be non-negative; was ${batchTimeoutMs * 1000}`);
  }
  if (maxEnqueuedBatches < 1) {
    throw invalidArgument(`max_enqueued_batches must be positive; was ${maxEnqueuedBatches}`);
  }
  if (maxBatchSize < maxExecutionBatchSize) {
    // 数の前に区切りが無いのも TF の文面のまま(1 は splitting が有効であること)。
    throw invalidArgument(
      "When enable_large_batch_splitting is true, input_batch_size_limit must be greater than or equal to " +
        `max_execution_batch_size.1${maxBatchSize}${maxExecutionBatchSize}`,
    );
  }
  if (maxExecutionBatchSize < 1) {
    throw invalidArgument(`max_execution_batch_size must be positive; was ${maxExecutionBatchSize}`);
  }
}
