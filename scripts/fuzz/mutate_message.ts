import { type DescField, type DescMessage, type Message, ScalarType } from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import type { Random } from "./random.ts";

const MAX_DEPTH = 24;
const integers = [-1n, 0n, 1n, 2n, 127n, 2n ** 31n - 1n, -(2n ** 31n), 2n ** 32n, 2n ** 62n, 2n ** 63n - 1n];

/**
 * メッセージの形を保ったまま、どこか 1 つの値を書き換える。バイトを壊すだけでは届かない、
 * 名前の付け替え(循環する関数、無い入力)や巨大な形を作る。
 *
 * @param words 文字列の置き換えに使う、同じファイルに現れる名前。
 */
export function mutateMessage(
  random: Random,
  schema: DescMessage,
  message: Message,
  words: readonly string[],
): void {
  visit(random, reflect(schema, message), words, 0);
}

function visit(random: Random, message: ReflectMessage, words: readonly string[], depth: number): void {
  const present = message.fields.filter((field) => message.isSet(field));
  // たまに、今は無い欄を足す。
  const field = random.pick(present.length === 0 || random.below(16) === 0 ? message.fields : present);
  if (field === undefined) return;
  if (field.fieldKind === "list") visitList(random, message, field, words, depth);
  else if (field.fieldKind === "map") visitMap(random, message, field, words, depth);
  else if (field.fieldKind === "message") {
    if (depth > MAX_DEPTH || random.below(24) === 0) message.clear(field);
    else {
      const inner = message.isSet(field) ? message.get(field) : reflect(field.message);
      visit(random, inner, words, depth + 1);
      message.set(field, inner);
    }
  } else message.set(field, scalar(random, field, words));
}

function visitList(
  random: Random,
  message: ReflectMessage,
  field: DescField & { fieldKind: "list" },
  words: readonly string[],
  depth: number,
): void {
  const items = [...message.get(field)];
  const at = random.below(items.length);
  const action = random.below(items.length === 0 ? 1 : 8);
  if (action === 0)
    items.splice(at, 0, field.listKind === "message" ? reflect(field.message) : scalar(random, field, words));
  else if (action === 1) items.splice(at, 1);
  else if (action === 2) items.splice(at, 0, items[random.below(items.length)]!);
  else if (action === 3) items[at] = items[random.below(items.length)]!;
  else if (field.listKind === "message") {
    if (depth < MAX_DEPTH) visit(random, items[at] as ReflectMessage, words, depth + 1);
  } else items[at] = scalar(random, field, words);
  message.clear(field);
  for (const item of items) message.get(field).add(item);
}

function visitMap(
  random: Random,
  message: ReflectMessage,
  field: DescField & { fieldKind: "map" },
  words: readonly string[],
  depth: number,
): void {
  const map = message.get(field);
  const keys = [...map.keys()] as string[];
  const key = random.pick(keys);
  const action = random.below(keys.length === 0 ? 1 : 8);
  if (action === 0 || key === undefined) {
    if (field.mapKey !== ScalarType.STRING) return;
    const value = field.mapKind === "message" ? reflect(field.message) : scalar(random, field, words);
    map.set(random.pick(words), value);
  } else if (action === 1) map.delete(key);
  else if (action === 2) map.set(key, map.get(random.pick(keys))!);
  else if (field.mapKind === "message") {
    if (depth < MAX_DEPTH) visit(random, map.get(key) as ReflectMessage, words, depth + 1);
  } else map.set(key, scalar(random, field, words));
}

function scalar(random: Random, field: DescField, words: readonly string[]) {
  if (field.enum !== undefined) return random.below(4) === 0 ? 99 : random.pick(field.enum.values).number;
  switch (field.scalar) {
    case ScalarType.STRING: {
      const word = random.pick(words);
      return random.pick([word, `^${word}`, `${word}:1`, `${word}:y:0`, "", word.slice(1)]);
    }
    case ScalarType.BYTES:
      return Uint8Array.from({ length: random.below(40) }, () => random.below(256));
    case ScalarType.BOOL:
      return random.below(2) === 0;
    case ScalarType.FLOAT:
    case ScalarType.DOUBLE:
      return random.pick([0, -0, 1, Number.NaN, Number.POSITIVE_INFINITY, 1e38]);
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.SFIXED64:
      return random.pick(integers);
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return BigInt.asUintN(64, random.pick(integers));
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return Number(BigInt.asUintN(32, random.pick(integers)));
    default:
      return Number(BigInt.asIntN(32, random.pick(integers)));
  }
}

/** メッセージに現れる名前を集める。 */
export function wordsOf(schema: DescMessage, message: Message): string[] {
  const words = new Set<string>();
  const collect = (value: unknown): void => {
    if (typeof value === "string") words.add(value);
    else if (Array.isArray(value)) value.forEach(collect);
    else if (value !== null && typeof value === "object" && !ArrayBuffer.isView(value)) {
      for (const [key, inner] of Object.entries(value)) {
        if (!key.startsWith("$")) {
          words.add(key);
          collect(inner);
        }
      }
    }
  };
  collect(reflect(schema, message).message);
  return [...words];
}
