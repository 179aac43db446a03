/** 読み込まれる(べき)もの 1 つの名前。版は int64。 */
export interface ServableId {
  readonly name: string;
  readonly version: bigint;
}

/** 「どの版か」を言う要求。version が無ければ提供中で最大の版。 */
export interface ServableRequest {
  readonly name: string;
  readonly version?: bigint;
}

/** `{name: m version: 1}`。TF Serving のログとエラー文の形。 @see tensorflow_serving/core/servable_id.h */
export function formatServableId({ name, version }: ServableId): string {
  return `{name: ${name} version: ${version}}`;
}

/** `Specific(m, 1)` または `Latest(m)`。 @see tensorflow_serving/core/manager.h ServableRequest::DebugString */
export function formatServableRequest({ name, version }: ServableRequest): string {
  return version === undefined ? `Latest(${name})` : `Specific(${name}, ${version})`;
}
