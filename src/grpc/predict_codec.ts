import { fromBinary } from "@bufbuild/protobuf";
import { concatBytes, plainBytes } from "../base/bytes.ts";
import { Code, StatusError } from "../base/status.ts";
import { ModelSpecSchema } from "../gen/tensorflow_serving/apis/model_pb.ts";
import type { ModelSpec } from "../service/model_spec.ts";
import type { RequestInputs } from "../service/predict_plan.ts";
import type { PredictRequest, PredictResult } from "../service/prediction_service.ts";
import type { PaddingBudget } from "../tensor/padding_budget.ts";
import type { Tensor } from "../tensor/tensor.ts";
import {
  decodeTensorProto,
  encodeTensorProto,
  fixedTensorSize,
  writeFixedTensor,
} from "../tensor/tensor_wire.ts";
import { BrokenWire, LENGTH, type Span, VARINT, WireReader } from "../tensor/wire_reader.ts";
import { fromModelSpecProto } from "./model_spec_proto.ts";

const field = (number: number): number => (number << 3) | LENGTH;
const MODEL_SPEC = field(1);
const INPUTS = field(2);
const OUTPUT_FILTER = field(3);
const KEY = field(1);
const VALUE = field(2);
const utf8 = new TextDecoder("utf-8", { fatal: true });
const noFilter: readonly string[] = [];

/** PredictRequest のうち、読まれるもの。そのまま service への要求になる。 */
export class PredictCall implements PredictRequest {
  spec: ModelSpec | undefined;
  signatureName = "";
  readonly inputs = new Map<string, Tensor | undefined>();
  outputFilter: readonly string[] = noFilter;
  /** 入力を読む場所が無い。モデルとシグネチャが決まってから、これで断る。 */
  refusal: StatusError | undefined;

  readInputs(): RequestInputs {
    if (this.refusal !== undefined) throw this.refusal;
    return this.inputs;
  }
}

interface Named {
  readonly spec: ModelSpec | undefined;
  readonly signatureName: string;
}

/** 同じ客は同じモデルを呼び続けるので、最後に読んだものを覚える。 */
class Remembered<T> {
  readonly #read: (bytes: Uint8Array) => T;
  #bytes: Uint8Array = new Uint8Array(0);
  #value: T | undefined;

  constructor(read: (bytes: Uint8Array) => T) {
    this.#read = read;
  }

  get(bytes: Uint8Array, from: number, to: number): T {
    const known = this.#bytes;
    if (this.#value !== undefined && known.length === to - from) {
      let at = 0;
      while (at < known.length && known[at] === bytes[from + at]) at++;
      if (at === known.length) return this.#value;
    }
    const given = plainBytes(bytes.subarray(from, to));
    const value = this.#read(given);
    if (given.length <= MAX_REMEMBERED_BYTES) {
      this.#bytes = given.slice();
      this.#value = value;
    }
    return value;
  }
}

/** これより長いものは覚えない。 */
const MAX_REMEMBERED_BYTES = 1024;

const specs = new Remembered<Named>((bytes) => {
  const spec = fromBinary(ModelSpecSchema, bytes);
  return { spec: fromModelSpecProto(spec), signatureName: spec.signatureName };
});
const aliases = new Remembered<string>((bytes) => utf8.decode(bytes));

/**
 * PredictRequest を、途中のメッセージを作らずに読む。使わないフィールドは読み飛ばす。
 *
 * @param padding 埋め草に使ってよい場所。
 * @throws 壊れたワイヤ(客には INTERNAL)。
 */
