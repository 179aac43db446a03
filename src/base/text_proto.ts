import type { DescField, DescMessage, MessageShape } from "@bufbuild/protobuf";
import { ScalarType, toBinary } from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import { emptyMessageBytes, MAX_DECODED_BYTES } from "./message_cost.ts";

/** 入れ子の上限。悪意のある入力に呼び出しの深さを使い切らせない。 */
const MAX_DEPTH = 256;
const TAB_WIDTH = 8;
/** スカラー 1 つの重さの見積もり。 */
const VALUE_BYTES = 48;

/** text 形式の読み取りの失敗。`message` は位置を含まない(C++ のログは `行:桁: 説明`)。 */
export class TextProtoError extends Error {
  override readonly name = "TextProtoError";
  /** 1 から数える。 */
  readonly line: number;
  /** 1 から数えるバイト数。タブは 8 の倍数まで進む。 */
  readonly column: number;

  constructor(line: number, column: number, message: string) {
    super(message);
    this.line = line;
    this.column = column;
  }
}

/**
 * protobuf の text 形式を読む。文法・値の範囲・エラーの文面と位置は C++ の TextFormat::Parser に合わせる
 * (運用者が見るのは TF Serving のログと同じ 1 行であるべきなので)。知らないフィールドはエラー。
 *
 * @param anyTypes `Any` の `[type.googleapis.com/x.Y] { … }` で使う型。
 * @param maxDecodedBytes 結果の大きさの見積もりの上限。
 * @throws {@link TextProtoError} 最初の誤り。
 * @see google/protobuf/text_format.cc, io/tokenizer.cc
 * @see https://protobuf.dev/reference/protobuf/textformat-spec/
 */
export function parseTextProto<Desc extends DescMessage>(
  schema: Desc,
  text: string | Uint8Array,
  anyTypes: readonly DescMessage[] = [],
  maxDecodedBytes = MAX_DECODED_BYTES,
): MessageShape<Desc> {
  const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
  const message = reflect(schema);
  new Parser(new Lexer(bytes), anyTypes, maxDecodedBytes).readAll(message);
  return message.message as MessageShape<Desc>;
}

type TokenKind = "end" | "identifier" | "integer" | "float" | "string" | "symbol";

const char = (text: string): number => text.charCodeAt(0);
const NEWLINE = char("\n");
const TAB = char("\t");
const BACKSLASH = char("\\");
const DOT = char(".");
const ZERO = char("0");

const isDigit = (c: number): boolean => c >= ZERO && c <= char("9");
const isOctal = (c: number): boolean => c >= ZERO && c <= char("7");
const isHex = (c: number): boolean => isDigit(c) || ((c | 32) >= char("a") && (c | 32) <= char("f"));
const isLetter = (c: number): boolean => ((c | 32) >= char("a") && (c | 32) <= char("z")) || c === char("_");
const isSpace = (c: number): boolean => c === 32 || (c >= 9 && c <= 13);

const simpleEscapes = new Map(
  Array.from("abfnrtv\\?'\"", (letter, i): [number, number] => [
    char(letter),
    char("\x07\b\f\n\r\t\v\\?'\""[i]!),
  ]),
);

