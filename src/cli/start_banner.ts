import type { Serving } from "../server.ts";

/** 一覧に並べるモデルの数。残りは数だけ言う。 */
const MAX_MODELS = 8;
const LABEL = 10;

/** 手元の人が開ける宛先。`[::]:8501` や `0.0.0.0:8501` は、この機械のどの名前でもある。 */
const openable = (address: string): string => address.replace(/^(\[::\]|0\.0\.0\.0):/, "localhost:");

const urlOf = ({ address, tls }: NonNullable<Serving["rest"]>): string =>
  `${tls ? "https" : "http"}://${openable(address)}`;

/** 何がどこで提供されているかの、人が読む行。 */
export function bannerLines({ models, grpc, rest }: Serving, startMs: number): string[] {
  const line = (label: string, text: string): string => `  ${label.padEnd(LABEL)}${text}`;
  const shown = models.slice(0, MAX_MODELS).map(({ name, versions }) => {
    const kind = versions.length === 1 ? "version" : "versions";
    return line("model", `${name}, ${kind} ${versions.join(", ")}`);
  });
  const more = models.length - shown.length;
  const lines = [
    `Ready after ${Math.round(startMs)} ms`,
    ...shown,
    ...(more > 0 ? [line("", `and ${more} more`)] : []),
    ...grpc.map((address) => line("gRPC", openable(address))),
  ];
  if (rest === undefined) return lines;
  const url = urlOf(rest);
  return [
    ...lines,
    line("REST", `${url}/v1/models`),
    ...(rest.page ? [line("page", `${url}/`), line("API docs", `${url}/docs`)] : []),
    line("health", `${url}/readyz`),
    ...rest.metricsPaths.slice(-1).map((path) => line("metrics", `${url}${path}`)),
  ];
}

/** 同じことの、機械が読む項目。 */
export function bannerFields({ models, grpc, rest }: Serving, startMs: number): object {
  return {
    ms: Math.round(startMs),
    models: Object.fromEntries(models.map(({ name, versions }) => [name, versions])),
    grpc,
    ...(rest === undefined
      ? {}
      : {
          rest: urlOf(rest),
          page: rest.page ? "/" : null,
          health: "/readyz",
          metrics: rest.metricsPaths.at(-1) ?? null,
        }),
  };
}
