import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import type { Clock } from "../base/clock.ts";
import { resourceExhausted, unimplemented } from "../base/status.ts";
import type { CallContext } from "../service/call.ts";
import { concatBytes } from "./bytes.ts";
import { type GrpcStatus, toGrpcStatus } from "./grpc_status.ts";

/** 単項の RPC の中身だけ。 */
export interface DirectUnary {
  readonly path: string;
  /**
   * @param message 要求のメッセージ。
   * @returns 答えのメッセージ。
   * @throws StatusError
   */
  answer(message: Uint8Array, context: CallContext): Uint8Array | Promise<Uint8Array>;
}

/** メッセージの前に付く、圧縮の印と長さ。 */
const PREFIX_BYTES = 5;
/** 受け取るメッセージの上限。`grpc.max_receive_message_length` の既定と同じ。 */
const MAX_MESSAGE_BYTES = 2 ** 31 - 1;
const EMPTY = new Uint8Array(0);
/** grpc-js と同じ見出し。 */
const statusHeaders = { ":status": 200, "content-type": "application/grpc+proto" };
const replyHeaders = {
  ...statusHeaders,
  "grpc-accept-encoding": "identity,deflate,gzip",
  "grpc-encoding": "identity",
};
const contentTypes: ReadonlySet<string> = new Set(["application/grpc", "application/grpc+proto"]);
const replyOptions = { waitForTrailers: true };
const okTrailers = { "grpc-status": 0, "grpc-message": "OK" };
const unitMs: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };
const deadlineExceeded: GrpcStatus = { code: 4, details: "Deadline exceeded" };

/** @returns ミリ秒。無ければ undefined、読めなければ NaN。 */
function timeoutOf(header: string | string[] | undefined): number | undefined {
  if (header === undefined) return undefined;
  const [, digits, unit] = /^(\d{1,8})([HMSmun])$/.exec(String(header)) ?? [];
  return unit === undefined ? Number.NaN : Math.trunc(Number(digits) * unitMs[unit]!);
}

/**
 * 単項の呼び出しを、grpc-js の呼び出しの層(読み待ちの列、傍受器、メタデータ)を通さずに HTTP/2 の流れの上で答える。
 * 圧縮や、知らない形の見出しは扱わない。それらは grpc-js に任せる。
 *
 * @returns 引き受けたか。
 * @see https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
 */
export function answerDirectly(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  methods: ReadonlyMap<string, DirectUnary>,
  clock: Clock,
): boolean {
  const method = methods.get(headers[":path"]!);
  if (method === undefined || !contentTypes.has(headers["content-type"]!)) return false;
  const encoding = headers["grpc-encoding"];
  if (encoding !== undefined && encoding !== "identity") return false;
  const timeoutMs = timeoutOf(headers["grpc-timeout"]);
  if (Number.isNaN(timeoutMs)) return false;
  new DirectCall(stream, method, clock, timeoutMs);
  return true;
}

class DirectCall implements CallContext {
  readonly deadlineMs: number | undefined;
  readonly #stream: ServerHttp2Stream;
  readonly #method: DirectUnary;
  readonly #cancelTimer: (() => void) | undefined;
  #chunks: Uint8Array[] = [];
  #controller: AbortController | undefined;
  /** 答えたか、もう答える相手がいない。 */
  #finished = false;
  /** 答える前に、客が去ったか期限が来た。 */
  #cancelled = false;

  constructor(stream: ServerHttp2Stream, method: DirectUnary, clock: Clock, timeoutMs: number | undefined) {
    this.#stream = stream;
    this.#method = method;
    if (timeoutMs !== undefined) {
      this.deadlineMs = clock.monotonicMs() + timeoutMs;
      this.#cancelTimer = clock.after(timeoutMs, () => {
        this.#fail(deadlineExceeded);
        this.#cancel();
      });
    }
    // 客が先に去っただけ。続いて close が来る。
    stream.on("error", ignore);
    stream.on("data", (chunk: Uint8Array) => this.#chunks.push(chunk));
    stream.on("end", () => this.#run());
    stream.on("close", () => this.#close());
  }

  get abortedBeforeRun(): boolean {
    return this.#cancelled || (!this.#finished && (this.#stream.destroyed || this.#stream.closed));
  }

  /** 見られるまで作らない。 */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.abortedBeforeRun) this.#controller.abort();
    return this.#controller.signal;
  }

  #close(): void {
    this.#cancelTimer?.();
    if (!this.#finished) this.#cancel();
  }

  #cancel(): void {
    this.#finished = true;
    this.#cancelled = true;
    this.#controller?.abort();
  }

  #run(): void {
    if (this.#finished || this.abortedBeforeRun) return;
    try {
      const reply = this.#method.answer(readMessage(this.#chunks, this.#method.path), this);
      this.#chunks = [];
      if (reply instanceof Promise) {
        reply.then(
          (message) => this.#succeed(message),
          (thrown: unknown) => this.#fail(toGrpcStatus(thrown)),
        );
      } else this.#succeed(reply);
    } catch (thrown) {
      this.#fail(toGrpcStatus(thrown));
    }
  }

  #succeed(message: Uint8Array): void {
    if (this.#finished || this.abortedBeforeRun) return;
    this.#finished = true;
    this.#cancelTimer?.();
    const stream = this.#stream;
    const framed = Buffer.allocUnsafe(PREFIX_BYTES + message.length);
    framed[0] = 0;
    framed.writeUInt32BE(message.length, 1);
    framed.set(message, PREFIX_BYTES);
    stream.respond(replyHeaders, replyOptions);
    stream.on("wantTrailers", sendOk);
    stream.end(framed);
  }

  #fail({ code, details }: GrpcStatus): void {
    if (this.#finished || this.abortedBeforeRun) return;
    this.#finished = true;
    this.#cancelTimer?.();
    this.#stream.respond(
      { "grpc-status": code, "grpc-message": encodeURI(details), ...statusHeaders },
      { endStream: true },
    );
    // 読まない本文が、同じ接続のほかの呼び出しの窓を塞がないように捨てる。
    this.#stream.resume();
  }
}

function sendOk(this: ServerHttp2Stream): void {
  this.sendTrailers(okTrailers);
}

const ignore = (): void => {};

/**
 * ただ 1 つのメッセージ。圧縮の印は、圧縮の名前が無いので意味を持たない。
 *
 * @throws UNIMPLEMENTED メッセージが 1 つでない。文面は grpc-js と同じ。
 * @throws RESOURCE_EXHAUSTED 長さが {@link MAX_MESSAGE_BYTES} を越える。
 */
function readMessage(chunks: readonly Uint8Array[], path: string): Uint8Array {
  const bytes = concatBytes(chunks.length === 0 ? [EMPTY] : chunks);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = bytes.length < PREFIX_BYTES ? Number.POSITIVE_INFINITY : view.getUint32(1);
  if (size !== Number.POSITIVE_INFINITY && size > MAX_MESSAGE_BYTES) {
    throw resourceExhausted(`Received message larger than max (${size} vs ${MAX_MESSAGE_BYTES})`);
  }
  const end = PREFIX_BYTES + size;
  if (bytes.length < end)
    throw unimplemented(`Received no request message for server streaming method ${path}`);
  // 切れた 2 つ目は、届かなかったのと同じ。
  if (bytes.length - end >= PREFIX_BYTES && bytes.length - end >= PREFIX_BYTES + view.getUint32(end + 1)) {
    throw unimplemented(`Received a second request message for server streaming method ${path}`);
  }
  return new Uint8Array(bytes.buffer, bytes.byteOffset + PREFIX_BYTES, size);
}
