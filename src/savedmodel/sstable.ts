import { dataLoss, resourceExhausted } from "../base/status.ts";
import { crc32c, maskCrc } from "./crc32c.ts";
import { decompressSnappy } from "./snappy.ts";

/** 表の 1 行。キーはバイト列で、生バイトの昇順に並ぶ。 */
export interface TableEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** 解いた後の全ブロックの合計の上限。 */
export const MAX_TABLE_BYTES = 512 * 2 ** 20;
/** 16 行ごとにキーの全体が書かれるので、復元したキーの合計はブロックの 16 倍を越えない。 */
const MAX_KEY_EXPANSION = 16;
const RESTART_INTERVAL = 16;
const BLOCK_BYTES = 262144;
const FOOTER_BYTES = 48;
const TRAILER_BYTES = 5;
const MAGIC = [0x8b80fb57, 0xdb477524] as const;
const NO_COMPRESSION = 0;
const SNAPPY = 1;

class Cursor {
  readonly bytes: Uint8Array;
  readonly end: number;
  at: number;

  constructor(bytes: Uint8Array, at = 0, end = bytes.length) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  /** 53 ビットまでの varint。この表に現れる数(長さと位置)はそれで足りる。 */
  varint(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      if (this.at >= this.end) throw dataLoss("table number is truncated");
      const byte = this.bytes[this.at++]!;
      value += (byte & 127) * scale;
      if (value > Number.MAX_SAFE_INTEGER) throw dataLoss("table number is out of range");
      if (byte < 128) return value;
      if (scale >= 2 ** 56) throw dataLoss("table number is too long");
    }
  }

  take(count: number): Uint8Array {
    if (count > this.end - this.at) throw dataLoss("table entry runs past its block");
    const from = this.at;
    this.at += count;
    return this.bytes.subarray(from, this.at);
  }
}

/**
 * LevelDB 形式の表を全部読む。値は(圧縮が無ければ)`file` の一部を指す。
 *
 * @returns キーの昇順。
 * @throws DATA_LOSS 目印・検査合計・並び・長さのどれかが壊れている。
 * @throws RESOURCE_EXHAUSTED 解いた大きさが {@link MAX_TABLE_BYTES} を越える。
 * @see tsl/lib/io/table.cc, format.cc
 */
export function readTable(file: Uint8Array): TableEntry[] {
  const entries: TableEntry[] = [];
  const budget = { bytes: MAX_TABLE_BYTES };
  let last: Uint8Array | undefined;
  for (const { value } of readBlock(readContents(file, readFooter(file), budget))) {
    const handle = new Cursor(value);
    const contents = readContents(file, { offset: handle.varint(), size: handle.varint() }, budget);
    for (const entry of readBlock(contents)) {
      // 並びの検査は、同じブロックを何度も指す索引も退ける。
      if (last !== undefined && compareBytes(last, entry.key) >= 0)
        throw dataLoss("table keys are out of order");
      last = entry.key;
      entries.push(entry);
    }
  }
  return entries;
}

interface BlockHandle {
  readonly offset: number;
  readonly size: number;
}

function readFooter(file: Uint8Array): BlockHandle {
  const start = file.length - FOOTER_BYTES;
  if (start < 0) throw dataLoss("file is too short to be an sstable");
  const view = new DataView(file.buffer, file.byteOffset + start, FOOTER_BYTES);
  if (view.getUint32(40, true) !== MAGIC[0] || view.getUint32(44, true) !== MAGIC[1]) {
    throw dataLoss("not an sstable (bad magic number)");
  }
  const cursor = new Cursor(file, start, start + 40);
  cursor.varint();
  cursor.varint();
  return { offset: cursor.varint(), size: cursor.varint() };
}

function readContents(
  file: Uint8Array,
  { offset, size }: BlockHandle,
  budget: { bytes: number },
): Uint8Array {
  if (offset + size + TRAILER_BYTES > file.length - FOOTER_BYTES) {
    throw dataLoss(`block at ${offset} runs past the end of the file`);
  }
  const stored = file.subarray(offset, offset + size);
  const type = file[offset + size]!;
  const view = new DataView(file.buffer, file.byteOffset + offset + size + 1, 4);
  if (view.getUint32(0, true) !== maskCrc(crc32c(file.subarray(offset, offset + size + 1)))) {
    throw dataLoss(`block checksum mismatch at ${offset}`);
  }
  if (type !== NO_COMPRESSION && type !== SNAPPY) throw dataLoss(`unknown block compression type ${type}`);
  const contents = type === SNAPPY ? decompressSnappy(stored) : stored;
  budget.bytes -= contents.length;
  if (budget.bytes < 0) throw resourceExhausted(`table is larger than ${MAX_TABLE_BYTES} bytes`);
  return contents;
}

function readBlock(contents: Uint8Array): TableEntry[] {
  if (contents.length < 4) throw dataLoss("block is too short");
  const view = new DataView(contents.buffer, contents.byteOffset, contents.length);
  const restarts = view.getUint32(contents.length - 4, true);
  const end = contents.length - 4 - restarts * 4;
  if (end < 0) throw dataLoss("block restart array runs past its block");
  const cursor = new Cursor(contents, 0, end);
  const entries: TableEntry[] = [];
  let key: Uint8Array = new Uint8Array(0);
  let keyBytes = contents.length * MAX_KEY_EXPANSION;
  while (cursor.at < end) {
    const shared = cursor.varint();
    const unshared = cursor.varint();
    const valueBytes = cursor.varint();
    if (shared > key.length) throw dataLoss("table key shares more than there is");
    keyBytes -= shared + unshared;
    if (keyBytes < 0) throw dataLoss("table keys expand beyond reason");
    const tail = cursor.take(unshared);
    const whole = new Uint8Array(shared + unshared);
    whole.set(key.subarray(0, shared));
    whole.set(tail, shared);
    key = whole;
    entries.push({ key, value: cursor.take(valueBytes) });
  }
  return entries;
}

