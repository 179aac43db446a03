import { dataLoss, failedPrecondition, invalidArgument } from "../base/status.ts";
import type { Storage } from "../savedmodel/storage.ts";
import { digestFiles } from "./content_digest.ts";

/** 版のディレクトリから見た、指紋の表の置き場。先にあるものを使う。 */
const MANIFESTS = ["SHA256SUMS", "assets.extra/SHA256SUMS"];
const MAX_MANIFEST_BYTES = 16 * 2 ** 20;

/**
 * `sha256sum` の書く表。1 行に「64 桁の 16 進、空白 2 つ(または空白と `*`)、パス」。
 *
 * @returns パス → SHA-256。
 * @throws INVALID_ARGUMENT 表でない行、同じパスが 2 度。
 */
export function parseManifest(path: string, text: string): ReadonlyMap<string, string> {
  const digests = new Map<string, string>();
  for (const [at, line] of text.split("\n").entries()) {
    if (line === "") continue;
    const [, digest, file] = /^([0-9a-f]{64}) [ *](?:\.\/)?([^\\\r]+)$/i.exec(line) ?? [];
    if (digest === undefined || file === undefined || digests.has(file)) {
      throw invalidArgument(`${path}; Line ${at + 1} is not a line of sha256sum, or repeats a file`);
    }
    digests.set(file, digest.toLowerCase());
  }
  return digests;
}

/**
 * 版のディレクトリの中身が、添えられた表のとおりであることを確かめる。表に無いファイルも許さない。
 * 読む前に呼ぶ。確かめていないバイトを読み解かないように。
 *
 * @throws FAILED_PRECONDITION 表が無い。
 * @throws INVALID_ARGUMENT 表が読めない。
 * @throws DATA_LOSS 中身が違う、足りない、余分がある。
 */
export async function checkManifest(storage: Storage, directory: string, signal: AbortSignal): Promise<void> {
  let manifest: string | undefined;
  for (const name of MANIFESTS) {
    if (manifest === undefined && (await storage.exists(`${directory}/${name}`))) manifest = name;
  }
  if (manifest === undefined) {
    throw failedPrecondition(
      `${directory}/${MANIFESTS[0]}; No manifest, and --require_model_manifest is set`,
    );
  }
  const path = `${directory}/${manifest}`;
  const listed = parseManifest(path, new TextDecoder().decode(await storage.read(path, MAX_MANIFEST_BYTES)));
  const found = await digestFiles(storage, directory, signal);
  found.delete(manifest);
  for (const [file, digest] of listed) {
    const real = found.get(file);
    if (real === undefined) throw dataLoss(`${directory}/${file}; Listed in ${manifest}, but missing`);
    if (real !== digest) {
      throw dataLoss(`${directory}/${file}; SHA-256 is ${real}, but ${manifest} says ${digest}`);
    }
  }
  for (const file of found.keys()) {
    if (!listed.has(file)) throw dataLoss(`${directory}/${file}; Not listed in ${manifest}`);
  }
}
