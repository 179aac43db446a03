import type { HeaderField } from "./hpack_table.ts";

/** 1 本の接続だけの事情で、要求が持っていてはならない見出し。 @see https://www.rfc-editor.org/rfc/rfc9113#section-8.2.2 */
const connectionOnly = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
]);
const pseudo = new Set([":method", ":scheme", ":path", ":authority"]);

/** 要求のヘッダー。 */
export class RequestHeaders {
  readonly method: string;
  /** 問い合わせ文字列まで含む。 */
  readonly path: string;
  /** 本文の長さ。言わなければ -1。 */
  readonly contentLength: number;
  readonly #fields: ReadonlyMap<string, string>;

  constructor(fields: ReadonlyMap<string, string>) {
    this.method = fields.get(":method")!;
    this.path = fields.get(":path")!;
    this.contentLength = Number(fields.get("content-length") ?? -1);
    this.#fields = fields;
  }

  /** @param name 小文字。 @returns 同じ名前が何度もあれば `, ` でつないだもの。 */
  get(name: string): string | undefined {
    return this.#fields.get(name);
  }
}

/**
 * @returns HTTP/2 の要求として正しくなければ undefined。
 * @see https://www.rfc-editor.org/rfc/rfc9113#section-8.3.1
 */
export function readRequestHeaders(fields: readonly HeaderField[]): RequestHeaders | undefined {
  const found = new Map<string, string>();
  let isRegular = false;
  for (const { name, value } of fields) {
    const isPseudo = name.startsWith(":");
    if (isPseudo && (isRegular || !pseudo.has(name) || found.has(name))) return undefined;
    if (!isPseudo) {
      isRegular = true;
      if (!isWellFormed(name, value)) return undefined;
    }
    const before = found.get(name);
    found.set(name, before === undefined ? value : `${before}, ${value}`);
  }
  const path = found.get(":path");
  if (!found.has(":method") || !found.has(":scheme") || path === undefined || path === "") return undefined;
  const length = found.get("content-length");
  if (length !== undefined && !/^\d{1,15}$/.test(length)) return undefined;
  return new RequestHeaders(found);
}

/** @returns 本文の後のヘッダーとして正しいか。 */
export const areTrailers = (fields: readonly HeaderField[]): boolean =>
  fields.every(({ name, value }) => !name.startsWith(":") && isWellFormed(name, value));

function isWellFormed(name: string, value: string): boolean {
  if (name === "" || /[A-Z]/.test(name) || connectionOnly.has(name)) return false;
  return name !== "te" || value === "trailers";
}
