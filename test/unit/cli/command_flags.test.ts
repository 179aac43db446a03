import { describe, expect, test } from "bun:test";
import { type CommandFlags, UsageError } from "../../../src/cli/command.ts";
import { parseFlags, readNumber } from "../../../src/cli/command_flags.ts";

const flags = {
  model: { type: "string", default: "iris", env: "MODEL", help: "" },
  server: { type: "string", help: "" },
  color: { type: "string", default: "red", choices: ["red", "blue"], help: "" },
  json: { type: "boolean", help: "" },
} as const satisfies CommandFlags;

describe("parseFlags", () => {
  test.each([
    ["defaults", [], {}, { model: "iris", server: undefined, color: "red", json: false }],
    ["the environment over defaults", [], { MODEL: "m" }, { model: "m" }],
    ["an empty variable as none", [], { MODEL: "" }, { model: "iris" }],
    ["a flag over the environment", ["--model=a", "--json"], { MODEL: "m" }, { model: "a", json: true }],
    ["the last of equal flags", ["--color", "red", "--color=blue"], {}, { color: "blue" }],
  ])("takes %s", (_, args, env, expected) => {
    expect(parseFlags(flags, args, env).values).toMatchObject(expected);
  });

  test("keeps the other words in order", () => {
    expect(parseFlags(flags, ["b", "--json", "a", "--", "--c"], {}).positionals).toEqual(["b", "a", "--c"]);
  });

  test.each([[["--colour=red"]], [["--server"]], [["--json=1"]], [["--color=green"]]])(
    "refuses %j",
    (args) => {
      expect(() => parseFlags(flags, args, {})).toThrow(
        /colour|server|json|--color takes red, blue, not green/,
      );
    },
  );
});

describe("readNumber", () => {
  test.each([
    ["5", 5],
    ["0.5", 0.5],
    ["1e3", 1000],
  ])("reads %s", (text, value) => expect(readNumber("n", text)).toBe(value));

  test.each([
    ["", 0, false],
    ["x", 0, false],
    ["-1", 0, false],
    ["0", 1, false],
    ["1.5", 0, true],
    ["NaN", 0, false],
  ])("refuses %j (least %d, integer %j)", (text, least, integer) => {
    expect(() => readNumber("n", text, least, integer)).toThrow(UsageError);
  });
});
