import type { Http2Server, IncomingHttpHeaders, ServerHttp2Session } from "node:http2";
import type { Server } from "@grpc/grpc-js";

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

/** どの呼び出しのヘッダーも、grpc-js が読む前に整える。接続を受ける前に 1 度だけ呼ぶ。 */
export function sanitizeTimeouts(server: Server): void {
  for (const http2Server of http2Servers(server).keys()) {
    http2Server.prependListener("stream", (_, headers) => dropEndlessTimeout(headers));
  }
}
