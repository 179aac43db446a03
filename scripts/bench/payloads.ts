// 要求の中身。どの相手にも同じ花を送る。
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { Client, credentials } from "@grpc/grpc-js";
import { PredictRequestSchema } from "../../src/gen/tensorflow_serving/apis/predict_pb.ts";
import { root } from "../steps.ts";

export const PREDICT = "/tensorflow.serving.PredictionService/Predict";

/** model/iris.csv の花を繰り返した `rows` 行。 */
export function flowers(rows: number): number[][] {
  const lines = readFileSync(join(root, "model", "iris.csv"), "utf8")
    .trim()
    .split("\n")
    .slice(1);
  return Array.from({ length: rows }, (_, i) => lines[i % lines.length]!.split(",").slice(0, 4).map(Number));
}

/** gRPC の 1 通。圧縮なしの印と長さの前置きが付く。 */
function frame(message: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(5 + message.length);
  new DataView(bytes.buffer).setUint32(1, message.length);
  bytes.set(message, 5);
  return bytes;
}

/** @param packed 値を tensor_content に置くか。 */
export function predictFrame(rows: readonly number[][], packed: boolean): Uint8Array {
  const values = Float32Array.from(rows.flat());
  return frame(
    toBinary(
      PredictRequestSchema,
      create(PredictRequestSchema, {
        modelSpec: { name: "iris" },
        inputs: {
          input: {
            dtype: 1,
            tensorShape: { dim: [{ size: BigInt(rows.length) }, { size: 4n }] },
            ...(packed ? { tensorContent: new Uint8Array(values.buffer) } : { floatVal: [...values] }),
          },
        },
      }),
    ),
  );
}

/** 応答のバイト列をそのまま受け取る。 @throws 失敗した呼び出し。 */
export function callRaw(address: string, path: string, request: Uint8Array): Promise<Buffer> {
  const client = new Client(address, credentials.createInsecure(), { "grpc.max_receive_message_length": -1 });
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  client.makeUnaryRequest(
    path,
    (bytes: Buffer) => bytes,
    (bytes) => bytes,
    Buffer.from(request.subarray(5)),
    { deadline: Date.now() + 5000 },
    (error, answer) => (error === null ? resolve(answer!) : reject(error)),
  );
  return promise.finally(() => client.close());
}
