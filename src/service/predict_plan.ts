import { invalidArgument } from "../base/status.ts";
import type { ModelServable, PreparedRun } from "../servables/model_servable.ts";
import { dtypeName } from "../tensor/dtype.ts";
import type { Signature, TensorInfo } from "../tensor/signature.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { joinNames } from "./signature_text.ts";

/** 要求の入力。値が undefined の別名は「送られたが復号できなかった」。 */
export type RequestInputs = ReadonlyMap<string, Tensor | undefined>;

/** どの出力を求めるかまで決まった計画。`aliases` は `run` の結果と同じ順。 */
export interface OutputPlan {
  readonly aliases: readonly string[];
  readonly run: PreparedRun;
}

/** 出力の絞り方ごとに覚える計画の上限。絞り方は客が選ぶので、際限なく覚えない。 */
const MAX_OUTPUT_PLANS = 64;

function sizeMismatch(signature: Signature, inputs: RequestInputs): Error {
  const given = [...inputs.keys()];
  const wanted = [...signature.inputs.keys()];
  const extra = given.filter((alias) => !signature.inputs.has(alias));
  const missing = wanted.filter((alias) => !inputs.has(alias));
  return invalidArgument(
    `input size does not match signature: ${given.length}!=${wanted.length} len({${joinNames(given)}}) != ` +
      `len({${joinNames(wanted)}}). Sent extra: {${joinNames(extra)}}. Missing but required: {${joinNames(missing)}}.`,
  );
}

/**
 * 1 つのシグネチャについて、名前の解決を済ませたもの。呼び出しごとには別名を 1 度ずつ引くだけになる。
 *
 * @see tensorflow_serving/servables/tensorflow/predict_util.cc PreProcessPrediction
 */
export class PredictPlan {
  readonly #signature: Signature;
  readonly #servable: ModelServable;
  /** feed の順は TF と同じくテンソル名のバイト順。`Expects arg[i]` の i になる。 */
  readonly #feeds: readonly { readonly alias: string; readonly info: TensorInfo }[];
  /** 別名のバイト順(検査の順) → feed の位置。 */
  readonly #positions: readonly { readonly alias: string; readonly feed: number }[];
  readonly #outputPlans = new Map<string, OutputPlan>();
  #allOutputs: OutputPlan | undefined;

  constructor(servable: ModelServable, signature: Signature) {
    this.#servable = servable;
    this.#signature = signature;
    this.#feeds = [...signature.inputs]
      .map(([alias, info]) => ({ alias, info }))
      .sort((a, b) => Buffer.compare(Buffer.from(a.info.name), Buffer.from(b.info.name)));
    this.#positions = [...signature.inputs.keys()].map((alias) => ({
      alias,
      feed: this.#feeds.findIndex((feed) => feed.alias === alias),
    }));
  }

  /**
   * 入力を feed の順に並べる。足りないものは既定値で補う。
   *
   * @throws INVALID_ARGUMENT 数、名前、復号の食い違い(仕様 5.3 の 4〜7)。
   */
  arrange(inputs: RequestInputs): Tensor[] {
    const { defaults } = this.#signature;
    const wanted = this.#positions.length;
    if (inputs.size > wanted || (inputs.size < wanted && defaults.size === 0)) {
      throw sizeMismatch(this.#signature, inputs);
    }
    const tensors = new Array<Tensor>(wanted);
    let used = 0;
    for (const { alias, feed } of this.#positions) {
      const given = inputs.get(alias);
      if (given !== undefined) {
        tensors[feed] = given;
        used++;
      } else {
        tensors[feed] = this.#defaultOf(alias, inputs);
      }
    }
    if (used !== inputs.size) {
      const known = [...inputs.keys()].filter((alias) => this.#signature.inputs.has(alias));
      throw invalidArgument(
        `Inputs contains invalid name. Used request inputs: ${joinNames(known)}, request input: ${joinNames(inputs.keys())}`,
      );
    }
    return tensors;
  }

  #defaultOf(alias: string, inputs: RequestInputs): Tensor {
    if (inputs.has(alias)) throw invalidArgument(`tensor parsing error: ${alias}`);
    const { defaults, inputs: infos } = this.#signature;
    const value = defaults.get(alias);
    if (value !== undefined) return value;
    throw invalidArgument(
      `Signature input alias: ${alias}(feed name: ${infos.get(alias)!.name}) not found in request and no default value provided. ` +
        `Inputs expected to be in the request {${joinNames(inputs.keys())}}, or default input alias set: ${joinNames(defaults.keys())}`,
    );
  }

  /**
   * 求める出力を決める。空は「すべて」。
   *
   * @throws INVALID_ARGUMENT 知らない別名、同じ別名の繰り返し、出力が 1 つも無い。
   */
  choose(filter: readonly string[]): OutputPlan {
    if (filter.length === 0) {
      this.#allOutputs ??= this.#prepare([...this.#signature.outputs.keys()]);
      return this.#allOutputs;
    }
    const seen = new Set<string>();
    for (const alias of filter) {
      if (!this.#signature.outputs.has(alias)) {
        throw invalidArgument(
          `output tensor alias not found in signature: ${alias} Outputs expected to be in the set {${joinNames(this.#signature.outputs.keys())}}.`,
        );
      }
      if (seen.has(alias)) throw invalidArgument(`duplicate output tensor alias: ${alias}`);
      seen.add(alias);
    }
    // 順序だけが違う絞り方は同じ計画になるよう、シグネチャの順に直す。
    const aliases = [...this.#signature.outputs.keys()].filter((alias) => seen.has(alias));
    const key = JSON.stringify(aliases);
    const known = this.#outputPlans.get(key);
    if (known !== undefined) return known;
    const plan = this.#prepare(aliases);
    if (this.#outputPlans.size < MAX_OUTPUT_PLANS) this.#outputPlans.set(key, plan);
    return plan;
  }

  /** @throws INVALID_ARGUMENT `Expects arg[i] to be … but … is provided` */
  checkDTypes({ feedDTypes }: PreparedRun, tensors: readonly Tensor[]): void {
    for (let i = 0; i < tensors.length; i++) {
      const { dtype } = tensors[i]!;
      if (feedDTypes[i] === dtype) continue;
      const wanted = feedDTypes[i] ?? dtypeName(this.#feeds[i]!.info.wireDType);
      throw invalidArgument(`Expects arg[${i}] to be ${wanted} but ${dtype} is provided`);
    }
  }

  #prepare(aliases: readonly string[]): OutputPlan {
    const feeds = this.#feeds.map(({ info }) => info.name);
    const repeated = feeds.find((name, i) => i > 0 && name === feeds[i - 1]);
    if (repeated !== undefined) throw invalidArgument(`Endpoint "${repeated}" fed more than once.`);
    if (aliases.length === 0) throw invalidArgument("Must specify at least one target to fetch or execute.");
    const fetches = aliases.map((alias) => this.#signature.outputs.get(alias)!.name);
    return { aliases, run: this.#servable.prepare(feeds, fetches) };
  }
}
