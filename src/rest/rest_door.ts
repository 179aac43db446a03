import { Elysia } from "elysia";
import type { Cancel } from "../base/clock.ts";
import type { Host } from "../base/host.ts";
import { cancelled, failedPrecondition, internal, StatusError, unauthenticated } from "../base/status.ts";
import type { AccessLog, RequestTrace } from "../service/access_log.ts";
import { Admission } from "../service/admission.ts";
import type { Door } from "../service/door.ts";
import type { Readiness } from "../service/readiness.ts";
import type { ServerTls } from "../service/server_tls.ts";
import { errorPage } from "./error_page.ts";
import { httpStatusOf, writeError } from "./http_status.ts";
import { BadVersion, isApiTarget, isWellFormedTarget, targetOf } from "./model_path.ts";
import { Endings, RestRequest } from "./rest_request.ts";
import { type Body, type RestServices, type Route, type RouteOptions, Routes } from "./routes.ts";
import { type StaticPage, StaticPages } from "./static_page.ts";

export interface MetricsPage {
  /** `/monitoring/prometheus/metrics` など。 */
  readonly paths: readonly string[];
  /** Prometheus の文面。 */
  readonly print: () => string | Promise<string>;
}

/** この入口に、HTTP を通さずに尋ねる。 */
export type AskRest = (
  method: "GET" | "POST",
  target: string,
  body?: string,
) => Promise<{ readonly ok: boolean; readonly text: string }>;

export interface RestDoorOptions extends RouteOptions {
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
  /** 何も送られてこない接続を閉じるまで。0 は閉じない。上限は 255。 */
  readonly idleTimeoutSeconds: number;
  readonly metrics?: MetricsPage;
  /** path → 頁。`/v1/` の外に限る。 */
  readonly pages?: ReadonlyMap<string, StaticPage>;
  /** 要求の記録。無ければ記録せず、客の番号も返さない。 */
  readonly accessLog?: AccessLog;
  /** `/openapi.json` の中身。 */
  readonly openApi?: (ask: AskRest) => Promise<string>;
  /** `/readyz` の答え。 */
  readonly readiness?: () => Readiness;
  /** あれば TLS を話す。証明書を差し替えるなら `reusePort` が要る。 */
  readonly tls?: ServerTls;
  /** `Authorization` の値を許すか。無ければ誰でも許す。健全性の問い合わせと preflight には聞かない。 */
  readonly authorize?: (authorization: string | null) => boolean;
}

/** 閉じるのを待っている待ち受け。 */
interface RetiringServer {
  readonly server: Listening["server"];
  readonly cancel: Cancel;
}

/** 待ち受け 1 つ。 */
interface Listening {
  readonly server: NonNullable<Elysia["server"]>;
  readonly endings: Endings;
}

const corsHeaders = {
  "Access-Control-Allow-Origin": "*",
  "Access-Control-Allow-Methods": "POST, GET",
  "Access-Control-Allow-Headers": "Content-Type",
};
/** 鍵の要るときは、頁がそれを送ることも許す。 */
const corsHeadersWithKey = { ...corsHeaders, "Access-Control-Allow-Headers": "Content-Type, Authorization" };
/** 鍵を持たない見張りも聞ける宛先。 */
const READY = "/readyz";
const OPEN_API = "/openapi.json";
const alive = new Set(["/healthz", "/livez"]);
const openPaths = new Set([...alive, READY]);
/** 証明書を替えた後、元の待ち受けを閉じるまで。この間に答えを得た客は、次から新しい接続を使う。 */
const RETIRE_MS = 2000;
const probeHeaders = { "Content-Type": "text/plain", "Cache-Control": "no-store" };
const methods = new Set(["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"]);
/** 続けて答える時間。これを越えたら残りは次の回に回し、健全性の問い合わせや新しい要求を待たせ過ぎない。 */
const SLICE_MS = 5;
/** これより大きい本文の答えは、大きいことが多い。 */
const LARGE_BODY = 4096;
/** 覚えておく URL の数。URL は客が選ぶので、際限なく覚えない。 */
const MAX_KNOWN = 512;

