import type { Host } from "../base/host.ts";
import type { HistogramCell } from "../base/metrics.ts";
import {
  cancelled,
  deadlineExceeded,
  failedPrecondition,
  internal,
  invalidArgument,
  type StatusError,
  unimplemented,
} from "../base/status.ts";
import type { ServableHandle } from "../core/servable_handle.ts";
import type { ServableId } from "../core/servable_id.ts";
import type { ModelServable, PreparedRun } from "../servables/model_servable.ts";
import { dtypeName } from "../tensor/dtype.ts";
import {
  CLASSIFY_METHOD,
  DEFAULT_SIGNATURE,
  PREDICT_METHOD,
  REGRESS_METHOD,
  type Signature,
  type TensorInfo,
} from "../tensor/signature.ts";
import { sizeOf, type Tensor, type TensorMap, tensor } from "../tensor/tensor.ts";
import type { CallContext } from "./call.ts";
import {
  type Classifications,
  classificationHead,
  type InferenceHead,
  type Regressions,
  regressionHead,
} from "./inference_head.ts";
import { RequestMetrics } from "./metrics.ts";
import { borrow, type ModelSpec, requireModelSpec, type ServedModels } from "./model_spec.ts";
import { type OutputPlan, PredictPlan, type RequestInputs } from "./predict_plan.ts";
import { inferenceLog, predictLog, type RequestLogger } from "./request_logger.ts";

export interface PredictRequest {
  readonly spec: ModelSpec | undefined;
  /** 空なら `serving_default`。 */
  readonly signatureName: string;
  /** シグネチャが決まってから呼ばれる復号。JSON はこれを知らないと読めない。 */
  readonly readInputs: (signature: Signature) => RequestInputs;
  /** 空なら全部の出力。 */
  readonly outputFilter: readonly string[];
  /** シグネチャが無いときの失敗。REST は gRPC と違う文面を使う。 */
  readonly missingSignature?: (signatureName: string) => StatusError;
}

/** 答えに付く、実際に使ったモデルとシグネチャ。 */
export interface Answered {
  readonly id: ServableId;
  readonly signatureName: string;
}

export interface PredictResult extends Answered {
  /** 別名 → 値。シグネチャの順。 */
  readonly outputs: TensorMap;
}

/** 分類と回帰の要求。 */
export interface InferenceRequest {
  readonly spec: ModelSpec | undefined;
  /** 空なら `serving_default`。 */
  readonly signatureName: string;
  /** 直列化した Example。context は混ぜ終えてある({@link mergeContext})。シグネチャの検査の後に呼ばれる。 */
  readonly readExamples: () => readonly Uint8Array[];
}

export interface ClassifyResult extends Answered {
  readonly classifications: Classifications;
}

export interface RegressResult extends Answered {
  readonly regressions: Regressions;
}

export interface InferenceTask {
  readonly spec: ModelSpec | undefined;
  readonly signatureName: string;
  /** `tensorflow/serving/classify` か `tensorflow/serving/regress`。 */
  readonly methodName: string;
}

export interface MultiInferenceRequest {
  readonly tasks: readonly InferenceTask[];
  readonly readExamples: () => readonly Uint8Array[];
}

export type InferenceResult = ClassifyResult | RegressResult;

export interface MetadataResult {
  readonly id: ServableId;
  readonly signatures: ReadonlyMap<string, Signature>;
}

export interface PredictionOptions {
  /** `--enable_signature_method_name_check` */
  readonly methodNameCheck: boolean;
  /** 要求の記録。無ければ残さない。 */
  readonly requestLogger?: RequestLogger;
  /** 1 度の予測の入力の、要素の合計の上限。無ければ無制限。 */
  readonly maxTensorElements?: number;
}

/**
 * 文脈を各例の前につなぐ。protobuf の連結は併合なので、同じ特徴は例のものが勝つ。
 *
 * @param examples 直列化した Example。
 */
