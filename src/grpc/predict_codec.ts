import { fromBinary } from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { Code, StatusError } from "../base/status.ts";
import { ModelSpecSchema } from "../gen/tensorflow_serving/apis/model_pb.ts";
import type { ModelSpec } from "../service/model_spec.ts";
import type { RequestInputs } from "../service/predict_plan.ts";
import type { PredictResult } from "../service/prediction_service.ts";
import type { PaddingBudget } from "../tensor/padding_budget.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { BrokenWire, decodeTensorProto, encodeTensorProto } from "../tensor/tensor_wire.ts";
import { concatBytes } from "./bytes.ts";
import { fromModelSpecProto } from "./model_spec_proto.ts";

/** PredictRequest のうち、読まれるもの。 */
export interface PredictCall {
  readonly spec: ModelSpec | undefined;
  readonly signatureName: string;
  readonly inputs: RequestInputs;
  readonly outputFilter: readonly string[];
  /** 入力を読む場所が無い。モデルとシグネチャが決まってから、これで断る。 */
  readonly refusal?: StatusError;
}

const field = (number: number): number => (number << 3) | WireType.LengthDelimited;
const MODEL_SPEC = field(1);
const INPUTS = field(2);
const OUTPUT_FILTER = field(3);
const KEY = field(1);
const VALUE = field(2);

/** 単数のメッセージが 2 度来たら、protobuf では後のものが前のものに合流する。連結と同じ意味になる。 */
const merge = (known: Uint8Array | undefined, more: Uint8Array): Uint8Array =>
  known === undefined ? more : concatBytes([known, more]);

/** 復号できないテンソルは undefined。どの順で断るかは service が決める。 @throws BrokenWire, RESOURCE_EXHAUSTED */
function decodeTensor(bytes: Uint8Array, padding: PaddingBudget | undefined): Tensor | undefined {
  try {
    return decodeTensorProto(bytes, padding);
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

function readInput(
  bytes: Uint8Array,
  inputs: Map<string, Tensor | undefined>,
  padding: PaddingBudget | undefined,
): StatusError | undefined {
  const reader = new BinaryReader(bytes);
  let key = "";
  let value: Uint8Array | undefined;
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag === KEY) key = reader.string(true);
    else if (tag === VALUE) value = merge(value, reader.bytes());
    else skip(reader, tag);
  }
  try {
    inputs.set(key, value === undefined ? undefined : decodeTensor(value, padding));
  } catch (thrown) {
    if (thrown instanceof StatusError && thrown.code === Code.RESOURCE_EXHAUSTED) return thrown;
    throw thrown;
  }
  return undefined;
}

function skip(reader: BinaryReader, tag: number): void {
  const number = tag >>> 3;
  const wireType = tag & 7;
  if (number === 0 || wireType === WireType.EndGroup) throw new Error(`illegal tag: ${tag}`);
  reader.skip(wireType, number);
}

/**
 * PredictRequest を、途中のメッセージを作らずに読む。使わないフィールドは読み飛ばす。
 *
 * @param padding 埋め草に使ってよい場所。
 * @throws 壊れたワイヤ(客には INTERNAL)。
 */
export function decodePredictRequest(bytes: Uint8Array, padding?: PaddingBudget): PredictCall {
  const reader = new BinaryReader(bytes);
  const inputs = new Map<string, Tensor | undefined>();
  const outputFilter: string[] = [];
  let specBytes: Uint8Array | undefined;
  let refusal: StatusError | undefined;
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag === INPUTS) refusal = readInput(reader.bytes(), inputs, padding) ?? refusal;
    else if (tag === MODEL_SPEC) specBytes = merge(specBytes, reader.bytes());
    else if (tag === OUTPUT_FILTER) outputFilter.push(reader.string(true));
    else skip(reader, tag);
  }
  const spec = specBytes === undefined ? undefined : fromBinary(ModelSpecSchema, specBytes);
  return {
    spec: fromModelSpecProto(spec),
    signatureName: spec?.signatureName ?? "",
    inputs,
    outputFilter,
    ...(refusal === undefined ? {} : { refusal }),
  };
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
    this.#at += this.bytes.write(text, this.#at);
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
const INT64_VALUE = (1 << 3) | WireType.Varint;

/** 長さつきの値 1 つの大きさ。印は 1 バイト。 */
const sizeOfField = (size: number): number => 1 + varintSize(size) + size;
/** proto3 では空の文字列は書かない。 */
const sizeOfString = (size: number): number => (size === 0 ? 0 : sizeOfField(size));

const int64Size = (value: bigint): number => {
  let size = 1;
  for (let rest = value >> 7n; rest > 0n; rest >>= 7n) size++;
  return size;
};

/**
 * PredictResponse を書く。バイト列は生成された記述で書いたものと同じ。
 *
 * @param asContent `--enable_serialization_as_tensor_content`
 */
export function encodePredictResponse(
  { id, signatureName, outputs }: PredictResult,
  asContent: boolean,
): Uint8Array {
  const nameSize = Buffer.byteLength(id.name);
  const signatureSize = Buffer.byteLength(signatureName);
  const wrapperSize = id.version === 0n ? 0 : 1 + int64Size(id.version);
  const specSize = sizeOfString(nameSize) + sizeOfField(wrapperSize) + sizeOfString(signatureSize);
  let size = sizeOfField(specSize);
  const entries: { alias: string; aliasSize: number; value: Uint8Array; entrySize: number }[] = [];
  for (const [alias, output] of outputs) {
    const value = encodeTensorProto(output, asContent);
    const aliasSize = Buffer.byteLength(alias);
    // 対応表の項目だけは、空の鍵も書く。
    const entrySize = sizeOfField(aliasSize) + sizeOfField(value.length);
    entries.push({ alias, aliasSize, value, entrySize });
    size += sizeOfField(entrySize);
  }

  const writer = new Writer(size);
  for (const { alias, aliasSize, value, entrySize } of entries) {
    writer.varint(OUTPUTS);
    writer.varint(entrySize);
    writer.string(KEY, alias, aliasSize);
    writer.raw(VALUE, value);
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
