import type { Clock } from "../base/clock.ts";
import { internal, type StatusError, unavailable, unimplemented } from "../base/status.ts";
import type { Http2Stream, StreamHandler } from "../http2/http2_stream.ts";
import type { AccessLog, RequestTrace } from "../service/access_log.ts";
import type { CallContext } from "../service/call.ts";
import type { Job, WorkQueue } from "../service/work_queue.ts";
import {
  notGrpcBody,
  notGrpcHeaders,
  replyBlock,
  statusOnlyBlock,
  timeoutOf,
  trailerBlock,
} from "./grpc_headers.ts";
import { type GrpcStatus, OK, toGrpcStatus } from "./grpc_status.ts";
import { frameMessage, MessageReader } from "./message_reader.ts";
import type { Rpc, StreamingRpc, UnaryRpc } from "./service_definition.ts";

/** 呼び出しが頼る、入口の持ち物。 */
export interface CallEnvironment {
  readonly clock: Clock;
  readonly queue: WorkQueue;
  readonly accessLog: AccessLog | undefined;
  readonly maxReceiveBytes: number;
  readonly maxSendBytes: number;
  /** 開いている、終わりの無い呼び出し。入口が閉じるときに終わらせる。 */
  readonly streaming: Set<StreamingCall>;
}

/** 期限切れ。文面は grpc-js のもの(C++ の客は自分の文面を使う)。 */
const DEADLINE_EXCEEDED: GrpcStatus = { code: 4, details: "Deadline exceeded" };
const CANCELLED = 1;
const EMPTY = new Uint8Array(0);
/** 双方向の流れで、答えが読まれるのを待つ要求の、合計の上限。 */
const MAX_BACKLOG_BYTES = 1 << 20;

/** 1 つの呼び出しの、種類によらないところ。 */
abstract class GrpcCall implements StreamHandler {
  protected readonly environment: CallEnvironment;
  protected readonly reader: MessageReader;
  readonly #stream: Http2Stream;
  readonly #trace: RequestTrace | undefined;
  #hasHeaders = false;
  /** 答え終えたか、答える相手がいない。 */
  protected finished = false;

  /** @throws StatusError 読めない見出し。 */
  constructor(stream: Http2Stream, environment: CallEnvironment, trace: RequestTrace | undefined) {
    this.#stream = stream;
    this.#trace = trace;
    this.environment = environment;
    this.reader = new MessageReader(stream.headers.get("grpc-encoding"), environment.maxReceiveBytes);
  }

  abstract data(chunk: Uint8Array): void;
  abstract end(): void;

  abort(): void {
    if (this.finished) return;
    this.#close(CANCELLED);
  }

  /** まだ答える相手がいない間に、片付ける。 */
  protected abstract cleanUp(): void;

  protected sendMessage(message: Uint8Array): void {
    const { maxSendBytes } = this.environment;
    if (message.length > maxSendBytes) {
      this.finish({
        code: 8,
        details: `SERVER: Sent message larger than max (${message.length} vs. ${maxSendBytes})`,
      });
      return;
    }
    if (!this.#hasHeaders) {
      this.#hasHeaders = true;
      this.#stream.respond(replyBlock(this.#trace?.requestId));
    }
    this.#stream.send(frameMessage(message));
  }

  protected finish(status: GrpcStatus): void {
    if (this.finished) return;
    this.#stream.end(
      this.#hasHeaders ? trailerBlock(status) : statusOnlyBlock(status, this.#trace?.requestId),
    );
    this.#close(status.code);
  }

  #close(code: number): void {
    this.finished = true;
    this.cleanUp();
    record(this.#stream, code, this.environment, this.#trace);
  }
}

/** 終わった呼び出しを記録する。 */
function record(
  { headers: { path } }: Http2Stream,
  status: number,
  { accessLog }: CallEnvironment,
  trace: RequestTrace | undefined,
): void {
  if (trace !== undefined) accessLog?.finish(trace, { door: "gRPC", method: "POST", path, status });
}

