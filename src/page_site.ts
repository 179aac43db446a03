import type { PageFile } from "./page_bundle.ts";
import type { StaticPage } from "./rest/static_page.ts";

/** 頁に書き込む、このサーバーのこと。 */
export interface PageFacts {
  readonly version: string;
  /** gRPC の番号。0 なら TCP では待ち受けていない。 */
  readonly grpcPort: number;
  readonly grpcTls: boolean;
}

const contentTypes: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  svg: "image/svg+xml",
};

/** 頁の読み込めるものは自分の置き場のものだけ。行内のスクリプトも様式も、埋め込みも許さない。 */
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join("; ");

const common = { "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer" };

/**
 * 束ねた頁を、道 → 返すものの表にする。
 *
 * @throws `index.html` が無い、知らない種類のファイルがある(どちらも束ねの誤り)。
 */
export function createPageSite(files: readonly PageFile[], facts: PageFacts): Map<string, StaticPage> {
  return new Map(
    files.map(({ name, text }) => {
      const contentType = contentTypes[name.slice(name.lastIndexOf(".") + 1)];
      if (contentType === undefined) throw new Error(`the page has a file of an unknown kind: ${name}`);
      if (name !== "index.html") {
        // 名前が中身で変わるので、永く持っていてよい。
        const headers = { ...common, "Cache-Control": "public, max-age=31536000, immutable" };
        return [`/page/${name}`, { contentType, body: text, headers }];
      }
      const body = text
        .replaceAll("{{version}}", facts.version)
        .replaceAll("{{grpc_port}}", String(facts.grpcPort))
        .replaceAll("{{grpc_tls}}", String(facts.grpcTls));
      const headers = { ...common, "Content-Security-Policy": policy, "Cache-Control": "no-cache" };
      return ["/", { contentType, body, headers }];
    }),
  );
}

/** 頁の絵の道。無ければ空の絵(ブラウザーが `/favicon.ico` を探しに来ない)。 */
export function iconPath(files: readonly PageFile[]): string {
  const icon = files.find(({ name }) => name.endsWith(".svg"));
  return icon === undefined ? "data:," : `/page/${icon.name}`;
}
