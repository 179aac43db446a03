import { invalidArgument } from "../../base/status.ts";
import { decodeText } from "./kernel_util.ts";

/**
 * 16 bit PCM の WAV の読み書き。
 *
 * @see tensorflow/core/lib/wav/wav_io.cc
 */
export interface Wave {
  /** チャンネルが交互に並ぶ、[−1, 1) の値。 */
  readonly samples: Float32Array;
  readonly frames: number;
  readonly channels: number;
  readonly sampleRate: number;
}

/** "fmt " の前にあってよい、読み飛ばす塊。 */
const skipped: ReadonlySet<string> = new Set([
  ...["JUNK", "bext", "iXML", "qlty", "mext", "levl", "link", "axml"],
]);
const SCALE = 2 ** 15;
const HEADER_BYTES = 44;

class Reader {
  readonly #view: DataView;
  at = 0;

  constructor(private readonly bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  get isAtEnd(): boolean {
    return this.at >= this.bytes.length;
  }

  /** @returns 進む前の位置。 */
  skip(count: number): number {
    const from = this.at;
    if (from + count > this.bytes.length) throw invalidArgument("Data too short when trying to read string");
    this.at += count;
    return from;
  }

  text(): string {
    const from = this.skip(4);
    return decodeText(this.bytes.subarray(from, from + 4));
  }

  uint16(): number {
    return this.#view.getUint16(this.skip(2), true);
  }

  uint32(): number {
    return this.#view.getUint32(this.skip(4), true);
  }

  samples(count: number): Float32Array {
    const from = this.skip(count * 2);
    return Float32Array.from({ length: count }, (_, i) => this.#view.getInt16(from + i * 2, true) / SCALE);
  }
}

function expectText(reader: Reader, wanted: string): void {
  const found = reader.text();
  if (found !== wanted) throw invalidArgument(`Header mismatch: Expected ${wanted} but found ${found}`);
}

/** @throws INVALID_ARGUMENT 読めない形式、足りない中身。 */
export function decodeWav(bytes: Uint8Array): Wave {
  const reader = new Reader(bytes);
  expectText(reader, "RIFF");
  reader.uint32();
  expectText(reader, "WAVE");
  for (let found = reader.text(); found !== "fmt "; found = reader.text()) {
    if (!skipped.has(found)) throw invalidArgument(`Unexpected field ${found}`);
    reader.skip(reader.uint32());
  }
  const formatBytes = reader.uint32();
  if (formatBytes !== 16 && formatBytes !== 18) {
    throw invalidArgument(`Bad format chunk size for WAV: Expected 16 or 18, but got${formatBytes}`);
  }
  const format = reader.uint16();
  if (format !== 1) throw invalidArgument(`Bad audio format for WAV: Expected 1 (PCM), but got${format}`);
  const channels = reader.uint16();
  if (channels < 1) {
    throw invalidArgument(`Bad number of channels for WAV: Expected at least 1, but got ${channels}`);
  }
  const sampleRate = reader.uint32();
  const bytesPerSecond = reader.uint32();
  const bytesPerFrame = reader.uint16();
  const bits = reader.uint16();
  if (bits !== 16) throw invalidArgument(`Can only read 16-bit WAV files, but received ${bits}`);
  if (bytesPerFrame !== channels * 2) {
    throw invalidArgument(
      `Bad bytes per sample in WAV header: Expected ${channels * 2} but got ${bytesPerFrame}`,
    );
  }
  const expected = Math.imul(bytesPerFrame, sampleRate) >>> 0;
  if (bytesPerSecond !== expected) {
    throw invalidArgument(
      `Bad bytes per second in WAV header: Expected ${expected} but got ${bytesPerSecond} (sample_rate=${sampleRate}, bytes_per_sample=${bytesPerFrame})`,
    );
  }
  if (formatBytes === 18) reader.skip(2);
  let wave: Wave | undefined;
  while (!reader.isAtEnd) {
    const id = reader.text();
    const size = reader.uint32();
    if (size > 2 ** 31 - 1) {
      throw invalidArgument(
        `WAV data chunk '${id}' is too large: ${size} bytes, but the limit is 2147483647`,
      );
    }
    if (id !== "data") {
      // 最後の塊は、書かれた長さより短くてもよい。
      reader.at += size;
      continue;
    }
    if (wave !== undefined) throw invalidArgument("More than one data chunk found in WAV");
    const frames = Math.floor(size / bytesPerFrame);
    wave = { samples: reader.samples(frames * channels), frames, channels, sampleRate };
  }
  if (wave === undefined) throw invalidArgument("No data chunk found in WAV");
  return wave;
}

/** 値は 16 bit に丸め、範囲に収める。 */
export function encodeWav(samples: Float32Array, channels: number, sampleRate: number): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + samples.length * 2);
  const view = new DataView(bytes.buffer);
  const text = (at: number, word: string) => bytes.set(new TextEncoder().encode(word), at);
  text(0, "RIFF");
  view.setUint32(4, bytes.length - 8, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, channels, true);
  view.setUint32(24, sampleRate, true);
  view.setUint32(28, sampleRate * channels * 2, true);
  view.setUint16(32, channels * 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, samples.length * 2, true);
  for (const [i, sample] of samples.entries()) {
    const scaled = Math.fround(sample * SCALE);
    // C の roundf は、半分を 0 から遠いほうへ丸める。
    const rounded = Math.sign(scaled) * Math.floor(Math.abs(scaled) + 0.5);
    view.setInt16(HEADER_BYTES + i * 2, Math.min(Math.max(rounded, -SCALE), SCALE - 1), true);
  }
  return bytes;
}
