import { concatBytes, plainBytes } from "../base/bytes.ts";
import { zlib } from "../base/late_builtins.ts";
import { internal, resourceExhausted, type StatusError, unimplemented } from "../base/status.ts";

/** メッセージの前に付く、圧縮の印と長さ。 */
const PREFIX_BYTES = 5;

type Inflate = (bytes: Uint8Array, most: number) => Uint8Array;

const inflaters: ReadonlyMap<string, Inflate> = new Map([
  ["gzip", (bytes, maxOutputLength) => zlib().gunzipSync(bytes, { maxOutputLength })],
  ["deflate", (bytes, maxOutputLength) => zlib().inflateSync(bytes, { maxOutputLength })],
]);

/**
 * 届いた塊からメッセージを切り出す。1 つの塊に収まったものは写さない。
 *
 * @see https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md Length-Prefixed-Message
 */
export class MessageReader {
  readonly #maxBytes: number;
  readonly #inflate: Inflate | undefined;
  readonly #encoding: string;
  #parts: Uint8Array[] = [];
  #size = 0;

  /**
   * @param encoding `grpc-encoding`。
   * @throws UNIMPLEMENTED 知らない圧縮。
   */
  constructor(encoding: string | undefined, maxBytes: number) {
    this.#maxBytes = maxBytes;
    this.#encoding = encoding ?? "identity";
    this.#inflate = inflaters.get(this.#encoding);
    if (this.#inflate === undefined && this.#encoding !== "identity") {
      throw unimplemented(`Compression algorithm '${this.#encoding}' is not supported`);
    }
  }

  /** メッセージの途中か。 */
  get isInside(): boolean {
    return this.#size > 0;
  }

  /** @param chunk 渡した後は書き換えないこと。 */
  push(chunk: Uint8Array): void {
    this.#parts.push(chunk);
    this.#size += chunk.length;
  }

  /**
   * @returns 揃ったメッセージ。まだ無ければ undefined。
   * @throws RESOURCE_EXHAUSTED 上限を越える。本文が届くのは待たない。
   * @throws INTERNAL ほどけない圧縮。
   */
  next(): Uint8Array | undefined {
    if (this.#size < PREFIX_BYTES) return undefined;
    let [first] = this.#parts as [Uint8Array];
    if (first.length < PREFIX_BYTES) first = this.#join();
    const size = first[1]! * 2 ** 24 + ((first[2]! << 16) | (first[3]! << 8) | first[4]!);
    if (size > this.#maxBytes) throw tooLarge(size, this.#maxBytes);
    const end = PREFIX_BYTES + size;
    if (this.#size < end) return undefined;
    if (first.length < end) first = this.#join();
    this.#size -= end;
    if (first.length > end) this.#parts[0] = first.subarray(end);
    else this.#parts.shift();
    const isCompressed = (first[0]! & 1) !== 0;
    const message = plainBytes(first.subarray(PREFIX_BYTES, end));
    return isCompressed && this.#inflate !== undefined ? this.#unpack(message, this.#inflate) : message;
  }

  #join(): Uint8Array {
    const whole = concatBytes(this.#parts);
    this.#parts = [whole];
    return whole;
  }

  #unpack(message: Uint8Array, inflate: Inflate): Uint8Array {
    try {
      return plainBytes(inflate(message, this.#maxBytes));
    } catch (thrown) {
      if (thrown instanceof RangeError) throw tooLarge(message.length, this.#maxBytes);
      throw internal(`Unexpected error decompressing data for algorithm ${this.#encoding}`, thrown);
    }
  }
}

/** 文面は upstream の gRPC のもの。 @see src/core/ext/filters/http/message_compress/compression_filter.cc */
const tooLarge = (size: number, most: number): StatusError =>
  resourceExhausted(`SERVER: Received message larger than max (${size} vs. ${most})`);

/** メッセージの前に印と長さを付ける。 */
export function frameMessage(message: Uint8Array): Uint8Array {
  const framed = Buffer.allocUnsafe(PREFIX_BYTES + message.length);
  framed[0] = 0;
  framed.writeUInt32BE(message.length, 1);
  framed.set(message, PREFIX_BYTES);
  return framed;
}
