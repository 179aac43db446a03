import { fstatSync, writeSync } from "node:fs";
import { createLogger, type LogFormat } from "../base/log.ts";

/** 標準エラーの面。試験では代わりを渡す。 */
export interface LogStream {
  readonly fd: number;
  write(line: string): unknown;
  on(event: "error", listener: () => void): unknown;
}

/**
 * ログの 1 行を書く関数。書けなくても(ディスクが一杯、読み手がいない)サーバーは動き続ける。書けない間の行は
 * 捨てて数え、また書けるようになったら、いくつ失ったかを 1 行で言う。
 *
 * ファイルには同期で書く。Bun の流れは一度失敗すると閉じてしまい、空きが戻っても書けないため。
 * 管は読み手が遅いと詰まるので、流れに任せる。
 *
 * @param format 失った数を知らせる行の書式。
 */
export function createLogOutput(
  stream: LogStream,
  format: LogFormat,
  write: (fd: number, line: string) => void = writeSync,
): (line: string) => void {
  // 受けないと、書けなかったことが未処理の例外になり、それを書こうとしてまた失敗し続ける。
  stream.on("error", () => {});
  const kind = fstatSync(stream.fd);
  if (!kind.isFile() && !kind.isCharacterDevice()) return (line) => void stream.write(line);
  let count = 0;
  return (line) => {
    try {
      write(stream.fd, count === 0 ? line : noticeOf(format, count) + line);
      count = 0;
    } catch {
      count++;
    }
  };
}

function noticeOf(format: LogFormat, count: number): string {
  let notice = "";
  const log = createLogger(format, "warn", (line) => {
    notice += line;
  });
  log.warn("log lines could not be written", { count });
  return notice;
}
