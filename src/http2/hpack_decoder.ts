import { asBuffer } from "../base/bytes.ts";
import { DynamicTable, type HeaderField, sizeOfField, staticTable } from "./hpack_table.ts";
import { decodeHuffman } from "./huffman.ts";

/** 客に許す、表の大きさ。SETTINGS で何も言わないときの値。 */
const TABLE_BYTES = 4096;
/** 整数の続きのバイトの数。4 つで 2^28 を越え、どんな長さにも足りる。 */
const MAX_CONTINUED = 4;

/** 読めないヘッダー。接続全体の状態が狂うので、接続を閉じるしかない。 */
export class HpackError extends Error {}

/** 上限を越えたヘッダー。表は正しく進めてあるので、接続は続けられる。 */
export const TOO_LARGE = Symbol("too large");

/**
 * 1 本の接続のヘッダーを読む。
 *
 * @see https://www.rfc-editor.org/rfc/rfc7541
 */
export class HpackDecoder {
  readonly #table = new DynamicTable(TABLE_BYTES);
  readonly #maxListBytes: number;
  #block: Uint8Array = new Uint8Array(0);
  #at = 0;
  /** 表の変わった回数。 */
  #changes = 0;
  /** 前に読んだものと、そのときの表。同じ客は同じヘッダーを送り続けるので、たいていはこれが答えになる。 */
  #known: { readonly block: Uint8Array; readonly changes: number; readonly fields: readonly HeaderField[] } =
    {
      block: new Uint8Array(0),
      changes: -1,
      fields: [],
    };

  /** @param maxListBytes 1 つのヘッダーの大きさの上限(RFC 9113 6.5.2 の数え方)。 */
  constructor(maxListBytes: number) {
    this.#maxListBytes = maxListBytes;
  }

  /**
   * @param block ヘッダー 1 つ分のすべてのバイト。
   * @returns 行。前と同じヘッダーなら、同じ配列。
   * @throws HpackError
   */
  decode(block: Uint8Array): readonly HeaderField[] | typeof TOO_LARGE {
    const known = this.#known;
    if (known.changes === this.#changes && Buffer.compare(known.block, block) === 0) return known.fields;
    const before = this.#changes;
    this.#block = block;
    this.#at = 0;
    const fields: HeaderField[] = [];
    let size = 0;
    while (this.#at < block.length) {
      const field = this.#readField(fields.length === 0 && size === 0);
      if (field === undefined) continue;
      size += sizeOfField(field);
      if (size <= this.#maxListBytes) fields.push(field);
    }
    this.#block = known.block;
    if (size > this.#maxListBytes) return TOO_LARGE;
    // block は受信した塊の一部なので、写しを取る。
    if (before === this.#changes) this.#known = { block: new Uint8Array(block), changes: before, fields };
    return fields;
  }

  /** @returns 行。表の大きさの変更なら undefined。 */
  #readField(isFirst: boolean): HeaderField | undefined {
    const first = this.#block[this.#at]!;
    if (first >= 0x80) return this.#get(this.#integer(7));
    if (first >= 0x40) {
      const field = this.#literal(6);
      this.#table.add(field);
      this.#changes++;
      return field;
    }
    if (first < 0x20) return this.#literal(4);
    if (!isFirst) throw new HpackError("table size update after a field");
    const size = this.#integer(5);
    if (size > TABLE_BYTES) throw new HpackError("table size above the limit");
    this.#table.resize(size);
    this.#changes++;
    return undefined;
  }

  #get(index: number): HeaderField {
    const field =
      index <= staticTable.length ? staticTable[index - 1] : this.#table.get(index - staticTable.length - 1);
    if (field === undefined) throw new HpackError("no such table entry");
    return field;
  }

  #literal(prefix: number): HeaderField {
    const index = this.#integer(prefix);
    const name = index === 0 ? this.#string() : this.#get(index).name;
    return { name, value: this.#string() };
  }

  #integer(prefix: number): number {
    const most = 2 ** prefix - 1;
    let value = this.#byte() & most;
    if (value < most) return value;
    for (let i = 0; i < MAX_CONTINUED; i++) {
      const byte = this.#byte();
      value += (byte & 0x7f) << (7 * i);
      if (byte < 0x80) return value;
    }
    throw new HpackError("integer too large");
  }

  #string(): string {
    const isHuffman = this.#block[this.#at]! >= 0x80;
    const length = this.#integer(7);
    const start = this.#at;
    const end = start + length;
    if (end > this.#block.length) throw new HpackError("string longer than the block");
    this.#at = end;
    if (isHuffman) {
      const text = decodeHuffman(this.#block, start, end);
      if (text === undefined) throw new HpackError("bad Huffman code");
      return text;
    }
    return asBuffer(this.#block).toString("latin1", start, end);
  }

  #byte(): number {
    if (this.#at >= this.#block.length) throw new HpackError("block cut short");
    return this.#block[this.#at++]!;
  }
}
