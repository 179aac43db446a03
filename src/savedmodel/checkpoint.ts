import { create, toBinary } from "@bufbuild/protobuf";
import { dataLoss, invalidArgument, notFound, type StatusError, unimplemented } from "../base/status.ts";
import {
  type BundleEntryProto,
  BundleEntryProtoSchema,
  BundleHeaderProto_Endianness,
  BundleHeaderProtoSchema,
} from "../gen/tensorflow/core/protobuf/tensor_bundle_pb.ts";
import { byteWidth, type DType, dtypeName, dtypeOfWire, lanesOf, wireOfDType } from "../tensor/dtype.ts";
import { type Shape, sizeOf, type Tensor, tensor } from "../tensor/tensor.ts";
import { bytesOfTensor, tensorFromBytes } from "../tensor/tensor_bytes.ts";
import { shapeFromProto } from "../tensor/tensor_proto.ts";
import { crc32c, maskCrc } from "./crc32c.ts";
import { readMessage } from "./read_message.ts";
import { compareBytes, MAX_TABLE_BYTES, readTable, writeTable } from "./sstable.ts";
import { inFile, READ_CHUNK_BYTES, type Storage, type StorageFile } from "./storage.ts";
import {
  type Block,
  BlockAssembler,
  blockOfExtents,
  type Extent,
  formatBlock,
  intersect,
  parseShapeAndSlice,
  sliceKey,
} from "./tensor_slice.ts";

/** 形式の版。 @see tensorflow/core/util/tensor_bundle/tensor_bundle.h kTensorBundleVersion */
const BUNDLE_VERSION = 1;
/** データファイルの数の上限。 */
const MAX_SHARDS = 10_000;
/** 1 つの変数の切片の数の上限。重なりを総当たりで調べるので要る。 */
const MAX_SLICES = 1024;

/** チェックポイントにある変数 1 つの説明。 */
export interface CheckpointEntry {
  readonly wireDType: number;
  /** 値を持てない型は undefined。読めば UNIMPLEMENTED。 */
  readonly dtype: DType | undefined;
  readonly shape: Shape;
}

interface StoredEntry extends CheckpointEntry {
  readonly name: string;
  readonly shard: number;
  readonly offset: number;
  readonly bytes: number;
  readonly maskedCrc: number;
  /** 空でなければ、値は切片ごとに別の行にある。 */
  readonly slices: readonly Extent[][];
}

/**
 * チェックポイント(tensor bundle)の読み手。索引だけを先に読み、変数は求められた時にデータファイルから読む。
 * 検査合計はすべて確かめる。
 *
 * @see tensorflow/core/util/tensor_bundle/tensor_bundle.cc BundleReader
 */
export class CheckpointReader implements AsyncDisposable {
  /** 変数の名前 → 説明。名前の(生バイトの)昇順で、切片の行は含まない。 */
  readonly entries: ReadonlyMap<string, CheckpointEntry>;
  readonly #storage: Storage;
  readonly #prefix: string;
  readonly #rows: ReadonlyMap<string, StoredEntry>;
  readonly #shards: number;
  readonly #bigEndian: boolean;
  readonly #files = new Map<number, Promise<StorageFile>>();

  private constructor(storage: Storage, prefix: string, index: Index) {
    this.#storage = storage;
    this.#prefix = prefix;
    this.#rows = index.rows;
    this.#shards = index.shards;
    this.#bigEndian = index.bigEndian;
    this.entries = new Map(
      Array.from(index.rows.values(), (entry): [string, StoredEntry] => [entry.name, entry]).filter(
        ([name]) => !name.startsWith("\0"),
      ),
    );
  }

  /**
   * @param prefix `…/variables/variables`。
   * @throws NOT_FOUND 索引が無い。
   * @throws DATA_LOSS 索引が壊れている。
   * @throws INVALID_ARGUMENT 知らない版。
   */
  static async open(storage: Storage, prefix: string): Promise<CheckpointReader> {
    const path = `${prefix}.index`;
    const bytes = await storage.read(path, MAX_TABLE_BYTES);
    return new CheckpointReader(
      storage,
      prefix,
      inFile(path, () => readIndex(bytes)),
    );
  }

