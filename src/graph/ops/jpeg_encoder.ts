import { type HuffmanSpec, standardHuffman, standardQuantization, zigzag } from "./jpeg_tables.ts";
import type { Pixels } from "./pixels.ts";

export interface JpegEncodeOptions {
  /** 0 から 100。 */
  readonly quality: number;
  /** 色差を縦横半分に間引くか。 */
  readonly downsampleChroma: boolean;
  /** JFIF の密度。単位 1 はインチ、2 は cm。 */
  readonly density: { readonly unit: 1 | 2; readonly x: number; readonly y: number };
  /** XMP のメタデータ(空なら付けない)。 */
  readonly xmp: Uint8Array;
}

/** 値 → [符号, 長さ]。 */
function codesOf({ counts, values }: HuffmanSpec): readonly (readonly [number, number])[] {
  const codes: [number, number][] = [];
  let code = 0;
  let index = 0;
  for (let length = 1; length <= 16; length++) {
    for (let i = 0; i < counts[length - 1]!; i++) codes[values[index++]!] = [code++, length];
    code <<= 1;
  }
  return codes;
}

class BitWriter {
  readonly out: number[] = [];
  private buffer = 0;
  private count = 0;

  write(value: number, bits: number): void {
    for (let i = bits - 1; i >= 0; i--) {
      this.buffer = (this.buffer << 1) | ((value >> i) & 1);
      if (++this.count === 8) this.flush();
    }
  }

  private flush(): void {
    this.out.push(this.buffer);
    if (this.buffer === 0xff) this.out.push(0);
    this.buffer = 0;
    this.count = 0;
  }

  /** 残りを 1 で埋める。 */
  finish(): void {
    while (this.count > 0) this.write(1, 1);
  }
}

function quantizationOf(quality: number, chroma: boolean): number[] {
  const clamped = Math.min(Math.max(quality, 1), 100);
  const scale = clamped < 50 ? Math.floor(5000 / clamped) : 200 - clamped * 2;
  const base = standardQuantization[chroma ? 1 : 0];
  return Array.from(base, (value) => Math.min(Math.max(Math.floor((value * scale + 50) / 100), 1), 255));
}

/** 正確な整数の順 DCT。係数は 8 倍になっている。@see libjpeg jfdctint.c */
function forwardDct(block: Int32Array): void {
  for (let pass = 0; pass < 2; pass++) {
    const step = pass === 0 ? 1 : 8;
    const across = pass === 0 ? 8 : 1;
    for (let line = 0; line < 8; line++) {
      const at = line * across;
      const s = (k: number): number => block[at + k * step]!;
      const [a0, a1, a2, a3] = [s(0) + s(7), s(1) + s(6), s(2) + s(5), s(3) + s(4)];
      const [d7, d6, d5, d4] = [s(0) - s(7), s(1) - s(6), s(2) - s(5), s(3) - s(4)];
      const [e0, e3, e1, e2] = [a0 + a3, a0 - a3, a1 + a2, a1 - a2];
      const shift = pass === 0 ? 11 : 15;
      const round = (value: number): number => (value + (1 << (shift - 1))) >> shift;
      const put = (k: number, value: number): void => {
        block[at + k * step] = value;
      };
      put(0, pass === 0 ? (e0 + e1) << 2 : (e0 + e1 + 2) >> 2);
      put(4, pass === 0 ? (e0 - e1) << 2 : (e0 - e1 + 2) >> 2);
      const z1 = (e2 + e3) * 4433;
      put(2, round(z1 + e3 * 6270));
      put(6, round(z1 - e2 * 15137));
      const z5 = (d4 + d6 + d5 + d7) * 9633;
      const y1 = (d4 + d7) * -7373;
      const y2 = (d5 + d6) * -20995;
      const y3 = (d4 + d6) * -16069 + z5;
      const y4 = (d5 + d7) * -3196 + z5;
      put(7, round(d4 * 2446 + y1 + y3));
      put(5, round(d5 * 16819 + y2 + y4));
      put(3, round(d6 * 25172 + y2 + y3));
      put(1, round(d7 * 12299 + y1 + y4));
    }
  }
}

const fix = (value: number): number => Math.floor(value * 65536 + 0.5);
const CENTER = 128 << 16;

