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
const REFERENCE_BYTES = 48;

// ワイヤの形。
const VARINT = 0;
const FIXED64 = 1;
const DELIMITED = 2;
const FIXED32 = 5;

interface Scalar {
  readonly wire: number;
  readonly zero: unknown;
  /** JavaScript での 1 つの重さ。 */
  readonly bytes: number;
  /** 詰めた形の 1 値の、ワイヤ上の最小バイト数。詰められないものは 0。 */
  readonly packedBytes: number;
  readonly read: (source: Source) => unknown;
}

/** 記述の型の名前 → 読み方。TensorFlow のメッセージにあるものだけ。 */
const scalars: Readonly<Record<string, Scalar>> = {
  double: { wire: FIXED64, zero: 0, bytes: 8, packedBytes: 8, read: (source) => source.double() },
  fixed64: { wire: FIXED64, zero: 0n, bytes: 40, packedBytes: 8, read: (source) => source.fixed64() },
  float: { wire: FIXED32, zero: 0, bytes: 8, packedBytes: 4, read: (source) => source.float() },
  fixed32: { wire: FIXED32, zero: 0, bytes: 8, packedBytes: 4, read: (source) => source.fixed32() },
  int32: { wire: VARINT, zero: 0, bytes: 8, packedBytes: 1, read: (source) => source.int32() },
  uint32: { wire: VARINT, zero: 0, bytes: 8, packedBytes: 1, read: (source) => source.int32() >>> 0 },
  int64: { wire: VARINT, zero: 0n, bytes: 40, packedBytes: 1, read: (source) => source.int64() },
  uint64: {
    wire: VARINT,
    zero: 0n,
    bytes: 40,
    packedBytes: 1,
    read: (source) => BigInt.asUintN(64, source.int64()),
  },
  bool: { wire: VARINT, zero: false, bytes: 8, packedBytes: 1, read: (source) => source.varint() !== 0 },
  string: {
    wire: DELIMITED,
    zero: "",
    bytes: REFERENCE_BYTES,
    packedBytes: 0,
    read: (source) => source.string(),
  },
  bytes: {
    wire: DELIMITED,
    zero: new Uint8Array(0),
    bytes: REFERENCE_BYTES,
    packedBytes: 0,
    read: (source) => source.bytes(),
  },
};

interface Field {
  readonly name: string;
  readonly oneof: string | undefined;
  readonly isList: boolean;
  /** 表なら、その鍵。 */
  readonly key: Scalar | undefined;
  /** メッセージなら undefined。 */
  readonly scalar: Scalar | undefined;
  readonly typeName: string;
}

type Message = Record<string, unknown>;
type Chosen = { readonly case?: string; readonly value?: unknown };

