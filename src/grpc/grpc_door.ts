import { constants } from "node:http2";
import { type ConnectionInjector, Server, ServerCredentials } from "@grpc/grpc-js";
import type { Host } from "../base/host.ts";
import { invalidArgument } from "../base/status.ts";
import type { Door } from "../service/door.ts";
import type { Health } from "../service/health.ts";
import type { ModelService } from "../service/model_service.ts";
import type { PredictionService } from "../service/prediction_service.ts";
import type { ChannelArguments } from "./channel_arguments.ts";
import { healthRpcs } from "./health_rpc.ts";
import { openSessions, sanitizeTimeouts } from "./http2_internals.ts";
import { type GrpcAddress, type GrpcTls, Listener } from "./listener.ts";
import { modelRpcs } from "./model_rpc.ts";
import { predictionRpcs } from "./prediction_rpc.ts";
import { reflectionRpcs } from "./reflection_rpc.ts";

export interface GrpcDoorOptions {
  /** TCP と UNIX ソケットの一方か両方。 */
  readonly addresses: readonly GrpcAddress[];
  /** あれば、どの宛先でも TLS を話す。 */
  readonly tls?: GrpcTls;
  readonly channelArguments: ChannelArguments;
  /** `--enable_grpc_healthcheck_service` */
  readonly healthCheck: boolean;
  /** `--enable_serialization_as_tensor_content` */
  readonly tensorContent: boolean;
}

export interface GrpcServices {
  readonly prediction: PredictionService;
  readonly model: ModelService;
  readonly health: Health;
}

/** gRPC の入口。 */
export class GrpcDoor implements Door {
  readonly name = "gRPC";
  readonly #host: Host;
  readonly #options: GrpcDoorOptions;
  readonly #server: Server;
  readonly #injector: ConnectionInjector;
  readonly #closing = new AbortController();
  #listeners: readonly Listener[] = [];

  constructor(host: Host, services: GrpcServices, options: GrpcDoorOptions) {
    this.#host = host;
    this.#options = options;
    this.#server = new Server(options.channelArguments.serverOptions);
    // TLS は待ち受けの側で終わっているので、ここに届くのは平文の流れだけ。
    this.#injector = this.#server.createConnectionInjector(ServerCredentials.createInsecure());
    sanitizeTimeouts(this.#server);
    const closing = this.#closing.signal;
    const rpcs = [
      ...predictionRpcs(host, services.prediction, options),
      ...modelRpcs(host, services.model),
      ...(options.healthCheck ? healthRpcs(host, services.health, closing) : []),
    ];
    const described = rpcs.map(({ service }) => service);
    for (const rpc of [...rpcs, ...reflectionRpcs(described, closing)]) rpc.register(this.#server);
  }

  /** @throws INVALID_ARGUMENT `Failed to BuildAndStart gRPC server`(宛先が使えない)。 */
  async start(): Promise<readonly string[]> {
    const { addresses, tls } = this.#options;
    const accept = this.#injector.injectConnection.bind(this.#injector);
    this.#listeners = addresses.map((address) => new Listener(address, tls, accept));
    try {
      return await Promise.all(this.#listeners.map((listener) => listener.listen()));
    } catch (thrown) {
      for (const listener of this.#listeners) listener.close();
      throw invalidArgument("Failed to BuildAndStart gRPC server", thrown);
    }
  }

  /** これから来る接続の証明書を差し替える。 */
  replaceCertificate(tls: GrpcTls): void {
    for (const listener of this.#listeners) listener.replaceCertificate(tls);
  }

  async stop(graceMs: number): Promise<void> {
    const { clock } = this.#host;
    for (const listener of this.#listeners) listener.close();
    const expired = Promise.withResolvers<void>();
    const cancel = clock.after(graceMs, expired.resolve);
    await Promise.race([this.#announce(), expired.promise]);
    // 終わりの無い流れ(健全性の見張りなど)は、待っても終わらない。
    this.#closing.abort();
    // 始まっている呼び出しが終わるのを待つ。
    const drained = new Promise<void>((resolve) => this.#server.tryShutdown(() => resolve()));
    await Promise.race([drained, expired.promise]);
    cancel();
    this.#injector.drain(0);
    this.#server.forceShutdown();
  }

  /**
   * 「もう新しい呼び出しは来ないで」と伝え、全員が聞いたことを確かめる。ただ閉じると、行き違いに
   * 送られた呼び出しが接続の切断で失敗するため。往復を終えた客は、次から別の接続を使う。
   */
  async #announce(): Promise<void> {
    await Promise.all(
      openSessions(this.#server).map(
        (session) =>
          new Promise<void>((resolve) => {
            session.once("close", () => resolve());
            session.goaway(constants.NGHTTP2_NO_ERROR, LAST_STREAM_ID);
            session.ping(() => resolve());
          }),
      ),
    );
  }
}

/** まだどの流れも断らない GOAWAY に書く番号。 @see https://www.rfc-editor.org/rfc/rfc9113#section-6.8 */
const LAST_STREAM_ID = 2 ** 31 - 1;
