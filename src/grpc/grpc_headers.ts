import { encodeHeaders } from "../http2/hpack_encoder.ts";
import type { RequestHeaders } from "../http2/request_headers.ts";
import type { GrpcStatus } from "./grpc_status.ts";

type Field = readonly [name: string, value: string];

const replyFields: readonly Field[] = [
  [":status", "200"],
  ["content-type", "application/grpc"],
  ["grpc-accept-encoding", "identity, deflate, gzip"],
];
const replyHeaders = encodeHeaders(replyFields);
const okTrailers = encodeHeaders([["grpc-status", "0"]]);

/** gRPC でない要求への答え。本文は、枠だけでも読む人のためにある。 */
export const notGrpcHeaders = encodeHeaders([
  [":status", "415"],
  ["content-type", "text/plain"],
]);
export const notGrpcBody: Uint8Array = Buffer.from("This port speaks gRPC.\n");

const unitMs: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

/** @returns gRPC の要求か。 @see https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md */
export function isGrpc(headers: RequestHeaders): boolean {
  const type = headers.get("content-type");
  if (headers.method !== "POST" || type === undefined) return false;
  return (
    type === "application/grpc" ||
    type.startsWith("application/grpc+") ||
    type.startsWith("application/grpc;")
  );
}

/** タイマーに収まらない期限は、無いのと同じ。 */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** @returns 待ってよい時間(ミリ秒)。言わなければ、または限りが無いのと同じなら undefined、読めなければ NaN。 */
export function timeoutOf(headers: RequestHeaders): number | undefined {
  const text = headers.get("grpc-timeout");
  if (text === undefined) return undefined;
  const [, digits, unit] = /^(\d{1,8})([HMSmun])$/.exec(text) ?? [];
  if (unit === undefined) return Number.NaN;
  const timeoutMs = Math.trunc(Number(digits) * unitMs[unit]!);
  return timeoutMs > MAX_TIMER_MS ? undefined : timeoutMs;
}

/**
 * 見える ASCII のほかは、UTF-8 のバイトを百分率で書く。端の空白も、HTTP/2 が見出しの値に許さないので、そうする。
 *
 * @see https://www.rfc-editor.org/rfc/rfc9113#section-8.2.1
 */
export function encodeMessage(text: string): string {
  if (/^(?:[!-$&-~](?:[ -$&-~]*[!-$&-~])?)?$/.test(text)) return text;
  const bytes = Buffer.from(text);
  let out = "";
  for (const [i, byte] of bytes.entries()) {
    const isPlain = byte > 0x20 && byte <= 0x7e && byte !== 0x25;
    const isInnerSpace = byte === 0x20 && i > 0 && i < bytes.length - 1;
    out +=
      isPlain || isInnerSpace
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return out;
}

const withId = (requestId: string | undefined): readonly Field[] =>
  requestId === undefined ? [] : [["x-request-id", requestId]];

/** 答えの見出し。 */
export const replyBlock = (requestId: string | undefined): Uint8Array =>
  requestId === undefined ? replyHeaders : encodeHeaders([...replyFields, ...withId(requestId)]);

const statusFields = ({ code, details }: GrpcStatus): readonly Field[] => [
  ["grpc-status", String(code)],
  ...(details === "" ? [] : [["grpc-message", encodeMessage(details)] as const]),
];

/** 見出しを送った後の、状態を告げる末尾。 */
export const trailerBlock = (status: GrpcStatus): Uint8Array =>
  status.code === 0 ? okTrailers : encodeHeaders(statusFields(status));

/** 見出しだけで終わる答え。 */
export const statusOnlyBlock = (status: GrpcStatus, requestId: string | undefined): Uint8Array =>
  encodeHeaders([...replyFields, ...withId(requestId), ...statusFields(status)]);
