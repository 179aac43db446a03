import type { Host } from "../base/host.ts";
import { type StatusError, unauthenticated } from "../base/status.ts";
import { limitLifetime } from "../http2/connection_lifetime.ts";
import { Http2Connection, type Http2Limits } from "../http2/http2_connection.ts";
import type { Http2Stream, StreamHandler } from "../http2/http2_stream.ts";
import type { Admission } from "../service/admission.ts";
import { WorkQueue } from "../service/work_queue.ts";
import type { Accept } from "../sockets/transport.ts";
import { type CallEnvironment, openCall, refuseOther } from "./grpc_call.ts";
import type { GrpcDoorOptions, GrpcServices } from "./grpc_door.ts";
import { isGrpc } from "./grpc_headers.ts";
import { healthRpcs } from "./health_rpc.ts";
import { modelRpcs } from "./model_rpc.ts";
import { predictionRpcs } from "./prediction_rpc.ts";
import { reflectionRpcs } from "./reflection_rpc.ts";
import type { Rpc } from "./service_definition.ts";

const HEALTH_PATH = "/grpc.health.v1.Health/";

/** gRPC の入口のうち、つながった後のこと。初めての接続で読み込まれる。 */
export class GrpcEngine {
  readonly #host: Host;
  readonly #options: GrpcDoorOptions;
  readonly #limits: Http2Limits;
  readonly #admission: Admission;
  readonly #rpcs: ReadonlyMap<string, Rpc>;
  readonly #environment: CallEnvironment;
  readonly #connections = new Set<Http2Connection>();

  constructor(
    host: Host,
    services: GrpcServices,
    options: GrpcDoorOptions,
    limits: Http2Limits,
    admission: Admission,
  ) {
    const { channelArguments } = options;
    this.#host = host;
    this.#options = options;
    this.#limits = limits;
    this.#admission = admission;
    const queue = new WorkQueue(host.clock, admission);
    const rpcs = [
      ...predictionRpcs(host, services.prediction, {
        tensorContent: options.tensorContent,
        whenIdle: (callback) => queue.whenEmpty(callback),
      }),
      ...modelRpcs(host, services.model),
      ...(options.healthCheck ? healthRpcs(services.health) : []),
    ];
    const described = rpcs.map(({ service }) => service);
    this.#rpcs = new Map([...rpcs, ...reflectionRpcs(described)].map((rpc) => [rpc.path, rpc]));
    this.#environment = {
      clock: host.clock,
      queue,
      accessLog: options.accessLog,
      maxReceiveBytes: channelArguments.maxReceiveBytes,
      maxSendBytes: channelArguments.maxSendBytes,
      streaming: new Set(),
    };
  }

  readonly accept: Accept = (transport) => {
    const { clock } = this.#host;
    const connection = new Http2Connection(transport, clock, this.#limits, this.#open);
    this.#connections.add(connection);
    void connection.whenClosed.then(() => this.#connections.delete(connection));
    limitLifetime(connection, clock, this.#options.channelArguments.lifetime, Math.random);
    return connection;
  };

  readonly #open = (stream: Http2Stream): StreamHandler => {
    const { headers } = stream;
    if (!isGrpc(headers)) return refuseOther(stream);
    // 見張りは、混んでいるときにも、鍵を持たなくても聞ける。
    const refusal = headers.path.startsWith(HEALTH_PATH)
      ? undefined
      : this.#refuse(headers.get("authorization") ?? null);
    return openCall(stream, this.#rpcs.get(headers.path), this.#environment, refusal);
  };

  #refuse(authorization: string | null): StatusError | undefined {
    const { authorize } = this.#options;
    if (authorize !== undefined && !authorize(authorization)) {
      return unauthenticated("Missing or invalid bearer token");
    }
    return this.#admission.refusal();
  }

  async stop(graceMs: number): Promise<void> {
    const expired = Promise.withResolvers<void>();
    const cancel = this.#host.clock.after(graceMs, expired.resolve);
    // 「もう新しい呼び出しは来ないで」と伝え、全員が聞いたことを確かめる。ただ閉じると、行き違いに
    // 送られた呼び出しが接続の切断で失敗するため。往復を終えた客は、次から別の接続を使う。
    await Promise.race([this.#forEach((connection) => connection.announce()), expired.promise]);
    // 終わりの無い流れ(健全性の見張りなど)は、待っても終わらない。
    for (const call of [...this.#environment.streaming]) call.shutDown();
    await Promise.race([this.#forEach((connection) => connection.closeWhenDone()), expired.promise]);
    cancel();
    for (const connection of [...this.#connections]) connection.destroy();
  }

  #forEach(work: (connection: Http2Connection) => Promise<void>): Promise<unknown> {
    return Promise.all(Array.from(this.#connections, work));
  }
}
