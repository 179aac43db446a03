import type { Reply } from "../http1/http1_connection.ts";
import { reasonOf } from "./http_status.ts";

/**
 * REST の面の外で断るときの頁。接続も閉じる。
 *
 * @see libevent http.c evhttp_send_error
 */
export function errorPage(status: number): Reply {
  const reason = reasonOf(status);
  const body = `<HTML><HEAD>\n<TITLE>${status} ${reason}</TITLE>\n</HEAD><BODY>\n<H1>${reason}</H1>\n</BODY></HTML>\n`;
  return { status, reason, fields: "Content-Type: text/html\r\n", body, closes: true };
}