/**
 * REST の入口。
 *
 * 経路の照合は TF Serving の正規表現(問い合わせ文字列まで含み、大文字小文字を見ない)が決めるので、
 * 経路は全部を受ける 1 つだけにする。本文も Elysia に解釈させない。
 *
 * 読めない要求(HTTP の文法の誤り、知らないメソッド)には Bun 自身が答え、ここには届かない。
 *
 * @see tensorflow_serving/model_servers/http_server.cc
 */
export class RestDoor implements Door {
  readonly name = "REST";
  readonly #host: Host;
  readonly #options: RestDoorOptions;
  readonly #routes: Routes;
  readonly #pages: StaticPages;
  #listening: Listening | undefined;
  /** 証明書を替える前からの待ち受け。 */
  readonly #retiring = new Set<RetiringServer>();
  readonly #headers: Headers;
  readonly #okInit: ResponseInit;
  readonly #optionsHeaders: Headers;
  readonly #admission: Admission;
  /** 本文が届いて、まだ始めていない要求。届いた順。 */
  #arrived: RestRequest[] = [];
  /** これまでに届いた要求の数。 */
  #received = 0;
  /** 一度通った推論の URL → 仕事。同じ URL を二度読み解かない。 */
  readonly #known = new Map<string, Route>();

  constructor(host: Host, services: RestServices, options: RestDoorOptions) {
    this.#host = host;
    this.#options = options;
    this.#admission = options.admission ?? new Admission(host, { maxInFlight: 0, maxQueueDelayMs: 0 });
    this.#routes = new Routes(host, services, options);
    this.#pages = new StaticPages(options.pages ?? new Map());
    const cors = options.cors ? (options.authorize === undefined ? corsHeaders : corsHeadersWithKey) : {};
    this.#headers = new Headers({ "Content-Type": "application/json", ...cors });
    this.#okInit = { headers: this.#headers };
    // 中身の無い応答に libevent が付ける既定の型。
    this.#optionsHeaders = new Headers({ "Content-Type": "text/html; charset=ISO-8859-1", ...cors });
  }

  /** @throws INTERNAL `Failed to start HTTP Server at localhost:<port>`(宛先が使えない)。 */
  async start(): Promise<readonly string[]> {
    const { hostname, port, tls } = this.#options;
    try {
      this.#listening = this.#listen(hostname ?? "::", port, tls);
    } catch (thrown) {
      if (hostname !== undefined || isInUse(thrown)) throw bindError(port, thrown);
      // IPv6 の無い環境。
      this.#host.log.debug("IPv6 is not available, falling back to IPv4", { error: thrown });
      try {
        this.#listening = this.#listen("0.0.0.0", port, tls);
      } catch (again) {
        throw bindError(port, again);
      }
    }
    const { server } = this.#listening;
    return [`${server.hostname?.includes(":") ? `[${server.hostname}]` : server.hostname}:${server.port}`];
  }

