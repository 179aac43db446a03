import { type HuffmanSpec, zigzag } from "./jpeg_tables.ts";

/** 途中で終わった、または読めないデータ。 */
export class InvalidJpeg extends Error {}

/** 8 ビットまでの符号は表を 1 回引いて読む。 */
export class HuffmanTable {
  /** 下位 8 ビットが値、上位が長さ。0 は 9 ビット以上。 */
  private readonly quick = new Uint16Array(256);
  private readonly maxCode = new Int32Array(18).fill(-1);
  private readonly offset = new Int32Array(17);

  constructor(private readonly spec: HuffmanSpec) {
    let code = 0;
    let index = 0;
    for (let length = 1; length <= 16; length++) {
      this.offset[length] = index - code;
      for (let i = 0; i < spec.counts[length - 1]!; i++, index++, code++) {
        if (length > 8) continue;
        const first = code << (8 - length);
        this.quick.fill((length << 8) | spec.values[index]!, first, first + (1 << (8 - length)));
      }
      if (code > 1 << length) throw new InvalidJpeg("bad Huffman table");
      this.maxCode[length] = spec.counts[length - 1]! > 0 ? code - 1 : -1;
      code <<= 1;
    }
  }

  read(bits: BitReader): number {
    const entry = this.quick[bits.peek8()]!;
    if (entry !== 0) {
      bits.drop(entry >> 8);
      return entry & 0xff;
    }
    let code = bits.take(8);
    for (let length = 9; length <= 16; length++) {
      code = (code << 1) | bits.take(1);
      if (code <= this.maxCode[length]!) return this.spec.values[code + this.offset[length]!] ?? 0;
    }
    // libjpeg は知らない符号を 0 として読み続ける。
    return 0;
  }
}

/** エントロピー符号化された区間を、ビット単位で読む。 */
export class BitReader {
  private buffer = 0;
  private count = 0;
  private zeros = false;

  /**
   * @param at 区間の始まり。
   * @param recover データが尽きたら 0 を読み続けるか(`try_recover_truncated`)。
   */
  constructor(
    private readonly bytes: Uint8Array,
    public at: number,
    private readonly recover: boolean,
  ) {}

  /** 端に達していれば、足りない分は 0。 */
  private fill(need: number): void {
    while (this.count < need) {
      let byte = 0;
      if (!this.zeros) byte = this.next();
      this.buffer = ((this.buffer << 8) | byte) & 0xffffff;
      this.count += 8;
    }
  }

  /** 先読みの余りで端を越えても、実際に使うまでは失敗にしない。 */
  private overdrawn = 0;

  private next(): number {
    if (this.at >= this.bytes.length) {
      this.overdrawn += 8;
      return 0;
    }
    const byte = this.bytes[this.at]!;
    if (byte !== 0xff) {
      this.at++;
      return byte;
    }
    let after = this.at + 1;
    while (this.bytes[after] === 0xff) after++;
    if (after >= this.bytes.length) {
      this.at = this.bytes.length;
      this.overdrawn += 8;
      return 0;
    }
    if (this.bytes[after] === 0) {
      this.at = after + 1;
      return 0xff;
    }
    // 次の標識に当たった。以後は 0 が続く。
    this.zeros = true;
    return 0;
  }

  private used(): void {
    if (this.overdrawn > this.count && !this.recover) throw new InvalidJpeg("premature end of data");
  }

  peek8(): number {
    this.fill(8);
    return (this.buffer >> (this.count - 8)) & 0xff;
  }

  drop(bits: number): void {
    this.count -= bits;
    if (this.overdrawn > 0) this.used();
  }

  take(bits: number): number {
    if (bits === 0) return 0;
    this.fill(bits);
    this.count -= bits;
    if (this.overdrawn > 0) this.used();
    return (this.buffer >> this.count) & ((1 << bits) - 1);
  }

  /** `bits` ビットの符号つきの値。 */
  extend(bits: number): number {
    if (bits === 0) return 0;
    const value = this.take(bits);
    return value < 1 << (bits - 1) ? value - (1 << bits) + 1 : value;
  }

  /** 余りのビットを捨て、次の標識の直前まで進む。 */
  align(): void {
    this.buffer = 0;
    this.count = 0;
    this.overdrawn = 0;
    this.zeros = false;
  }

  /** この先に標識があるか。 */
  atMarker(): boolean {
    for (let at = this.at; at + 1 < this.bytes.length; at++) {
      if (this.bytes[at] === 0xff && this.bytes[at + 1] !== 0 && this.bytes[at + 1] !== 0xff) return true;
    }
    return false;
  }

