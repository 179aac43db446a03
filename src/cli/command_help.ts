import type { Command, CommandFlag, Example } from "./command.ts";

/** `--server=URL` のような、一覧での綴り。 */
function spell(name: string, { type, hint }: CommandFlag): string {
  return type === "boolean" ? `--${name}` : `--${name}=${hint ?? "VALUE"}`;
}

/** 旗の説明と、値が決まるまでの順。 */
export function describeFlag(flag: CommandFlag): string {
  const { help, default: value, env, choices } = flag;
  const origins = [
    ...(choices === undefined ? [] : [choices.join("|")]),
    ...(value === undefined || value === "" ? [] : [`default ${value}`]),
    ...(env === undefined ? [] : [`env ${env}`]),
  ];
  return origins.length === 0 ? help : `${help} [${origins.join(", ")}]`;
}

/** 例を桁を揃えて並べる。長い行は説明を次の行に送る。 */
export function formatExamples(examples: readonly Example[], indent = "  "): string {
  const fitting = examples.filter(([line]) => line.length <= MAX_COLUMN).map(([line]) => line.length);
  const width = Math.max(0, ...fitting) + 3;
  return examples
    .map(([line, meaning]) => {
      if (meaning === "") return indent + line;
      if (line.length > MAX_COLUMN) return `${indent}${line}\n${indent}${" ".repeat(width)}${meaning}`;
      return indent + line.padEnd(width) + meaning;
    })
    .join("\n");
}
const MAX_COLUMN = 62;

/** すべての副コマンドに共通の終了コードも加える。 */
export function exitCodesOf({ exitCodes }: Command): readonly (readonly [number, string])[] {
  return [...exitCodes, [2, "wrong usage"]];
}

export function usageLine({ name, synopsis, flags }: Command): string {
  return [
    `iris-serving ${name}`,
    ...(Object.keys(flags).length === 0 ? [] : ["[FLAGS]"]),
    ...(synopsis === "" ? [] : [synopsis]),
  ].join(" ");
}

/** `iris-serving 語 --help`。例から始める。 */
export function formatHelp(command: Command): string {
  const { summary, examples, notes, flags } = command;
  const rows = Object.entries(flags).map(
    ([name, flag]) => `  ${spell(name, flag).padEnd(26)} ${describeFlag(flag)}`,
  );
  const codes = exitCodesOf(command).map(([code, meaning]) => `${code} ${meaning}`);
  return [
    `usage: ${usageLine(command)}`,
    `${summary[0]!.toUpperCase()}${summary.slice(1)}.`,
    formatExamples(examples),
    ...(notes === undefined ? [] : [notes]),
    ...(rows.length === 0 ? [] : [`Flags:\n${rows.join("\n")}`]),
    `Exit codes: ${codes.join(", ")}.`,
  ].join("\n\n");
}
