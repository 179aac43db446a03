import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { encodeMessage } from "../../../src/grpc/grpc_headers.ts";

describe("encodeMessage()", () => {
  test.each([
    ["", ""],
    ["a", "a"],
    [" ", "%20"],
    ["Plain text, with {signs} and ~.", "Plain text, with {signs} and ~."],
    ["inputs: ", "inputs:%20"],
    [" a b ", "%20a b%20"],
    ["100%", "100%25"],
    ["two\nlines\t", "two%0Alines%09"],
    ["ラベル", "%E3%83%A9%E3%83%99%E3%83%AB"],
  ])("%p is written %p", (text, expected) => {
    expect(encodeMessage(text)).toBe(expected);
  });

  test("is undone by percent-decoding, and is a header value", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const written = encodeMessage(text);
        expect(decodeURIComponent(written)).toBe(text);
        expect(written).toMatch(/^(?:[!-~](?:[ -~]*[!-~])?)?$/);
      }),
    );
  });
});
