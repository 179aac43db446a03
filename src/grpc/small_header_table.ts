import { type OutgoingHttpHeaders, type ServerHttp2Stream, sensitiveHeaders } from "node:http2";

/** HPACK の表の大きさの初期値。 @see https://www.rfc-editor.org/rfc/rfc9113#section-6.5.2 */
const DEFAULT_HEADER_TABLE_SIZE = 4096;

/** すべてのヘッダーを、表に載せず参照もしない形で送らせる。`date` は HTTP/2 の層が足す。 */
function literally(headers: OutgoingHttpHeaders = {}): OutgoingHttpHeaders {
  const names = Object.keys(headers).filter((name) => !name.startsWith(":"));
  return { ...headers, [sensitiveHeaders]: [...names, "date"] };
}

/**
 * 相手の HPACK の表が小さいとき、応答で表を使わない。Bun の HTTP/2 は相手の
 * SETTINGS_HEADER_TABLE_SIZE を守らず、表を持たないと告げる nginx(grpc_pass)は、2 つ目の応答から
 * 読めずに 502 を返すため。表を持つ相手(ふつうの客)には何も変えない。
 */
export function respectSmallTable(stream: ServerHttp2Stream): void {
  const size = stream.session?.remoteSettings.headerTableSize ?? DEFAULT_HEADER_TABLE_SIZE;
  if (size >= DEFAULT_HEADER_TABLE_SIZE) return;
  const respond = stream.respond.bind(stream);
  const sendTrailers = stream.sendTrailers.bind(stream);
  stream.respond = (headers, options) => respond(literally(headers as OutgoingHttpHeaders), options);
  stream.sendTrailers = (headers) => sendTrailers(literally(headers));
}
