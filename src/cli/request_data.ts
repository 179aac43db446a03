import { type JsonOutput, parseJson } from "../client/json_text.ts";
import { readRecords } from "../servables/tf_record.ts";
import { UsageError } from "./command.ts";

/** TF Serving の JSON の本文。 */
export type RequestBody = { readonly [key: string]: JsonOutput };

/** `--data` の中身。 */
export type RequestData =
  | { readonly kind: "bodies"; readonly bodies: readonly RequestBody[] }
  | { readonly kind: "records"; readonly records: readonly Uint8Array[] };

/** TFRecord は長さ(64 ビット)で始まる。JSON の文字が 4 GiB を越える長さに見えることはない。 */
const isRecords = (bytes: Uint8Array): boolean =>
  bytes.length >= 16 && bytes.subarray(4, 8).every((byte) => byte === 0);

function parseBody(text: string, where: string): RequestBody {
  let value: JsonOutput;
  try {
    value = parseJson(text);
  } catch (thrown) {
    throw new UsageError(`${where}: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new UsageError(`${where}: not a request body`);
  }
  return value;
}

/**
 * TF Serving の JSON の本文 1 つ、1 行 1 本文、または PredictionLog の TFRecord。
 *
 * @throws UsageError 読めない。
 */
export function readData(path: string, bytes: Uint8Array): RequestData {
  if (isRecords(bytes)) {
    try {
      return { kind: "records", records: [...readRecords(bytes)] };
    } catch (thrown) {
      throw new UsageError(`${path}: ${String(thrown)}`);
    }
  }
  const text = new TextDecoder().decode(bytes);
  const lines = text.split("\n").flatMap((line, i) => (line.trim() === "" ? [] : [[line, i + 1] as const]));
  if (lines.length === 0) throw new UsageError(`${path} is empty`);
  // 字下げした 1 つの本文と、1 行ずつの本文の見分け。
  const isWhole = lines.length === 1 || !lines[0]![0].trimEnd().endsWith("}");
  return {
    kind: "bodies",
    bodies: isWhole
      ? [parseBody(text, path)]
      : lines.map(([line, number]) => parseBody(line, `${path}:${number}`)),
  };
}

/**
 * `--data` の指すもの。`-` は標準入力。
 *
 * @throws UsageError 読めない。
 */
export async function readDataFile(path: string): Promise<RequestData> {
  const source = path === "-" ? Bun.stdin : Bun.file(path);
  let bytes: Uint8Array;
  try {
    bytes = await source.bytes();
  } catch (thrown) {
    throw new UsageError(`cannot read ${path}: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
  }
  return readData(path === "-" ? "stdin" : path, bytes);
}