/** 要求 1 つに答え 1 つ。 */
class UnaryCall extends GrpcCall implements CallContext, Job {
  arrivedMs = 0;
  readonly deadlineMs: number | undefined;
  readonly #rpc: UnaryRpc;
  #message: Uint8Array | undefined;
  #controller: AbortController | undefined;
  #cancelTimer: (() => void) | undefined;
  #isGone = false;

  constructor(
    stream: Http2Stream,
    rpc: UnaryRpc,
    environment: CallEnvironment,
    trace: RequestTrace | undefined,
    timeoutMs: number | undefined,
  ) {
    super(stream, environment, trace);
    this.#rpc = rpc;
    if (timeoutMs !== undefined) this.deadlineMs = environment.clock.monotonicMs() + timeoutMs;
  }

  get abortedBeforeRun(): boolean {
    return this.#isGone;
  }

  /** 見られるまで作らない。 */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#isGone) this.#controller.abort();
    return this.#controller.signal;
  }

  data(chunk: Uint8Array): void {
    if (this.finished) return;
    this.reader.push(chunk);
    try {
      const message = this.reader.next();
      if (message === undefined) this.#startTimer();
      else if (this.#message !== undefined) throw tooMany(this.#rpc.path);
      else this.#message = message;
    } catch (thrown) {
      this.finish(toGrpcStatus(thrown));
    }
  }

  end(): void {
    if (this.finished) return;
    // 切れた 2 つ目は、届かなかったのと同じ。
    if (this.reader.isInside && this.#hasAnother()) this.finish(toGrpcStatus(tooMany(this.#rpc.path)));
    else if (this.#message === undefined) this.finish(toGrpcStatus(tooFew(this.#rpc.path)));
    else if (this.#rpc.isWork) this.environment.queue.submit(this);
    else this.start();
  }

  #hasAnother(): boolean {
    return this.#message !== undefined && this.reader.next() !== undefined;
  }

  start(): Promise<void> | undefined {
    if (this.finished) return undefined;
    try {
      const reply = this.#rpc.answer(this.#message!, this);
      this.#message = EMPTY;
      if (!(reply instanceof Promise)) {
        this.#succeed(reply);
        return undefined;
      }
      this.#startTimer();
      return reply.then(
        (message) => this.#succeed(message),
        (thrown: unknown) => this.refuse(thrown),
      );
    } catch (thrown) {
      this.refuse(thrown);
      return undefined;
    }
  }

  refuse(thrown: unknown): void {
    this.finish(toGrpcStatus(thrown));
  }

  override abort(): void {
    this.#isGone = true;
    super.abort();
    this.#controller?.abort();
  }

  protected cleanUp(): void {
    this.#cancelTimer?.();
  }

  #succeed(message: Uint8Array): void {
    if (this.finished) return;
    this.sendMessage(message);
    this.finish(OK);
  }

  /** その場で答える呼び出しは期限のタイマーを要らない。待つことになったものにだけ掛ける。 */
  #startTimer(): void {
    if (this.deadlineMs === undefined || this.#cancelTimer !== undefined) return;
    const { clock } = this.environment;
    this.#cancelTimer = clock.after(this.deadlineMs - clock.monotonicMs(), () => {
      this.finish(DEADLINE_EXCEEDED);
      this.#isGone = true;
      this.#controller?.abort();
    });
  }
}

/** 答えの続く呼び出し。 */
export class StreamingCall extends GrpcCall {
  readonly #rpc: StreamingRpc;
  readonly #stream: Http2Stream;
  readonly #answer: (message: Uint8Array) => void;
  readonly #forget: (() => void)[] = [];
  #backlog: Uint8Array[] = [];
  #backlogBytes = 0;
  #messages = 0;
  #hasEnded = false;

  constructor(
    stream: Http2Stream,
    rpc: StreamingRpc,
    environment: CallEnvironment,
    trace: RequestTrace | undefined,
  ) {
    super(stream, environment, trace);
    this.#rpc = rpc;
    this.#stream = stream;
    this.#answer = rpc.open(this);
    environment.streaming.add(this);
  }

  /** 答えを 1 つ送る。 */
  write(message: Uint8Array): void {
    if (!this.finished) this.sendMessage(message);
  }

