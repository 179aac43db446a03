import type { Storage, StorageFile } from "../savedmodel/storage.ts";

/**
 * 読み取りの合間に、必ずイベントループへ譲る置き場所。
 *
 * ファイルの読み取りを await するだけでは足りない。前の断片の検査合計を数えている間に次の断片が
 * 届いていれば、完了の知らせは同じ回のうちに続けて処理され、ほかの接続に順番が回らない。
 *
 * @param yieldTurn イベントループの次の回まで待つ。
 */
export function yieldingStorage(storage: Storage, yieldTurn: () => Promise<void>): Storage {
  return {
    exists: (path) => storage.exists(path),
    stat: (path) => storage.stat(path),
    list: (directory) => storage.list(directory),
    realPath: (path) => storage.realPath(path),
    async read(path, maxBytes) {
      const bytes = await storage.read(path, maxBytes);
      await yieldTurn();
      return bytes;
    },
    async open(path) {
      return new YieldingFile(await storage.open(path), yieldTurn);
    },
  };
}

class YieldingFile implements StorageFile {
  readonly #file: StorageFile;
  readonly #yieldTurn: () => Promise<void>;

  constructor(file: StorageFile, yieldTurn: () => Promise<void>) {
    this.#file = file;
    this.#yieldTurn = yieldTurn;
  }

  get bytes(): number {
    return this.#file.bytes;
  }

  async readInto(position: number, target: Uint8Array): Promise<void> {
    await this.#file.readInto(position, target);
    await this.#yieldTurn();
  }

  [Symbol.asyncDispose](): PromiseLike<void> {
    return this.#file[Symbol.asyncDispose]();
  }
}
