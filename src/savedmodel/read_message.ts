import { emptyBytes, MAX_DECODED_BYTES } from "../base/message_cost.ts";
import { dataLoss, resourceExhausted, type StatusError } from "../base/status.ts";
import { layouts } from "../gen/layouts.ts";
import type { SavedModel } from "../gen/tensorflow/core/protobuf/saved_model_pb.ts";
import type {
  BundleEntryProto,
  BundleHeaderProto,
} from "../gen/tensorflow/core/protobuf/tensor_bundle_pb.ts";

/** 保存されたモデルを開くのに読むもの。 */
interface Messages {
  readonly "tensorflow.SavedModel": SavedModel;
  readonly "tensorflow.BundleHeaderProto": BundleHeaderProto;
  readonly "tensorflow.BundleEntryProto": BundleEntryProto;
}

/** 入れ子の上限。protobuf の標準と同じ。 */
const MAX_DEPTH = 100;

/** JavaScript での 1 つあたりの重さ。Bun での実測に合わせた。 */
const MAP_ENTRY_BYTES = 256;

// ワイヤの形。
const VARINT = 0;
const FIXED64 = 1;
const DELIMITED = 2;
const FIXED32 = 5;

/** 値の種類。起動のたびに冷えたまま走るので、閉包の表ではなく番号で分ける。 */
enum Kind {
  message,
  string,
  bytes,
  int32,
  uint32,
  int64,
  uint64,
  bool,
  float,
  fixed32,
  double,
  fixed64,
}

/** 種類 → ワイヤの形。 */
const wireOf = [
  ...[DELIMITED, DELIMITED, DELIMITED],
  ...[VARINT, VARINT, VARINT, VARINT, VARINT],
  ...[FIXED32, FIXED32, FIXED64, FIXED64],
];
/** 種類 → 詰めた形の 1 値の、ワイヤ上の最小バイト数。詰められないものは 0。 */
const packedBytesOf = [0, 0, 0, 1, 1, 1, 1, 1, 4, 4, 8, 8];

/** 種類 → 1 つの値の、JavaScript での重さ。 */
const bytesOf = [0, 48, 48, 8, 8, 40, 40, 8, 8, 8, 8, 40];
const EMPTY = new Uint8Array(0);
const zeroOf = [undefined, "", EMPTY, 0, 0, 0n, 0n, false, 0, 0, 0, 0n];

/** 値の置き方。 */
enum Slot {
  single,
  list,
  map,
  oneof,
}

interface Field {
  /** oneof では case の値。 */
  readonly name: string;
  /** 値を置く性質。 */
  readonly owner: string;
  readonly slot: Slot;
  readonly kind: Kind;
  readonly wire: number;
  /** メッセージなら、その型。表なら、項目の型。 */
  readonly typeName: string;
  /** 型の欄。初めて読むときに入る。 */
  layout: Layout | undefined;
}

type Message = Record<string, unknown>;
type Chosen = { readonly case?: string; readonly value?: unknown };

interface Layout {
  readonly typeName: string;
  /** 番号 → 欄。 */
  readonly fields: readonly (Field | undefined)[];
  /** 空のメッセージの重さ。 */
  readonly bytes: number;
  /** 空のメッセージにもある性質と、そこに置くもの。 */
  readonly owners: readonly string[];
  readonly slots: readonly Slot[];
  readonly zeros: readonly unknown[];
}

const known = new Map<string, Layout>();

function layoutOf(typeName: string): Layout {
  let layout = known.get(typeName);
  if (layout === undefined) {
    layout = parseLayout(typeName, layouts[typeName]!);
    known.set(typeName, layout);
  }
  return layout;
}

