import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect } from "node:http2";
import { connect as dial } from "node:net";
import { ErrorCode, FrameType, Setting } from "../../src/http2/frames.ts";
import { connectRaw, END_HEADERS, END_STREAM, frame, grpcHeaders, hpack } from "../helpers/http2_frames.ts";
import { type GrpcSetup, startGrpc } from "../helpers/start_grpc.ts";

const HEALTH = "/grpc.health.v1.Health/Check";
const PADDED = 8;
const PRIORITY = 0x20;
const ACK = 1;
const EMPTY_MESSAGE = Buffer.alloc(5);

let server: GrpcSetup;
let port = 0;
beforeAll(async () => {
  server = await startGrpc();
  port = Number(server.targets[0]!.split(":")[1]);
});
afterAll(() => server.door.stop(0));

const u32 = (...values: number[]): Buffer => {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [i, value] of values.entries()) bytes.writeUInt32BE(value, 4 * i);
  return bytes;
};
const setting = (name: number, value: number): Buffer => Buffer.concat([Buffer.from([0, name]), u32(value)]);
const open = (stream: number, more: Record<string, string> = {}, flags = END_HEADERS): Buffer =>
  frame(FrameType.headers, flags, stream, grpcHeaders(HEALTH, more));
const call = (stream: number, more: Record<string, string> = {}): Buffer =>
  Buffer.concat([open(stream, more), frame(FrameType.data, END_STREAM, stream, EMPTY_MESSAGE)]);
const block = (fields: Record<string, string>, flags = END_HEADERS | END_STREAM): Buffer =>
  frame(FrameType.headers, flags, 1, hpack(fields));
const required = { ":method": "POST", ":scheme": "http", ":path": HEALTH };

