import { dataLoss } from "../base/status.ts";
import { crc32c, maskCrc } from "../savedmodel/crc32c.ts";

const HEADER = 12;
const FOOTER = 4;

/**
 * TFRecord の列を読む。1 件は、長さ u64・長さの CRC・中身・中身の CRC(すべて little-endian、CRC は
 * CRC-32C に覆いをしたもの)。圧縮したものは読まない。
 *
 * 末尾の 12 バイトに満たない切れ端は、TF と同じく終わりとみなす。
 *
 * @returns 元のバイト列を指す断片。
 * @throws DATA_LOSS 壊れているか、途中で切れている。
 * @see tensorflow/core/lib/io/record_reader.cc
 */
export function* readRecords(bytes: Uint8Array): Generator<Uint8Array> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  while (bytes.length - at >= HEADER) {
    if (maskCrc(crc32c(bytes.subarray(at, at + 8))) !== view.getUint32(at + 8, true)) {
      throw dataLoss(`corrupted record at ${at}${at === 0 ? " (Is this even a TFRecord file?)" : ""}`);
    }
    const length = Number(view.getBigUint64(at, true));
    const start = at + HEADER;
    const end = start + length;
    if (end + FOOTER > bytes.length) {
      throw dataLoss(`truncated record at ${at}' failed with Read less bytes than requested`);
    }
    const record = bytes.subarray(start, end);
    if (maskCrc(crc32c(record)) !== view.getUint32(end, true)) throw dataLoss(`corrupted record at ${start}`);
    yield record;
    at = end + FOOTER;
  }
}

/** 1 件ぶんの枠をつける。つなげれば TFRecord のファイルになる。 */
export function encodeRecord(record: Uint8Array): Uint8Array {
  const framed = new Uint8Array(HEADER + record.length + FOOTER);
  const view = new DataView(framed.buffer);
  view.setBigUint64(0, BigInt(record.length), true);
  view.setUint32(8, maskCrc(crc32c(framed.subarray(0, 8))), true);
  framed.set(record, HEADER);
  view.setUint32(HEADER + record.length, maskCrc(crc32c(record)), true);
  return framed;
}
