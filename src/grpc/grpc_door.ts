import type { Host } from "../base/host.ts";
import { invalidArgument } from "../base/status.ts";
import type { Http2Limits } from "../http2/http2_connection.ts";
import type { AccessLog } from "../service/access_log.ts";
import { Admission } from "../service/admission.ts";
import type { Door } from "../service/door.ts";
import type { Health } from "../service/health.ts";
import type { ModelService } from "../service/model_service.ts";
import type { PredictionService } from "../service/prediction_service.ts";
import type { ServerTls } from "../service/server_tls.ts";
import { lateAccept } from "../sockets/late_accept.ts";
import { type Address, Listener } from "../sockets/listener.ts";
import type { Accept } from "../sockets/transport.ts";
import type { ChannelArguments } from "./channel_arguments.ts";
import type { GrpcEngine } from "./grpc_engine.ts";

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

/** gRPC の入口。HTTP/2 と呼び出しを扱う部分は、初めての接続で読み込む。 */
export class GrpcDoor implements Door {
  readonly name = "gRPC";
  readonly #host: Host;
  readonly #options: GrpcDoorOptions;
  readonly #services: GrpcServices;
  #engine: Promise<GrpcEngine> | undefined;
  #listeners: readonly Listener[] = [];

  constructor(host: Host, services: GrpcServices, options: GrpcDoorOptions) {
    this.#host = host;
    this.#options = options;
    this.#services = services;
  }

  /** @throws INVALID_ARGUMENT `Failed to BuildAndStart gRPC server`(宛先が使えない)。 */
  async start(): Promise<readonly string[]> {
    const { addresses, tls, limits = defaultLimits } = this.#options;
    const { maxConnections, handshakeTimeoutMs } = limits;
    const accept = lateAccept(
      () => this.#open(),
      (error) => this.#host.log.error("the gRPC server cannot be loaded", { error }),
    );
    this.#listeners = addresses.map(
      (address) => new Listener({ address, tls, protocol: "h2", maxConnections, handshakeTimeoutMs }, accept),
    );
    try {
      return await Promise.all(this.#listeners.map((listener) => listener.listen()));
    } catch (thrown) {
      for (const listener of this.#listeners) listener.close();
      throw invalidArgument("Failed to BuildAndStart gRPC server", thrown);
    }
  }

  async #open(): Promise<Accept> {
    this.#engine ??= this.#load();
    return (await this.#engine).accept;
  }

  async #load(): Promise<GrpcEngine> {
    const { GrpcEngine: Engine } = await import("./grpc_engine.ts");
    const { channelArguments, limits = defaultLimits, admission } = this.#options;
    return new Engine(
      this.#host,
      this.#services,
      this.#options,
      { ...limits, maxConcurrentStreams: channelArguments.maxConcurrentStreams },
      admission ?? new Admission(this.#host, { maxInFlight: 0, maxQueueDelayMs: 0 }),
    );
  }

  /** これから来る接続の証明書を差し替える。 */
  replaceCertificate(tls: ServerTls): void {
    for (const listener of this.#listeners) listener.replaceCertificate(tls);
  }

  async stop(graceMs: number): Promise<void> {
    for (const listener of this.#listeners) listener.close();
    await (await this.#engine)?.stop(graceMs);
  }
}
