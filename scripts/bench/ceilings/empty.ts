// 起動の天井: 何も提供しない Elysia と grpc-js。要求 1 件に答えたら、それが「起動した」。
//   empty REST の番号 gRPC の番号
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { Elysia } from "elysia";

const [rest, grpc] = process.argv.slice(2);
new Elysia()
  .post("/v1/models/*", () => ({ predictions: [[1, 0, 0]] }))
  .listen({ hostname: "127.0.0.1", port: Number(rest) });
new Server().bindAsync(`127.0.0.1:${grpc}`, ServerCredentials.createInsecure(), (error) => {
  if (error !== null) throw error;
});
