import type { GrpcClient, GrpcClientOptions } from "../client/grpc_client.ts";
import type { RestClient, RestClientOptions } from "../client/rest_client.ts";

// 客の寄り掛かるもの(grpc-js、JSON の読み手)は重いので、聞くときに読み込む。

export async function openGrpc(options: GrpcClientOptions): Promise<GrpcClient> {
  return new (await import("../client/grpc_client.ts")).GrpcClient(options);
}

export async function openRest(options: RestClientOptions): Promise<RestClient> {
  return new (await import("../client/rest_client.ts")).RestClient(options);
}
