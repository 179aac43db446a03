import { constants, deflateSync, inflateSync } from "node:zlib";
import type { Pixels } from "./pixels.ts";

/** 読めない PNG。`header` なら画素より前で見つかった。 */
export class InvalidPng extends Error {
  constructor(
    message: string,
    readonly header: boolean,
    cause?: unknown,
  ) {
    super(message, { cause });
  }
}

/** 大きさが TF の上限を超える PNG。 */
export class PngTooLarge extends Error {}

interface Header {
  readonly width: number;
  readonly height: number;
  readonly depth: number;
  readonly color: number;
  readonly interlaced: boolean;
}

const GRAY = 0;
const RGB = 2;
const PALETTE = 3;
const GRAY_ALPHA = 4;
const RGB_ALPHA = 6;

const samplesOf: Readonly<Record<number, number>> = {
  [GRAY]: 1,
  [RGB]: 3,
  [PALETTE]: 1,
  [GRAY_ALPHA]: 2,
  [RGB_ALPHA]: 4,
};
const depthsOf: Readonly<Record<number, readonly number[]>> = {
  [GRAY]: [1, 2, 4, 8, 16],
  [RGB]: [8, 16],
  [PALETTE]: [1, 2, 4, 8],
  [GRAY_ALPHA]: [8, 16],
  [RGB_ALPHA]: [8, 16],
};

/** Adam7 の各回の [左, 上, 横の歩, 縦の歩]。 */
const passes = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;

const SIGNATURE = 8;
const chunkName = (bytes: Uint8Array, at: number): string =>
  String.fromCharCode(...bytes.subarray(at + 4, at + 8));

interface Chunks {
  readonly header: Header;
  readonly palette: Uint8Array;
  readonly transparency: Uint8Array | undefined;
  readonly data: Uint8Array[];
  /** IEND まで、検査和が正しくそろっていた。 */
  readonly complete: boolean;
}

function readHeader(bytes: Uint8Array): Header {
  if (bytes.length < 33 || chunkName(bytes, SIGNATURE) !== "IHDR") throw new InvalidPng("no IHDR", true);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const header = {
    width: view.getUint32(16),
    height: view.getUint32(20),
    depth: bytes[24]!,
    color: bytes[25]!,
    interlaced: bytes[28] === 1,
  };
  const valid =
    view.getUint32(SIGNATURE) === 13 &&
    header.width > 0 &&
    header.height > 0 &&
    header.width < 2 ** 31 &&
    header.height < 2 ** 31 &&
    depthsOf[header.color]?.includes(header.depth) === true &&
    bytes[26] === 0 &&
    bytes[27] === 0 &&
    bytes[28]! < 2;
  if (!valid) throw new InvalidPng("bad IHDR", true);
  return header;
}

