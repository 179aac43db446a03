import { type FileHandle, open, readdir, realpath, stat } from "node:fs/promises";
import { posix } from "node:path";
import {
  dataLoss,
  failedPrecondition,
  invalidArgument,
  notFound,
  permissionDenied,
  resourceExhausted,
  StatusError,
  unknown,
} from "../base/status.ts";

export type StorageKind = "file" | "directory" | "other";

export interface StorageEntry {
  readonly name: string;
  readonly kind: StorageKind;
}

export interface StorageStat {
  readonly kind: StorageKind;
  /** ファイルのバイト数。 */
  readonly bytes: number;
}

/** 開いたファイル。大きなものを少しずつ読むのに使う。 */
export interface StorageFile extends AsyncDisposable {
  readonly bytes: number;
  /**
   * `position` から `target` をちょうど満たす。
   * @throws DATA_LOSS 途中でファイルが終わる。
   */
  readInto(position: number, target: Uint8Array): Promise<void>;
}

/**
 * モデルのファイルの置き場所。ディスクと、埋め込みや試験のためのメモリがある。書き込みは無い。
 * パスは `/` 区切り。失敗はすべて StatusError で、文面は `<パス>; <理由>`。
 */
export interface Storage {
  exists(path: string): Promise<boolean>;
  /** @throws NOT_FOUND */
  stat(path: string): Promise<StorageStat>;
  /** 直下の名前。順は問わない。 @throws NOT_FOUND, FAILED_PRECONDITION(ディレクトリでない) */
  list(directory: string): Promise<readonly StorageEntry[]>;
  /**
   * 全部読む。
   * @param maxBytes これより大きければ読まずに RESOURCE_EXHAUSTED。
   */
  read(path: string, maxBytes?: number): Promise<Uint8Array>;
  open(path: string): Promise<StorageFile>;
  /** シンボリックリンクを解いた絶対パス。 */
  realPath(path: string): Promise<string>;
}

/** 1 度の読み取りの大きさ。合間にイベントループへ戻る。 */
export const READ_CHUNK_BYTES = 8 * 2 ** 20;

/** ローカルのファイルシステム。 */
export const diskStorage: Storage = {
  async exists(path) {
    try {
      await stat(path);
      return true;
    } catch (error) {
      if (errnoOf(error) === "ENOENT" || errnoOf(error) === "ENOTDIR") return false;
      throw fileError(path, error);
    }
  },
  async stat(path) {
    const found = await stat(path).catch((error: unknown) => {
      throw fileError(path, error);
    });
    return { kind: kindOf(found), bytes: found.size };
  },
  async list(directory) {
    try {
      return (await readdir(directory, { withFileTypes: true })).map((entry) => ({
        name: entry.name,
        kind: kindOf(entry),
      }));
    } catch (error) {
      throw fileError(directory, error);
    }
  },
  async read(path, maxBytes = Number.POSITIVE_INFINITY) {
    await using file = await this.open(path);
    checkSize(path, file.bytes, maxBytes);
    const whole = new Uint8Array(file.bytes);
    for (let at = 0; at < whole.length; at += READ_CHUNK_BYTES) {
      await file.readInto(at, whole.subarray(at, at + READ_CHUNK_BYTES));
    }
    return whole;
  },
  async open(path) {
    // 名前つきパイプは開くだけで止まる。先に種類を確かめる。
    const { kind } = await this.stat(path);
    if (kind === "directory") throw failedPrecondition(`${path}; Is a directory`);
    if (kind === "other") throw failedPrecondition(`${path}; Not a regular file`);
    try {
      const handle = await open(path, "r");
      return new DiskFile(path, handle, (await handle.stat()).size);
    } catch (error) {
      throw fileError(path, error);
    }
  },
  async realPath(path) {
    try {
      return await realpath(path);
    } catch (error) {
      throw fileError(path, error);
    }
  },
};

class DiskFile implements StorageFile {
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly bytes: number;

  constructor(path: string, handle: FileHandle, bytes: number) {
    this.#path = path;
    this.#handle = handle;
    this.bytes = bytes;
  }

