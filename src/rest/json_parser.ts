import { invalidArgument, type StatusError } from "../base/status.ts";
import { NumberFault, NumberScanner } from "./json_number.ts";

/** テープに載る値の種類。 */
export const Kind = {
  null: 0,
  false: 1,
  true: 2,
  object: 3,
  array: 4,
  /** 逆斜線を含まない文字列。本文のバイトがそのまま中身。 */
  string: 5,
  /** 逆斜線を含む文字列。 */
  escaped: 6,
  /** 絶対値 2^53 未満の整数の文面。 */
  integer: 7,
  /** 2^53 以上で 64 ビットに収まる整数の文面。 */
  big: 8,
  /** 小数点か指数を持つ文面、NaN、Infinity、64 ビットを超える整数。 */
  double: 9,
} as const;

export interface ParseOptions {
  /** 配列とオブジェクトの入れ子の上限。既定は無制限(TF Serving と同じ)。 */
  readonly maxDepth?: number;
}

/**
 * 解析した JSON。値を 1 本の「テープ」に文書の順で並べ、木を作らない。
 * 値は番号で指す。オブジェクトの子はキーと値が交互に並ぶ。
 */
export class JsonDocument {
  readonly source: Uint8Array;
  /** 要素の種類({@link Kind})。 */
  kinds: Uint8Array;
  /** 数の値、容器の要素数(オブジェクトは組の数)、文字列の開始位置。 */
  values: Float64Array;
  /** 容器の次の値の番号、文字列の終わりの位置、big の置き場の番号。 */
  links: Int32Array;
  readonly bigs: bigint[] = [];
  length = 0;

  constructor(source: Uint8Array) {
    this.source = source;
    const capacity = Math.max(16, source.length >> 2);
    this.kinds = new Uint8Array(capacity);
    this.values = new Float64Array(capacity);
    this.links = new Int32Array(capacity);
  }

  kind(node: number): number {
    return this.kinds[node]!;
  }

  isString(node: number): boolean {
    const kind = this.kinds[node]!;
    return kind === Kind.string || kind === Kind.escaped;
  }

  isNumber(node: number): boolean {
    return this.kinds[node]! >= Kind.integer;
  }

  number(node: number): number {
    return this.values[node]!;
  }

  /** 整数の文面の正確な値。実数の文面なら undefined。 */
  integer(node: number): bigint | undefined {
    const kind = this.kinds[node]!;
    if (kind === Kind.integer) return BigInt(this.values[node]!);
    return kind === Kind.big ? this.bigs[this.links[node]!] : undefined;
  }

  /** 配列の要素数、オブジェクトの組の数。 */
  count(node: number): number {
    return this.values[node]!;
  }

  /** この値の全体を飛び越した、次の値の番号。 */
  after(node: number): number {
    const kind = this.kinds[node]!;
    return kind === Kind.object || kind === Kind.array ? this.links[node]! : node + 1;
  }

  /** 文字列の中身。逆斜線が無ければ本文を指し、写さない。 */
  bytes(node: number): Uint8Array {
    const start = this.values[node]!;
    const end = this.links[node]!;
    if (this.kinds[node] === Kind.string) return this.source.subarray(start, end);
    return removeEscapes(this.source, start, end);
  }

  /** 文字列の中身を UTF-8 として読む。壊れた列は U+FFFD になる。 */
  text(node: number): string {
    return decoder.decode(this.bytes(node));
  }

  /** 名前として読む。NUL があればその手前まで(TF Serving は C 文字列として扱う)。 */
  name(node: number): string {
    const text = this.text(node);
    const nul = text.indexOf("\0");
    return nul < 0 ? text : text.slice(0, nul);
  }

  /**
   * オブジェクトの中から ASCII のキーを探す。同じキーが複数あれば最初のもの。
   *
   * @returns 値の番号。無ければ -1。
   */
  member(object: number, key: string): number {
    const end = this.links[object]!;
    for (let node = object + 1; node < end; node = this.after(node + 1)) {
      if (this.equals(node, key)) return node + 1;
    }
    return -1;
  }

  /** 文字列の中身が `text` に等しいか。 */
  equals(node: number, text: string): boolean {
    if (this.kinds[node] === Kind.string) {
      const start = this.values[node]!;
      const size = this.links[node]! - start;
      if (size < text.length) return false;
      for (let i = 0; i < text.length; i++) {
        const code = text.charCodeAt(i);
        if (code >= 0x80) return this.text(node) === text;
        if (this.source[start + i] !== code) return false;
      }
      return size === text.length;
    }
    return this.text(node) === text;
  }

  /** 1 つ足して、その番号を返す。 */
  push(kind: number, value: number, link: number): number {
    const node = this.length++;
    if (node === this.kinds.length) this.#grow();
    this.kinds[node] = kind;
    this.values[node] = value;
    this.links[node] = link;
    return node;
  }

