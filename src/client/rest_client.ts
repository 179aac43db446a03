import { Code, codeName, deadlineExceeded, StatusError, unavailable } from "../base/status.ts";

export interface RestClientOptions {
  /** `http://host:port`。 */
  readonly baseUrl: string;
  /** 呼び出しごとの期限の既定。ミリ秒。 */
  readonly timeoutMs?: number;
}

export interface RestCallOptions {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** どのモデルか。版とラベルは高々一方。 */
export interface RestModelRef {
  readonly name: string;
  readonly version?: bigint;
  readonly label?: string;
}

/** 行(`instances`)か列(`inputs`)の一方。 */
export type PredictBody = { readonly signatureName?: string } & (
  | { readonly instances: readonly unknown[] }
  | { readonly inputs: unknown }
);

export interface RestVersionStatus {
  readonly version: bigint;
  readonly state: string;
  readonly code: Code;
  readonly message: string;
}

const DEFAULT_TIMEOUT_MS = 10_000;

/** HTTP の状態から分かる範囲のコード。400 は 3 つのコードが共有するので、最も多いものにする。 */
const codeByStatus = new Map<number, Code>([
  [400, Code.INVALID_ARGUMENT],
  [401, Code.UNAUTHENTICATED],
  [403, Code.PERMISSION_DENIED],
  [404, Code.NOT_FOUND],
  [409, Code.ABORTED],
  [413, Code.RESOURCE_EXHAUSTED],
  [429, Code.RESOURCE_EXHAUSTED],
  [499, Code.CANCELLED],
  [501, Code.UNIMPLEMENTED],
  [503, Code.UNAVAILABLE],
  [504, Code.DEADLINE_EXCEEDED],
]);

const bareWord = /(?<=[[\s,:])(-?Infinity|NaN)(?=[\s,\]}])/g;
const MARK = "\u0000number:";

/** 応答は NaN や Infinity を裸の語で含むことがある。それは JSON でないので、印を付けて読み、数に戻す。 */
function parseReply(text: string): unknown {
  if (!/NaN|Infinity/.test(text)) return JSON.parse(text);
  return JSON.parse(
    text.replace(bareWord, (word) => JSON.stringify(MARK + word)),
    (_, value: unknown) =>
      typeof value === "string" && value.startsWith(MARK) ? Number(value.slice(MARK.length)) : value,
  );
}

/**
 * TensorFlow Serving の REST を話す客。失敗はすべて StatusError
 * (つながらなければ UNAVAILABLE、期限が過ぎれば DEADLINE_EXCEEDED)。
 */
export class RestClient {
  readonly #baseUrl: string;
  readonly #timeoutMs: number;

  constructor({ baseUrl, timeoutMs = DEFAULT_TIMEOUT_MS }: RestClientOptions) {
    this.#baseUrl = baseUrl.replace(/\/+$/, "");
    this.#timeoutMs = timeoutMs;
  }

  /**
   * @returns 行の要求には `predictions`、列の要求には `outputs` の中身。
   * @throws サーバーの断り(INVALID_ARGUMENT, NOT_FOUND など)。
   */
  async predict(model: RestModelRef, body: PredictBody, options: RestCallOptions = {}): Promise<unknown> {
    const { signatureName, ...values } = body;
    const document = signatureName === undefined ? values : { signature_name: signatureName, ...values };
    const reply = (await this.#call(
      "POST",
      `${pathOf(model)}:predict`,
      options,
      JSON.stringify(document),
    )) as {
      predictions?: unknown;
      outputs?: unknown;
    };
    return "instances" in body ? reply.predictions : reply.outputs;
  }

  /** 応答の文書そのもの。 */
  async getModelMetadata(model: RestModelRef, options: RestCallOptions = {}): Promise<unknown> {
    return await this.#call("GET", `${pathOf(model)}/metadata`, options);
  }

  /** 版の降順。 */
  async getModelStatus(
    model: RestModelRef,
    options: RestCallOptions = {},
  ): Promise<readonly RestVersionStatus[]> {
    const reply = (await this.#call("GET", pathOf(model), options)) as {
      model_version_status: {
        version: string;
        state: string;
        status: { error_code: keyof typeof Code; error_message: string };
      }[];
    };
    return reply.model_version_status.map(({ version, state, status }) => ({
      version: BigInt(version),
      state,
      code: Code[status.error_code] ?? Code.UNKNOWN,
      message: status.error_message,
    }));
  }

  async #call(method: string, path: string, options: RestCallOptions, body?: string): Promise<unknown> {
    const timeout = AbortSignal.timeout(options.timeoutMs ?? this.#timeoutMs);
    const signal = options.signal === undefined ? timeout : AbortSignal.any([timeout, options.signal]);
    let reply: Response;
    let text: string;
    try {
      reply = await fetch(this.#baseUrl + path, { method, signal, ...(body === undefined ? {} : { body }) });
      text = await reply.text();
    } catch (error) {
      if (timeout.aborted) throw deadlineExceeded("Deadline Exceeded", error);
      if (signal.aborted) throw StatusError.from(error);
      throw unavailable(`No connection to ${this.#baseUrl}: ${String(error)}`, error);
    }
    if (reply.ok) return parseReply(text);
    throw new StatusError(codeByStatus.get(reply.status) ?? Code.INTERNAL, messageOf(text, reply.status));
  }
}

function pathOf({ name, version, label }: RestModelRef): string {
  const choice =
    version !== undefined
      ? `/versions/${version}`
      : label !== undefined
        ? `/labels/${encodeURIComponent(label)}`
        : "";
  return `/v1/models/${encodeURIComponent(name)}${choice}`;
}

/** エラー本文の `error`。その形でなければ、状態とその前半を示す。 */
function messageOf(text: string, status: number): string {
  try {
    const { error } = JSON.parse(text) as { error?: unknown };
    if (typeof error === "string") return error;
  } catch {
    // 途中の代理などが返す HTML。下で示す。
  }
  return `HTTP ${status} ${codeName(codeByStatus.get(status) ?? Code.INTERNAL)}: ${text.slice(0, 200)}`;
}
