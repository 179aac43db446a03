import { BadRequest } from "./request_head.ts";

/** 区切りの長さの行に許す長さ。拡張(`;` の後)は読み飛ばす。 */
const MAX_LINE_BYTES = 256;
const MAX_TRAILER_BYTES = 8192;
const FIRST_BYTES = 4096;
const CR = 0x0d;
const LF = 0x0a;

type State = "size" | "data" | "end of data" | "trailers" | "done";

/**
 * 区切りながら送られる本文(chunked)を読む。
 *
 * 届いた塊を指す配列にはしない。1 バイトずつ区切られると、指すための物のほうが本文の百倍になる。
 *
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-7.1
 */
export class ChunkedBody {
  readonly #maxBytes: number;
  #state: State = "size";
  #line = "";
  /** 今の区切りの残り。 */
  #left = 0;
  #trailerBytes = 0;
  #bytes = new Uint8Array(0);
  #size = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get isDone(): boolean {
    return this.#state === "done";
  }

  /** これまでに届いた本文。 */
  get body(): Uint8Array {
    return this.#bytes.subarray(0, this.#size);
  }

  /**
   * @param keeps 本文が要るか。要らなければ読み捨てる。
   * @returns 読み終えた位置。
   * @throws BadRequest 文法の誤り(400)、大き過ぎる本文(413)。
   */
  push(chunk: Uint8Array, keeps: boolean): number {
    let at = 0;
    while (at < chunk.length && this.#state !== "done") {
      at = this.#state === "data" ? this.#readData(chunk, at, keeps) : this.#readLine(chunk, at);
    }
    return at;
  }

  #readData(chunk: Uint8Array, at: number, keeps: boolean): number {
    const end = Math.min(chunk.length, at + this.#left);
    if (keeps) this.#append(chunk.subarray(at, end));
    this.#left -= end - at;
    if (this.#left === 0) this.#state = "end of data";
    return end;
  }

  #append(part: Uint8Array): void {
    const size = this.#size + part.length;
    if (size > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(FIRST_BYTES, size, 2 * this.#bytes.length));
      grown.set(this.body);
      this.#bytes = grown;
    }
    this.#bytes.set(part, this.#size);
    this.#size = size;
  }

  #readLine(chunk: Uint8Array, from: number): number {
    let at = from;
    while (at < chunk.length) {
      const byte = chunk[at++]!;
      if (byte === LF) {
        if (!this.#line.endsWith("\r")) throw new BadRequest(400);
        const line = this.#line.slice(0, -1);
        this.#line = "";
        this.#onLine(line);
        return at;
      }
      if (this.#line.endsWith("\r")) throw new BadRequest(400);
      if (byte !== CR && (byte < 0x20 || byte === 0x7f) && byte !== 0x09) throw new BadRequest(400);
      this.#line += String.fromCharCode(byte);
      const most = this.#state === "trailers" ? MAX_TRAILER_BYTES : MAX_LINE_BYTES;
      if (this.#line.length > most) throw new BadRequest(400);
    }
    return at;
  }

  #onLine(line: string): void {
    if (this.#state === "end of data") {
      if (line !== "") throw new BadRequest(400);
      this.#state = "size";
      return;
    }
    if (this.#state === "trailers") {
      this.#trailerBytes += line.length + 2;
      if (this.#trailerBytes > MAX_TRAILER_BYTES) throw new BadRequest(400);
      if (line === "") this.#state = "done";
      return;
    }
    const [, digits] = /^([\da-f]{1,13})(?:[\t ]*;.*)?$/i.exec(line) ?? [];
    if (digits === undefined) throw new BadRequest(400);
    this.#left = Number.parseInt(digits, 16);
    if (this.#size + this.#left > this.#maxBytes) throw new BadRequest(413);
    this.#state = this.#left === 0 ? "trailers" : "data";
  }
}