  /** 再開の標識を読み飛ばす。無ければ動かない。 */
  skipRestart(): void {
    this.align();
    let at = this.at;
    while (
      at + 1 < this.bytes.length &&
      !(this.bytes[at] === 0xff && this.bytes[at + 1]! > 0 && this.bytes[at + 1] !== 0xff)
    )
      at++;
    const marker = this.bytes[at + 1] ?? 0;
    if (marker >= 0xd0 && marker <= 0xd7) this.at = at + 2;
  }
}

/** 走査に加わる成分 1 つ。 */
export interface ScanComponent {
  dc: HuffmanTable | undefined;
  ac: HuffmanTable | undefined;
  /** 直前の DC の値。 */
  predictor: number;
}

/** 走査の範囲(逐次なら 0, 63, 0, 0)。 */
export interface ScanRange {
  readonly start: number;
  readonly end: number;
  readonly high: number;
  readonly low: number;
}

/** 1 ブロックを `block` の `at` から読み込む関数。 */
export type ReadBlock = (component: ScanComponent, block: Int16Array, at: number) => void;

function table(given: HuffmanTable | undefined): HuffmanTable {
  if (given === undefined) throw new InvalidJpeg("missing Huffman table");
  return given;
}

/** 逐次(baseline)のブロック。 */
export function sequentialReader(bits: BitReader): ReadBlock {
  return (component, block, at) => {
    component.predictor += bits.extend(table(component.dc).read(bits) & 15);
    block[at] = component.predictor;
    const ac = table(component.ac);
    for (let k = 1; k < 64; k++) {
      const symbol = ac.read(bits);
      const size = symbol & 15;
      if (size === 0) {
        if (symbol >> 4 !== 15) return;
        k += 15;
        continue;
      }
      k += symbol >> 4;
      block[at + zigzag[k]!] = bits.extend(size);
    }
  };
}

/** 段階的(progressive)のブロック。@see ITU-T T.81 Annex G */
export function progressiveReader(
  bits: BitReader,
  range: ScanRange,
): { read: ReadBlock; restart: () => void } {
  const { start, end, high, low } = range;
  let run = 0;
  const restart = (): void => {
    run = 0;
  };
  const bit = 1 << low;

  const dcFirst: ReadBlock = (component, block, at) => {
    component.predictor += bits.extend(table(component.dc).read(bits) & 15);
    block[at] = component.predictor << low;
  };
  const dcRefine: ReadBlock = (_, block, at) => {
    if (bits.take(1) === 1) block[at]! |= bit;
  };
  const acFirst: ReadBlock = (component, block, at) => {
    if (run > 0) {
      run--;
      return;
    }
    const ac = table(component.ac);
    for (let k = start; k <= end; k++) {
      const symbol = ac.read(bits);
      const [zeros, size] = [symbol >> 4, symbol & 15];
      if (size !== 0) {
        k += zeros;
        block[at + zigzag[k]!] = bits.extend(size) << low;
      } else if (zeros === 15) {
        k += 15;
      } else {
        run = (1 << zeros) - 1 + bits.take(zeros);
        return;
      }
    }
  };
  const refine = (block: Int16Array, position: number): void => {
    const value = block[position]!;
    if (bits.take(1) === 1 && (value & bit) === 0) block[position] = value + (value >= 0 ? bit : -bit);
  };
  const acRefine: ReadBlock = (component, block, at) => {
    let k = start;
    if (run === 0) {
      const ac = table(component.ac);
      for (; k <= end; k++) {
        const symbol = ac.read(bits);
        let zeros = symbol >> 4;
        let fresh = 0;
        if ((symbol & 15) !== 0) {
          fresh = bits.take(1) === 1 ? bit : -bit;
        } else if (zeros < 15) {
          run = (1 << zeros) + bits.take(zeros);
          break;
        }
        for (; k <= end; k++) {
          const position = at + zigzag[k]!;
          if (block[position] !== 0) refine(block, position);
          else if (zeros-- === 0) break;
        }
        if (fresh !== 0) block[at + zigzag[k]!] = fresh;
      }
    }
    if (run > 0) {
      for (; k <= end; k++) {
        const position = at + zigzag[k]!;
        if (block[position] !== 0) refine(block, position);
      }
      run--;
    }
  };
  const read = start === 0 ? (high === 0 ? dcFirst : dcRefine) : high === 0 ? acFirst : acRefine;
  return { read, restart };
}
