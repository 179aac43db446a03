import { posix } from "node:path";
import { permissionDenied } from "../base/status.ts";
import type { Storage } from "../savedmodel/storage.ts";
import type { ModelConfig } from "./model_config.ts";

/**
 * 客の言う設定(HandleReloadConfigRequest)が、決められた場所の外を読ませないことを確かめる。
 * リンクを解いた先で見る。まだ無いパスは、ある所までを解く。
 *
 * @param roots 許す場所の絶対パス。空ならどこでもよい(TF Serving と同じ)。
 * @throws PERMISSION_DENIED 外を指す。
 */
export async function checkModelRoots(
  storage: Pick<Storage, "exists" | "realPath">,
  roots: readonly string[],
  models: readonly Pick<ModelConfig, "name" | "basePath">[],
): Promise<void> {
  if (roots.length === 0) return;
  const realRoots = await Promise.all(roots.map((root) => realPath(storage, root)));
  for (const { name, basePath } of models) {
    const path = await realPath(storage, basePath);
    if (!realRoots.some((root) => path === root || path.startsWith(root === "/" ? root : `${root}/`))) {
      throw permissionDenied(`Base path of model ${name} is not under any of --model_roots`);
    }
  }
}

async function realPath(storage: Pick<Storage, "exists" | "realPath">, path: string): Promise<string> {
  const missing: string[] = [];
  let at = posix.resolve("/", path);
  while (at !== "/" && !(await storage.exists(at))) {
    missing.unshift(posix.basename(at));
    at = posix.dirname(at);
  }
  return posix.join(await storage.realPath(at), ...missing);
}
