import {
  create,
  type DescField,
  type DescMessage,
  type MessageShape,
  type Registry,
  ScalarType,
  toBinary,
} from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";

/** 構文や型の誤り。行と桁は 1 から数える。 */
export class TextProtoError extends Error {
  override readonly name = "TextProtoError";
  readonly line: number;
  readonly column: number;

  constructor(line: number, column: number, message: string) {
    super(message);
    this.line = line;
    this.column = column;
  }
}

type TokenKind = "identifier" | "number" | "string" | "symbol" | "end";

interface Token {
  readonly kind: TokenKind;
  readonly text: string;
  readonly at: number;
}

/** 入れ子の上限。悪意のある入力で呼び出しの深さを使い切らせない。 */
const MAX_DEPTH = 256;

const tokenPattern =
  /(?<space>[\s]+|#[^\n]*)|(?<number>(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)[fF]?(?![\w.]))|(?<identifier>[A-Za-z_]\w*)|(?<string>"(?:[^"\\\n]|\\[\s\S])*"|'(?:[^'\\\n]|\\[\s\S])*')|(?<symbol>[^\s])/y;

/** 字句を 1 つ先まで読む。 */
class Tokens {
  readonly #text: string;
  #position = 0;
  current: Token;

  constructor(text: string) {
    this.#text = text;
    this.current = this.#read();
  }

  next(): Token {
    const token = this.current;
    this.current = this.#read();
    return token;
  }

  /** 次が記号ならそれを読み捨てる。 */
  skip(...symbols: readonly string[]): boolean {
    if (this.current.kind !== "symbol" || !symbols.includes(this.current.text)) return false;
    this.next();
    return true;
  }

  expect(symbol: string): void {
    if (!this.skip(symbol)) this.fail(`Expected "${symbol}", found "${this.current.text}".`);
  }

  fail(message: string, token: Token = this.current): never {
    const before = this.#text.slice(0, token.at);
    const line = before.split("\n").length;
    throw new TextProtoError(line, token.at - before.lastIndexOf("\n"), message);
  }

  #read(): Token {
    for (;;) {
      const at = this.#position;
      if (at >= this.#text.length) return { kind: "end", text: "", at };
      tokenPattern.lastIndex = at;
      const groups = tokenPattern.exec(this.#text)!.groups!;
      const [kind, text] = Object.entries(groups).find(([, value]) => value !== undefined) as [
        string,
        string,
      ];
      this.#position = at + text.length;
      if (kind === "space") continue;
      const token: Token = { kind: kind as TokenKind, text, at };
      if (kind === "symbol" && (text === '"' || text === "'")) {
        this.fail("String literals cannot cross line boundaries.", token);
      }
      return token;
    }
  }
}

const simpleEscapes: Readonly<Record<string, number>> = {
  a: 7,
  b: 8,
  f: 12,
  n: 10,
  r: 13,
  t: 9,
  v: 11,
  "\\": 92,
  "'": 39,
  '"': 34,
  "?": 63,
};

const utf8 = new TextEncoder();

/** 引用符の中身を C の書き方で解く。 */
function unquote(tokens: Tokens, token: Token): Uint8Array {
  const body = token.text.slice(1, -1);
  if (!body.includes("\\")) return utf8.encode(body);
  const bytes: number[] = [];
  const pattern =
    /\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([\s\S]))|([^\\]+)/g;
  for (const [, octal, hex, unicode, long, simple, plain] of body.matchAll(pattern)) {
    const codePoint = unicode ?? long;
    if (plain !== undefined) bytes.push(...utf8.encode(plain));
    else if (octal !== undefined) bytes.push(Number.parseInt(octal, 8) & 255);
    else if (hex !== undefined) bytes.push(Number.parseInt(hex, 16));
    else if (codePoint !== undefined) {
      const value = Number.parseInt(codePoint, 16);
      if (value > 0x10ffff) tokens.fail("Invalid escape sequence in string literal.", token);
      bytes.push(...utf8.encode(String.fromCodePoint(value)));
    } else {
      const byte = simpleEscapes[simple!];
      if (byte === undefined) tokens.fail("Invalid escape sequence in string literal.", token);
      bytes.push(byte);
    }
  }
  return Uint8Array.from(bytes);
}

const integerRanges = new Map<ScalarType, readonly [bigint, bigint]>([
  [ScalarType.INT32, [-(2n ** 31n), 2n ** 31n - 1n]],
  [ScalarType.SINT32, [-(2n ** 31n), 2n ** 31n - 1n]],
  [ScalarType.SFIXED32, [-(2n ** 31n), 2n ** 31n - 1n]],
  [ScalarType.UINT32, [0n, 2n ** 32n - 1n]],
  [ScalarType.FIXED32, [0n, 2n ** 32n - 1n]],
  [ScalarType.INT64, [-(2n ** 63n), 2n ** 63n - 1n]],
  [ScalarType.SINT64, [-(2n ** 63n), 2n ** 63n - 1n]],
  [ScalarType.SFIXED64, [-(2n ** 63n), 2n ** 63n - 1n]],
  [ScalarType.UINT64, [0n, 2n ** 64n - 1n]],
  [ScalarType.FIXED64, [0n, 2n ** 64n - 1n]],
]);
const wide = new Set([
  ScalarType.INT64,
  ScalarType.SINT64,
  ScalarType.SFIXED64,
  ScalarType.UINT64,
  ScalarType.FIXED64,
]);

class Parser {
  readonly #tokens: Tokens;
  readonly #registry: Registry | undefined;
  #depth = 0;

  constructor(text: string, registry: Registry | undefined) {
    this.#tokens = new Tokens(text);
    this.#registry = registry;
  }

  /** `close` に達するまで項目を読む。undefined は文書の終わりまで。 */
  fields(message: ReflectMessage, close: string | undefined): void {
    const tokens: Tokens = this.#tokens;
    if (++this.#depth > MAX_DEPTH)
      tokens.fail("Message is too deep, the parser exceeded the configured recursion limit.");
    for (;;) {
      const { kind, text } = tokens.current;
      if (close === undefined ? kind === "end" : kind === "symbol" && text === close) break;
      if (kind === "end") tokens.fail(`Expected "${close}", found "".`);
      this.#field(message);
      if (!tokens.skip(",")) tokens.skip(";");
    }
    this.#depth--;
    if (close !== undefined) tokens.next();
  }

  #field(message: ReflectMessage): void {
    const tokens: Tokens = this.#tokens;
    if (tokens.current.kind === "symbol" && tokens.current.text === "[") {
      this.#any(message);
      return;
    }
    const name = tokens.current;
    if (name.kind !== "identifier") tokens.fail(`Expected identifier, got: ${name.text}`);
    tokens.next();
    const field = message.desc.fields.find((one) => one.name === name.text);
    if (field === undefined) {
      tokens.fail(`Message type "${message.desc.typeName}" has no field named "${name.text}".`, name);
    }
    const colon = tokens.skip(":");
    const isMessage =
      field.fieldKind === "message" ||
      field.fieldKind === "map" ||
      (field.fieldKind === "list" && field.listKind === "message");
    if (!isMessage && !colon) tokens.expect(":");
    if (field.fieldKind === "list" || field.fieldKind === "map") {
      if (tokens.skip("[")) {
        if (tokens.skip("]")) return;
        do this.#add(message, field);
        while (tokens.skip(","));
        tokens.expect("]");
      } else this.#add(message, field);
      return;
    }
    this.#refuseSecondMember(message, field, name);
    this.#refuseRepeat(message, field, name);
    message.set(
      field,
      field.fieldKind === "message" ? this.#message(field.message) : this.#scalarOrEnum(field),
    );
  }

  /** proto3 の暗黙の存在では 0 を書いた項目が「無い」ように見えるので、書かれたことを別に覚える。 */
  readonly #written = new WeakMap<object, Set<DescField>>();

  #refuseRepeat(message: ReflectMessage, field: DescField, name: Token): void {
    const fields = this.#written.get(message.message) ?? new Set();
    if (fields.has(field)) {
      this.#tokens.fail(`Non-repeated field "${field.name}" is specified multiple times.`, name);
    }
    this.#written.set(message.message, fields.add(field));
  }

  #refuseSecondMember(message: ReflectMessage, field: DescField, name: Token): void {
    const other = field.oneof === undefined ? undefined : message.oneofCase(field.oneof);
    if (other === undefined || other === field) return;
    this.#tokens.fail(
      `Field "${field.name}" is specified along with field "${other.name}", another member of oneof "${field.oneof!.name}".`,
      name,
    );
  }

  #add(message: ReflectMessage, field: DescField & { fieldKind: "list" | "map" }): void {
    if (field.fieldKind === "map") {
      this.#mapEntry(message, field);
    } else if (field.listKind === "message") {
      message.get(field).add(this.#message(field.message));
    } else {
      message.get(field).add(this.#scalarOrEnum(field));
    }
  }

  /** `{ key: … value: … }`。どちらも省けば型の既定値。 */
  #mapEntry(message: ReflectMessage, field: DescField & { fieldKind: "map" }): void {
    const tokens: Tokens = this.#tokens;
    const close = this.#open();
    let key: unknown;
    let value: unknown;
    while (!tokens.skip(close)) {
      const name = tokens.next();
      const colon = tokens.skip(":");
      if (name.text === "key") {
        if (!colon) tokens.expect(":");
        key = this.#scalar(field.mapKey, field.name);
      } else if (name.text === "value") {
        if (field.mapKind === "message") value = this.#message(field.message);
        else {
          if (!colon) tokens.expect(":");
          value = field.mapKind === "enum" ? this.#enum(field) : this.#scalar(field.scalar, field.name);
        }
      } else if (name.kind === "end") {
        tokens.fail(`Expected "${close}", found "".`);
      } else {
        tokens.fail(
          `Message type "${field.parent.typeName}.${entryName(field.name)}" has no field named "${name.text}".`,
          name,
        );
      }
      if (!tokens.skip(",")) tokens.skip(";");
    }
    message
      .get(field)
      .set(
        (key ?? zeroOf(field.mapKey)) as string,
        (value ??
          (field.mapKind === "message"
            ? reflect(field.message)
            : field.mapKind === "enum"
              ? 0
              : zeroOf(field.scalar))) as string,
      );
  }

  #open(): string {
    if (this.#tokens.skip("<")) return ">";
    this.#tokens.expect("{");
    return "}";
  }

  #message(desc: DescMessage): ReflectMessage {
    const message = reflect(desc);
    this.fields(message, this.#open());
    return message;
  }

  /** `[type.googleapis.com/pkg.Name] { … }`。Any の中でだけ意味を持つ。 */
  #any(message: ReflectMessage): void {
    const tokens: Tokens = this.#tokens;
    const start = tokens.next();
    let url = "";
    while (!(tokens.current.kind === "symbol" && tokens.current.text === "]")) {
      if (tokens.current.kind === "end") tokens.fail('Expected "]", found "".');
      url += tokens.next().text;
    }
    tokens.next();
    tokens.skip(":");
    if (message.desc.typeName !== "google.protobuf.Any") {
      tokens.fail(
        `Extension "${url}" is not defined or is not an extension of "${message.desc.typeName}".`,
        start,
      );
    }
    const desc = this.#registry?.getMessage(url.slice(url.lastIndexOf("/") + 1));
    if (desc === undefined) {
      tokens.fail(`Could not find type "${url}" stored in google.protobuf.Any.`, start);
    }
    const inner = this.#message(desc);
    message.set(message.desc.field["typeUrl"]!, url);
    message.set(message.desc.field["value"]!, toBinary(desc, inner.message));
  }

  #scalarOrEnum(field: DescField): string | number | bigint | boolean | Uint8Array {
    if (field.fieldKind === "enum" || (field.fieldKind === "list" && field.listKind === "enum"))
      return this.#enum(field);
    return this.#scalar(field.scalar!, field.name);
  }

  #enum(field: DescField): number {
    const tokens: Tokens = this.#tokens;
    const token = tokens.current;
    if (token.kind === "identifier") {
      const value = field.enum!.values.find((one) => one.name === token.text);
      if (value === undefined) {
        tokens.fail(`Unknown enumeration value of "${token.text}" for field "${field.name}".`);
      }
      tokens.next();
      return value.number;
    }
    return Number(this.#integer(ScalarType.INT32));
  }

  #scalar(type: ScalarType, name: string): string | number | bigint | boolean | Uint8Array {
    switch (type) {
      case ScalarType.STRING:
        return new TextDecoder().decode(this.#string());
      case ScalarType.BYTES:
        return this.#string();
      case ScalarType.BOOL:
        return this.#bool(name);
      case ScalarType.FLOAT:
      case ScalarType.DOUBLE:
        return this.#float(type);
      default: {
        const value = this.#integer(type);
        return wide.has(type) ? value : Number(value);
      }
    }
  }

  #string(): Uint8Array {
    const tokens: Tokens = this.#tokens;
    if (tokens.current.kind !== "string") tokens.fail(`Expected string, got: ${tokens.current.text}`);
    const parts: Uint8Array[] = [];
    while (tokens.current.kind === "string") {
      const token = tokens.next();
      parts.push(unquote(tokens, token));
    }
    return parts.length === 1 ? parts[0]! : new Uint8Array(Buffer.concat(parts));
  }

  #bool(name: string): boolean {
    const tokens: Tokens = this.#tokens;
    const { kind, text } = tokens.current;
    if (/^(true|True|t|1)$/.test(text)) {
      tokens.next();
      return true;
    }
    if (/^(false|False|f|0)$/.test(text)) {
      tokens.next();
      return false;
    }
    if (kind === "number") tokens.fail(`Integer out of range (${text})`);
    tokens.fail(`Invalid value for boolean field "${name}". Value: "${text}".`);
  }

  #integer(type: ScalarType): bigint {
    const tokens: Tokens = this.#tokens;
    const negative = tokens.skip("-");
    const { kind, text } = tokens.current;
    if (kind !== "number" || !/^(0[xX][0-9a-fA-F]+|\d+)$/.test(text)) {
      tokens.fail(`Expected integer, got: ${text}`);
    }
    // 0 で始まる数は 8 進。
    if (/^0\d+$/.test(text) && /[89]/.test(text)) tokens.fail(`Expected integer, got: ${text}`);
    const magnitude = BigInt(/^0[0-7]+$/.test(text) ? `0o${text.slice(1)}` : text);
    const value = negative ? -magnitude : magnitude;
    const [low, high] = integerRanges.get(type)!;
    if (value < low || value > high) tokens.fail(`Integer out of range (${text})`);
    tokens.next();
    return value;
  }

  #float(type: ScalarType): number {
    const tokens: Tokens = this.#tokens;
    const negative = tokens.skip("-");
    const { kind, text } = tokens.current;
    let value: number;
    if (kind === "identifier" && /^(inf|infinity)$/i.test(text)) value = Number.POSITIVE_INFINITY;
    else if (kind === "identifier" && /^nan$/i.test(text)) value = Number.NaN;
    else if (kind === "number" && !/^0[xX]/.test(text)) value = Number(text.replace(/[fF]$/, ""));
    else tokens.fail(`Expected double, got: ${text}`);
    tokens.next();
    const signed = negative ? -value : value;
    return type === ScalarType.FLOAT ? Math.fround(signed) : signed;
  }
}

function entryName(field: string): string {
  return `${field.replace(/(^|_)(\w)/g, (_, __, letter: string) => letter.toUpperCase())}Entry`;
}

function zeroOf(type: ScalarType): string | number | bigint | boolean | Uint8Array {
  if (type === ScalarType.STRING) return "";
  if (type === ScalarType.BYTES) return new Uint8Array(0);
  if (type === ScalarType.BOOL) return false;
  return wide.has(type) ? 0n : 0;
}

/**
 * protobuf のテキスト形式を読む。空の文字列は空のメッセージ。
 *
 * @param registry `Any` の展開(`[type.googleapis.com/…] { … }`)に使う型。
 * @throws TextProtoError 構文の誤り、知らない項目、範囲外の値。
 * @see https://protobuf.dev/reference/protobuf/textformat-spec/
 */
export function parseTextProto<D extends DescMessage>(
  schema: D,
  text: string,
  registry?: Registry,
): MessageShape<D> {
  const message = create(schema);
  new Parser(text, registry).fields(reflect(schema, message), undefined);
  return message;
}
