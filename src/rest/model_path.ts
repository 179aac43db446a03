import { Code, StatusError } from "../base/status.ts";
import type { ModelSpec } from "../service/model_spec.ts";

/** URL の指すモデルと、その後ろの語(動詞か `metadata`)。語は書かれた綴りのまま。 */
export interface ModelPath {
  /** 復号済み。書かれていなければ空。 */
  readonly spec: ModelSpec;
  readonly word: string;
}

/** 版の数が int64 に収まらない。TF Serving はこれだけ本文なしで断る。 */
export class BadVersion extends StatusError {
  /** 復号済みのモデル名。 */
  readonly modelName: string;

  constructor(modelName: string, version: string) {
    super(Code.INVALID_ARGUMENT, `Failed to convert version: ${version} to numeric.`);
    this.modelName = modelName;
  }
}

/** `?query` と `#fragment` まで含めて照らす。 @see tensorflow_serving/model_servers/http_rest_api_handler.cc kPathRegex */
const api = /^\/v1\/.*$/i;
const prediction =
  /^\/v1\/models\/([^/:]+)(?:(?:\/versions\/(\d+))|(?:\/labels\/([^/:]+)))?:(classify|regress|predict)$/i;
const query =
  /^\/v1\/models(?:\/([^/:]+))?(?:(?:\/versions\/(\d+))|(?:\/labels\/([^/:]+)))?(?:\/(metadata))?$/i;

/** RFC 3986 の path, query, fragment に書ける文字だけか。`%` は 16 進 2 桁を伴うこと。 */
const wellFormed =
  /^(?:[\w\-.~!$&'()*+,;=:@/?]|%[0-9a-f]{2})*(?:#(?:[\w\-.~!$&'()*+,;=:@/?]|%[0-9a-f]{2})*)?$/i;

const MAX_VERSION = (1n << 63n) - 1n;
const decoder = new TextDecoder();

export const isApiTarget = (target: string): boolean => api.test(target);
export const isWellFormedTarget = (target: string): boolean => wellFormed.test(target);

/** `:predict` などの宛先。合わなければ undefined。 @throws BadVersion */
export function parsePredictionPath(target: string): ModelPath | undefined {
  return toModelPath(prediction.exec(target));
}

/** 状態とメタデータの宛先。合わなければ undefined。 @throws BadVersion */
export function parseQueryPath(target: string): ModelPath | undefined {
  return toModelPath(query.exec(target));
}

function toModelPath(match: RegExpExecArray | null): ModelPath | undefined {
  if (match === null) return undefined;
  const [, rawName = "", version = "", label = "", word = ""] = match;
  const name = decodePercent(rawName);
  if (version !== "") {
    const number = BigInt(version);
    if (number > MAX_VERSION) throw new BadVersion(name, version);
    return { spec: { name, version: number }, word };
  }
  return { spec: label === "" ? { name } : { name, label: decodePercent(label) }, word };
}

/** `%XX` だけを戻す。`+` はそのまま、壊れた列もそのまま。 @see curl_easy_unescape(3) */
function decodePercent(text: string): string {
  if (!text.includes("%")) return text;
  const bytes = Buffer.from(text);
  const out = new Uint8Array(bytes.length);
  let to = 0;
  for (let at = 0; at < bytes.length; at++) {
    const digits = bytes.toString("latin1", at + 1, at + 3);
    if (bytes[at] === 0x25 && /^[0-9a-f]{2}$/i.test(digits)) {
      out[to++] = Number.parseInt(digits, 16);
      at += 2;
    } else {
      out[to++] = bytes[at]!;
    }
  }
  return decoder.decode(out.subarray(0, to));
}
