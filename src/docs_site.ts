import { readFileSync } from "node:fs";
import style from "swagger-ui-dist/swagger-ui.css" with { type: "file" };
import bundle from "swagger-ui-dist/swagger-ui-bundle.js" with { type: "file" };
import type { StaticPage } from "./rest/static_page.ts";

/** 読み込めるものは自分の置き場のものだけ。swagger-ui は様式を要素に直に書き、絵を data: で持つ。 */
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

const html = (icon: string): string => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>iris-serving API</title>
<link rel="icon" href="${icon}">
<link rel="stylesheet" href="/docs/swagger-ui.css">
<style>body { margin: 0 } .home { max-width: 1460px; margin: auto; padding: 16px 20px 0; font: 14px system-ui, sans-serif }</style>
<p class="home"><a href="/">← iris-serving</a></p>
<div id="docs"></div>
<script src="/docs/swagger-ui.js"></script>
<script src="/docs/start.js"></script>
</html>
`;

// 検証の印は外の網に尋ねるので出さない。暗い配色は、頁と同じくブラウザーの好みに従う。
const start = `SwaggerUIBundle({ url: "/openapi.json", dom_id: "#docs", deepLinking: true, validatorUrl: null });
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();
`;

const headers = {
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  "Cache-Control": "no-cache",
};

/** 大きなファイルは、初めて頼まれたときに読む。 */
function embedded(contentType: string, path: string): StaticPage {
  return {
    contentType,
    headers,
    get body() {
      return readFileSync(path) as Uint8Array<ArrayBuffer>;
    },
  };
}

/**
 * `/docs`: OpenAPI の文書を読むための頁。
 *
 * @param icon 絵の道。
 * @see https://github.com/swagger-api/swagger-ui
 */
export function createDocsSite(icon: string): ReadonlyMap<string, StaticPage> {
  const page: StaticPage = {
    contentType: "text/html; charset=utf-8",
    body: html(icon),
    headers: { ...headers, "Content-Security-Policy": policy },
  };
  return new Map<string, StaticPage>([
    ["/docs", page],
    ["/docs/", page],
    ["/docs/start.js", { contentType: "text/javascript; charset=utf-8", body: start, headers }],
    ["/docs/swagger-ui.js", embedded("text/javascript; charset=utf-8", bundle)],
    ["/docs/swagger-ui.css", embedded("text/css; charset=utf-8", style)],
  ]);
}
