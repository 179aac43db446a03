import { ByteSink } from "./byte_sink.ts";
import { formatDouble } from "./grisu.ts";
import { type JsonDocument, Kind } from "./json_parser.ts";
import { JsonWriter } from "./json_writer.ts";

/** これ以上書いた後の出来事は捨てる。 */
const LIMIT = 256;

const typeNames = {
  [Kind.null]: "Null",
  [Kind.false]: "False",
  [Kind.true]: "True",
  [Kind.object]: "Object",
  [Kind.array]: "Array",
  [Kind.string]: "String",
  [Kind.escaped]: "String",
} as const satisfies Readonly<Record<number, string>>;

/** エラー文での JSON の型名。 */
export function jsonTypeName(document: JsonDocument, node: number): string {
  return (typeNames as Readonly<Record<number, string>>)[document.kind(node)] ?? "Number";
}

const decoder = new TextDecoder();

/**
 * エラー文に引用する値の再表示。配列は 1 行、オブジェクトは 1 組 1 行。
 *
 * 1 つ書くごとに長さを見て、256 バイトに達していたらそこで打ち切る(括弧は閉じない)。
 * 長い文字列 1 つは切らないので 256 バイトを超えうる。NaN と無限大は書けず、そこで打ち切られる。
 *
 * @see tensorflow_serving/util/json_tensor.cc JsonValueToDebugString
 */
export function debugText(document: JsonDocument, node: number): string {
  const writer = new JsonWriter(new ByteSink(LIMIT * 2));
  writer.singleLine = true;
  print(writer, document, node);
  return decoder.decode(writer.toBytes());
}

/** @returns 続けてよければ true。1 段ごとに必ず 1 バイト書くので再帰は 256 段で止まる。 */
function print(writer: JsonWriter, document: JsonDocument, node: number): boolean {
  const { sink } = writer;
  if (sink.at >= LIMIT) return false;
  switch (document.kind(node)) {
    case Kind.null:
      writer.raw("null");
      return true;
    case Kind.true:
    case Kind.false:
      writer.boolean(document.kind(node) === Kind.true);
      return true;
    case Kind.integer:
    case Kind.big:
      writer.integer(document.integer(node)!);
      return true;
    case Kind.double: {
      const value = document.number(node);
      writer.raw(Number.isFinite(value) ? formatDouble(value) : "");
      return Number.isFinite(value);
    }
    case Kind.object: {
      writer.startObject();
      const end = document.after(node);
      for (let key = node + 1; key < end; key = document.after(key + 1)) {
        if (sink.at >= LIMIT) return false;
        writer.string(document.bytes(key));
        if (!print(writer, document, key + 1)) return false;
      }
      if (sink.at >= LIMIT) return false;
      writer.endObject();
      return true;
    }
    case Kind.array: {
      writer.startArray();
      const end = document.after(node);
      for (let item = node + 1; item < end; item = document.after(item)) {
        if (!print(writer, document, item)) return false;
      }
      if (sink.at >= LIMIT) return false;
      writer.endArray();
      return true;
    }
    default:
      writer.string(document.bytes(node));
      return true;
  }
}
