import { constants, type IncomingHttpHeaders, type ServerHttp2Session } from "node:http2";
import { type ConnectionInjector, Server, ServerCredentials } from "@grpc/grpc-js";
import type { Host } from "../base/host.ts";
import { invalidArgument, unauthenticated } from "../base/status.ts";
import { Health as HealthService } from "../gen/grpc/health/v1/health_pb.ts";
import type { AccessLog } from "../service/access_log.ts";
import { Admission } from "../service/admission.ts";
import type { Door } from "../service/door.ts";
import type { Health } from "../service/health.ts";
import type { ModelService } from "../service/model_service.ts";
import type { PredictionService } from "../service/prediction_service.ts";
import type { ServerTls } from "../service/server_tls.ts";
import { type ChannelArguments, hasOwnLimits } from "./channel_arguments.ts";
import { answerDirectly, type DirectUnary } from "./direct_unary.ts";
import { type GrpcStatus, toGrpcStatus } from "./grpc_status.ts";
import { healthRpcs } from "./health_rpc.ts";
import {
  type ConnectionLimits,
  dropSilent,
  limitConnections,
  openSessions,
  screenCalls,
} from "./http2_internals.ts";
import { type GrpcAddress, Listener } from "./listener.ts";
import { modelRpcs } from "./model_rpc.ts";
import { predictionRpcs } from "./prediction_rpc.ts";
import { reflectionRpcs } from "./reflection_rpc.ts";
import { traceStream } from "./trace_stream.ts";

export interface GrpcDoorOptions {
  /** TCP と UNIX ソケットの一方か両方。 */
  readonly addresses: readonly GrpcAddress[];
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
  /** 接続の数と使い方の限り。無ければライブラリーの既定。 */
  readonly limits?: GrpcLimits;
  /** `authorization` の値を許すか。無ければ誰でも許す。健全性の問い合わせには聞かない。 */
  readonly authorize?: (authorization: string | null) => boolean;
}

export interface GrpcLimits extends ConnectionLimits {
  /** 同時に開いている接続の数。0 は無制限。 */
  readonly maxConnections: number;
  /** つながってから HTTP/2 を話し始めるまで(TLS の握手を含む)。 */
  readonly handshakeTimeoutMs: number;
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
    const { limits } = options;
    if (limits !== undefined) limitConnections(this.#server, limits);
    // TLS は待ち受けの側で終わっているので、ここに届くのは平文の流れだけ。
    this.#injector = this.#server.createConnectionInjector(ServerCredentials.createInsecure());
    const admission = options.admission ?? new Admission(host, { maxInFlight: 0, maxQueueDelayMs: 0 });
    const direct = new Map<string, DirectUnary>();
    screenCalls(
      this.#server,
      (headers) => this.#refuse(headers, admission),
      (stream, headers) => {
        if (options.accessLog !== undefined) traceStream(stream, headers, options.accessLog);
        return answerDirectly(stream, headers, direct, host.clock);
      },
    );
    if (limits !== undefined) dropSilent(this.#server, host.clock, limits.handshakeTimeoutMs);
    const closing = this.#closing.signal;
    const rpcs = [
      ...predictionRpcs(host, services.prediction, { ...options, admission }),
      ...modelRpcs(host, services.model),
      ...(options.healthCheck ? healthRpcs(host, services.health, closing) : []),
    ];
    const described = rpcs.map(({ service }) => service);
    for (const rpc of [...rpcs, ...reflectionRpcs(described, closing)]) rpc.register(this.#server);
    // 大きさの限りや休んだ接続の片付けを頼まれたら、それを知っている grpc-js に任せる。
    if (!hasOwnLimits(options.channelArguments)) {
      for (const { direct: one } of rpcs) if (one !== undefined) direct.set(one.path, one);
    }
  }

  /** @throws INVALID_ARGUMENT `Failed to BuildAndStart gRPC server`(宛先が使えない)。 */
  async start(): Promise<readonly string[]> {
    const { addresses, tls, limits } = this.#options;
    const accept = this.#injector.injectConnection.bind(this.#injector);
    this.#listeners = addresses.map((address) => new Listener(address, tls, accept, limits));
    try {
      return await Promise.all(this.#listeners.map((listener) => listener.listen()));
    } catch (thrown) {
      for (const listener of this.#listeners) listener.close();
      throw invalidArgument("Failed to BuildAndStart gRPC server", thrown);
    }
  }

  #refuse(headers: IncomingHttpHeaders, admission: Admission): GrpcStatus | undefined {
    // 見張りは、混んでいるときにも、鍵を持たなくても聞ける。
    if (headers[":path"]?.startsWith(HEALTH_PATH)) return undefined;
    const { authorize } = this.#options;
    if (authorize !== undefined && !authorize(headers.authorization ?? null)) {
      return toGrpcStatus(unauthenticated("Missing or invalid bearer token"));
    }
    const refusal = admission.refusal();
    if (refusal !== undefined) return toGrpcStatus(refusal);
    admission.arrive();
    return undefined;
  }

  /** これから来る接続の証明書を差し替える。 */
  replaceCertificate(tls: ServerTls): void {
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
    // 始まっている呼び出しが終わるのを待つ。grpc-js の tryShutdown には任せない。Bun の HTTP/2 サーバーは
    // 閉じ始めた時点で接続を「閉じた」とするので、呼び出しの終わりを待たずに済んだことになる。
    const drained = Promise.all(openSessions(this.#server).map(closeWhenDone));
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

/** 開いている流れがすべて終わってから閉じる。 */
function closeWhenDone(session: ServerHttp2Session): Promise<void> {
  return new Promise((resolve) => session.close(resolve));
}

const HEALTH_PATH = `/${HealthService.typeName}/`;

/** まだどの流れも断らない GOAWAY に書く番号。 @see https://www.rfc-editor.org/rfc/rfc9113#section-6.8 */
const LAST_STREAM_ID = 2 ** 31 - 1;
