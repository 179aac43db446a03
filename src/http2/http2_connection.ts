import { asBuffer } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import type { Transport, TransportHandler } from "../sockets/transport.ts";
import {
  DEFAULT_FRAME_BYTES,
  DEFAULT_WINDOW_BYTES,
  ErrorCode,
  Flag,
  FRAME_HEAD_BYTES,
  FrameType,
  getUint16,
  getUint24,
  getUint32,
  MAX_WINDOW_BYTES,
  PREFACE,
  putFrameHead,
  putUint32,
  Setting,
} from "./frames.ts";
import { HpackDecoder, HpackError, TOO_LARGE } from "./hpack_decoder.ts";
import type { HeaderField } from "./hpack_table.ts";
import { Http2Stream, type StreamHandler, type StreamWriter } from "./http2_stream.ts";
import { areTrailers, type RequestHeaders, readRequestHeaders } from "./request_headers.ts";
import { TokenBucket } from "./token_bucket.ts";

/** 1 本の接続に許すこと。 */
export interface Http2Limits {
  readonly maxConcurrentStreams: number;
  /** 1 つの要求のヘッダーの大きさ(RFC 9113 6.5.2 の数え方)。 */
  readonly maxHeaderBytes: number;
  /** 客が取り消してよい流れの数: 溜めておける数と、1 秒に溜まる数。 */
  readonly resetBurst: number;
  readonly resetsPerSecond: number;
  /** つながってから話し始めるまで、また始めたヘッダーを送り終えるまで。0 は待ち続ける。 */
  readonly handshakeTimeoutMs: number;
}

/** 接続の終わり方。 */
type Phase = "open" | "closing" | "closed";

/** 送りかけのヘッダー。 */
interface HeaderBlock {
  readonly stream: number;
  readonly flags: number;
  readonly dependsOn: number;
  readonly parts: Uint8Array[];
  size: number;
  readonly cancelTimeout: () => void;
}

/** 流れ 1 つと接続全体に受け取っておく量。大きいテンソルが往復を待たずに届くように、既定より広げる。 */
const STREAM_WINDOW_BYTES = 1 << 20;
const CONNECTION_WINDOW_BYTES = 1 << 23;
/** 送り出しを溜める場所。これを越えたら、回の途中でも送る。 */
const OUT_BYTES = 1 << 16;
const SMALL_OUT_BYTES = 1 << 12;
/** 覚えておく、終わった流れの数。行き違いの枠と誤りを見分けるため。 */
const REMEMBERED = 256;
/** ヘッダーの続きの枠の数の上限。空の枠を送り続けられないように。 */
const MAX_CONTINUATIONS = 32;
/** 仕事にならない枠(PING、SETTINGS など)を、流れを開かずに送れる数。 */
const IDLE_BURST = 1000;
const IDLE_PER_SECOND = 100;
const IDLE_PER_STREAM = 10;
/** 「もう閉じる」と伝えてから、聞かない相手を切るまで。 */
const LINGER_MS = 1000;
const EMPTY = new Uint8Array(0);
const ANNOUNCE_PING = Buffer.from("announce");

/** 接続全体の誤り。 */
class ConnectionError extends Error {
  readonly code: number;
  constructor(code: number) {
    super();
    this.code = code;
  }
}

/** 流れ 1 つの誤り。 */
class StreamError extends Error {
  readonly stream: number;
  readonly code: number;
  constructor(stream: number, code: number) {
    super();
    this.stream = stream;
    this.code = code;
  }
}

/**
 * サーバーの側の HTTP/2 接続 1 本。枠、ヘッダーの圧縮、流れの状態、流量の制御を受け持ち、中身は知らない。
 *
 * node:http2 を使わないのは、流れごとに作る物が多く 1 往復に 30 µs ほど掛かること、終わらない SETTINGS や
 * 順序の誤りなど RFC が切れと言うものを切らないこと、届いたまま始まっていない要求が見えないことによる。
 *
 * 送るものは溜め、読んだ塊を処理し終えたとき(ほかではその回の微小タスク)にまとめて書く。
 * 客が読まずに書き込みが詰まったら、こちらも読むのをやめる。
 *
 * @see https://www.rfc-editor.org/rfc/rfc9113
 */