/** 画素より前の塊が壊れていれば header、後なら本体の誤り。 */
function readChunks(bytes: Uint8Array): Chunks {
  const header = readHeader(bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let palette = new Uint8Array(0);
  let transparency: Uint8Array | undefined;
  const data: Uint8Array[] = [];
  let complete = false;
  for (let at = SIGNATURE; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const end = at + 8 + length;
    if (end + 4 > bytes.length) break;
    const body = bytes.subarray(at + 8, end);
    const name = chunkName(bytes, at);
    const critical = (bytes[at + 4]! & 0x20) === 0;
    if (Bun.hash.crc32(bytes.subarray(at + 4, end)) !== view.getUint32(end)) {
      if (critical) throw new InvalidPng(`bad CRC of ${name}`, data.length === 0);
    } else if (name === "PLTE") {
      if (length % 3 !== 0 || length > 768) throw new InvalidPng("bad PLTE", true);
      palette = body.slice();
    } else if (name === "tRNS") transparency = body;
    else if (name === "IDAT") data.push(body);
    else if (name === "IEND") {
      complete = true;
      break;
    }
    at = end + 4;
  }
  if (data.length === 0) throw new InvalidPng("no IDAT", true);
  if (header.color === PALETTE && palette.length === 0) throw new InvalidPng("no PLTE", true);
  return { header, palette, transparency, data, complete };
}

/** 行ごとの差分を元に戻す。`line` を書き換える。 */
function unfilter(type: number, line: Uint8Array, above: Uint8Array, step: number): void {
  for (let i = 0; i < line.length; i++) {
    const left = i >= step ? line[i - step]! : 0;
    const up = above[i]!;
    const corner = i >= step ? above[i - step]! : 0;
    switch (type) {
      case 0:
        return;
      case 1:
        line[i]! += left;
        break;
      case 2:
        line[i]! += up;
        break;
      case 3:
        line[i]! += (left + up) >> 1;
        break;
      case 4: {
        const estimate = left + up - corner;
        const [a, b, c] = [Math.abs(estimate - left), Math.abs(estimate - up), Math.abs(estimate - corner)];
        line[i]! += a <= b && a <= c ? left : b <= c ? up : corner;
        break;
      }
      default:
        throw new InvalidPng(`bad filter ${type}`, false);
    }
  }
}

/** 1 行から、標本を 1 つずつの数に。 */
function unpack(line: Uint8Array, depth: number, count: number, out: Uint16Array): void {
  if (depth === 16) {
    for (let i = 0; i < count; i++) out[i] = (line[2 * i]! << 8) | line[2 * i + 1]!;
  } else if (depth === 8) {
    out.set(line.subarray(0, count));
  } else {
    const mask = (1 << depth) - 1;
    for (let i = 0; i < count; i++) {
      const bit = i * depth;
      out[i] = (line[bit >> 3]! >> (8 - depth - (bit & 7))) & mask;
    }
  }
}

/** 展開した画素のバイト数。 */
function inflatedSize(header: Header): number {
  const bits = samplesOf[header.color]! * header.depth;
  const size = (width: number, height: number): number =>
    width > 0 && height > 0 ? height * (1 + Math.ceil((width * bits) / 8)) : 0;
  if (!header.interlaced) return size(header.width, header.height);
  return passes.reduce(
    (sum, [left, top, dx, dy]) =>
      sum + size(Math.ceil((header.width - left) / dx), Math.ceil((header.height - top) / dy)),
    0,
  );
}

/** 行を順に、[y, 左, 横の歩, 標本] として訪れる。 */
function eachLine(
  header: Header,
  raw: Uint8Array,
  visit: (y: number, left: number, dx: number, count: number, samples: Uint16Array) => void,
): void {
  const perPixel = samplesOf[header.color]!;
  const bits = perPixel * header.depth;
  const step = Math.max(1, bits >> 3);
  const samples = new Uint16Array(header.width * perPixel);
  let at = 0;
  for (const [left, top, dx, dy] of header.interlaced ? passes : [[0, 0, 1, 1] as const]) {
    const width = Math.ceil((header.width - left) / dx);
    const height = Math.ceil((header.height - top) / dy);
    if (width <= 0 || height <= 0) continue;
    const length = Math.ceil((width * bits) / 8);
    let above: Uint8Array = new Uint8Array(length);
    for (let row = 0; row < height; row++) {
      if (at + 1 + length > raw.length) throw new InvalidPng("not enough image data", false);
      const line = raw.subarray(at + 1, at + 1 + length);
      unfilter(raw[at]!, line, above, step);
      unpack(line, header.depth, width * perPixel, samples);
      visit(top + row * dy, left, dx, width, samples);
      above = line;
      at += 1 + length;
    }
  }
}

/** 透過色。灰色か RGB の標本で、無ければ undefined。 */
function transparentColor({ header, transparency }: Chunks): number[] | undefined {
  if (transparency === undefined) return undefined;
  const count = header.color === RGB ? 3 : header.color === GRAY ? 1 : 0;
  if (count === 0 || transparency.length < count * 2) return undefined;
  return Array.from({ length: count }, (_, i) => (transparency[2 * i]! << 8) | transparency[2 * i + 1]!);
}

/** 元の画素を、深さをそろえた RGBA(灰色なら R = G = B)に読む関数。 */
function pixelReader(chunks: Chunks): (samples: Uint16Array, index: number, rgba: Uint16Array) => void {
  const { header, palette, transparency } = chunks;
  const { color, depth } = header;
  const full = depth === 16 ? 65535 : 255;
  // TF は補う不透明度を元の深さの最大値で頼むので、8 ビットに満たない画像では 255 にならない。
  const added = (1 << depth) - 1;
  if (color === PALETTE) {
    const entries = palette.length / 3;
    return (samples, index, rgba) => {
      const entry = samples[index]!;
      // 範囲の外の番号は黒(libpng と同じ)。
      for (let c = 0; c < 3; c++) rgba[c] = entry < entries ? palette[entry * 3 + c]! : 0;
      rgba[3] = transparency === undefined ? added : (transparency[entry] ?? 255);
    };
  }
  const clear = transparentColor(chunks);
  const scale = depth < 8 ? 255 / ((1 << depth) - 1) : 1;
  const perPixel = samplesOf[color]!;
  const colors = color === RGB || color === RGB_ALPHA ? 3 : 1;
  return (samples, index, rgba) => {
    const at = index * perPixel;
    for (let c = 0; c < 3; c++) rgba[c] = samples[at + (colors === 3 ? c : 0)]! * scale;
    if (perPixel > colors) rgba[3] = samples[at + colors]!;
    else if (clear === undefined) rgba[3] = added;
    else rgba[3] = clear.every((value, c) => value === samples[at + c]) ? 0 : full;
  };
}

/** libpng の灰色化(0.299, 0.587 を切り捨てて 1/32768 の整数に)。 */
function toGray(red: number, green: number, blue: number, wide: boolean): number {
  if (red === green && red === blue) return red;
  const sum = red * 9797 + green * 19234 + blue * 3737;
  return wide ? (sum + 16384) >>> 15 : sum >>> 15;
}

/**
 * PNG を読む。画素の変換(透過、灰色化、深さ)は TF が libpng に頼む通り。
 * 木の実装ではなく自前にしたのは、展開後の大きさを先に縛るためと、この変換がどの実装にも無いため。
 *
 * @param channels 0 は元のまま(パレットは 3、透過つきなら 4)。
 * @param bits 8 か 16。
 * @throws InvalidPng, PngTooLarge
 * @see https://www.w3.org/TR/png-3/
 */
export function decodePng(
  bytes: Uint8Array,
  channels: 0 | 1 | 3 | 4,
  bits: 8 | 16,
): Pixels<Uint8Array | Uint16Array> {
  const chunks = readChunks(bytes);
  const { header } = chunks;
  const { width, height } = header;
  if (width >= 2 ** 27 || height >= 2 ** 27 || width * height >= 2 ** 29) {
    throw new PngTooLarge(`${width} by ${height}`);
  }
  const own = header.color === PALETTE ? (chunks.transparency ? 4 : 3) : samplesOf[header.color]!;
  const target = channels || own;
  const expected = inflatedSize(header);
  // deflate は 1032 倍までしか縮まない。足りないはずのものは確保する前に断る。
  const compressed = chunks.data.reduce((sum, part) => sum + part.length, 0);
  if (expected > compressed * 1032 + 1024) throw new InvalidPng("not enough image data", false);
  const raw = inflate(chunks.data, expected);
  const shape = [height, width, target] as const;
  const data =
    bits === 16 ? new Uint16Array(width * height * target) : new Uint8Array(width * height * target);
  const read = pixelReader(chunks);
  const rgba = new Uint16Array(4);
  const wide = header.depth === 16;
  const convert = bits === 16 ? (wide ? 1 : 257) : 1;
  const drop = bits === 8 && wide ? 8 : 0;
  eachLine(header, raw, (y, left, dx, count, samples) => {
    for (let i = 0; i < count; i++) {
      read(samples, i, rgba);
      let to = (y * width + left + i * dx) * target;
      if (target < 3) {
        data[to++] = (toGray(rgba[0]!, rgba[1]!, rgba[2]!, wide) >> drop) * convert;
      } else {
        for (let c = 0; c < 3; c++) data[to++] = (rgba[c]! >> drop) * convert;
      }
      if (target === 2 || target === 4) data[to] = (rgba[3]! >> drop) * convert;
    }
  });
  if (!chunks.complete) throw new InvalidPng("no IEND", false);
  return { shape, data };
}

function inflate(parts: readonly Uint8Array[], size: number): Uint8Array {
  try {
    // 余分な画素は捨てられるだけなので、少しの超過は許す。
    return inflateSync(Buffer.concat(parts), {
      maxOutputLength: size + 65536,
      finishFlush: constants.Z_SYNC_FLUSH,
    });
  } catch (error) {
    throw new InvalidPng("bad IDAT", false, error);
  }
}

function chunk(name: string, body: Uint8Array): Uint8Array {
  const out = Buffer.alloc(body.length + 12);
  out.writeUInt32BE(body.length, 0);
  out.write(name, 4, "latin1");
  out.set(body, 8);
  out.writeUInt32BE(Bun.hash.crc32(out.subarray(4, body.length + 8)), body.length + 8);
  return out;
}

/**
 * PNG を書く。画素は可逆だが、圧縮の仕方が違うのでバイト列は TF と同じではない。
 *
 * @param level zlib の圧縮の強さ(-1 は既定)。
 */
export function encodePng({ shape, data }: Pixels<Uint8Array | Uint16Array>, level: number): Uint8Array {
  const [height, width, channels] = shape;
  const wide = data instanceof Uint16Array;
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header[8] = wide ? 16 : 8;
  header[9] = [GRAY, GRAY_ALPHA, RGB, RGB_ALPHA][channels - 1]!;
  const samples = wide ? Buffer.from(data.slice().buffer) : Buffer.from(data);
  if (wide) samples.swap16();
  const step = channels * (wide ? 2 : 1);
  const length = width * step;
  const raw = Buffer.alloc(height * (length + 1));
  for (let y = 0; y < height; y++) {
    const from = y * length;
    const to = y * (length + 1);
    // 上との差分。写真でも図でも大きく外れない。
    raw[to] = y === 0 ? 0 : 2;
    for (let i = 0; i < length; i++) {
      raw[to + 1 + i] = samples[from + i]! - (y === 0 ? 0 : samples[from - length + i]!);
    }
  }
  return Buffer.concat([
    Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a),
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(raw, { level })),
    chunk("IEND", new Uint8Array(0)),
  ]);
}
