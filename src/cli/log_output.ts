import { fstatSync, writeSync } from "node:fs";
import { createLogger, type LogFormat } from "../base/log.ts";

/** 流れの面。試験では代わりを渡す。 */
export interface LogStream {
  write(line: string): unknown;
  on(event: "error", listener: () => void): unknown;
}

/** ログの行き先。 */
export interface LogTarget {
  readonly fd: number;
  /** 流れは、読み込みに 1 ms 掛かる。要るときまで開かない。 */
  readonly open: () => LogStream;
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
  { fd, open }: LogTarget,
  format: LogFormat,
  write: (fd: number, line: string) => void = writeSync,
): (line: string) => void {
  const kind = fstatSync(fd);
  if (!kind.isFile() && !kind.isCharacterDevice()) {
    let stream: LogStream | undefined;
    return (line) => {
      stream ??= heard(open());
      stream.write(line);
    };
  }
  let count = 0;
  return (line) => {
    try {
      write(fd, count === 0 ? line : noticeOf(format, count) + line);
      count = 0;
    } catch {
      count++;
    }
  };
}

/** 受けないと、書けなかったことが未処理の例外になり、それを書こうとしてまた失敗し続ける。 */
function heard(stream: LogStream): LogStream {
  stream.on("error", () => {});
  return stream;
}

function noticeOf(format: LogFormat, count: number): string {
  let notice = "";
  const log = createLogger(format, "warn", (line) => {
    notice += line;
  });
  log.warn("log lines could not be written", { count });
  return notice;
}
