import { describe, expect, test } from "bun:test";
import { connect } from "node:net";
import { Code, StatusError } from "../../src/base/status.ts";
import { GrpcClient } from "../../src/client/grpc_client.ts";
import type { GrpcLimits } from "../../src/grpc/grpc_door.ts";
import { Admission } from "../../src/service/admission.ts";
import { tensor } from "../../src/tensor/tensor.ts";
import { createAuthority, issue } from "../helpers/certificates.ts";
import { FakeHost } from "../helpers/fake_host.ts";
import { halfPlusTwo } from "../helpers/fake_models.ts";
import {
  connectRaw,
  END_HEADERS,
  END_STREAM,
  Frame,
  frame,
  grpcHeaders,
  type RawHttp2,
} from "../helpers/http2_frames.ts";
import { type GrpcSetup, startGrpc } from "../helpers/start_grpc.ts";

const HEALTH = "/grpc.health.v1.Health/Check";
const limits: GrpcLimits = {
  maxConnections: 0,
  handshakeTimeoutMs: 60_000,
  maxHeaderBytes: 16384,
  resetBurst: 1000,
  resetsPerSecond: 100,
};
const portOf = ({ targets }: { targets: readonly string[] }) => Number(targets[0]!.split(":")[1]);
async function predict({ targets }: Pick<GrpcSetup, "targets">): Promise<string> {
  using client = new GrpcClient({ address: targets[0]! });
  try {
    await client.predict(
      { name: "half_plus_two" },
      new Map([["x", tensor("float", [1], Float32Array.of(1))]]),
    );
    return "OK";
  } catch (thrown) {
    return String(thrown);
  }
}
/** 健全性の問い合わせ 1 つ。本文は空のメッセージ。 */
const healthCall = (stream: number, more: Record<string, string> = {}) =>
  Buffer.concat([
    frame(Frame.headers, END_HEADERS, stream, grpcHeaders(HEALTH, more)),
    frame(Frame.data, END_STREAM, stream, Buffer.alloc(5)),
  ]);
const answers = (client: RawHttp2, stream: number) => {
  const reply = client.next((type, id) => type === Frame.headers && id === stream);
  client.socket.write(healthCall(stream));
  return reply.then((payload) => payload !== undefined);
};

describe("overload", () => {
  test("RESOURCE_EXHAUSTED above the number in flight, health still answers", async () => {
    const servable = halfPlusTwo();
    const admission = new Admission(new FakeHost(), { maxInFlight: 1, maxQueueDelayMs: 0 });
    await using server = await startGrpc({ servables: [servable], admission });
    admission.enter(admission.arrive());
    expect(await predict(server)).toBe("RESOURCE_EXHAUSTED: Too many requests in flight");
    using client = new GrpcClient({ address: server.targets[0]! });
    expect(await client.health()).toBe(true);
    expect(servable.runs).toBe(0);
    admission.leave();
    expect(await predict(server)).toBe("OK");
  });

  test("UNAVAILABLE for what has waited too long", async () => {
    const host = new FakeHost();
    const servable = halfPlusTwo();
    servable.beforeRun = () => host.clock.spend(10);
    await using server = await startGrpc({
      servables: [servable],
      admission: new Admission(host, { maxInFlight: 0, maxQueueDelayMs: 5 }),
    });
    expect(await predict(server)).toBe("OK");
    expect(await predict(server)).toBe(
      "UNAVAILABLE: Server is overloaded: the request waited too long to be started",
    );
    expect(servable.runs).toBe(1);
  });

  test("a refused call with a large body does not stop the connection", async () => {
    await using server = await startGrpc({ authorize: () => false });
    using client = new GrpcClient({ address: server.targets[0]! });
    const big = new Map([["x", tensor("float", [1 << 20], new Float32Array(1 << 20))]]);
    for (let i = 0; i < 3; i++) {
      const failure = await client.predict({ name: "half_plus_two" }, big).catch((thrown: unknown) => thrown);
      expect(failure).toBeInstanceOf(StatusError);
      expect((failure as StatusError).code).toBe(Code.UNAUTHENTICATED);
    }
    expect(await client.health()).toBe(true);
  });
});

test("only callers with the token are let in, probes excepted", async () => {
  await using server = await startGrpc({ authorize: (value) => value === "Bearer good" });
  const metadata = async (headers: Record<string, string>) => {
    using client = new GrpcClient({ address: server.targets[0]!, headers });
    expect(await client.health()).toBe(true);
    try {
      await client.getModelMetadata({ name: "half_plus_two" });
      return "OK";
    } catch (thrown) {
      return String(thrown);
    }
  };
  expect(await metadata({ Authorization: "Bearer good" })).toBe("OK");
  const refused = "UNAUTHENTICATED: Missing or invalid bearer token";
  expect(await metadata({})).toBe(refused);
  expect(await metadata({ Authorization: "Bearer bad" })).toBe(refused);
});

describe("connections", () => {
  test("above the limit are closed, and let in when one has left", async () => {
    await using server = await startGrpc({ limits: { ...limits, maxConnections: 2 } });
    const port = portOf(server);
    const [one, two] = [await connectRaw(port), await connectRaw(port)];
    expect(await answers(one, 1)).toBe(true);
    expect(await answers(two, 1)).toBe(true);
    const three = await connectRaw(port);
    await three.closed;
    expect(three.types).toEqual([]);
    one.socket.destroy();
    for (;;) {
      const four = await connectRaw(port);
      const isServed = await answers(four, 1);
      four.socket.destroy();
      if (isServed) break;
    }
    two.socket.destroy();
  });

  test.each([
    ["says nothing", false],
    ["sends half of the preface", true],
  ])("a client that %s is cut off", async (_, half) => {
    await using server = await startGrpc({ limits: { ...limits, handshakeTimeoutMs: 20 } });
    const client = await connectRaw(portOf(server), false);
    if (half) client.socket.write("PRI * HT");
    await client.closed;
    using good = new GrpcClient({ address: server.targets[0]! });
    expect(await good.health()).toBe(true);
  });

  test("a client that never shakes hands is cut off", async () => {
    const authority = await createAuthority("authority");
    await using server = await startGrpc({
      tls: { ...(await issue(authority, "server")), clientCa: "", clientVerify: false },
      limits: { ...limits, handshakeTimeoutMs: 20 },
    });
    const closed = Promise.withResolvers<void>();
    connect(portOf(server), "127.0.0.1")
      .on("error", () => {})
      .on("close", () => closed.resolve())
      .resume();
    await closed.promise;
  });

  test("a client that began in time stays", async () => {
    await using server = await startGrpc({ limits: { ...limits, handshakeTimeoutMs: 20 } });
    const client = await connectRaw(portOf(server));
    expect(await answers(client, 1)).toBe(true);
    const silent = await connectRaw(portOf(server), false);
    await silent.closed;
    expect(await answers(client, 3)).toBe(true);
    client.socket.destroy();
  });
});

describe("one connection", () => {
  test("may not cancel calls without end", async () => {
    await using server = await startGrpc({ limits: { ...limits, resetBurst: 50, resetsPerSecond: 1 } });
    const client = await connectRaw(portOf(server));
    const goaway = client.next((type) => type === Frame.goaway);
    const cancel = Buffer.from([0, 0, 0, 8]);
    client.socket.write(
      Buffer.concat(
        Array.from({ length: 200 }, (_, i) => [
          frame(Frame.headers, END_HEADERS, 1 + 2 * i, grpcHeaders(HEALTH)),
          frame(Frame.reset, 0, 1 + 2 * i, cancel),
        ]).flat(),
      ),
    );
    expect(await goaway).toBeDefined();
    await client.closed;
    using good = new GrpcClient({ address: server.targets[0]! });
    expect(await good.health()).toBe(true);
  });

  test("a header list above the limit ends the call, not the connection", async () => {
    await using server = await startGrpc({ limits: { ...limits, maxHeaderBytes: 4096 } });
    const client = await connectRaw(portOf(server));
    const reset = client.next((type, stream) => type === Frame.reset && stream === 1);
    client.socket.write(healthCall(1, { big: "a".repeat(5000) }));
    // ENHANCE_YOUR_CALM
    expect((await reset)?.readUInt32BE(0)).toBe(11);
    expect(await answers(client, 3)).toBe(true);
    client.socket.destroy();
  });

  test("calls above the number of streams are refused, the others go on", async () => {
    await using server = await startGrpc({ channelArguments: "grpc.max_concurrent_streams=2", limits });
    const client = await connectRaw(portOf(server));
    const refused = client.next((type, stream) => type === Frame.reset && stream === 5);
    for (const stream of [1, 3, 5]) {
      client.socket.write(frame(Frame.headers, END_HEADERS, stream, grpcHeaders(HEALTH)));
    }
    // REFUSED_STREAM: 客は安心してやり直せる。
    expect((await refused)?.readUInt32BE(0)).toBe(7);
    const reply = client.next((type, stream) => type === Frame.headers && stream === 3);
    client.socket.write(frame(Frame.data, END_STREAM, 3, Buffer.alloc(5)));
    expect(await reply).toBeDefined();
    client.socket.destroy();
  });

  test.each([
    ["PING", frame(Frame.ping, 0, 0, Buffer.alloc(8))],
    ["SETTINGS", frame(Frame.settings, 0, 0)],
  ])("a flood of %s is cut off", async (_, one) => {
    await using server = await startGrpc({ limits });
    const client = await connectRaw(portOf(server));
    client.socket.write(Buffer.concat(Array.from({ length: 20_000 }, () => one)));
    await client.closed;
    using good = new GrpcClient({ address: server.targets[0]! });
    expect(await good.health()).toBe(true);
  });
});
