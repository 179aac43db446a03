import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { ChunkedBody } from "../../../src/http1/chunked_body.ts";
import { BadRequest } from "../../../src/http1/request_head.ts";

/** @returns 本文と、その後ろに残ったもの。終わっていなければ undefined。 */
function read(text: string, sizes: readonly number[] = [text.length], most = 1000) {
  const bytes = Buffer.from(text, "latin1");
  const body = new ChunkedBody(most);
  let at = 0;
  for (let i = 0; at < bytes.length && !body.isDone; i++) {
    const end = Math.min(bytes.length, at + (sizes[i % sizes.length] ?? 1));
    at += body.push(bytes.subarray(at, end), true);
  }
  if (!body.isDone) return undefined;
  return [Buffer.from(body.body).toString("latin1"), bytes.toString("latin1", at)];
}
const statusOf = (text: string, most?: number): number => {
  try {
    read(text, undefined, most);
  } catch (thrown) {
    if (thrown instanceof BadRequest) return thrown.status;
    throw thrown;
  }
  return 200;
};

describe("ChunkedBody", () => {
  test.each([
    ["0\r\n\r\n", "", ""],
    ["3\r\nabc\r\n0\r\n\r\nGET", "abc", "GET"],
    ["3\r\nabc\r\n00A\r\n0123456789\r\n0\r\n\r\n", "abc0123456789", ""],
    ["3;name=value\r\nabc\r\n0 ; x\r\n\r\n", "abc", ""],
    ["1\r\n\n\r\n0\r\nTrailer: a\r\nOther: b\r\n\r\n", "\n", ""],
  ])("%j", (text, body, rest) => {
    expect(read(text)).toEqual([body, rest]);
    expect(read(text, [1])).toEqual([body, rest]);
  });

  test.each([
    ["x\r\n"],
    ["-1\r\n"],
    ["0x1\r\n"],
    ["\r\n"],
    [" 1\r\n"],
    ["3 \r\nabc\r\n0\r\n\r\n1 1\r\n"],
    ["3\nabc"],
    ["3\rabc"],
    ["3\r\nabcd\r\n"],
    ["3\r\nabc0\r\n\r\n"],
    ["fffffffffffffff\r\n"],
    ["1;\u0000\r\n"],
  ])("%j is refused", (text) => {
    expect(statusOf(text)).toBe(400);
  });

  test("lines and trailers that do not end are refused", () => {
    expect(statusOf(`1;${"a".repeat(300)}`)).toBe(400);
    expect(statusOf(`0\r\n${"a: b\r\n".repeat(2000)}`)).toBe(400);
    expect(statusOf(`0\r\n${"a".repeat(9000)}`)).toBe(400);
  });

  test("a body above the limit is refused before it has come", () => {
    expect(statusOf("a\r\n", 9)).toBe(413);
    expect(statusOf("5\r\nabcde\r\n5\r\n", 9)).toBe(413);
    expect(statusOf("9\r\n", 9)).toBe(200);
  });

  test("what nobody wants is not kept", () => {
    const body = new ChunkedBody(10);
    expect(body.push(Buffer.from("5\r\nabcde\r\n0\r\n\r\n"), false)).toBe(15);
    expect([body.isDone, body.body.length]).toEqual([true, 0]);
  });

  test("is read the same however it is cut", () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: "binary-ascii", minLength: 1, maxLength: 40 })),
        fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1 }),
        (parts, sizes) => {
          const text = parts.map((part) => `${part.length.toString(16)}\r\n${part}\r\n`).join("");
          expect(read(`${text}0\r\n\r\nnext`, sizes, 1e6)).toEqual([parts.join(""), "next"]);
        },
      ),
    );
  });
});
