import { describe, expect, test } from "bun:test";
import { gunzipSync } from "node:zlib";
import { StaticPages } from "../../../src/rest/static_page.ts";

const TEXT = "iris ".repeat(500);
const pages = new StaticPages(
  new Map([
    ["/", { contentType: "text/html", body: TEXT, headers: { "Cache-Control": "no-cache" } }],
    ["/small", { contentType: "text/plain", body: new TextEncoder().encode("small") }],
  ]),
);
const ask = (path: string, headers: Record<string, string> = {}) =>
  pages.answer(path, new Request(`http://localhost${path}`, { headers }));

describe("StaticPages", () => {
  test.each([
    ["gzip", true],
    ["deflate, GZIP;q=0.5", true],
    ["gzip;q=0", false],
    ["gzip; q=0.00", false],
    ["identity", false],
    ["", false],
  ])("with Accept-Encoding %p compresses: %p", async (accepted, zipped) => {
    const reply = ask("/", { "accept-encoding": accepted })!;
    expect(reply.headers.get("content-encoding")).toBe(zipped ? "gzip" : null);
    expect(reply.headers.get("vary")).toBe("Accept-Encoding");
    expect(reply.headers.get("cache-control")).toBe("no-cache");
    const bytes = await reply.bytes();
    expect((zipped ? gunzipSync(bytes) : Buffer.from(bytes)).toString()).toBe(TEXT);
  });

  test("leaves what is small as it is", async () => {
    const reply = ask("/small", { "accept-encoding": "gzip" })!;
    expect(reply.headers.get("content-encoding")).toBeNull();
    expect(await reply.text()).toBe("small");
  });

  test.each([
    ["same", (etag: string) => etag],
    ["strong", (etag: string) => etag.replace("W/", "")],
    ["one of several", (etag: string) => `"other", ${etag}`],
    ["any", () => "*"],
  ])("answers 304 to a tag that is %s", async (_, tagOf) => {
    const etag = ask("/")!.headers.get("etag")!;
    const reply = ask("/", { "if-none-match": tagOf(etag) })!;
    expect(reply.status).toBe(304);
    expect(reply.headers.get("etag")).toBe(etag);
    expect(await reply.text()).toBe("");
  });

  test("answers in full to another tag", () => {
    expect(ask("/", { "if-none-match": ask("/small")!.headers.get("etag")! })!.status).toBe(200);
  });
});