  #grow(): void {
    const capacity = this.kinds.length * 2;
    const kinds = new Uint8Array(capacity);
    const values = new Float64Array(capacity);
    const links = new Int32Array(capacity);
    kinds.set(this.kinds);
    values.set(this.values);
    links.set(this.links);
    this.kinds = kinds;
    this.values = values;
    this.links = links;
  }
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const numbers = new NumberScanner();

const numberFaults: Readonly<Record<number, string>> = {
  [NumberFault.value]: "Invalid value.",
  [NumberFault.fraction]: "Miss fraction part in number.",
  [NumberFault.exponent]: "Miss exponent in number.",
  [NumberFault.tooBig]: "Number too big to be stored in double.",
};

function parseError(reason: string, offset: number): StatusError {
  return invalidArgument(`JSON Parse error: ${reason} at offset: ${offset}`);
}

/** 次に来てよいもの。エラーの文面はこの状態で決まる。 */
const State = {
  start: 0,
  objectStart: 1,
  memberDelimiter: 2,
  memberKey: 3,
  keyValueDelimiter: 4,
  memberValue: 5,
  arrayStart: 6,
  elementDelimiter: 7,
  element: 8,
} as const;

const stateFaults = [
  "The document is empty.",
  "Missing a name for object member.",
  "Missing a name for object member.",
  "Missing a colon after a name of object member.",
  "Invalid value.",
  "Missing a comma or '}' after an object member.",
  "Invalid value.",
  "Invalid value.",
  "Missing a comma or ']' after an array element.",
] as const;

/**
 * 本文を読む。再帰しないので入れ子の深さに制限は無い。根の値の後ろに何があっても見ない。
 *
 * 方言は RapidJSON の既定 + NaN/Inf。UTF-8 の正しさは確かめない。文字列の外の NUL は終端として扱う。
 *
 * @throws INVALID_ARGUMENT `JSON Parse error: <理由> at offset: <バイト位置>`
 * @see rapidjson/reader.h IterativeParse (1.1.0)
 */
export function parseJson(source: Uint8Array, options: ParseOptions = {}): JsonDocument {
  if (source.length === 0) throw invalidArgument("JSON Parse error: The document is empty");
  const maxDepth = options.maxDepth ?? Number.POSITIVE_INFINITY;
  const document = new JsonDocument(source);
  const end = source.length;
  let at = skipByteOrderMark(source);
  let state: number = State.start;
  // 開いている容器の番号。親の番号は links に仮置きし、閉じる時に「次の番号」で上書きする。
  let open = -1;
  let depth = 0;

  for (;;) {
    let code = at < end ? source[at]! : 0;
    while (code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09) {
      at++;
      code = at < end ? source[at]! : 0;
    }
    if (code === 0) throw parseError(stateFaults[state]!, at);

    if (state === State.memberKey) {
      if (code !== 0x3a) throw parseError(stateFaults[state]!, at);
      at++;
      state = State.keyValueDelimiter;
      continue;
    }
    if (state === State.memberValue || state === State.element) {
      if (code === 0x2c) {
        at++;
        state = state === State.memberValue ? State.memberDelimiter : State.elementDelimiter;
        continue;
      }
      if (code !== (state === State.memberValue ? 0x7d : 0x5d)) throw parseError(stateFaults[state]!, at);
    } else if (state === State.objectStart || state === State.memberDelimiter) {
      if (code === 0x22) {
        at = parseString(document, at);
        state = State.memberKey;
        continue;
      }
      if (code !== 0x7d || state === State.memberDelimiter) throw parseError(stateFaults[state]!, at);
    }

    let isClosed = true;
    switch (code) {
      case 0x7b:
      case 0x5b:
        if (++depth > maxDepth) throw parseError("Nesting too deep.", at);
        open = document.push(code === 0x7b ? Kind.object : Kind.array, 0, open);
        state = code === 0x7b ? State.objectStart : State.arrayStart;
        at++;
        isClosed = false;
        break;
      case 0x7d:
      case 0x5d: {
        // ここに来る閉じ括弧は、状態が許したものか、値の来るべき場所に来た誤りのどちらか。
        const isObject = code === 0x7d;
        const isExpected = isObject
          ? state === State.objectStart || state === State.memberValue
          : state === State.arrayStart || state === State.element;
        if (!isExpected) throw parseError(stateFaults[state]!, at);
        at++;
        depth--;
        const parent = document.links[open]!;
        document.links[open] = document.length;
        open = parent;
        break;
      }
      case 0x2c:
      case 0x3a:
        throw parseError(stateFaults[state]!, at);
      case 0x22:
        at = parseString(document, at);
        break;
      case 0x74:
        at = parseWord(source, at, "true");
        document.push(Kind.true, 0, 0);
        break;
      case 0x66:
        at = parseWord(source, at, "false");
        document.push(Kind.false, 0, 0);
        break;
      case 0x6e:
        at = parseWord(source, at, "null");
        document.push(Kind.null, 0, 0);
        break;
      default:
        numbers.scan(source, at);
        if (numbers.fault !== NumberFault.none) throw parseError(numberFaults[numbers.fault]!, numbers.at);
        at = numbers.at;
        if (numbers.isDouble) document.push(Kind.double, numbers.value, 0);
        else if (numbers.big === undefined) document.push(Kind.integer, numbers.value, 0);
        else document.push(Kind.big, numbers.value, document.bigs.push(numbers.big) - 1);
    }

    if (!isClosed) continue;
    if (open < 0) return document;
    document.values[open]!++;
    state = document.kinds[open] === Kind.object ? State.memberValue : State.element;
  }
}