/** 輝度と色差の面。 */
function planesOf({ shape, data }: Pixels): Uint8Array[] {
  const [height, width, channels] = shape;
  const count = height * width;
  if (channels === 1) return [data];
  const [y, cb, cr] = [new Uint8Array(count), new Uint8Array(count), new Uint8Array(count)];
  for (let i = 0; i < count; i++) {
    const [r, g, b] = [data[i * 3]!, data[i * 3 + 1]!, data[i * 3 + 2]!];
    y[i] = (fix(0.299) * r + fix(0.587) * g + fix(0.114) * b + 32768) >> 16;
    cb[i] = (-fix(0.16874) * r - fix(0.33126) * g + 32768 * b + CENTER + 32767) >> 16;
    cr[i] = (32768 * r - fix(0.41869) * g - fix(0.08131) * b + CENTER + 32767) >> 16;
  }
  return [y, cb, cr];
}

interface Component {
  readonly factor: number;
  readonly chroma: boolean;
  /** 端を延ばした面。 */
  readonly plane: Uint8Array;
  readonly stride: number;
  /** 画像にかかるブロックの数。この外は前の DC を繰り返すだけの詰め物になる。 */
  readonly columns: number;
  readonly rows: number;
  predictor: number;
}

/** 端の画素を繰り返して `stride` × `rows` に延ばす。 */
function extend(plane: Uint8Array, width: number, height: number, stride: number, rows: number): Uint8Array {
  const out = new Uint8Array(stride * rows);
  for (let y = 0; y < rows; y++) {
    const from = Math.min(y, height - 1) * width;
    for (let x = 0; x < stride; x++) out[y * stride + x] = plane[from + Math.min(x, width - 1)]!;
  }
  return out;
}

/** 2×2 の平均。丸めの向きを横に交互にする。@see libjpeg jcsample.c */
function halve(plane: Uint8Array, stride: number, rows: number): Uint8Array {
  const half = stride / 2;
  const out = new Uint8Array(half * (rows / 2));
  for (let y = 0; y < rows / 2; y++) {
    for (let x = 0; x < half; x++) {
      const at = 2 * y * stride + 2 * x;
      const sum = plane[at]! + plane[at + 1]! + plane[at + stride]! + plane[at + stride + 1]!;
      out[y * half + x] = (sum + 1 + (x & 1)) >> 2;
    }
  }
  return out;
}

const word = (value: number): number[] => [(value >> 8) & 0xff, value & 0xff];
const segment = (marker: number, body: readonly number[]): number[] => [
  0xff,
  marker,
  ...word(body.length + 2),
  ...body,
];

function headers(
  { shape }: Pixels,
  options: JpegEncodeOptions,
  tables: readonly number[][],
  factor: number,
): number[] {
  const [height, width, channels] = shape;
  const { unit, x, y } = options.density;
  const ids = Array.from({ length: channels }, (_, i) => i + 1);
  const sampling = (id: number): number => (id === 1 ? factor * 16 + factor : 0x11);
  const tableOf = (id: number): number => (id === 1 ? 0 : 1);
  const huffman = (kind: number, id: number, { counts, values }: HuffmanSpec): number[] =>
    segment(0xc4, [kind * 16 + id, ...counts, ...values]);
  const xmp =
    options.xmp.length > 0
      ? segment(0xe1, [...Buffer.from("http://ns.adobe.com/xap/1.0/\0"), ...options.xmp])
      : [];
  return [
    0xff,
    0xd8,
    ...segment(0xe0, [...Buffer.from("JFIF\0"), 1, 1, unit, ...word(x), ...word(y), 0, 0]),
    ...xmp,
    ...tables.flatMap((table, id) =>
      segment(0xdb, [id, ...Array.from({ length: 64 }, (_, k) => table[zigzag[k]!]!)]),
    ),
    ...segment(0xc0, [
      8,
      ...word(height),
      ...word(width),
      channels,
      ...ids.flatMap((id) => [id, sampling(id), tableOf(id)]),
    ]),
    ...tables.flatMap((_, id) => [
      ...huffman(0, id, standardHuffman.dc[id as 0 | 1]),
      ...huffman(1, id, standardHuffman.ac[id as 0 | 1]),
    ]),
    ...segment(0xda, [channels, ...ids.flatMap((id) => [id, tableOf(id) * 0x11]), 0, 63, 0]),
  ];
}