export function mergeContext(examples: readonly Uint8Array[], context: Uint8Array): readonly Uint8Array[] {
  if (context.length === 0) return examples;
  return examples.map((example) => {
    const merged = new Uint8Array(context.length + example.length);
    merged.set(context);
    merged.set(example, context.length);
    return merged;
  });
}

const nameOrDefault = (signatureName: string): string =>
  signatureName === "" ? DEFAULT_SIGNATURE : signatureName;

/** 計画と、実行の時間の置き場。 */
interface Planned {
  readonly plan: PredictPlan;
  readonly latency: HistogramCell;
}

type Api = "Predict" | "Classify" | "Regress";

const predictMethods = [PREDICT_METHOD, CLASSIFY_METHOD, REGRESS_METHOD];

/**
 * 推論の API。どの入口から来ても、検査の順序はここだけが決める。
 *
 * モデルが同期で答えるときは Promise を作らずに返す。
 *
 * @see tensorflow_serving/model_servers/prediction_service_impl.cc
 */
export class PredictionService {
  readonly #host: Host;
  readonly #models: ServedModels;
  readonly #options: PredictionOptions;
  readonly #metrics: RequestMetrics;
  readonly #runtime: {
    readonly [api in Api]: ReturnType<RequestMetrics["runtime"]>;
  };
  /** シグネチャは版ごとの物なので、版が降りれば消える。 */
  readonly #latencies: { readonly [api in Api]: WeakMap<Signature, HistogramCell> } = {
    Predict: new WeakMap(),
    Classify: new WeakMap(),
    Regress: new WeakMap(),
  };
  /** シグネチャは版ごとの物なので、版が降りれば計画も消える。 */
  readonly #plans = new WeakMap<Signature, Planned>();

  constructor(host: Host, models: ServedModels, options: PredictionOptions) {
    this.#host = host;
    this.#models = models;
    this.#options = options;
    this.#metrics = new RequestMetrics(host.metrics);
    this.#runtime = {
      Predict: this.#metrics.runtime("Predict"),
      Classify: this.#metrics.runtime("Classify"),
      Regress: this.#metrics.runtime("Regress"),
    };
  }

  /**
   * @throws 仕様 5.2、5.3 の順の検査の失敗と、演算の失敗。
   * @throws CANCELLED, DEADLINE_EXCEEDED 客が去ったか期限が過ぎた。まだならモデルには届かない。
   */
  predict(request: PredictRequest, context: CallContext): PredictResult | Promise<PredictResult> {
    return borrow(this.#models, requireModelSpec(request.spec), this.#predict, request, context);
  }

  /** ほとんどの要求はこの道を通る。同期で終わる間は、変数を捕まえる関数を作らない。 */
  readonly #predict = (
    { id, servable }: ServableHandle<ModelServable>,
    request: PredictRequest,
    context: CallContext,
  ): PredictResult | Promise<PredictResult> => {
    const signatureName = nameOrDefault(request.signatureName);
    const signature = servable.signatures.get(signatureName);
    if (signature === undefined) {
      throw (
        request.missingSignature?.(signatureName) ??
        failedPrecondition(`Serving signature key "${signatureName}" not found.`)
      );
    }
    const inputs = request.readInputs(signature);
    this.#checkPredictMethod(signature);
    const { plan, latency } = this.#planOf(servable, signature, id.name);
    const tensors = plan.arrange(inputs);
    this.#checkElements(tensors);
    const chosen = plan.choose(request.outputFilter);
    plan.checkDTypes(chosen.run, tensors);
    const startMs = this.#start(context);
    const values = chosen.run.run(tensors, context);
    if (values instanceof Promise) {
      return this.#predictLater(
        values,
        chosen,
        id,
        signatureName,
        inputs,
        request,
        context,
        startMs,
        latency,
      );
    }
    this.#finish(context, startMs, latency);
    return this.#toResult(values, chosen, id, signatureName, inputs, request);
  };

  async #predictLater(
    values: Promise<readonly Tensor[]>,
    chosen: OutputPlan,
    id: ServableId,
    signatureName: string,
    inputs: RequestInputs,
    request: PredictRequest,
    context: CallContext,
    startMs: number,
    latency: HistogramCell | undefined,
  ): Promise<PredictResult> {
    const fetched = await values;
    this.#finish(context, startMs, latency);
    return this.#toResult(fetched, chosen, id, signatureName, inputs, request);
  }

  #toResult(
    values: readonly Tensor[],
    { aliases }: OutputPlan,
    id: ServableId,
    signatureName: string,
    inputs: RequestInputs,
    { outputFilter }: PredictRequest,
  ): PredictResult {
    const outputs = new Map<string, Tensor>();
    for (let i = 0; i < aliases.length; i++) outputs.set(aliases[i]!, values[i]!);
    const write = this.#options.requestLogger?.sample(id.name);
    if (write !== undefined) logPrediction(write, id, signatureName, inputs, outputFilter, outputs);
    return { id, signatureName, outputs };
  }

  /** @throws 仕様 5.6 の順の検査の失敗と、演算の失敗。 */
  classify(request: InferenceRequest, context: CallContext): ClassifyResult | Promise<ClassifyResult> {
    return this.#infer(request, context, classificationHead, "Classify", (answered, classifications) => ({
      ...answered,
      classifications,
    }));
  }

  /** @throws 仕様 5.7 の順の検査の失敗と、演算の失敗。 */
  regress(request: InferenceRequest, context: CallContext): RegressResult | Promise<RegressResult> {
    return this.#infer(request, context, regressionHead, "Regress", (answered, regressions) => ({
      ...answered,
      regressions,
    }));
  }

  /**
   * 1 回の実行で、複数のシグネチャの分類と回帰を得る。モデルは最初の仕事の指定で 1 度だけ決まる。
   *
   * @returns 仕事と同じ順。
   * @throws 仕様 5.8 の順の検査の失敗と、演算の失敗。
   * @see tensorflow_serving/servables/tensorflow/multi_inference.cc
   */
  multiInference(
    request: MultiInferenceRequest,
    context: CallContext,
  ): readonly InferenceResult[] | Promise<readonly InferenceResult[]> {
    const spec = request.tasks[0]?.spec ?? { name: "" };
    const use = ({ id, servable }: ServableHandle<ModelServable>) => {
      const heads = this.#readTasks(servable, request.tasks);
      const examples = readNonEmpty(request.readExamples);
      const inputs = [...new Map(heads.map(({ head }) => [head.input.name, head.input])).values()];
      inputs.sort((a, b) => (a.name < b.name ? -1 : 1));
      const fetches = [...new Set(heads.flatMap(({ head }) => head.outputs))].sort();
      const run = servable.prepare(
        inputs.map(({ name }) => name),
        fetches,
      );
      const tensors = inputs.map((input, i) => toExampleTensor(run, i, input, examples));
      return this.#run(run, tensors, context, undefined, (values) => {
        this.#metrics.recordExamples(spec.name, examples.length);
        const fetched = new Map(fetches.map((name, i) => [name, values[i]!]));
        return heads.map(({ signatureName, answer }) =>
          answer({ id, signatureName }, fetched, examples.length),
        );
      });
    };
    return borrow(this.#models, spec, use, request, context);
  }

  /**
   * @param fields 知りたい項目。`signature_def` だけがある。
   * @throws INVALID_ARGUMENT 項目が無い、知らない項目。ほかはモデルの検索の失敗。
   */
  getModelMetadata(spec: ModelSpec | undefined, fields: readonly string[]): MetadataResult {
    const required = requireModelSpec(spec);
    if (fields.length === 0) {
      throw invalidArgument("GetModelMetadataRequest must specify at least one metadata_field");
    }
    const odd = fields.find((field) => field !== "signature_def");
    if (odd !== undefined) throw invalidArgument(`Metadata field ${odd} is not supported`);
    using handle = this.#models.acquire(required);
    return { id: handle.id, signatures: handle.servable.signatures };
  }

  #checkElements(tensors: readonly Tensor[]): void {
    const { maxTensorElements = Number.POSITIVE_INFINITY } = this.#options;
    let elements = 0;
    for (let i = 0; i < tensors.length; i++) elements += sizeOf(tensors[i]!.shape);
    if (elements > maxTensorElements) {
      throw invalidArgument(
        `Request has ${elements} tensor elements, at most ${maxTensorElements} are accepted`,
      );
    }
  }

  #checkPredictMethod({ methodName }: Signature): void {
    if (!this.#options.methodNameCheck || predictMethods.includes(methodName)) return;
    throw internal(
      `Expected prediction signature method_name to be one of {${predictMethods.join(", ")}}. Was: ${methodName}`,
    );
  }

  #planOf(servable: ModelServable, signature: Signature, model: string): Planned {
    const known = this.#plans.get(signature);
    if (known !== undefined) return known;
    const plan = new PredictPlan(servable, signature);
    const planned = { plan, latency: this.#latencyOf("Predict", model, signature) };
    this.#plans.set(signature, planned);
    return planned;
  }

  #infer<T, R>(
    request: InferenceRequest,
    context: CallContext,
    headOf: (signature: Signature, methodNameCheck: boolean) => InferenceHead<T>,
    api: "Classify" | "Regress",
    answer: (answered: Answered, value: T) => R,
  ): R | Promise<R> {
    const spec = requireModelSpec(request.spec);
    const use = ({ id, servable }: ServableHandle<ModelServable>) => {
      const signatureName = nameOrDefault(request.signatureName);
      const signature = servable.signatures.get(signatureName);
      if (signature === undefined) {
        throw invalidArgument(`No signature was found with the name: ${signatureName}`);
      }
      const head = headOf(signature, this.#options.methodNameCheck);
      const examples = readNonEmpty(request.readExamples);
      const run = servable.prepare([head.input.name], head.outputs);
      const tensors = [toExampleTensor(run, 0, head.input, examples)];
      return this.#run(run, tensors, context, this.#latencyOf(api, spec.name, signature), (values) => {
        const fetched = new Map(head.outputs.map((name, i) => [name, values[i]!]));
        this.#options.requestLogger?.sample(spec.name)?.(id, () =>
          inferenceLog(api, id, signatureName, examples),
        );
        return answer({ id, signatureName }, head.read(fetched, examples.length));
      });
    };
    return borrow(this.#models, spec, use, request, context);
  }

  #readTasks(
    { signatures }: ModelServable,
    tasks: readonly InferenceTask[],
  ): {
    readonly signatureName: string;
    readonly head: InferenceHead<unknown>;
    readonly answer: (answered: Answered, fetched: TensorMap, exampleCount: number) => InferenceResult;
  }[] {
    const { methodNameCheck } = this.#options;
    const seen = new Set<string>();
    return tasks.map(({ spec, signatureName: given, methodName }) => {
      if ((spec?.name ?? "") === "") throw invalidArgument("Found ModelSpec with an empty model name.");
      if (spec?.name !== tasks[0]?.spec?.name) {
        throw invalidArgument("All ModelSpecs in a MultiInferenceRequest must access the same model name.");
      }
      const signatureName = nameOrDefault(given);
      if (seen.has(signatureName)) {
        throw invalidArgument(`Duplicate evaluation of signature: ${signatureName}`);
      }
      seen.add(signatureName);
      const signature = signatures.get(signatureName);
      if (signature === undefined) {
        throw invalidArgument(`Requested signature not found in model graph: ${signatureName}`);
      }
      if (methodName === CLASSIFY_METHOD) {
        const head = classificationHead(signature, methodNameCheck);
        return {
          signatureName,
          head,
          answer: (answered, fetched, count) => ({
            ...answered,
            classifications: head.read(fetched, count),
          }),
        };
      }
      if (methodName === REGRESS_METHOD) {
        const head = regressionHead(signature, methodNameCheck);
        return {
          signatureName,
          head,
          answer: (answered, fetched, count) => ({ ...answered, regressions: head.read(fetched, count) }),
        };
      }
      throw unimplemented(`Unsupported signature method_name: ${methodName}`);
    });
  }

  /** 実行の時間の置き場。TF Serving の指標(モデルごと)と自前の指標(シグネチャごと)の両方に入れる。 */
  #latencyOf(api: Api, model: string, signature: Signature): HistogramCell {
    const known = this.#latencies[api].get(signature);
    if (known !== undefined) return known;
    const runtime = this.#runtime[api].get(model);
    const own = this.#metrics.signatureRuntime(model, signature.key);
    const both: HistogramCell = {
      observe(value) {
        runtime.observe(value);
        own.observe(value);
      },
    };
    this.#latencies[api].set(signature, both);
    return both;
  }

  /** 客が待っていることを確かめてから走らせ、時間を測り、結果を読む。 */
  #run<T>(
    run: PreparedRun,
    tensors: readonly Tensor[],
    context: CallContext,
    latency: HistogramCell | undefined,
    read: (values: readonly Tensor[]) => T,
  ): T | Promise<T> {
    const startMs = this.#start(context);
    const finish = (values: readonly Tensor[]): T => {
      this.#finish(context, startMs, latency);
      return read(values);
    };
    const values = run.run(tensors, context);
    return values instanceof Promise ? values.then(finish) : finish(values);
  }

  /** @returns 走らせ始めた時刻。 @throws CANCELLED, DEADLINE_EXCEEDED 客がもう待っていない。 */
  #start(context: CallContext): number {
    const startMs = this.#host.clock.monotonicMs();
    if (context.abortedBeforeRun ?? context.signal?.aborted) throw cancelled("Run call was cancelled");
    checkDeadline(context, startMs);
    return startMs;
  }

  /** @throws DEADLINE_EXCEEDED 走っている間に期限が過ぎた。 */
  #finish(context: CallContext, startMs: number, latency: HistogramCell | undefined): void {
    const endMs = this.#host.clock.monotonicMs();
    checkDeadline(context, endMs);
    latency?.observe((endMs - startMs) * 1000);
  }
}

