import { invalidArgument, StatusError, unimplemented } from "../base/status.ts";
import { allocate, type DataByDType, type DType, dtypeName } from "../tensor/dtype.ts";
import type { Signature, TensorInfo } from "../tensor/signature.ts";
import { sizeOf, type Tensor, tensor } from "../tensor/tensor.ts";
import { decodeBase64 } from "./base64.ts";
import { debugText, jsonTypeName } from "./debug_text.ts";
import { flushToFloat } from "./json_number.ts";
import { type JsonDocument, Kind, type ParseOptions, parseJson } from "./json_parser.ts";
import { type NumericBody, scanNumericBody } from "./json_tensor_scan.ts";

/** 要求の書き方。応答も同じ書き方になる。 */
export type PredictFormat = "row" | "columnar";

/** 復号した入力と、その書き方。値が undefined の別名は「送られたがテンソルにできない」。 */
export interface PredictInputs {
  readonly format: PredictFormat;
  readonly inputs: ReadonlyMap<string, Tensor | undefined>;
}

/** 構文を確かめ、シグネチャ名を取り出した本文。値はシグネチャが決まってから読む。 */
export interface PredictBody {
  /** 書かれていなければ空。 */
  readonly signatureName: string;
  /** @throws INVALID_ARGUMENT, UNIMPLEMENTED 仕様 2.9 の表の失敗。 */
  read(signature: Signature): PredictInputs;
}

/** TF のテンソルの階数の上限。 */
const MAX_RANK = 254;

/**
 * 予測の本文を読む。数だけの本文は木を作らずに読み、そうでないものは一般の道で読む。答えは同じ。
 *
 * @throws INVALID_ARGUMENT 構文の誤り、根がオブジェクトでない、`signature_name` が文字列でない。
 * @see tensorflow_serving/util/json_tensor.cc FillPredictRequestFromJson
 */
export function readPredictBody(source: Uint8Array, options?: ParseOptions): PredictBody {
  const numeric = scanNumericBody(source);
  return numeric === undefined
    ? readGeneralBody(source, options)
    : new NumericPredictBody(numeric, source, options);
}

class NumericPredictBody implements PredictBody {
  readonly #numeric: NumericBody;
  readonly #source: Uint8Array;
  readonly #options: ParseOptions | undefined;

  constructor(numeric: NumericBody, source: Uint8Array, options: ParseOptions | undefined) {
    this.#numeric = numeric;
    this.#source = source;
    this.#options = options;
  }

  get signatureName(): string {
    return this.#numeric.signatureName;
  }

