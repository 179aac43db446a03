import { create, fromBinary } from "@bufbuild/protobuf";
import type { Host } from "../base/host.ts";
import { exponentialLimits } from "../base/metrics.ts";
import { Code, dataLoss, invalidArgument, StatusError, unimplemented } from "../base/status.ts";
import {
  type ClassificationRequest,
  ClassificationRequestSchema,
} from "../gen/tensorflow_serving/apis/classification_pb.ts";
import {
  type MultiInferenceRequest,
  MultiInferenceRequestSchema,
} from "../gen/tensorflow_serving/apis/inference_pb.ts";
import { type PredictRequest, PredictRequestSchema } from "../gen/tensorflow_serving/apis/predict_pb.ts";
import { type PredictionLog, PredictionLogSchema } from "../gen/tensorflow_serving/apis/prediction_log_pb.ts";
import {
  type RegressionRequest,
  RegressionRequestSchema,
} from "../gen/tensorflow_serving/apis/regression_pb.ts";
import type { Storage } from "../savedmodel/storage.ts";
import type { ModelServable } from "./model_servable.ts";
import { readRecords } from "./tf_record.ts";

/** 版のディレクトリからの、慣らし運転の記録の場所。 */
const WARMUP_FILE = "assets.extra/tf_serving_warmup_requests";
const MAX_RECORDS = 1000;

/** 記録された要求を、読み込み中の版に対して本物の要求と同じ道で走らせる。答えは捨てる。 */
export interface WarmupRunner {
  predict(servable: ModelServable, request: PredictRequest): unknown;
  classify(servable: ModelServable, request: ClassificationRequest): unknown;
  regress(servable: ModelServable, request: RegressionRequest): unknown;
  multiInference(servable: ModelServable, request: MultiInferenceRequest): unknown;
}

export interface WarmupOptions {
  readonly runner: WarmupRunner;
  /** 1 件を繰り返す回数。0 以下は 1 回。 */
  readonly numRequestIterations: number;
}

/** 慣らし運転が置き場所について知ること。 */
type WarmupStorage = Pick<Storage, "exists" | "read">;

/**
 * 版を提供する前に、`assets.extra/tf_serving_warmup_requests` に記録された要求を走らせる。
 * 1 件ごとにイベントループへ譲るので、ほかのモデルへの要求は止まらない。
 *
 * @param directory 版のディレクトリ。
 * @throws DATA_LOSS TFRecord でない、壊れている。
 * @throws INVALID_ARGUMENT PredictionLog でない、1000 件を超える。
 * @throws UNIMPLEMENTED session_run_log と predict_streamed_log。
 * @throws 要求の失敗は、そのまま読み込みの失敗になる。
 * @see tensorflow_serving/servables/tensorflow/saved_model_warmup_util.cc
 */
export async function warmUp(
  host: Host,
  storage: WarmupStorage,
  directory: string,
  servable: ModelServable,
  { runner, numRequestIterations }: WarmupOptions,
): Promise<void> {
  const { clock, log } = host;
  const path = `${directory}/${WARMUP_FILE}`;
  if (!(await storage.exists(path))) {
    log.info(`No warmup data file found at ${path}`);
    return;
  }
  const options = numRequestIterations > 0 ? `num_request_iterations { value: ${numRequestIterations} }` : "";
  log.info(`Starting to read warmup data for model at ${path} with model-warmup-options ${options}`);
  const startMs = clock.monotonicMs();
  let records = 0;
  let failure: StatusError | undefined;
  try {
    for (const record of readRecords(await storage.read(path))) {
      const entry = parseRecord(record, path);
      for (let i = 0; i < Math.max(1, numRequestIterations); i++) {
        await replay(runner, servable, entry);
        await new Promise<void>((resolve) => clock.endOfTurn(resolve));
      }
      records++;
      if (records > MAX_RECORDS) {
        throw invalidArgument(`Number of warmup records exceeds the maximum (${MAX_RECORDS}) at ${path}`);
      }
    }
  } catch (thrown) {
    failure = StatusError.from(thrown);
    if (failure.code !== Code.DATA_LOSS) throw failure;
  }
  const elapsedUs = Math.round((clock.monotonicMs() - startMs) * 1000);
  recordMetrics(host, directory, failure?.toString() ?? "OK", elapsedUs, records);
  if (failure !== undefined) {
    throw dataLoss(`${failure.message}. Please verify your warmup data is in TFRecord format.`);
  }
  log.info(
    `Finished reading warmup data for model at ${path}. Number of warmup records read: ${records}. ` +
      `Elapsed time (microseconds): ${elapsedUs}.`,
  );
}

function parseRecord(record: Uint8Array, path: string): PredictionLog {
  try {
    return fromBinary(PredictionLogSchema, record);
  } catch (thrown) {
    throw invalidArgument(
      `Failed to parse warmup record: ${new TextDecoder().decode(record)} from ${path}`,
      thrown,
    );
  }
}

/** 要求の部分の無い記録は、空の要求として走らせる(そして失敗する)。 */
async function replay(
  runner: WarmupRunner,
  servable: ModelServable,
  { logType }: PredictionLog,
): Promise<void> {
  switch (logType.case) {
    case "predictLog":
      await runner.predict(servable, logType.value.request ?? create(PredictRequestSchema));
      return;
    case "classifyLog":
      await runner.classify(servable, logType.value.request ?? create(ClassificationRequestSchema));
      return;
    case "regressLog":
      await runner.regress(servable, logType.value.request ?? create(RegressionRequestSchema));
      return;
    case "multiInferenceLog":
      await runner.multiInference(servable, logType.value.request ?? create(MultiInferenceRequestSchema));
      return;
    case "sessionRunLog":
      throw unimplemented("Unsupported log_type for warmup: 5");
    case "predictStreamedLog":
      throw unimplemented("Unsupported log_type for warmup: 7");
  }
}

function recordMetrics(host: Host, path: string, status: string, elapsedUs: number, records: number): void {
  const labels = ["model_path", "status"];
  host.metrics
    .histogram(
      {
        name: "/tensorflow/serving/model_warmup_latency",
        help: "Wall time of model warm-ups in microseconds.",
        labels,
      },
      exponentialLimits(10, 1.8, 33),
    )
    .cell(path, status)
    .observe(elapsedUs);
  host.metrics
    .counter({
      name: "/tensorflow/serving/model_warmup_records_read",
      help: "The number of warm-up records replayed.",
      labels,
    })
    .cell(path, status)
    .inc(records);
}
