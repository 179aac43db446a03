import { memoryStorage, type Storage } from "./savedmodel/storage.ts";

/**
 * `mount` の下だけを実行ファイルの中の写しに、ほかをディスクに任せる置き場所。
 * 埋め込みのモデルも、ディスクのモデルとまったく同じ道で読まれる。
 *
 * @param mount 埋め込みのモデルがあるように見せる絶対パス。
 * @param files `mount` から見たパス → 中身。
 */
export function withEmbedded(disk: Storage, mount: string, files: ReadonlyMap<string, Uint8Array>): Storage {
  const embedded = memoryStorage(new Map([...files].map(([path, bytes]) => [`${mount}/${path}`, bytes])));
  const at = (path: string): Storage => (path === mount || path.startsWith(`${mount}/`) ? embedded : disk);
  return {
    exists: (path) => at(path).exists(path),
    stat: (path) => at(path).stat(path),
    list: (path) => at(path).list(path),
    read: (path, maxBytes) => at(path).read(path, maxBytes),
    open: (path) => at(path).open(path),
    realPath: (path) => at(path).realPath(path),
  };
}
