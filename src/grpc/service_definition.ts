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
import { internal } from "../base/status.ts";
import type { CallContext } from "../service/call.ts";

/** 要求 1 つに答え 1 つを返す RPC。 */
export interface UnaryRpc {
  readonly kind: "unary";
  readonly service: DescService;
  readonly path: string;
  /** 混んでいるときに待たせたり断ったりしてよいか。 */
  readonly isWork: boolean;
  /**
   * @param message 要求のメッセージ。
   * @returns 答えのメッセージ。
   * @throws StatusError
   */
  answer(message: Uint8Array, context: CallContext): Uint8Array | Promise<Uint8Array>;
}

/** 流れている呼び出しへの、答え方。 */
export interface Responder {
  write(message: Uint8Array): void;
  /** 呼び出しが(どう終わったにせよ)終わったときに呼ぶ。 */
  onClose(work: () => void): void;
}

/** 答えが続く RPC。 */
export interface StreamingRpc {
  readonly kind: "streaming";
  readonly service: DescService;
  readonly path: string;
  /** 要求は 1 つだけで、答えに終わりが無い。そうでなければ、要求が終われば答えも終わる。 */
  readonly isServerOnly: boolean;
  /** 呼び出しごとに、要求 1 つの受け取り方を作る。 */
  open(responder: Responder): (message: Uint8Array) => void;
}

export type Rpc = UnaryRpc | StreamingRpc;

/** メッセージのバイト列との変換。熱い RPC は手書きのものに差し替える。 */
export interface Codec<In, Out> {
  readonly decode: (bytes: Uint8Array) => In;
  readonly encode: (value: Out) => Uint8Array;
}

const pathOf = ({ parent, name }: DescMethod): string => `/${parent.typeName}/${name}`;

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

/** @throws INTERNAL メッセージでない。 */
function read<In>(decode: (bytes: Uint8Array) => In, message: Uint8Array): In {
  try {
    return decode(message);
  } catch (thrown) {
    throw internal("Error deserializing request", thrown);
  }
}

/**
 * 単項の RPC。
 *
 * @param handle 同期で答えても Promise でもよい。失敗は StatusError として客に届く。
 */
export function unary<In, Out>(
  method: DescMethod,
  { decode, encode }: Codec<In, Out>,
  handle: (request: In, context: CallContext) => Out | Promise<Out>,
  { isWork = false } = {},
): Rpc {
  return {
    kind: "unary",
    service: method.parent,
    path: pathOf(method),
    isWork,
    answer: (message, context) => {
      const reply = handle(read(decode, message), context);
      return reply instanceof Promise ? reply.then(encode) : encode(reply);
    },
  };
}

/** 答えが続く RPC。`open` は要求で 1 度呼ばれる。 */
export function serverStream<In, Out>(
  method: DescMethod,
  { decode, encode }: Codec<In, Out>,
  open: (request: In, write: (value: Out) => void, onClose: (work: () => void) => void) => void,
): Rpc {
  return {
    kind: "streaming",
    service: method.parent,
    path: pathOf(method),
    isServerOnly: true,
    open: (responder) => (message) =>
      open(
        read(decode, message),
        (value) => responder.write(encode(value)),
        (work) => responder.onClose(work),
      ),
  };
}

/** 双方向の RPC。要求 1 つに答え 1 つを返す。`open` は流れごとに、その答え方を作る。 */
export function bidiStream<In, Out>(
  method: DescMethod,
  { decode, encode }: Codec<In, Out>,
  open: () => (request: In) => Out,
): Rpc {
  return {
    kind: "streaming",
    service: method.parent,
    path: pathOf(method),
    isServerOnly: false,
    open: (responder) => {
      const answer = open();
      return (message) => responder.write(encode(answer(read(decode, message))));
    },
  };
}
