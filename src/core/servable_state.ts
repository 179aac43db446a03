import type { StatusError } from "../base/status.ts";
import type { ServableId } from "./servable_id.ts";

/** 外から見える状態。数は GetModelStatus の State と同じ。 @see tensorflow_serving/core/servable_state.h */
export const ManagerState = {
  START: 10,
  LOADING: 20,
  AVAILABLE: 30,
  UNLOADING: 40,
  END: 50,
} as const;

export type ManagerState = keyof typeof ManagerState;

/** ある版に起きた最後の出来事。 */
export interface ServableState {
  readonly id: ServableId;
  readonly state: ManagerState;
  /** END で、読み込みに失敗したときだけある。 */
  readonly error?: StatusError;
}
