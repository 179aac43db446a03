import { describe, expect, test } from "bun:test";
import { createLogger, formatText, silentLogger } from "../../../src/base/log.ts";
import { dataLoss } from "../../../src/base/status.ts";

describe("createLogger()", () => {
  const collect = (
    format: "text" | "json",
    level: "debug" | "info" | "warn" | "error" | "silent",
  ): string[] => {
    const lines: string[] = [];
    const log = createLogger(format, level, (line) => lines.push(line));
    log.debug("one");
    log.info("two", { port: 8500, path: "/a b" });
    log.warn("three");
    log.error("four", { error: new Error("boom") });
    return lines;
  };

  test("writes JSON lines with the level by name", () => {
    const records = collect("json", "info").map((line) => JSON.parse(line));
    expect(records.map(({ level, msg }) => [level, msg])).toEqual([
      ["info", "two"],
      ["warn", "three"],
      ["error", "four"],
    ]);
    expect(records[0]).toMatchObject({ port: 8500, path: "/a b" });
    expect(records[2].error).toMatchObject({ type: "Error", message: "boom" });
  });

  test("writes one text line per event", () => {
    const lines = collect("text", "info");
    expect(lines[0]).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}: I two port=8500 path="\/a b"\n$/);
    expect(lines[2]).toContain(": E four error=");
    expect(lines.every((line) => line.indexOf("\n") === line.length - 1)).toBe(true);
  });

  test("a text line has what went wrong, and where only if it was not foreseen", () => {
    const foreseen = dataLoss("broken file");
    const lines: string[] = [];
    const log = createLogger("text", "info", (line) => lines.push(line));
    log.error("a", { error: foreseen });
    log.error("b", { error: new TypeError("boom") });
    expect(lines[0]).toEndWith(': E a error="StatusError: broken file"\n');
    expect(lines[1]).toMatch(/: E b error="TypeError: boom" stack="at .+"\n$/);
  });

  const errorIn = (error: unknown): Record<string, unknown> => {
    const lines: string[] = [];
    createLogger("json", "info", (line) => lines.push(line)).error("e", { error });
    return JSON.parse(lines[0]!).error;
  };

  test("an error tells its causes, those it holds, and its plain details", () => {
    const cause = Object.assign(new RangeError("deep"), { cause: undefined as unknown });
    const error = Object.assign(new Error("top", { cause }), { code: "EIO", socket: { itself: {} } });
    // 原因が輪になっていても終わる。
    cause.cause = error;
    expect(errorIn(error)).toEqual({
      type: "Error",
      message: "top: deep",
      stack: expect.stringContaining("caused by: RangeError: deep"),
      code: "EIO",
    });
    expect(errorIn(new AggregateError([new Error("one"), "two"], "many"))).toMatchObject({
      message: "many",
      aggregateErrors: [{ message: "one" }, "two"],
    });
  });

  test("whatever was thrown can be written", () => {
    const circle: Record<string, unknown> = {};
    circle["itself"] = circle;
    expect([errorIn("text"), errorIn(circle), errorIn(undefined)]).toEqual([
      "text",
      expect.stringContaining("itself"),
      "undefined",
    ] as never);
  });

  test("fields without a value are left out", () => {
    for (const format of ["text", "json"] as const) {
      const lines: string[] = [];
      createLogger(format, "info", (line) => lines.push(line)).info("e", { gone: undefined });
      expect(lines[0]).not.toContain("gone");
    }
  });

  test.each([
    ["debug", 4],
    ["warn", 2],
    ["error", 1],
    ["silent", 0],
  ] as const)("at level %s writes %d lines", (level, count) => {
    expect(collect("json", level)).toHaveLength(count);
  });
});

test("formatText() marks an unknown level", () => {
  expect(formatText({ time: "2026-01-02T03:04:05.006Z", level: "fatal", msg: "m" })).toBe(
    "2026-01-02 03:04:05.006: ? m\n",
  );
});

test("silentLogger writes nothing and takes everything", () => {
  expect([
    silentLogger.debug("a"),
    silentLogger.info("a"),
    silentLogger.warn("a"),
    silentLogger.error("a"),
  ]).toEqual([undefined, undefined, undefined, undefined]);
});
