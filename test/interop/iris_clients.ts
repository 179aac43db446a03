import { GrpcClient } from "../../src/client/grpc_client.ts";
import { RestClient } from "../../src/client/rest_client.ts";
import { tensor } from "../../src/tensor/tensor.ts";

const ROW = [5.1, 3.5, 1.4, 0.2];
const input = new Map([["input", tensor("float", [1, 4], Float32Array.from(ROW))]]);

const bestOf = (row: ArrayLike<number>): number => Array.from(row).indexOf(Math.max(...Array.from(row)));

/** 二つの入口の客。 @param timeoutMs 1 回ごとの期限。 */
export function clientsOf(ports: { readonly port: number; readonly restPort: number }, timeoutMs = 10_000) {
  const rest = new RestClient({ origin: `http://127.0.0.1:${ports.restPort}`, timeoutMs });
  const grpc = new GrpcClient({ address: `127.0.0.1:${ports.port}`, timeoutMs });
  return {
    rest,
    /** 一番もっともらしいクラスの番号。 */
    askRest: async (name = "iris"): Promise<number> =>
      bestOf(((await rest.predict({ name }, { instances: [ROW] })) as number[][])[0]!),
    askGrpc: async (name = "iris"): Promise<number> => {
      const { outputs } = await grpc.predict({ name }, input);
      return bestOf([...outputs.values()][0]!.data as Float32Array);
    },
    close: (): void => grpc[Symbol.dispose](),
  };
}
