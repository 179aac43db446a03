import type { Transport, TransportHandler } from "../sockets/transport.ts";
import { ChunkedBody } from "./chunked_body.ts";
import { BadRequest, parseHead, type RequestHead } from "./request_head.ts";

/** 1 本の接続に許すこと。 */
export interface Http1Limits {
  /** 1 行目から空行まで。 */
  readonly maxHeadBytes: number;
  readonly maxFields: number;
  readonly maxBodyBytes: number;
}

/** 答え。 */
export interface Reply {
  readonly status: number;
  readonly reason: string;
  /** 見出しの行。それぞれ CRLF で終わる。長さと日付、接続の扱いは足される。 */
  readonly fields: string;
  /** 文字列は ASCII に限る。 */
  readonly body: string | Uint8Array;
  /** 送らない本文の長さ(HEAD)。 */
  readonly unsentBytes?: number | undefined;
  /** 答えた後で接続を閉じる。 */
  readonly closes?: boolean;
}

/** 接続の持ち主。 */
export interface Http1Owner {
  readonly limits: Http1Limits;
  /** `Date` の値。 */
  readonly date: string;
  /** 1 秒ごとに進む目盛り。 */
  readonly tick: number;
  /** もう閉じるので、答えるたびに「次は別の接続で」と伝える。 */
  readonly isClosing: boolean;
  /**
   * 見出しの揃った要求。その場で答えてもよい(届く本文は捨てられる)。
   * 本文が要るなら、{@link Exchange.onBody} に受け取り方を置く。
   */
  accept(exchange: Exchange): void;
  /** 読めない要求への答え。 */
  refuse(status: BadRequest["status"]): Reply;
  forget(connection: Http1Connection): void;
}

/** 要求と答えの 1 往復。 */
export class Exchange {
  readonly head: RequestHead;
  /** 本文が揃ったら 1 度だけ呼ばれる。 */
  onBody: ((body: Uint8Array) => void) | undefined;
  /** 答えの見出しに足す行。CRLF で終わる。 */
  extraFields = "";
  /** 答えたときに呼ばれる。 */
  onReply: ((status: number) => void) | undefined;
  /** 答える前に客が去った。 */
  isGone = false;
  isAnswered = false;
  readonly #connection: Http1Connection;
  #controller: AbortController | undefined;

  constructor(connection: Http1Connection, head: RequestHead) {
    this.#connection = connection;
    this.head = head;
  }

  /** 客が去ったら立つ。見られるまで作らない。 */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.isGone) this.#controller.abort();
    return this.#controller.signal;
  }

  /** 1 度だけ答える。客がもういなければ何もしない。 */
  reply(reply: Reply): void {
    if (this.isAnswered) return;
    this.isAnswered = true;
    this.onReply?.(reply.status);
    this.#connection.send(this, reply);
  }

  /** 客が去った。 */
  leave(): void {
    if (this.isAnswered || this.isGone) return;
    this.isGone = true;
    this.#controller?.abort();
  }
}

type State = "head" | "body" | "answer" | "closed";

const EMPTY = new Uint8Array(0);
const HEAD_END = Buffer.from("\r\n\r\n");
const CONTINUE = "HTTP/1.1 100 Continue\r\n\r\n";
/** 答えを待つ間に届いた次の要求を、これだけは受け取っておく。 */
const MAX_EARLY_BYTES = 1 << 16;
const CR = 0x0d;
const LF = 0x0a;

/**
 * サーバーの側の HTTP/1.1 接続 1 本。要求を 1 つずつ読み、答えてから次を読む(続けて送られたものは待たせる)。
 *
 * Bun.serve を使わないのは、宛先が URL として整えられて書かれたままには読めないこと、文法の誤りや理由の句への
 * 答えを選べないこと、続けて送られた要求で接続が切れること、要求 1 つごとの物が多いことによる。
 *
 * 送るものは溜め、読んだ塊を処理し終えたとき(ほかではその回の微小タスク)にまとめて書く。
 * 客が読まずに書き込みが詰まったら、こちらも読むのをやめる。
 *
 * @see https://www.rfc-editor.org/rfc/rfc9112
 */
