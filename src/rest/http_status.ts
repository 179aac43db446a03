import { Code } from "../base/status.ts";
import { JsonWriter } from "./json_writer.ts";

/** @see tensorflow_serving/model_servers/http_server.cc ToHTTPStatusCode */
const httpStatuses: { readonly [code in Code]: number } = {
  [Code.OK]: 200,
  [Code.CANCELLED]: 499,
  [Code.UNKNOWN]: 500,
  [Code.INVALID_ARGUMENT]: 400,
  [Code.DEADLINE_EXCEEDED]: 504,
  [Code.NOT_FOUND]: 404,
  [Code.ALREADY_EXISTS]: 409,
  [Code.PERMISSION_DENIED]: 403,
  [Code.RESOURCE_EXHAUSTED]: 429,
  [Code.FAILED_PRECONDITION]: 400,
  [Code.ABORTED]: 409,
  [Code.OUT_OF_RANGE]: 400,
  [Code.UNIMPLEMENTED]: 501,
  [Code.INTERNAL]: 500,
  [Code.UNAVAILABLE]: 503,
  [Code.DATA_LOSS]: 500,
  [Code.UNAUTHENTICATED]: 401,
};

export function httpStatusOf(code: Code): number {
  return httpStatuses[code];
}

/** 状態の句。知らない番号の句は、libevent では番号の百の位だけで決まる。 @see libevent http.c evhttp_response_phrase_internal */
const reasons: ReadonlyMap<number, string> = new Map([
  [200, "OK"],
  [304, "Not Modified"],
  [400, "Bad Request"],
  [401, "Unauthorized"],
  [403, "Forbidden"],
  [404, "Not Found"],
  [409, "Conflict"],
  [413, "Request Entity Too Large"],
  [417, "Expectation Failed"],
  [500, "Internal Server Error"],
  [501, "Not Implemented"],
  [503, "Service Unavailable"],
  [504, "Gateway Time-out"],
]);
const families = ["", "Informational", "Success", "Redirection", "Client Error", "Server Error"];

export function reasonOf(status: number): string {
  return reasons.get(status) ?? families[Math.floor(status / 100)] ?? "";
}

/** `{"error": "…"}` の本文。改行で終わらない。 */
export function writeError(message: string): Uint8Array<ArrayBuffer> {
  const writer = new JsonWriter();
  writer.startObject();
  writer.string("error");
  writer.string(message);
  writer.endObject();
  return writer.toBytes();
}
