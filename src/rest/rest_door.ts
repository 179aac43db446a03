import type { Host } from "../base/host.ts";
import { cancelled, failedPrecondition, internal, StatusError, unauthenticated } from "../base/status.ts";
import { ConnectionKeeper } from "../http1/connection_keeper.ts";
import {
  type BodyReceiver,
  type Exchange,
  Http1Connection,
  type Http1Owner,
  type Reply,
} from "../http1/http1_connection.ts";
import type { AccessLog } from "../service/access_log.ts";
import { Admission } from "../service/admission.ts";
import type { Door } from "../service/door.ts";
import type { ServerTls } from "../service/server_tls.ts";
import { type Job, WorkQueue } from "../service/work_queue.ts";
import { Listener } from "../sockets/listener.ts";
import { errorPage } from "./error_page.ts";
import { inflateBody, isGzip } from "./gzip_body.ts";
import { httpStatusOf, reasonOf, writeError } from "./http_status.ts";
import { BadVersion, isApiTarget, isWellFormedTarget } from "./model_path.ts";
import {
  type Arrival,
  type Body,
  type RestServices,
  type Route,
  type RouteOptions,
  Routes,
} from "./routes.ts";
import type { SiteOptions } from "./site.ts";
import type { StaticPage } from "./static_page.ts";

/** この入口に、HTTP を通さずに尋ねる。 */
export type AskRest = (
  method: "GET" | "POST",
  target: string,
  body?: string,
) => Promise<{ readonly ok: boolean; readonly text: string }>;

export interface RestDoorOptions extends RouteOptions, Omit<SiteOptions, "openApi" | "pages"> {
  /** 待ち受ける宛先。無ければ `::`(IPv4 も受ける)、使えなければ `0.0.0.0`。 */
  readonly hostname?: string;
  /** 0 なら空いている番号。 */
  readonly port: number;
  /** 同じ番号を複数のプロセスで分け合う。 */
  readonly reusePort: boolean;
  /** `--rest_api_enable_cors_support` */
  readonly cors: boolean;
  /** 本文の上限。超えれば 413。 */
  readonly maxBodyBytes: number;
  /** 混んだときの断り方。無ければ断らない。 */
  readonly admission?: Admission;
  /** 何も送られてこない接続を閉じるまで。0 は閉じない。 */
  readonly idleTimeoutSeconds: number;
  /** 要求の記録。無ければ記録せず、客の番号も返さない。 */
  readonly accessLog?: AccessLog;
  /** `/v1/` の外の、path → 頁。初めて訪ねられたときに呼ぶ。 */
  readonly pages?: () => Promise<ReadonlyMap<string, StaticPage>>;
  /** `/openapi.json` の中身。 */
  readonly openApi?: (ask: AskRest) => Promise<string>;
  /** あれば TLS を話す。 */
  readonly tls?: ServerTls;
  /** `Authorization` の値を許すか。無ければ誰でも許す。健全性の問い合わせと preflight には聞かない。 */
  readonly authorize?: (authorization: string | null) => boolean;
}

/** 鍵を持たない見張りも聞ける宛先。 */
const openPaths = new Set(["/healthz", "/livez", "/readyz"]);
const methods = new Set(["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"]);
const EMPTY = new Uint8Array(0);
const MAX_HEAD_BYTES = 16_384;
const MAX_FIELDS = 200;
/** 覚えておく宛先の数。宛先は客が選ぶので、際限なく覚えない。 */
const MAX_KNOWN = 512;
/** これだけの間要求が来なければ、使われている接続は無い。 */
const QUIET_MS = 100;
/** 代理が新しい接続を開き続けるときに、答え続ける限り。 */
const MAX_ANNOUNCE_MS = 1000;
/** どの客のものでもない要求は、取り消されない。 */
const never = new AbortController().signal;

/**
 * REST の入口。
 *
 * 経路の照合は TF Serving の正規表現が決め、書かれたままの宛先(問い合わせ文字列まで含み、大文字小文字を見ない)に
 * 当てる。`/v1/` の外の面は {@link createSite} に任せる。
 *
 * @see tensorflow_serving/model_servers/http_server.cc
 */
export class RestDoor implements Door, Http1Owner {
  readonly name = "REST";
  readonly limits: Http1Owner["limits"];
  isClosing = false;
  readonly #host: Host;
  readonly #options: RestDoorOptions;
  readonly #routes: Routes;
  readonly #admission: Admission;
  readonly #queue: WorkQueue;
  readonly #keeper: ConnectionKeeper;
  /** 答えに共通の見出し。 */
  readonly #fields: string;
  readonly #preflightFields: string;
  #listener: Listener | undefined;
  /** これまでに届いた要求の数。 */
  #received = 0;
  /** 一度通った推論の宛先 → 仕事。同じ宛先を二度読み解かない。 */
  readonly #known = new Map<string, Route>();
  #pages: Promise<ReadonlyMap<string, StaticPage>> | undefined;
  #site: Promise<(request: Request) => Promise<Response | undefined>> | undefined;
  /** 接続がすべて閉じたときに呼ぶもの。 */
  #onEmpty: () => void = () => {};

