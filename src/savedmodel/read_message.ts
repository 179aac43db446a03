import { emptyBytes, MAX_DECODED_BYTES } from "../base/message_cost.ts";
import { dataLoss, resourceExhausted } from "../base/status.ts";
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
const zeroOf = [undefined, "", new Uint8Array(0), 0, 0, 0n, 0n, false, 0, 0, 0, 0n];

/** 空のメッセージに置くもの。 */
enum Initial {
  zero,
  list,
  map,
  oneof,
}

interface Field {
  readonly name: string;
  /** 入っている oneof。無ければ空。 */
  readonly oneof: string;
  readonly isList: boolean;
  /** 表なら、その鍵の種類。 */
  readonly key: Kind | undefined;
  readonly kind: Kind;
  /** メッセージなら、その型。 */
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
  /** 空のメッセージにもある性質と、その中身。 */
  readonly names: readonly string[];
  readonly initials: readonly number[];
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
  const names: string[] = [];
  const initials: number[] = [];
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
    const end = brace >= 0 ? brace : isList ? -2 : isTracked ? -1 : spelled.length;
    const name = spelled.slice(dot + 1, end);
    const oneof = dot < 0 ? "" : spelled.slice(0, dot);
    const kind = type in Kind ? Kind[type as keyof typeof Kind] : Kind.message;
    const key = brace < 0 ? undefined : Kind[spelled.slice(brace + 1, -1) as keyof typeof Kind];
    fields[Number(words[0])] = { name, oneof, isList, key, kind, typeName: type, layout: undefined };
    if (isList || brace >= 0) collections++;
    const owner = oneof === "" ? name : oneof;
    if (isTracked || (kind === Kind.message && dot < 0 && brace < 0 && !isList)) continue;
    if (names.includes(owner)) continue;
    names.push(owner);
    zeros.push(zeroOf[kind]);
    initials.push(dot >= 0 ? Initial.oneof : isList ? Initial.list : brace >= 0 ? Initial.map : Initial.zero);
  }
  const bytes = emptyBytes(rows.length, collections);
  return { typeName, fields, bytes, names, initials, zeros };
}

