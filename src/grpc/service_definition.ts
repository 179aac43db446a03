import type { EventEmitter } from "node:events";
import {
  create,
  type DescMessage,
  type DescMethod,
  type DescService,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import type {
  Server,
  ServerDuplexStream,
  ServerUnaryCall,
  ServerWritableStream,
  sendUnaryData,
} from "@grpc/grpc-js";
import type { Clock } from "../base/clock.ts";
import { internal, unavailable } from "../base/status.ts";
import type { CallContext } from "../service/call.ts";
import { plainBytes } from "./bytes.ts";
import type { DirectUnary } from "./direct_unary.ts";
import { toGrpcStatus } from "./grpc_status.ts";

/** 1 つの RPC。grpc-js への登録のしかただけを外に見せる。 */
export interface Rpc {
  readonly service: DescService;
  register(server: Server): void;
  /** あれば、grpc-js の層を通さずに答えてよい。 */
  readonly direct?: DirectUnary;
}

/** メッセージのバイト列との変換。熱い RPC は手書きのものに差し替える。 */
export interface Codec<In, Out> {
  readonly decode: (bytes: Uint8Array) => In;
  readonly encode: (value: Out) => Uint8Array;
}

const pathOf = ({ parent, name }: DescMethod): string => `/${parent.typeName}/${name}`;
const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

const plain =
  <T>(decode: (bytes: Uint8Array) => T) =>
  (bytes: Buffer): T =>
    decode(plainBytes(bytes));

/** 生成された記述どおりの変換。答えは初期値の形で書ける。 */
export function messageCodec<I extends DescMessage, O extends DescMessage>(
  input: I,
  output: O,
): Codec<MessageShape<I>, MessageInitShape<O>> {
  return {
    decode: (bytes) => fromBinary(input, bytes),
    encode: (value) => toBinary(output, create(output, value)),
  };
}

/** gRPC の期限と中止。合図の物は、見られるまで作らない。 */
class UnaryContext implements CallContext {
  readonly deadlineMs: number | undefined;
  readonly #call: ServerUnaryCall<unknown, unknown>;
  #controller: AbortController | undefined;
  #finished = false;

  constructor(call: ServerUnaryCall<unknown, unknown>, clock: Clock) {
    this.#call = call;
    const deadline = Number(call.getDeadline());
    this.deadlineMs = Number.isFinite(deadline) ? clock.monotonicMs() + deadline - clock.now() : undefined;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      const controller = new AbortController();
      this.#controller = controller;
      if (this.#call.cancelled) controller.abort();
      else this.#call.once("cancelled", () => this.#finished || controller.abort());
    }
    return this.#controller.signal;
  }

  /** grpc-js は無事に終わった呼び出しにも cancelled を出すので、答えた後のものは聞かない。 */
  finish(): void {
    this.#finished = true;
  }
}

/**
 * 単項の RPC。
 *
 * @param handle 同期で答えても Promise でもよい。失敗は StatusError として客に届く。
 */
export function unary<In, Out>(
  method: DescMethod,
  clock: Clock,
  { decode, encode }: Codec<In, Out>,
  handle: (request: In, context: CallContext) => Out | Promise<Out>,
): Rpc {
  const serve = (call: ServerUnaryCall<In, Out>, respond: sendUnaryData<Out>): void => {
    const context = new UnaryContext(call, clock);
    const succeed = (value: Out): void => {
      context.finish();
      respond(null, value);
    };
    const fail = (thrown: unknown): void => {
      context.finish();
      respond(toGrpcStatus(thrown));
    };
    try {
      const reply = handle(call.request, context);
      if (reply instanceof Promise) reply.then(succeed, fail);
      else succeed(reply);
    } catch (thrown) {
      fail(thrown);
    }
  };
  const readRequest = (message: Uint8Array): In => {
    try {
      return decode(message);
    } catch (thrown) {
      throw internal("Error deserializing request", thrown);
    }
  };
  const path = pathOf(method);
  return {
    service: method.parent,
    direct: {
      path,
      answer: (message, context) => {
        const reply = handle(readRequest(message), context);
        return reply instanceof Promise ? reply.then(encode) : encode(reply);
      },
    },
    register: (server) => {
      server.register(path, serve, (value: Out) => asBuffer(encode(value)), plain(decode), "unary");
    },
  };
}

/** サーバーが閉じるときに流れを終える。客には、つなぎ直せばよいと分かる。 */
function endOnClose(call: EventEmitter, closing: AbortSignal): void {
  const end = (): void => {
    call.emit("error", toGrpcStatus(unavailable("Server is shutting down")));
  };
  closing.addEventListener("abort", end, { once: true });
  const forget = (): void => closing.removeEventListener("abort", end);
  call.once("close", forget);
  call.once("cancelled", forget);
}

/**
 * 答えが続く RPC。`open` は最初の要求で 1 度呼ばれる。
 *
 * @param closing サーバーが閉じるときに立つ。
 */
export function serverStream<In, Out>(
  method: DescMethod,
  closing: AbortSignal,
  { decode, encode }: Codec<In, Out>,
  open: (request: In, call: ServerWritableStream<In, Out>) => void,
): Rpc {
  return {
    service: method.parent,
    register: (server) => {
      server.register(
        pathOf(method),
        (call: ServerWritableStream<In, Out>) => {
          endOnClose(call, closing);
          open(call.request, call);
        },
        (value: Out) => asBuffer(encode(value)),
        plain(decode),
        "serverStream",
      );
    },
  };
}

/** 双方向の RPC。要求 1 つに答え 1 つを返す。`open` は流れごとに、その答え方を作る。 */
export function bidiStream<In, Out>(
  method: DescMethod,
  closing: AbortSignal,
  { decode, encode }: Codec<In, Out>,
  open: () => (request: In) => Out,
): Rpc {
  return {
    service: method.parent,
    register: (server) => {
      server.register(
        pathOf(method),
        (call: ServerDuplexStream<In, Out>) => {
          endOnClose(call, closing);
          const answer = open();
          call.on("data", (request: In) => call.write(answer(request)));
          call.on("end", () => call.end());
        },
        (value: Out) => asBuffer(encode(value)),
        plain(decode),
        "bidi",
      );
    },
  };
}