  /**
   * 変数を読む。
   *
   * @param shapeAndSlice RestoreV2 の `shape_and_slices` の 1 要素。空なら全体。
   * @throws NOT_FOUND 名前が無い。
   * @throws DATA_LOSS データが壊れている、足りない。
   * @throws UNIMPLEMENTED resource・variant など、値として持てない型。
   */
  async read(name: string, shapeAndSlice = ""): Promise<Tensor> {
    const entry = this.#rows.get(rowKey(encoder.encode(name)));
    if (entry === undefined) throw notFound(`Key ${name} not found in checkpoint`);
    const part = parseShapeAndSlice(shapeAndSlice, entry.shape);
    if (entry.slices.length === 0) {
      const whole = await this.#readRow(entry);
      return shapeAndSlice === "" ? whole : cut(whole, part);
    }
    return await this.#readSlices(entry, part);
  }

  /**
   * どの変数もデータファイルの中に収まっているか。途中で切れた写しは、読まない変数の所で切れていても断る。
   *
   * @throws NOT_FOUND データファイルが無い。
   * @throws DATA_LOSS 足りない。
   */
  async checkRanges(): Promise<void> {
    for (const entry of this.#rows.values()) {
      if (entry.slices.length === 0) await this.#checkRange(entry);
    }
  }

  /** 開いたデータファイルを閉じる。以後も読めば開き直す。 */
  async [Symbol.asyncDispose](): Promise<void> {
    const files = [...this.#files.values()];
    this.#files.clear();
    for (const opened of await Promise.allSettled(files)) {
      if (opened.status === "fulfilled") await opened.value[Symbol.asyncDispose]();
    }
  }

  async #readSlices(entry: StoredEntry, part: Block): Promise<Tensor> {
    const { name, shape } = entry;
    const dtype = this.#numeric(entry);
    const blocks: [Block, StoredEntry][] = [];
    const path = `${this.#prefix}.index`;
    for (const extents of entry.slices) {
      const block = inFile(path, () => blockOfExtents(extents, shape));
      const row = this.#rows.get(rowKey(sliceKey(encoder.encode(name), extents)));
      if (row === undefined) throw dataLoss(`${path}; Slice ${formatBlock(block)} of ${name} is missing`);
      if (row.slices.length > 0 || row.dtype !== dtype || row.shape.join() !== block.shape.join()) {
        throw dataLoss(`${path}; Slice ${formatBlock(block)} of ${name} has another type or shape`);
      }
      const overlap = blocks.find(([other]) => intersect(other, block) !== undefined);
      if (overlap !== undefined) {
        throw dataLoss(
          `${path}; Slices ${formatBlock(overlap[0])} and ${formatBlock(block)} of ${name} overlap`,
        );
      }
      blocks.push([block, row]);
    }
    const parts = blocks.filter(([block]) => intersect(block, part) !== undefined);
    const same = parts.find(([block]) => formatBlock(block) === formatBlock(part));
    if (same !== undefined) return await this.#readRow(same[1]);

    // 場所を取る前に、切片が求める部分を覆うことと、データがあることを確かめる。
    const covered = parts.reduce((sum, [block]) => sum + sizeOf(intersect(block, part)!.shape), 0);
    if (covered !== sizeOf(part.shape))
      throw dataLoss(`${path}; Slices of ${name} do not cover ${formatBlock(part)}`);
    for (const [, row] of parts) await this.#checkRange(row);
    if (!this.#bigEndian && parts.every(([block]) => isRun(block, part))) {
      return await this.#readRuns(dtype, part, parts);
    }
    const assembler = new BlockAssembler(dtype, part);
    for (const [block, row] of parts) assembler.add(await this.#readRow(row), block);
    return assembler.finish();
  }

  /** 先頭の軸で続いた切片は、出来上がりの場所に直に読む。大きな変数を二重に持たない。 */
  async #readRuns(
    dtype: Exclude<DType, "string">,
    part: Block,
    parts: readonly (readonly [Block, StoredEntry])[],
  ): Promise<Tensor> {
    const whole = new Uint8Array(sizeOf(part.shape) * byteWidth(dtype));
    const rowBytes = sizeOf(part.shape.slice(1)) * byteWidth(dtype);
    for (const [block, row] of parts) {
      const at = (block.start[0]! - part.start[0]!) * rowBytes;
      await this.#readInto(row, whole.subarray(at, at + row.bytes), true);
    }
    return tensorFromBytes(dtype, part.shape, whole);
  }

