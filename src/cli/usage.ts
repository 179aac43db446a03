import { formatFlags } from "../options_help.ts";
import type { Command, Example } from "./command.ts";
import { formatExamples } from "./command_help.ts";

/** サーバーとしての使い方の例。 */
export const serveExamples: readonly Example[] = [
  ["iris-serving", "serve the embedded Iris model on 8500 and 8501"],
  ["iris-serving --model_name=m --model_base_path=/models/m", "serve the newest version of one model"],
  ["iris-serving --model_config_file=/models/models.config", "serve several models"],
  ["iris-serving --port=9000 --rest_api_port=0", "gRPC only, on another port"],
];

/** サーバーの終了コード。 */
export const serveExitCodes: readonly (readonly [number, string])[] = [
  [0, "stopped by SIGTERM or SIGINT, every call answered"],
  [1, "a second signal cut the drain short"],
  [255, "the server could not start; stderr says why in one line"],
];

/** 使い方の一覧。例から始める。 */
export function usage(commands: Iterable<Command>): string {
  const list = [...commands];
  const width = Math.max(...list.map(({ name }) => name.length)) + 3;
  const lines = list.map(({ name, summary }) => `  ${name.padEnd(width)}${summary}`);
  return `usage: iris-serving [FLAGS]             serve models (the default)
       iris-serving COMMAND [ARGUMENTS]

${formatExamples([...serveExamples, ["iris-serving help COMMAND", "examples and flags of a command; serve has those of the server"]])}

Commands:
${lines.join("\n")}

Exit codes: 0 success, 1 failed, 2 wrong usage of a command, 255 the server could not start.
`;
}

/** `iris-serving --help`: 使い方と、サーバーの旗のすべて。 */
export function serverHelp(commands: Iterable<Command>): string {
  return `${usage(commands)}\n${formatFlags()}`;
}