export function decodePredictRequest(bytes: Uint8Array, padding?: PaddingBudget): PredictCall {
  const call = new PredictCall();
  const reader = new WireReader(bytes);
  let spec: Uint8Array | undefined;
  let specAt: Span | undefined;
  while (reader.at < reader.end) {
    const tag = reader.tag();
    if (tag === INPUTS) readInput(reader, call, padding);
    else if (tag === MODEL_SPEC) {
      const span = reader.span();
      if (specAt === undefined) specAt = span;
      else spec = merge(spec ?? part(bytes, specAt), part(bytes, span));
    } else if (tag === OUTPUT_FILTER) {
      const span = reader.span();
      call.outputFilter = [...call.outputFilter, utf8.decode(part(bytes, span))];
    } else reader.skip(tag);
  }
  if (specAt !== undefined) {
    const named =
      spec === undefined ? specs.get(bytes, specAt.from, specAt.to) : specs.get(spec, 0, spec.length);
    call.spec = named.spec;
    call.signatureName = named.signatureName;
  }
  return call;
}

const part = (bytes: Uint8Array, { from, to }: Span): Uint8Array => bytes.subarray(from, to);

/** 単数のメッセージが 2 度来たら、protobuf では後のものが前のものに合流する。連結と同じ意味になる。 */
const merge = (known: Uint8Array, more: Uint8Array): Uint8Array => concatBytes([known, more]);

function readInput(reader: WireReader, call: PredictCall, padding: PaddingBudget | undefined): void {
  const { bytes } = reader;
  const outer = reader.enter();
  let key = "";
  let value: Span | undefined;
  let merged: Uint8Array | undefined;
  while (reader.at < reader.end) {
    const tag = reader.tag();
    if (tag === KEY) {
      const { from, to } = reader.span();
      key = aliases.get(bytes, from, to);
    } else if (tag === VALUE) {
      const span = reader.span();
      if (value === undefined) value = span;
      else merged = merge(merged ?? part(bytes, value), part(bytes, span));
    } else reader.skip(tag);
  }
  reader.end = outer;
  try {
    const tensor =
      merged !== undefined
        ? decodeTensor(merged, padding, 0, merged.length)
        : value && decodeTensor(bytes, padding, value.from, value.to);
    call.inputs.set(key, tensor);
  } catch (thrown) {
    if (!(thrown instanceof StatusError) || thrown.code !== Code.RESOURCE_EXHAUSTED) throw thrown;
    call.refusal = thrown;
  }
}

/** 復号できないテンソルは undefined。どの順で断るかは service が決める。 @throws BrokenWire, RESOURCE_EXHAUSTED */
function decodeTensor(
  bytes: Uint8Array,
  padding: PaddingBudget | undefined,
  from: number,
  to: number,
): Tensor | undefined {
  try {
    return decodeTensorProto(bytes, padding, from, to);
  } catch (thrown) {
    if (
      thrown instanceof StatusError &&
      thrown.code === Code.INVALID_ARGUMENT &&
      !(thrown instanceof BrokenWire)
    )
      return undefined;
    throw thrown;
  }
}

const varintSize = (value: number): number => {
  let size = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) size++;
  return size;
};

/** 前から順に書く。大きさは先に数えてあるので、足りなくなることはない。 */
class Writer {
  readonly bytes: Buffer;
  #at = 0;

  constructor(size: number) {
    this.bytes = Buffer.allocUnsafe(size);
  }

