/** half の 16 ビット列を float に広げる(正確)。 */
export function fromHalfBits(bits: Uint16Array): Float32Array {
  return new Float32Array(new Float16Array(bits.buffer, bits.byteOffset, bits.length));
}

/** 最も近い half(同点は偶数)の 16 ビット列。範囲の外は無限大。 */
export function toHalfBits(values: Float32Array): Uint16Array {
  return new Uint16Array(new Float16Array(values).buffer);
}

/** 最も近い half(同点は偶数)の値。倍精度から直に丸めるので二重に丸まらない。 */
export function roundToHalf(value: number): number {
  return Math.f16round(value);
}

/** bfloat16 の 16 ビット列を float に広げる(正確)。 */
export function fromBfloat16Bits(bits: Uint16Array): Float32Array {
  const words = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) words[i] = bits[i]! << 16;
  return new Float32Array(words.buffer);
}

/**
 * 最も近い bfloat16(同点は偶数)の 16 ビット列。NaN は符号を保って静かな NaN 1 種にする。
 *
 * @see tensorflow/core/framework/bfloat16.h → Eigen float_to_bfloat16_rtne
 */
export function toBfloat16Bits(values: Float32Array): Uint16Array {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const bits = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) bits[i] = bfloat16OfWord(words[i]!);
  return bits;
}

function bfloat16OfWord(word: number): number {
  if ((word & 0x7fffffff) > 0x7f800000) return ((word >>> 31) << 15) | 0x7fc0;
  return (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
}

const scratch = new Float32Array(1);
const scratchWord = new Uint32Array(scratch.buffer);

/** 最も近い bfloat16 の値。TF と同じく、まず float に丸めてから bfloat16 に丸める。 */
export function roundToBfloat16(value: number): number {
  scratch[0] = value;
  scratchWord[0] = bfloat16OfWord(scratchWord[0]!) << 16;
  return scratch[0]!;
}