/** 生バイトの辞書順。負・0・正。 */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  return Buffer.compare(a, b);
}

/** 伸びるバイト列。 */
class ByteSink {
  #bytes = new Uint8Array(4096);
  length = 0;

  push(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  varint(value: number): void {
    this.#reserve(10);
    let rest = value;
    while (rest >= 128) {
      this.#bytes[this.length++] = (rest % 128) | 128;
      rest = Math.floor(rest / 128);
    }
    this.#bytes[this.length++] = rest;
  }

  uint32(value: number): void {
    this.#reserve(4);
    new DataView(this.#bytes.buffer).setUint32(this.length, value, true);
    this.length += 4;
  }

  zeros(count: number): void {
    this.#reserve(count);
    this.length += count;
  }

  finish(): Uint8Array {
    return this.#bytes.slice(0, this.length);
  }

  #reserve(count: number): void {
    if (this.length + count <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.length + count));
    grown.set(this.#bytes.subarray(0, this.length));
    this.#bytes = grown;
  }
}

class BlockBuilder {
  readonly #interval: number;
  readonly #body = new ByteSink();
  #restarts = [0];
  #sinceRestart = 0;
  #lastKey: Uint8Array = new Uint8Array(0);

  constructor(interval: number) {
    this.#interval = interval;
  }

  /** 書き出したときの大きさ(後置きを除く)。 */
  get size(): number {
    return this.#body.length + this.#restarts.length * 4 + 4;
  }

  add({ key, value }: TableEntry): void {
    let shared = 0;
    if (this.#sinceRestart < this.#interval) {
      const limit = Math.min(key.length, this.#lastKey.length);
      while (shared < limit && key[shared] === this.#lastKey[shared]) shared++;
    } else {
      this.#restarts.push(this.#body.length);
      this.#sinceRestart = 0;
    }
    this.#body.varint(shared);
    this.#body.varint(key.length - shared);
    this.#body.varint(value.length);
    this.#body.push(key.subarray(shared));
    this.#body.push(value);
    this.#lastKey = key;
    this.#sinceRestart++;
  }

  /** 後置きまで付けて書き、置いた場所を varint 2 つで返す。 */
  flush(file: ByteSink): Uint8Array {
    for (const restart of this.#restarts) this.#body.uint32(restart);
    this.#body.uint32(this.#restarts.length);
    const contents = this.#body.finish();
    const handle = new ByteSink();
    handle.varint(file.length);
    handle.varint(contents.length);
    const type = Uint8Array.of(NO_COMPRESSION);
    file.push(contents);
    file.push(type);
    file.uint32(maskCrc(crc32c(type, crc32c(contents))));
    return handle.finish();
  }
}

/**
 * 表を書く。TF の BundleWriter と 1 バイトも違わない(無圧縮、索引のキーは短縮)。
 *
 * @param entries キーの昇順で、重複なし。
 * @see tsl/lib/io/table_builder.cc
 */
export function writeTable(entries: Iterable<TableEntry>): Uint8Array {
  const file = new ByteSink();
  const index = new BlockBuilder(1);
  let block = new BlockBuilder(RESTART_INTERVAL);
  let last: Uint8Array | undefined;
  let pending: { readonly key: Uint8Array; readonly handle: Uint8Array } | undefined;
  for (const entry of entries) {
    // 索引のキーは次のブロックの先頭が分かってから決まる。
    if (pending !== undefined) {
      index.add({ key: shortestSeparator(pending.key, entry.key), value: pending.handle });
      pending = undefined;
    }
    block.add(entry);
    last = entry.key;
    if (block.size >= BLOCK_BYTES) {
      pending = { key: entry.key, handle: block.flush(file) };
      block = new BlockBuilder(RESTART_INTERVAL);
      last = undefined;
    }
  }
  if (last !== undefined) pending = { key: last, handle: block.flush(file) };
  const metaindex = new BlockBuilder(RESTART_INTERVAL).flush(file);
  if (pending !== undefined) index.add({ key: shortSuccessor(pending.key), value: pending.handle });
  const indexHandle = index.flush(file);
  const footerStart = file.length;
  file.push(metaindex);
  file.push(indexHandle);
  file.zeros(footerStart + 40 - file.length);
  for (const word of MAGIC) file.uint32(word);
  return file.finish();
}

/** a 以上で b 未満の短いキー。@see tsl/lib/io/table_builder.cc FindShortestSeparator */
function shortestSeparator(a: Uint8Array, b: Uint8Array): Uint8Array {
  const limit = Math.min(a.length, b.length);
  let at = 0;
  while (at < limit && a[at] === b[at]) at++;
  if (at >= limit) return a;
  const byte = a[at]!;
  if (byte === 0xff || byte + 1 >= b[at]!) return a;
  return incremented(a, at);
}

/** a 以上の短いキー。 */
function shortSuccessor(a: Uint8Array): Uint8Array {
  const at = a.findIndex((byte) => byte !== 0xff);
  return at < 0 ? a : incremented(a, at);
}

function incremented(key: Uint8Array, at: number): Uint8Array {
  const short = key.slice(0, at + 1);
  short[at]!++;
  return short;
}