  constructor(host: Host, services: RestServices, options: RestDoorOptions) {
    this.#host = host;
    this.#options = options;
    this.limits = { maxHeadBytes: MAX_HEAD_BYTES, maxFields: MAX_FIELDS, maxBodyBytes: options.maxBodyBytes };
    this.#admission = options.admission ?? new Admission(host, { maxInFlight: 0, maxQueueDelayMs: 0 });
    this.#queue = new WorkQueue(host.clock, this.#admission);
    this.#keeper = new ConnectionKeeper(host.clock, options.idleTimeoutSeconds);
    this.#routes = new Routes(host, services, options);
    const cors = options.cors ? corsFields(options.authorize !== undefined) : "";
    this.#fields = `Content-Type: application/json\r\n${cors}`;
    // 中身の無い応答に libevent が付ける既定の型。
    this.#preflightFields = `Content-Type: text/html; charset=ISO-8859-1\r\n${cors}`;
  }

  get date(): string {
    return this.#keeper.date;
  }

  get tick(): number {
    return this.#keeper.tick;
  }

  /** @throws INTERNAL `Failed to start HTTP Server at localhost:<port>`(宛先が使えない)。 */
  async start(): Promise<readonly string[]> {
    const { hostname, port } = this.#options;
    this.#keeper.start();
    try {
      return [await this.#listen(hostname ?? "::")];
    } catch (thrown) {
      if (hostname !== undefined || isInUse(thrown)) throw bindError(port, thrown);
      // IPv6 の無い環境。
      this.#host.log.debug("IPv6 is not available, falling back to IPv4", { error: thrown });
      try {
        return [await this.#listen("0.0.0.0")];
      } catch (again) {
        throw bindError(port, again);
      }
    }
  }

  #listen(host: string): Promise<string> {
    const { port, reusePort, tls } = this.#options;
    const address = { host, port, reusePort };
    this.#listener = new Listener(
      { address, tls, protocol: "http/1.1", maxConnections: 0, handshakeTimeoutMs: 0 },
      (transport) => {
        const connection = new Http1Connection(transport, this);
        connection.lastActive = this.tick;
        this.#keeper.connections.add(connection);
        return connection;
      },
    );
    return this.#listener.listen();
  }