interface Layout {
  readonly typeName: string;
  readonly fields: ReadonlyMap<number, Field>;
  /** 空のメッセージの重さ。 */
  readonly bytes: number;
  /** 空のメッセージにもある性質。 */
  readonly initial: readonly (readonly [name: string, create: () => unknown])[];
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
  const fields = new Map<number, Field>();
  const initial = new Map<string, () => unknown>();
  let collections = 0;
  for (const row of text === "" ? [] : text.split(", ")) {
    const [number, spelled, type] = row.split(" ") as [string, string, string];
    const [, oneof, name, mark] = /^(?:(\w+)\.)?(\w+)(.*)$/.exec(spelled) as unknown as string[];
    const scalar = scalars[type];
    const key = mark!.startsWith("{") ? scalars[mark!.slice(1, -1)] : undefined;
    const isList = mark === "[]";
    fields.set(Number(number), { name: name!, oneof, isList, key, scalar, typeName: type });
    if (isList || key !== undefined) collections++;
    if (oneof !== undefined) initial.set(oneof, () => ({ case: undefined }));
    else if (isList) initial.set(name!, () => []);
    else if (key !== undefined) initial.set(name!, () => ({}));
    else if (scalar !== undefined && mark === "") initial.set(name!, () => scalar.zero);
  }
  return { typeName, fields, bytes: emptyBytes(fields.size, collections), initial: [...initial] };
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
      const field = layout.fields.get(tag >>> 3);
      if (field === undefined || !this.#field(message, field, tag & 7, depth + 1)) this.#skip(tag & 7);
    }
    this.#end = outer;
    return message;
  }

  /** @returns 読んだか。ワイヤの形が違えば、知らないフィールドと同じに扱う。 */
  #field(message: Message, field: Field, wire: number, depth: number): boolean {
    const { name, oneof, isList, key, scalar } = field;
    if (key !== undefined) {
      if (wire !== DELIMITED) return false;
      this.#entry(message[name] as Message, field, key, depth);
    } else if (isList && scalar !== undefined && wire === DELIMITED && scalar.packedBytes > 0) {
      this.#packed(message[name] as unknown[], scalar);
    } else if (wire !== (scalar?.wire ?? DELIMITED)) return false;
    else if (isList) (message[name] as unknown[]).push(this.#value(field, undefined, depth));
    else if (oneof === undefined) message[name] = this.#value(field, message[name], depth);
    else {
      const chosen = message[oneof] as Chosen;
      const before = chosen.case === name ? chosen.value : undefined;
      message[oneof] = { case: name, value: this.#value(field, before, depth) };
    }
    return true;
  }

  #value({ scalar, typeName }: Field, before: unknown, depth: number): unknown {
    if (scalar === undefined) {
      return this.message(layoutOf(typeName), before as Message | undefined, this.#range(), depth);
    }
    this.#charge(scalar.bytes);
    return scalar.read(this);
  }

  #packed(list: unknown[], scalar: Scalar): void {
    const outer = this.#end;
    const end = this.#range();
    this.#charge(((end - this.#at) / scalar.packedBytes) * scalar.bytes);
    this.#end = end;
    while (this.#at < end) list.push(scalar.read(this));
    this.#end = outer;
  }

  /** 表の 1 項目。鍵は 1、値は 2。 */
  #entry(map: Message, field: Field, keyType: Scalar, depth: number): void {
    this.#charge(MAP_ENTRY_BYTES);
    const { scalar } = field;
    const outer = this.#end;
    const end = this.#range();
    this.#end = end;
    let key: unknown = keyType.zero;
    let value: unknown;
    while (this.#at < end) {
      const tag = this.#tag();
      if (tag === ((1 << 3) | keyType.wire)) key = keyType.read(this);
      else if (tag === ((2 << 3) | (scalar?.wire ?? DELIMITED))) value = this.#value(field, value, depth);
      else this.#skip(tag & 7);
    }
    this.#end = outer;
    value ??= scalar === undefined ? create(layoutOf(field.typeName)) : scalar.zero;
    // ただの代入では、この名前だけが原型になる。
    if (key === "__proto__") {
      Object.defineProperty(map, key, { value, writable: true, enumerable: true, configurable: true });
    } else map[String(key)] = value;
  }

  bytes(): Uint8Array {
    const end = this.#range();
    this.#charge(end - this.#at);
    const bytes = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return bytes;
  }

  string(): string {
    const bytes = this.bytes();
    try {
      return this.#text.decode(bytes);
    } catch (thrown) {
      throw dataLoss("protobuf has a string that is not UTF-8", thrown);
    }
  }

  double(): number {
    return this.#view.getFloat64(this.#take(8), true);
  }

  float(): number {
    return this.#view.getFloat32(this.#take(4), true);
  }

  fixed32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  fixed64(): bigint {
    return this.#view.getBigUint64(this.#take(8), true);
  }

  int32(): number {
    const from = this.#at;
    const value = this.varint();
    return value <= Number.MAX_SAFE_INTEGER ? value | 0 : Number(BigInt.asIntN(32, this.#exact(from)));
  }

  int64(): bigint {
    const from = this.#at;
    const value = this.varint();
    return value <= Number.MAX_SAFE_INTEGER ? BigInt(value) : BigInt.asIntN(64, this.#exact(from));
  }

  /** いま読み終えた、`from` から始まる数。 */
  #exact(from: number): bigint {
    let value = 0n;
    for (let i = this.#at - 1; i >= from; i--) value = (value << 7n) | BigInt(this.#bytes[i]! & 127);
    return value;
  }

  /** 2^53 を越えると、正確でない。 */
  varint(): number {
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
    const tag = this.varint();
    if (tag < 8 || tag > 0xffffffff) throw dataLoss(`protobuf has tag ${tag}`);
    return tag;
  }

  /** 長さを読む。 @returns 中身の終わり。 */
  #range(): number {
    const length = this.varint();
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
    if (wire === VARINT) this.varint();
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

function create({ typeName, initial }: Layout): Message {
  const message: Message = { $typeName: typeName };
  for (const [name, initialOf] of initial) message[name] = initialOf();
  return message;
}
