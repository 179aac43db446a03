/**
 * TF Serving の JSON の値。int64 は精度を失わないよう bigint、バイト列は `{"b64": …}` になる。
 * 型付き配列もそのまま書ける。
 */
export type JsonInput =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly JsonInput[]
  | Float32Array
  | Float64Array
  | Int32Array
  | BigInt64Array
  | { readonly [key: string]: JsonInput };

/** 応答の値。倍精度に入らない整数は bigint。 */
export type JsonOutput =
  | null
  | boolean
  | number
  | bigint
  | string
  | JsonOutput[]
  | { [key: string]: JsonOutput };

/** 書く。NaN と無限大は TF Serving の裸の語になる(標準の JSON ではない)。 */
export function formatJson(value: JsonInput): string {
  if (typeof value === "number") {
    if (Object.is(value, -0)) return "-0.0";
    return Number.isFinite(value) ? String(value) : formatWord(value);
  }
  if (typeof value === "bigint") return value.toString();
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  if (value instanceof Uint8Array) return `{"b64":"${Buffer.from(value).toString("base64")}"}`;
  if (Array.isArray(value) || ArrayBuffer.isView(value)) {
    return `[${Array.from(value as readonly JsonInput[], formatJson).join()}]`;
  }
  const members = Object.entries(value as { readonly [key: string]: JsonInput });
  return `{${members.map(([key, item]) => `${JSON.stringify(key)}:${formatJson(item)}`).join()}}`;
}

const formatWord = (value: number): string =>
  Number.isNaN(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";

/** 文字列の外の裸の語。文字列は先に丸ごと読ませて、中の語を拾わない。 */
const words = /"(?:[^"\\]|\\.)*"|-?Infinity|NaN/g;
/** 裸の語を表す JSON の文字列。1 文字目を逃がした綴りなので、サーバーの書いた文字列と紛れない。 */
const spellings: Readonly<Record<string, string>> = {
  NaN: '"\\u004eaN"',
  Infinity: '"\\u0049nfinity"',
  "-Infinity": '"\\u002dInfinity"',
};
const numbers = new Map(Object.entries(spellings).map(([word, spelling]) => [spelling, Number(word)]));

/**
 * 読む。裸の語と、倍精度に入らない整数も読める。
 *
 * @throws SyntaxError
 */
export function parseJson(text: string): JsonOutput {
  const standard = /NaN|Infinity/.test(text)
    ? text.replace(words, (token) => spellings[token] ?? token)
    : text;
  return JSON.parse(standard, (_, value: unknown, context?: { readonly source?: string }) => {
    const source = context?.source ?? "";
    if (typeof value === "string") return numbers.get(source) ?? value;
    const isExact = typeof value !== "number" || Number.isSafeInteger(value) || !/^-?\d+$/.test(source);
    return isExact ? value : BigInt(source);
  });
}