/** @param text {@link layouts} の 1 行。 */
function parseLayout(typeName: string, text: string): Layout {
  const fields: Field[] = [];
  const owners: string[] = [];
  const slots: Slot[] = [];
  const zeros: unknown[] = [];
  const rows = text === "" ? [] : text.split(", ");
  let collections = 0;
  for (const row of rows) {
    const words = row.split(" ");
    const spelled = words[1]!;
    const type = words[2]!;
    const dot = spelled.indexOf(".");
    const brace = spelled.indexOf("{");
    const isList = spelled.endsWith("[]");
    const isTracked = spelled.endsWith("?");
    const name = spelled.slice(dot + 1, brace >= 0 ? brace : isList ? -2 : isTracked ? -1 : spelled.length);
    const owner = dot < 0 ? name : spelled.slice(0, dot);
    const slot = dot >= 0 ? Slot.oneof : isList ? Slot.list : brace >= 0 ? Slot.map : Slot.single;
    const kind = slot === Slot.map || !(type in Kind) ? Kind.message : Kind[type as keyof typeof Kind];
    const field = { name, owner, slot, kind, wire: wireOf[kind]!, typeName: type, layout: undefined };
    fields[Number(words[0])] =
      slot === Slot.map ? { ...field, layout: entryLayout(spelled.slice(brace + 1, -1), type) } : field;
    if (isList || brace >= 0) collections++;
    if (isTracked || (slot === Slot.single && kind === Kind.message) || owners.includes(owner)) continue;
    owners.push(owner);
    slots.push(slot);
    zeros.push(zeroOf[kind]);
  }
  return { typeName, fields, bytes: emptyBytes(rows.length, collections), owners, slots, zeros };
}

/** 表の項目は、鍵が 1、値が 2 のメッセージ。 */
const entryLayout = (key: string, value: string): Layout => ({
  ...parseLayout("", `1 key ${key}, 2 value ${value}`),
  bytes: MAP_ENTRY_BYTES,
});

/**
 * メッセージを、記述を組み立てずに読む。出来るものは protobuf-es の fromBinary と同じで、知らないフィールドは捨てる。
 * 場所を取る前に大きさを見積もるので、細かなものを並べただけのファイルにメモリを使い切られない。
 *
 * @throws DATA_LOSS ワイヤが壊れている、入れ子が深すぎる、文字列が UTF-8 でない。
 * @throws RESOURCE_EXHAUSTED 見積もりが {@link MAX_DECODED_BYTES} を越える。
 */
export function readMessage<N extends keyof Messages>(typeName: N, bytes: Uint8Array): Messages[N] {
  const source = new Source(bytes);
  return source.message(layoutOf(typeName), undefined, bytes.length, 0) as unknown as Messages[N];
}

