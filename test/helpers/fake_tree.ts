import type { StorageEntry } from "../../src/savedmodel/storage.ts";

/** ディレクトリの木。名前だけを持つ。 */
export class FakeTree {
  readonly #paths = new Set<string>();
  /** list が投げるディレクトリ。 */
  readonly broken = new Set<string>();

  constructor(...paths: readonly string[]) {
    for (const path of paths) this.add(path);
  }

  add(path: string): void {
    for (let at = path; at !== ""; at = at.slice(0, at.lastIndexOf("/"))) this.#paths.add(at);
  }

  /** その下もすべて消す。 */
  remove(path: string): void {
    for (const each of this.#paths) {
      if (each === path || each.startsWith(`${path}/`)) this.#paths.delete(each);
    }
  }

  rename(from: string, to: string): void {
    this.remove(from);
    this.add(to);
  }

  async exists(path: string): Promise<boolean> {
    return this.#paths.has(path);
  }

  async list(directory: string): Promise<StorageEntry[]> {
    if (this.broken.has(directory)) throw new Error(`${directory}; Permission denied`);
    const prefix = `${directory}/`;
    return [...this.#paths]
      .filter((path) => path.startsWith(prefix) && !path.slice(prefix.length).includes("/"))
      .map((path) => ({ name: path.slice(prefix.length), kind: "directory" }));
  }
}