  async #readRow(entry: StoredEntry): Promise<Tensor> {
    const { dtype, shape } = entry;
    if (dtype === "string") return await this.#readStrings(entry);
    const numeric = this.#numeric(entry);
    const bytes = await this.#readBytes(entry, true);
    if (this.#bigEndian) swapBytes(bytes, byteWidth(numeric) / lanesOf(numeric));
    return inFile(this.#dataPath(entry.shard), () => tensorFromBytes(numeric, shape, bytes));
  }

  #numeric({ name, dtype, wireDType }: StoredEntry): Exclude<DType, "string"> {
    if (dtype === undefined || dtype === "string") {
      throw unimplemented(
        `Reading ${name} of type ${dtypeName(wireDType)} from a checkpoint is not supported`,
      );
    }
    return dtype;
  }

  async #readBytes(entry: StoredEntry, verify: boolean): Promise<Uint8Array> {
    await this.#checkRange(entry);
    const whole = new Uint8Array(entry.bytes);
    await this.#readInto(entry, whole, verify);
    return whole;
  }

  async #readInto(entry: StoredEntry, whole: Uint8Array, verify: boolean): Promise<void> {
    const file = await this.#checkRange(entry);
    const chunk = (at: number) => whole.subarray(at, at + READ_CHUNK_BYTES);
    let crc = 0;
    let pending = file.readInto(entry.offset, chunk(0));
    for (let at = 0; at < whole.length; at += READ_CHUNK_BYTES) {
      await pending;
      const next = at + READ_CHUNK_BYTES;
      // 次を読みに行かせてから、いま届いたぶんを数える。
      if (next < whole.length) pending = file.readInto(entry.offset + next, chunk(next));
      if (verify) crc = crc32c(chunk(at), crc);
    }
    if (verify && maskCrc(crc) !== entry.maskedCrc) throw this.#corrupt(entry, "checksum mismatch");
  }

  /** varint の長さ、長さの検査合計、中身。CRC は長さを固定長の整数として数える。 */
  async #readStrings(entry: StoredEntry): Promise<Tensor> {
    const raw = await this.#readBytes(entry, false);
    const count = sizeOf(entry.shape);
    let at = 0;
    const lengths: number[] = [];
    const word = new DataView(new ArrayBuffer(8));
    let crc = 0;
    for (let i = 0; i < count; i++) {
      let length = 0;
      for (let scale = 1; ; scale *= 128) {
        if (at >= raw.length || scale > 2 ** 49) throw this.#corrupt(entry, "string lengths are malformed");
        const byte = raw[at++]!;
        length += (byte & 127) * scale;
        if (byte < 128) break;
      }
      lengths.push(length);
      const wide = length > 0xffffffff;
      if (wide) word.setBigUint64(0, BigInt(length), !this.#bigEndian);
      else word.setUint32(0, length, !this.#bigEndian);
      crc = crc32c(new Uint8Array(word.buffer, 0, wide ? 8 : 4), crc);
    }
    if (at + 4 > raw.length) throw this.#corrupt(entry, "string lengths are malformed");
    const stored = new DataView(raw.buffer, raw.byteOffset + at, 4).getUint32(0, !this.#bigEndian);
    if (stored !== maskCrc(crc)) throw this.#corrupt(entry, "string lengths checksum mismatch");
    if (maskCrc(crc32c(raw.subarray(at), crc)) !== entry.maskedCrc)
      throw this.#corrupt(entry, "checksum mismatch");
    at += 4;
    const strings = lengths.map((length) => {
      const from = at;
      at += length;
      return raw.subarray(from, at);
    });
    if (at !== raw.length) throw this.#corrupt(entry, `strings take ${at} bytes, ${raw.length} stored`);
    return tensor("string", entry.shape, strings);
  }

  async #checkRange(entry: StoredEntry): Promise<StorageFile> {
    const file = await this.#shard(entry.shard);
    if (entry.offset + entry.bytes > file.bytes) {
      throw this.#corrupt(entry, `needs ${entry.offset + entry.bytes} bytes, the file has ${file.bytes}`);
    }
    return file;
  }

  #corrupt({ name, shard }: StoredEntry, reason: string): StatusError {
    return dataLoss(`${this.#dataPath(shard)}; Tensor ${name.split("\0").join("")}: ${reason}`);
  }

  #shard(shard: number): Promise<StorageFile> {
    const known = this.#files.get(shard);
    if (known !== undefined) return known;
    const opened = this.#storage.open(this.#dataPath(shard));
    this.#files.set(shard, opened);
    return opened;
  }

  #dataPath(shard: number): string {
    return dataPath(this.#prefix, shard, this.#shards);
  }
}

