import type { Host } from "../base/host.ts";
import { invalidArgument } from "../base/status.ts";
import { type Call, type CallContext, createCall } from "../service/call.ts";
import type { ModelService } from "../service/model_service.ts";
import type { ModelSpec } from "../service/model_spec.ts";
import type { RequestInputs } from "../service/predict_plan.ts";
import type { PredictionService, PredictRequest, PredictResult } from "../service/prediction_service.ts";
import type { Signature } from "../tensor/signature.ts";
import { readExamplesBody, writeClassifications, writeRegressions } from "./json_example.ts";
import type { ParseOptions } from "./json_parser.ts";
import { writePredictions } from "./json_predictions.ts";
import { type PredictBody, type PredictFormat, readPredictBody } from "./json_tensor.ts";
import { printMetadata } from "./metadata_json.ts";
import { BadVersion, parsePredictionPath, parseQueryPath } from "./model_path.ts";
import { printModels, printStatuses } from "./status_json.ts";

export interface RestServices {
  readonly prediction: PredictionService;
  readonly model: ModelService;
}

export interface RouteOptions {
  /** 推論 1 回の期限。0 以下は無期限。 */
  readonly timeoutMs: number;
  /** JSON の読み方の制限。 */
  readonly json?: ParseOptions;
}

/** 応答の本文。文字列は ASCII に限る。その場で得たバイト列は借り物のことがあり、間を置かずに送る。 */
export type Body = Uint8Array | string;

/** 届いた要求。 */
export interface Arrival {
  /** 伸ばし終えた本文。読まない宛先なら空。 */
  readonly body: Uint8Array;
  /** 届いた時刻(Clock.monotonicMs)。推論の期限の起点。 */
  readonly arrivedMs: number;
  /** 客が答えを待たずに去ったか。 */
  readonly isGone: boolean;
  /** 客が去ったら立つ。 */
  readonly signal: AbortSignal;
}

/** 宛先から決まる仕事。 */
export interface Route {
  /** 本文を読む必要があるか。 */
  readonly readsBody: boolean;
  /** @throws StatusError, BadVersion */
  answer(arrival: Arrival): Body | Promise<Body>;
}

type Work = (spec: ModelSpec, arrival: Arrival) => Body | Promise<Body>;

interface Verb {
  readonly call: Call;
  readonly work: Work;
}

/**
 * `/v1/` の下の宛先と仕事の表。
 *
 * @see tensorflow_serving/model_servers/http_rest_api_handler.cc ProcessRequest
 */
export class Routes {
  readonly #posts: Readonly<Record<string, Verb>>;
  readonly #status: Work;
  readonly #metadata: Work;
  readonly #query: Call;