  /**
   * これから来る接続の証明書を差し替える。Bun は待ち受けの証明書を変えられないので、同じ番号で待ち受け直す。
   * 元の待ち受けは、答えるたびに「次は別の接続で」と伝え、少し後に閉じる。その間に来た接続は、どちらの
   * 証明書を見るか決まっていない。`reusePort` が要る。
   *
   * @throws 使えない証明書。元の証明書のまま続ける。
   */
  replaceCertificate(tls: ServerTls): void {
    if (this.#listening === undefined) return;
    const { server: old, endings } = this.#listening;
    this.#listening = this.#listen(old.hostname!, old.port!, tls);
    const answer = async (request: Request): Promise<Response> => {
      const response = await this.#answer(request, endings);
      response.headers.set("Connection", "close");
      return response;
    };
    old.reload({ routes: { "/*": answer }, fetch: answer });
    const retiring = {
      server: old,
      cancel: this.#host.clock.after(RETIRE_MS, () => {
        this.#retiring.delete(retiring);
        void old.stop(false);
      }),
    };
    this.#retiring.add(retiring);
  }

  /** 遊んでいる(要求を 1 つは終えた)接続を閉じる。 @returns 閉じた数。 */
  closeIdle(): number {
    return this.#listening?.server.closeIdleConnections() ?? 0;
  }

  async stop(graceMs: number): Promise<void> {
    if (this.#listening === undefined) return;
    const { server } = this.#listening;
    // 処理中の応答で「次は別の接続で」と伝える。
    this.#headers.set("Connection", "close");
    this.#optionsHeaders.set("Connection", "close");
    const expired = Promise.withResolvers<void>();
    const cancel = this.#host.clock.after(graceMs, expired.resolve);
    await Promise.race([this.#announce(), expired.promise]);
    // 待ち受けと遊んでいる接続はすぐ閉じ、処理中のものが終わるのを待つ。
    const servers = [server, ...Array.from(this.#retiring, (one) => one.server)];
    for (const { cancel: forget } of this.#retiring) forget();
    this.#retiring.clear();
    await Promise.race([Promise.all(servers.map((one) => one.stop(false))), expired.promise]);
    cancel();
    await Promise.all(servers.map((one) => one.stop(true)));
    this.#listening = undefined;
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

  #listen(hostname: string, port: number, tls: ServerTls | undefined): Listening {
    const { reusePort, maxBodyBytes, idleTimeoutSeconds } = this.#options;
    let server: Elysia["server"] = null;
    const endings = new Endings(() => server!.pendingRequests);
    const answer = (request: Request): Response | Promise<Response> => this.#answer(request, endings);
    // 経路表に載せると、Bun は Elysia の文脈を作らずに直接呼ぶ。
    const app = new Elysia({ name: "rest", serve: { routes: { "/*": answer } } });
    // 経路表に合わない要求(Host の無い HTTP/1.0)はここに来る。
    // Elysia は関数の文面から return の有無を読むので、縮めても return の残る function で書く。
    app.onRequest(function onRequest({ request }) {
      return answer(request);
    });
    app.listen({
      hostname,
      port,
      reusePort,
      development: false,
      idleTimeout: idleTimeoutSeconds,
      maxRequestBodySize: maxBodyBytes,
      tls: tls && {
        cert: tls.cert,
        key: tls.key,
        ...(tls.clientCa === "" ? {} : { ca: tls.clientCa }),
        requestCert: tls.clientVerify,
        rejectUnauthorized: tls.clientVerify,
      },
    });
    server = app.server!;
    return { server, endings };
  }

  #answer(request: Request, endings: Endings): Response | Promise<Response> {
    const trace = this.#options.accessLog?.begin(request.headers);
    return trace === undefined
      ? this.#dispatch(request, endings)
      : this.#answerTraced(request, endings, trace);
  }

  async #answerTraced(request: Request, endings: Endings, trace: RequestTrace): Promise<Response> {
    const { method, url } = request;
    const response = await this.#dispatch(request, endings);
    response.headers.set("X-Request-Id", trace.requestId);
    const path = targetOf(url).split(/[?#]/, 1)[0]!;
    this.#options.accessLog?.finish(trace, { door: "REST", method, path, status: response.status });
    return response;
  }

  #dispatch(request: Request, endings: Endings): Response | Promise<Response> {
    this.#received++;
    const ended = endings.begin();
    const { method, url } = request;
    const { metrics, authorize } = this.#options;
    if (authorize !== undefined && !this.#isAllowed(request, authorize)) {
      return this.#refuseStranger(method);
    }
    if (method === "POST") {
      const known = this.#known.get(url);
      if (known !== undefined) return this.#answerWithBody(new RestRequest(known, request, endings, ended));
    }
    if (!methods.has(method)) return errorPage(501);
    const target = targetOf(url);
    const metricsPath = metrics?.paths.find((path) => isPath(target, path));
    if (metricsPath !== undefined) return answerMetrics(metrics!, metricsPath, target);
    if (!isApiTarget(target)) {
      const path = target.split(/[?#]/, 1)[0]!;
      const { openApi } = this.#options;
      if (path === OPEN_API && method === "GET" && openApi !== undefined) return this.#answerOpenApi(openApi);
      return this.#answerProbe(path, method) ?? this.#pages.answer(path, request) ?? errorPage(404);
    }
    if (!isWellFormedTarget(target)) return errorPage(400);
    if (method === "OPTIONS") return this.#answerPreflight(request);

    const route = this.#routes.find(method, target);
    const arrived = new RestRequest(route, request, endings, ended);
    if (route.readsBody) {
      if (this.#known.size >= MAX_KNOWN) this.#known.clear();
      this.#known.set(url, route);
      return this.#answerWithBody(arrived);
    }
    arrived.arrivedMs = this.#admission.arrive();
    try {
      const body = route.answer(arrived);
      return body instanceof Promise
        ? body.then(
            (value) => this.#ok(value),
            (thrown: unknown) => this.#fail(thrown, method),
          )
        : this.#ok(body);
    } catch (thrown) {
      return this.#fail(thrown, method);
    }
  }

  async #answerOpenApi(openApi: (ask: AskRest) => Promise<string>): Promise<Response> {
    try {
      return this.#ok(await openApi(this.#ask));
    } catch (thrown) {
      return this.#fail(thrown, "GET");
    }
  }

  readonly #ask: AskRest = async (method, target, body = "") => {
    const { signal } = new AbortController();
    const arrivedMs = this.#host.clock.monotonicMs();
    try {
      const route = this.#routes.find(method, target);
      const answer = route.answer({ body: Buffer.from(body), arrivedMs, isGone: false, signal });
      const response = new Response(answer instanceof Promise ? await answer : answer);
      return { ok: true, text: await response.text() };
    } catch (thrown) {
      return { ok: false, text: StatusError.from(thrown).message };
    }
  };

  /** 見張りへの答え。仕事を受けられなければ 503 で、本文が何が足りないかを言う。 */
  #answerProbe(path: string, method: string): Response | undefined {
    const { readiness } = this.#options;
    if (method !== "GET" && method !== "HEAD") return undefined;
    if (alive.has(path)) return new Response(method === "HEAD" ? null : "ok\n", { headers: probeHeaders });
    if (path !== READY || readiness === undefined) return undefined;
    const answer = readiness();
    const body = method === "HEAD" ? null : `${JSON.stringify(answer, null, 1)}\n`;
    return new Response(body, {
      status: answer.ready ? 200 : 503,
      headers: { ...probeHeaders, "Content-Type": "application/json" },
    });
  }

  #isAllowed(request: Request, authorize: (authorization: string | null) => boolean): boolean {
    const { method, url, headers } = request;
    // preflight は鍵を載せられない。答えるのは CORS の見出しだけ。
    const path = targetOf(url).split(/[?#]/, 1)[0]!;
    // 頁は誰にでも見せる。中身はどのサーバーでも同じで、モデルのことは鍵を添えて尋ねるまで分からない。
    if (method === "OPTIONS" || openPaths.has(path) || this.#pages.has(path)) return true;
    return authorize(headers.get("authorization"));
  }

  #refuseStranger(method: string): Response {
    const response = this.#fail(unauthenticated("Missing or invalid bearer token"), method);
    response.headers.set("WWW-Authenticate", "Bearer");
    return response;
  }

  /**
   * 本文が届いた要求を貯め、イベントループの回の終わりにまとめて答える。同じ命令列が続けて走るので、
   * 届くたびに答えるより 1 件が安い。回は誰も待たずに終わるので、1 件だけのときも遅くならない。
   *
   * 大きな要求は、届いたその場で答える。受信の処理の中で渡した応答だけを、Bun は見出しと本文を合わせて 1 度で送る。
   * その外で渡すと、15 kB を越える応答では見出しの部品ごとに送信のシステムコールが 15 回ほど掛かる。
   */
  #answerWithBody(arrived: RestRequest): Response | Promise<Response> {
    // 本文を読む前に断る。混んでいるときほど安く断れるように。
    const refusal = this.#admission.refusal();
    if (refusal !== undefined) return this.#fail(refusal, "POST");
    return new Promise((resolve) => {
      arrived.resolve = resolve;
      arrived.request.bytes().then(
        (body) => this.#line(arrived, body),
        (thrown: unknown) => {
          resolve(this.#fail(cancelled("Request body was not received", thrown), "POST"));
        },
      );
    });
  }

  /** 本文が届いた。 */
  #line(arrived: RestRequest, body: Uint8Array): void {
    const { clock } = this.#host;
    arrived.sent = body;
    arrived.arrivedMs = this.#admission.arrive();
    if (body.length >= LARGE_BODY && clock.monotonicMs() < arrived.arrivedMs + SLICE_MS) {
      this.#settle(arrived);
    } else if (this.#arrived.push(arrived) === 1) clock.endOfTurn(this.#answerArrived);
  }

  readonly #answerArrived = (): void => {
    const { clock } = this.#host;
    const arrived = this.#arrived;
    this.#arrived = [];
    const untilMs = clock.monotonicMs() + SLICE_MS;
    for (let at = 0; at < arrived.length; ) {
      this.#settle(arrived[at++]!);
      if (at < arrived.length && clock.monotonicMs() >= untilMs) {
        this.#arrived = arrived.slice(at);
        clock.endOfTurn(this.#answerArrived);
        return;
      }
    }
  };

  #settle(arrived: RestRequest): void {
    const { resolve } = arrived;
    try {
      this.#admission.enter(arrived.arrivedMs);
    } catch (thrown) {
      resolve(this.#fail(thrown, "POST"));
      return;
    }
    let response: Response;
    try {
      const answer = arrived.route.answer(arrived);
      if (answer instanceof Promise) {
        this.#settleLater(answer, resolve);
        return;
      }
      response = this.#ok(answer);
    } catch (thrown) {
      response = this.#fail(thrown, "POST");
    }
    this.#admission.leave();
    resolve(response);
  }

  async #settleLater(answer: Promise<Body>, resolve: (response: Response) => void): Promise<void> {
    let response: Response;
    try {
      response = this.#ok(await answer);
    } catch (thrown) {
      response = this.#fail(thrown, "POST");
    }
    this.#admission.leave();
    resolve(response);
  }

  #ok(body: Body): Response {
    return new Response(body, this.#okInit);
  }

  #fail(thrown: unknown, method: string): Response {
    const error = StatusError.from(thrown);
    const body = method === "HEAD" || error instanceof BadVersion ? null : writeError(error.message);
    return new Response(body, { status: httpStatusOf(error.code), headers: this.#headers });
  }

  /** 宛先は見ない。Origin があるかどうかだけで決まる。 */
  async #answerPreflight(request: Request): Promise<Response> {
    const headers = this.#optionsHeaders;
    try {
      await this.#routes.count(() => {
        if (!/https?:\/\//.test(request.headers.get("origin") ?? "")) throw missingOrigin;
      });
      return new Response("", { headers });
    } catch (thrown) {
      return new Response("", { status: httpStatusOf(StatusError.from(thrown).code), headers });
    }
  }
}

/** これだけの間要求が来なければ、使われている接続は無い。 */
const QUIET_MS = 100;
/** 代理が新しい接続を開き続けるときに、答え続ける限り。 */
const MAX_ANNOUNCE_MS = 1000;

const missingOrigin = failedPrecondition("Origin header is missing in CORS preflight");

const isInUse = (thrown: unknown): boolean =>
  thrown instanceof Error && Reflect.get(thrown, "code") === "EADDRINUSE";

const bindError = (port: number, cause: unknown): StatusError =>
  internal(`Failed to start HTTP Server at localhost:${port}`, cause);

const isPath = (target: string, path: string): boolean =>
  target.startsWith(path) && (target.length === path.length || /^[?#]/.test(target.slice(path.length)));

async function answerMetrics({ print }: MetricsPage, path: string, target: string): Promise<Response> {
  const headers = { "Content-Type": "text/plain" };
  if (target === path) return new Response(await print(), { headers });
  return new Response(`Unexpected path: ${target}. Should be ${path}`, { status: 400, headers });
}
