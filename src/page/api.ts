import type { Attempt } from "./sample.ts";
import type { MetadataJson, Verb } from "./signature.ts";

export interface ModelVersion {
  readonly version: string;
  /** `AVAILABLE` など。 @see tensorflow_serving/apis/get_model_status.proto */
  readonly state: string;
  /** 読み込めなかった訳。無ければ空。 */
  readonly error: string;
}

export interface Model {
  readonly name: string;
  readonly versions: readonly ModelVersion[];
}

interface ModelsJson {
  readonly models: readonly {
    readonly name: string;
    readonly versions: readonly {
      readonly version: string | number;
      readonly state: string;
      readonly status?: { readonly error_message?: string };
    }[];
  }[];
}

export interface Answer extends Attempt {
  /** 届かなかったときは 0。 */
  readonly status: number;
  readonly milliseconds: number;
}

let key = "";
let onLocked = (): void => {};

/** 要求に添える鍵。頁を閉じれば忘れる。 */
export function useKey(given: string): void {
  key = given;
}

export const hasKey = (): boolean => key !== "";

/** 鍵を求められた(無いか、合わない)ときに呼ばれる。 */
export function whenLocked(listener: () => void): void {
  onLocked = listener;
}

async function ask(path: string, init: RequestInit = {}): Promise<Response> {
  const headers: HeadersInit = key === "" ? {} : { Authorization: `Bearer ${key}` };
  const reply = await fetch(path, { ...init, headers, cache: "no-store" });
  if (reply.status === 401) onLocked();
  return reply;
}

const pathOf = (model: string, version: string | undefined): string =>
  `/v1/models/${encodeURIComponent(model)}${version === undefined ? "" : `/versions/${version}`}`;

/** @throws 届かない、断られた。 */
async function getText(path: string): Promise<string> {
  const reply = await ask(path);
  const text = await reply.text();
  if (!reply.ok) throw new Error(errorOf(text) ?? `${reply.status} ${reply.statusText}`);
  return text;
}

/** 断りの文面。 */
function errorOf(text: string): string | undefined {
  try {
    const { error } = JSON.parse(text) as { readonly error?: unknown };
    return typeof error === "string" ? error : undefined;
  } catch {
    return undefined;
  }
}

export async function listModels(): Promise<Model[]> {
  const { models } = JSON.parse(await getText("/v1/models")) as ModelsJson;
  return models.map(({ name, versions }) => ({
    name,
    versions: versions.map(({ version, state, status }) => ({
      version: String(version),
      state,
      error: status?.error_message ?? "",
    })),
  }));
}

export async function readMetadata(model: string, version: string | undefined): Promise<MetadataJson> {
  return JSON.parse(await getText(`${pathOf(model, version)}/metadata`)) as MetadataJson;
}

/** 指標の頁。旗で場所が変わるので、知られた場所を順に見る。 */
export async function readMetrics(): Promise<string | undefined> {
  for (const path of metricsPaths) {
    const reply = await ask(path);
    if (reply.ok) return reply.text();
  }
  return undefined;
}

const metricsPaths = ["/metrics", "/monitoring/prometheus/metrics"];

/** 断られても届かなくても投げない。`text` は成功なら本文、断られたら文面。 */
export async function post(
  model: string,
  version: string | undefined,
  verb: Verb,
  body: string,
): Promise<Answer> {
  const started = performance.now();
  try {
    const reply = await ask(`${pathOf(model, version)}:${verb}`, { method: "POST", body });
    const text = await reply.text();
    const milliseconds = performance.now() - started;
    return {
      ok: reply.ok,
      status: reply.status,
      text: reply.ok ? text : (errorOf(text) ?? text),
      milliseconds,
    };
  } catch (error) {
    return { ok: false, status: 0, text: String(error), milliseconds: performance.now() - started };
  }
}