  constructor(host: Host, { prediction, model }: RestServices, { timeoutMs, json }: RouteOptions) {
    const callOf = (api: string): Call => createCall(host, { api, entrypoint: "REST", counted: true });
    const deadlineOf = ({ arrivedMs }: Arrival) => (timeoutMs > 0 ? arrivedMs + timeoutMs : undefined);

    const predict: Work = (spec, arrival) => {
      const call = new PredictCall(spec, readPredictBody(arrival.body, json), arrival, deadlineOf(arrival));
      const result = prediction.predict(call, call);
      return result instanceof Promise
        ? writeLater(result, call)
        : writePredictions(result.outputs, call.format, true);
    };

    const readExamples = (spec: ModelSpec, { body }: Arrival) => {
      const { signatureName, examples } = readExamplesBody(body, json);
      return { spec, signatureName, readExamples: () => examples };
    };
    const classify: Work = async (spec, arrival) => {
      const context = new Context(arrival, deadlineOf(arrival));
      const result = await prediction.classify(readExamples(spec, arrival), context);
      return writeClassifications(result.classifications);
    };
    const regress: Work = async (spec, arrival) => {
      const context = new Context(arrival, deadlineOf(arrival));
      const result = await prediction.regress(readExamples(spec, arrival), context);
      return writeRegressions(result.regressions);
    };

    this.#posts = {
      predict: { call: callOf("predict"), work: predict },
      classify: { call: callOf("classify"), work: classify },
      regress: { call: callOf("regress"), work: regress },
    };
    this.#query = callOf("");
    this.#status = (spec) => {
      // TF Serving は名前の無い問い合わせを断る。ここではモデルの一覧を返す。
      if (spec.name === "" && spec.version === undefined && spec.label === undefined) {
        return model.listModels().then((models) => Buffer.from(printModels(models)));
      }
      const states = model.getModelStatus(requireName(spec));
      return states instanceof Promise
        ? states.then((all) => Buffer.from(printStatuses(all)))
        : Buffer.from(printStatuses(states));
    };
    this.#metadata = (spec) =>
      Buffer.from(printMetadata(prediction.getModelMetadata(requireName(spec), ["signature_def"])));
  }

  /** どんな宛先にも仕事はある。合わないものは、断るのが仕事。 */
  find(method: string, target: string): Route {
    const malformed = invalidArgument(`Malformed request: ${method} ${target}`);
    try {
      if (method === "POST") return this.#createPost(target, malformed);
      if (method === "GET") return this.#createGet(target, malformed);
      return this.#refuse("", malformed);
    } catch (thrown) {
      if (thrown instanceof BadVersion) return this.#refuse(thrown.modelName, thrown);
      throw thrown;
    }
  }

  /** 予備の問い合わせ(CORS の preflight)も要求として数える。 */
  count<T>(work: () => T): T | Promise<T> {
    return this.#query("", work);
  }

  #createPost(target: string, malformed: Error): Route {
    const path = parsePredictionPath(target);
    if (path === undefined) return this.#refuse("", malformed);
    const { spec, word } = path;
    // 照合は大文字小文字を見ないが、動詞の比較は見る。`:PREDICT` はここで断られる。
    const verb = Object.hasOwn(this.#posts, word) ? this.#posts[word] : undefined;
    if (verb === undefined) return this.#refuse(spec.name, malformed);
    const { call, work } = verb;
    return {
      readsBody: true,
      answer: (arrival) => call(spec.name, work, spec, arrival),
    };
  }

  #createGet(target: string, malformed: Error): Route {
    const path = parseQueryPath(target);
    if (path === undefined) return this.#refuse("", malformed);
    const { spec, word } = path;
    const work = word === "metadata" ? this.#metadata : this.#status;
    return {
      readsBody: false,
      answer: (arrival) => this.#query(spec.name, work, spec, arrival),
    };
  }

  #refuse(modelName: string, error: Error): Route {
    return {
      readsBody: false,
      answer: () =>
        this.#query(modelName, () => {
          throw error;
        }),
    };
  }
}

/** 期限と「客が去ったか」。 */
class Context implements CallContext {
  readonly deadlineMs: number | undefined;
  readonly #arrival: Arrival;

  constructor(arrival: Arrival, deadlineMs: number | undefined) {
    this.#arrival = arrival;
    this.deadlineMs = deadlineMs;
  }

  get abortedBeforeRun(): boolean {
    return this.#arrival.isGone;
  }

  /** 見られるまで作らせない。 */
  get signal(): AbortSignal {
    return this.#arrival.signal;
  }
}

/** 1 回の予測。要求であり文脈でもある 1 つのものにして、呼び出しごとに作るものを減らす。 */
class PredictCall extends Context implements PredictRequest {
  readonly spec: ModelSpec;
  readonly signatureName: string;
  readonly outputFilter: readonly string[] = noFilter;
  readonly missingSignature = missingSignature;
  /** 読んだ後に決まる。応答も同じ書き方にする。 */
  format: PredictFormat = "row";
  readonly #body: PredictBody;

  constructor(spec: ModelSpec, body: PredictBody, arrival: Arrival, deadlineMs: number | undefined) {
    super(arrival, deadlineMs);
    this.spec = spec;
    this.signatureName = body.signatureName;
    this.#body = body;
  }

  readInputs(signature: Signature): RequestInputs {
    const { format, inputs } = this.#body.read(signature);
    this.format = format;
    return inputs;
  }
}

async function writeLater(result: Promise<PredictResult>, call: PredictCall): Promise<Body> {
  const { outputs } = await result;
  return writePredictions(outputs, call.format);
}

const noFilter: readonly string[] = [];

const missingSignature = (name: string) =>
  invalidArgument(`Serving signature name: "${name}" not found in signature def`);

/** @throws INVALID_ARGUMENT 名前が無い。 */
function requireName(spec: ModelSpec): ModelSpec {
  if (spec.name === "") throw invalidArgument("Missing model name in request.");
  return spec;
}