  /** 呼び出しが終わったときに呼ぶ。 */
  onClose(work: () => void): void {
    this.#forget.push(work);
  }

  /** サーバーが閉じる。客には、つなぎ直せばよいと分かる。 */
  shutDown(): void {
    this.finish(toGrpcStatus(unavailable("Server is shutting down")));
  }

  data(chunk: Uint8Array): void {
    if (this.finished) return;
    this.reader.push(chunk);
    try {
      for (let message = this.reader.next(); message !== undefined; message = this.reader.next()) {
        this.#backlog.push(message);
        this.#backlogBytes += message.length;
        if (this.#backlogBytes > MAX_BACKLOG_BYTES) throw slowReader;
      }
    } catch (thrown) {
      this.finish(toGrpcStatus(thrown));
    }
    if (!this.#rpc.isServerOnly) this.#work();
  }

  end(): void {
    this.#hasEnded = true;
    this.#work();
  }

  /** 客が読み、送り残しが無くなった。 */
  drained(): void {
    this.#work();
  }

  protected cleanUp(): void {
    this.environment.streaming.delete(this);
    for (const work of this.#forget) work();
    this.#backlog = [];
  }

  /** 前の答えが送れるまで、次の要求に答えない。客が読まなくても、答えが溜まらないように。 */
  #work(): void {
    try {
      while (!this.finished && this.#backlog.length > 0 && this.#stream.pending.length === 0) {
        const message = this.#backlog.shift()!;
        this.#backlogBytes -= message.length;
        if (this.#rpc.isServerOnly && this.#messages++ > 0) throw tooMany(this.#rpc.path);
        this.#answer(message);
      }
      if (this.finished || !this.#hasEnded || this.#backlog.length > 0) return;
      if (!this.#rpc.isServerOnly) this.finish(OK);
      else if (this.#messages === 0) throw tooFew(this.#rpc.path);
    } catch (thrown) {
      this.finish(toGrpcStatus(thrown));
    }
  }
}

const slowReader = unavailable("The answers are not read");
const tooFew = (path: string): StatusError =>
  unimplemented(`Received no request message for server streaming method ${path}`);
const tooMany = (path: string): StatusError =>
  unimplemented(`Received a second request message for server streaming method ${path}`);

/** 断られた呼び出しの本文を捨てる。 */
const discard: StreamHandler = { data: () => {}, end: () => {}, abort: () => {} };

/** 始めずに終わらせる。 */
function endWith(
  stream: Http2Stream,
  status: GrpcStatus,
  environment: CallEnvironment,
  trace: RequestTrace | undefined,
): StreamHandler {
  stream.end(statusOnlyBlock(status, trace?.requestId));
  record(stream, status.code, environment, trace);
  return discard;
}

/** gRPC でない要求に、聞き終えてから、それと告げる。 */
export function refuseOther(stream: Http2Stream): StreamHandler {
  return {
    ...discard,
    end: () => {
      stream.respond(notGrpcHeaders);
      stream.send(notGrpcBody);
      stream.end(EMPTY);
    },
  };
}

/**
 * 呼び出しを受け取る。
 *
 * @param rpc 呼ばれたもの。無ければ undefined。
 * @param refusal 見出しだけで断るなら、その訳。
 */
export function openCall(
  stream: Http2Stream,
  rpc: Rpc | undefined,
  environment: CallEnvironment,
  refusal: StatusError | undefined,
): StreamHandler {
  const { headers } = stream;
  const trace = environment.accessLog?.begin(headers);
  try {
    if (refusal !== undefined) throw refusal;
    if (rpc === undefined) throw unimplemented("");
    const timeoutMs = timeoutOf(headers);
    if (Number.isNaN(timeoutMs))
      throw internal(`Invalid grpc-timeout value "${headers.get("grpc-timeout")}"`);
    return rpc.kind === "unary"
      ? new UnaryCall(stream, rpc, environment, trace, timeoutMs)
      : new StreamingCall(stream, rpc, environment, trace);
  } catch (thrown) {
    return endWith(stream, toGrpcStatus(thrown), environment, trace);
  }
}