  async readInto(position: number, target: Uint8Array): Promise<void> {
    let at = 0;
    while (at < target.length) {
      const length = Math.min(target.length - at, READ_CHUNK_BYTES);
      const { bytesRead } = await this.#handle
        .read(target, at, length, position + at)
        .catch((error: unknown) => {
          throw fileError(this.#path, error);
        });
      if (bytesRead === 0) throw endOfFile(this.#path, position + target.length);
      at += bytesRead;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }
}

/**
 * メモリの上の読み取り専用の置き場所。
 *
 * @param files 絶対パス → 中身。ディレクトリはパスから現れる。
 */
export function memoryStorage(files: ReadonlyMap<string, Uint8Array>): Storage {
  const directories = new Map<string, Map<string, StorageKind>>();
  const contents = new Map<string, Uint8Array>();
  for (const [path, bytes] of files) {
    let child = posix.resolve("/", path);
    contents.set(child, bytes);
    for (let kind: StorageKind = "file"; child !== "/"; kind = "directory") {
      const parent = posix.dirname(child);
      const names = directories.get(parent) ?? new Map<string, StorageKind>();
      names.set(posix.basename(child), kind);
      directories.set(parent, names);
      child = parent;
    }
  }
  const fileAt = (path: string): Uint8Array => {
    const found = contents.get(posix.resolve("/", path));
    if (found !== undefined) return found;
    if (directories.has(posix.resolve("/", path))) throw failedPrecondition(`${path}; Is a directory`);
    throw notFound(`${path}; No such file or directory`);
  };
  return {
    async exists(path) {
      const at = posix.resolve("/", path);
      return contents.has(at) || directories.has(at);
    },
    async stat(path) {
      if (directories.has(posix.resolve("/", path))) return { kind: "directory", bytes: 0 };
      return { kind: "file", bytes: fileAt(path).length };
    },
    async list(directory) {
      const names = directories.get(posix.resolve("/", directory));
      if (names !== undefined) return Array.from(names, ([name, kind]) => ({ name, kind }));
      fileAt(directory);
      throw failedPrecondition(`${directory}; Not a directory`);
    },
    async read(path, maxBytes = Number.POSITIVE_INFINITY) {
      const bytes = fileAt(path);
      checkSize(path, bytes.length, maxBytes);
      return bytes;
    },
    async open(path) {
      const bytes = fileAt(path);
      return {
        bytes: bytes.length,
        async readInto(position, target) {
          if (position + target.length > bytes.length) throw endOfFile(path, position + target.length);
          target.set(bytes.subarray(position, position + target.length));
        },
        async [Symbol.asyncDispose]() {},
      };
    },
    async realPath(path) {
      if (!(await this.exists(path))) throw notFound(`${path}; No such file or directory`);
      return posix.resolve("/", path);
    },
  };
}

/**
 * ディレクトリの中のファイルの絶対パス。`..`・絶対パス・外を指すリンクを退ける。
 * ディレクトリ自身がリンクであるのは構わない(Kubernetes のボリュームがそうなる)。
 *
 * @throws INVALID_ARGUMENT 外に出る。
 * @throws NOT_FOUND 無い。
 */
export async function resolveInside(storage: Storage, directory: string, relative: string): Promise<string> {
  const path = posix.join(directory, relative);
  const escapes = () => invalidArgument(`${path}; Path leaves the model directory ${directory}`);
  if (relative.includes("\0") || posix.isAbsolute(relative) || !isInside(posix.normalize(relative)))
    throw escapes();
  const root = await storage.realPath(directory);
  const real = await storage.realPath(path);
  if (!isInside(posix.relative(root, real))) throw escapes();
  return path;
}

function isInside(relative: string): boolean {
  return relative !== ".." && !relative.startsWith("../");
}

/** 中で起きた失敗の文面の前に、どのファイルかを付ける。 */
export function inFile<T>(path: string, body: () => T): T {
  try {
    return body();
  } catch (thrown) {
    const status = StatusError.from(thrown);
    throw new StatusError(status.code, `${path}; ${status.message}`, status.cause);
  }
}

function checkSize(path: string, bytes: number, maxBytes: number): void {
  if (bytes > maxBytes)
    throw resourceExhausted(`${path}; File is ${bytes} bytes, at most ${maxBytes} are read`);
}

const endOfFile = (path: string, needed: number) => dataLoss(`${path}; File ends before byte ${needed}`);

function kindOf(entry: {
  isFile(): boolean;
  isDirectory(): boolean;
  isSymbolicLink(): boolean;
}): StorageKind {
  if (entry.isDirectory()) return "directory";
  return entry.isFile() ? "file" : "other";
}

function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error ? String(error.code) : undefined;
}

/** errno を TF の PosixFileSystem と同じコードと文面にする。 @see tsl/platform/errors.cc */
function fileError(path: string, error: unknown): StatusError {
  switch (errnoOf(error)) {
    case "ENOENT":
      return notFound(`${path}; No such file or directory`, error);
    case "EACCES":
      return permissionDenied(`${path}; Permission denied`, error);
    case "EPERM":
      return permissionDenied(`${path}; Operation not permitted`, error);
    case "ENOTDIR":
      return failedPrecondition(`${path}; Not a directory`, error);
    case "EISDIR":
      return failedPrecondition(`${path}; Is a directory`, error);
    case "ELOOP":
      return invalidArgument(`${path}; Too many levels of symbolic links`, error);
    case "EMFILE":
    case "ENFILE":
      return resourceExhausted(`${path}; Too many open files`, error);
    default:
      return unknown(`${path}; ${errnoOf(error) ?? "Unknown error"}`, error);
  }
}