export class Http2Connection implements StreamWriter, TransportHandler {
  /** 流れが 1 つも無くなった時刻(Clock.monotonicMs)。流れがあれば undefined。 */
  idleSinceMs: number | undefined;
  readonly #socket: Transport;
  readonly #clock: Clock;
  readonly #limits: Http2Limits;
  readonly #accept: (stream: Http2Stream) => StreamHandler;
  readonly #streams = new Map<number, Http2Stream>();
  readonly #decoder: HpackDecoder;
  readonly #resets: TokenBucket;
  readonly #idleFrames: TokenBucket;
  #phase: Phase = "open";
  #lastStream = 0;
  /** 最近終わった流れ。こちらが断ち切ったものは負。 */
  readonly #ended = new Int32Array(REMEMBERED);
  #endedCount = 0;

  // 受信
  /** 挨拶のうち、届いた長さ。 */
  #greeted = 0;
  #hasSettings = false;
  /** 枠の途中まで。 */
  #rest: Uint8Array = EMPTY;
  #restAt = 0;
  #block: HeaderBlock | undefined;
  #unacknowledged = 0;
  #lastFields: readonly HeaderField[] | undefined;
  #lastHeaders: RequestHeaders | undefined;
  #cancelHandshake: () => void = () => {};

  // 送信
  #out: Uint8Array = EMPTY;
  #outAt = 0;
  #isReading = false;
  #isFlushPlanned = false;
  #isCongested = false;
  #sendWindow = DEFAULT_WINDOW_BYTES;
  #peerWindow = DEFAULT_WINDOW_BYTES;
  #peerFrameBytes = DEFAULT_FRAME_BYTES;
  /** 窓が開くのを待つ流れ。待ち始めた順。 */
  readonly #waiting = new Set<Http2Stream>();
  /** 送った PING の中身 → 返ったときに呼ぶもの。 */
  readonly #pings = new Map<string, () => void>();
  readonly #closed = Promise.withResolvers<void>();

  /** @param accept ヘッダーの揃った流れを受け取る。その場で答えてもよい。 */
  constructor(
    socket: Transport,
    clock: Clock,
    limits: Http2Limits,
    accept: (stream: Http2Stream) => StreamHandler,
  ) {
    this.#socket = socket;
    this.#clock = clock;
    this.#limits = limits;
    this.#accept = accept;
    this.#decoder = new HpackDecoder(limits.maxHeaderBytes);
    this.#resets = new TokenBucket(clock, limits.resetBurst, limits.resetsPerSecond);
    this.#idleFrames = new TokenBucket(clock, IDLE_BURST, IDLE_PER_SECOND);
    this.idleSinceMs = clock.monotonicMs();
    this.#cancelHandshake = this.#startTimeout();
    this.#sendSettings();
  }

  /** 切れたとき。 */
  get whenClosed(): Promise<void> {
    return this.#closed.promise;
  }

  // 終わり方 -------------------------------------------------------------------------------------

