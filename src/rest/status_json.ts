import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code } from "../base/status.ts";
import { ManagerState, type ServableState } from "../core/servable_state.ts";
import {
  GetModelStatusResponseSchema,
  type ModelVersionStatusSchema,
} from "../gen/tensorflow_serving/apis/get_model_status_pb.ts";
import { printProto } from "./proto_json.ts";

/**
 * 状態の一覧の本文。
 *
 * @see tensorflow_serving/model_servers/http_rest_api_util.cc ToJsonString
 */
export function printStatuses(states: readonly ServableState[]): string {
  const response = create(GetModelStatusResponseSchema, { modelVersionStatus: states.map(toProto) });
  return printProto(GetModelStatusResponseSchema, response);
}

function toProto({ id, state, error }: ServableState): MessageInitShape<typeof ModelVersionStatusSchema> {
  return {
    version: id.version,
    state: ManagerState[state],
    status: { errorCode: error?.code ?? Code.OK, errorMessage: error?.message ?? "" },
  };
}
