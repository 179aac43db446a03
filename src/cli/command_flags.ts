import { parseArgs } from "node:util";
import { nearest } from "../options.ts";
import { type CommandFlag, type CommandFlags, UsageError } from "./command.ts";

type ValueOf<F extends CommandFlag> = F["type"] extends "boolean"
  ? boolean
  : F extends { readonly default: string }
    ? string
    : string | undefined;

export interface ParsedCommand<F extends CommandFlags> {
  readonly values: { readonly [K in keyof F]: ValueOf<F[K]> };
  readonly positionals: readonly string[];
}

/** 環境変数まで見た既定の値。文書には環境変数の無いときのものが載る。 */
export function defaultOf(
  flag: CommandFlag,
  env: Readonly<Record<string, string | undefined>>,
): string | undefined {
  const { default: template, env: variable } = flag;
  if (variable === undefined) return template;
  return env[variable] ? env[variable] : template;
}

/** @throws UsageError 知らない旗。近い名前があれば示す。 */
function checkNames(flags: CommandFlags, args: readonly string[]): void {
  for (const arg of args) {
    if (arg === "--") return;
    const name = /^--?([^=]+)/.exec(arg)?.[1];
    if (name === undefined || Object.hasOwn(flags, name) || !Number.isNaN(Number(arg))) continue;
    const near = nearest(name, Object.keys(flags));
    throw new UsageError(
      `unknown flag: ${arg.split("=")[0]}${near === undefined ? "" : ` (did you mean --${near}?)`}`,
    );
  }
}

/**
 * 旗 > 環境変数 > 既定値。
 *
 * @throws TypeError(node:util の `ERR_PARSE_ARGS_*`)値の無い旗。
 * @throws UsageError 知らない旗、選べない値。
 */
export function parseFlags<const F extends CommandFlags>(
  flags: F,
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>> = process.env,
): ParsedCommand<F> {
  checkNames(flags, args);
  const rows = Object.entries<CommandFlag>(flags);
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: Object.fromEntries(rows.map(([name, { type }]) => [name, { type }])),
  });
  const merged: Record<string, string | boolean | undefined> = {};
  for (const [name, flag] of rows) {
    const given = values[name] as string | boolean | undefined;
    const value = given ?? (flag.type === "boolean" ? false : defaultOf(flag, env));
    if (flag.choices !== undefined && typeof value === "string" && !flag.choices.includes(value)) {
      throw new UsageError(`--${name} takes ${flag.choices.join(", ")}, not ${value}`);
    }
    merged[name] = value;
  }
  return { values: merged as ParsedCommand<F>["values"], positionals };
}

/** @throws UsageError `least` より小さいか、数でない。 */
export function readNumber(name: string, value: string, least = 0, integer = false): number {
  const number = Number(value);
  if (value.trim() === "" || !(number >= least) || (integer && !Number.isSafeInteger(number))) {
    throw new UsageError(
      `--${name} needs ${integer ? "a whole number" : "a number"} of at least ${least}, not ${value}`,
    );
  }
  return number;
}