/** 0 から離れる向きに四捨五入した商。 */
const quantize = (value: number, by: number): number => {
  const magnitude = Math.floor((Math.abs(value) + (by >> 1)) / by);
  return value < 0 ? -magnitude : magnitude;
};

const sizeOf = (value: number): number => 32 - Math.clz32(Math.abs(value));
const bitsOf = (value: number, size: number): number => (value < 0 ? value + (1 << size) - 1 : value);

/**
 * JPEG(baseline)を書く。libjpeg-turbo の既定と同じバイト列になる。
 *
 * @param pixels 成分は 1 か 3。
 * @see ITU-T T.81
 */
export function encodeJpeg(pixels: Pixels, options: JpegEncodeOptions): Uint8Array {
  const [height, width, channels] = pixels.shape;
  const factor = channels === 3 && options.downsampleChroma ? 2 : 1;
  const unit = 8 * factor;
  const [across, down] = [Math.ceil(width / unit), Math.ceil(height / unit)];
  const components = planesOf(pixels).map((plane, i): Component => {
    const stride = across * unit;
    const halved = i > 0 && factor === 2;
    if (!halved) {
      const wide = extend(plane, width, height, stride, down * unit);
      return {
        factor,
        chroma: i > 0,
        plane: wide,
        stride,
        columns: Math.ceil(width / 8),
        rows: Math.ceil(height / 8),
        predictor: 0,
      };
    }
    // 横は間引く前に、縦は間引いた後に延ばす(端の色差の値が変わる)。
    const even = height + (height & 1);
    const half = halve(extend(plane, width, height, stride, even), stride, even);
    return {
      factor: 1,
      chroma: true,
      plane: extend(half, stride / 2, even / 2, stride / 2, down * 8),
      stride: stride / 2,
      columns: across,
      rows: down,
      predictor: 0,
    };
  });
  const tables = (channels === 1 ? [false] : [false, true]).map((chroma) =>
    quantizationOf(options.quality, chroma),
  );
  const codes = [0, 1].map((id) => ({
    dc: codesOf(standardHuffman.dc[id as 0 | 1]),
    ac: codesOf(standardHuffman.ac[id as 0 | 1]),
  }));
  const bits = new BitWriter();
  const block = new Int32Array(64);
  const encodeBlock = (component: Component, row: number, column: number): void => {
    const { plane, stride } = component;
    const table = tables[component.chroma ? 1 : 0]!;
    const { dc, ac } = codes[component.chroma ? 1 : 0]!;
    if (row >= component.rows || column >= component.columns) {
      bits.write(...dc[0]!);
      bits.write(...ac[0]!);
      return;
    }
    for (let y = 0; y < 8; y++) {
      for (let x = 0; x < 8; x++) block[y * 8 + x] = plane[(row * 8 + y) * stride + column * 8 + x]! - 128;
    }
    forwardDct(block);
    for (let i = 0; i < 64; i++) block[i] = quantize(block[i]!, table[i]! * 8);
    const difference = block[0]! - component.predictor;
    component.predictor = block[0]!;
    const size = sizeOf(difference);
    bits.write(...dc[size]!);
    bits.write(bitsOf(difference, size), size);
    let run = 0;
    for (let k = 1; k < 64; k++) {
      const value = block[zigzag[k]!]!;
      if (value === 0) {
        run++;
        continue;
      }
      for (; run > 15; run -= 16) bits.write(...ac[0xf0]!);
      const length = sizeOf(value);
      bits.write(...ac[run * 16 + length]!);
      bits.write(bitsOf(value, length), length);
      run = 0;
    }
    if (run > 0) bits.write(...ac[0]!);
  };
  for (let row = 0; row < down; row++) {
    for (let column = 0; column < across; column++) {
      for (const component of components) {
        for (let v = 0; v < component.factor; v++) {
          for (let h = 0; h < component.factor; h++) {
            encodeBlock(component, row * component.factor + v, column * component.factor + h);
          }
        }
      }
    }
  }
  bits.finish();
  return Uint8Array.from([...headers(pixels, options, tables, factor), ...bits.out, 0xff, 0xd9]);
}