function create({ typeName, names, initials, zeros }: Layout): Message {
  const message: Message = { $typeName: typeName };
  for (let i = 0; i < names.length; i++) {
    const initial = initials[i];
    message[names[i]!] =
      initial === Initial.zero
        ? zeros[i]
        : initial === Initial.list
          ? []
          : initial === Initial.map
            ? {}
            : { case: undefined };
  }
  return message;
}

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
  readonly #text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  #at = 0;
  /** いま読んでいるメッセージの終わり。 */
  #end = 0;
  #total = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** @param into 2 度書かれた単数のメッセージは、後のものが前のものに合流する。 */
  message(layout: Layout, into: Message | undefined, end: number, depth: number): Message {
    if (depth > MAX_DEPTH) throw dataLoss(`protobuf nests deeper than ${MAX_DEPTH}`);
    this.#charge(layout.bytes);
    const message = into ?? create(layout);
    const outer = this.#end;
    this.#end = end;
    while (this.#at < end) {
      const tag = this.#tag();
      const wire = tag & 7;
      const field = layout.fields[tag >>> 3];
      // 形が違えば、知らない欄と同じに扱う。
      if (field === undefined) this.#skip(wire);
      else if (field.key !== undefined) {
        if (wire === DELIMITED) this.#entry(message[field.name] as Message, field, field.key, depth + 1);
        else this.#skip(wire);
      } else if (wire === wireOf[field.kind]) this.#field(message, field, depth + 1);
      else if (field.isList && wire === DELIMITED) this.#packed(message[field.name] as unknown[], field.kind);
      else this.#skip(wire);
    }
    this.#end = outer;
    return message;
  }

  #field(message: Message, field: Field, depth: number): void {
    const { name, oneof } = field;
    if (field.isList) (message[name] as unknown[]).push(this.#value(field, undefined, depth));
    else if (oneof === "") message[name] = this.#value(field, message[name], depth);
    else {
      const chosen = message[oneof] as Chosen;
      const before = chosen.case === name ? chosen.value : undefined;
      message[oneof] = { case: name, value: this.#value(field, before, depth) };
    }
  }

  #value(field: Field, before: unknown, depth: number): unknown {
    const { kind } = field;
    if (kind === Kind.message) {
      field.layout ??= layoutOf(field.typeName);
      return this.message(field.layout, before as Message | undefined, this.#range(), depth);
    }
    this.#charge(bytesOf[kind]!);
    return this.#scalar(kind);
  }

  #scalar(kind: Kind): unknown {
    switch (kind) {
      case Kind.string:
        return this.#string();
      case Kind.bytes:
        return this.#slice();
      case Kind.int32:
        return this.#int32();
      case Kind.uint32:
        return this.#int32() >>> 0;
      case Kind.int64:
        return this.#int64();
      case Kind.uint64:
        return BigInt.asUintN(64, this.#int64());
      case Kind.bool:
        return this.#varint() !== 0;
      case Kind.float:
        return this.#view.getFloat32(this.#take(4), true);
      case Kind.fixed32:
        return this.#view.getUint32(this.#take(4), true);
      case Kind.double:
        return this.#view.getFloat64(this.#take(8), true);
      default:
        return this.#view.getBigUint64(this.#take(8), true);
    }
  }

  #packed(list: unknown[], kind: Kind): void {
    const outer = this.#end;
    const end = this.#range();
    this.#charge(((end - this.#at) / packedBytesOf[kind]!) * bytesOf[kind]!);
    this.#end = end;
    while (this.#at < end) list.push(this.#scalar(kind));
    this.#end = outer;
  }

  /** 表の 1 項目。鍵は 1、値は 2。 */
  #entry(map: Message, field: Field, keyKind: Kind, depth: number): void {
    this.#charge(MAP_ENTRY_BYTES);
    const { kind } = field;
    const outer = this.#end;
    const end = this.#range();
    this.#end = end;
    let key: unknown = zeroOf[keyKind];
    let value: unknown;
    while (this.#at < end) {
      const tag = this.#tag();
      if (tag === ((1 << 3) | wireOf[keyKind]!)) key = this.#scalar(keyKind);
      else if (tag === ((2 << 3) | wireOf[kind]!)) value = this.#value(field, value, depth);
      else this.#skip(tag & 7);
    }
    this.#end = outer;
    value ??= kind === Kind.message ? create(layoutOf(field.typeName)) : zeroOf[kind];
    // ただの代入では、この名前だけが原型になる。
    if (key === "__proto__") {
      Object.defineProperty(map, key, { value, writable: true, enumerable: true, configurable: true });
    } else map[String(key)] = value;
  }

  #slice(): Uint8Array {
    const end = this.#range();
    this.#charge(end - this.#at);
    const bytes = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return bytes;
  }

  #string(): string {
    const bytes = this.#slice();
    try {
      return this.#text.decode(bytes);
    } catch (thrown) {
      throw dataLoss("protobuf has a string that is not UTF-8", thrown);
    }
  }

  #int32(): number {
    const from = this.#at;
    const value = this.#varint();
    return value <= Number.MAX_SAFE_INTEGER ? value | 0 : Number(BigInt.asIntN(32, this.#exact(from)));
  }

  #int64(): bigint {
    const from = this.#at;
    const value = this.#varint();
    return value <= Number.MAX_SAFE_INTEGER ? BigInt(value) : BigInt.asIntN(64, this.#exact(from));
  }

  /** いま読み終えた、`from` から始まる数。 */
  #exact(from: number): bigint {
    let value = 0n;
    for (let i = this.#at - 1; i >= from; i--) value = (value << 7n) | BigInt(this.#bytes[i]! & 127);
    return value;
  }

  /** 2^53 を越えると、正確でない。 */
  #varint(): number {
    const from = this.#at;
    let value = 0;
    for (let scale = 1; this.#at < this.#end && this.#at - from < 10; scale *= 128) {
      const byte = this.#bytes[this.#at++]!;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
    throw dataLoss("protobuf has a malformed number");
  }

  #tag(): number {
    const tag = this.#varint();
    if (tag < 8 || tag > 0xffffffff) throw dataLoss(`protobuf has tag ${tag}`);
    return tag;
  }

  /** 長さを読む。 @returns 中身の終わり。 */
  #range(): number {
    const length = this.#varint();
    if (length > this.#end - this.#at) throw dataLoss("protobuf is truncated");
    return this.#at + length;
  }

  /** @returns 取ったものの始まり。 */
  #take(length: number): number {
    const from = this.#at;
    if (length > this.#end - from) throw dataLoss("protobuf is truncated");
    this.#at += length;
    return from;
  }

  #skip(wire: number): void {
    if (wire === VARINT) this.#varint();
    else if (wire === FIXED64) this.#take(8);
    else if (wire === FIXED32) this.#take(4);
    else if (wire === DELIMITED) this.#at = this.#range();
    // 群は TensorFlow のどのメッセージにも無い。
    else throw dataLoss(`protobuf has wire type ${wire}`);
  }

  #charge(bytes: number): void {
    this.#total += bytes;
    if (this.#total > MAX_DECODED_BYTES) {
      throw resourceExhausted(`protobuf decodes to more than ${MAX_DECODED_BYTES} bytes`);
    }
  }
}