  /**
   * 「もう新しい流れは始めないで」と伝える。行き違いの流れには答え続ける。
   *
   * @returns 相手がそれを聞いたか、切れたとき。
   * @see https://www.rfc-editor.org/rfc/rfc9113#section-6.8
   */
  announce(): Promise<void> {
    if (this.#phase !== "open") return this.whenClosed;
    this.#writeGoAway(MAX_WINDOW_BYTES, ErrorCode.noError);
    const heard = Promise.withResolvers<void>();
    this.ping(ANNOUNCE_PING, heard.resolve);
    return Promise.race([heard.promise, this.whenClosed]);
  }

  /** これ以上の流れを断り、開いているものがすべて終わったら切る。 @returns 切れたとき。 */
  closeWhenDone(): Promise<void> {
    if (this.#phase === "open") {
      this.#phase = "closing";
      this.#writeGoAway(this.#lastStream, ErrorCode.noError);
      if (this.#streams.size === 0) this.#hangUp();
    }
    return this.whenClosed;
  }

  /** すぐに切る。 */
  destroy(): void {
    this.#socket.destroy();
    this.closed();
  }

  /** @param opaque 8 バイト。 @param heard 返事が来たら 1 度だけ呼ぶ。 */
  ping(opaque: Uint8Array, heard: () => void): void {
    this.#pings.set(asBuffer(opaque).toString("latin1"), heard);
    this.#putFrame(FrameType.ping, 0, 0, opaque);
    this.#planFlush();
  }

  /** 送り終えてから切る。相手が読まなくても、少し後には切る。 */
  #hangUp(): void {
    this.#flush();
    this.#phase = "closed";
    this.#socket.end();
    const cancel = this.#clock.after(LINGER_MS, () => this.#socket.destroy());
    void this.whenClosed.then(cancel);
  }

  /** 送り終えた客の答えを待たない。HTTP/2 の客は、聞き終えるまで閉じない。 */
  ended(): void {
    this.destroy();
  }

  closed(): void {
    this.#phase = "closed";
    this.#cancelHandshake();
    this.#block?.cancelTimeout();
    for (const stream of [...this.#streams.values()]) this.#abort(stream, false);
    this.#rest = EMPTY;
    this.#restAt = 0;
    this.#out = EMPTY;
    this.#outAt = 0;
    this.#closed.resolve();
  }

  /** 接続全体の誤り。 @see https://www.rfc-editor.org/rfc/rfc9113#section-5.4.1 */
  #fail(code: number): void {
    if (this.#phase === "closed") return;
    this.#writeGoAway(this.#lastStream, code);
    this.#hangUp();
    for (const stream of [...this.#streams.values()]) this.#abort(stream, false);
  }

  // 受信 -----------------------------------------------------------------------------------------

  #startTimeout(): () => void {
    const { handshakeTimeoutMs } = this.#limits;
    return handshakeTimeoutMs === 0 ? () => {} : this.#clock.after(handshakeTimeoutMs, () => this.destroy());
  }

  drained(): void {
    if (!this.#isCongested) return;
    this.#isCongested = false;
    this.#socket.resume();
  }

  data(chunk: Uint8Array): void {
    if (this.#phase === "closed") return;
    this.#isReading = true;
    try {
      this.#parse(chunk);
    } catch (thrown) {
      if (thrown instanceof ConnectionError) this.#fail(thrown.code);
      else if (thrown instanceof HpackError) this.#fail(ErrorCode.compressionError);
      else {
        this.#fail(ErrorCode.internalError);
        throw thrown;
      }
    } finally {
      this.#isReading = false;
      this.#flush();
    }
  }

  #parse(chunk: Uint8Array): void {
    let at = this.#greeted < PREFACE.length ? this.#readPreface(chunk) : 0;
    while (at < chunk.length && this.#phase !== "closed") {
      if (this.#restAt > 0) {
        at = this.#complete(chunk, at);
        continue;
      }
      const length = at + FRAME_HEAD_BYTES <= chunk.length ? this.#frameLength(chunk, at) : -1;
      const end = at + FRAME_HEAD_BYTES + length;
      if (length < 0 || end > chunk.length) {
        at = this.#complete(chunk, at);
        continue;
      }
      this.#onFrame(chunk, at, length);
      at = end;
    }
  }

  #readPreface(chunk: Uint8Array): number {
    const count = Math.min(chunk.length, PREFACE.length - this.#greeted);
    for (let i = 0; i < count; i++) {
      // HTTP/1.1 や TLS の客。枠では答えようがない。
      if (chunk[i] !== PREFACE[this.#greeted + i]) throw new ConnectionError(ErrorCode.protocolError);
    }
    this.#greeted += count;
    return count;
  }

  #frameLength(bytes: Uint8Array, at: number): number {
    const length = getUint24(bytes, at);
    if (length > DEFAULT_FRAME_BYTES) throw new ConnectionError(ErrorCode.frameSizeError);
    return length;
  }

  /** 塊をまたぐ枠を、別の場所に揃える。 @returns 塊の中で読み終えた位置。 */
  #complete(chunk: Uint8Array, from: number): number {
    let at = from;
    const take = (until: number): boolean => {
      const count = Math.min(until - this.#restAt, chunk.length - at);
      this.#makeRoom(this.#restAt + count, until);
      this.#rest.set(chunk.subarray(at, at + count), this.#restAt);
      this.#restAt += count;
      at += count;
      return this.#restAt === until;
    };
    if (this.#restAt < FRAME_HEAD_BYTES && !take(FRAME_HEAD_BYTES)) return at;
    const length = this.#frameLength(this.#rest, 0);
    if (this.#restAt < FRAME_HEAD_BYTES + length && !take(FRAME_HEAD_BYTES + length)) return at;
    const frame = this.#rest;
    this.#rest = EMPTY;
    this.#restAt = 0;
    this.#onFrame(frame, 0, length);
    return at;
  }

  /** 届いた分の倍までしか取らない。大きい枠の頭だけ送って黙る客に、場所を与え過ぎないように。 */
  #makeRoom(bytes: number, most: number): void {
    if (this.#rest.length >= bytes) return;
    const grown = new Uint8Array(Math.min(most, Math.max(bytes, 2 * this.#rest.length)));
    grown.set(this.#rest.subarray(0, this.#restAt));
    this.#rest = grown;
  }

  #onFrame(bytes: Uint8Array, at: number, length: number): void {
    try {
      this.#dispatch(bytes, at, length);
    } catch (thrown) {
      if (!(thrown instanceof StreamError)) throw thrown;
      this.#resetStream(thrown);
    }
  }

  #dispatch(bytes: Uint8Array, at: number, length: number): void {
    const type = bytes[at + 3]!;
    const flags = bytes[at + 4]!;
    const stream = getUint32(bytes, at + 5) & 0x7fffffff;
    const start = at + FRAME_HEAD_BYTES;
    if (this.#block !== undefined && (type !== FrameType.continuation || stream !== this.#block.stream)) {
      throw new ConnectionError(ErrorCode.protocolError);
    }
    if (!this.#hasSettings && (type !== FrameType.settings || (flags & Flag.ack) !== 0)) {
      throw new ConnectionError(ErrorCode.protocolError);
    }
    switch (type) {
      case FrameType.data:
        this.#onData(stream, flags, bytes, start, length);
        break;
      case FrameType.headers:
        this.#onHeaders(stream, flags, bytes, start, length);
        break;
      case FrameType.priority:
        this.#onPriority(stream, bytes, start, length);
        break;
      case FrameType.rstStream:
        this.#onReset(stream, length);
        break;
      case FrameType.settings:
        this.#onSettings(stream, flags, bytes, start, length);
        break;
      case FrameType.ping:
        this.#onPing(stream, flags, bytes.subarray(start, start + length));
        break;
      case FrameType.goAway:
        if (stream !== 0) throw new ConnectionError(ErrorCode.protocolError);
        if (length < 8) throw new ConnectionError(ErrorCode.frameSizeError);
        break;
      case FrameType.windowUpdate:
        this.#onWindowUpdate(stream, bytes, start, length);
        break;
      case FrameType.continuation:
        this.#onContinuation(flags, bytes.subarray(start, start + length));
        break;
      case FrameType.pushPromise:
        throw new ConnectionError(ErrorCode.protocolError);
      default:
        this.#spendIdle();
    }
  }

  /** 仕事にならない枠を 1 つ数える。 */
  #spendIdle(): void {
    if (!this.#idleFrames.take()) throw new ConnectionError(ErrorCode.enhanceYourCalm);
  }

  #onData(id: number, flags: number, bytes: Uint8Array, at: number, length: number): void {
    if (id === 0) throw new ConnectionError(ErrorCode.protocolError);
    // 詰め物も、捨てる本文も、接続の窓を使う。
    this.#unacknowledged += length;
    if (this.#unacknowledged > CONNECTION_WINDOW_BYTES) throw new ConnectionError(ErrorCode.flowControlError);
    if (this.#unacknowledged >= CONNECTION_WINDOW_BYTES / 2) {
      this.#putUint32Frame(FrameType.windowUpdate, 0, this.#unacknowledged);
      this.#unacknowledged = 0;
    }
    const [start, end] = unpad(flags, bytes, at, length);
    const stream = this.#streams.get(id);
    if (stream === undefined) {
      this.#onStrayData(id);
      return;
    }
    if (stream.remoteClosed) throw new StreamError(stream.id, ErrorCode.streamClosed);
    stream.unacknowledged += length;
    if (stream.unacknowledged > STREAM_WINDOW_BYTES)
      throw new StreamError(stream.id, ErrorCode.flowControlError);
    stream.received += end - start;
    const isLast = (flags & Flag.endStream) !== 0;
    if (end === start && !isLast) this.#spendIdle();
    if (end > start) stream.handler!.data(bytes.subarray(start, end));
    if (isLast) this.#onEnd(stream);
    else if (stream.unacknowledged >= STREAM_WINDOW_BYTES / 2 && !stream.closed) {
      this.#putUint32Frame(FrameType.windowUpdate, id, stream.unacknowledged);
      stream.unacknowledged = 0;
    }
  }

  #onEnd(stream: Http2Stream): void {
    if (stream.closed) return;
    const { contentLength } = stream.headers;
    if (contentLength >= 0 && contentLength !== stream.received) {
      throw new StreamError(stream.id, ErrorCode.protocolError);
    }
    stream.remoteClosed = true;
    stream.handler!.end();
  }

  /** 開いていない流れの本文。こちらが断ち切ったことを、客がまだ知らないだけのこともある。 */
  #onStrayData(id: number): void {
    if (id > this.#lastStream || id % 2 === 0) throw new ConnectionError(ErrorCode.protocolError);
    if (this.#ended.includes(id)) throw new ConnectionError(ErrorCode.streamClosed);
  }

  /** 終わった流れのヘッダー。 */
  #onStrayHeaders(id: number): void {
    if (this.#ended.includes(-id)) return;
    throw new ConnectionError(this.#ended.includes(id) ? ErrorCode.streamClosed : ErrorCode.protocolError);
  }

  #onHeaders(id: number, flags: number, bytes: Uint8Array, at: number, length: number): void {
    if (id % 2 === 0) throw new ConnectionError(ErrorCode.protocolError);
    let [start, end] = unpad(flags, bytes, at, length);
    let dependsOn = 0;
    if ((flags & Flag.priority) !== 0) {
      if (end - start < 5) throw new ConnectionError(ErrorCode.frameSizeError);
      dependsOn = getUint32(bytes, start) & 0x7fffffff;
      start += 5;
    }
    const block = bytes.subarray(start, end);
    if ((flags & Flag.endHeaders) !== 0) {
      this.#onBlock(id, flags, dependsOn, block);
      return;
    }
    const cancelTimeout = this.#startTimeout();
    this.#block = { stream: id, flags, dependsOn, parts: [block], size: block.length, cancelTimeout };
  }

  #onContinuation(flags: number, part: Uint8Array): void {
    const block = this.#block;
    if (block === undefined) throw new ConnectionError(ErrorCode.protocolError);
    block.parts.push(part);
    block.size += part.length;
    // 圧縮したものが、ほどいたものの上限より大きいことはない。
    if (
      block.size > this.#limits.maxHeaderBytes + DEFAULT_FRAME_BYTES ||
      block.parts.length > MAX_CONTINUATIONS
    ) {
      throw new ConnectionError(ErrorCode.enhanceYourCalm);
    }
    if ((flags & Flag.endHeaders) === 0) return;
    this.#block = undefined;
    block.cancelTimeout();
    this.#onBlock(block.stream, block.flags, block.dependsOn, Buffer.concat(block.parts));
  }

  /** 揃ったヘッダー。断るときも、表を進めるために必ず読む。 */
  #onBlock(id: number, flags: number, dependsOn: number, block: Uint8Array): void {
    const fields = this.#decoder.decode(block);
    const isLast = (flags & Flag.endStream) !== 0;
    const open = this.#streams.get(id);
    if (open !== undefined) {
      this.#onTrailers(open, fields, isLast);
      return;
    }
    if (id <= this.#lastStream) {
      this.#onStrayHeaders(id);
      return;
    }
    this.#lastStream = id;
    if (this.#phase !== "open" || this.#streams.size >= this.#limits.maxConcurrentStreams) {
      throw new StreamError(id, ErrorCode.refusedStream);
    }
    if (fields === TOO_LARGE) throw new StreamError(id, ErrorCode.enhanceYourCalm);
    if (fields !== this.#lastFields) {
      this.#lastFields = fields;
      this.#lastHeaders = readRequestHeaders(fields);
    }
    const headers = this.#lastHeaders;
    if (headers === undefined || dependsOn === id) throw new StreamError(id, ErrorCode.protocolError);
    const stream = new Http2Stream(this, id, headers, this.#peerWindow);
    this.#streams.set(id, stream);
    this.idleSinceMs = undefined;
    this.#idleFrames.give(IDLE_PER_STREAM);
    stream.handler = this.#accept(stream);
    if (isLast) this.#onEnd(stream);
  }

  #onTrailers(stream: Http2Stream, fields: readonly HeaderField[] | typeof TOO_LARGE, isLast: boolean): void {
    if (stream.remoteClosed) throw new StreamError(stream.id, ErrorCode.streamClosed);
    if (fields === TOO_LARGE) throw new StreamError(stream.id, ErrorCode.enhanceYourCalm);
    if (!isLast || !areTrailers(fields)) throw new StreamError(stream.id, ErrorCode.protocolError);
    this.#onEnd(stream);
  }

  /** 優先順位は RFC 9113 で廃された。形だけを確かめる。 */
  #onPriority(id: number, bytes: Uint8Array, at: number, length: number): void {
    if (id === 0) throw new ConnectionError(ErrorCode.protocolError);
    this.#spendIdle();
    const code =
      length !== 5
        ? ErrorCode.frameSizeError
        : (getUint32(bytes, at) & 0x7fffffff) === id
          ? ErrorCode.protocolError
          : ErrorCode.noError;
    if (code === ErrorCode.noError) return;
    throw new StreamError(id, code);
  }

  #onReset(id: number, length: number): void {
    if (length !== 4) throw new ConnectionError(ErrorCode.frameSizeError);
    if (id === 0 || id > this.#lastStream) throw new ConnectionError(ErrorCode.protocolError);
    this.#spendReset();
    const stream = this.#streams.get(id);
    if (stream !== undefined) this.#abort(stream, false);
  }

  /** 取り消しと、断られる要求を 1 つ数える。 */
  #spendReset(): void {
    if (!this.#resets.take()) throw new ConnectionError(ErrorCode.enhanceYourCalm);
  }

  #onSettings(id: number, flags: number, bytes: Uint8Array, at: number, length: number): void {
    if (id !== 0) throw new ConnectionError(ErrorCode.protocolError);
    if ((flags & Flag.ack) !== 0) {
      if (length !== 0) throw new ConnectionError(ErrorCode.frameSizeError);
      return;
    }
    if (length % 6 !== 0) throw new ConnectionError(ErrorCode.frameSizeError);
    if (this.#hasSettings) this.#spendIdle();
    this.#hasSettings = true;
    this.#cancelHandshake();
    for (let i = at; i < at + length; i += 6)
      this.#applySetting(getUint16(bytes, i), getUint32(bytes, i + 2));
    this.#putFrame(FrameType.settings, Flag.ack, 0, EMPTY);
    this.#resumeWaiting();
  }

  #applySetting(name: number, value: number): void {
    if (name === Setting.enablePush && value > 1) throw new ConnectionError(ErrorCode.protocolError);
    if (name === Setting.maxFrameSize) {
      if (value < DEFAULT_FRAME_BYTES || value >= 2 ** 24) throw new ConnectionError(ErrorCode.protocolError);
      this.#peerFrameBytes = value;
    }
    if (name === Setting.initialWindowSize) {
      if (value > MAX_WINDOW_BYTES) throw new ConnectionError(ErrorCode.flowControlError);
      const change = value - this.#peerWindow;
      this.#peerWindow = value;
      for (const stream of this.#streams.values()) this.#widen(stream, change);
    }
  }

  #widen(stream: Http2Stream, change: number): void {
    stream.sendWindow += change;
    if (stream.sendWindow > MAX_WINDOW_BYTES) throw new ConnectionError(ErrorCode.flowControlError);
  }

  #onPing(id: number, flags: number, opaque: Uint8Array): void {
    if (id !== 0) throw new ConnectionError(ErrorCode.protocolError);
    if (opaque.length !== 8) throw new ConnectionError(ErrorCode.frameSizeError);
    if ((flags & Flag.ack) === 0) {
      this.#spendIdle();
      this.#putFrame(FrameType.ping, Flag.ack, 0, opaque);
      return;
    }
    const key = asBuffer(opaque).toString("latin1");
    const heard = this.#pings.get(key);
    this.#pings.delete(key);
    heard?.();
  }

  #onWindowUpdate(id: number, bytes: Uint8Array, at: number, length: number): void {
    if (length !== 4) throw new ConnectionError(ErrorCode.frameSizeError);
    const increment = getUint32(bytes, at) & 0x7fffffff;
    if (id === 0) {
      if (increment === 0) throw new ConnectionError(ErrorCode.protocolError);
      this.#sendWindow += increment;
      if (this.#sendWindow > MAX_WINDOW_BYTES) throw new ConnectionError(ErrorCode.flowControlError);
    } else {
      if (id > this.#lastStream) throw new ConnectionError(ErrorCode.protocolError);
      const stream = this.#streams.get(id);
      if (stream === undefined) return;
      if (increment === 0) throw new StreamError(stream.id, ErrorCode.protocolError);
      stream.sendWindow += increment;
      if (stream.sendWindow > MAX_WINDOW_BYTES) throw new StreamError(stream.id, ErrorCode.flowControlError);
    }
    this.#resumeWaiting();
  }

  // 流れの終わり ---------------------------------------------------------------------------------

  /** 流れの誤り。まだ開いていない流れのこともある。 @see https://www.rfc-editor.org/rfc/rfc9113#section-5.4.2 */
  #resetStream({ stream: id, code }: StreamError): void {
    this.#putUint32Frame(FrameType.rstStream, id, code);
    const stream = this.#streams.get(id);
    if (stream === undefined) this.#remember(-id);
    else this.#abort(stream, true);
    // 流れの数の上限は、客がまだ知らないことがある。
    if (code !== ErrorCode.refusedStream) this.#spendReset();
  }

  #abort(stream: Http2Stream, byUs: boolean): void {
    const wasClosed = stream.closed;
    this.#forget(stream, byUs);
    if (!wasClosed) stream.handler?.abort();
  }

  #forget(stream: Http2Stream, byUs: boolean): void {
    stream.closed = true;
    stream.pending = [];
    this.#waiting.delete(stream);
    this.#streams.delete(stream.id);
    this.#remember(byUs ? -stream.id : stream.id);
    if (this.#streams.size > 0) return;
    this.idleSinceMs = this.#clock.monotonicMs();
    if (this.#phase === "closing") this.#hangUp();
  }

  #remember(mark: number): void {
    this.#ended[this.#endedCount++ % REMEMBERED] = mark;
  }

  // 送信 -----------------------------------------------------------------------------------------

  #sendSettings(): void {
    const settings: readonly (readonly [number, number])[] = [
      [Setting.maxConcurrentStreams, this.#limits.maxConcurrentStreams],
      [Setting.initialWindowSize, STREAM_WINDOW_BYTES],
      [Setting.maxHeaderListSize, this.#limits.maxHeaderBytes],
    ];
    const payload = new Uint8Array(6 * settings.length);
    for (const [i, [name, value]] of settings.entries()) {
      payload[6 * i + 1] = name;
      putUint32(payload, 6 * i + 2, value);
    }
    this.#putFrame(FrameType.settings, 0, 0, payload);
    this.#putUint32Frame(FrameType.windowUpdate, 0, CONNECTION_WINDOW_BYTES - DEFAULT_WINDOW_BYTES);
    this.#flush();
  }

  #writeGoAway(lastStream: number, code: number): void {
    const payload = new Uint8Array(8);
    putUint32(payload, 0, lastStream);
    putUint32(payload, 4, code);
    this.#putFrame(FrameType.goAway, 0, 0, payload);
    this.#planFlush();
  }

  writeHeaders(stream: Http2Stream, block: Uint8Array, isLast: boolean): void {
    const most = this.#peerFrameBytes;
    const end = isLast ? Flag.endStream : 0;
    if (block.length <= most) this.#putFrame(FrameType.headers, Flag.endHeaders | end, stream.id, block);
    else {
      this.#putFrame(FrameType.headers, end, stream.id, block.subarray(0, most));
      for (let at = most; at < block.length; at += most) {
        const flags = at + most >= block.length ? Flag.endHeaders : 0;
        this.#putFrame(FrameType.continuation, flags, stream.id, block.subarray(at, at + most));
      }
    }
    this.#planFlush();
  }

  writeData(stream: Http2Stream, data: Uint8Array): void {
    const sent = stream.pending.length > 0 ? 0 : this.#putData(stream, data);
    if (sent < data.length) {
      stream.pending.push(sent === 0 ? data : data.subarray(sent));
      this.#waiting.add(stream);
    }
    this.#planFlush();
  }

  finish(stream: Http2Stream): void {
    this.writeHeaders(stream, stream.trailers!, true);
    const { remoteClosed } = stream;
    // まだ送っている客に、もう要らないと伝える。 @see https://www.rfc-editor.org/rfc/rfc9113#section-8.1
    if (!remoteClosed) this.#putUint32Frame(FrameType.rstStream, stream.id, ErrorCode.noError);
    this.#forget(stream, !remoteClosed);
  }

  /** 窓の許すだけ送る。 @returns 送った長さ。 */
  #putData(stream: Http2Stream, data: Uint8Array): number {
    let at = 0;
    while (at < data.length) {
      const most = Math.min(this.#sendWindow, stream.sendWindow, this.#peerFrameBytes, data.length - at);
      if (most <= 0) break;
      this.#putFrame(FrameType.data, 0, stream.id, data.subarray(at, at + most));
      this.#sendWindow -= most;
      stream.sendWindow -= most;
      at += most;
      this.#idleFrames.give(1);
    }
    return at;
  }

  #resumeWaiting(): void {
    for (const stream of this.#waiting) {
      if (this.#sendWindow <= 0) return;
      this.#resume(stream);
    }
  }

  #resume(stream: Http2Stream): void {
    const { pending } = stream;
    while (pending.length > 0) {
      const [first] = pending;
      const sent = this.#putData(stream, first!);
      if (sent < first!.length) {
        pending[0] = first!.subarray(sent);
        return;
      }
      pending.shift();
    }
    this.#waiting.delete(stream);
    if (stream.trailers !== undefined) this.finish(stream);
    else stream.handler!.drained?.();
  }

  #putUint32Frame(type: number, stream: number, value: number): void {
    const at = this.#reserve(FRAME_HEAD_BYTES + 4);
    putUint32(this.#out, putFrameHead(this.#out, at, 4, type, 0, stream), value);
  }

  #putFrame(type: number, flags: number, stream: number, payload: Uint8Array): void {
    const at = this.#reserve(FRAME_HEAD_BYTES + payload.length);
    this.#out.set(payload, putFrameHead(this.#out, at, payload.length, type, flags, stream));
  }

  /** @returns 書き始める位置。 */
  #reserve(bytes: number): number {
    if (this.#outAt + bytes > OUT_BYTES) this.#flush();
    const at = this.#outAt;
    if (at + bytes > this.#out.length) {
      const grown = new Uint8Array(Math.max(SMALL_OUT_BYTES, 2 * this.#out.length, at + bytes));
      grown.set(this.#out.subarray(0, at));
      this.#out = grown;
    }
    this.#outAt = at + bytes;
    return at;
  }

  /** 読んでいる間は、読み終えたところでまとめて書かれる。 */
  #planFlush(): void {
    if (this.#isReading || this.#isFlushPlanned) return;
    this.#isFlushPlanned = true;
    queueMicrotask(this.#flushPlanned);
  }

  readonly #flushPlanned = (): void => {
    this.#isFlushPlanned = false;
    this.#flush();
  };

  #flush(): void {
    const length = this.#outAt;
    if (length === 0 || this.#phase === "closed") return;
    this.#outAt = 0;
    const isRoomy = this.#socket.write(this.#out.subarray(0, length));
    if (this.#out.length > OUT_BYTES) this.#out = EMPTY;
    if (isRoomy || this.#isCongested) return;
    this.#isCongested = true;
    this.#socket.pause();
  }
}

/** 詰め物を除いた中身の範囲。 @see https://www.rfc-editor.org/rfc/rfc9113#section-6.1 */
function unpad(flags: number, bytes: Uint8Array, at: number, length: number): [start: number, end: number] {
  if ((flags & Flag.padded) === 0) return [at, at + length];
  if (length === 0) throw new ConnectionError(ErrorCode.frameSizeError);
  const padding = bytes[at]!;
  if (padding >= length) throw new ConnectionError(ErrorCode.protocolError);
  return [at + 1, at + length - padding];
}
