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

/** 人が読む 1 行。TF Serving の `<時刻>: I <文面>]` に似せ、項目は key=value で続ける。 */
export function formatText(record: Readonly<Record<string, unknown>>): string {
  const { time, level, msg, ...fields } = record;
  const tail = Object.entries(fields)
    .map(
      ([key, value]) =>
        ` ${key}=${typeof value === "string" && !/[\s="]/.test(value) ? value : JSON.stringify(value)}`,
    )
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
      serializers: { error: pino.stdSerializers.err },
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
