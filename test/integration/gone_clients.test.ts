import { describe, expect, test } from "bun:test";
import { connect } from "node:net";
import { create, toBinary } from "@bufbuild/protobuf";
import { systemClock } from "../../src/base/clock.ts";
import { GrpcClient } from "../../src/client/grpc_client.ts";
import { PredictRequestSchema } from "../../src/gen/tensorflow_serving/apis/predict_pb.ts";
import { tensor } from "../../src/tensor/tensor.ts";
import { tensorToProto } from "../../src/tensor/tensor_proto.ts";
import { halfPlusTwo } from "../helpers/fake_models.ts";
import { connectRaw, END_HEADERS, Frame, frame, grpcHeaders } from "../helpers/http2_frames.ts";
import { startGrpc } from "../helpers/start_grpc.ts";
import { startRest } from "../helpers/start_rest.ts";

const MODEL = "/v1/models/half_plus_two";
const BODY = '{"instances":[1]}';

/** 回の終わりを止めておける時計。 */
function stoppedTurns() {
  let held: (() => void)[] = [];
  let isHeld = true;
  let reads = 0;
  const arrived = Promise.withResolvers<void>();
  return {
    clock: {
      ...systemClock,
      // 止めている間は 1 回が長く、届いたものは後に回される。
      monotonicMs: () => systemClock.monotonicMs() + 10 * (isHeld ? reads++ : reads),
      endOfTurn: (callback: () => void) => {
        if (!isHeld) systemClock.endOfTurn(callback);
        else {
          held.push(callback);
          arrived.resolve();
        }
      },
    },
    /** 最初の要求が届いた。 */
    arrived: arrived.promise,
    release: () => {
      isHeld = false;
      for (const callback of held) callback();
      held = [];
    },
  };
}

describe("REST: a client that has gone never reaches the model", () => {
  test.each<[string, (socket: ReturnType<typeof connect>) => void]>([
    ["closes", (socket) => socket.destroy()],
    ["resets", (socket) => socket.resetAndDestroy()],
  ])("when it %s while its request waits", async (_, leave) => {
    const servable = halfPlusTwo();
    const turns = stoppedTurns();
    await using rest = await startRest({ servables: [servable], clock: turns.clock });
    const left = Promise.withResolvers<void>();
    const socket = connect(rest.port, "127.0.0.1", () => {
      socket.write(
        `POST ${MODEL}:predict HTTP/1.1\r\nHost: h\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY}`,
      );
    });
    socket.on("close", () => left.resolve());
    await turns.arrived;
    leave(socket);
    await left.promise;
    // 後から来た別の客に答えが返るころには、サーバーは切断を知っている。
    for (let i = 0; i < 3; i++) expect((await fetch(rest.origin + MODEL)).status).toBe(200);
    turns.release();
    const next = await fetch(`${rest.origin}${MODEL}:predict`, { method: "POST", body: BODY });
    expect(next.status).toBe(200);
    expect(servable.runs).toBe(1);
    expect(rest.models.borrowed).toBe(0);
  });

  test("when it closes in the middle of its body", async () => {
    const servable = halfPlusTwo();
    await using rest = await startRest({ servables: [servable] });
    const left = Promise.withResolvers<void>();
    const socket = connect(rest.port, "127.0.0.1", () => {
      socket.write(`POST ${MODEL}:predict HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{"inst`, () =>
        socket.destroy(),
      );
    });
    socket.on("close", () => left.resolve());
    await left.promise;
    const next = await fetch(`${rest.origin}${MODEL}:predict`, { method: "POST", body: BODY });
    expect(next.status).toBe(200);
    expect(servable.runs).toBe(1);
  });
});

describe("gRPC: a client that has gone never reaches the model", () => {
  const message = toBinary(
    PredictRequestSchema,
    create(PredictRequestSchema, {
      modelSpec: { name: "half_plus_two" },
      inputs: { x: tensorToProto(tensor("float", [1], Float32Array.of(1)), true) },
    }),
  );
  const data = Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]);
  const headers = grpcHeaders("/tensorflow.serving.PredictionService/Predict");
  const cancel = frame(Frame.reset, 0, 1, Buffer.from([0, 0, 0, 8]));

  test.each<[string, Buffer]>([
    ["after the headers", Buffer.concat([frame(Frame.headers, END_HEADERS, 1, headers), cancel])],
    [
      "before the end of the message",
      Buffer.concat([
        frame(Frame.headers, END_HEADERS, 1, headers),
        frame(Frame.data, 0, 1, data.subarray(0, 10)),
        cancel,
      ]),
    ],
  ])("when it cancels %s", async (_, bytes) => {
    const servable = halfPlusTwo();
    await using server = await startGrpc({ servables: [servable] });
    const raw = await connectRaw(Number(server.targets[0]!.split(":")[1]));
    const pong = raw.next((type) => type === Frame.ping);
    raw.socket.write(Buffer.concat([bytes, frame(Frame.ping, 0, 0, Buffer.alloc(8))]));
    await pong;
    using client = new GrpcClient({ address: server.targets[0]! });
    expect(await client.health()).toBe(true);
    expect(servable.runs).toBe(0);
    raw.socket.destroy();
  });
});
