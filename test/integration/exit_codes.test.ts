import { describe, expect, spyOn, test } from "bun:test";
import { exitCodesOf } from "../../src/cli/command_help.ts";
import { commands } from "../../src/cli/commands.ts";
import { runCommand } from "../../src/cli/run_command.ts";
import { serve } from "../../src/cli/serve.ts";
import { serveExitCodes } from "../../src/cli/usage.ts";
import { freePort } from "../helpers/free_port.ts";

/** main と同じ振り分けを、同じプロセスで。 */
async function exitOf(args: readonly string[]): Promise<{ code: number; err: string }> {
  const errors: string[] = [];
  const log = spyOn(console, "log").mockImplementation(() => {});
  const error = spyOn(console, "error").mockImplementation((...parts) => void errors.push(parts.join(" ")));
  try {
    const [word = "", ...rest] = args;
    const code = await (word.startsWith("-") ? serve(args) : runCommand(word, rest));
    return { code, err: errors.join("\n") };
  } finally {
    log.mockRestore();
    error.mockRestore();
  }
}

const documented = (word: string): readonly number[] => {
  const command = commands.get(word);
  return (command === undefined ? serveExitCodes : exitCodesOf(command)).map(([code]) => code);
};

describe("documented exit codes are the real ones", () => {
  test.each([
    ["serve", 0, ["--version"]],
    ["serve", 0, ["--help"]],
    ["serve", 255, ["--port=x"]],
    ["predict", 2, ["predict", "1"]],
    ["predict", 1, ["predict", "--server=127.0.0.1:CLOSED", "1", "2", "3", "4"]],
    ["show", 1, ["show", "/does/not/exist"]],
    ["export", 2, ["export"]],
    ["export", 1, ["export", "/dev/null"]],
    ["health", 1, ["health", "--server=127.0.0.1:CLOSED"]],
    ["warmup", 2, ["warmup"]],
    ["warmup", 1, ["warmup", "record", "/does/not/exist"]],
    ["bench", 1, ["bench", "--rest=127.0.0.1:CLOSED"]],
    ["bench", 2, ["bench", "--concurrency=0"]],
    ["completion", 0, ["completion", "bash"]],
    ["completion", 2, ["completion", "tcsh"]],
    ["help", 0, ["help"]],
    ["help", 2, ["help", "nope"]],
  ] as const)("%s exits with %d: %j", async (word, code, args) => {
    const closed = String(await freePort());
    const answer = await exitOf(args.map((arg) => arg.replace("CLOSED", closed)));
    expect([answer.code, answer.err]).toEqual([code, code === 0 ? "" : expect.stringMatching(/\S/)]);
    expect(documented(word)).toContain(code);
  });

  test("an unknown command exits with 2 and names a near one", async () => {
    const { code, err } = await exitOf(["expotr"]);
    expect([code, err]).toEqual([2, expect.stringContaining("did you mean export?")]);
  });

  test("the word version leads to the flag", async () => {
    expect(await exitOf(["version"])).toEqual({
      code: 2,
      err: "unknown command: version (did you mean --version?)\nSee iris-serving help.",
    });
  });

  test("a port that is taken is named", async () => {
    using taken = Bun.listen({ hostname: "0.0.0.0", port: 0, socket: { data() {} } });
    const { code, err } = await exitOf([`--port=${taken.port}`, "--rest_api_port=0", "--log_level=silent"]);
    expect([code, err]).toEqual([
      255,
      expect.stringMatching(
        new RegExp(
          `^Failed to start server. Error: .*Failed to BuildAndStart gRPC server \\(.*${taken.port}`,
        ),
      ),
    ]);
  });

  test("a relative base path is refused with the line that would do", async () => {
    const { code, err } = await exitOf(["--model_base_path=./models/m", "--log_level=silent"]);
    expect(code).toBe(255);
    expect(err).toEndWith('Try --model_base_path="$PWD/models/m"');
  });

  test("a flag no command has exits with 2, names a near one and says where the help is", async () => {
    const { code, err } = await exitOf(["health", "--servre=x"]);
    expect([code, err]).toEqual([
      2,
      "unknown flag: --servre (did you mean --server?)\nusage: iris-serving health [FLAGS]\nSee iris-serving health --help.",
    ]);
  });
});
