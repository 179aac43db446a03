import pino from "pino";

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

const badges = new Map([
  [20, "D"],
  [30, "I"],
  [40, "W"],
  [50, "E"],
]);

/** 名前は `error.name` から取る。クラスの名前は、実行ファイルでは縮められている。 */
function serializeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  return { ...pino.stdSerializers.err(error), type: error.name };
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
    .map(([key, value]) => {
      if (key === "error") return ` error=${errorText(value)}`;
      return ` ${key}=${typeof value === "string" && !/[\s="]/.test(value) ? value : JSON.stringify(value)}`;
    })
    .join("");
  return `${String(time).replace("T", " ").replace("Z", "")}: ${badges.get(Number(level)) ?? "?"} ${String(msg)}${tail}\n`;
}

/**
 * @param write 1 行(改行つき)を受け取る出口。
 */
export function createLogger(format: LogFormat, level: LogLevel, write: (line: string) => void): Logger {
  const logger = pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      serializers: { error: serializeError },
      ...(format === "json" ? { formatters: { level: (label: string) => ({ level: label }) } } : {}),
    },
    { write: format === "json" ? write : (line: string) => write(formatText(JSON.parse(line))) },
  );
  const at =
    (method: "debug" | "info" | "warn" | "error") =>
    (event: string, fields?: LogFields): void => {
      if (fields === undefined) logger[method](event);
      else logger[method](fields, event);
    };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

/** 何も書かない Logger。 */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };
