import type {
  Http2Server,
  IncomingHttpHeaders,
  ServerHttp2Session,
  ServerHttp2Stream,
  ServerOptions,
} from "node:http2";
import type { Server } from "@grpc/grpc-js";
import type { Clock } from "../base/clock.ts";
import type { GrpcStatus } from "./grpc_status.ts";
import { respectSmallTable } from "./small_header_table.ts";

/**
 * grpc-js が外に見せない HTTP/2 の層に触るところを、このファイルだけに集める。
 * grpc-js の版は固定してあり、形が変われば結合試験が落ちる。
 */
function http2Servers(
  server: Server,
): ReadonlyMap<Http2Server, { readonly sessions: ReadonlySet<ServerHttp2Session> }> {
  const { http2Servers: servers } = server as unknown as {
    readonly http2Servers: ReadonlyMap<Http2Server, { readonly sessions: ReadonlySet<ServerHttp2Session> }>;
  };
  return servers;
}

/** 今つながっている接続。 */
export function openSessions(server: Server): readonly ServerHttp2Session[] {
  return [...http2Servers(server).values()]
    .flatMap(({ sessions }) => [...sessions])
    .filter((session) => !session.closed && !session.destroyed);
}

const unitMs: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };
const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * 期限の桁あふれを避ける。grpc-js は期限を 32 ビットに詰めるので、25 日を越える期限が
 * 「もう過ぎた」ことになる。タイマーに収まらない期限は、無いのと同じに扱う。
 */
function dropEndlessTimeout(headers: IncomingHttpHeaders): void {
  const [, digits, unit] = /^(\d{1,8})([HMSmun])$/.exec(String(headers["grpc-timeout"])) ?? [];
  if (unit !== undefined && Number(digits) * unitMs[unit]! > MAX_TIMER_MS) delete headers["grpc-timeout"];
}

/** 1 本の接続に許すこと。 */
export interface ConnectionLimits {
  /** 1 度の呼び出しのヘッダーの大きさ(RFC 9113 6.5.2 の数え方)。 */
  readonly maxHeaderBytes: number;
  /** 客が取り消してよい流れの数: 溜めておける数と、1 秒に溜まる数。 */
  readonly resetBurst: number;
  readonly resetsPerSecond: number;
}

/**
 * HTTP/2 の層の限りを決める。接続の入口({@link Server.createConnectionInjector})を作る前に呼ぶ。
 *
 * 空の SETTINGS や PING の洪水、終わらない CONTINUATION、多過ぎる誤った枠は、Bun の HTTP/2 が自ら切る。
 */
export function limitConnections(
  server: Server,
  { maxHeaderBytes, resetBurst, resetsPerSecond }: ConnectionLimits,
): void {
  const { commonServerOptions: options } = server as unknown as {
    readonly commonServerOptions: ServerOptions;
  };
  options.settings = { ...options.settings, maxHeaderListSize: maxHeaderBytes };
  options.streamResetBurst = resetBurst;
  options.streamResetRate = resetsPerSecond;
}

/** つないだまま HTTP/2 を話し始めない客を切る。SETTINGS が届けば話し始めたとみなす。 */
export function dropSilent(server: Server, clock: Clock, timeoutMs: number): void {
  for (const http2Server of http2Servers(server).keys()) {
    http2Server.on("session", (session) => {
      const cancel = clock.after(timeoutMs, () => session.destroy());
      session.once("remoteSettings", cancel);
      session.once("close", cancel);
    });
  }
}

/**
 * どの呼び出しのヘッダーも、grpc-js が読む前に整え、受けるかどうかを決める。断るときは grpc-js の仕事を
 * 始めない。混んでいるときほど安く断れるように。接続を受ける前に 1 度だけ呼ぶ。
 *
 * @param refuse 断るなら、その状態。
 * @param take grpc-js に渡さずに引き受けたら true。
 */
export function screenCalls(
  server: Server,
  refuse: (headers: IncomingHttpHeaders) => GrpcStatus | undefined,
  take: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => boolean,
): void {
  for (const http2Server of http2Servers(server).keys()) {
    const listeners = http2Server.listeners("stream");
    http2Server.removeAllListeners("stream");
    http2Server.on(
      "stream",
      (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, ...rest: unknown[]) => {
        respectSmallTable(stream);
        const status = refuse(headers);
        if (status !== undefined) {
          respondWithStatus(stream, status);
          return;
        }
        dropEndlessTimeout(headers);
        if (take(stream, headers)) return;
        for (const listener of listeners) Reflect.apply(listener, http2Server, [stream, headers, ...rest]);
      },
    );
  }
}

/** 見出しだけで終わる答え。 @see https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md Trailers-Only */
function respondWithStatus(stream: ServerHttp2Stream, { code, details }: GrpcStatus): void {
  // 客が先に去っただけ。答える相手はもういない。
  stream.on("error", () => stream.destroy());
  stream.respond(
    {
      ":status": 200,
      "content-type": "application/grpc",
      "grpc-status": String(code),
      "grpc-message": encodeURI(details),
    },
    { endStream: true },
  );
  // 読まない本文が、同じ接続のほかの呼び出しの窓を塞がないように捨てる。
  stream.resume();
}
