import type { Host } from "../base/host.ts";
import { Code } from "../base/status.ts";
import { ManagerState, type ServableState } from "../core/servable_state.ts";
import {
  GetModelStatusRequestSchema,
  GetModelStatusResponseSchema,
} from "../gen/tensorflow_serving/apis/get_model_status_pb.ts";
import {
  ReloadConfigRequestSchema,
  ReloadConfigResponseSchema,
} from "../gen/tensorflow_serving/apis/model_management_pb.ts";
import { ModelService as ModelServiceDesc } from "../gen/tensorflow_serving/apis/model_service_pb.ts";
import { createCall } from "../service/call.ts";
import { fromModelServerConfigProto, type ModelService } from "../service/model_service.ts";
import { fromModelSpecProto } from "./model_spec_proto.ts";
import { messageCodec, type Rpc, unary } from "./service_definition.ts";

function toVersionStatus({ id, state, error }: ServableState) {
  return {
    version: id.version,
    state: ManagerState[state],
    status: { errorCode: error?.code ?? Code.OK, errorMessage: error?.message ?? "" },
  };
}

/** ModelService の RPC。 */
export function modelRpcs(host: Host, service: ModelService): readonly Rpc[] {
  const { getModelStatus, handleReloadConfigRequest } = ModelServiceDesc.method;
  const statusCall = createCall(host, { api: "GetModelStatus", entrypoint: "GRPC", counted: false });
  const reloadCall = createCall(host, {
    api: "HandleReloadConfigRequest",
    entrypoint: "GRPC",
    counted: false,
  });
  return [
    unary(
      getModelStatus,
      messageCodec(GetModelStatusRequestSchema, GetModelStatusResponseSchema),
      ({ modelSpec }) =>
        statusCall(modelSpec?.name ?? "", async () => {
          const states = await service.getModelStatus(fromModelSpecProto(modelSpec));
          return { modelVersionStatus: states.map(toVersionStatus) };
        }),
    ),
    unary(
      handleReloadConfigRequest,
      messageCodec(ReloadConfigRequestSchema, ReloadConfigResponseSchema),
      ({ config, metricNames }) =>
        reloadCall("", async () => {
          const parsed =
            config === undefined ? ({ kind: "none" } as const) : fromModelServerConfigProto(config);
          const increases = await service.reloadConfig(parsed, metricNames);
          return {
            status: { errorCode: Code.OK },
            metric: [...increases].map(([name, increase]) => ({
              name,
              valueIncrease: { case: "int64ValueIncrease" as const, value: BigInt(Math.trunc(increase)) },
            })),
          };
        }),
    ),
  ];
}
