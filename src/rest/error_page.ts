const phrases = {
  400: "Bad Request",
  404: "Not Found",
  501: "Not Implemented",
} as const;

/**
 * REST の面の外で断るときの頁。接続も閉じる。
 *
 * @see libevent http.c evhttp_send_error
 */
export function errorPage(status: keyof typeof phrases): Response {
  const phrase = phrases[status];
  const body = `<HTML><HEAD>\n<TITLE>${status} ${phrase}</TITLE>\n</HEAD><BODY>\n<H1>${phrase}</H1>\n</BODY></HTML>\n`;
  return new Response(body, { status, headers: { "Content-Type": "text/html", Connection: "close" } });
}
