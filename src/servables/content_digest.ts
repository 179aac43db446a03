import type { Storage } from "../savedmodel/storage.ts";

/** 一度に数える大きさ。4 ms ほどで済む。 */
const CHUNK_BYTES = 4 * 2 ** 20;

/**
 * ディレクトリの中身すべての指紋。どのモデルを読んだのかを、ログから後で確かめるためのもの。
 *
 * `find -type f -printf '%P\n' | LC_ALL=C sort | xargs sha256sum | sha256sum` と同じ値。
 *
 * @param storage 読むたびにイベントループへ譲るもの。
 * @returns SHA-256。16 進 64 文字。
 * @throws signal が立ったら、その理由。ほかは置き場所の失敗。
 */
export async function digestDirectory(
  storage: Storage,
  directory: string,
  signal: AbortSignal,
): Promise<string> {
  const whole = new Bun.CryptoHasher("sha256");
  for (const [path, digest] of await digestFiles(storage, directory, signal)) {
    whole.update(`${digest}  ${path}\n`);
  }
  return whole.digest("hex");
}

/**
 * ディレクトリの中のファイルごとの指紋。
 *
 * @returns パス → SHA-256(16 進)。パスのバイト順。
 * @throws signal が立ったら、その理由。ほかは置き場所の失敗。
 */
export async function digestFiles(
  storage: Storage,
  directory: string,
  signal: AbortSignal,
): Promise<Map<string, string>> {
  const paths = (await listFiles(storage, directory, "")).sort((a, b) =>
    Buffer.compare(Buffer.from(a), Buffer.from(b)),
  );
  const digests = new Map<string, string>();
  let buffer = new Uint8Array(0);
  for (const path of paths) {
    await using file = await storage.open(`${directory}/${path}`);
    const hasher = new Bun.CryptoHasher("sha256");
    const needed = Math.min(CHUNK_BYTES, file.bytes);
    if (buffer.length < needed) buffer = new Uint8Array(needed);
    for (let at = 0; at < file.bytes; at += CHUNK_BYTES) {
      signal.throwIfAborted();
      const chunk = buffer.subarray(0, Math.min(CHUNK_BYTES, file.bytes - at));
      await file.readInto(at, chunk);
      hasher.update(chunk);
    }
    digests.set(path, hasher.digest("hex"));
  }
  return digests;
}

/** ディレクトリへのリンクはたどらない(`find` と同じ)。 */
async function listFiles(storage: Storage, directory: string, prefix: string): Promise<string[]> {
  const entries = await storage.list(prefix === "" ? directory : `${directory}/${prefix}`);
  const nested = entries.map(async ({ name, kind }) => {
    const path = prefix === "" ? name : `${prefix}/${name}`;
    if (kind === "directory") return await listFiles(storage, directory, path);
    return kind === "file" ? [path] : [];
  });
  return (await Promise.all(nested)).flat();
}
