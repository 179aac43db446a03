import { Elysia } from "elysia";
import type { Readiness } from "../service/readiness.ts";
import { type StaticPage, StaticPages } from "./static_page.ts";

export interface MetricsPage {
  /** `/monitoring/prometheus/metrics` など。 */
  readonly paths: readonly string[];
  /** Prometheus の文面。 */
  readonly print: () => string | Promise<string>;
}

export interface SiteOptions {
  readonly metrics?: MetricsPage;
  /** path → 頁。 */
  readonly pages?: ReadonlyMap<string, StaticPage>;
  /** `/openapi.json` の中身。 */
  readonly openApi?: () => Promise<string>;
  /** `/readyz` の答え。 */
  readonly readiness?: () => Readiness;
}

const probeHeaders = { "Content-Type": "text/plain", "Cache-Control": "no-store" };
const missing = (): Response => new Response(null, { status: 404 });

/**
 * `/v1/` の外の面: 見張り、指標、頁、OpenAPI。速さの要らないものなので、経路も応答も Elysia に任せる。
 *
 * @returns 要求への答え。無い宛先には undefined。
 */
export function createSite({
  metrics,
  pages = new Map(),
  openApi,
  readiness,
}: SiteOptions): (request: Request) => Promise<Response | undefined> {
  const app = new Elysia({ name: "site" });
  app.onError(function onError({ code, error }) {
    if (code === "NOT_FOUND") return missing();
    throw error;
  });
  const read = (path: string, answer: (request: Request) => Response | Promise<Response>): void => {
    // Elysia は関数の文面から return の有無を読むので、縮めても return の残る function で書く。
    app.get(path, function read({ request }) {
      return answer(request);
    });
  };
  for (const path of ["/healthz", "/livez"]) {
    read(path, () => new Response("ok\n", { headers: probeHeaders }));
  }
  if (readiness !== undefined) {
    read("/readyz", () => {
      const answer = readiness();
      return new Response(`${JSON.stringify(answer, null, 1)}\n`, {
        status: answer.ready ? 200 : 503,
        headers: { ...probeHeaders, "Content-Type": "application/json" },
      });
    });
  }
  if (openApi !== undefined) {
    read(
      "/openapi.json",
      async () => new Response(await openApi(), { headers: { "Content-Type": "application/json" } }),
    );
  }
  for (const path of metrics?.paths ?? []) {
    app.all(path, function print({ request }) {
      return answerMetrics(metrics!, path, request);
    });
  }
  const statics = new StaticPages(pages);
  for (const path of pages.keys()) read(path, (request) => statics.answer(path, request));
  return async (request) => {
    const response = await app.handle(request);
    return response.status === 404 ? undefined : response;
  };
}

/** 問い合わせ文字列の付いた宛先は断る。 @see tensorflow_serving/model_servers/http_server.cc ProcessPrometheusRequest */
async function answerMetrics({ print }: MetricsPage, path: string, request: Request): Promise<Response> {
  const headers = { "Content-Type": "text/plain" };
  const { pathname, search, hash } = new URL(request.url);
  const target = pathname + search + hash;
  if (target === path) return new Response(await print(), { headers });
  return new Response(`Unexpected path: ${target}. Should be ${path}`, { status: 400, headers });
}
