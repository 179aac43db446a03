import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import type { Host } from "../base/host.ts";
import type { CounterCell, Family } from "../base/metrics.ts";
import { type CodeName, codeName, notFound, permissionDenied, StatusError } from "../base/status.ts";
import type { ServableId } from "../core/servable_id.ts";
import { ExampleSchema } from "../gen/tensorflow/core/example/example_pb.ts";
import { PredictionLogSchema } from "../gen/tensorflow_serving/apis/prediction_log_pb.ts";
import type { ModelConfig, ModelLogging } from "../sources/model_config.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { tensorToProto } from "../tensor/tensor_proto.ts";

/** 記録の行き先。 */
export interface LogCollector {
  /**
   * 書くことを頼む。待たせない。
   *
   * @param done 書けたら呼ばれる。書けなければその失敗を渡す。
   */
  collect(record: Uint8Array, done: (error?: StatusError) => void): void;
  /** 頼まれたものを書き切る。 */
  close(): Promise<void>;
}

/** 行き先の作り方。引数はファイル名の頭。 */
export type CreateCollector = (filenamePrefix: string) => LogCollector;

type LogType = NonNullable<MessageInitShape<typeof PredictionLogSchema>["logType"]>;

const keyOf = ({ collector, filenamePrefix }: ModelLogging): string =>
  JSON.stringify([collector, filenamePrefix]);

interface ModelLog {
  readonly collector: LogCollector;
  readonly rate: number;
}

/**
 * 要求と、それを処理したモデルを PredictionLog として間引いて残す。残したものは warm-up に使える。
 * 記録の失敗が要求を失敗させることは無い。
 *
 * @see tensorflow_serving/core/request_logger.cc, tensorflow_serving/core/server_request_logger.cc
 */
export class RequestLogger {
  readonly #host: Host;
  readonly #collectors: ReadonlyMap<string, CreateCollector>;
  readonly #random: () => number;
  readonly #count: Family<CounterCell>;
  #models = new Map<string, ModelLog>();
  /** 種類と頭 → 行き先。設定が置き換わっても、同じものは書き続ける。 */
  #open = new Map<string, LogCollector>();

  /**
   * @param collectors 種類(`LogCollectorConfig.type`)→ 行き先の作り方。
   * @param random 0 以上 1 未満の乱数。
   */
  constructor(host: Host, collectors: ReadonlyMap<string, CreateCollector>, random: () => number) {
    this.#host = host;
    this.#collectors = collectors;
    this.#random = random;
    this.#count = host.metrics.counter({
      name: "/tensorflow/serving/request_log_count",
      help: "The total number of requests logged, by model and status.",
      labels: ["model_name", "status"],
    });
  }

  /**
   * 設定のとおりに残し始める。設定から消えたものはやめ、書き切る。
   *
   * @throws NOT_FOUND 知らない種類。そのときは何も変えない。
   */
  configure(models: readonly ModelConfig[]): void {
    const logged = models.flatMap(({ name, logging }) => (logging === undefined ? [] : [{ name, logging }]));
    for (const { logging } of logged) {
      if (!this.#collectors.has(logging.collector)) {
        throw notFound(`Cannot find LogCollector::Factory for type: ${logging.collector}`);
      }
    }
    const open = new Map<string, LogCollector>();
    this.#models = new Map(
      logged.map(({ name, logging }) => {
        const key = keyOf(logging);
        const create = this.#collectors.get(logging.collector)!;
        const collector = open.get(key) ?? this.#open.get(key) ?? create(logging.filenamePrefix);
        open.set(key, collector);
        return [name, { collector, rate: logging.samplingRate }];
      }),
    );
    for (const [key, collector] of this.#open) if (!open.has(key)) void collector.close();
    this.#open = open;
  }

  /**
   * 客の言葉で、新しいファイルを書き始めさせない。
   *
   * @throws PERMISSION_DENIED 設定ファイルに無い行き先。
   */
  checkKnown(models: readonly ModelConfig[]): void {
    for (const { name, logging } of models) {
      if (logging === undefined || this.#open.has(keyOf(logging))) continue;
      throw permissionDenied(`logging_config of ${name} names a log that --model_config_file does not`);
    }
  }

  /** 残すと決めた要求なら、残し方。要求ごとに 1 度呼ぶ。 */
  sample(model: string): ((id: ServableId, log: () => LogType) => void) | undefined {
    if (this.#models.size === 0) return undefined;
    const logged = this.#models.get(model);
    if (logged === undefined || this.#random() >= logged.rate) return undefined;
    return (id, log) => this.#write(logged, id, log);
  }

  async close(): Promise<void> {
    this.#models = new Map();
    await Promise.all([...this.#open.values()].map((collector) => collector.close()));
    this.#open = new Map();
  }

  #write({ collector, rate }: ModelLog, { name, version }: ServableId, log: () => LogType): void {
    const finish = (error?: StatusError): void => {
      const status: CodeName = error === undefined ? "OK" : codeName(error.code);
      this.#count.cell(name, status).inc();
      if (error !== undefined) this.#host.log.debug("request was not logged", { model: name, error });
    };
    try {
      const message = create(PredictionLogSchema, {
        logMetadata: {
          modelSpec: { name, versionChoice: { case: "version", value: { value: version } } },
          samplingConfig: { samplingRate: rate },
          timestampSecs: BigInt(Math.floor(this.#host.clock.now() / 1000)),
        },
        logType: log(),
      });
      collector.collect(toBinary(PredictionLogSchema, message), finish);
    } catch (thrown) {
      finish(StatusError.from(thrown));
    }
  }
}

const specOf = (id: ServableId, signatureName: string) => ({
  name: id.name,
  signatureName,
  versionChoice: { case: "version" as const, value: { value: id.version } },
});

const tensorsOf = (tensors: Iterable<readonly [string, Tensor | undefined]>) =>
  Object.fromEntries(
    [...tensors].flatMap(([alias, value]) => (value === undefined ? [] : [[alias, tensorToProto(value)]])),
  );

/** Predict の 1 件。 */
export function predictLog(
  id: ServableId,
  signatureName: string,
  inputs: Iterable<readonly [string, Tensor | undefined]>,
  outputFilter: readonly string[],
  outputs: Iterable<readonly [string, Tensor]>,
): LogType {
  const modelSpec = specOf(id, signatureName);
  return {
    case: "predictLog",
    value: {
      request: { modelSpec, inputs: tensorsOf(inputs), outputFilter: [...outputFilter] },
      response: { modelSpec, outputs: tensorsOf(outputs) },
    },
  };
}

/** Classify か Regress の 1 件。答えは残さない(warm-up も解析も、要求だけを使う)。 */
export function inferenceLog(
  api: "Classify" | "Regress",
  id: ServableId,
  signatureName: string,
  examples: readonly Uint8Array[],
): LogType {
  const input = {
    kind: {
      case: "exampleList" as const,
      value: { examples: examples.map((bytes) => fromBinary(ExampleSchema, bytes)) },
    },
  };
  const request = { modelSpec: specOf(id, signatureName), input };
  return api === "Classify"
    ? { case: "classifyLog", value: { request } }
    : { case: "regressLog", value: { request } };
}