/** 予測 1 件を記録に書く。 */
function logPrediction(
  write: NonNullable<ReturnType<RequestLogger["sample"]>>,
  id: ServableId,
  signatureName: string,
  inputs: RequestInputs,
  outputFilter: readonly string[],
  outputs: TensorMap,
): void {
  write(id, () => predictLog(id, signatureName, inputs, outputFilter, outputs));
}

function checkDeadline({ deadlineMs }: CallContext, nowMs: number): void {
  if (deadlineMs !== undefined && nowMs >= deadlineMs) {
    throw deadlineExceeded("Timed out waiting for notification");
  }
}

/** @throws INVALID_ARGUMENT `Input is empty.` */
function readNonEmpty(readExamples: () => readonly Uint8Array[]): readonly Uint8Array[] {
  const examples = readExamples();
  if (examples.length === 0) throw invalidArgument("Input is empty.");
  return examples;
}

/** @throws INVALID_ARGUMENT 受け手が文字列でない。 */
function toExampleTensor(
  { feedDTypes }: PreparedRun,
  feed: number,
  { wireDType }: TensorInfo,
  examples: readonly Uint8Array[],
): Tensor {
  if (feedDTypes[feed] !== "string") {
    const wanted = feedDTypes[feed] ?? dtypeName(wireDType);
    throw invalidArgument(`Expects arg[${feed}] to be ${wanted} but string is provided`);
  }
  return tensor("string", [examples.length], [...examples]);
}
