import { asBuffer, concatBytes } from "../base/bytes.ts";
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
   * 本文が要るなら、{@link Exchange.receiver} に受け取るものを置く。
   */
  accept(exchange: Exchange): void;
  /** 読めない要求への答え。 */
  refuse(status: BadRequest["status"]): Reply;
  forget(connection: Http1Connection): void;
}

/** 本文を待つもの。 */
export interface BodyReceiver {
  /** 本文が揃った。1 度だけ。 */
  receive(body: Uint8Array): void;
}

/** 要求と答えの 1 往復。 */
export class Exchange {
  readonly head: RequestHead;
  receiver: BodyReceiver | undefined;
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
  /** 届いたもの。{@link #at} から先を、まだ読んでいない。 */
  #rest: Uint8Array = EMPTY;
  #at = 0;
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
    return this.#state === "head" && this.#unread === 0;
  }

  /** 見出しの途中。 */
  get isInsideHead(): boolean {
    return this.#state === "head" && this.#unread > 0;
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
    this.#drop();
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
    if (this.isIdle) this.startedAt = this.lastActive;
    this.#rest = this.#unread > 0 ? Buffer.concat([this.#rest.subarray(this.#at), chunk]) : chunk;
    this.#at = 0;
    this.#work();
  }

  get #unread(): number {
    return this.#rest.length - this.#at;
  }

  #drop(): void {
    this.#rest = EMPTY;
    this.#at = 0;
    this.#bodyParts = [];
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
    const rest = this.#rest;
    // 前の本文の後の余分な改行は、行儀の悪い客が送る。
    while (this.#unread > 1 && rest[this.#at] === CR && rest[this.#at + 1] === LF) this.#at += 2;
    if (this.#unread === 0) {
      // 休んでいる接続に、読み終えたものを持たせておかない。
      this.#rest = EMPTY;
      this.#at = 0;
      return false;
    }
    const known = this.#known;
    if (known !== undefined && hasAt(rest, this.#at, known.bytes)) {
      this.#at += known.bytes.length;
      this.#open(known.head);
      return true;
    }
    const { maxHeadBytes, maxFields } = this.#owner.limits;
    const end = asBuffer(rest).indexOf(HEAD_END, this.#at);
    if ((end < 0 ? this.#unread : end - this.#at) > maxHeadBytes) throw new BadRequest(431);
    if (end < 0) return false;
    const head = parseHead(asBuffer(rest).toString("latin1", this.#at, end), maxFields);
    const bytes = new Uint8Array(rest.subarray(this.#at, end + HEAD_END.length));
    this.#known = { bytes, head };
    this.#at += bytes.length;
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
    if (head.expectsContinue && !exchange.isAnswered && this.#unread === 0) {
      this.#out += CONTINUE;
    }
  }

  #readBody(): boolean {
    const exchange = this.#exchange!;
    let body: Uint8Array = EMPTY;
    if (this.#chunked !== undefined) {
      this.#at += this.#chunked.push(this.#rest.subarray(this.#at), !exchange.isAnswered);
      if (!this.#chunked.isDone) return false;
      body = this.#chunked.body;
      this.#chunked = undefined;
    } else if (this.#bodyLeft > 0) {
      const count = Math.min(this.#unread, this.#bodyLeft);
      if (count === 0) return false;
      const part = new Uint8Array(this.#rest.buffer, this.#rest.byteOffset + this.#at, count);
      this.#at += count;
      this.#bodyLeft -= count;
      const isOnly = this.#bodyLeft === 0 && this.#bodyParts.length === 0;
      if (!isOnly && !exchange.isAnswered) this.#bodyParts.push(part);
      if (this.#bodyLeft > 0) return false;
      body = isOnly ? part : this.#joinParts();
    }
    if (exchange.isAnswered) {
      this.#finish();
      return true;
    }
    this.#state = "answer";
    exchange.receiver?.receive(body);
    return true;
  }

  #joinParts(): Uint8Array {
    const parts = this.#bodyParts;
    this.#bodyParts = [];
    return concatBytes(parts);
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
    const isFull = this.#state === "answer" && this.#unread > MAX_EARLY_BYTES;
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
    if (keepsAlive && exchange?.head.isOld === false && exchange.extraFields === "" && status === 200) {
      this.#out += `${this.#okPrefix(fields)}${unsentBytes ?? body.length}\r\n\r\n`;
    } else
      this.#out += this.#headOf(status, reason, fields, unsentBytes ?? body.length, keepsAlive, exchange);
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

  /** ふつうの答えの見出しの、長さの前まで。日付が変わるまで同じ。 */
  #okPrefix(fields: string): string {
    const { date } = this.#owner;
    if (fields !== okFields || date !== okDate) {
      okFields = fields;
      okDate = date;
      okPrefix = `HTTP/1.1 200 OK\r\n${fields}Date: ${date}\r\nContent-Length: `;
    }
    return okPrefix;
  }

  #headOf(
    status: number,
    reason: string,
    fields: string,
    bytes: number,
    keepsAlive: boolean,
    exchange: Exchange | undefined,
  ): string {
    const isOld = exchange?.head.isOld === true;
    const connection = keepsAlive ? (isOld ? "Connection: keep-alive\r\n" : "") : "Connection: close\r\n";
    // 中身の無いと決まっている答えは、長さも言わない。
    const length = status === 304 || status === 204 ? "" : `Content-Length: ${bytes}\r\n`;
    return `HTTP/1.1 ${status} ${reason}\r\n${fields}${exchange?.extraFields ?? ""}Date: ${this.#owner.date}\r\n${length}${connection}\r\n`;
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
    this.#drop();
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

/** `bytes` の `at` から先が `wanted` で始まるか。 */
function hasAt(bytes: Uint8Array, at: number, wanted: Uint8Array): boolean {
  const end = at + wanted.length;
  return end <= bytes.length && asBuffer(bytes).compare(wanted, 0, wanted.length, at, end) === 0;
}

/** 最後に作った、ふつうの答えの見出し。 */
let okFields = "";
let okDate = "";
let okPrefix = "";
