import type { Command } from "../src/cli/command.ts";
import { describeFlag, exitCodesOf, formatExamples, usageLine } from "../src/cli/command_help.ts";
import { commands } from "../src/cli/commands.ts";
import { serveExamples, serveExitCodes } from "../src/cli/usage.ts";
import { flagGroups, flagsWithoutEffect } from "../src/options_help.ts";

const cell = (text: string): string => text.replaceAll("|", "\\|");
const fence = (text: string): string => `\`\`\`console\n${text}\n\`\`\``;

function codesTable(codes: readonly (readonly [number, string])[]): string {
  return `| exit code | meaning |\n|---|---|\n${codes.map(([code, meaning]) => `| ${code} | ${meaning} |`).join("\n")}`;
}

function section(command: Command): string {
  const rows = Object.entries(command.flags).map(
    ([name, flag]) =>
      `| \`--${name}${flag.type === "boolean" ? "" : `=${cell(flag.hint ?? "VALUE")}`}\` | ${cell(describeFlag(flag))} |`,
  );
  return [
    `## \`${command.name}\`: ${command.summary}`,
    `\`${usageLine(command)}\``,
    fence(formatExamples(command.examples, "")),
    ...(command.notes === undefined ? [] : [`${fence(command.notes).replace("console", "text")}`]),
    ...(rows.length === 0 ? [] : [`| flag | |\n|---|---|\n${rows.join("\n")}`]),
    codesTable(exitCodesOf(command)),
  ].join("\n\n");
}

/** サーバーの旗。 */
function serverFlags(): string {
  const groups = flagGroups.map(
    ({ title, lines }) =>
      `| ${title} | |\n|---|---|\n${lines.map(({ spelled, help }) => `| \`${cell(spelled)}\` | ${cell(help)} |`).join("\n")}`,
  );
  const without = flagsWithoutEffect.map((flag) => `\`${flag}\``).join(", ");
  return [...groups, `Accepted without effect, with a warning in the log: ${without}.`].join("\n\n");
}

/** docs/cli.md の全文。 */
export function cliDocument(): string {
  const list = [...commands.values()];
  return `${[
    "# Command line",
    "Generated from the tables of commands and flags by `bun scripts/cli_doc.ts`. `iris-serving --help` and `iris-serving COMMAND --help` say the same.",
    `Without a command the executable is a server. Called as \`tensorflow_model_server\` it is always a server; called as \`tf_serving_entrypoint.sh\` it also adds the flags of TensorFlow Serving's image, and the commands below still work.`,
    `| command | |\n|---|---|\n| [\`serve\`](#serve) | serve models (the default) |\n${list
      .map(
        ({ name, summary }) =>
          `| [\`${name}\`](#${name}-${summary
            .toLowerCase()
            .replace(/[^a-z0-9 -]/g, "")
            .replaceAll(" ", "-")}) | ${summary} |`,
      )
      .join("\n")}`,
    "## `serve`",
    fence(formatExamples(serveExamples, "")),
    codesTable(serveExitCodes),
    "A flag wins over the environment, the environment over the default. `--flag=value` and `--flag value` are the same. [compatibility.md](compatibility.md) says how the flags compare with TensorFlow Serving's, [operations.md](operations.md) when to turn them.",
    serverFlags(),
    ...list.map(section),
  ].join("\n\n")}\n`;
}
