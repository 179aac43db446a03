import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import { encodeBase64 } from "./base64.ts";
import { formatFloat } from "./format_float.ts";

/** JSON.stringify の 2 つ目以降の引数に渡せる値。 */
type Json = string | number | boolean | RawNumber | Json[] | { [key: string]: Json };

/** 文面を決めた数。 */
class RawNumber {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

// 目に見えない文字と、HTML に埋めると危ない `<` `>` を protobuf の書き手は逃がす。
const hidden =
  /[<>\u007f-\u009f\u00ad\u0600-\u0603\u06dd\u070f\u17b4\u17b5\u200b-\u200f\u2028-\u202e\u2060-\u2064\u206a-\u206f\ufeff\ufff9-\ufffb]/g;

/**
 * protobuf のメッセージを TF Serving の設定(空白あり、既定値も書く、欄の名前は proto のまま)で JSON にする。
 *
 * 欄は番号順、map はキー順、64 ビット整数は文字列、列挙は名前。設定されていないメッセージと oneof は書かない。
 *
 * @returns 改行で終わる文面。
 * @see google/protobuf/util/json_util.h JsonPrintOptions
 */
export function printProto<D extends DescMessage>(schema: D, message: Message): string {
  return `${print(toJson(schema, message), "")}\n`;
}

function print(value: Json, indent: string): string {
  if (value instanceof RawNumber) return value.text;
  if (typeof value !== "object") return quote(value);
  const inner = `${indent} `;
  const isList = Array.isArray(value);
  const lines = isList
    ? value.map((item) => inner + print(item, inner))
    : Object.entries(value).map(([key, item]) => `${inner}${quote(key)}: ${print(item, inner)}`);
  const [open, close] = isList ? "[]" : "{}";
  return lines.length === 0 ? `${open}${close}` : `${open}\n${lines.join(",\n")}\n${indent}${close}`;
}

function quote(value: string | number | boolean): string {
  return JSON.stringify(value).replace(
    hidden,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

function toJson(schema: DescMessage, message: Message): Json {
  const json: { [key: string]: Json } = Object.create(null);
  const values = message as unknown as Record<string, unknown>;
  for (const field of [...schema.fields].sort((a, b) => a.number - b.number)) {
    const value = presentValue(field, values);
    if (value !== undefined) json[field.name] = fieldToJson(field, value);
  }
  return json;
}

/** 書くべき値。oneof の外れと、設定されていないものは undefined。 */
function presentValue(field: DescField, values: Record<string, unknown>): unknown {
  if (field.oneof === undefined) return values[field.localName];
  const chosen = values[field.oneof.localName] as { readonly case?: string; readonly value?: unknown };
  return chosen.case === field.localName ? chosen.value : undefined;
}

function fieldToJson(field: DescField, value: unknown): Json {
  if (field.fieldKind === "list") return (value as unknown[]).map((item) => itemToJson(field, item));
  if (field.fieldKind === "map") {
    const json: { [key: string]: Json } = Object.create(null);
    const entries = Object.entries(value as Record<string, unknown>);
    for (const [key, item] of entries.sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))) {
      json[key] = itemToJson(field, item);
    }
    return json;
  }
  return itemToJson(field, value);
}

function itemToJson(field: DescField, value: unknown): Json {
  if (field.message !== undefined) {
    // 包み(Int64Value など)は中身だけを書く。
    const isWrapper = /^google\.protobuf\.\w+Value$/.test(field.message.typeName);
    return isWrapper
      ? itemToJson(field.message.fields[0]!, (value as unknown as { value: unknown }).value)
      : toJson(field.message, value as Message);
  }
  if (field.enum !== undefined) return field.enum.value[value as number]?.name ?? (value as number);
  if (value instanceof Uint8Array) return encodeBase64(value);
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "number" && isReal(field)) return realToJson(value, field.scalar === FLOAT);
  return value as string | number | boolean;
}

// ScalarType の番号。proto の欄の型番号と同じ。
const DOUBLE = 1;
const FLOAT = 2;

const isReal = (field: DescField): boolean => field.scalar === DOUBLE || field.scalar === FLOAT;

function realToJson(value: number, single: boolean): Json {
  if (!Number.isFinite(value)) return formatFloat(value, single);
  return new RawNumber(single ? formatFloat(value, true).replace(/\.0$/, "") : String(value));
}
