import { expect, test } from "bun:test";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLogOutput, type LogTarget } from "../../../src/cli/log_output.ts";

/** ファイル。流れとしては開かない。 */
function withFile(body: (target: LogTarget, read: () => string) => void): void {
  const directory = mkdtempSync(join(tmpdir(), "log-"));
  const path = join(directory, "log");
  const fd = openSync(path, "w");
  try {
    const open = () => {
      throw new Error("a file is written with its descriptor");
    };
    body({ fd, open }, () => readFileSync(path, "utf8"));
  } finally {
    closeSync(fd);
    rmSync(directory, { recursive: true });
  }
}

test("lines go to a file in order", () => {
  withFile((target, read) => {
    const write = createLogOutput(target, "json");
    write("one\n");
    write("two\n");
    expect(read()).toBe("one\ntwo\n");
  });
});

test("lines that cannot be written are counted, and told of later", () => {
  withFile((target) => {
    let full = true;
    const written: string[] = [];
    const write = createLogOutput(target, "json", (_, line) => {
      if (full) throw new Error("ENOSPC");
      written.push(line);
    });
    write("a\n");
    write("b\n");
    full = false;
    write("c\n");
    write("d\n");
    const [notice, first] = written[0]!.split("\n");
    expect(JSON.parse(notice!)).toMatchObject({
      level: "warn",
      msg: "log lines could not be written",
      count: 2,
    });
    expect([first, written[1]]).toEqual(["c", "d\n"]);
  });
});

test("a pipe is written by its stream, whose failures are heard", () => {
  const lines: string[] = [];
  const heard: string[] = [];
  // /dev/fd の管の代わりに、ディレクトリの fd(ファイルでも文字装置でもない)を使う。
  const fd = openSync(tmpdir(), "r");
  try {
    let opened = 0;
    const stream = {
      write: (line: string) => lines.push(line),
      on: (event: "error", listener: () => void) => {
        heard.push(event);
        listener();
      },
    };
    const open = () => {
      opened++;
      return stream;
    };
    const write = createLogOutput({ fd, open }, "text");
    expect(opened).toBe(0);
    write("one\n");
    write("two\n");
    expect(opened).toBe(1);
  } finally {
    closeSync(fd);
  }
  expect([lines, heard]).toEqual([["one\n", "two\n"], ["error"]]);
});
