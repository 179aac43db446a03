import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, codeName } from "../base/status.ts";
import { ManagerState, type ServableState } from "../core/servable_state.ts";
import {
  GetModelStatusResponseSchema,
  type ModelVersionStatusSchema,
} from "../gen/tensorflow_serving/apis/get_model_status_pb.ts";
import type { ModelSummary } from "../service/model_service.ts";
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

/** モデルの一覧の本文。`ready` は、AVAILABLE な版があること。版の書き方は {@link printStatuses} と同じで、提供中なら指紋が付く。 */
export function printModels(models: readonly ModelSummary[]): string {
  const list = models.map(({ name, states, digests }) => ({
    name,
    ready: states.some(({ state }) => state === "AVAILABLE"),
    versions: states.map(({ id, state, error }) => ({
      version: String(id.version),
      state,
      status: { error_code: codeName(error?.code ?? Code.OK), error_message: error?.message ?? "" },
      // JSON に undefined は出ない。
      sha256: state === "AVAILABLE" ? digests.get(id.version) : undefined,
    })),
  }));
  return `${JSON.stringify({ models: list }, undefined, 1)}\n`;
}

function toProto({ id, state, error }: ServableState): MessageInitShape<typeof ModelVersionStatusSchema> {
  return {
    version: id.version,
    state: ManagerState[state],
    status: { errorCode: error?.code ?? Code.OK, errorMessage: error?.message ?? "" },
  };
}