export class Http1Connection implements TransportHandler {
  /** 最後に何かが進んだときの、持ち主の目盛り。 */
  lastActive = 0;
  /** 今の要求が始まったときの、持ち主の目盛り。 */
  startedAt = 0;
  /** 答え終えた要求の数。 */
  answered = 0;
  readonly #socket: Transport;
  readonly #owner: Http1Owner;
  #state: State = "head";
  #exchange: Exchange | undefined;
  /** まだ読んでいないバイト。 */
  #rest: Uint8Array = EMPTY;
  /** 前に読んだ見出し。同じ客は同じ見出しを送り続けるので、たいていは読み直さずに済む。 */
  #known: { readonly bytes: Uint8Array; readonly head: RequestHead } | undefined;
  #bodyLeft = 0;
  #bodyParts: Uint8Array[] = [];
  #chunked: ChunkedBody | undefined;
  #out = "";
  #isReading = false;
  #isFlushPlanned = false;
  #isPaused = false;
  #isCongested = false;
  /** 客はもう何も送らない。 */
  #hasEnded = false;

  constructor(socket: Transport, owner: Http1Owner) {
    this.#socket = socket;
    this.#owner = owner;
  }

  /** 次の要求を待っている。 */
  get isIdle(): boolean {
    return this.#state === "head" && this.#rest.length === 0;
  }

  /** 見出しの途中。 */
  get isInsideHead(): boolean {
    return this.#state === "head" && this.#rest.length > 0;
  }

  /** 本文の途中。 */
  get isInsideBody(): boolean {
    return this.#state === "body";
  }

  /** 答えを客が読むのを待っている。 */
  get isCongested(): boolean {
    return this.#isCongested;
  }

  /** 閉じ終わるのを待っている。 */
  get isClosed(): boolean {
    return this.#state === "closed";
  }

