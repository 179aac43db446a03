import { assemblePixels, type ColorSpace, type Plane, upsample } from "./jpeg_color.ts";
import {
  accurateIdct,
  accurateTable,
  eighthIdct,
  fastIdct,
  fastTable,
  halfIdct,
  type Idct,
  quarterIdct,
} from "./jpeg_idct.ts";
import {
  BitReader,
  HuffmanTable,
  InvalidJpeg,
  progressiveReader,
  type ReadBlock,
  type ScanComponent,
  type ScanRange,
  sequentialReader,
} from "./jpeg_scan.ts";
import { zigzag } from "./jpeg_tables.ts";
import type { Pixels } from "./pixels.ts";

/** これ以上の画素 × 成分は、TF と同じく断る。 */
const MAX_SAMPLES = 2 ** 29;

export interface JpegOptions {
  /** 0 は元のまま(4 成分は RGB にする)。 */
  readonly channels: 0 | 1 | 3;
  readonly accurate: boolean;
  /** 縦横を何分の 1 に縮めて読むか。 */
  readonly ratio: 1 | 2 | 4 | 8;
  readonly fancyUpscaling: boolean;
  readonly recoverTruncated: boolean;
}

interface Component extends ScanComponent {
  readonly id: number;
  readonly across: number;
  readonly down: number;
  readonly quantizer: number;
  /** 1 ブロックから作る画素の一辺。縮小のとき、間引かれた成分は細かいまま残る。 */
  size: number;
  /** 間引きと縮小の後の画素の数。 */
  width: number;
  height: number;
  /** MCU の倍数に切り上げたブロックの数。 */
  columns: number;
  rows: number;
  /** 段階的な形式だけが全体の係数を持つ。 */
  coefficients: Int16Array | undefined;
  plane: Uint8ClampedArray | undefined;
  /** 最初の走査のときの量子化表。 */
  table: Int32Array | undefined;
}

interface Frame {
  readonly width: number;
  readonly height: number;
  readonly progressive: boolean;
  readonly components: Component[];
  readonly maxAcross: number;
  readonly maxDown: number;
}

const reduced: Readonly<Record<number, Idct>> = { 4: halfIdct, 2: quarterIdct, 1: eighthIdct };

const planeOf = ({ columns, rows, size }: Component): Uint8ClampedArray =>
  new Uint8ClampedArray(columns * rows * size * size);

/**
 * JPEG(baseline と progressive)の読み取り。画素の値は TF(libjpeg-turbo)と 1 階調も違わない。
 * 既存の JavaScript の実装は色差の補間と IDCT が違い、画素が数階調から数十階調ずれるので使わない。
 *
 * @see ITU-T T.81
 */
class JpegDecoder {
  private at = 2;
  private frame: Frame | undefined;
  private readonly quantization: (Uint16Array | undefined)[] = [];
  private readonly dc: (HuffmanTable | undefined)[] = [];
  private readonly ac: (HuffmanTable | undefined)[] = [];
  private restartInterval = 0;
  private jfif = false;
  private adobe: number | undefined;
  private scans = 0;

  constructor(
    private readonly bytes: Uint8Array,
    private readonly options: JpegOptions,
  ) {
    if (bytes[0] !== 0xff || bytes[1] !== 0xd8) throw new InvalidJpeg("not a JPEG");
  }

  /** 大きさと成分の数だけを読む。 */
  header(): Pixels["shape"] {
    while (this.frame === undefined) {
      if (!this.segment()) throw new InvalidJpeg("no frame");
    }
    return [this.frame.height, this.frame.width, this.frame.components.length];
  }

