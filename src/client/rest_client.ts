import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import {
  Code,
  type CodeName,
  cancelled,
  deadlineExceeded,
  internal,
  StatusError,
  unavailable,
} from "../base/status.ts";
import { SignatureDefSchema } from "../gen/tensorflow/core/protobuf/meta_graph_pb.ts";
import { signatureFromProto } from "../tensor/signature_proto.ts";
import type { CallOptions, MetadataAnswer, ModelRef, VersionStatus } from "./grpc_client.ts";
import { formatJson, type JsonInput, type JsonOutput, parseJson } from "./json_text.ts";

export interface RestClientOptions {
  /** `http://localhost:8501` のように、`/v1` の手前まで。 */
  readonly origin: string;
  /** 呼び出しごとの期限の既定。 */
  readonly timeoutMs?: number;
  /** すべての要求に付ける見出し(`Authorization` など)。 */
  readonly headers?: Readonly<Record<string, string>>;
  /** サーバーを確かめる根(PEM)。無ければシステムの根。 */
  readonly rootCerts?: string;
}

/** 行形式か列形式の一方。 */
export type PredictBody = { readonly instances: readonly JsonInput[] } | { readonly inputs: JsonInput };

/** 分類・回帰の例。値は 1 つか、同じ種類の列。 */
export interface ExamplesBody {
  readonly examples: readonly { readonly [feature: string]: JsonInput }[];
  readonly context?: { readonly [feature: string]: JsonInput };
}

const DEFAULT_TIMEOUT_MS = 30_000;

/** HTTP の状態から。複数のコードが 1 つの状態になるので、元のコードに戻るとは限らない。 */
const codes: Readonly<Record<number, Code>> = {
  400: Code.INVALID_ARGUMENT,
  401: Code.UNAUTHENTICATED,
  403: Code.PERMISSION_DENIED,
  404: Code.NOT_FOUND,
  409: Code.ABORTED,
  413: Code.RESOURCE_EXHAUSTED,
  429: Code.RESOURCE_EXHAUSTED,
  499: Code.CANCELLED,
  500: Code.INTERNAL,
  501: Code.UNIMPLEMENTED,
  503: Code.UNAVAILABLE,
  504: Code.DEADLINE_EXCEEDED,
};

/**
 * TensorFlow Serving の REST を話す客。失敗はすべて StatusError で、文面はサーバーのもの
 * (つながらなければ UNAVAILABLE、期限が過ぎれば DEADLINE_EXCEEDED)。
 */
export class RestClient {
  readonly #options: RestClientOptions;

  constructor(options: RestClientOptions) {
    this.#options = options;
  }

  /** @returns 行形式なら行の列、列形式なら出力(1 つなら値、複数なら別名 → 値)。 */
  async predict(model: ModelRef, body: PredictBody, options: CallOptions = {}): Promise<JsonOutput> {
    const key = "instances" in body ? "predictions" : "outputs";
    return this.#infer(model, "predict", body, key, options);
  }

  /** @returns 例ごとの `[ラベル, 点]` の列。 */
  async classify(model: ModelRef, body: ExamplesBody, options: CallOptions = {}): Promise<JsonOutput> {
    return this.#infer(model, "classify", { ...body }, "results", options);
  }

  /** @returns 例ごとの値。 */
  async regress(model: ModelRef, body: ExamplesBody, options: CallOptions = {}): Promise<JsonOutput> {
    return this.#infer(model, "regress", { ...body }, "results", options);
  }

  async getModelMetadata(model: ModelRef, options: CallOptions = {}): Promise<MetadataAnswer> {
    const answer = await this.#fetch(`${pathOf(model)}/metadata`, undefined, options);
    const spec = member(answer, "model_spec");
    const signatures = member(member(member(answer, "metadata"), "signature_def"), "signature_def");
    return {
      model: {
        name: String(member(spec, "name")),
        version: BigInt(String(member(spec, "version"))),
        signatureName: String(member(spec, "signature_name")),
      },
      signatures: new Map(
        Object.entries(signatures ?? {}).map(([key, json]) => [
          key,
          signatureFromProto(key, fromJson(SignatureDefSchema, json as JsonValue)),
        ]),
      ),
    };
  }

  /** 版の降順。 */
  async getModelStatus(model: ModelRef, options: CallOptions = {}): Promise<readonly VersionStatus[]> {
    const answer = await this.#fetch(pathOf(model), undefined, options);
    const versions = member(answer, "model_version_status");
    if (!Array.isArray(versions)) throw internal("The server answered without model_version_status");
    return versions.map((one) => {
      const status = member(one, "status");
      return {
        version: BigInt(String(member(one, "version"))),
        state: String(member(one, "state")),
        code: Code[String(member(status, "error_code")) as CodeName],
        message: String(member(status, "error_message")),
      };
    });
  }

  async #infer(
    model: ModelRef,
    verb: string,
    body: { readonly [key: string]: JsonInput },
    key: string,
    options: CallOptions,
  ): Promise<JsonOutput> {
    const { signatureName = "" } = model;
    const named: { readonly [key: string]: JsonInput } =
      signatureName === "" ? body : { signature_name: signatureName, ...body };
    const answer = await this.#fetch(`${pathOf(model)}:${verb}`, formatJson(named), options);
    const value = member(answer, key);
    if (value === undefined) throw internal(`The server answered without ${key}`);
    return value;
  }

  /** @param body 無ければ GET。 */
  async #fetch(path: string, body: string | undefined, options: CallOptions): Promise<JsonOutput> {
    const { origin, headers, rootCerts, timeoutMs = DEFAULT_TIMEOUT_MS } = this.#options;
    const timeout = AbortSignal.timeout(options.timeoutMs ?? timeoutMs);
    const signal = options.signal === undefined ? timeout : AbortSignal.any([timeout, options.signal]);
    let status: number;
    let text: string;
    try {
      const response = await fetch(origin + path, {
        signal,
        ...(body === undefined ? {} : { method: "POST", body }),
        headers: { ...headers, ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
        ...(rootCerts === undefined ? {} : { tls: { ca: rootCerts } }),
      });
      status = response.status;
      text = await response.text();
    } catch (thrown) {
      if (timeout.aborted) throw deadlineExceeded("Deadline Exceeded", thrown);
      if (options.signal?.aborted) throw cancelled("Cancelled", thrown);
      throw unavailable(`Could not reach ${origin}`, thrown);
    }
    const answer = readAnswer(text);
    if (status === 200 && answer !== undefined) return answer;
    const message = answer === undefined ? undefined : member(answer, "error");
    const code = status === 200 ? Code.INTERNAL : (codes[status] ?? Code.UNKNOWN);
    throw new StatusError(code, typeof message === "string" ? message : `The server answered HTTP ${status}`);
  }
}

/** JSON でなければ(HTML の頁、空の本文)undefined。 */
function readAnswer(text: string): JsonOutput | undefined {
  try {
    return parseJson(text);
  } catch (thrown) {
    if (thrown instanceof SyntaxError) return undefined;
    throw thrown;
  }
}

function pathOf({ name, version, label }: ModelRef): string {
  const base = `/v1/models/${encodeURIComponent(name)}`;
  if (version !== undefined) return `${base}/versions/${version}`;
  return label === undefined ? base : `${base}/labels/${encodeURIComponent(label)}`;
}

/** オブジェクトの中の値。オブジェクトでなければ undefined。 */
function member(value: JsonOutput | undefined, key: string): JsonOutput | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  return Object.hasOwn(value, key) ? value[key] : undefined;
}