interface Index {
  /** 生のキー(latin1)→ 行。 */
  readonly rows: ReadonlyMap<string, StoredEntry>;
  readonly shards: number;
  readonly bigEndian: boolean;
}

function readIndex(bytes: Uint8Array): Index {
  const [first, ...table] = readTable(bytes);
  if (first === undefined || first.key.length > 0) throw dataLoss("Checkpoint index has no header");
  const header = parse(() => readMessage("tensorflow.BundleHeaderProto", first.value), "header");
  const { minConsumer = 0, badConsumers = [] } = header.version ?? {};
  if (minConsumer > BUNDLE_VERSION || badConsumers.includes(BUNDLE_VERSION)) {
    throw invalidArgument(
      `Checkpoint needs a reader of version ${minConsumer}, this one is ${BUNDLE_VERSION}`,
    );
  }
  if (header.numShards < 1 || header.numShards > MAX_SHARDS) {
    throw dataLoss(`Checkpoint has ${header.numShards} shards`);
  }
  const rows = new Map<string, StoredEntry>();
  for (const { key, value } of table) {
    const name = decoder.decode(key);
    const entry = parse(() => readMessage("tensorflow.BundleEntryProto", value), name);
    rows.set(rowKey(key), storedEntry(name, entry, header.numShards));
  }
  checkOverlap(rows.values());
  return {
    rows,
    shards: header.numShards,
    bigEndian: header.endianness === BundleHeaderProto_Endianness.BIG,
  };
}

function storedEntry(name: string, proto: BundleEntryProto, shards: number): StoredEntry {
  const entry: StoredEntry = {
    name,
    wireDType: proto.dtype,
    dtype: dtypeOfWire(proto.dtype),
    shape: shapeFromProto(proto.shape),
    shard: proto.shardId,
    offset: Number(proto.offset),
    bytes: Number(proto.size),
    maskedCrc: proto.crc32c,
    slices: proto.slices.map(({ extent }) =>
      extent.map(({ start, hasLengthHack }) => ({ start, length: hasLengthHack.value })),
    ),
  };
  const { dtype, shape, shard, offset, bytes, slices } = entry;
  if (slices.length > MAX_SLICES) throw dataLoss(`Tensor ${name} has ${slices.length} slices`);
  if (slices.length > 0) return entry;
  if (shard < 0 || shard >= shards) throw dataLoss(`Tensor ${name} is in shard ${shard} of ${shards}`);
  if (offset < 0 || bytes < 0 || !Number.isSafeInteger(offset + bytes)) {
    throw dataLoss(`Tensor ${name} lies at ${offset}+${bytes}`);
  }
  const count = sizeOf(shape);
  const possible =
    dtype === "string" ? bytes >= count : dtype === undefined || bytes === count * byteWidth(dtype);
  if (!possible)
    throw dataLoss(`Tensor ${name} of type ${dtype} and shape [${shape.join(",")}] has ${bytes} bytes`);
  return entry;
}

/** 同じ場所を何度も指す索引は、ファイルの大きさを越えて場所を取らせる。書き手はそういうものを作らない。 */
function checkOverlap(rows: Iterable<StoredEntry>): void {
  const stored = [...rows].filter(({ slices, bytes }) => slices.length === 0 && bytes > 0);
  stored.sort((a, b) => a.shard - b.shard || a.offset - b.offset);
  for (let i = 1; i < stored.length; i++) {
    const before = stored[i - 1]!;
    const after = stored[i]!;
    if (before.shard === after.shard && before.offset + before.bytes > after.offset) {
      throw dataLoss(`Tensors ${before.name} and ${after.name} overlap`);
    }
  }
}