  decode(): Pixels {
    while (this.segment());
    const { frame } = this;
    if (frame === undefined || this.scans === 0) throw new InvalidJpeg("no image data");
    if (frame.progressive) for (const component of frame.components) this.transformAll(component);
    const space = this.colorSpace(frame);
    const natural = Math.min(frame.components.length, 3);
    const channels = (this.options.channels || natural) as 1 | 3;
    if (channels !== 1 && channels !== 3) throw new InvalidJpeg("unsupported number of components");
    const { ratio } = this.options;
    const width = Math.ceil(frame.width / ratio);
    const height = Math.ceil(frame.height / ratio);
    const fancy = this.options.fancyUpscaling && ratio < 8;
    // 白黒にするなら輝度の面だけでよい。
    const needed = channels === 1 && space === "ycc" ? 1 : frame.components.length;
    const planes = frame.components.slice(0, needed).map((component): Plane => {
      const plane = {
        data: component.plane ?? this.blank(component),
        stride: component.columns * component.size,
        width: component.width,
        height: component.height,
      };
      const scale = 8 / ratio / component.size;
      const across = (frame.maxAcross * scale) / component.across;
      const down = (frame.maxDown * scale) / component.down;
      if (!Number.isInteger(across) || !Number.isInteger(down)) {
        throw new InvalidJpeg("fractional sampling");
      }
      return upsample(plane, width, height, across, down, fancy);
    });
    const data = assemblePixels(planes, space, channels, width, height, this.adobe !== undefined);
    return { shape: [height, width, channels], data };
  }

