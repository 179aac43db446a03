import { expect, test } from "bun:test";
import { gzipSync } from "node:zlib";
import { inflateBody, isGzip } from "../../../src/rest/gzip_body.ts";

test.each([
  [null, false],
  ["gzip", true],
  ["x-gzip", true],
  ["my_gzip", true],
  ["deflate, gzip", true],
  ["GZIP", false],
  ["br", false],
])("isGzip(%j) is %p", (encoding, expected) => {
  expect(isGzip(encoding)).toBe(expected);
});

const text = '{"instances":[1,2,3]}';
const good = gzipSync(text);

/** 末尾 4 バイトの「伸ばした大きさ」を書き換える。 */
function claiming(size: number): Buffer {
  const body = Buffer.from(good);
  body.writeUInt32LE(size, body.length - 4);
  return body;
}

test("inflateBody() inflates one member", () => {
  expect(Buffer.from(inflateBody(good)!).toString()).toBe(text);
  expect(inflateBody(gzipSync(""))).toHaveLength(0);
});

test.each([
  ["nothing", Buffer.alloc(0)],
  ["too short a body", Buffer.from("ab")],
  ["plain JSON", Buffer.from(text)],
  ["a cut member", good.subarray(0, -9)],
  ["trailing bytes", Buffer.concat([good, Buffer.from("xxxx")])],
  ["two members", Buffer.concat([good, good])],
  ["a wrong checksum", Buffer.concat([good.subarray(0, -8), Buffer.alloc(4), good.subarray(-4)])],
  ["a claim below the truth", claiming(5)],
  ["a claim above the truth", claiming(500)],
  ["a claim above the limit", claiming(100 * 1024 * 1024 + 1)],
])("inflateBody() gives up on %s", (_, body) => {
  expect(inflateBody(body)).toBeUndefined();
});