  read(signature: Signature): PredictInputs {
    return (
      toNumericInputs(this.#numeric, signature) ??
      readGeneralBody(this.#source, this.#options).read(signature)
    );
  }
}

/** {@link readPredictBody} の一般の道。どんな本文も読め、誤りの文面はすべてここが作る。 */
export function readGeneralBody(source: Uint8Array, options?: ParseOptions): PredictBody {
  const document = parseObject(source, options);
  const signatureName = readSignatureName(document);
  return { signatureName, read: (signature) => readInputs(document, signature, signatureName) };
}

/** @throws INVALID_ARGUMENT 構文の誤り、`JSON Value: … Is not object` */
export function parseObject(source: Uint8Array, options?: ParseOptions): JsonDocument {
  const document = parseJson(source, options);
  if (document.kind(0) !== Kind.object) throw formatError(document, "Is not object");
  return document;
}

/** @throws INVALID_ARGUMENT 文字列でない。 */
export function readSignatureName(document: JsonDocument): string {
  const node = document.member(0, "signature_name");
  if (node < 0) return "";
  if (!document.isString(node)) {
    throw formatError(document, "not formatted correctly. 'signature_name' key must be a string value.");
  }
  return document.text(node);
}

/** 文書全体を引用する失敗。 */
export function formatError(document: JsonDocument, text: string): StatusError {
  return invalidArgument(`JSON Value: ${debugText(document, 0)} ${text}`);
}

/** `{"b64": "…"}` の形か。 */
export function isBase64Object(document: JsonDocument, node: number): boolean {
  return (
    document.kind(node) === Kind.object &&
    document.count(node) === 1 &&
    document.isString(node + 2) &&
    document.equals(node + 1, "b64")
  );
}

/** {@link isBase64Object} の中身。 */
export function readBase64Object(document: JsonDocument, node: number): Uint8Array {
  return decodeBase64(document.bytes(node + 2));
}

/** 最後に見たシグネチャのただ 1 つの入力。同じモデルへの要求が続くので、毎回たどらない。 */
let lastSignature: Signature | undefined;
let lastAlias = "";
let lastDType: DType | undefined;

/** @returns 入力が 1 つでないか、型が合わないとき undefined。そのときの失敗は一般の道が説明する。 */
function toNumericInputs(numeric: NumericBody, signature: Signature): PredictInputs | undefined {
  if (signature !== lastSignature) {
    if (signature.inputs.size !== 1) return undefined;
    for (const [alias, { dtype }] of signature.inputs) {
      lastSignature = signature;
      lastAlias = alias;
      lastDType = dtype;
    }
  }
  if (lastDType === undefined) return undefined;
  const data = toNumericData(lastDType, numeric);
  if (data === undefined) return undefined;
  const inputs = new Map<string, Tensor>();
  inputs.set(lastAlias, tensor(lastDType, numeric.shape, data));
  return { format: numeric.format, inputs };
}

/** 整数の型が受ける値の範囲。狭い型は int32 として受け、下位の桁だけを使う。 */
const integerRanges: { readonly [D in DType]?: readonly [number, number] } = {
  int8: [-0x80000000, 0x7fffffff],
  int16: [-0x80000000, 0x7fffffff],
  int32: [-0x80000000, 0x7fffffff],
  uint8: [-0x80000000, 0x7fffffff],
  uint32: [0, 0xffffffff],
};

function toNumericData(dtype: DType, numeric: NumericBody): DataByDType[DType] | undefined {
  if (dtype === "float") return numeric.toFloat32();
  const values = numeric.values();
  if (dtype === "double") return values.slice();
  if (!numeric.isIntegral) return undefined;
  const range = integerRanges[dtype];
  if (range !== undefined) {
    const [low, high] = range;
    for (const value of values) if (value < low || value > high) return undefined;
    const data = allocate(dtype, values.length) as Int32Array;
    data.set(values);
    return data;
  }
  if (dtype === "int64") return BigInt64Array.from(values, BigInt);
  if (dtype === "uint64" && values.every((value) => value >= 0)) return BigUint64Array.from(values, BigInt);
  return undefined;
}

function readInputs(document: JsonDocument, signature: Signature, signatureName: string): PredictInputs {
  if (signature.inputs.size === 0) {
    throw invalidArgument(`Failed to get input map for signature: ${signatureName || "DEFAULT"}`);
  }
  const instances = document.member(0, "instances");
  const inputs = document.member(0, "inputs");
  if (instances >= 0) {
    if (inputs >= 0) {
      throw formatError(
        document,
        "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ",
      );
    }
    if (document.kind(instances) !== Kind.array) {
      throw formatError(document, "Expecting 'instances' to be an list/array");
    }
    if (document.count(instances) === 0) throw formatError(document, "No values in 'instances' array");
    return { format: "row", inputs: readInstances(document, instances, signature) };
  }
  if (inputs < 0) throw invalidArgument("Missing 'inputs' or 'instances' key");
  return { format: "columnar", inputs: readColumns(document, inputs, signature) };
}

function readInstances(
  document: JsonDocument,
  instances: number,
  { inputs }: Signature,
): ReadonlyMap<string, Tensor | undefined> {
  const rows = document.count(instances);
  const first = instances + 1;
  if (document.kind(first) !== Kind.object && inputs.size > 1) {
    throw invalidArgument(
      "instances is a plain list, but expecting list of objects as multiple input tensors required as per tensorinfo_map",
    );
  }
  const isObject = (node: number): boolean =>
    document.kind(node) === Kind.object && !isBase64Object(document, node);
  const isNamed = isObject(first);
  const columns = [...inputs].map(([alias, info]) => new Column(alias, info, rows));

  const end = document.after(instances);
  let row = 0;
  for (let node = first; node < end; node = document.after(node), row++) {
    if (isNamed) {
      if (!isObject(node)) {
        throw invalidArgument(`Expecting object but got list at item ${row} of input list`);
      }
      addObject(document, node, columns, row);
    } else {
      if (isObject(node)) {
        throw invalidArgument(`Expecting value/list but got object at item ${row} of input list`);
      }
      try {
        columns[0]!.add(document, node);
      } catch (thrown) {
        throw elementError(`${row}`, thrown);
      }
    }
  }
  // 名前なしで複数の入力に与えた場合は 1 つだけが埋まり、後の検査が数の食い違いとして断る。
  const filled = isNamed ? columns : columns.slice(0, 1);
  return new Map(filled.map((column) => [column.alias, column.toTensor([rows, ...column.shape])]));
}

/** 名前つきの 1 行。キーの集合は入力の集合に等しくなければならない。 */
function addObject(document: JsonDocument, node: number, columns: readonly Column[], row: number): void {
  const end = document.after(node);
  let next = 0;
  for (let key = node + 1; key < end; key = document.after(key + 1)) {
    // たいていはどの行も同じ順に書かれているので、前の続きから照らす。
    let column = columns[next];
    if (column === undefined || !document.equals(key, column.alias)) {
      const name = document.name(key);
      column = columns.find(({ alias }) => alias === name);
      if (column === undefined) {
        throw elementError(
          `${row} key: ${name}`,
          invalidArgument(`JSON object: does not have named input: ${name}`),
        );
      }
    }
    next++;
    try {
      column.add(document, key + 1);
    } catch (thrown) {
      throw elementError(`${row} key: ${column.alias}`, thrown);
    }
    column.lastRow = row;
  }
  if (columns.some(({ lastRow }) => lastRow !== row)) {
    const wanted = columns.map(({ alias }) => alias).join(",");
    throw invalidArgument(
      `Failed to process element: ${row} of 'instances' list. JSON object: ${debugText(document, node)} keys must be equal to: ${wanted}`,
    );
  }
}

function elementError(where: string, thrown: unknown): unknown {
  if (!(thrown instanceof StatusError)) return thrown;
  return invalidArgument(`Failed to process element: ${where} of 'instances' list. Error: ${thrown}`);
}

function readColumns(
  document: JsonDocument,
  node: number,
  { inputs }: Signature,
): ReadonlyMap<string, Tensor | undefined> {
  const [first] = inputs;
  if (document.kind(node) !== Kind.object || isBase64Object(document, node)) {
    if (inputs.size > 1) {
      throw invalidArgument(
        "inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map",
      );
    }
    const [alias, info] = first!;
    return new Map([[alias, readWhole(document, node, alias, info)]]);
  }
  const tensors = new Map<string, Tensor | undefined>();
  for (const [alias, info] of inputs) {
    const value = document.member(node, alias);
    if (value < 0) throw invalidArgument(`Missing named input: ${alias} in 'inputs' object.`);
    tensors.set(alias, readWhole(document, value, alias, info));
  }
  return tensors;
}

function readWhole(
  document: JsonDocument,
  node: number,
  alias: string,
  info: TensorInfo,
): Tensor | undefined {
  const column = new Column(alias, info, 1);
  column.add(document, node);
  return column.toTensor(column.shape);
}

/** 1 つの入力に集まる値。行ごとの値は同じ数・同じ形でなければならない。 */
class Column {
  readonly alias: string;
  readonly #info: TensorInfo;
  readonly #rows: number;
  #data: DataByDType[DType] = [];
  #capacity = 0;
  #at = 0;
  /** 1 行の値の数。まだ無ければ -1。 */
  #size = -1;
  /** 1 行の形。 */
  shape: readonly number[] = [];
  /** 最後にこの入力を含んだ行。 */
  lastRow = -1;

  constructor(alias: string, info: TensorInfo, rows: number) {
    this.alias = alias;
    this.#info = info;
    this.#rows = rows;
  }

  /** @throws INVALID_ARGUMENT, UNIMPLEMENTED 仕様 2.9 の w の印の失敗。 */
  add(document: JsonDocument, node: number): void {
    const shape = shapeOf(document, node);
    if (this.#size < 0) {
      // 形は先頭の要素だけから決まるので、実際の値の数より大きいことがある。値の数は文書の長さを超えない。
      this.#capacity = Math.min(sizeOf(shape) * this.#rows, document.length);
      if (this.#info.dtype !== undefined && this.#info.dtype !== "string") {
        this.#data = allocate(this.#info.dtype, this.#capacity);
      }
    }
    const before = this.#at;
    this.#fill(document, node, shape);
    const size = this.#at - before;
    if (this.#size < 0) {
      this.#size = size;
      this.shape = shape;
    } else if (size !== this.#size) {
      throw invalidArgument(`Expecting tensor size: ${this.#size} but got: ${size}`);
    } else if (!sameShape(this.shape, shape)) {
      throw invalidArgument(`Expecting shape [${this.shape}] but got: [${shape}]`);
    }
  }

  /** @returns 型か階数のためにテンソルにできなければ undefined。 */
  toTensor(shape: readonly number[]): Tensor | undefined {
    const { dtype } = this.#info;
    if (dtype === undefined || shape.length > MAX_RANK) return undefined;
    return tensor(dtype, shape, this.#data);
  }

  /** 値を文書の順に入れる。入れ子は自前の積み重ねで数え、再帰しない。 */
  #fill(document: JsonDocument, node: number, shape: readonly number[]): void {
    const rank = shape.length;
    const end = document.after(node);
    const ends: number[] = [];
    let level = 0;
    for (let at = node; at < end; ) {
      while (level > 0 && ends[level - 1] === at) level--;
      const kind = document.kind(at);
      if (kind !== Kind.array) {
        if (level !== rank) {
          throw invalidArgument(
            `JSON Value: ${debugText(document, at)} found at incorrect level: ${level + 1} in the JSON DOM. Expected at level: ${rank}`,
          );
        }
        if (kind === Kind.object) this.#storeObject(document, at);
        else this.#store(document, at, kind);
        this.#at++;
        at = document.after(at);
        continue;
      }
      if (level >= rank) {
        throw invalidArgument(`Encountered list at unexpected level: ${level} expected < ${rank}`);
      }
      if (document.count(at) !== shape[level]) {
        throw invalidArgument(
          `Encountered list at unexpected size: ${document.count(at)} at level: ${level} expected size: ${shape[level]}`,
        );
      }
      ends[level++] = document.after(at);
      at++;
    }
  }

  #storeObject(document: JsonDocument, node: number): void {
    if (this.#info.dtype !== "string") throw this.#typeError(document, node);
    if (!isBase64Object(document, node)) {
      throw invalidArgument(
        `JSON Value: ${debugText(document, node)} not formatted correctly for base64 data`,
      );
    }
    this.#put(readBase64Object(document, node));
  }

  #store(document: JsonDocument, node: number, kind: number): void {
    const { dtype } = this.#info;
    const isInteger = kind === Kind.integer;
    const value = document.number(node);
    switch (dtype) {
      case "float":
      case "double":
        if (!document.isNumber(node)) throw this.#typeError(document, node);
        (this.#data as Float64Array)[this.#at] = dtype === "float" ? flushToFloat(value) : value;
        return;
      case "int32":
      case "int16":
      case "int8":
      case "uint8":
      case "uint32": {
        const [low, high] = integerRanges[dtype]!;
        if (!isInteger || value < low || value > high) throw this.#typeError(document, node);
        (this.#data as Int32Array)[this.#at] = value;
        return;
      }
      case "int64":
      case "uint64": {
        const exact = document.integer(node);
        const isInside =
          dtype === "int64" ? exact !== undefined && exact < 1n << 63n : exact !== undefined && exact >= 0n;
        if (!isInside) throw this.#typeError(document, node);
        (this.#data as BigInt64Array)[this.#at] = exact!;
        return;
      }
      case "bool":
        if (kind !== Kind.true && kind !== Kind.false) throw this.#typeError(document, node);
        (this.#data as Uint8Array)[this.#at] = kind === Kind.true ? 1 : 0;
        return;
      case "string":
        if (!document.isString(node)) throw this.#typeError(document, node);
        this.#put(document.bytes(node));
        return;
      default:
        throw unimplemented(
          `Conversion of JSON Value: ${debugText(document, node)} to type: ${dtypeName(this.#info.wireDType)}`,
        );
    }
  }

  /** 型付き配列は溢れた書き込みを捨てる。文字列の列も同じにする(1 行に同じキーが二度ある場合)。 */
  #put(value: Uint8Array): void {
    if (this.#at < this.#capacity) (this.#data as Uint8Array[]).push(value);
  }

  #typeError(document: JsonDocument, node: number): StatusError {
    const { wireDType } = this.#info;
    return invalidArgument(
      `JSON Value: ${debugText(document, node)} Type: ${jsonTypeName(document, node)} is not of expected type: ${dtypeName(wireDType)}`,
    );
  }
}

/** 先頭の要素をたどって決まる形。 */
function shapeOf(document: JsonDocument, node: number): number[] {
  const shape: number[] = [];
  for (let at = node; document.kind(at) === Kind.array; at++) {
    const count = document.count(at);
    shape.push(count);
    if (count === 0) break;
  }
  return shape;
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((dim, i) => dim === b[i]);
}
