import { nearest } from "../options.ts";
import { type Command, UsageError } from "./command.ts";
import { formatHelp } from "./command_help.ts";
import { serverHelp, usage } from "./usage.ts";

/** @param commands 表の全体。自分を含むので、呼ばれたときに読む。 */
export const helpCommand = (commands: () => readonly Command[]): Command => ({
  name: "help",
  summary: "the commands, or the examples and flags of one",
  synopsis: "[COMMAND]",
  examples: [
    ["iris-serving help", "the commands"],
    ["iris-serving help bench", "the same as iris-serving bench --help"],
    ["iris-serving help serve", "every flag of the server, as iris-serving --help"],
  ],
  flags: {},
  get completes() {
    return ["serve", ...commands().map(({ name }) => name)];
  },
  exitCodes: [[0, "printed"]],
  async run([word, ...rest]) {
    const all = commands();
    if (rest.length > 0) throw new UsageError("help takes one command");
    const command = all.find(({ name }) => name === word);
    if (word === undefined) console.log(usage(all).trimEnd());
    else if (word === "serve") console.log(serverHelp(all).trimEnd());
    else if (command !== undefined) console.log(formatHelp(command));
    else {
      const near = nearest(word, [...all.map(({ name }) => name), "serve"]);
      throw new UsageError(`unknown command: ${word}${near === undefined ? "" : ` (did you mean ${near}?)`}`);
    }
    return 0;
  },
});