/** BOM の 3 バイトを、それぞれ有れば飛ばす(欠けた BOM も飛ばすのが RapidJSON の動き)。 */
function skipByteOrderMark(source: Uint8Array): number {
  let at = 0;
  for (const mark of [0xef, 0xbb, 0xbf]) if (source[at] === mark) at++;
  return at;
}

function parseWord(source: Uint8Array, start: number, word: string): number {
  for (let i = 1; i < word.length; i++) {
    if (source[start + i] !== word.charCodeAt(i)) throw parseError("Invalid value.", start + i);
  }
  return start + word.length;
}

/** @returns 閉じ引用符の次の位置。 */
function parseString(document: JsonDocument, start: number): number {
  const { source } = document;
  const end = source.length;
  let kind: number = Kind.string;
  let at = start + 1;
  for (;;) {
    const code = at < end ? source[at]! : 0;
    if (code === 0x22) break;
    if (code === 0x5c) {
      kind = Kind.escaped;
      at = skipEscape(source, at);
    } else if (code < 0x20) {
      throw parseError(
        code === 0 ? "Missing a closing quotation mark in string." : "Invalid escape character in string.",
        at,
      );
    } else {
      at++;
    }
  }
  document.push(kind, start + 1, at);
  return at + 1;
}

/** 逆斜線の列を確かめ、その次の位置を返す。 */
function skipEscape(source: Uint8Array, start: number): number {
  const letter = source[start + 1];
  if (letter === 0x75) {
    const unit = readHex(source, start + 2, start);
    if (unit < 0xd800 || unit > 0xdbff) return start + 6;
    const low =
      source[start + 6] === 0x5c && source[start + 7] === 0x75 ? readHex(source, start + 8, start) : 0;
    if (low < 0xdc00 || low > 0xdfff) throw parseError("The surrogate pair in string is invalid.", start);
    return start + 12;
  }
  if (letter === undefined || simpleEscapes[letter] === 0) {
    throw parseError("Invalid escape character in string.", start);
  }
  return start + 2;
}

function readHex(source: Uint8Array, from: number, escapeStart: number): number {
  let value = 0;
  for (let i = from; i < from + 4; i++) {
    const digit = hexValue(source[i]);
    if (digit < 0) throw parseError("Incorrect hex digit after \\u escape in string.", escapeStart);
    value = value * 16 + digit;
  }
  return value;
}

function hexValue(code: number | undefined): number {
  if (code === undefined) return -1;
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x61 + 10 : -1;
}

/** `\n` などの 1 文字の逆斜線。値は表す文字。 */
const simpleEscapes = createSimpleEscapes();

function createSimpleEscapes(): Uint8Array {
  const table = new Uint8Array(256);
  const values = [0x22, 0x5c, 0x2f, 0x08, 0x0c, 0x0a, 0x0d, 0x09];
  for (const [i, value] of values.entries()) table['"\\/bfnrt'.charCodeAt(i)] = value;
  return table;
}

/** 確かめ済みの文字列から逆斜線を外す。対にならない下位サロゲートは 3 バイトのまま書く。 */
function removeEscapes(source: Uint8Array, start: number, end: number): Uint8Array {
  const out = new Uint8Array(end - start);
  let to = 0;
  for (let at = start; at < end; ) {
    if (source[at] !== 0x5c) {
      out[to++] = source[at++]!;
      continue;
    }
    if (source[at + 1] !== 0x75) {
      out[to++] = simpleEscapes[source[at + 1]!]!;
      at += 2;
      continue;
    }
    let point = readHex(source, at + 2, at);
    at += 6;
    if (point >= 0xd800 && point <= 0xdbff) {
      point = 0x10000 + ((point - 0xd800) << 10) + (readHex(source, at + 2, at) - 0xdc00);
      at += 6;
    }
    if (point < 0x80) {
      out[to++] = point;
    } else if (point < 0x800) {
      out[to++] = 0xc0 | (point >> 6);
      out[to++] = 0x80 | (point & 0x3f);
    } else if (point < 0x10000) {
      out[to++] = 0xe0 | (point >> 12);
      out[to++] = 0x80 | ((point >> 6) & 0x3f);
      out[to++] = 0x80 | (point & 0x3f);
    } else {
      out[to++] = 0xf0 | (point >> 18);
      out[to++] = 0x80 | ((point >> 12) & 0x3f);
      out[to++] = 0x80 | ((point >> 6) & 0x3f);
      out[to++] = 0x80 | (point & 0x3f);
    }
  }
  return out.subarray(0, to);
}
