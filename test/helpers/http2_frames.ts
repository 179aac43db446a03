import { connect, type Socket } from "node:net";

/** HTTP/2 の枠の種類。 @see https://www.rfc-editor.org/rfc/rfc9113#section-6 */
export const Frame = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goaway: 7 } as const;
export const END_STREAM = 1;
export const END_HEADERS = 4;

const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array = Buffer.alloc(0),
): Buffer {
  const bytes = Buffer.alloc(9 + payload.length);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(stream, 5);
  bytes.set(payload, 9);
  return bytes;
}

function hpackText(text: string): Buffer {
  const head: number[] = [Math.min(text.length, 127)];
  if (text.length >= 127) {
    let rest = text.length - 127;
    for (; rest >= 128; rest >>= 7) head.push((rest & 127) | 128);
    head.push(rest);
  }
  return Buffer.concat([Buffer.from(head), Buffer.from(text)]);
}

/** 表を使わない HPACK。 @see https://www.rfc-editor.org/rfc/rfc7541#section-6.2.2 */
export function hpack(headers: Readonly<Record<string, string>>): Buffer {
  return Buffer.concat(
    Object.entries(headers).map(([name, value]) =>
      Buffer.concat([Buffer.from([0]), hpackText(name), hpackText(value)]),
    ),
  );
}

/** gRPC の呼び出しの見出し。 */
export const grpcHeaders = (path: string, more: Readonly<Record<string, string>> = {}): Buffer =>
  hpack({
    ":method": "POST",
    ":scheme": "http",
    ":path": path,
    ":authority": "localhost",
    "content-type": "application/grpc",
    te: "trailers",
    ...more,
  });

export interface RawHttp2 {
  readonly socket: Socket;
  /** 届いた枠の種類。届いた順。 */
  readonly types: number[];
  /** 条件に合う枠が届くまで待つ。先に閉じたら undefined。 */
  next(matches: (type: number, stream: number, payload: Buffer) => boolean): Promise<Buffer | undefined>;
  readonly closed: Promise<void>;
}

/** 枠を手で書く客。つながると、挨拶と空の SETTINGS を送る。 */
export async function connectRaw(port: number, greet = true): Promise<RawHttp2> {
  const closed = Promise.withResolvers<void>();
  const opened = Promise.withResolvers<void>();
  const types: number[] = [];
  const waiting: {
    matches: (type: number, stream: number, payload: Buffer) => boolean;
    resolve: (payload: Buffer | undefined) => void;
  }[] = [];
  let buffer = Buffer.alloc(0);
  const socket = connect(port, "127.0.0.1", () => {
    if (greet) socket.write(Buffer.concat([PREFACE, frame(Frame.settings, 0, 0)]));
    opened.resolve();
  });
  socket.on("data", (chunk: Buffer) => {
    buffer = Buffer.concat([buffer, chunk]);
    while (buffer.length >= 9 && buffer.length >= 9 + buffer.readUIntBE(0, 3)) {
      const size = buffer.readUIntBE(0, 3);
      const type = buffer[3]!;
      const isAck = (buffer[4]! & 1) !== 0;
      const stream = buffer.readUInt32BE(5);
      const payload = Buffer.from(buffer.subarray(9, 9 + size));
      buffer = buffer.subarray(9 + size);
      types.push(type);
      // 行儀の良い客は PING に答える。
      if (type === Frame.ping && !isAck) socket.write(frame(Frame.ping, 1, 0, payload));
      for (const one of [...waiting]) {
        if (!one.matches(type, stream, payload)) continue;
        waiting.splice(waiting.indexOf(one), 1);
        one.resolve(payload);
      }
    }
  });
  // 相手に切られるのを見る試験なので、切断は失敗ではない。
  socket.on("error", () => socket.destroy());
  socket.on("close", () => {
    for (const { resolve } of waiting) resolve(undefined);
    opened.resolve();
    closed.resolve();
  });
  await opened.promise;
  return {
    socket,
    types,
    next: (matches) => new Promise((resolve) => waiting.push({ matches, resolve })),
    closed: closed.promise,
  };
}
