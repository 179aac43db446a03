import { expect, test } from "bun:test";
import { connect } from "node:net";
import { startGrpc } from "../helpers/start_grpc.ts";

// 表を持たない HTTP/2 の相手(nginx の grpc_pass)を、生のバイト列で演じる。
const HEADERS = 1;
const SETTINGS = 4;
const END_STREAM = 1;
const END_HEADERS = 4;
const STATIC_TABLE = 61;

function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** 表に載せない文字どおりのヘッダー。 */
const literal = (name: string, value: string): Buffer =>
  Buffer.concat([
    Buffer.from([0, name.length]),
    Buffer.from(name),
    Buffer.from([value.length]),
    Buffer.from(value),
  ]);

/** 表の大きさ 0 を告げる SETTINGS。 */
const noTable = frame(SETTINGS, 0, 0, Buffer.from([0, 1, 0, 0, 0, 0]));
const emptyMessage = frame(0, END_STREAM, 0, Buffer.alloc(5));

function call(stream: number): Buffer {
  const block = Buffer.concat([
    literal(":method", "POST"),
    literal(":scheme", "http"),
    literal(":path", "/grpc.health.v1.Health/Check"),
    literal(":authority", "localhost"),
    literal("content-type", "application/grpc"),
    literal("te", "trailers"),
  ]);
  const data = Buffer.from(emptyMessage);
  data.writeUInt32BE(stream, 5);
  return Buffer.concat([frame(HEADERS, END_HEADERS, stream, block), data]);
}

/** HPACK の 1 まとまりが表に触れるところ。 @see https://www.rfc-editor.org/rfc/rfc7541#section-6 */
function tableUses(block: Uint8Array): string[] {
  const uses: string[] = [];
  let at = 0;
  const integer = (bits: number): number => {
    const most = 2 ** bits - 1;
    let value = block[at++]! & most;
    if (value < most) return value;
    for (let shift = 0; ; shift += 7) {
      const byte = block[at++]!;
      value += (byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  const skipString = (): void => {
    const length = integer(7);
    at += length;
  };
  while (at < block.length) {
    const first = block[at]!;
    if (first >= 0x80) {
      const index = integer(7);
      if (index > STATIC_TABLE) uses.push(`indexed ${index}`);
    } else if (first >= 0x20 && first < 0x40) integer(5);
    else {
      if (first >= 0x40) uses.push("adds to the table");
      const index = integer(first >= 0x40 ? 6 : 4);
      if (index > STATIC_TABLE) uses.push(`name ${index}`);
      if (index === 0) skipString();
      skipString();
    }
  }
  return uses;
}

test("a peer without a header table (nginx) gets headers that do not use one", async () => {
  await using server = await startGrpc();
  const port = Number(server.targets[0]!.split(":").at(-1));
  const blocks: Uint8Array[] = [];
  const socket = connect(port, "127.0.0.1");
  let pending = Buffer.alloc(0);
  const done = Promise.withResolvers<void>();
  let next = 3;
  socket.on("error", done.reject);
  socket.on("data", (chunk: Buffer) => {
    pending = Buffer.concat([pending, chunk]);
    while (pending.length >= 9 && pending.length >= 9 + pending.readUIntBE(0, 3)) {
      const length = pending.readUIntBE(0, 3);
      const [type, flags] = [pending[3]!, pending[4]!];
      const payload = pending.subarray(9, 9 + length);
      pending = pending.subarray(9 + length);
      if (type === SETTINGS && flags === 0) socket.write(frame(SETTINGS, 1, 0, Buffer.alloc(0)));
      if (type !== HEADERS) continue;
      blocks.push(new Uint8Array(payload));
      if ((flags & END_STREAM) === 0) continue;
      if (next > 5) done.resolve();
      else socket.write(call(next));
      next += 2;
    }
  });
  socket.write(Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), noTable, call(1)]));
  await done.promise;
  socket.destroy();
  // 3 回の呼び出しの、見出しと後書き。
  expect(blocks).toHaveLength(6);
  expect(blocks.flatMap(tableUses)).toEqual([]);
});
