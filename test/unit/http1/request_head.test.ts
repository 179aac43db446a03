import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { BadRequest, parseHead } from "../../../src/http1/request_head.ts";

const parse = (...lines: string[]) => parseHead(lines.join("\r\n"), 100);
const statusOf = (...lines: string[]): number => {
  try {
    parse(...lines);
  } catch (thrown) {
    if (thrown instanceof BadRequest) return thrown.status;
    throw thrown;
  }
  return 200;
};

describe("parseHead()", () => {
  test.each([
    ["GET /v1/models HTTP/1.1", "GET", "/v1/models"],
    ["POST /v1/models/a%2Fb:predict?x=1#y HTTP/1.1", "POST", "/v1/models/a%2Fb:predict?x=1#y"],
    ["GET //v1/../a HTTP/1.1", "GET", "//v1/../a"],
    ["GET http://host:99/v1/a HTTP/1.1", "GET", "/v1/a"],
    ["GET HTTPS://host HTTP/1.0", "GET", "/"],
    ["GET http://host?x HTTP/1.1", "GET", "?x"],
    ["OPTIONS * HTTP/1.1", "OPTIONS", "*"],
    ["M-SEARCH foo HTTP/1.1", "M-SEARCH", "foo"],
  ])("%s", (line, method, target) => {
    const head = parse(line);
    expect([head.method, head.target]).toEqual([method, target]);
  });

  test.each([
    "GET /",
    "GET  / HTTP/1.1",
    "GET / HTTP/1.1 ",
    " GET / HTTP/1.1",
    "GET /a b HTTP/1.1",
    "GET /\t HTTP/1.1",
    "GET / HTTP/1.2",
    "GET / HTTP/2.0",
    "GET / http/1.1",
    "GET / HTTP/1.10",
    "G(T / HTTP/1.1",
    "",
  ])("%p is no request line", (line) => {
    expect(statusOf(line)).toBe(400);
  });

  test.each([
    ["no colon"],
    [": no name"],
    [" continued: line"],
    ["spaced : colon"],
    ["a(b: c"],
    ["a: b\u0000"],
    ["a: b\rc"],
    ["a: b\nc: d"],
    ["a: b\u007f"],
    ["Content-Length: -1"],
    ["Content-Length: +1"],
    ["Content-Length: 1, 1"],
    ["Content-Length: 0x10"],
    ["Content-Length: 99999999999999999999"],
    ["Content-Length: "],
  ])("%p is refused", (line) => {
    expect(statusOf("GET / HTTP/1.1", "Host: h", line)).toBe(400);
  });

  test("two ends of one body are refused", () => {
    expect(statusOf("POST / HTTP/1.1", "Content-Length: 5", "Content-Length: 5")).toBe(400);
    expect(statusOf("POST / HTTP/1.1", "Content-Length: 5", "Transfer-Encoding: chunked")).toBe(400);
    expect(statusOf("POST / HTTP/1.0", "Transfer-Encoding: chunked")).toBe(400);
    expect(statusOf("POST / HTTP/1.1", "Transfer-Encoding: gzip, chunked")).toBe(501);
    expect(statusOf("POST / HTTP/1.1", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked")).toBe(501);
  });

  test("more fields than allowed", () => {
    const fields = Array.from({ length: 101 }, (_, i) => `x${i}: 1`);
    expect(statusOf("GET / HTTP/1.1", ...fields.slice(1))).toBe(200);
    expect(statusOf("GET / HTTP/1.1", ...fields)).toBe(431);
  });

  test("fields are found by lower-case name, trimmed, joined", () => {
    const head = parse("GET / HTTP/1.1", "X-One:  a b\t", "x-one: c", "Empty:");
    expect(head.get("x-one")).toBe("a b, c");
    expect(head.get("empty")).toBe("");
    expect(head.get("other")).toBeNull();
  });

  test.each([
    ["HTTP/1.1", "", true],
    ["HTTP/1.1", "close", false],
    ["HTTP/1.1", "Close, TE", false],
    ["HTTP/1.1", "keep-alive", true],
    ["HTTP/1.0", "", false],
    ["HTTP/1.0", "Keep-Alive", true],
  ])("%s with Connection: %p is kept: %p", (version, connection, kept) => {
    expect(parse(`GET / ${version}`, `Connection: ${connection}`).keepsAlive).toBe(kept);
  });

  test.each([
    ["POST / HTTP/1.1", "Content-Length: 12", 12],
    ["POST / HTTP/1.1", "Transfer-Encoding: Chunked", -1],
    ["POST / HTTP/1.1", "Host: h", 0],
  ])("%s, %s: %p bytes", (line, field, length) => {
    expect(parse(line, field).contentLength).toBe(length);
  });

  test("100-continue is asked for in HTTP/1.1 only, and for a body", () => {
    const length = "Content-Length: 1";
    expect(parse("POST / HTTP/1.1", "Expect: 100-Continue", length).expectsContinue).toBe(true);
    expect(
      parse("POST / HTTP/1.1", "Expect: 100-continue", "Transfer-Encoding: chunked").expectsContinue,
    ).toBe(true);
    expect(parse("POST / HTTP/1.0", "Expect: 100-continue", length).expectsContinue).toBe(false);
    expect(parse("GET / HTTP/1.1", "Expect: 100-continue").expectsContinue).toBe(false);
  });

  test("other expectations fail, where there is a body", () => {
    expect(statusOf("POST / HTTP/1.1", "Expect: 200-ok", "Content-Length: 1")).toBe(417);
    expect(statusOf("POST / HTTP/1.0", "Expect: 200-ok", "Content-Length: 1")).toBe(200);
    expect(statusOf("GET / HTTP/1.1", "Expect: 200-ok")).toBe(200);
  });

  test("whatever comes is a head or a BadRequest", () => {
    const line = fc.string({ unit: "binary-ascii" });
    fc.assert(
      fc.property(fc.array(line, { maxLength: 5 }), fc.boolean(), (lines, good) => {
        statusOf(...(good ? ["GET / HTTP/1.1"] : []), ...lines);
      }),
    );
  });
});
