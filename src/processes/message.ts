import type { FamilySnapshot } from "../base/metrics.ts";
import { StatusError } from "../base/status.ts";
import type { ManagerState, ServableState } from "../core/servable_state.ts";
import type { ModelServerConfig } from "../sources/model_config.ts";

/** 全プロセスへの問い。 */
export type Question =
  | { readonly ask: "metrics" }
  | { readonly ask: "statuses"; readonly name: string; readonly version: bigint | undefined }
  | { readonly ask: "reload"; readonly config: ModelServerConfig };

/** プロセスの境を越える失敗。Error はクラスが失われるので、中身だけを運ぶ。 */
export interface Failure {
  readonly code: StatusError["code"];
  readonly message: string;
}

/** プロセスの境を越える {@link ServableState}。 */
export interface WireState {
  readonly name: string;
  readonly version: bigint;
  readonly state: ManagerState;
  readonly error?: Failure;
}

/** 1 プロセスの答え。 */
export type Answer =
  | { readonly metrics: readonly FamilySnapshot[] }
  | { readonly states: readonly WireState[] }
  | { readonly reloaded: true }
  | { readonly failure: Failure };

/** 働き手から親へ。 */
export type FromWorker =
  | { readonly kind: "join" }
  | { readonly kind: "ready" }
  | { readonly kind: "ask"; readonly id: number; readonly question: Question }
  | { readonly kind: "reply"; readonly id: number; readonly answer: Answer };

/** 親から働き手へ。`welcome` の `config` は、RPC で置き換えられた最後の設定(あれば)。 */
export type ToWorker =
  | { readonly kind: "welcome"; readonly config?: ModelServerConfig }
  | { readonly kind: "question"; readonly id: number; readonly question: Question }
  | { readonly kind: "answers"; readonly id: number; readonly answers: readonly Answer[] }
  | { readonly kind: "drain" };

export function toFailure(thrown: unknown): Failure {
  const { code, message } = StatusError.from(thrown);
  return { code, message };
}

export function fromFailure({ code, message }: Failure): StatusError {
  return new StatusError(code, message);
}

export function toWireState({ id, state, error }: ServableState): WireState {
  return {
    name: id.name,
    version: id.version,
    state,
    ...(error === undefined ? {} : { error: toFailure(error) }),
  };
}

export function fromWireState({ name, version, state, error }: WireState): ServableState {
  return { id: { name, version }, state, ...(error === undefined ? {} : { error: fromFailure(error) }) };
}
