import type { Host } from "../base/host.ts";
import { invalidArgument, type StatusError, unauthenticated } from "../base/status.ts";
import { limitLifetime } from "../http2/connection_lifetime.ts";
import { Http2Connection, type Http2Limits } from "../http2/http2_connection.ts";
import type { Http2Stream, StreamHandler } from "../http2/http2_stream.ts";
import type { AccessLog } from "../service/access_log.ts";
import { Admission } from "../service/admission.ts";
import type { Door } from "../service/door.ts";
import type { Health } from "../service/health.ts";
import type { ModelService } from "../service/model_service.ts";
import type { PredictionService } from "../service/prediction_service.ts";
import type { ServerTls } from "../service/server_tls.ts";
import { WorkQueue } from "../service/work_queue.ts";
import { type Address, Listener } from "../sockets/listener.ts";
import type { Transport } from "../sockets/transport.ts";
import type { ChannelArguments } from "./channel_arguments.ts";
import { type CallEnvironment, openCall, refuseOther } from "./grpc_call.ts";
import { isGrpc } from "./grpc_headers.ts";
import { healthRpcs } from "./health_rpc.ts";
import { modelRpcs } from "./model_rpc.ts";
import { predictionRpcs } from "./prediction_rpc.ts";
import { reflectionRpcs } from "./reflection_rpc.ts";
import type { Rpc } from "./service_definition.ts";

export interface GrpcDoorOptions {
  /** TCP と UNIX ソケットの一方か両方。 */
  readonly addresses: readonly Address[];
  /** あれば、どの宛先でも TLS を話す。 */
  readonly tls?: ServerTls;
  readonly channelArguments: ChannelArguments;
  /** `--enable_grpc_healthcheck_service` */
  readonly healthCheck: boolean;
  /** `--enable_serialization_as_tensor_content` */
  readonly tensorContent: boolean;
  /** 要求の記録。無ければ記録せず、客の番号も返さない。 */
  readonly accessLog?: AccessLog;
  /** 混んだときの断り方。無ければ断らない。 */
  readonly admission?: Admission;
  /** 接続の数と使い方の限り。無ければ {@link defaultLimits}。 */
  readonly limits?: GrpcLimits;
  /** `authorization` の値を許すか。無ければ誰でも許す。健全性の問い合わせには聞かない。 */
  readonly authorize?: (authorization: string | null) => boolean;
}

export interface GrpcLimits extends Omit<Http2Limits, "maxConcurrentStreams"> {
  /** 同時に開いている接続の数。0 は無制限。 */
  readonly maxConnections: number;
}

export interface GrpcServices {
  readonly prediction: PredictionService;
  readonly model: ModelService;
  readonly health: Health;
}

const defaultLimits: GrpcLimits = {
  maxConnections: 0,
  handshakeTimeoutMs: 0,
  maxHeaderBytes: 16_384,
  resetBurst: 1000,
  resetsPerSecond: 200,
};

/** gRPC の入口。 */
export class GrpcDoor implements Door {
  readonly name = "gRPC";
  readonly #host: Host;
  readonly #options: GrpcDoorOptions;
  readonly #limits: GrpcLimits & Http2Limits;
  readonly #admission: Admission;
  readonly #createRpcs: () => ReadonlyMap<string, Rpc>;
  #rpcs: ReadonlyMap<string, Rpc> | undefined;
  readonly #environment: CallEnvironment;
  readonly #connections = new Set<Http2Connection>();
  #listeners: readonly Listener[] = [];

  constructor(host: Host, services: GrpcServices, options: GrpcDoorOptions) {
    const { channelArguments, limits = defaultLimits } = options;
    this.#host = host;
    this.#options = options;
    this.#limits = { ...limits, maxConcurrentStreams: channelArguments.maxConcurrentStreams };
    this.#admission = options.admission ?? new Admission(host, { maxInFlight: 0, maxQueueDelayMs: 0 });
    const queue = new WorkQueue(host.clock, this.#admission);
    this.#createRpcs = () => {
      const rpcs = [
        ...predictionRpcs(host, services.prediction, {
          tensorContent: options.tensorContent,
          whenIdle: (callback) => queue.whenEmpty(callback),
        }),
        ...modelRpcs(host, services.model),
        ...(options.healthCheck ? healthRpcs(services.health) : []),
      ];
      const described = rpcs.map(({ service }) => service);
      return new Map([...rpcs, ...reflectionRpcs(described)].map((rpc) => [rpc.path, rpc]));
    };
    this.#environment = {
      clock: host.clock,
      queue,
      accessLog: options.accessLog,
      maxReceiveBytes: channelArguments.maxReceiveBytes,
      maxSendBytes: channelArguments.maxSendBytes,
      streaming: new Set(),
    };
  }

  /** @throws INVALID_ARGUMENT `Failed to BuildAndStart gRPC server`(宛先が使えない)。 */
  async start(): Promise<readonly string[]> {
    const { addresses, tls } = this.#options;
    const { maxConnections, handshakeTimeoutMs } = this.#limits;
    this.#listeners = addresses.map(
      (address) =>
        new Listener({ address, tls, protocol: "h2", maxConnections, handshakeTimeoutMs }, (transport) =>
          this.#connect(transport),
        ),
    );
    try {
      return await Promise.all(this.#listeners.map((listener) => listener.listen()));
    } catch (thrown) {
      for (const listener of this.#listeners) listener.close();
      throw invalidArgument("Failed to BuildAndStart gRPC server", thrown);
    }
  }

  #connect(transport: Transport): Http2Connection {
    const { clock } = this.#host;
    const connection = new Http2Connection(transport, clock, this.#limits, this.#accept);
    this.#connections.add(connection);
    void connection.whenClosed.then(() => this.#connections.delete(connection));
    limitLifetime(connection, clock, this.#options.channelArguments.lifetime, Math.random);
    return connection;
  }

  readonly #accept = (stream: Http2Stream): StreamHandler => {
    const { headers } = stream;
    if (!isGrpc(headers)) return refuseOther(stream);
    // 見張りは、混んでいるときにも、鍵を持たなくても聞ける。
    const refusal = headers.path.startsWith(HEALTH_PATH)
      ? undefined
      : this.#refuse(headers.get("authorization") ?? null);
    // サービスの記述は、初めて呼ばれるまで解かない。
    this.#rpcs ??= this.#createRpcs();
    return openCall(stream, this.#rpcs.get(headers.path), this.#environment, refusal);
  };

  #refuse(authorization: string | null): StatusError | undefined {
    const { authorize } = this.#options;
    if (authorize !== undefined && !authorize(authorization)) {
      return unauthenticated("Missing or invalid bearer token");
    }
    return this.#admission.refusal();
  }

  /** これから来る接続の証明書を差し替える。 */
  replaceCertificate(tls: ServerTls): void {
    for (const listener of this.#listeners) listener.replaceCertificate(tls);
  }

  async stop(graceMs: number): Promise<void> {
    for (const listener of this.#listeners) listener.close();
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

const HEALTH_PATH = "/grpc.health.v1.Health/";