/** 前から 1 度だけ読む。 */
class Source {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;
  #total = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /**
   * 起動のたびに冷えたまま走る。エンジンは数十回呼ばれた関数を 1 つずつ訳し、それが読む時間より長く掛かるので、
   * よくある形はすべてこの 1 つの関数の中で読む。
   *
   * @param into 2 度書かれた単数のメッセージは、後のものが前のものに合流する。
   */
  message(layout: Layout, into: Message | undefined, end: number, depth: number): Message {
    if (depth > MAX_DEPTH) throw dataLoss(`protobuf nests deeper than ${MAX_DEPTH}`);
    this.#total += layout.bytes;
    const message = into ?? { $typeName: layout.typeName };
    if (into === undefined) {
      const { owners, slots, zeros } = layout;
      for (let i = 0; i < owners.length; i++) {
        const slot = slots[i];
        message[owners[i]!] =
          slot === Slot.single
            ? zeros[i]
            : slot === Slot.list
              ? []
              : slot === Slot.map
                ? {}
                : { case: undefined };
      }
    }
    const bytes = this.#bytes;
    while (this.#at < end) {
      if (this.#total > MAX_DECODED_BYTES) throw tooLarge();
      let tag = bytes[this.#at]!;
      if (tag < 128) this.#at++;
      else tag = this.#varint(end);
      if (tag < 8 || tag > 0xffffffff) throw dataLoss(`protobuf has tag ${tag}`);
      const field = layout.fields[tag >>> 3];
      const wire = tag & 7;
      if (field === undefined || wire !== field.wire) {
        if (field?.slot === Slot.list && wire === DELIMITED) {
          this.#packed(message[field.owner] as unknown[], field.kind, end);
        } else this.#skip(wire, end);
        continue;
      }
      const { owner, slot, kind } = field;
      let value: unknown;
      if (wire === DELIMITED) {
        let length = bytes[this.#at]!;
        if (length < 128) this.#at++;
        else length = this.#varint(end);
        // 終わりの先を長さとして読んでも、ここで終わりを越える(何も無ければ NaN になる)。
        const to = this.#at + length;
        if (!(to <= end)) throw dataLoss("protobuf is truncated");
        if (kind === Kind.message) {
          field.layout ??= layoutOf(field.typeName);
          let before: Message | undefined;
          if (slot === Slot.single) before = message[owner] as Message | undefined;
          else if (slot === Slot.oneof) {
            const chosen = message[owner] as Chosen;
            if (chosen.case === field.name) before = chosen.value as Message;
          }
          // 表の項目は入れ子に数えない。
          value = this.message(field.layout, before, to, slot === Slot.map ? depth : depth + 1);
        } else {
          this.#total += bytesOf[kind]! + length;
          value = bytes.subarray(this.#at, to);
          if (kind === Kind.string) value = textOf(value as Uint8Array);
          this.#at = to;
        }
      } else {
        this.#total += bytesOf[kind]!;
        const small = bytes[this.#at]!;
        if (wire !== VARINT || !(small < 128 && this.#at < end)) value = this.#number(kind, end);
        else {
          this.#at++;
          value =
            kind === Kind.bool
              ? small !== 0
              : kind === Kind.int64 || kind === Kind.uint64
                ? BigInt(small)
                : small;
        }
      }
      if (slot === Slot.single) message[owner] = value;
      else if (slot === Slot.list) (message[owner] as unknown[]).push(value);
      else if (slot === Slot.oneof) message[owner] = { case: field.name, value };
      else put(message[owner] as Message, value as Message, field.layout!);
    }
    return message;
  }

  /** 2 バイト以上の数、長さの決まった数。 */
  #number(kind: Kind, end: number): unknown {
    switch (kind) {
      case Kind.float:
        return this.#view.getFloat32(this.#take(4, end), true);
      case Kind.fixed32:
        return this.#view.getUint32(this.#take(4, end), true);
      case Kind.double:
        return this.#view.getFloat64(this.#take(8, end), true);
      case Kind.fixed64:
        return this.#view.getBigUint64(this.#take(8, end), true);
    }
    const from = this.#at;
    const value = this.#varint(end);
    if (kind === Kind.bool) return value !== 0;
    const exact = value <= Number.MAX_SAFE_INTEGER ? BigInt(value) : this.#exact(from);
    if (kind === Kind.int64) return BigInt.asIntN(64, exact);
    if (kind === Kind.uint64) return BigInt.asUintN(64, exact);
    return Number(kind === Kind.int32 ? BigInt.asIntN(32, exact) : BigInt.asUintN(32, exact));
  }

  /** いま読み終えた、`from` から始まる数。 */
  #exact(from: number): bigint {
    let value = 0n;
    for (let i = this.#at - 1; i >= from; i--) value = (value << 7n) | BigInt(this.#bytes[i]! & 127);
    return value;
  }

  /** 2^53 を越えると、正確でない。 */
  #varint(end: number): number {
    const from = this.#at;
    let value = 0;
    for (let scale = 1; this.#at < end && this.#at - from < 10; scale *= 128) {
      const byte = this.#bytes[this.#at++]!;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
    throw dataLoss("protobuf has a malformed number");
  }

  #packed(list: unknown[], kind: Kind, end: number): void {
    const length = this.#varint(end);
    const to = this.#at + length;
    if (to > end) throw dataLoss("protobuf is truncated");
    // 取る前に、残らず数えて確かめる。
    this.#total += (length / packedBytesOf[kind]!) * bytesOf[kind]!;
    if (this.#total > MAX_DECODED_BYTES) throw tooLarge();
    while (this.#at < to) list.push(this.#number(kind, to));
  }

  /** @returns 取ったものの始まり。 */
  #take(length: number, end: number): number {
    const from = this.#at;
    if (length > end - from) throw dataLoss("protobuf is truncated");
    this.#at += length;
    return from;
  }

  #skip(wire: number, end: number): void {
    if (wire === VARINT) this.#varint(end);
    else if (wire === FIXED64) this.#take(8, end);
    else if (wire === FIXED32) this.#take(4, end);
    else if (wire === DELIMITED) this.#take(this.#varint(end), end);
    // 群は TensorFlow のどのメッセージにも無い。
    else throw dataLoss(`protobuf has wire type ${wire}`);
  }
}

const tooLarge = (): StatusError =>
  resourceExhausted(`protobuf decodes to more than ${MAX_DECODED_BYTES} bytes`);

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function textOf(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch (thrown) {
    throw dataLoss("protobuf has a string that is not UTF-8", thrown);
  }
}

/** 表に 1 項目を足す。 */
function put(map: Message, { key, value }: Message, { fields }: Layout): void {
  // 書かれていないメッセージは、空のもの。
  const item = value ?? new Source(EMPTY).message(layoutOf(fields[2]!.typeName), undefined, 0, 0);
  // ただの代入では、この名前だけが原型になる。
  if (key === "__proto__") {
    Object.defineProperty(map, key, { value: item, writable: true, enumerable: true, configurable: true });
  } else map[String(key)] = item;
}
