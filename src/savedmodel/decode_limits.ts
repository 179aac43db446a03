import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { emptyMessageBytes, MAX_DECODED_BYTES } from "../base/message_cost.ts";
import { dataLoss, resourceExhausted } from "../base/status.ts";

/** 入れ子の上限。protobuf の標準と同じ。 */
const MAX_DEPTH = 100;

/** JavaScript での 1 つあたりの重さ。Bun での実測に合わせた。 */
const MAP_ENTRY_BYTES = 256;
const BIGINT_BYTES = 40;
const NUMBER_BYTES = 8;
const REFERENCE_BYTES = 48;

const LENGTH_DELIMITED = 2;

interface MessageCost {
  readonly empty: number;
  readonly fields: ReadonlyMap<number, FieldCost>;
}

interface FieldCost {
  readonly message: DescMessage | undefined;
  readonly map: boolean;
  /** 1 つの値の重さ。 */
  readonly each: number;
  /** 詰めた形の 1 値のワイヤ上の最小バイト数。詰められないものは 0。 */
  readonly packedBytes: number;
}

const costs = new WeakMap<DescMessage, MessageCost>();

function costsOf(desc: DescMessage): MessageCost {
  let known = costs.get(desc);
  if (known === undefined) {
    known = {
      empty: emptyMessageBytes(desc),
      fields: new Map(desc.fields.map((field) => [field.number, costOf(field)])),
    };
    costs.set(desc, known);
  }
  return known;
}

function costOf(field: DescField): FieldCost {
  const { message } = field;
  if (field.fieldKind === "map") return { message, map: true, each: MAP_ENTRY_BYTES, packedBytes: 0 };
  if (message !== undefined) return { message, map: false, each: 0, packedBytes: 0 };
  const [each, packedBytes] = scalarCost(field.scalar);
  return { message, map: false, each, packedBytes };
}

function scalarCost(scalar: ScalarType | undefined): readonly [number, number] {
  switch (scalar) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return [REFERENCE_BYTES, 0];
    case ScalarType.INT64:
    case ScalarType.UINT64:
    case ScalarType.SINT64:
      return [BIGINT_BYTES, 1];
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return [BIGINT_BYTES, 8];
    case ScalarType.DOUBLE:
      return [NUMBER_BYTES, 8];
    case ScalarType.FLOAT:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return [NUMBER_BYTES, 4];
    default:
      return [NUMBER_BYTES, 1];
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
    const { empty, fields } = costsOf(desc);
    this.#charge(empty);
    while (this.#at < end) {
      const tag = this.#varint(end);
      const cost = fields.get(tag >>> 3);
      const length = this.#valueBytes(tag & 7, end);
      const to = this.#at + length;
      if (cost === undefined) {
        this.#at = to;
        continue;
      }
      if ((tag & 7) !== LENGTH_DELIMITED) this.#charge(cost.each);
      else if (cost.map) this.#mapEntry(cost, to, depth + 1);
      else if (cost.message !== undefined) this.message(cost.message, to, depth + 1);
      else if (cost.packedBytes > 0) this.#charge((length / cost.packedBytes) * cost.each);
      else this.#charge(cost.each + length);
      this.#at = to;
    }
  }

  /** 地図の 1 項目。鍵は 1、値は 2。 */
  #mapEntry({ message, each }: FieldCost, end: number, depth: number): void {
    this.#charge(each);
    while (this.#at < end) {
      const tag = this.#varint(end);
      const length = this.#valueBytes(tag & 7, end);
      const to = this.#at + length;
      if (tag === ((2 << 3) | LENGTH_DELIMITED) && message !== undefined) this.message(message, to, depth);
      else if ((tag & 7) === LENGTH_DELIMITED) this.#charge(length);
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
    else if (wireType === LENGTH_DELIMITED) length = this.#varint(end);
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