  /** 送り終えてから閉じる。 */
  close(): void {
    if (this.#state === "closed") return;
    this.#flush();
    this.#state = "closed";
    this.#exchange?.leave();
    this.#rest = EMPTY;
    this.#bodyParts = [];
    this.lastActive = this.#owner.tick;
    this.#socket.end();
    if (this.#hasEnded) return;
    this.#socket.resume();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  // 受信 -----------------------------------------------------------------------------------------

  data(chunk: Uint8Array): void {
    // 閉じた後に届くものは読み捨てる。読まずに切ると、客が最後の答えを失うことがある。
    if (this.#state === "closed") return;
    this.lastActive = this.#owner.tick;
    if (this.#state === "head" && this.#rest.length === 0) this.startedAt = this.lastActive;
    this.#rest = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    this.#work();
  }

  /** 読めるだけ読む。 */
  #work(): void {
    if (this.#isReading) return;
    this.#isReading = true;
    try {
      while (this.#step());
    } catch (thrown) {
      if (!(thrown instanceof BadRequest)) throw thrown;
      this.#refuse(thrown);
    } finally {
      this.#isReading = false;
      this.#flush();
    }
    this.#balance();
  }

  /** @returns もっと読めるか。 */
  #step(): boolean {
    if (this.#state === "head") return this.#readHead();
    if (this.#state === "body") return this.#readBody();
    return false;
  }

  #readHead(): boolean {
    let rest = this.#rest;
    // 前の本文の後の余分な改行は、行儀の悪い客が送る。
    while (rest.length > 1 && rest[0] === CR && rest[1] === LF) rest = rest.subarray(2);
    this.#rest = rest;
    if (rest.length === 0) return false;
    const known = this.#known;
    if (known !== undefined && startsWith(rest, known.bytes)) {
      this.#rest = rest.subarray(known.bytes.length);
      this.#open(known.head);
      return true;
    }
    const { maxHeadBytes, maxFields } = this.#owner.limits;
    const end = indexOfEnd(rest);
    if (end > maxHeadBytes || (end < 0 && rest.length > maxHeadBytes)) throw new BadRequest(431);
    if (end < 0) return false;
    const head = parseHead(asBuffer(rest).toString("latin1", 0, end), maxFields);
    const bytes = new Uint8Array(rest.subarray(0, end + HEAD_END.length));
    this.#known = { bytes, head };
    this.#rest = rest.subarray(bytes.length);
    this.#open(head);
    return true;
  }

  #open(head: RequestHead): void {
    const { limits } = this.#owner;
    if (head.contentLength > limits.maxBodyBytes) throw new BadRequest(413);
    const exchange = new Exchange(this, head);
    this.#exchange = exchange;
    this.#state = "body";
    this.#bodyLeft = head.contentLength;
    this.#chunked = head.contentLength < 0 ? new ChunkedBody(limits.maxBodyBytes) : undefined;
    this.#owner.accept(exchange);
    if (head.expectsContinue && !exchange.isAnswered && this.#rest.length === 0) {
      this.#out += CONTINUE;
    }
  }

  #readBody(): boolean {
    const rest = this.#rest;
    if (this.#chunked !== undefined) {
      const at = this.#chunked.push(rest, !this.#exchange!.isAnswered);
      this.#rest = rest.subarray(at);
      if (!this.#chunked.isDone) return false;
      this.#bodyParts = [this.#chunked.body];
      this.#chunked = undefined;
    } else if (this.#bodyLeft > 0) {
      if (rest.length === 0) return false;
      const part = rest.length > this.#bodyLeft ? rest.subarray(0, this.#bodyLeft) : rest;
      this.#rest = rest.subarray(part.length);
      this.#bodyLeft -= part.length;
      if (!this.#exchange!.isAnswered) this.#bodyParts.push(part);
      if (this.#bodyLeft > 0) return false;
    }
    const body = plain(join(this.#bodyParts));
    this.#bodyParts = [];
    const exchange = this.#exchange!;
    if (exchange.isAnswered) {
      this.#finish();
      return true;
    }
    this.#state = "answer";
    exchange.onBody?.(body);
    return true;
  }

  /** 読めない要求。ここから先は何の始まりか分からないので、答えて閉じる。 */
  #refuse({ status }: BadRequest): void {
    const reply = { ...this.#owner.refuse(status), closes: true };
    if (this.#exchange?.isAnswered === false) this.#exchange.reply(reply);
    else this.#write(reply, false);
    this.close();
  }

  /** 読み手が答えを待つ間、次の要求を溜め過ぎない。 */
  #balance(): void {
    if (this.#state === "closed") return;
    const isFull = this.#state === "answer" && this.#rest.length > MAX_EARLY_BYTES;
    const pauses = isFull || this.#isCongested;
    if (pauses === this.#isPaused) return;
    this.#isPaused = pauses;
    if (pauses) this.#socket.pause();
    else this.#socket.resume();
  }

  // 送信 -----------------------------------------------------------------------------------------

  /** {@link Exchange.reply} から呼ばれる。 */
  send(exchange: Exchange, reply: Reply): void {
    if (this.#state === "closed" || exchange !== this.#exchange) return;
    const { head } = exchange;
    this.lastActive = this.#owner.tick;
    // 許しを待っている客は、断られた本文を送るかもしれず、送らないかもしれない。
    const isBodyUnsure = this.#state === "body" && head.expectsContinue;
    const keepsAlive =
      head.keepsAlive && !isBodyUnsure && !this.#hasEnded && !this.#owner.isClosing && reply.closes !== true;
    this.#write(reply, keepsAlive, exchange);
    // 本文が届き切る前に答えたものは、残りを読み捨ててから次へ進む。
    if (!keepsAlive) this.close();
    else if (this.#state === "answer") {
      this.#finish();
      if (!this.#isReading) this.#work();
    }
    if (!this.#isReading) this.#planFlush();
  }

  #finish(): void {
    this.answered++;
    this.#exchange = undefined;
    this.#state = "head";
  }

  #write(
    { status, reason, fields, body, unsentBytes }: Reply,
    keepsAlive: boolean,
    exchange?: Exchange,
  ): void {
    const isOld = exchange?.head.isOld === true;
    const connection = keepsAlive ? (isOld ? "Connection: keep-alive\r\n" : "") : "Connection: close\r\n";
    // 中身の無いと決まっている答えは、長さも言わない。
    const length =
      status === 304 || status === 204 ? "" : `Content-Length: ${unsentBytes ?? body.length}\r\n`;
    this.#out += `HTTP/1.1 ${status} ${reason}\r\n${fields}${exchange?.extraFields ?? ""}Date: ${this.#owner.date}\r\n${length}${connection}\r\n`;
    if (unsentBytes !== undefined || body.length === 0) return;
    if (typeof body === "string") {
      this.#out += body;
      return;
    }
    // 借り物の本文はすぐ書き換わるので、見出しと合わせて写す。
    const bytes = roomFor(this.#out.length + body.length);
    bytes.set(body, bytes.write(this.#out, "latin1"));
    this.#out = "";
    if (!this.#socket.write(bytes)) this.#isCongested = true;
  }

  #planFlush(): void {
    if (this.#out === "" || this.#isFlushPlanned) return;
    this.#isFlushPlanned = true;
    queueMicrotask(this.#flushPlanned);
  }

  readonly #flushPlanned = (): void => {
    this.#isFlushPlanned = false;
    this.#flush();
    this.#balance();
  };

  #flush(): void {
    if (this.#state === "closed" || this.#out === "") return;
    const out = this.#out;
    this.#out = "";
    if (!this.#socket.write(out)) this.#isCongested = true;
  }

  drained(): void {
    this.lastActive = this.#owner.tick;
    this.#isCongested = false;
    this.#balance();
    if (!this.#isPaused) this.#work();
  }

  // 終わり ---------------------------------------------------------------------------------------

  ended(): void {
    this.#hasEnded = true;
    if (this.#state === "closed") {
      this.#socket.destroy();
      return;
    }
    // まだ答えていない要求の客が閉じた。半分だけ閉じたのかもしれないが、見分けられない。
    this.#exchange?.leave();
    if (this.#exchange === undefined || this.#state === "body") this.close();
  }

  closed(): void {
    this.#state = "closed";
    this.#exchange?.leave();
    this.#rest = EMPTY;
    this.#bodyParts = [];
    this.#out = "";
    this.#owner.forget(this);
  }
}

/** どの接続も使い回す、答えを組み立てる場所。大きい答えのたびに取ると、その頁を作る手間が掛かる。 */
const SHARED_BYTES = 2 ** 18;
let shared: Buffer | undefined;

function roomFor(bytes: number): Buffer {
  if (bytes > SHARED_BYTES) return Buffer.allocUnsafe(bytes);
  shared ??= Buffer.allocUnsafe(SHARED_BYTES);
  return shared.subarray(0, bytes);
}

const asBuffer = (bytes: Uint8Array): Buffer =>
  bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Buffer は slice が写さないなど、素の Uint8Array と違う。 */
const plain = ({ buffer, byteOffset, byteLength }: Uint8Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

const indexOfEnd = (bytes: Uint8Array): number => asBuffer(bytes).indexOf(HEAD_END);

function startsWith(bytes: Uint8Array, prefix: Uint8Array): boolean {
  return bytes.length >= prefix.length && Buffer.compare(bytes.subarray(0, prefix.length), prefix) === 0;
}

const join = (parts: readonly Uint8Array[]): Uint8Array =>
  parts.length === 0 ? EMPTY : parts.length === 1 ? parts[0]! : Buffer.concat(parts);
