/** 読めない GIF。文面は TF の答えに入る。 */
export class InvalidGif extends Error {}

interface Frame {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
  readonly colors: Uint8Array | undefined;
  /** 透過する色の番号。無ければ -1。 */
  readonly transparent: number;
  /** LZW の最小の符号長と、その後ろのデータ。 */
  readonly codeSize: number;
  readonly data: Uint8Array;
  readonly interlaced: boolean;
}

export interface GifPixels {
  /** [コマ, 高さ, 幅, 3]。 */
  readonly shape: readonly [number, number, number, number];
  readonly data: Uint8Array;
}

const MAX_BYTES = 2 ** 29;

class Reader {
  at = 0;

  constructor(readonly bytes: Uint8Array) {}

  byte(): number {
    if (this.at >= this.bytes.length)
      throw new InvalidGif("failed to slurp gif file: Failed to read from given file");
    return this.bytes[this.at++]!;
  }

  uint16(): number {
    return this.byte() | (this.byte() << 8);
  }

  take(length: number): Uint8Array {
    const end = this.at + length;
    if (end > this.bytes.length)
      throw new InvalidGif("failed to slurp gif file: Failed to read from given file");
    const part = this.bytes.subarray(this.at, end);
    this.at = end;
    return part;
  }

  /** 長さつきの小塊の並びをつなぐ。 */
  blocks(): Uint8Array {
    const parts: Uint8Array[] = [];
    for (let length = this.byte(); length > 0; length = this.byte()) parts.push(this.take(length));
    return Buffer.concat(parts);
  }
}

function readFrames(bytes: Uint8Array): Frame[] {
  const reader = new Reader(bytes);
  reader.take(10);
  const flags = reader.byte();
  reader.take(2);
  const global = (flags & 0x80) !== 0 ? reader.take(3 << ((flags & 7) + 1)) : undefined;
  const frames: Frame[] = [];
  let transparent = -1;
  try {
    for (;;) {
      const kind = reader.byte();
      if (kind === 0x3b) return frames;
      if (kind === 0x21) {
        const label = reader.byte();
        const body = reader.blocks();
        if (label === 0xf9 && body.length >= 4) transparent = (body[0]! & 1) !== 0 ? body[3]! : -1;
      } else if (kind === 0x2c) {
        const [left, top, width, height] = [
          reader.uint16(),
          reader.uint16(),
          reader.uint16(),
          reader.uint16(),
        ];
        const local = reader.byte();
        const colors = (local & 0x80) !== 0 ? reader.take(3 << ((local & 7) + 1)) : global;
        const codeSize = reader.byte();
        const data = reader.blocks();
        frames.push({
          left,
          top,
          width,
          height,
          colors,
          transparent,
          codeSize,
          data,
          interlaced: (local & 0x40) !== 0,
        });
        transparent = -1;
      } else throw new InvalidGif("failed to slurp gif file: Wrong record type detected");
    }
  } catch (error) {
    // 途中で壊れていても、そろったコマまでは使う。
    if (error instanceof InvalidGif && frames.length > 0) return frames;
    throw error;
  }
}

