import { expect, test } from "bun:test";
import fc from "fast-check";
import { decodeBase64, encodeBase64 } from "../../../src/rest/base64.ts";

const decode = (text: string): string => Buffer.from(decodeBase64(Buffer.from(text))).toString("latin1");

test.each([
  ["", ""],
  ["aGVsbG8=", "hello"],
  ["aGVsbG8", "hello"],
  ["aGk=", "hi"],
  ["eA==", "x"],
  ["eA", "x"],
  ["eA..", "x"],
  [" a\tG\nk\v=\f\r", "hi"],
  ["/wA=", "\xff\x00"],
  ["+/+/", "\xfb\xff\xbf"],
])("decodeBase64(%j) is %j", (text, expected) => {
  expect(decode(text)).toBe(expected);
});

test.each(["!!", "a", "_w", "-w", "eA=", "aGk==", "aGk=aGk=", "=", "aGVs=", "a=Gk", "é"])(
  "decodeBase64(%j) is refused",
  (text) => {
    expect(() => decode(text)).toThrow("Unable to base64 decode");
  },
);

test("decodeBase64() undoes encodeBase64()", () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      expect([...decodeBase64(Buffer.from(encodeBase64(bytes)))]).toEqual([...bytes]);
    }),
  );
});
