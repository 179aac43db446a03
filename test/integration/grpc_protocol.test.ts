import { afterAll, beforeAll, expect, test } from "bun:test";
import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from "node:http2";
import { deflateSync, gzipSync } from "node:zlib";
import { create, toBinary } from "@bufbuild/protobuf";
import { PredictRequestSchema } from "../../src/gen/tensorflow_serving/apis/predict_pb.ts";
import { FakeServable, halfPlusTwo, info, signature } from "../helpers/fake_models.ts";
import { type GrpcSetup, startGrpc } from "../helpers/start_grpc.ts";

const PREDICT = "/tensorflow.serving.PredictionService/Predict";

const message = toBinary(
  PredictRequestSchema,
  create(PredictRequestSchema, {
    modelSpec: { name: "half_plus_two" },
    inputs: { x: { dtype: 1, tensorShape: { dim: [{ size: 2n }] }, floatVal: [1, 5] } },
  }),
);

function frame(bytes: Uint8Array, flag = 0): Buffer {
  const head = Buffer.alloc(5);
  head[0] = flag;
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

interface Reply {
  readonly headers: IncomingHttpHeaders;
  readonly trailers: IncomingHttpHeaders;
  readonly body: string;
}

/** 枠を 1 つずつ送り、届いたものをすべて集める。 */
async function send(
  session: ClientHttp2Session,
  parts: readonly Uint8Array[],
  headers: Record<string, string> = {},
): Promise<Reply> {
  const stream = session.request({
    ":method": "POST",
    ":path": PREDICT,
    "content-type": "application/grpc",
    te: "trailers",
    ...headers,
  });
  const { promise, resolve, reject } = Promise.withResolvers<Reply>();
  let got: IncomingHttpHeaders = {};
  let trailers: IncomingHttpHeaders = {};
  const chunks: Buffer[] = [];
  stream.on("response", (value) => {
    got = { ...value };
    delete got["date"];
  });
  stream.on("trailers", (value) => {
    trailers = { ...value };
  });
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  stream.on("error", reject);
  stream.on("end", () => resolve({ headers: got, trailers, body: Buffer.concat(chunks).toString("hex") }));
  for (const part of parts) stream.write(part);
  stream.end();
  return promise;
}

let server: GrpcSetup;
let session: ClientHttp2Session;

beforeAll(async () => {
  server = await startGrpc();
  session = connect(`http://${server.targets[0]}`);
});

afterAll(async () => {
  session.destroy();
  await server.door.stop(0);
});

const whole = frame(message);
const broken = toBinary(PredictRequestSchema, create(PredictRequestSchema, { modelSpec: { name: "nope" } }));
const NO_MESSAGE = `Received no request message for server streaming method ${PREDICT}`;

test.each<[string, readonly Uint8Array[], Record<string, string>, string]>([
  ["an ordinary call", [whole], {}, "0"],
  ["a call with the full content type", [whole], { "content-type": "application/grpc+proto" }, "0"],
  ["a call with parameters", [whole], { "content-type": "application/grpc;charset=x" }, "0"],
  ["a call with a deadline", [whole], { "grpc-timeout": "5S" }, "0"],
  ["an endless deadline", [whole], { "grpc-timeout": "99999999H" }, "0"],
  [
    "a deadline nobody can read",
    [whole],
    { "grpc-timeout": "soon" },
    '13: Invalid grpc-timeout value "soon"',
  ],
  ["a message in pieces", [whole.subarray(0, 3), whole.subarray(3, 20), whole.subarray(20)], {}, "0"],
  ["a gzip message", [frame(gzipSync(message), 1)], { "grpc-encoding": "gzip" }, "0"],
  ["a deflate message", [frame(deflateSync(message), 1)], { "grpc-encoding": "deflate" }, "0"],
  ["a plain message of a client that compresses others", [whole], { "grpc-encoding": "gzip" }, "0"],
  [
    "a broken gzip message",
    [frame(message, 1)],
    { "grpc-encoding": "gzip" },
    "13: Unexpected error decompressing data for algorithm gzip",
  ],
  [
    "an unknown compression",
    [frame(message, 1)],
    { "grpc-encoding": "br" },
    "12: Compression algorithm 'br' is not supported",
  ],
  ["a mark of compression without its name", [frame(message, 1)], {}, "0"],
  ["no message", [], {}, `12: ${NO_MESSAGE}`],
  ["a message cut short", [whole.subarray(0, 20)], {}, `12: ${NO_MESSAGE}`],
  ["a second message cut short", [whole, whole.subarray(0, 20)], {}, "0"],
  [
    "two messages",
    [Buffer.concat([whole, whole])],
    {},
    `12: Received a second request message for server streaming method ${PREDICT}`,
  ],
  [
    "two messages in two pieces",
    [whole, whole],
    {},
    `12: Received a second request message for server streaming method ${PREDICT}`,
  ],
  ["an empty message", [frame(new Uint8Array(0))], {}, "3: Missing ModelSpec"],
  ["bytes that are no message", [frame(Uint8Array.of(0xff, 0xff))], {}, "13: Error deserializing request"],
  ["a model that is not there", [frame(broken)], {}, "5: Servable not found for request: Latest(nope)"],
  [
    "a length beyond the limit",
    [Uint8Array.of(0, 0xff, 0xff, 0xff, 0xff, 1)],
    {},
    "8: SERVER: Received message larger than max (4294967295 vs. 2147483647)",
  ],
])("%s", async (_, parts, headers, expected) => {
  const reply = await send(session, parts, headers);
  const found = reply.trailers["grpc-status"] === undefined ? reply.headers : reply.trailers;
  const { "grpc-status": status, "grpc-message": details } = found;
  expect(details === undefined ? status : `${status}: ${details}`).toBe(expected);
  expect(reply.headers["content-type"]).toBe("application/grpc");
  expect(reply.headers["grpc-accept-encoding"]).toBe("identity, deflate, gzip");
});

test.each<[string, Record<string, string>]>([
  ["another content type", { "content-type": "application/json" }],
  ["a content type that only begins the same", { "content-type": "application/grpcx" }],
  ["another method", { ":method": "PUT" }],
])("%s is told that this is gRPC", async (_, headers) => {
  const reply = await send(session, [whole], headers);
  expect(reply.headers[":status"]).toBe(415 as never);
  expect(Buffer.from(reply.body, "hex").toString()).toContain("gRPC");
});

/** 答えを握ったままのモデル。 */
function stuck() {
  const called = Promise.withResolvers<AbortSignal | undefined>();
  const servable = new FakeServable(
    { name: "stuck", version: 1n },
    [signature("serving_default", { x: info("x:0", "float") }, { y: info("y:0", "float") })],
    (feeds) => new Map([["y:0", feeds.get("x:0")!]]),
  );
  const answer = Promise.withResolvers<never[]>();
  servable.prepare = () => ({
    feedDTypes: ["float"],
    run: (_, { signal }) => {
      called.resolve(signal);
      return answer.promise;
    },
  });
  const request = create(PredictRequestSchema, {
    modelSpec: { name: "stuck" },
    inputs: { x: { dtype: 1, tensorShape: { dim: [{ size: 1n }] }, floatVal: [1] } },
  });
  return { servable, called: called.promise, bytes: frame(toBinary(PredictRequestSchema, request)) };
}

const whenAborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve());
  });

test("a deadline is answered when it comes, and the work is told", async () => {
  const { servable, called, bytes } = stuck();
  await using setup = await startGrpc({ servables: [servable, halfPlusTwo()] });
  const session = connect(`http://${setup.targets[0]}`);
  const reply = await send(session, [bytes], { "grpc-timeout": "50m" });
  expect([reply.headers["grpc-status"], reply.headers["grpc-message"]]).toEqual(["4", "Deadline exceeded"]);
  await whenAborted((await called)!);
  session.destroy();
});

test("the work is told when the client has gone", async () => {
  const { servable, called, bytes } = stuck();
  await using setup = await startGrpc({ servables: [servable] });
  const session = connect(`http://${setup.targets[0]}`);
  const stream = session.request({ ":method": "POST", ":path": PREDICT, "content-type": "application/grpc" });
  stream.on("error", () => stream.destroy());
  stream.end(bytes);
  const signal = (await called)!;
  stream.close(8);
  await whenAborted(signal);
  expect(signal.aborted).toBe(true);
  session.destroy();
});
