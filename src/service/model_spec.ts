import { invalidArgument } from "../base/status.ts";
import type { ServableHandle } from "../core/servable_handle.ts";
import type { ModelServable } from "../servables/model_servable.ts";
import type { ModelSpec, Models } from "../sources/models.ts";

export type { ModelSpec } from "../sources/models.ts";

/** service が使うモデルの集まり。 */
export type ServedModels = Models<ModelServable>;

/** @throws INVALID_ARGUMENT `Missing ModelSpec` */
export function requireModelSpec(spec: ModelSpec | undefined): ModelSpec {
  if (spec === undefined) throw invalidArgument("Missing ModelSpec");
  return spec;
}

/**
 * 借りて、使い、返す。`use` が Promise を返したら、それが片付いてから返す。
 *
 * @param use 要求ごとに関数を作らずに済むように、渡す物を別に受け取る。
 * @throws {@link Models.acquire} の失敗。
 */
export function borrow<T, A, B>(
  models: ServedModels,
  spec: ModelSpec,
  use: (handle: ServableHandle<ModelServable>, a: A, b: B) => T | Promise<T>,
  a: A,
  b: B,
): T | Promise<T> {
  const handle = models.acquire(spec);
  let result: T | Promise<T>;
  try {
    result = use(handle, a, b);
  } catch (thrown) {
    handle[Symbol.dispose]();
    throw thrown;
  }
  if (result instanceof Promise) return returnLater(result, handle);
  handle[Symbol.dispose]();
  return result;
}

const returnLater = <T>(result: Promise<T>, handle: Disposable): Promise<T> =>
  result.finally(() => handle[Symbol.dispose]());