  forget(connection: Http1Connection): void {
    this.#keeper.connections.delete(connection);
    if (this.#keeper.connections.size === 0) this.#onEmpty();
  }

  /** これから来る接続の証明書を差し替える。つながっているものは切れない。 */
  replaceCertificate(tls: ServerTls): void {
    this.#listener?.replaceCertificate(tls);
  }

  /** 遊んでいる(要求を 1 つは終えた)接続を閉じる。 @returns 閉じた数。 */
  closeIdle(): number {
    let closed = 0;
    for (const connection of this.#keeper.connections) {
      if (!connection.isIdle || connection.answered === 0) continue;
      connection.close();
      closed++;
    }
    return closed;
  }

  async stop(graceMs: number): Promise<void> {
    // 処理中の応答で「次は別の接続で」と伝える。
    this.isClosing = true;
    const expired = Promise.withResolvers<void>();
    const cancel = this.#host.clock.after(graceMs, expired.resolve);
    await Promise.race([this.#announce(), expired.promise]);
    // 待ち受けと遊んでいる接続はすぐ閉じ、処理中のものが終わるのを待つ。
    this.#listener?.close();
    const { connections } = this.#keeper;
    for (const connection of connections) if (connection.isIdle) connection.close();
    const emptied = new Promise<void>((resolve) => {
      this.#onEmpty = resolve;
      if (connections.size === 0) resolve();
    });
    await Promise.race([emptied, expired.promise]);
    cancel();
    this.#keeper.stop();
    for (const connection of connections) connection.destroy();
  }

  /**
   * 開いている接続が「次は別の接続で」を受け取るまで、答え続ける。答え終えた接続をすぐ閉じると、
   * 行き違いに送られた次の要求が失敗するため。要求が途切れれば、もう誰も使っていないとみなす。
   */
  async #announce(): Promise<void> {
    const { clock } = this.#host;
    const endMs = clock.monotonicMs() + MAX_ANNOUNCE_MS;
    for (let seen = -1; seen !== this.#received && clock.monotonicMs() < endMs; ) {
      seen = this.#received;
      await new Promise<void>((resolve) => clock.after(QUIET_MS, resolve));
      // 混んでいてタイマーが遅れた回では、届いている要求をまだ読んでいない。
      await new Promise<void>((resolve) => clock.endOfTurn(resolve));
    }
  }

  refuse(status: number): Reply {
    return errorPage(status);
  }

  accept(exchange: Exchange): void {
    this.#received++;
    const { accessLog, authorize } = this.#options;
    const { head } = exchange;
    if (accessLog !== undefined) trace(exchange, accessLog);
    if (authorize !== undefined && !this.#isAllowed(exchange, authorize)) {
      void this.#meetStranger(exchange);
      return;
    }
    const known = head.method === "POST" ? this.#known.get(head.target) : undefined;
    if (known !== undefined) this.#receive(exchange, known);
    else this.#dispatch(exchange);
  }

  /** 頁は誰にでも見せる。中身はどのサーバーでも同じで、モデルのことは鍵を添えて尋ねるまで分からない。 */
  async #meetStranger(exchange: Exchange): Promise<void> {
    const { method, target } = exchange.head;
    try {
      const isPage = !isApiTarget(target) && (await this.#loadPages()).has(pathOf(target));
      if (!isPage) throw unauthenticated("Missing or invalid bearer token");
    } catch (thrown) {
      exchange.extraFields += "WWW-Authenticate: Bearer\r\n";
      exchange.reply(this.#fail(thrown, method));
      return;
    }
    this.#dispatch(exchange);
  }

  #loadPages(): Promise<ReadonlyMap<string, StaticPage>> {
    this.#pages ??= this.#options.pages?.() ?? Promise.resolve(new Map());
    return this.#pages;
  }

  #dispatch(exchange: Exchange): void {
    const { method, target } = exchange.head;
    if (!methods.has(method)) exchange.reply(errorPage(501));
    else if (!isWellFormedTarget(target)) exchange.reply(errorPage(400));
    else if (!target.startsWith("/")) exchange.reply(errorPage(404));
    else if (!isApiTarget(target)) void this.#visit(exchange);
    else if (method === "OPTIONS") void this.#answerPreflight(exchange);
    else {
      const route = this.#routes.find(method, target);
      if (!route.readsBody) {
        void this.answer(new Inference(this, exchange, route, this.#host.clock.monotonicMs()));
        return;
      }
      if (this.#known.size >= MAX_KNOWN) this.#known.clear();
      this.#known.set(target, route);
      this.#receive(exchange, route);
    }
  }

  /** 本文を待ってから始める。混んでいれば、本文を読む前に断る。 */
  #receive(exchange: Exchange, route: Route): void {
    const refusal = this.#admission.refusal();
    if (refusal !== undefined) {
      exchange.reply(this.#fail(refusal, "POST"));
      return;
    }
    exchange.receiver = new Inference(this, exchange, route);
  }

  /** {@link Inference} から呼ばれる。 */
  line(one: Inference): void {
    this.#queue.submit(one);
  }

  /** {@link Inference} から呼ばれる。 @returns すぐに答えられなければ、答えたとき。 */
  answer(one: Inference): Promise<void> | undefined {
    const { exchange, route } = one;
    try {
      const answer = route.answer(one);
      if (answer instanceof Promise) return this.#answerLater(answer, exchange);
      exchange.reply(this.#ok(answer));
    } catch (thrown) {
      exchange.reply(this.#fail(thrown, exchange.head.method));
    }
    return undefined;
  }

  async #answerLater(answer: Promise<Body>, exchange: Exchange): Promise<void> {
    try {
      exchange.reply(this.#ok(await answer));
    } catch (thrown) {
      exchange.reply(this.#fail(thrown, exchange.head.method));
    }
  }

  /** {@link Inference} から呼ばれる。 */
  turnAway(exchange: Exchange, error: StatusError): void {
    exchange.reply(this.#fail(error, "POST"));
  }

  #ok(body: Body): Reply {
    return { status: 200, reason: "OK", fields: this.#fields, body };
  }

  #fail(thrown: unknown, method: string): Reply {
    const error = StatusError.from(thrown);
    const status = httpStatusOf(error.code);
    const body = method === "HEAD" || error instanceof BadVersion ? "" : writeError(error.message);
    return { status, reason: reasonOf(status), fields: this.#fields, body };
  }

  /** `/v1/` の外の面。初めて訪ねられたときに作る。 */
  async #visit(exchange: Exchange): Promise<void> {
    const { method, target } = exchange.head;
    try {
      this.#site ??= this.#openSite();
      const site = await this.#site;
      const headers = new Headers();
      for (const [name, value] of exchange.head.entries()) headers.set(name, value);
      // HEAD は、本文を送らない GET。
      const asked = method === "HEAD" ? "GET" : method;
      const response = await site(new Request(`http://localhost${target}`, { method: asked, headers }));
      exchange.reply(response === undefined ? errorPage(404) : await toReply(response, method));
    } catch (thrown) {
      exchange.reply(this.#fail(thrown, method));
    }
  }

  async #openSite(): Promise<(request: Request) => Promise<Response | undefined>> {
    const [{ createSite }, pages] = await Promise.all([import("./site.ts"), this.#loadPages()]);
    const { openApi, ...options } = this.#options;
    return createSite({
      ...options,
      pages,
      ...(openApi === undefined ? {} : { openApi: () => openApi(this.#ask) }),
    });
  }

  readonly #ask: AskRest = async (method, target, body = "") => {
    try {
      const route = this.#routes.find(method, target);
      const arrivedMs = this.#host.clock.monotonicMs();
      const answer = await route.answer({ body: Buffer.from(body), arrivedMs, isGone: false, signal: never });
      return { ok: true, text: typeof answer === "string" ? answer : new TextDecoder().decode(answer) };
    } catch (thrown) {
      return { ok: false, text: StatusError.from(thrown).message };
    }
  };

  #isAllowed({ head }: Exchange, authorize: (authorization: string | null) => boolean): boolean {
    // preflight は鍵を載せられない。答えるのは CORS の見出しだけ。
    if (head.method === "OPTIONS" || openPaths.has(pathOf(head.target))) return true;
    return authorize(head.get("authorization"));
  }

  /** 宛先は見ない。Origin があるかどうかだけで決まる。 */
  async #answerPreflight(exchange: Exchange): Promise<void> {
    let status = 200;
    try {
      await this.#routes.count(() => {
        if (!/https?:\/\//.test(exchange.head.get("origin") ?? "")) throw missingOrigin;
      });
    } catch (thrown) {
      status = httpStatusOf(StatusError.from(thrown).code);
    }
    exchange.reply({ status, reason: reasonOf(status), fields: this.#preflightFields, body: "" });
  }
}

/** 推論の要求。 */
class Inference implements BodyReceiver, Job, Arrival {
  readonly exchange: Exchange;
  readonly route: Route;
  arrivedMs: number;
  readonly #door: RestDoor;
  #body: Uint8Array = EMPTY;

  constructor(door: RestDoor, exchange: Exchange, route: Route, arrivedMs = 0) {
    this.#door = door;
    this.exchange = exchange;
    this.route = route;
    this.arrivedMs = arrivedMs;
  }

  receive(body: Uint8Array): void {
    this.#body = body;
    this.#door.line(this);
  }

  get body(): Uint8Array {
    const isCompressed = isGzip(this.exchange.head.get("content-encoding"));
    return isCompressed ? (inflateBody(this.#body) ?? EMPTY) : this.#body;
  }

  get isGone(): boolean {
    return this.exchange.isGone;
  }

  get signal(): AbortSignal {
    return this.exchange.signal;
  }

  start(): Promise<void> | undefined {
    if (!this.isGone) return this.#door.answer(this);
    this.refuse(cancelled("The client has gone"));
    return undefined;
  }

  refuse(error: StatusError): void {
    this.#door.turnAway(this.exchange, error);
  }
}

/** 要求を終わりまで見て記録し、客の番号を応答の見出しに付ける。 */
function trace(exchange: Exchange, accessLog: AccessLog): void {
  const { head } = exchange;
  const one = accessLog.begin(head);
  if (one === undefined) return;
  exchange.extraFields += `X-Request-Id: ${one.requestId}\r\n`;
  exchange.onReply = (status) => {
    const path = head.target.split(/[?#]/, 1)[0]!;
    accessLog.finish(one, { door: "REST", method: head.method, path, status });
  };
}

/** `/v1/` の外の面の答えを、そのまま送れる形に。 */
async function toReply(response: Response, method: string): Promise<Reply> {
  const { status, headers } = response;
  const body = await response.bytes();
  let fields = "";
  for (const [name, value] of headers) fields += `${titleCase(name)}: ${value}\r\n`;
  const unsentBytes = method === "HEAD" ? body.length : undefined;
  return { status, reason: reasonOf(status), fields, body, unsentBytes };
}

const titleCase = (name: string): string =>
  name === "etag" ? "ETag" : name.replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase());

const corsFields = (takesKey: boolean): string =>
  "Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Methods: POST, GET\r\n" +
  // 鍵の要るときは、頁がそれを送ることも許す。
  `Access-Control-Allow-Headers: Content-Type${takesKey ? ", Authorization" : ""}\r\n`;

const pathOf = (target: string): string => target.split(/[?#]/, 1)[0]!;

const missingOrigin = failedPrecondition("Origin header is missing in CORS preflight");

const isInUse = (thrown: unknown): boolean =>
  thrown instanceof Error && Reflect.get(thrown, "code") === "EADDRINUSE";

const bindError = (port: number, cause: unknown): StatusError =>
  internal(`Failed to start HTTP Server at localhost:${port}`, cause);
