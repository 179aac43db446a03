import { Client, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { type Code, internal, StatusError, unavailable } from "../base/status.ts";
import { PredictionService } from "../gen/tensorflow_serving/apis/prediction_service_pb.ts";
import type { CallOptions, ClientTls } from "./grpc_client.ts";

/** 生のバイト列で送れる推論。 */
export type RawMethod = "predict" | "classify" | "regress" | "multiInference";

/** 送る前に符号化を済ませた 1 件。何度でも送れる。 */
export interface RawRequest {
  /** REST は URL の道(`/v1/models/m:predict`)、gRPC は方法の道。 */
  readonly path: string;
  readonly body: Uint8Array<ArrayBuffer>;
}

export interface RawClient extends Disposable {
  /**
   * 1 件を送り、答えを読み切る。
   *
   * @returns 答えの本文のバイト数。
   * @throws StatusError 断られたか、つながらない。
   */
  send(request: RawRequest, options?: CallOptions): Promise<number>;
}

/** gRPC の方法の道。 */
export function grpcPath(method: RawMethod): string {
  return `/${PredictionService.typeName}/${PredictionService.method[method].name}`;
}

export interface RawGrpcOptions {
  readonly address: string;
  readonly tls?: ClientTls;
  /** HTTP/2 の接続の数。呼び出しは順に割り振る。 */
  readonly connections: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
}

/** gRPC のバイト列をそのまま運ぶ客。 */
export class RawGrpcClient implements RawClient {
  readonly #clients: readonly Client[];
  readonly #timeoutMs: number;
  readonly #metadata = new Metadata();
  #next = 0;

  constructor({ address, tls, connections, timeoutMs, headers = {} }: RawGrpcOptions) {
    const pem = (text: string | undefined): Buffer | null => (text === undefined ? null : Buffer.from(text));
    const channelCredentials =
      tls === undefined
        ? credentials.createInsecure()
        : credentials.createSsl(pem(tls.rootCerts), pem(tls.key), pem(tls.cert));
    this.#timeoutMs = timeoutMs;
    for (const [name, value] of Object.entries(headers)) this.#metadata.set(name, value);
    this.#clients = Array.from(
      { length: connections },
      () =>
        new Client(address, channelCredentials, {
          "grpc.max_receive_message_length": -1,
          "grpc.max_send_message_length": -1,
          // 同じ宛先への Client どうしは、これが無いと 1 本の接続を分け合う。
          "grpc.use_local_subchannel_pool": 1,
        }),
    );
  }

  [Symbol.dispose](): void {
    for (const client of this.#clients) client.close();
  }

  send(
    { path, body }: RawRequest,
    { timeoutMs = this.#timeoutMs, signal }: CallOptions = {},
  ): Promise<number> {
    const client = this.#clients[this.#next++ % this.#clients.length]!;
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    if (signal?.aborted) return Promise.reject(StatusError.from(signal.reason));
    const call = client.makeUnaryRequest(
      path,
      (bytes: Uint8Array<ArrayBuffer>) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
      (bytes: Buffer) => bytes.length,
      body,
      this.#metadata,
      { deadline: Date.now() + timeoutMs },
      (error: ServiceError | null, length?: number) => {
        signal?.removeEventListener("abort", cancel);
        if (error !== null) reject(new StatusError(error.code as Code, error.details, error));
        else if (length === undefined) reject(internal(`${path} answered nothing`));
        else resolve(length);
      },
    );
    const cancel = (): void => call.cancel();
    signal?.addEventListener("abort", cancel, { once: true });
    return promise;
  }
}

export interface RawRestOptions {
  /** `http://localhost:8501` のように、`/v1` の手前まで。 */
  readonly origin: string;
  readonly rootCerts?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
}

/** REST のバイト列をそのまま運ぶ客。 */
export class RawRestClient implements RawClient {
  readonly #options: RawRestOptions;

  constructor(options: RawRestOptions) {
    this.#options = options;
  }

  [Symbol.dispose](): void {}

  async send({ path, body }: RawRequest, options: CallOptions = {}): Promise<number> {
    const { origin, rootCerts, headers, timeoutMs } = this.#options;
    const timeout = AbortSignal.timeout(options.timeoutMs ?? timeoutMs);
    let response: Response;
    let answer: Uint8Array;
    try {
      response = await fetch(origin + path, {
        method: "POST",
        body,
        headers: { ...headers, "Content-Type": "application/json" },
        signal: options.signal === undefined ? timeout : AbortSignal.any([timeout, options.signal]),
        ...(rootCerts === undefined ? {} : { tls: { ca: rootCerts } }),
      });
      answer = await response.bytes();
    } catch (thrown) {
      if (thrown instanceof DOMException) throw StatusError.from(thrown);
      throw unavailable(`Could not reach ${origin}`, thrown);
    }
    if (response.status === 200) return answer.length;
    throw new HttpFailure(response.status, new TextDecoder().decode(answer.subarray(0, MAX_SHOWN)));
  }
}
const MAX_SHOWN = 200;

/** 200 でない答え。状態の番号をそのまま見せる(写し替えると、元の番号が分からなくなる)。 */
class HttpFailure extends Error {
  constructor(status: number, body: string) {
    super(`HTTP ${status}${body === "" ? "" : `: ${body.trim()}`}`);
  }
}