/** バイト列を字句に切る。`kind` などは「いまの字句」を表す。 */
class Lexer {
  kind: TokenKind = "symbol";
  line = 0;
  column = 0;
  #from = 0;
  readonly #bytes: Uint8Array;
  #at = 0;
  #atLine = 0;
  #atColumn = 0;
  readonly #decoder = new TextDecoder();

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.next();
  }

  /** いまの字句の原文。 */
  get text(): string {
    return this.#decoder.decode(this.#bytes.subarray(this.#from, this.#at));
  }

  is(symbol: string): boolean {
    return this.kind === "symbol" && this.#bytes[this.#from] === char(symbol);
  }

  /** いまの字句の位置の誤り。 */
  error(detail: string): TextProtoError {
    return new TextProtoError(this.line + 1, this.column + 1, detail);
  }

  next(): void {
    this.#skipSpace();
    this.#from = this.#at;
    this.line = this.#atLine;
    this.column = this.#atColumn;
    const c = this.#peek();
    if (c < 0) this.kind = "end";
    else if (isLetter(c)) {
      this.kind = "identifier";
      while (isLetter(this.#peek()) || isDigit(this.#peek())) this.#advance();
    } else if (isDigit(c) || (c === DOT && isDigit(this.#peek(1)))) {
      this.kind = this.#number();
    } else if (c === char('"') || c === char("'")) {
      this.kind = "string";
      this.#string(c);
    } else if (c < 32) {
      throw this.#errorHere("Invalid control characters encountered in text.");
    } else if (c >= 128) {
      throw this.#errorHere(`Interpreting non ascii codepoint ${c}.`);
    } else {
      this.kind = "symbol";
      this.#advance();
    }
  }

  /** 文字列の字句の値。 */
  value(): number[] {
    const source = this.#bytes.subarray(this.#from + 1, this.#at - 1);
    const out: number[] = [];
    let at = 0;
    const digits = (radix: number, most: number): number => {
      let value = 0;
      const ok = radix === 8 ? isOctal : isHex;
      for (let i = 0; i < most && ok(source[at] ?? -1); i++) {
        value = value * radix + Number.parseInt(String.fromCharCode(source[at++]!), radix);
      }
      return value;
    };
    while (at < source.length) {
      const c = source[at++]!;
      if (c !== BACKSLASH) {
        out.push(c);
        continue;
      }
      const start = at - 1;
      const letter = source[at]!;
      if (isOctal(letter)) out.push(digits(8, 3) & 255);
      else {
        at++;
        if ((letter | 32) === char("x")) out.push(digits(16, 2));
        else if ((letter | 32) === char("u")) {
          let point = digits(16, letter === char("u") ? 4 : 8);
          // 前後のサロゲートが並んでいれば 1 文字に合わせる。
          if (point >> 10 === 0x36 && source[at] === BACKSLASH && source[at + 1] === char("u")) {
            const back = at;
            at += 2;
            const low = digits(16, 4);
            if (low >> 10 === 0x37) point = 0x10000 + ((point & 0x3ff) << 10) + (low & 0x3ff);
            else at = back;
          }
          // C++ の字句解析は 1fffff まで通し、文字でない番号は書かれたまま残す。
          if (point > 0x10ffff) out.push(...source.subarray(start, at));
          else pushUtf8(out, point);
        } else out.push(simpleEscapes.get(letter)!);
      }
    }
    return out;
  }

  #peek(ahead = 0): number {
    return this.#bytes[this.#at + ahead] ?? -1;
  }

  #advance(): void {
    const c = this.#bytes[this.#at++];
    if (c === NEWLINE) {
      this.#atLine++;
      this.#atColumn = 0;
    } else if (c === TAB) this.#atColumn += TAB_WIDTH - (this.#atColumn % TAB_WIDTH);
    else this.#atColumn++;
  }

  /** いまの字を `accept` が認めれば進む。 */
  #eat(accept: (c: number) => boolean): boolean {
    if (!accept(this.#peek())) return false;
    this.#advance();
    return true;
  }

  #eatAll(accept: (c: number) => boolean): void {
    while (accept(this.#peek())) this.#advance();
  }

  #errorHere(detail: string): TextProtoError {
    return new TextProtoError(this.#atLine + 1, this.#atColumn + 1, detail);
  }

  #skipSpace(): void {
    for (;;) {
      this.#eatAll(isSpace);
      if (this.#peek() !== char("#")) return;
      this.#eatAll((c) => c >= 0 && c !== NEWLINE);
    }
  }

  #number(): "integer" | "float" {
    let float = false;
    const zero = this.#peek() === ZERO;
    if (this.#peek() !== DOT) this.#advance();
    if (zero && this.#eat((c) => (c | 32) === char("x"))) {
      if (!isHex(this.#peek())) throw this.#errorHere('"0x" must be followed by hex digits.');
      this.#eatAll(isHex);
    } else if (zero && isDigit(this.#peek())) {
      this.#eatAll(isOctal);
      if (isDigit(this.#peek()))
        throw this.#errorHere("Numbers starting with leading zero must be in octal.");
    } else {
      this.#eatAll(isDigit);
      if (this.#eat((c) => c === DOT)) {
        float = true;
        this.#eatAll(isDigit);
      }
      if (this.#eat((c) => (c | 32) === char("e"))) {
        float = true;
        this.#eat((c) => c === char("-") || c === char("+"));
        if (!isDigit(this.#peek())) throw this.#errorHere('"e" must be followed by exponent.');
        this.#eatAll(isDigit);
      }
      if (this.#eat((c) => (c | 32) === char("f"))) float = true;
    }
    if (isLetter(this.#peek())) throw this.#errorHere("Need space between number and identifier.");
    if (this.#peek() === DOT) {
      throw this.#errorHere(
        float
          ? "Already saw decimal point or exponent; can't have another one."
          : "Hex and octal numbers must be integers.",
      );
    }
    return float ? "float" : "integer";
  }

  /** 逃がし文字の正しさまで確かめる。値は {@link value} が作る。 */
  #string(quote: number): void {
    this.#advance();
    for (;;) {
      const c = this.#peek();
      if (c < 0) throw this.#errorHere("Unexpected end of string.");
      if (c === NEWLINE) throw this.#errorHere("String literals cannot cross line boundaries.");
      this.#advance();
      if (c === quote) return;
      if (c !== BACKSLASH) continue;
      const letter = this.#peek();
      if (isOctal(letter) || simpleEscapes.has(letter)) this.#advance();
      else if ((letter | 32) === char("x")) {
        this.#advance();
        if (!this.#eat(isHex)) throw this.#errorHere("Expected hex digits for escape sequence.");
      } else if (letter === char("u")) {
        this.#advance();
        for (let i = 0; i < 4; i++) {
          if (!this.#eat(isHex)) throw this.#errorHere("Expected four hex digits for \\u escape sequence.");
        }
      } else if (letter === char("U")) {
        this.#advance();
        for (let i = 0; i < 8; i++) {
          const most = i < 2 ? ZERO : ZERO + 1;
          if (!this.#eat(i < 3 ? (c) => c >= ZERO && c <= most : isHex)) {
            throw this.#errorHere("Expected eight hex digits up to 10ffff for \\U escape sequence");
          }
        }
      } else throw this.#errorHere("Invalid escape sequence in string literal.");
    }
  }
}

/** サロゲートも 3 バイトで書く(C++ と同じ。string のフィールドでは後で退けられる)。 */
function pushUtf8(out: number[], point: number): void {
  if (point < 0x80) out.push(point);
  else if (point < 0x800) out.push(0xc0 | (point >> 6), 0x80 | (point & 63));
  else if (point < 0x10000) out.push(0xe0 | (point >> 12), 0x80 | ((point >> 6) & 63), 0x80 | (point & 63));
  else {
    out.push(
      0xf0 | (point >> 18),
      0x80 | ((point >> 12) & 63),
      0x80 | ((point >> 6) & 63),
      0x80 | (point & 63),
    );
  }
}

type Scalar = string | number | bigint | boolean | Uint8Array;

interface IntegerRange {
  readonly signed: boolean;
  readonly max: bigint;
}

const INT32 = { signed: true, max: 2n ** 31n - 1n };
const INT64 = { signed: true, max: 2n ** 63n - 1n };
const UINT32 = { signed: false, max: 2n ** 32n - 1n };
const UINT64 = { signed: false, max: 2n ** 64n - 1n };
const BOOL = { signed: false, max: 1n };
const trueWords = new Set(["true", "True", "t"]);
const falseWords = new Set(["false", "False", "f"]);

class Parser {
  readonly #lexer: Lexer;
  readonly #anyTypes: readonly DescMessage[];
  readonly #maxDecodedBytes: number;
  readonly #utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  #depth = 0;
  #decodedBytes = 0;

  constructor(lexer: Lexer, anyTypes: readonly DescMessage[], maxDecodedBytes: number) {
    this.#lexer = lexer;
    this.#anyTypes = anyTypes;
    this.#maxDecodedBytes = maxDecodedBytes;
  }

  readAll(message: ReflectMessage): void {
    while (this.#lexer.kind !== "end") this.#field(message);
  }

  #field(message: ReflectMessage): void {
    if (message.desc.typeName === "google.protobuf.Any" && this.#eat("[")) {
      this.#expandedAny(message);
    } else {
      const field = this.#fieldName(message);
      this.#checkSingular(message, field);
      const colon = this.#eat(":");
      const isMessage = field.message !== undefined || field.fieldKind === "map";
      if (!colon && !isMessage) this.#expect(":");
      if ((field.fieldKind === "list" || field.fieldKind === "map") && this.#eat("[")) {
        this.#list(() => this.#value(message, field));
      } else this.#value(message, field);
    }
    if (!this.#eat(";")) this.#eat(",");
  }

  #fieldName({ desc }: ReflectMessage): DescField {
    if (this.#eat("[")) {
      const name = this.#dottedName();
      this.#expect("]");
      throw this.#lexer.error(
        `Extension "${name}" is not defined or is not an extension of "${desc.typeName}".`,
      );
    }
    const name = this.#identifier();
    const field = desc.fields.find((candidate) => candidate.name === name);
    if (field === undefined) {
      throw this.#lexer.error(`Message type "${desc.typeName}" has no field named "${name}".`);
    }
    return field;
  }

  #checkSingular(message: ReflectMessage, field: DescField): void {
    if (field.fieldKind === "list" || field.fieldKind === "map") return;
    if (message.isSet(field)) {
      throw this.#lexer.error(`Non-repeated field "${field.name}" is specified multiple times.`);
    }
    const other = field.oneof && message.oneofCase(field.oneof);
    if (other !== undefined) {
      throw this.#lexer.error(
        `Field "${field.name}" is specified along with field "${other.name}", another member of oneof "${field.oneof!.name}".`,
      );
    }
  }

  #list(item: () => void): void {
    if (this.#eat("]")) return;
    for (;;) {
      item();
      if (this.#eat("]")) return;
      this.#expect(",");
    }
  }

  #value(message: ReflectMessage, field: DescField): void {
    this.#decodedBytes += field.message === undefined ? VALUE_BYTES : emptyMessageBytes(field.message);
    if (this.#decodedBytes > this.#maxDecodedBytes) {
      throw this.#lexer.error(
        `Message is too large, it decodes to more than ${this.#maxDecodedBytes} bytes.`,
      );
    }
    switch (field.fieldKind) {
      case "message": {
        const inner = reflect(field.message);
        this.#message(inner);
        message.set(field, inner);
        return;
      }
      case "list":
        message
          .get(field)
          .add(field.listKind === "message" ? this.#newMessage(field.message) : this.#single(field));
        return;
      case "map":
        this.#mapEntry(message, field);
        return;
      default:
        message.set(field, this.#single(field));
    }
  }

  #newMessage(desc: DescMessage): ReflectMessage {
    const inner = reflect(desc);
    this.#message(inner);
    return inner;
  }

  #message(message: ReflectMessage): void {
    this.#body(() => this.#field(message));
  }

  #body(field: () => void): void {
    if (++this.#depth > MAX_DEPTH) {
      throw this.#lexer.error(
        `Message is too deep, the parser exceeded the configured recursion limit of ${MAX_DEPTH}.`,
      );
    }
    const close = this.#eat("<") ? ">" : "}";
    if (close === "}") this.#expect("{");
    while (!this.#lexer.is(">") && !this.#lexer.is("}")) field();
    this.#expect(close);
    this.#depth--;
  }

  /** 地図の 1 項目は key と value を持つメッセージ。同じ鍵は後のものが勝つ。 */
  #mapEntry(message: ReflectMessage, field: DescField & { fieldKind: "map" }): void {
    let key: Scalar | undefined;
    let value: Scalar | ReflectMessage | undefined;
    const entry = `${message.desc.typeName}.${pascalCase(field.name)}Entry`;
    this.#body(() => {
      const name = this.#identifier();
      if (name !== "key" && name !== "value") {
        throw this.#lexer.error(`Message type "${entry}" has no field named "${name}".`);
      }
      if ((name === "key" ? key : value) !== undefined) {
        throw this.#lexer.error(`Non-repeated field "${name}" is specified multiple times.`);
      }
      const colon = this.#eat(":");
      if (name === "value" && field.mapKind === "message") value = this.#newMessage(field.message);
      else {
        if (!colon) this.#expect(":");
        if (name === "key") key = this.#scalar(field.mapKey, name);
        else
          value = field.mapKind === "enum" ? this.#enum(field.enum, name) : this.#scalar(field.scalar!, name);
      }
      if (!this.#eat(";")) this.#eat(",");
    });
    message.get(field).set(key ?? zeroOf(field.mapKey), value ?? zeroOfMapValue(field));
  }

  #single(field: DescField): Scalar {
    return field.enum === undefined
      ? this.#scalar(field.scalar!, field.name)
      : this.#enum(field.enum, field.name);
  }

  #scalar(type: ScalarType, name: string): Scalar {
    switch (type) {
      case ScalarType.STRING:
        return this.#utf8String(name);
      case ScalarType.BYTES:
        return this.#bytes();
      case ScalarType.BOOL:
        return this.#bool(name);
      case ScalarType.FLOAT:
        return Math.fround(this.#double());
      case ScalarType.DOUBLE:
        return this.#double();
      case ScalarType.UINT32:
      case ScalarType.FIXED32:
        return Number(this.#integer(UINT32));
      case ScalarType.UINT64:
      case ScalarType.FIXED64:
        return this.#integer(UINT64);
      case ScalarType.INT64:
      case ScalarType.SINT64:
      case ScalarType.SFIXED64:
        return this.#integer(INT64);
      default:
        return Number(this.#integer(INT32));
    }
  }

  #enum(desc: NonNullable<DescField["enum"]>, name: string): number {
    const lexer = this.#lexer;
    if (lexer.kind === "identifier") {
      const word = this.#identifier();
      const found = desc.values.find((candidate) => candidate.name === word);
      if (found !== undefined) return found.number;
      throw lexer.error(`Unknown enumeration value of "${word}" for field "${name}".`);
    }
    if (lexer.kind === "integer" || lexer.is("-")) return Number(this.#integer(INT32));
    throw lexer.error(`Expected integer or identifier, got: ${lexer.text}`);
  }

  #bool(name: string): boolean {
    if (this.#lexer.kind === "integer") return this.#integer(BOOL) === 1n;
    const word = this.#identifier();
    if (trueWords.has(word)) return true;
    if (falseWords.has(word)) return false;
    throw this.#lexer.error(`Invalid value for boolean field "${name}". Value: "${word}".`);
  }

  #double(): number {
    const lexer = this.#lexer;
    const sign = this.#eat("-") ? -1 : 1;
    const { kind, text } = lexer;
    let value: number;
    if (kind === "integer") {
      if (/^0./.test(text)) throw lexer.error(`Expect a decimal number, got: ${text}`);
      value = Number(text);
    } else if (kind === "float") value = Number(text.replace(/f$/i, ""));
    else if (kind === "identifier" && /^inf(inity)?$/i.test(text)) value = Number.POSITIVE_INFINITY;
    else if (kind === "identifier" && /^nan$/i.test(text)) value = Number.NaN;
    else throw lexer.error(`Expected double, got: ${text}`);
    lexer.next();
    return sign * value;
  }

  #integer({ signed, max }: IntegerRange): bigint {
    const lexer = this.#lexer;
    const negative = signed && this.#eat("-");
    if (lexer.kind !== "integer") throw lexer.error(`Expected integer, got: ${lexer.text}`);
    const { text } = lexer;
    const value = BigInt(/^0\d/.test(text) ? `0o${text.slice(1)}` : text);
    if (value > (negative ? max + 1n : max)) throw lexer.error(`Integer out of range (${text})`);
    lexer.next();
    return negative ? -value : value;
  }

  #bytes(): Uint8Array {
    const lexer = this.#lexer;
    if (lexer.kind !== "string") throw lexer.error(`Expected string, got: ${lexer.text}`);
    const parts: Uint8Array[] = [];
    for (; lexer.kind === "string"; lexer.next()) parts.push(Uint8Array.from(lexer.value()));
    return parts.length === 1 ? parts[0]! : new Uint8Array(Buffer.concat(parts));
  }

  #utf8String(name: string): string {
    const bytes = this.#bytes();
    try {
      return this.#utf8.decode(bytes);
    } catch {
      throw this.#lexer.error(`String field "${name}" contains invalid UTF-8 data.`);
    }
  }

  /** `[ドメイン/型の名前] { … }`。中身を読んで直列化する。 */
  #expandedAny(message: ReflectMessage): void {
    let url = this.#dottedName();
    while (this.#eat("/")) url += `/${this.#dottedName()}`;
    this.#expect("]");
    this.#eat(":");
    const typeName = url.slice(url.lastIndexOf("/") + 1);
    const desc = this.#anyTypes.find((type) => type.typeName === typeName);
    const [typeUrl, value] = message.fields;
    if (desc === undefined) {
      throw this.#lexer.error(`Could not find type "${url}" stored in google.protobuf.Any.`);
    }
    if (message.isSet(typeUrl!) || message.isSet(value!)) {
      throw this.#lexer.error("Non-repeated Any specified multiple times.");
    }
    message.set(typeUrl!, url);
    message.set(value!, toBinary(desc, this.#newMessage(desc).message));
  }

  #dottedName(): string {
    let name = this.#identifier();
    while (this.#eat(".")) name += `.${this.#identifier()}`;
    return name;
  }

  #identifier(): string {
    const { kind, text } = this.#lexer;
    if (kind !== "identifier") throw this.#lexer.error(`Expected identifier, got: ${text}`);
    this.#lexer.next();
    return text;
  }

  #eat(symbol: string): boolean {
    if (!this.#lexer.is(symbol)) return false;
    this.#lexer.next();
    return true;
  }

  #expect(symbol: string): void {
    if (!this.#eat(symbol)) throw this.#lexer.error(`Expected "${symbol}", found "${this.#lexer.text}".`);
  }
}

function zeroOf(type: ScalarType): Scalar {
  switch (type) {
    case ScalarType.STRING:
      return "";
    case ScalarType.BYTES:
      return new Uint8Array(0);
    case ScalarType.BOOL:
      return false;
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.SFIXED64:
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return 0n;
    default:
      return 0;
  }
}

function zeroOfMapValue(field: DescField & { fieldKind: "map" }): Scalar | ReflectMessage {
  switch (field.mapKind) {
    case "message":
      return reflect(field.message);
    case "enum":
      return field.enum.values[0]!.number;
    default:
      return zeroOf(field.scalar);
  }
}

/** `version_labels` → `VersionLabels`。地図の項目の型名は C++ がこう作る。 */
function pascalCase(name: string): string {
  return name.replace(/(?:^|_)([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}