/** 接続全体の誤り。GOAWAY がその番号を告げ、接続が閉じる。 */
test.each<[string, Buffer, number]>([
  ["DATA on stream 0", frame(FrameType.data, 0, 0), ErrorCode.protocolError],
  ["DATA on an idle stream", frame(FrameType.data, 0, 1), ErrorCode.protocolError],
  ["DATA after the end", Buffer.concat([call(1), frame(FrameType.data, 0, 1)]), ErrorCode.streamClosed],
  ["HEADERS on stream 0", open(0), ErrorCode.protocolError],
  ["HEADERS on a stream of the server", open(2), ErrorCode.protocolError],
  ["HEADERS after the end", Buffer.concat([call(1), open(1)]), ErrorCode.streamClosed],
  ["HEADERS on a lower stream", Buffer.concat([call(5), open(3)]), ErrorCode.protocolError],
  [
    "HEADERS too short for their priority",
    frame(FrameType.headers, PRIORITY, 1, Buffer.alloc(4)),
    ErrorCode.frameSizeError,
  ],
  [
    "HEADERS that do not unpack",
    frame(FrameType.headers, END_HEADERS, 1, Buffer.of(0xff)),
    ErrorCode.compressionError,
  ],
  [
    "another frame inside HEADERS",
    Buffer.concat([open(1, {}, 0), frame(FrameType.ping, 0, 0, Buffer.alloc(8))]),
    ErrorCode.protocolError,
  ],
  ["CONTINUATION of nothing", frame(FrameType.continuation, END_HEADERS, 1), ErrorCode.protocolError],
  [
    "CONTINUATION of another stream",
    Buffer.concat([open(1, {}, 0), frame(FrameType.continuation, END_HEADERS, 3)]),
    ErrorCode.protocolError,
  ],
  [
    "CONTINUATION without end",
    Buffer.concat([open(1, {}, 0), ...Array.from({ length: 40 }, () => frame(FrameType.continuation, 0, 1))]),
    ErrorCode.enhanceYourCalm,
  ],
  ["padding without its length", frame(FrameType.data, PADDED, 1), ErrorCode.frameSizeError],
  [
    "padding longer than the frame",
    frame(FrameType.headers, PADDED, 1, Buffer.of(9)),
    ErrorCode.protocolError,
  ],
  ["PRIORITY on stream 0", frame(FrameType.priority, 0, 0, Buffer.alloc(5)), ErrorCode.protocolError],
  [
    "RST_STREAM of a wrong length",
    frame(FrameType.rstStream, 0, 1, Buffer.alloc(3)),
    ErrorCode.frameSizeError,
  ],
  ["RST_STREAM on an idle stream", frame(FrameType.rstStream, 0, 1, u32(8)), ErrorCode.protocolError],
  ["SETTINGS on a stream", frame(FrameType.settings, 0, 1), ErrorCode.protocolError],
  ["SETTINGS of a wrong length", frame(FrameType.settings, 0, 0, Buffer.alloc(5)), ErrorCode.frameSizeError],
  ["an ACK with SETTINGS", frame(FrameType.settings, ACK, 0, Buffer.alloc(6)), ErrorCode.frameSizeError],
  [
    "ENABLE_PUSH out of range",
    frame(FrameType.settings, 0, 0, setting(Setting.enablePush, 2)),
    ErrorCode.protocolError,
  ],
  [
    "INITIAL_WINDOW_SIZE out of range",
    frame(FrameType.settings, 0, 0, setting(Setting.initialWindowSize, 2 ** 31)),
    ErrorCode.flowControlError,
  ],
  [
    "MAX_FRAME_SIZE out of range",
    frame(FrameType.settings, 0, 0, setting(Setting.maxFrameSize, 100)),
    ErrorCode.protocolError,
  ],
  [
    "a window that SETTINGS overflow",
    Buffer.concat([
      open(1),
      frame(FrameType.windowUpdate, 0, 1, u32(2 ** 31 - 1 - 65535)),
      frame(FrameType.settings, 0, 0, setting(Setting.initialWindowSize, 2 ** 31 - 1)),
    ]),
    ErrorCode.flowControlError,
  ],
  ["PUSH_PROMISE", frame(FrameType.pushPromise, 0, 1, u32(2)), ErrorCode.protocolError],
  ["PING on a stream", frame(FrameType.ping, 0, 1, Buffer.alloc(8)), ErrorCode.protocolError],
  ["PING of a wrong length", frame(FrameType.ping, 0, 0, Buffer.alloc(7)), ErrorCode.frameSizeError],
  ["GOAWAY on a stream", frame(FrameType.goAway, 0, 1, u32(0, 0)), ErrorCode.protocolError],
  ["GOAWAY of a wrong length", frame(FrameType.goAway, 0, 0, u32(0)), ErrorCode.frameSizeError],
  [
    "WINDOW_UPDATE of a wrong length",
    frame(FrameType.windowUpdate, 0, 0, u32(1, 1)),
    ErrorCode.frameSizeError,
  ],
  ["WINDOW_UPDATE by 0", frame(FrameType.windowUpdate, 0, 0, u32(0)), ErrorCode.protocolError],
  ["WINDOW_UPDATE on an idle stream", frame(FrameType.windowUpdate, 0, 1, u32(1)), ErrorCode.protocolError],
  [
    "a window that overflows",
    frame(FrameType.windowUpdate, 0, 0, u32(2 ** 31 - 1)),
    ErrorCode.flowControlError,
  ],
  ["a frame beyond the size", frame(FrameType.data, 0, 1, Buffer.alloc(16_385)), ErrorCode.frameSizeError],
  [
    "frames nobody knows, without end",
    Buffer.concat(Array.from({ length: 2000 }, () => frame(0xfa, 0, 0))),
    ErrorCode.enhanceYourCalm,
  ],
  [
    "more data than the window of the connection",
    Buffer.concat([
      call(1),
      ...Array.from({ length: 520 }, () => frame(FrameType.data, PADDED, 1, Buffer.alloc(16_384))),
    ]),
    ErrorCode.streamClosed,
  ],
])("%s ends the connection", async (_, bytes, code) => {
  const raw = await connectRaw(port);
  const goAway = raw.next((type) => type === FrameType.goAway);
  raw.socket.write(bytes);
  expect((await goAway)?.readUInt32BE(4)).toBe(code);
  await raw.closed;
});

test.each<[string, Buffer]>([
  ["a first frame that is no SETTINGS", frame(FrameType.ping, 0, 0, Buffer.alloc(8))],
  ["a first frame that is an ACK", frame(FrameType.settings, ACK, 0)],
])("%s ends the connection", async (_, bytes) => {
  const raw = await connectRaw(port, false);
  const goAway = raw.next((type) => type === FrameType.goAway);
  raw.socket.write(Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), bytes]));
  expect((await goAway)?.readUInt32BE(4)).toBe(ErrorCode.protocolError);
  await raw.closed;
});

