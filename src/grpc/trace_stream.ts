import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerHttp2Stream } from "node:http2";
import type { AccessLog } from "../service/access_log.ts";

const first = (value: string | string[] | undefined): string | null =>
  (Array.isArray(value) ? value[0] : value) ?? null;

/**
 * 流れを終わりまで見て記録し、客の番号を応答の見出しに付ける。答え方(grpc-js か直接か)によらない。
 * gRPC の状態は末尾の見出しにあるので、送られるところで読む。
 */
export function traceStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, log: AccessLog): void {
  const trace = log.begin(first(headers["x-request-id"]), () => first(headers["traceparent"]));
  if (trace === undefined) return;
  // 末尾が送られずに閉じたものは、客が去ったとみなす(CANCELLED)。
  let status = 1;
  const read = (sent: OutgoingHttpHeaders): void => {
    const code = sent["grpc-status"];
    if (code !== undefined) status = Number(code);
  };
  const respond = stream.respond.bind(stream);
  stream.respond = (sent, options) => {
    const headers: OutgoingHttpHeaders = {
      ...(sent as OutgoingHttpHeaders),
      "x-request-id": trace.requestId,
    };
    read(headers);
    respond(headers, options);
  };
  const sendTrailers = stream.sendTrailers.bind(stream);
  stream.sendTrailers = (sent) => {
    read(sent);
    sendTrailers(sent);
  };
  stream.once("close", () =>
    log.finish(trace, { door: "gRPC", method: "POST", path: headers[":path"] ?? "", status }),
  );
}
