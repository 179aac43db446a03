import { StatusError } from "../base/status.ts";

/** エラー文の上限(バイト)。 @see tensorflow_serving/model_servers/grpc_status_util.cc */
const MAX_MESSAGE_BYTES = 1024;
const decoder = new TextDecoder();

/** gRPC のトレーラーになる形。 */
export interface GrpcStatus {
  readonly code: number;
  readonly details: string;
}

export const OK: GrpcStatus = { code: 0, details: "" };

/** 長い文面を TF Serving と同じところで切る。切れた文字は U+FFFD になる(客の復号と同じ)。 */
function truncate(message: string): string {
  // 1 つの UTF-16 単位は 3 バイトまでなので、短い文は数えなくてよい。
  if (message.length * 3 <= MAX_MESSAGE_BYTES) return message;
  const bytes = Buffer.from(message);
  if (bytes.length <= MAX_MESSAGE_BYTES) return message;
  return `${decoder.decode(bytes.subarray(0, MAX_MESSAGE_BYTES))}...TRUNCATED`;
}

/** 投げられたものを gRPC の状態にする。番号は正準コードと同じ。 */
export function toGrpcStatus(thrown: unknown): GrpcStatus {
  const { code, message } = StatusError.from(thrown);
  // 対になっていないサロゲートは、ライブラリーの百分率符号化が受けつけない。
  return { code, details: truncate(message.toWellFormed()) };
}