/** 流れ 1 つの誤り。その流れだけが断たれ、ほかの流れは答えを得る。 */
test.each<[string, Buffer, number]>([
  ["no :method", block({ ":scheme": "http", ":path": "/" }), ErrorCode.protocolError],
  ["no :scheme", block({ ":method": "POST", ":path": "/" }), ErrorCode.protocolError],
  ["an empty :path", block({ ...required, ":path": "" }), ErrorCode.protocolError],
  ["an unknown pseudo-header", block({ ...required, ":status": "200" }), ErrorCode.protocolError],
  ["a pseudo-header after the others", block({ a: "b", ...required }), ErrorCode.protocolError],
  ["a name in capitals", block({ ...required, Big: "b" }), ErrorCode.protocolError],
  ["an empty name", block({ ...required, "": "b" }), ErrorCode.protocolError],
  ["connection", block({ ...required, connection: "close" }), ErrorCode.protocolError],
  ["te of another kind", block({ ...required, te: "gzip" }), ErrorCode.protocolError],
  [
    "a content-length that is no number",
    block({ ...required, "content-length": "x" }),
    ErrorCode.protocolError,
  ],
  ["a content-length that is not true", call(1, { "content-length": "4" }), ErrorCode.protocolError],
  [
    "HEADERS that depend on themselves",
    frame(
      FrameType.headers,
      END_HEADERS | PRIORITY,
      1,
      Buffer.concat([u32(1), Buffer.of(0), grpcHeaders(HEALTH)]),
    ),
    ErrorCode.protocolError,
  ],
  [
    "PRIORITY that depends on itself",
    frame(FrameType.priority, 0, 1, Buffer.concat([u32(1), Buffer.of(0)])),
    ErrorCode.protocolError,
  ],
  ["PRIORITY of a wrong length", frame(FrameType.priority, 0, 1, Buffer.alloc(4)), ErrorCode.frameSizeError],
  [
    "trailers without the end",
    Buffer.concat([open(1), block({ a: "b" }, END_HEADERS)]),
    ErrorCode.protocolError,
  ],
  [
    "trailers with a pseudo-header",
    Buffer.concat([open(1), block({ ":path": "/" })]),
    ErrorCode.protocolError,
  ],
  [
    "trailers too large",
    Buffer.concat([
      open(1),
      block({
        a: "b".repeat(14_000),
        ...Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`x${i}`, ""])),
      }),
    ]),
    ErrorCode.enhanceYourCalm,
  ],
  [
    "a window increment of 0",
    Buffer.concat([open(1), frame(FrameType.windowUpdate, 0, 1, u32(0))]),
    ErrorCode.protocolError,
  ],
  [
    "a window that overflows",
    Buffer.concat([open(1), frame(FrameType.windowUpdate, 0, 1, u32(2 ** 31 - 1))]),
    ErrorCode.flowControlError,
  ],
])("%s ends the stream, not the connection", async (_, bytes, code) => {
  const raw = await connectRaw(port);
  const reset = raw.next((type, stream) => type === FrameType.rstStream && stream === 1);
  raw.socket.write(bytes);
  expect((await reset)?.readUInt32BE(0)).toBe(code);
  const reply = raw.next((type, stream) => type === FrameType.headers && stream === 7);
  raw.socket.write(call(7));
  expect(await reply).toBeDefined();
  raw.socket.destroy();
});

/** よい使い方。どれも答えを得る。 */
test.each<[string, Buffer]>([
  [
    "padded frames",
    Buffer.concat([
      frame(
        FrameType.headers,
        END_HEADERS | PADDED,
        1,
        Buffer.concat([Buffer.of(3), grpcHeaders(HEALTH), Buffer.alloc(3)]),
      ),
      frame(
        FrameType.data,
        END_STREAM | PADDED,
        1,
        Buffer.concat([Buffer.of(2), EMPTY_MESSAGE, Buffer.alloc(2)]),
      ),
    ]),
  ],
  [
    "a priority",
    Buffer.concat([
      frame(
        FrameType.headers,
        END_HEADERS | PRIORITY,
        1,
        Buffer.concat([u32(3), Buffer.of(9), grpcHeaders(HEALTH)]),
      ),
      frame(FrameType.priority, 0, 9, Buffer.alloc(5)),
      frame(FrameType.data, END_STREAM, 1, EMPTY_MESSAGE),
    ]),
  ],
  [
    "headers in pieces",
    Buffer.concat([
      frame(FrameType.headers, 0, 1, grpcHeaders(HEALTH).subarray(0, 10)),
      frame(FrameType.continuation, 0, 1, grpcHeaders(HEALTH).subarray(10, 20)),
      frame(FrameType.continuation, END_HEADERS, 1, grpcHeaders(HEALTH).subarray(20)),
      frame(FrameType.data, END_STREAM, 1, EMPTY_MESSAGE),
    ]),
  ],
  ["trailers", Buffer.concat([open(1), frame(FrameType.data, 0, 1, EMPTY_MESSAGE), block({ a: "b" })])],
  ["a true content-length", call(1, { "content-length": "5" })],
  ["a frame nobody knows", Buffer.concat([frame(0xfa, 0xff, 3, Buffer.alloc(9)), call(1)])],
  ["the same header twice", call(1, { a: "1" })],
  ["a goodbye", Buffer.concat([frame(FrameType.goAway, 0, 0, u32(0, 0)), call(1)])],
  ["an ACK of a PING never sent", Buffer.concat([frame(FrameType.ping, ACK, 0, Buffer.alloc(8)), call(1)])],
])("%s", async (_, bytes) => {
  for (const size of [bytes.length, 1, 7]) {
    const raw = await connectRaw(port);
    const end = raw.next((type, stream) => type === FrameType.data && stream === 1);
    for (let at = 0; at < bytes.length; at += size) {
      raw.socket.write(bytes.subarray(at, at + size));
      if (size < bytes.length) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await end).toBeDefined();
    raw.socket.destroy();
  }
});

