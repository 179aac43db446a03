import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { cliDocument } from "../../../scripts/cli_document.ts";
import { formatExamples, formatHelp } from "../../../src/cli/command_help.ts";
import { commands } from "../../../src/cli/commands.ts";
import { serveExamples, usage } from "../../../src/cli/usage.ts";
import { parseOptions } from "../../../src/options.ts";

describe.each([...commands.values()].map((command) => [command.name, command] as const))(
  "%s --help",
  (name, command) => {
    const help = formatHelp(command);

    test("has a usage line, examples, every flag and the exit codes", () => {
      expect(help).toStartWith(`usage: iris-serving ${name}`);
      expect(command.examples.length).toBeGreaterThan(0);
      for (const [line] of command.examples) expect(help).toContain(line);
      for (const [flag, { help: text }] of Object.entries(command.flags)) {
        expect(help).toContain(`--${flag}`);
        expect(help).toContain(text);
      }
      expect(help).toMatch(/Exit codes: 0 .*, 2 wrong usage\.$/);
    });

    test("its examples use flags that exist", () => {
      for (const [line] of command.examples) {
        const own = line.split(/&&|>|;/).find((part) => part.includes(`iris-serving ${name}`)) ?? "";
        const used = [...own.matchAll(/--(\w+)/g)].map(([, flag]) => flag!);
        for (const flag of used) expect(Object.keys(command.flags)).toContain(flag);
      }
    });

    test("fits a terminal of 120 columns", () => {
      for (const line of help.split("\n")) expect(line.length).toBeLessThanOrEqual(120);
    });
  },
);

test("the examples of the server are command lines it accepts", () => {
  for (const [line] of serveExamples) {
    expect(() => parseOptions(line.split(" ").slice(1), {})).not.toThrow();
  }
  expect(usage(commands.values())).toContain(serveExamples[0]![0]);
});

test("examples stand in columns; a long line sends its meaning to the next", () => {
  const long = "x".repeat(70);
  expect(
    formatExamples(
      [
        ["a", "one"],
        ["bbb", "two"],
        [long, "three"],
      ],
      "",
    ),
  ).toBe(["a     one", "bbb   two", long, "      three"].join("\n"));
});

test("docs/cli.md is what the tables say (else: bun scripts/cli_doc.ts)", () => {
  expect(readFileSync(join(import.meta.dir, "../../../docs/cli.md"), "utf8")).toBe(cliDocument());
});
