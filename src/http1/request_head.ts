/** 読めない要求への、HTTP の状態。 */
export class BadRequest extends Error {
  readonly status: 400 | 413 | 417 | 431 | 501;
  constructor(status: BadRequest["status"]) {
    super();
    this.status = status;
  }
}

/** メソッドと見出しの名前の文字。 @see https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2 */
const token = /^[!#$%&'*+\-.^_`|~\w]+$/;
/** 値に書ける文字。 */
const fieldValue = /^[\t\x20-\x7e\x80-\xff]*$/;
/** 宛先の綴り。どこまで URL として正しいかは、読む側が決める。 */
const requestLine = /^(\S+) ([\x21-\x7e\x80-\xff]+) HTTP\/1\.([01])$/;
const absolute = /^https?:\/\/[^/?#]*/i;

/** 要求の、本文より前。 */
export class RequestHead {
  readonly method: string;
  /** path、`?query`、`#fragment`。絶対形で送られたものからは、先頭の `http://host` を除く。 */
  readonly target: string;
  /** HTTP/1.0 か。 */
  readonly isOld: boolean;
  /** 本文の長さ。区切りながら送られるもの(chunked)は -1。 */
  readonly contentLength: number;
  /** 答えた後も接続を使い続けるか。 */
  readonly keepsAlive: boolean;
  /** 客は、送ってよいと言われるまで本文を待っている。 */
  readonly expectsContinue: boolean;
  readonly #fields: ReadonlyMap<string, string>;

  /** @throws BadRequest */
  constructor(line: string, fields: ReadonlyMap<string, string>) {
    const [, method, target, minor] = requestLine.exec(line) ?? [];
    if (method === undefined || !token.test(method)) throw new BadRequest(400);
    const path = target!.replace(absolute, "");
    this.method = method;
    this.target = path === "" ? "/" : path;
    this.isOld = minor === "0";
    this.#fields = fields;
    const connection = (fields.get("connection") ?? "").toLowerCase();
    this.keepsAlive = this.isOld ? /\bkeep-alive\b/.test(connection) : !/\bclose\b/.test(connection);
    this.contentLength = this.#readLength();
    this.expectsContinue = this.#readExpectation();
  }

  /** @param name 小文字。 @returns 同じ名前が何度もあれば `, ` でつないだもの。 */
  get(name: string): string | null {
    return this.#fields.get(name) ?? null;
  }

  entries(): Iterable<[string, string]> {
    return this.#fields;
  }

  /** 本文の無い要求は、何も待っていない。 */
  #readExpectation(): boolean {
    const expectation = this.get("expect");
    if (expectation === null || this.isOld || this.contentLength === 0) return false;
    if (expectation.toLowerCase() !== "100-continue") throw new BadRequest(417);
    return true;
  }

  /** 本文の終わりが二通りに読める要求は、途中の代理と食い違うので断る(要求の密輸)。 */
  #readLength(): number {
    const coding = this.get("transfer-encoding");
    const length = this.get("content-length");
    if (coding !== null) {
      if (length !== null || this.isOld) throw new BadRequest(400);
      if (coding.toLowerCase() !== "chunked") throw new BadRequest(501);
      return -1;
    }
    if (length === null) return 0;
    if (!/^\d{1,15}$/.test(length)) throw new BadRequest(400);
    return Number(length);
  }
}

/**
 * @param text 1 行目から、空行の前まで。1 バイトを 1 文字とする。行は CRLF で終わること。
 * @throws BadRequest 文法の誤り。多過ぎる見出し。
 * @see https://www.rfc-editor.org/rfc/rfc9112
 */
export function parseHead(text: string, maxFields: number): RequestHead {
  const lines = text.split("\r\n");
  if (lines.length - 1 > maxFields) throw new BadRequest(431);
  const fields = new Map<string, string>();
  for (let i = 1; i < lines.length; i++) {
    const line = lines[i]!;
    const colon = line.indexOf(":");
    const name = line.slice(0, colon);
    // 行頭の空白(前の行の続き)や、名前と「:」の間の空白も、ここで断られる。
    if (colon <= 0 || !token.test(name)) throw new BadRequest(400);
    const value = line.slice(colon + 1).trim();
    if (!fieldValue.test(value)) throw new BadRequest(400);
    const key = name.toLowerCase();
    const before = fields.get(key);
    fields.set(key, before === undefined ? value : `${before}, ${value}`);
  }
  return new RequestHead(lines[0]!, fields);
}
