import { mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";
import type { Host } from "./base/host.ts";
import { resourceExhausted, type StatusError, unavailable } from "./base/status.ts";
import { encodeRecord } from "./servables/tf_record.ts";
import type { CreateCollector, LogCollector } from "./service/request_logger.ts";

/** 書き終わるのを待つ記録の合計の上限。超えたものは残さない。 */
const MAX_PENDING_BYTES = 64 * 2 ** 20;
/** これを超えたら、次のファイルに移る。 */
const MAX_FILE_BYTES = 256 * 2 ** 20;

interface Pending {
  readonly record: Uint8Array;
  readonly done: (error?: StatusError) => void;
}

/** 追記する 1 つのファイルの名前。起動とファイルごとに新しい名前にし、前のものを上書きしない。 */
export type NameFile = (filenamePrefix: string, index: number) => string;

/** TFRecord のファイルに追記する行き先。書くのは 1 つずつ、届いた順。 */
class FileCollector implements LogCollector {
  readonly #host: Host;
  readonly #nameOf: (index: number) => string;
  readonly #maxFileBytes: number;
  #pending: Pending[] = [];
  #pendingBytes = 0;
  #writing: Promise<void> | undefined;
  #index = 0;
  #fileBytes = 0;
  #isFailing = false;
  #isClosed = false;

  constructor(host: Host, nameOf: (index: number) => string, maxFileBytes: number) {
    this.#host = host;
    this.#nameOf = nameOf;
    this.#maxFileBytes = maxFileBytes;
  }

  collect(message: Uint8Array, done: (error?: StatusError) => void): void {
    if (this.#isClosed) {
      done(unavailable("The request log is closed"));
      return;
    }
    const record = encodeRecord(message);
    if (this.#pendingBytes + record.length > MAX_PENDING_BYTES) {
      done(resourceExhausted("Too many requests wait to be logged"));
      return;
    }
    this.#pending.push({ record, done });
    this.#pendingBytes += record.length;
    this.#writing ??= this.#writeAll();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#writing;
  }

  async #writeAll(): Promise<void> {
    while (this.#pending.length > 0) {
      const batch = this.#pending;
      this.#pending = [];
      const error = await this.#append(Buffer.concat(batch.map(({ record }) => record)));
      for (const { record, done } of batch) {
        this.#pendingBytes -= record.length;
        done(error);
      }
    }
    this.#writing = undefined;
  }

  async #append(bytes: Uint8Array): Promise<StatusError | undefined> {
    if (this.#fileBytes > 0 && this.#fileBytes + bytes.length > this.#maxFileBytes) {
      this.#index++;
      this.#fileBytes = 0;
    }
    const path = this.#nameOf(this.#index);
    try {
      await mkdir(dirname(path), { recursive: true });
      const file = await open(path, "a");
      try {
        await file.appendFile(bytes);
      } finally {
        await file.close();
      }
      this.#fileBytes += bytes.length;
      this.#isFailing = false;
      return undefined;
    } catch (thrown) {
      // 途中まで書けたかもしれないファイルには、もう足さない。
      this.#index++;
      this.#fileBytes = 0;
      if (!this.#isFailing)
        this.#host.log.error("the request log cannot be written", { path, error: thrown });
      this.#isFailing = true;
      return unavailable("The request log cannot be written", thrown);
    }
  }
}

/** `LogCollectorConfig.type` が空か `file` のときの行き先。 */
export function createFileCollector(
  host: Host,
  nameFile: NameFile,
  maxFileBytes = MAX_FILE_BYTES,
): CreateCollector {
  return (prefix) => new FileCollector(host, (index) => nameFile(prefix, index), maxFileBytes);
}