test("after PRIORITY of a new stream, an ACK comes for SETTINGS and PING", async () => {
  const raw = await connectRaw(port);
  const ping = raw.next(
    (type, _, payload) => type === FrameType.ping && payload.equals(Buffer.from("12345678")),
  );
  raw.socket.write(frame(FrameType.ping, 0, 0, Buffer.from("12345678")));
  expect(await ping).toBeDefined();
  raw.socket.destroy();
});

describe("flow control", () => {
  const METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata";
  // model_spec { name: "half_plus_two" } metadata_field: "signature_def"
  const message = Buffer.concat([
    Buffer.from([10, 15, 10, 13]),
    Buffer.from("half_plus_two"),
    Buffer.from([18, 13]),
    Buffer.from("signature_def"),
  ]);
  const ask = (stream: number): Buffer =>
    Buffer.concat([
      frame(FrameType.headers, END_HEADERS, stream, grpcHeaders(METADATA)),
      frame(
        FrameType.data,
        END_STREAM,
        stream,
        Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]),
      ),
    ]);

  test("an answer waits for the window, comes in pieces, and ends", async () => {
    const raw = await connectRaw(port);
    const acknowledged = raw.next((type) => type === FrameType.settings);
    raw.socket.write(frame(FrameType.settings, 0, 0, setting(Setting.initialWindowSize, 0)));
    await acknowledged;
    const headers = raw.next((type, stream) => type === FrameType.headers && stream === 1);
    raw.socket.write(Buffer.concat([ask(1), ask(3)]));
    await headers;
    let received = 0;
    for (const grant of [1, 10, 100]) {
      const data = raw.next((type, stream) => type === FrameType.data && stream === 3);
      raw.socket.write(frame(FrameType.windowUpdate, 0, 3, u32(grant)));
      received += (await data)!.length;
    }
    expect(received).toBe(111);
    const trailers = raw.next((type, stream) => type === FrameType.headers && stream === 3);
    raw.socket.write(frame(FrameType.settings, 0, 0, setting(Setting.initialWindowSize, 1 << 20)));
    expect(await trailers).toBeDefined();
    raw.socket.destroy();
  });

  test("large requests and answers pass in both directions at once", async () => {
    const session = connect(`http://localhost:${port}`);
    // 1 MiB を越える要求。知らない項目は読み飛ばされる。
    const padding = Buffer.alloc(3 << 20);
    const head = Buffer.from([0x7a, 0x80, 0x80, 0xc0, 0x01]);
    const body = Buffer.concat([message, head, padding]);
    const frameHead = Buffer.alloc(5);
    frameHead.writeUInt32BE(body.length, 1);
    const ended = Array.from({ length: 4 }, () => {
      const stream = session.request({
        ":method": "POST",
        ":path": METADATA,
        "content-type": "application/grpc",
      });
      const { promise, resolve, reject } = Promise.withResolvers<unknown>();
      stream.on("trailers", (trailers) => resolve(trailers["grpc-status"]));
      stream.on("error", reject);
      stream.resume();
      stream.end(Buffer.concat([frameHead, body]));
      return promise;
    });
    expect(await Promise.all(ended)).toEqual(["0", "0", "0", "0"]);
    session.destroy();
  });
});

test("a client of HTTP/1.1 is hung up on", async () => {
  const socket = dial(port, "127.0.0.1");
  const closed = Promise.withResolvers<void>();
  socket.on("close", () => closed.resolve());
  socket.on("error", () => socket.destroy());
  socket.resume();
  socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await closed.promise;
});
