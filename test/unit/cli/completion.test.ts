import { afterAll, describe, expect, spyOn, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { UsageError } from "../../../src/cli/command.ts";
import { commands } from "../../../src/cli/commands.ts";
import { optionRows } from "../../../src/options.ts";

async function print(shell: string): Promise<string> {
  let text = "";
  const log = spyOn(console, "log").mockImplementation((line: string) => {
    text += line;
  });
  try {
    expect(await commands.get("completion")!.run([shell])).toBe(0);
  } finally {
    log.mockRestore();
  }
  return text;
}

const directory = mkdtempSync(join(tmpdir(), "completion-"));
writeFileSync(join(directory, "request.json"), "{}");
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe.each(["bash", "zsh", "fish"])("%s", (shell) => {
  test("knows every command and every flag", async () => {
    const script = await print(shell);
    for (const { name, flags } of commands.values()) {
      expect(script).toContain(name);
      for (const flag of Object.keys(flags)) expect(script).toContain(flag);
    }
    for (const row of optionRows) {
      const isOffered = script.includes(`${row.flag}${shell === "fish" ? " " : ""}`);
      expect([row.flag, isOffered || "ignored" in row]).toEqual([row.flag, true]);
    }
  });
});

test.each([[[]], [["tcsh"]], [["bash", "zsh"]]])("refuses %j", async (args) => {
  await expect(commands.get("completion")!.run(args)).rejects.toThrow(UsageError);
});

/** bash そのものに補わせる。語は bash が区切る形(`=` も 1 語)。 */
async function complete(...words: string[]): Promise<string[]> {
  const script = `${await print("bash")}
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _iris_serving; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const child = Bun.spawn(["bash", "-c", script, "bash", "iris-serving", ...words], {
    cwd: directory,
    stderr: "pipe",
  });
  expect(await new Response(child.stderr).text()).toBe("");
  return (await new Response(child.stdout).text()).split("\n").filter((line) => line !== "");
}

describe.if(Bun.which("bash") !== null)("in bash", () => {
  test.each([
    ["commands", ["be"], ["bench"]],
    ["flags of the server", ["--model_n"], ["--model_name="]],
    ["flags of the server after another", ["--port", "9", "--rest_api_p"], ["--rest_api_port="]],
    ["flags of a command", ["bench", "--con"], ["--concurrency=", "--connections="]],
    ["choices", ["--log_format", "=", "j"], ["json"]],
    ["all choices", ["--log_format", "="], ["auto", "text", "json"]],
    ["files", ["bench", "--data", "=", "req"], ["request.json"]],
    ["words", ["completion", "f"], ["fish"]],
    ["nothing for a value it does not know", ["--port", "=", "8"], []],
  ])("completes %s", async (_, words, expected) => {
    expect(await complete(...words)).toEqual(expected);
  });
});
