/** ログに付ける項目。値は JSON にできるもの。`error` だけは Error を渡せる。 */
export type LogFields = Readonly<Record<string, unknown>>;

/** 出来事とその項目を書く。文面は英語、1 件 1 行。 */
export interface Logger {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
}

export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";
export type LogFormat = "text" | "json";

/** 軽い順。 */
const levels = ["debug", "info", "warn", "error", "silent"] as const;
const badges: ReadonlyMap<unknown, string> = new Map([
  ["debug", "D"],
  ["info", "I"],
  ["warn", "W"],
  ["error", "E"],
]);

/** 誤りと、その原因をさかのぼったもの。 */
function withCauses(error: Error): readonly Error[] {
  const chain = [error];
  for (let { cause } = error; cause instanceof Error && !chain.includes(cause); { cause } = cause) {
    chain.push(cause);
  }
  return chain;
}

/** 名前は `error.name` から取る。クラスの名前は、実行ファイルでは縮められている。 */
function serializeError(error: unknown): unknown {
  if (!(error instanceof Error)) return typeof error === "string" ? error : Bun.inspect(error);
  const chain = withCauses(error);
  // `code` や `path` など。ソケットのような大きなものは書かない。
  const details = Object.entries(error).filter(([, value]) => /^(string|number|boolean)$/.test(typeof value));
  return {
    type: error.name,
    message: chain.map(({ message }) => message).join(": "),
    stack: chain.map(({ stack }) => stack).join("\ncaused by: "),
    ...(error instanceof AggregateError ? { aggregateErrors: error.errors.map(serializeError) } : {}),
    ...Object.fromEntries(details),
  };
}

const FRAMES = 4;

/** 人が読む誤り。StatusError の文面はそれだけで訳が分かるので、積み重ねは思いがけないものにだけ付ける。 */
function errorText(value: unknown): string {
  if (typeof value !== "object" || value === null || !("message" in value)) return JSON.stringify(value);
  const { type, message, stack } = value as Readonly<Record<string, unknown>>;
  const frames = String(stack ?? "")
    .split("\n")
    .filter((line) => line.trimStart().startsWith("at "))
    .slice(0, FRAMES);
  const isOwn = type === "StatusError" || frames.length === 0;
  return (
    JSON.stringify(`${type}: ${message}`) + (isOwn ? "" : ` stack=${JSON.stringify(frames.join("").trim())}`)
  );
}

/** 人が読む 1 行。TF Serving の `<時刻>: I <文面>]` に似せ、項目は key=value で続ける。 */
export function formatText(record: Readonly<Record<string, unknown>>): string {
  const { time, level, msg, ...fields } = record;
  const tail = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => {
      if (key === "error") return ` error=${errorText(value)}`;
      return ` ${key}=${typeof value === "string" && !/[\s="]/.test(value) ? value : JSON.stringify(value)}`;
    })
    .join("");
  return `${String(time).replace("T", " ").replace("Z", "")}: ${badges.get(level) ?? "?"} ${String(msg)}${tail}\n`;
}

/**
 * @param write 1 行(改行つき)を受け取る出口。
 */
export function createLogger(format: LogFormat, level: LogLevel, write: (line: string) => void): Logger {
  const at = (own: Exclude<LogLevel, "silent">): Logger["info"] => {
    if (levels.indexOf(own) < levels.indexOf(level)) return ignore;
    return (msg, fields = {}) => {
      const error = "error" in fields ? { error: serializeError(fields["error"]) } : {};
      const record = { level: own, time: new Date().toISOString(), ...fields, ...error, msg };
      write(format === "json" ? `${JSON.stringify(record)}\n` : formatText(record));
    };
  };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

const ignore = (): void => {};

/** 何も書かない Logger。 */
export const silentLogger: Logger = { debug: ignore, info: ignore, warn: ignore, error: ignore };
