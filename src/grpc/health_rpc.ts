import { invalidArgument, notFound } from "../base/status.ts";
import {
  HealthCheckRequestSchema,
  HealthCheckResponseSchema,
  HealthListRequestSchema,
  HealthListResponseSchema,
  Health as HealthService,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from "../gen/grpc/health/v1/health_pb.ts";
import { ModelService } from "../gen/tensorflow_serving/apis/model_service_pb.ts";
import { PredictionService } from "../gen/tensorflow_serving/apis/prediction_service_pb.ts";
import type { Health } from "../service/health.ts";
import { messageCodec, type Rpc, serverStream, unary } from "./service_definition.ts";

const MAX_NAME_BYTES = 200;

/** 健全性サービス。状態は全体で 1 つで、モデルには左右されない。 */
export function healthRpcs(health: Health): readonly Rpc[] {
  // TF Serving が登録する短い名前と、客が当然と思う完全な名前。空は全体。
  const names = new Set([
    "",
    "ModelService",
    "PredictionService",
    ModelService.typeName,
    PredictionService.typeName,
  ]);
  const overall = (): ServingStatus => (health.serving ? ServingStatus.SERVING : ServingStatus.NOT_SERVING);
  const checkName = (name: string): void => {
    if (Buffer.byteLength(name) > MAX_NAME_BYTES) throw invalidArgument("could not parse request");
  };

  const { check, list, watch } = HealthService.method;
  return [
    unary(check, messageCodec(HealthCheckRequestSchema, HealthCheckResponseSchema), ({ service }) => {
      checkName(service);
      if (!names.has(service)) throw notFound("service name unknown");
      return { status: overall() };
    }),
    unary(list, messageCodec(HealthListRequestSchema, HealthListResponseSchema), () => ({
      statuses: Object.fromEntries([...names].map((name) => [name, { status: overall() }])),
    })),
    serverStream(
      watch,
      messageCodec(HealthCheckRequestSchema, HealthCheckResponseSchema),
      ({ service }, write, onClose) => {
        // 名前が後から増えることはないが、仕様どおり流れは開けておく。
        if (!names.has(service)) return write({ status: ServingStatus.SERVICE_UNKNOWN });
        onClose(health.onChange(() => write({ status: overall() })));
        write({ status: overall() });
      },
    ),
  ];
}