function parse<M>(body: () => M, what: string): M {
  try {
    return body();
  } catch (thrown) {
    throw dataLoss(`Checkpoint entry ${what} is not a valid protobuf`, thrown);
  }
}

/** `part` の中の、先頭の軸で続いた範囲か。 */
function isRun(block: Block, part: Block): boolean {
  const isInside = (axis: number) =>
    block.start[axis]! >= part.start[axis]! &&
    block.start[axis]! + block.shape[axis]! <= part.start[axis]! + part.shape[axis]!;
  return (
    part.shape.length > 0 &&
    part.shape.every((dim, axis) => isInside(axis) && (axis === 0 || block.shape[axis] === dim))
  );
}

function cut(whole: Tensor, part: Block): Tensor {
  if (whole.dtype === "string") throw unimplemented("Restoring a slice of a string tensor is not supported");
  const assembler = new BlockAssembler(whole.dtype, part);
  assembler.add(whole, { start: whole.shape.map(() => 0), shape: whole.shape });
  return assembler.finish();
}

function swapBytes(bytes: Uint8Array, width: number): void {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (width === 2) buffer.swap16();
  else if (width === 4) buffer.swap32();
  else if (width === 8) buffer.swap64();
}

function rowKey(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString("latin1");
}

function dataPath(prefix: string, shard: number, shards: number): string {
  const digits = (value: number) => String(value).padStart(5, "0");
  return `${prefix}.data-${digits(shard)}-of-${digits(shards)}`;
}

/**
 * チェックポイントを 1 つのデータファイルと索引に書く。TF の BundleWriter と同じバイトになる。
 *
 * @param prefix `variables/variables` など。
 * @param tensors データファイルでの並びは Map の順。
 * @returns 書くべきファイルのパス → 中身。
 * @see tensorflow/core/util/tensor_bundle/tensor_bundle.cc BundleWriter
 */
export function writeCheckpoint(
  prefix: string,
  tensors: ReadonlyMap<string, Tensor>,
): ReadonlyMap<string, Uint8Array> {
  const header = create(BundleHeaderProtoSchema, { numShards: 1, version: { producer: BUNDLE_VERSION } });
  const rows = [{ key: new Uint8Array(0), value: toBinary(BundleHeaderProtoSchema, header) }];
  const pieces: Uint8Array[] = [];
  let offset = 0;
  for (const [name, value] of tensors) {
    const { body, crc } = value.dtype === "string" ? stringBody(value.data) : numericBody(value);
    const entry = create(BundleEntryProtoSchema, {
      dtype: wireOfDType(value.dtype),
      shape: { dim: value.shape.map((size) => ({ size: BigInt(size) })) },
      offset: BigInt(offset),
      size: BigInt(body.length),
      crc32c: maskCrc(crc),
    });
    rows.push({ key: encoder.encode(name), value: toBinary(BundleEntryProtoSchema, entry) });
    pieces.push(body);
    offset += body.length;
  }
  rows.sort((a, b) => compareBytes(a.key, b.key));
  return new Map<string, Uint8Array>([
    [`${prefix}.index`, writeTable(rows)],
    [dataPath(prefix, 0, 1), new Uint8Array(Buffer.concat(pieces))],
  ]);
}

interface Body {
  readonly body: Uint8Array;
  readonly crc: number;
}

function numericBody(value: Tensor): Body {
  const body = bytesOfTensor(value);
  return { body, crc: crc32c(body) };
}

function stringBody(strings: readonly Uint8Array[]): Body {
  // varint の長さと中身の並びは tensor_content と同じで、間に検査合計が入るだけ。
  const content = bytesOfTensor(tensor("string", [strings.length], [...strings]));
  const textBytes = strings.reduce((sum, { length }) => sum + length, 0);
  const head = content.length - textBytes;
  const lengths = crc32c(new Uint8Array(Uint32Array.from(strings, ({ length }) => length).buffer));
  const check = new Uint8Array(Uint32Array.of(maskCrc(lengths)).buffer);
  const text = content.subarray(head);
  const body = new Uint8Array(Buffer.concat([content.subarray(0, head), check, text]));
  return { body, crc: crc32c(text, crc32c(check, lengths)) };
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
