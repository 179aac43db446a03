import { optionRows } from "../options.ts";
import { type Command, type Completes, UsageError } from "./command.ts";

/** 補完に要ることだけの、旗の 1 行。 */
interface Word {
  /** `--name`。値を取るなら `takesValue`。 */
  readonly flag: string;
  readonly takesValue: boolean;
  readonly help: string;
  readonly values: readonly string[];
  readonly completes: Completes | undefined;
}

interface Row {
  readonly flag: string;
  readonly kind: string;
  readonly help: string;
  readonly choices?: readonly string[];
  readonly ignored?: string;
}

/** 名前の終わりから、値がパスかどうかが分かる。 */
function pathKind(flag: string): Completes | undefined {
  if (/_(file|socket_path)$/.test(flag)) return "file";
  return /_(path|dir)$/.test(flag) ? "directory" : undefined;
}

const serverWords = (): readonly Word[] =>
  (optionRows as readonly Row[])
    .filter(({ ignored }) => ignored === undefined)
    .map(({ flag, kind, help, choices = [] }) => ({
      flag: `--${flag}`,
      takesValue: kind !== "bool",
      help,
      values: choices,
      completes: pathKind(flag),
    }));

const commandWords = ({ flags }: Command): readonly Word[] =>
  Object.entries(flags).map(([name, { type, help, choices = [], completes }]) => ({
    flag: `--${name}`,
    takesValue: type === "string",
    help,
    values: choices,
    completes,
  }));

const spelled = ({ flag, takesValue }: Word): string => (takesValue ? `${flag}=` : flag);

/** bash の `case` の腕。値の候補があるものだけ。 */
function bashValues(words: readonly Word[]): string[] {
  return words.flatMap(({ flag, values, completes }) => {
    if (completes !== undefined) {
      return [`      ${flag}) _iris_serving_reply ${completes === "file" ? "-f" : "-d"} ;;`];
    }
    return values.length > 0 ? [`      ${flag}) _iris_serving_reply -W "${values.join(" ")}" ;;`] : [];
  });
}

function bashArm(name: string, words: readonly Word[], extra: string): string {
  const values = bashValues(words);
  return `    ${name})
      words="${[...words.map(spelled), "--help"].join(" ")}"
      rest="${extra}"
${values.length === 0 ? "" : `      case "$flag" in\n${values.map((line) => `  ${line}`).join("\n")}\n      esac\n`}      ;;`;
}

/** 語の候補か、`-f` / `-d`(ファイル / ディレクトリ)。 */
function restOf({ completes }: Command): string {
  if (completes === "file") return "-f";
  if (completes === "directory") return "-d";
  return completes === undefined ? "" : `-W ${completes.join(" ")}`;
}

function bash(commands: readonly Command[]): string {
  const names = ["serve", ...commands.map(({ name }) => name)];
  return `# bash completion of iris-serving
_iris_serving_reply() {
  if [ "$1" = -W ]; then COMPREPLY=($(compgen -W "$2" -- "$value"))
  else COMPREPLY=($(compgen "$1" -- "$value")); fi
}
_iris_serving() {
  local current line flag value words rest command i
  COMPREPLY=()
  # bash cuts words at "="; put --flag=value together again.
  line=("\${COMP_WORDS[@]:0:COMP_CWORD+1}")
  current=\${line[COMP_CWORD]}
  flag= value=
  if [ "$current" = "=" ] && [ "$COMP_CWORD" -ge 1 ]; then flag=\${line[COMP_CWORD-1]} value=
  elif [ "$COMP_CWORD" -ge 2 ] && [ "\${line[COMP_CWORD-1]}" = "=" ]; then flag=\${line[COMP_CWORD-2]} value=$current
  fi
  command=serve
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "\${line[i]}" in
      ${names.join("|")}) command=\${line[i]}; break ;;
      -*) break ;;
    esac
  done
  case "$command" in
${[
  bashArm("serve", serverWords(), ""),
  ...commands.map((one) => bashArm(one.name, commandWords(one), restOf(one))),
].join("\n")}
  esac
  [ -n "$flag" ] && return
  if [ "$COMP_CWORD" -eq 1 ] && [[ "$current" != -* ]]; then
    COMPREPLY=($(compgen -W "${names.join(" ")}" -- "$current"))
    return
  fi
  value=$current
  if [[ "$current" == -* ]]; then
    COMPREPLY=($(compgen -W "$words" -- "$current"))
    [[ "\${COMPREPLY[0]}" == *= ]] && compopt -o nospace 2>/dev/null
  else
    case "$rest" in
      -W*) COMPREPLY=($(compgen -W "\${rest#-W }" -- "$current")) ;;
      -?) COMPREPLY=($(compgen "$rest" -- "$current")) ;;
    esac
  fi
}
complete -F _iris_serving iris-serving ./iris-serving tensorflow_model_server
`;
}