/** LZW を展開した色の番号。 */
function indicesOf({ width, height, codeSize, data, interlaced }: Frame): Uint8Array {
  if (codeSize < 1 || codeSize > 11)
    throw new InvalidGif("failed to slurp gif file: Image is defective, decoding aborted");
  const size = width * height;
  // 符号 1 つが表す列は最長でも 4096 画素。
  if (size > (data.length + 1) * 8 * 4096)
    throw new InvalidGif("failed to slurp gif file: Image is defective, decoding aborted");
  const out = new Uint8Array(size);
  const clear = 1 << codeSize;
  const prefix = new Uint16Array(4096);
  const suffix = new Uint8Array(4096);
  const stack = new Uint8Array(4097);
  let next = clear + 2;
  let bits = codeSize + 1;
  let previous = -1;
  let first = 0;
  let buffer = 0;
  let count = 0;
  let at = 0;
  let written = 0;
  while (written < size) {
    while (count < bits) {
      if (at >= data.length)
        throw new InvalidGif("failed to slurp gif file: Image EOF detected before image complete");
      buffer |= data[at++]! << count;
      count += 8;
    }
    const code = buffer & ((1 << bits) - 1);
    buffer >>>= bits;
    count -= bits;
    if (code === clear) {
      next = clear + 2;
      bits = codeSize + 1;
      previous = -1;
      continue;
    }
    if (code === clear + 1)
      throw new InvalidGif("failed to slurp gif file: Image EOF detected before image complete");
    let depth = 0;
    let current = code;
    if (code >= next) {
      if (previous < 0 || code > next)
        throw new InvalidGif("failed to slurp gif file: Image is defective, decoding aborted");
      stack[depth++] = first;
      current = previous;
    }
    while (current >= clear) {
      stack[depth++] = suffix[current]!;
      current = prefix[current]!;
    }
    first = current;
    stack[depth++] = first;
    while (depth > 0 && written < size) out[written++] = stack[--depth]!;
    if (previous >= 0 && next < 4096) {
      prefix[next] = previous;
      suffix[next] = first;
      next++;
      if (next === 1 << bits && bits < 12) bits++;
    }
    previous = code;
  }
  return interlaced ? deinterlace(out, width, height) : out;
}

function deinterlace(rows: Uint8Array, width: number, height: number): Uint8Array {
  const out = new Uint8Array(rows.length);
  let from = 0;
  for (const [start, step] of [
    [0, 8],
    [4, 8],
    [2, 4],
    [1, 2],
  ] as const) {
    for (let y = start; y < height; y += step, from += width)
      out.set(rows.subarray(from, from + width), y * width);
  }
  return out;
}

/**
 * GIF を読む。透過する画素は前のコマのまま(最初のコマでは黒)にするところまで、TF と同じ。
 * 既存の実装は壊れた入力で誤りを投げないものがあり、大きさも縛れないので使わない。
 *
 * @param firstOnly 最初のコマだけ。
 * @param check コマの数が分かったときに呼ばれる。
 * @throws InvalidGif
 * @see https://www.w3.org/Graphics/GIF/spec-gif89a.txt
 */
export function decodeGif(bytes: Uint8Array, firstOnly: boolean, check: (frames: number) => void): GifPixels {
  const all = readFrames(bytes);
  if (all.length === 0) throw new InvalidGif("failed to slurp gif file: No Image Descriptor detected");
  check(all.length);
  // 画面の大きさではなく、最大のコマの大きさを使う(TF が確保を縛るため)。
  const width = Math.max(...all.map((frame) => frame.width));
  const height = Math.max(...all.map((frame) => frame.height));
  const frames = firstOnly ? all.slice(0, 1) : all;
  const size = width * height * 3;
  if (size * frames.length > MAX_BYTES) throw new InvalidGif("image too large");
  const data = new Uint8Array(size * frames.length);
  frames.forEach((frame, k) => {
    const base = k * size;
    const indices = indicesOf(frame);
    if (k > 0) data.copyWithin(base, base - size, base);
    const { colors } = frame;
    if (colors === undefined) throw new InvalidGif(`missing color map for frame ${k}`);
    const right = Math.min(frame.left + frame.width, width);
    const bottom = Math.min(frame.top + frame.height, height);
    for (let y = frame.top; y < bottom; y++) {
      for (let x = frame.left; x < right; x++) {
        const index = indices[(y - frame.top) * frame.width + x - frame.left]!;
        if (index === frame.transparent) continue;
        if (index * 3 >= colors.length) {
          throw new InvalidGif(`found color index ${index} outside of color map range ${colors.length / 3}`);
        }
        data.set(colors.subarray(index * 3, index * 3 + 3), base + (y * width + x) * 3);
      }
    }
  });
  return { shape: [frames.length, height, width, 3], data };
}
