import { expect, test } from "bun:test";
import { connect } from "node:net";
import { create, toBinary } from "@bufbuild/protobuf";
import { PredictRequestSchema } from "../../src/gen/tensorflow_serving/apis/predict_pb.ts";
import { tensor } from "../../src/tensor/tensor.ts";
import { tensorToProto } from "../../src/tensor/tensor_proto.ts";
import { halfPlusTwo } from "../helpers/fake_models.ts";
import { connectRaw, END_HEADERS, END_STREAM, Frame, frame, grpcHeaders } from "../helpers/http2_frames.ts";
import { startGrpc } from "../helpers/start_grpc.ts";

const message = toBinary(
  PredictRequestSchema,
  create(PredictRequestSchema, {
    modelSpec: { name: "half_plus_two" },
    inputs: { x: tensorToProto(tensor("float", [1], Float32Array.of(1)), true) },
  }),
);
const predict = (stream: number): Buffer =>
  Buffer.concat([
    frame(Frame.headers, END_HEADERS, stream, grpcHeaders("/tensorflow.serving.PredictionService/Predict")),
    frame(
      Frame.data,
      END_STREAM,
      stream,
      Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]),
    ),
  ]);

test("stop() sends GOAWAY to everyone, serves what crosses it, finishes what is in flight, then closes", async () => {
  const servable = halfPlusTwo();
  const entered = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  const { prepare } = servable;
  servable.prepare = (feeds, fetches) => {
    const run = prepare.call(servable, feeds, fetches);
    return {
      ...run,
      run: async (inputs, context) => {
        entered.resolve();
        await gate.promise;
        return run.run(inputs, context);
      },
    };
  };
  const server = await startGrpc({ servables: [servable] });
  const port = Number(server.targets[0]!.split(":")[1]);
  const [busy, idle] = [await connectRaw(port), await connectRaw(port)];
  const greeted = idle.next((type) => type === Frame.ping);
  idle.socket.write(frame(Frame.ping, 0, 0, Buffer.alloc(8)));
  await greeted;
  busy.socket.write(predict(1));
  await entered.promise;

  const goaways = [busy, idle].map((client) => client.next((type) => type === Frame.goaway));
  const answered = [1, 3].map((stream) => busy.next((type, id) => type === Frame.data && id === stream));
  let isStopped = false;
  const stopped = server.door.stop(60_000).finally(() => {
    isStopped = true;
  });
  for (const goaway of goaways) {
    const payload = await goaway;
    // 最後の流れの番号は「まだどれも断らない」、理由は NO_ERROR。
    expect(payload?.readUInt32BE(0)).toBe(2 ** 31 - 1);
    expect(payload?.readUInt32BE(4)).toBe(0);
  }
  // GOAWAY と行き違いになった呼び出し。
  busy.socket.write(predict(3));
  const refused = Promise.withResolvers<string>();
  connect(port, "127.0.0.1")
    .on("error", (error) => refused.resolve(Reflect.get(error, "code")))
    .on("connect", () => refused.resolve("connected"));
  expect(await refused.promise).toBe("ECONNREFUSED");
  expect(isStopped).toBe(false);
  gate.resolve();
  for (const answer of answered) expect(await answer).toBeDefined();
  await stopped;
  await Promise.all([busy.closed, idle.closed]);
  expect(servable.runs).toBe(2);
  expect(server.models.borrowed).toBe(0);
});