  /** 標識 1 つぶん進む。 @returns 終わりに達したら false。 */
  private segment(): boolean {
    const marker = this.nextMarker();
    if (marker === undefined) {
      if (this.scans > 0 || this.options.recoverTruncated) return false;
      throw new InvalidJpeg("premature end of data");
    }
    if (marker === 0xd9) return false;
    if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8)) return true;
    const length = this.uint16(this.at);
    const start = this.at + 2;
    const end = this.at + length;
    if (length < 2 || end > this.bytes.length) {
      if (this.scans > 0) return false;
      throw new InvalidJpeg("premature end of data");
    }
    this.at = end;
    switch (marker) {
      case 0xc0:
      case 0xc1:
      case 0xc2:
        this.readFrame(start, end, marker === 0xc2);
        break;
      case 0xc4:
        this.readHuffman(start, end);
        break;
      case 0xda:
        this.readScan(start, end);
        break;
      case 0xdb:
        this.readQuantization(start, end);
        break;
      case 0xdd:
        this.restartInterval = this.uint16(start);
        break;
      case 0xe0:
        if (end - start >= 14 && this.matches(start, "JFIF\0")) this.jfif = true;
        break;
      case 0xee:
        if (end - start >= 12 && this.matches(start, "Adobe")) this.adobe = this.bytes[start + 11]!;
        break;
      default:
        if (marker >= 0xc3 && marker <= 0xcf && marker !== 0xc8 && marker !== 0xcc) {
          throw new InvalidJpeg("unsupported coding process");
        }
    }
    return true;
  }

  private nextMarker(): number | undefined {
    const { bytes } = this;
    while (this.at + 1 < bytes.length) {
      if (bytes[this.at] === 0xff && bytes[this.at + 1] !== 0xff && bytes[this.at + 1] !== 0) {
        const marker = bytes[this.at + 1]!;
        this.at += 2;
        return marker;
      }
      this.at++;
    }
    return undefined;
  }

  private uint16(at: number): number {
    return ((this.bytes[at] ?? 0) << 8) | (this.bytes[at + 1] ?? 0);
  }

  private matches(at: number, text: string): boolean {
    for (let i = 0; i < text.length; i++) if (this.bytes[at + i] !== text.charCodeAt(i)) return false;
    return true;
  }

  private readFrame(start: number, end: number, progressive: boolean): void {
    if (this.frame !== undefined) throw new InvalidJpeg("two frames");
    const { bytes } = this;
    if (bytes[start] !== 8) throw new InvalidJpeg("unsupported precision");
    const height = this.uint16(start + 1);
    const width = this.uint16(start + 3);
    const count = bytes[start + 5]!;
    if (height === 0 || width === 0 || count === 0 || count > 4 || end - start !== 6 + count * 3) {
      throw new InvalidJpeg("bad frame");
    }
    if (width * height * count >= MAX_SAMPLES) throw new InvalidJpeg("too large");
    const components = Array.from({ length: count }, (_, i): Component => {
      const at = start + 6 + i * 3;
      return {
        id: bytes[at]!,
        across: bytes[at + 1]! >> 4,
        down: bytes[at + 1]! & 15,
        quantizer: bytes[at + 2]!,
        size: 8,
        width: 0,
        height: 0,
        columns: 0,
        rows: 0,
        coefficients: undefined,
        plane: undefined,
        table: undefined,
        dc: undefined,
        ac: undefined,
        predictor: 0,
      };
    });
    if (components.some(({ across, down }) => across < 1 || across > 4 || down < 1 || down > 4)) {
      throw new InvalidJpeg("bad sampling factors");
    }
    const maxAcross = Math.max(...components.map(({ across }) => across));
    const maxDown = Math.max(...components.map(({ down }) => down));
    let blocks = 0;
    const least = 8 / this.options.ratio;
    for (const component of components) {
      const { across, down } = component;
      let size = least;
      while (
        size < 8 &&
        (maxAcross * least) % (across * size * 2) === 0 &&
        (maxDown * least) % (down * size * 2) === 0
      ) {
        size *= 2;
      }
      component.size = size;
      component.width = Math.ceil((width * across * size) / (maxAcross * 8));
      component.height = Math.ceil((height * down * size) / (maxDown * 8));
      component.columns = Math.ceil(width / (8 * maxAcross)) * across;
      component.rows = Math.ceil(height / (8 * maxDown)) * down;
      blocks += component.columns * component.rows;
    }
    // どのブロックも 1 ビットは要る。小さなファイルに巨大な大きさを名乗られても確保しない。
    if (blocks > bytes.length * 8 && !this.options.recoverTruncated) throw new InvalidJpeg("too little data");
    this.frame = { width, height, progressive, components, maxAcross, maxDown };
  }

  private readHuffman(start: number, end: number): void {
    let at = start;
    while (at + 17 <= end) {
      const target = this.bytes[at]!;
      const counts = this.bytes.subarray(at + 1, at + 17);
      const total = counts.reduce((sum, n) => sum + n, 0);
      if ((target & 15) > 3 || target >> 4 > 1 || total > 256 || at + 17 + total > end) {
        throw new InvalidJpeg("bad Huffman table");
      }
      const values = this.bytes.subarray(at + 17, at + 17 + total);
      (target >> 4 === 0 ? this.dc : this.ac)[target & 15] = new HuffmanTable({ counts, values });
      at += 17 + total;
    }
  }

  private readQuantization(start: number, end: number): void {
    let at = start;
    while (at < end) {
      const target = this.bytes[at]!;
      const wide = target >> 4 !== 0;
      if ((target & 15) > 3 || at + 1 + (wide ? 128 : 64) > end)
        throw new InvalidJpeg("bad quantization table");
      at++;
      const table = new Uint16Array(64);
      for (let k = 0; k < 64; k++) {
        table[zigzag[k]!] = wide ? this.uint16(at) : this.bytes[at]!;
        at += wide ? 2 : 1;
      }
      this.quantization[target & 15] = table;
    }
  }

  private readScan(start: number, end: number): void {
    const { bytes, frame } = this;
    const count = bytes[start]!;
    if (frame === undefined || count < 1 || count > 4 || end - start !== 4 + count * 2) {
      throw new InvalidJpeg("bad scan");
    }
    const chosen = Array.from({ length: count }, (_, i) => {
      const component = frame.components.find(({ id }) => id === bytes[start + 1 + i * 2]);
      if (component === undefined) throw new InvalidJpeg("unknown component");
      const tables = bytes[start + 2 + i * 2]!;
      component.dc = this.dc[tables >> 4];
      component.ac = this.ac[tables & 15];
      component.predictor = 0;
      component.table ??= this.latch(component);
      return component;
    });
    const tail = end - 3;
    const range: ScanRange = frame.progressive
      ? {
          start: bytes[tail]!,
          end: bytes[tail + 1]!,
          high: bytes[tail + 2]! >> 4,
          low: bytes[tail + 2]! & 15,
        }
      : { start: 0, end: 63, high: 0, low: 0 };
    if (range.start > range.end || range.end > 63 || range.low > 13 || (range.start > 0 && count !== 1)) {
      throw new InvalidJpeg("bad scan range");
    }
    // 同じ範囲を何度も走査させて時間を使わせる細工を断る。
    if (++this.scans > 100) throw new InvalidJpeg("too many scans");
    const bits = new BitReader(bytes, this.at, this.options.recoverTruncated);
    const reader = frame.progressive
      ? progressiveReader(bits, range)
      : { read: sequentialReader(bits), restart: (): void => {} };
    this.walk(frame, chosen, bits, reader);
    this.at = bits.at;
  }

  private latch({ quantizer, size }: Component): Int32Array {
    const table = this.quantization[quantizer];
    if (table === undefined) throw new InvalidJpeg("missing quantization table");
    return this.options.accurate || size < 8 ? accurateTable(table) : fastTable(table);
  }

  /** MCU を順に訪れる。成分が 1 つなら、その成分のブロックの順。 */
  private walk(
    frame: Frame,
    chosen: readonly Component[],
    bits: BitReader,
    { read, restart }: { read: ReadBlock; restart: () => void },
  ): void {
    const single = chosen.length === 1 ? chosen[0] : undefined;
    const across = single
      ? Math.ceil(single.width / single.size)
      : Math.ceil(frame.width / (8 * frame.maxAcross));
    const down = single
      ? Math.ceil(single.height / single.size)
      : Math.ceil(frame.height / (8 * frame.maxDown));
    const scratch = new Int16Array(64);
    const visit = (component: Component, row: number, column: number): void => {
      if (frame.progressive) {
        component.coefficients ??= new Int16Array(component.columns * component.rows * 64);
        read(component, component.coefficients, (row * component.columns + column) * 64);
        return;
      }
      scratch.fill(0);
      read(component, scratch, 0);
      this.transform(component, scratch, 0, row, column);
    };
    let left = this.restartInterval;
    for (let y = 0; y < down; y++) {
      for (let x = 0; x < across; x++) {
        if (this.restartInterval > 0 && left-- === 0) {
          bits.skipRestart();
          restart();
          for (const component of chosen) component.predictor = 0;
          left = this.restartInterval - 1;
        }
        if (single) {
          visit(single, y, x);
          continue;
        }
        for (const component of chosen) {
          for (let v = 0; v < component.down; v++) {
            for (let h = 0; h < component.across; h++) {
              visit(component, y * component.down + v, x * component.across + h);
            }
          }
        }
      }
    }
    bits.align();
    // 標識の無いまま終わるデータは、libjpeg も途中で切れたとみなす。
    if (!this.options.recoverTruncated && !bits.atMarker()) throw new InvalidJpeg("premature end of data");
  }

  private readonly block = new Int32Array(64);

  private transform(component: Component, source: Int16Array, at: number, row: number, column: number): void {
    component.plane ??= planeOf(component);
    const { block } = this;
    for (let i = 0; i < 64; i++) block[i] = source[at + i]!;
    const { size } = component;
    const stride = component.columns * size;
    const idct = reduced[size] ?? (this.options.accurate ? accurateIdct : fastIdct);
    idct(block, component.table!, component.plane, (row * stride + column) * size, stride);
  }

  private transformAll(component: Component): void {
    const { coefficients, columns, rows } = component;
    if (coefficients === undefined) return;
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        this.transform(component, coefficients, (row * columns + column) * 64, row, column);
      }
    }
    component.coefficients = undefined;
  }

  /** 一度も走査されなかった成分は灰色。 */
  private blank(component: Component): Uint8ClampedArray {
    return planeOf(component).fill(128);
  }

  private colorSpace({ components }: Frame): ColorSpace {
    switch (components.length) {
      case 1:
        return "gray";
      case 3: {
        if (this.jfif) return "ycc";
        if (this.adobe !== undefined) return this.adobe === 0 ? "rgb" : "ycc";
        return components.map(({ id }) => String.fromCharCode(id)).join("") === "RGB" ? "rgb" : "ycc";
      }
      case 4:
        return this.adobe === 2 ? "ycck" : "cmyk";
      default:
        throw new InvalidJpeg("unsupported number of components");
    }
  }
}

/** @throws InvalidJpeg */
export function decodeJpeg(bytes: Uint8Array, options: JpegOptions): Pixels {
  return new JpegDecoder(bytes, options).decode();
}

/**
 * @returns [高さ, 幅, 成分の数]。
 * @throws InvalidJpeg
 */
export function jpegShape(bytes: Uint8Array): Pixels["shape"] {
  const options = {
    channels: 0,
    accurate: false,
    ratio: 1,
    fancyUpscaling: true,
    recoverTruncated: true,
  } as const;
  return new JpegDecoder(bytes, options).header();
}