const zshQuote = (text: string): string => text.replace(/'/g, "'\\''").replace(/[[\]:]/g, "\\$&");

function zshWord({ flag, takesValue, help, values, completes }: Word): string {
  const what =
    completes === "file"
      ? "_files"
      : completes === "directory"
        ? "_files -/"
        : values.length > 0
          ? `(${values.join(" ")})`
          : "";
  return `'${flag}${takesValue ? "=" : ""}[${zshQuote(help)}]${takesValue ? `:value:${what}` : ""}'`;
}

function zshRest({ completes }: Command): readonly string[] {
  if (completes === "file") return ["'*:file:_files'"];
  if (completes === "directory") return ["'*:directory:_files -/'"];
  return completes === undefined ? [] : [`'1:word:(${completes.join(" ")})'`, "'*:directory:_files -/'"];
}

function zsh(commands: readonly Command[]): string {
  const list = [
    ["serve", "serve models (the default)"],
    ...commands.map(({ name, summary }) => [name, summary]),
  ];
  const arm = (name: string, parts: readonly string[]): string =>
    `    ${name})\n      _arguments ${[...parts, "'--help[examples and flags]'"].map((part) => `\\\n        ${part}`).join(" ")}\n      ;;`;
  return `#compdef iris-serving tensorflow_model_server
# zsh completion of iris-serving
_iris_serving() {
  local -a commands
  commands=(
${list.map(([name, summary]) => `    '${name}:${zshQuote(summary!)}'`).join("\n")}
  )
  if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then
    _describe command commands
    return
  fi
  local command=$words[2]
  if [[ $command == -* ]]; then command=serve; else shift words; (( CURRENT-- )); fi
  case $command in
${[
  arm("serve", serverWords().map(zshWord)),
  ...commands.map((one) => arm(one.name, [...commandWords(one).map(zshWord), ...zshRest(one)])),
].join("\n")}
  esac
}
if [[ $funcstack[1] == _iris_serving ]]; then _iris_serving "$@"; else compdef _iris_serving iris-serving tensorflow_model_server; fi
`;
}

const fishQuote = (text: string): string => `'${text.replace(/[\\']/g, "\\$&")}'`;

function fishWord(condition: string, { flag, takesValue, help, values, completes }: Word): string {
  const value = !takesValue ? "" : completes === undefined ? " -x" : " -r -F";
  const choices = values.length > 0 ? ` -a ${fishQuote(values.join(" "))}` : "";
  return `complete -c iris-serving -n ${fishQuote(condition)} -l ${flag.slice(2)}${value}${choices} -d ${fishQuote(help)}`;
}

function fishRest({ name, completes }: Command): readonly string[] {
  const condition = fishQuote(`__fish_seen_subcommand_from ${name}`);
  if (completes === undefined) return [];
  if (typeof completes === "string") {
    const what = completes === "file" ? "__fish_complete_path" : "__fish_complete_directories";
    return [`complete -c iris-serving -n ${condition} -a '(${what})'`];
  }
  return [`complete -c iris-serving -n ${condition} -a ${fishQuote(completes.join(" "))}`];
}

function fish(commands: readonly Command[]): string {
  const names = commands.map(({ name }) => name).join(" ");
  const serving = `not __fish_seen_subcommand_from ${names}`;
  const first = `${serving} serve`;
  return [
    "# fish completion of iris-serving",
    "complete -c iris-serving -f",
    `complete -c iris-serving -n ${fishQuote(first)} -a serve -d 'serve models (the default)'`,
    ...commands.map(
      ({ name, summary }) =>
        `complete -c iris-serving -n ${fishQuote(first)} -a ${name} -d ${fishQuote(summary)}`,
    ),
    ...serverWords().map((word) => fishWord(serving, word)),
    ...commands.flatMap((one) => [
      ...commandWords(one).map((word) => fishWord(`__fish_seen_subcommand_from ${one.name}`, word)),
      ...fishRest(one),
    ]),
    "",
  ].join("\n");
}

const shells = { bash, zsh, fish } as const;

/** @param commands 表の全体。自分を含むので、呼ばれたときに読む。 */
export const completionCommand = (commands: () => readonly Command[]): Command => ({
  name: "completion",
  summary: "print a completion script for bash, zsh or fish",
  synopsis: "bash|zsh|fish",
  examples: [
    ["source <(iris-serving completion bash)", "this shell only"],
    ["iris-serving completion bash > /etc/bash_completion.d/iris-serving", "every new bash"],
    ["iris-serving completion zsh > ~/.zfunc/_iris-serving", "zsh, with ~/.zfunc in fpath"],
    ["iris-serving completion fish > ~/.config/fish/completions/iris-serving.fish", "fish"],
  ],
  flags: {},
  completes: Object.keys(shells),
  exitCodes: [[0, "printed"]],
  async run(args) {
    const [shell = "", ...rest] = args;
    if (!Object.hasOwn(shells, shell) || rest.length > 0) {
      throw new UsageError(`completion takes one of ${Object.keys(shells).join(", ")}`);
    }
    console.log(shells[shell as keyof typeof shells](commands()).trimEnd());
    return 0;
  },
});
