import {
  create,
  type DescMessage,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { Client, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { unpackAny } from "../base/any.ts";
import { type Code, internal, StatusError } from "../base/status.ts";
import {
  Health,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from "../gen/grpc/health/v1/health_pb.ts";
import { SignatureDefMapSchema } from "../gen/tensorflow_serving/apis/get_model_metadata_pb.ts";
import {
  type GetModelStatusResponse,
  ModelVersionStatus_State as State,
} from "../gen/tensorflow_serving/apis/get_model_status_pb.ts";
import type { ModelSpecSchema } from "../gen/tensorflow_serving/apis/model_pb.ts";
import { ModelService } from "../gen/tensorflow_serving/apis/model_service_pb.ts";
import { PredictionService } from "../gen/tensorflow_serving/apis/prediction_service_pb.ts";
import type { Signature } from "../tensor/signature.ts";
import { signatureFromProto } from "../tensor/signature_proto.ts";
import type { TensorMap } from "../tensor/tensor.ts";
import { tensorFromProto, tensorToProto } from "../tensor/tensor_proto.ts";

/** TLS の材料(PEM の文字列)。 */
export interface ClientTls {
  /** サーバーを確かめる根。無ければシステムの根。 */
  readonly rootCerts?: string;
  /** 客の証明書とその鍵。 */
  readonly cert?: string;
  readonly key?: string;
}

export interface GrpcClientOptions {
  /** `host:port` か `unix:<path>`。 */
  readonly address: string;
  /** 無ければ平文。 */
  readonly tls?: ClientTls;
  /** 呼び出しごとの期限の既定。 */
  readonly timeoutMs?: number;
  /** すべての呼び出しに付ける見出し(`Authorization` など)。 */
  readonly headers?: Readonly<Record<string, string>>;
}

export interface CallOptions {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** どのモデルか。版とラベルは高々一方。 */
export interface ModelRef {
  readonly name: string;
  readonly version?: bigint;
  readonly label?: string;
  readonly signatureName?: string;
}

/** 答えたモデル。 */
export interface AnsweredModel {
  readonly name: string;
  readonly version: bigint;
  readonly signatureName: string;
}

export interface PredictAnswer {
  readonly model: AnsweredModel;
  readonly outputs: TensorMap;
}

export interface MetadataAnswer {
  readonly model: AnsweredModel;
  readonly signatures: ReadonlyMap<string, Signature>;
}

export interface VersionStatus {
  readonly version: bigint;
  /** `AVAILABLE` など。 */
  readonly state: string;
  readonly code: Code;
  readonly message: string;
}

const DEFAULT_TIMEOUT_MS = 30_000;
const UNLIMITED = { "grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1 };

function toModelSpec({
  name,
  version,
  label,
  signatureName,
}: ModelRef): MessageInitShape<typeof ModelSpecSchema> {
  const common = { name, signatureName: signatureName ?? "" };
  if (version !== undefined) {
    return { ...common, versionChoice: { case: "version", value: { value: version } } };
  }
  if (label !== undefined) return { ...common, versionChoice: { case: "versionLabel", value: label } };
  return common;
}

function fromModelSpec(spec: MessageShape<typeof ModelSpecSchema> | undefined): AnsweredModel {
  const choice = spec?.versionChoice;
  return {
    name: spec?.name ?? "",
    version: choice?.case === "version" ? choice.value.value : 0n,
    signatureName: spec?.signatureName ?? "",
  };
}

/**
 * TensorFlow Serving の gRPC を話す客。失敗はすべて StatusError で、コードはサーバーのもの
 * (つながらなければ UNAVAILABLE、期限が過ぎれば DEADLINE_EXCEEDED)。
 */
export class GrpcClient implements Disposable {
  readonly #client: Client;
  readonly #timeoutMs: number;
  readonly #metadata = new Metadata();

  constructor({ address, tls, timeoutMs = DEFAULT_TIMEOUT_MS, headers = {} }: GrpcClientOptions) {
    const pem = (text: string | undefined): Buffer | null => (text === undefined ? null : Buffer.from(text));
    const channelCredentials =
      tls === undefined
        ? credentials.createInsecure()
        : credentials.createSsl(pem(tls.rootCerts), pem(tls.key), pem(tls.cert));
    this.#client = new Client(address, channelCredentials, UNLIMITED);
    this.#timeoutMs = timeoutMs;
    for (const [name, value] of Object.entries(headers)) this.#metadata.set(name, value);
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }

  /** @param outputFilter 求める出力の別名。空なら全部。 */
  async predict(
    model: ModelRef,
    inputs: TensorMap,
    { outputFilter = [], ...options }: CallOptions & { readonly outputFilter?: readonly string[] } = {},
  ): Promise<PredictAnswer> {
    const request = {
      modelSpec: toModelSpec(model),
      inputs: Object.fromEntries([...inputs].map(([alias, value]) => [alias, tensorToProto(value, true)])),
      outputFilter: [...outputFilter],
    };
    const { modelSpec, outputs } = await this.#call(PredictionService.method.predict, request, options);
    return {
      model: fromModelSpec(modelSpec),
      outputs: new Map(Object.entries(outputs).map(([alias, proto]) => [alias, tensorFromProto(proto)])),
    };
  }

  async getModelMetadata(model: ModelRef, options: CallOptions = {}): Promise<MetadataAnswer> {
    const { modelSpec, metadata } = await this.#call(
      PredictionService.method.getModelMetadata,
      { modelSpec: toModelSpec(model), metadataField: ["signature_def"] },
      options,
    );
    const packed = metadata["signature_def"];
    const map = packed === undefined ? undefined : unpackAny(packed, SignatureDefMapSchema);
    if (map === undefined) throw internal("The server answered without signature_def");
    return {
      model: fromModelSpec(modelSpec),
      signatures: new Map(
        Object.entries(map.signatureDef).map(([key, proto]) => [key, signatureFromProto(key, proto)]),
      ),
    };
  }

  /** 版の降順。 */
  async getModelStatus(model: ModelRef, options: CallOptions = {}): Promise<readonly VersionStatus[]> {
    const response: GetModelStatusResponse = await this.#call(
      ModelService.method.getModelStatus,
      { modelSpec: toModelSpec(model) },
      options,
    );
    return response.modelVersionStatus.map(({ version, state, status }) => ({
      version,
      state: State[state],
      code: (status?.errorCode ?? 0) as Code,
      message: status?.errorMessage ?? "",
    }));
  }

  /**
   * @param service 空なら全体。
   * @returns 仕事を受けるか。
   * @throws NOT_FOUND 知らない名前。
   */
  async health(service = "", options: CallOptions = {}): Promise<boolean> {
    const { status } = await this.#call(Health.method.check, { service }, options);
    return status === ServingStatus.SERVING;
  }

  #call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    { timeoutMs = this.#timeoutMs, signal }: CallOptions,
  ): Promise<MessageShape<O>> {
    const { promise, resolve, reject } = Promise.withResolvers<MessageShape<O>>();
    if (signal?.aborted) return Promise.reject(StatusError.from(signal.reason));
    const call = this.#client.makeUnaryRequest(
      `/${method.parent.typeName}/${method.name}`,
      (message: MessageShape<I>) => Buffer.from(toBinary(method.input, message)),
      (bytes) => fromBinary(method.output, bytes),
      create(method.input, request),
      this.#metadata,
      { deadline: Date.now() + timeoutMs },
      (error: ServiceError | null, value?: MessageShape<O>) => {
        signal?.removeEventListener("abort", cancel);
        if (error !== null) reject(new StatusError(error.code as Code, error.details, error));
        else if (value === undefined) reject(internal(`${method.name} answered nothing`));
        else resolve(value);
      },
    );
    const cancel = (): void => call.cancel();
    signal?.addEventListener("abort", cancel, { once: true });
    return promise;
  }
}
