import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { dataLoss, resourceExhausted } from "../base/status.ts";

/** 復号した結果に許す大きさの見積もり。数バイトのメッセージを並べただけのファイルに、メモリを使い切らせない。 */
export const MAX_DECODED_BYTES = 768 * 2 ** 20;
/** 入れ子の上限。protobuf の標準と同じ。 */
const MAX_DEPTH = 100;

/** JavaScript での 1 つあたりの重さ。実測を切り上げたもの。 */
const MESSAGE_BYTES = 256;
const BIGINT_BYTES = 40;
const NUMBER_BYTES = 8;
const REFERENCE_BYTES = 96;

interface FieldCost {
  readonly message: DescMessage | undefined;
  /** 1 つの値の重さ。 */
  readonly each: number;
  /** 詰めた形の 1 値のワイヤ上の最小バイト数。詰められないものは 0。 */
  readonly packedBytes: number;
}

const costs = new WeakMap<DescMessage, Map<number, FieldCost>>();

function costsOf(desc: DescMessage): Map<number, FieldCost> {
  let known = costs.get(desc);
  if (known === undefined) {
    known = new Map(desc.fields.map((field) => [field.number, costOf(field)]));
    costs.set(desc, known);
  }
  return known;
}

function costOf(field: DescField): FieldCost {
  // 地図の 1 項目は、鍵と値を持つ物として数える。値がメッセージならその中も見る。
  if (field.fieldKind === "map") return { message: undefined, each: MESSAGE_BYTES, packedBytes: 0 };
  if (field.message !== undefined) return { message: field.message, each: MESSAGE_BYTES, packedBytes: 0 };
  switch (field.scalar) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return { message: undefined, each: REFERENCE_BYTES, packedBytes: 0 };
    case ScalarType.INT64:
    case ScalarType.UINT64:
    case ScalarType.SINT64:
      return { message: undefined, each: BIGINT_BYTES, packedBytes: 1 };
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return { message: undefined, each: BIGINT_BYTES, packedBytes: 8 };
    case ScalarType.DOUBLE:
      return { message: undefined, each: NUMBER_BYTES, packedBytes: 8 };
    case ScalarType.FLOAT:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return { message: undefined, each: NUMBER_BYTES, packedBytes: 4 };
    default:
      return { message: undefined, each: NUMBER_BYTES, packedBytes: 1 };
  }
}

/**
 * 復号する前にワイヤを一度なめて、結果のおおよその大きさを確かめる。場所は取らない。
 *
 * @throws DATA_LOSS ワイヤが壊れている、入れ子が深すぎる。
 * @throws RESOURCE_EXHAUSTED 見積もりが {@link MAX_DECODED_BYTES} を越える。
 */
export function checkDecodedSize(schema: DescMessage, bytes: Uint8Array): void {
  const walker = new Walker(bytes);
  walker.message(schema, bytes.length, 0);
}

class Walker {
  readonly #bytes: Uint8Array;
  #at = 0;
  #total = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  message(desc: DescMessage, end: number, depth: number): void {
    if (depth > MAX_DEPTH) throw dataLoss(`protobuf nests deeper than ${MAX_DEPTH}`);
    const fields = costsOf(desc);
    while (this.#at < end) {
      const tag = this.#varint(end);
      const cost = fields.get(tag >>> 3);
      const length = this.#valueBytes(tag & 7, end);
      if ((tag & 7) === 2 && cost !== undefined) {
        const to = this.#at + length;
        if (cost.message !== undefined) {
          this.#charge(cost.each);
          this.message(cost.message, to, depth + 1);
        } else if (cost.packedBytes > 0) this.#charge((length / cost.packedBytes) * cost.each);
        else if (cost.each === MESSAGE_BYTES) this.#mapEntry(desc, tag >>> 3, to, depth + 1);
        else this.#charge(cost.each + length);
        this.#at = to;
        continue;
      }
      if (cost !== undefined) this.#charge(cost.each);
      this.#at += length;
    }
  }

  #mapEntry(desc: DescMessage, number: number, end: number, depth: number): void {
    this.#charge(MESSAGE_BYTES + REFERENCE_BYTES);
    const field = desc.fields.find((candidate) => candidate.number === number);
    const value = field?.fieldKind === "map" ? field.message : undefined;
    while (this.#at < end) {
      const tag = this.#varint(end);
      const length = this.#valueBytes(tag & 7, end);
      const to = this.#at + length;
      if (tag === ((2 << 3) | 2) && value !== undefined) this.message(value, to, depth + 1);
      else if ((tag & 7) === 2) this.#charge(length);
      this.#at = to;
    }
  }

  #charge(bytes: number): void {
    this.#total += bytes;
    if (this.#total > MAX_DECODED_BYTES) {
      throw resourceExhausted(`protobuf decodes to more than ${MAX_DECODED_BYTES} bytes`);
    }
  }

  /** 値のバイト数。長さつきなら長さを読んだ後ろに立つ。 */
  #valueBytes(wireType: number, end: number): number {
    let length: number;
    if (wireType === 0) {
      const from = this.#at;
      this.#varint(end);
      length = this.#at - from;
      this.#at = from;
    } else if (wireType === 1) length = 8;
    else if (wireType === 5) length = 4;
    else if (wireType === 2) length = this.#varint(end);
    // 群は TensorFlow のどのメッセージにも無い。
    else throw dataLoss(`protobuf has wire type ${wireType}`);
    if (length > end - this.#at) throw dataLoss("protobuf is truncated");
    return length;
  }

  /** 32 ビットに収まるぶんだけを返す。長さと印はそれで足りる。 */
  #varint(end: number): number {
    let value = 0;
    for (let scale = 1, count = 0; count < 10; scale *= 128, count++) {
      if (this.#at >= end) break;
      const byte = this.#bytes[this.#at++]!;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
    throw dataLoss("protobuf has a malformed number");
  }
}
