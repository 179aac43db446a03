// TF Serving に訊いて録る側(scripts/upstream_answers.ts)と、同じことを自分に訊いて比べる側とが使う。
import { connect } from "node:net";
import { type DescMethod, toBinary } from "@bufbuild/protobuf";
import { Client, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { parseTextProto } from "../../src/base/text_proto.ts";
import { ModelService } from "../../src/gen/tensorflow_serving/apis/model_service_pb.ts";
import { PredictionService } from "../../src/gen/tensorflow_serving/apis/prediction_service_pb.ts";

export interface RestRequest {
  readonly method: string;
  readonly target: string;
  readonly body?: string;
}
export interface RestAnswer {
  readonly status: number;
  readonly type: string;
  readonly text: string;
}

export interface RpcRequest {
  readonly rpc: string;
  /** 要求のテキスト形式。 */
  readonly text: string;
}
export interface RpcAnswer {
  readonly code: number;
  readonly details: string;
  /** 応答の base64。失敗なら空。 */
  readonly message: string;
}

/** test/fixtures/upstream/answers.json の形。1 行が 1 つの質問と答え。 */
export interface UpstreamAnswers {
  readonly rest: readonly (readonly [
    method: string,
    target: string,
    body: string | null,
    status: number,
    type: string,
    text: string,
  ])[];
  readonly rpc: readonly (readonly [
    rpc: string,
    text: string,
    code: number,
    details: string,
    message: string,
  ])[];
}

/** `fetch` は target を整えてしまうので、書いたままを送る。 */
export function askRest(port: number, { method, target, body = "" }: RestRequest): Promise<RestAnswer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = connect(port, "127.0.0.1", () =>
      socket.write(
        `${method} ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n` +
          `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
      ),
    );
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    socket.on("error", reject);
    socket.on("end", () => {
      socket.end();
      const answer = Buffer.concat(chunks).toString();
      const end = answer.indexOf("\r\n\r\n");
      const head = answer.slice(0, end);
      resolve({
        status: Number(head.slice(9, 12)),
        type: /^content-type: (.*)$/im.exec(head)?.[1]?.trim() ?? "",
        text: answer.slice(end + 4),
      });
    });
  });
}

const methods: ReadonlyMap<string, DescMethod> = new Map(
  [...PredictionService.methods, ...ModelService.methods].map((method) => [method.name, method]),
);

export function methodOf(rpc: string): DescMethod {
  const method = methods.get(rpc);
  if (method === undefined) throw new Error(`no method ${rpc}`);
  return method;
}

export class RpcDoor implements Disposable {
  readonly #client: Client;

  constructor(target: string) {
    this.#client = new Client(target, credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1 });
  }

  ask({ rpc, text }: RpcRequest): Promise<RpcAnswer> {
    const method = methodOf(rpc);
    return new Promise((resolve) => {
      this.#client.makeUnaryRequest(
        `/${method.parent.typeName}/${method.name}`,
        (value: Uint8Array) => Buffer.from(value),
        (value) => value,
        toBinary(method.input, parseTextProto(method.input, text)),
        new Metadata(),
        { deadline: Date.now() + 60_000 },
        (error: ServiceError | null, value?: Buffer) =>
          resolve({
            code: error?.code ?? 0,
            details: error?.details ?? "",
            message: value?.toString("base64") ?? "",
          }),
      );
    });
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}
