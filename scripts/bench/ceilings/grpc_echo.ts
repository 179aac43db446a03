// gRPC の天井: バイト列を読まずに受け、同じ長さの定数を返すだけの grpc-js。
//   bun grpc_echo.ts PORT 応答のファイル
import { readFileSync } from "node:fs";
import { Server, ServerCredentials } from "@grpc/grpc-js";

const [port, file] = process.argv.slice(2);
const answer = readFileSync(file!);
const asIs = (bytes: Buffer): Buffer => bytes;
const server = new Server();
server.addService(
  {
    predict: {
      path: "/tensorflow.serving.PredictionService/Predict",
      requestStream: false,
      responseStream: false,
      requestSerialize: asIs,
      requestDeserialize: asIs,
      responseSerialize: asIs,
      responseDeserialize: asIs,
    },
  },
  { predict: (_: unknown, done: (error: null, bytes: Buffer) => void) => done(null, answer) },
);
server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error) => {
  if (error !== null) throw error;
});
