import { create, toBinary } from "@bufbuild/protobuf";
import { invalidArgument } from "../base/status.ts";
import { ExampleSchema } from "../gen/tensorflow/core/example/example_pb.ts";
import { type Feature, FeatureSchema } from "../gen/tensorflow/core/example/feature_pb.ts";
import type { Classifications, Regressions } from "../service/inference_head.ts";
import { mergeContext } from "../service/prediction_service.ts";
import { jsonTypeName } from "./debug_text.ts";
import { flushToFloat } from "./json_number.ts";
import { type JsonDocument, Kind, type ParseOptions } from "./json_parser.ts";
import {
  formatError,
  isBase64Object,
  parseObject,
  readBase64Object,
  readSignatureName,
} from "./json_tensor.ts";
import { JsonWriter } from "./json_writer.ts";

/** 分類・回帰の本文。 */
export interface ExamplesBody {
  /** 書かれていなければ空。 */
  readonly signatureName: string;
  /** 直列化した Example。`context` があれば先頭に連結してある(例の特徴が勝つ)。 */
  readonly examples: readonly Uint8Array[];
}

/**
 * 分類・回帰の本文を読む。モデルを引く前に、例まですべて変換する。
 *
 * @throws INVALID_ARGUMENT 仕様 2.2、2.10 の失敗。
 * @see tensorflow_serving/util/json_tensor.cc FillClassifyRegressRequestFromJson
 */
export function readExamplesBody(source: Uint8Array, options?: ParseOptions): ExamplesBody {
  const document = parseObject(source, options);
  const signatureName = readSignatureName(document);
  const contextNode = document.member(0, "context");
  const context = contextNode < 0 ? undefined : readExample(document, contextNode);
  const list = document.member(0, "examples");
  if (list < 0) {
    // 回帰でも classify と書くのは TF Serving の文面のまま。
    throw formatError(document, "When method is classify, key 'examples' is expected and was not found");
  }
  if (document.kind(list) !== Kind.array) {
    throw formatError(document, "Expecting 'examples' value to be an list/array");
  }
  if (document.count(list) === 0) throw formatError(document, "'examples' value is an empty array");

  const examples: Uint8Array[] = [];
  const end = document.after(list);
  for (let node = list + 1; node < end; node = document.after(node)) {
    examples.push(readExample(document, node));
  }
  return { signatureName, examples: context === undefined ? examples : mergeContext(examples, context) };
}

function readExample(document: JsonDocument, node: number): Uint8Array {
  if (document.kind(node) !== Kind.object) {
    throw invalidArgument(`Example must be JSON object but got JSON ${jsonTypeName(document, node)}`);
  }
  const feature: Record<string, Feature> = Object.create(null);
  const end = document.after(node);
  for (let key = node + 1; key < end; key = document.after(key + 1)) {
    const name = document.name(key);
    feature[name] = readFeature(document, key + 1, name);
  }
  return toBinary(ExampleSchema, create(ExampleSchema, { features: { feature } }));
}

function readFeature(document: JsonDocument, node: number, name: string): Feature {
  const values = new FeatureValues(name);
  if (document.kind(node) === Kind.array) {
    const end = document.after(node);
    for (let item = node + 1; item < end; item = document.after(item)) values.add(document, item);
  } else {
    values.add(document, node);
  }
  return values.toFeature();
}

/** 1 つの特徴に集まる値。種類は最初の値で決まる。 */
class FeatureValues {
  readonly #name: string;
  readonly #bytes: Uint8Array[] = [];
  readonly #floats: number[] = [];
  readonly #integers: bigint[] = [];

  constructor(name: string) {
    this.#name = name;
  }

  /** @throws INVALID_ARGUMENT 使えない値、種類の混在、int64 に収まらない整数。 */
  add(document: JsonDocument, node: number): void {
    const kind = document.kind(node);
    if (document.isString(node)) {
      this.#check("bytes");
      this.#bytes.push(document.bytes(node));
    } else if (isBase64Object(document, node)) {
      this.#check("bytes");
      this.#bytes.push(readBase64Object(document, node));
    } else if (kind === Kind.true || kind === Kind.false) {
      this.#check("int64");
      this.#integers.push(kind === Kind.true ? 1n : 0n);
    } else if (kind === Kind.double) {
      this.#check("float");
      // 範囲を超えた値は無限大になる(型付き配列への代入と同じ)。
      this.#floats.push(Math.fround(flushToFloat(document.number(node))));
    } else if (document.isNumber(node)) {
      this.#check("int64");
      const value = document.integer(node)!;
      if (value >= 1n << 63n) {
        throw invalidArgument(`Feature: ${this.#name} has uint64_t element. Only int64_t is supported.`);
      }
      this.#integers.push(value);
    } else {
      throw invalidArgument(
        `Feature: ${this.#name} has element with unexpected JSON type: ${jsonTypeName(document, node)}`,
      );
    }
  }

  toFeature(): Feature {
    if (this.#bytes.length > 0) {
      return create(FeatureSchema, { kind: { case: "bytesList", value: { value: this.#bytes } } });
    }
    if (this.#floats.length > 0) {
      return create(FeatureSchema, { kind: { case: "floatList", value: { value: this.#floats } } });
    }
    if (this.#integers.length > 0) {
      return create(FeatureSchema, { kind: { case: "int64List", value: { value: this.#integers } } });
    }
    return create(FeatureSchema);
  }

  #check(wanted: "bytes" | "float" | "int64"): void {
    const present =
      this.#bytes.length > 0
        ? "bytes"
        : this.#floats.length > 0
          ? "float"
          : this.#integers.length > 0
            ? "int64"
            : wanted;
    if (present !== wanted) {
      throw invalidArgument(`Unexpected element type in feature: ${this.#name} expecting type: ${present}`);
    }
  }
}

/**
 * 例ごとの `[ラベル, 点]` の並び。
 *
 * @throws INVALID_ARGUMENT 結果が 1 つも無い。
 * @see tensorflow_serving/util/json_tensor.cc MakeJsonFromClassificationResult
 */
export function writeClassifications(classifications: Classifications): Uint8Array<ArrayBuffer> {
  if (classifications.length === 0) {
    throw invalidArgument("Cannot convert empty ClassificationResults to JSON");
  }
  const writer = new JsonWriter();
  writer.startObject();
  writer.string("results");
  writer.startArray();
  for (const classes of classifications) {
    writer.singleLine = true;
    writer.startArray();
    for (const { label, score } of classes) {
      writer.startArray();
      writer.string(label);
      writer.float(score, true);
      writer.endArray();
    }
    writer.endArray();
    writer.singleLine = false;
  }
  writer.endArray();
  writer.endObject();
  return writer.toBytes();
}

/**
 * 例ごとの値。
 *
 * @throws INVALID_ARGUMENT 結果が 1 つも無い。
 * @see tensorflow_serving/util/json_tensor.cc MakeJsonFromRegressionResult
 */
export function writeRegressions(regressions: Regressions): Uint8Array<ArrayBuffer> {
  if (regressions.length === 0) {
    throw invalidArgument("Cannot convert empty RegressionResults to JSON");
  }
  const writer = new JsonWriter();
  writer.startObject();
  writer.string("results");
  writer.singleLine = true;
  writer.startArray();
  for (const value of regressions) writer.float(value, true);
  writer.endArray();
  writer.endObject();
  return writer.toBytes();
}
