/** 反転した Castagnoli 多項式。 */
const POLYNOMIAL = 0x82f63b78;
const MASK_DELTA = 0xa282ead8;
const LANES = 16;
const NO_WORDS = new Int32Array(0);

/** これより短いものしか見ないうちは、1 バイトずつ数える。長いもののための表を作るほうが高くつく。 */
const LONG_BYTES = 4096;

/** 256 個までは 1 バイトを読んだ後の CRC、次からの k 段目は、さらに 0 を k バイト読んだ後の CRC。 */
let tables = new Int32Array(0);

/** @param lanes 段の数。 */
function createTables(lanes: number): Int32Array<ArrayBuffer> {
  const table = new Int32Array(256 * lanes);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
    table[byte] = crc;
  }
  for (let i = 256; i < table.length; i++) {
    const previous = table[i - 256]!;
    table[i] = (previous >>> 8) ^ table[previous & 255]!;
  }
  return table;
}

/**
 * CRC-32C。16 バイトずつ表を引く(約 1.5 GB/s)。Bun と zlib にあるのは別の多項式の CRC-32 だけ。
 *
 * @param seed これより前の部分の CRC。分割して数えるときに渡す。
 * @returns 符号なし 32 ビット。
 * @see RFC 3720 appendix B.4
 */
export function crc32c(bytes: Uint8Array, seed = 0): number {
  const { length, byteOffset } = bytes;
  if (tables.length === 0 && length < LONG_BYTES) tables = createTables(1);
  else if (tables.length <= 256 && length >= LONG_BYTES) tables = createTables(LANES);
  const t = tables;
  let crc = ~seed;
  let at = 0;
  if (t.length === 256) {
    while (at < length) crc = (crc >>> 8) ^ t[(crc ^ bytes[at++]!) & 255]!;
    return ~crc >>> 0;
  }
  while (at < length && ((byteOffset + at) & 3) !== 0) crc = (crc >>> 8) ^ t[(crc ^ bytes[at++]!) & 255]!;
  // 揃う前に尽きた短いものでは位置が 4 の倍数でないままなので、長さ 0 でも窓を開けない。
  const end = ((length - at) >>> 2) & ~3;
  const words = end === 0 ? NO_WORDS : new Int32Array(bytes.buffer, byteOffset + at, end);
  for (let i = 0; i < end; i += 4) {
    const a = crc ^ words[i]!;
    const b = words[i + 1]!;
    const c = words[i + 2]!;
    const d = words[i + 3]!;
    crc =
      t[3840 + (a & 255)]! ^
      t[3584 + ((a >>> 8) & 255)]! ^
      t[3328 + ((a >>> 16) & 255)]! ^
      t[3072 + (a >>> 24)]! ^
      t[2816 + (b & 255)]! ^
      t[2560 + ((b >>> 8) & 255)]! ^
      t[2304 + ((b >>> 16) & 255)]! ^
      t[2048 + (b >>> 24)]! ^
      t[1792 + (c & 255)]! ^
      t[1536 + ((c >>> 8) & 255)]! ^
      t[1280 + ((c >>> 16) & 255)]! ^
      t[1024 + (c >>> 24)]! ^
      t[768 + (d & 255)]! ^
      t[512 + ((d >>> 8) & 255)]! ^
      t[256 + ((d >>> 16) & 255)]! ^
      t[d >>> 24]!;
  }
  at += end * 4;
  while (at < length) crc = (crc >>> 8) ^ t[(crc ^ bytes[at++]!) & 255]!;
  return ~crc >>> 0;
}

/**
 * 保存するときの覆い。CRC を含むデータの CRC が偏らないようにする。
 *
 * @see tsl/lib/hash/crc32c.h Mask
 */
export function maskCrc(crc: number): number {
  return (((crc >>> 15) | (crc << 17)) + MASK_DELTA) >>> 0;
}