  varint(value: number): void {
    let rest = value;
    while (rest >= 128) {
      this.bytes[this.#at++] = (rest % 128) | 128;
      rest = Math.floor(rest / 128);
    }
    this.bytes[this.#at++] = rest;
  }

  /** 負でない int64。 */
  int64(value: bigint): void {
    if (value <= Number.MAX_SAFE_INTEGER) this.varint(Number(value));
    else {
      let rest = value;
      for (; rest >= 128n; rest >>= 7n) this.bytes[this.#at++] = Number(rest & 127n) | 128;
      this.bytes[this.#at++] = Number(rest);
    }
  }

  string(tag: number, text: string, size: number): void {
    this.varint(tag);
    this.varint(size);
    // 短い ASCII なら、ネイティブの変換を呼ぶより 1 字ずつ写すほうが速い。
    if (size === text.length && size <= SHORT_TEXT) {
      for (let i = 0; i < size; i++) this.bytes[this.#at++] = text.charCodeAt(i);
    } else this.#at += this.bytes.write(text, this.#at);
  }

  fixed(tag: number, value: Tensor, size: number, asContent: boolean): void {
    this.varint(tag);
    this.varint(size);
    writeFixedTensor(this.bytes, this.#at, value, asContent);
    this.#at += size;
  }

  raw(tag: number, bytes: Uint8Array): void {
    this.varint(tag);
    this.varint(bytes.length);
    this.bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }
}

const OUTPUTS = field(1);
const ANSWERED_SPEC = field(2);
const NAME = field(1);
const VERSION = field(2);
const SIGNATURE_NAME = field(3);
const INT64_VALUE = (1 << 3) | VARINT;

/** 自分で写すほうが速い長さ。 */
const SHORT_TEXT = 32;

function utf8Size(text: string): number {
  if (text.length > SHORT_TEXT) return Buffer.byteLength(text);
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 127) return Buffer.byteLength(text);
  return text.length;
}

/** 長さつきの値 1 つの大きさ。印は 1 バイト。 */
const sizeOfField = (size: number): number => 1 + varintSize(size) + size;
/** proto3 では空の文字列は書かない。 */
const sizeOfString = (size: number): number => (size === 0 ? 0 : sizeOfField(size));

const int64Size = (value: bigint): number => {
  let size = 1;
  for (let rest = value >> 7n; rest > 0n; rest >>= 7n) size++;
  return size;
};

/** 書く出力 1 つ。`value` は、書き終えたバイト列か、大きさの決まっているのでその場で書くテンソル。 */
interface Entry {
  readonly alias: string;
  readonly aliasSize: number;
  readonly value: Uint8Array | Tensor;
  readonly valueSize: number;
  readonly entrySize: number;
}

/**
 * PredictResponse を書く。バイト列は生成された記述で書いたものと同じ。
 *
 * @param asContent `--enable_serialization_as_tensor_content`
 */
export function encodePredictResponse(
  { id, signatureName, outputs }: PredictResult,
  asContent: boolean,
): Uint8Array {
  const nameSize = utf8Size(id.name);
  const signatureSize = utf8Size(signatureName);
  const wrapperSize = id.version === 0n ? 0 : 1 + int64Size(id.version);
  const specSize = sizeOfString(nameSize) + sizeOfField(wrapperSize) + sizeOfString(signatureSize);
  let size = sizeOfField(specSize);
  const entries: Entry[] = [];
  for (const [alias, output] of outputs) {
    const fixedSize = fixedTensorSize(output);
    const value = fixedSize > 0 ? output : encodeTensorProto(output, asContent);
    const valueSize = value instanceof Uint8Array ? value.length : fixedSize;
    const aliasSize = utf8Size(alias);
    // 対応表の項目だけは、空の鍵も書く。
    const entrySize = sizeOfField(aliasSize) + sizeOfField(valueSize);
    entries.push({ alias, aliasSize, value, valueSize, entrySize });
    size += sizeOfField(entrySize);
  }

  const writer = new Writer(size);
  for (const { alias, aliasSize, value, valueSize, entrySize } of entries) {
    writer.varint(OUTPUTS);
    writer.varint(entrySize);
    writer.string(KEY, alias, aliasSize);
    if (value instanceof Uint8Array) writer.raw(VALUE, value);
    else writer.fixed(VALUE, value, valueSize, asContent);
  }
  writer.varint(ANSWERED_SPEC);
  writer.varint(specSize);
  if (nameSize > 0) writer.string(NAME, id.name, nameSize);
  writer.varint(VERSION);
  writer.varint(wrapperSize);
  if (wrapperSize > 0) {
    writer.varint(INT64_VALUE);
    writer.int64(id.version);
  }
  if (signatureSize > 0) writer.string(SIGNATURE_NAME, signatureName, signatureSize);
  return writer.bytes;
}
