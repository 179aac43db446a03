const M = 0xffffffffffffffffn;
/** 下位と上位の 32 bit に分けた 64 bit の語 4 つ。BigInt より十数倍速い。 */
class SipState {
  private readonly low = new Uint32Array(4);
  private readonly high = new Uint32Array(4);

  constructor(key: readonly [bigint, bigint]) {
    const [k0, k1] = key;
    const words = [
      k0 ^ 0x736f6d6570736575n,
      k1 ^ 0x646f72616e646f6dn,
      k0 ^ 0x6c7967656e657261n,
      k1 ^ 0x7465646279746573n,
    ];
    words.forEach((word, i) => {
      this.low[i] = Number(word & 0xffffffffn);
      this.high[i] = Number(word >> 32n);
    });
  }

  private add(to: number, from: number): void {
    const sum = this.low[to]! + this.low[from]!;
    this.high[to] = this.high[to]! + this.high[from]! + (sum > 0xffffffff ? 1 : 0);
    this.low[to] = sum;
  }

  /** `to` を左に回し、`by` と排他的論理和をとる。 */
  private turn(to: number, bits: number, by: number): void {
    const low = this.low[to]!;
    const high = this.high[to]!;
    this.low[to] = ((low << bits) | (high >>> (32 - bits))) ^ this.low[by]!;
    this.high[to] = ((high << bits) | (low >>> (32 - bits))) ^ this.high[by]!;
  }

  private swapHalves(to: number): void {
    const low = this.low[to]!;
    this.low[to] = this.high[to]!;
    this.high[to] = low;
  }

  private round(): void {
    this.add(0, 1);
    this.turn(1, 13, 0);
    this.swapHalves(0);
    this.add(2, 3);
    this.turn(3, 16, 2);
    this.add(0, 3);
    this.turn(3, 21, 0);
    this.add(2, 1);
    this.turn(1, 17, 2);
    this.swapHalves(2);
  }

  absorb(low: number, high: number): void {
    this.low[3]! ^= low;
    this.high[3]! ^= high;
    this.round();
    this.round();
    this.low[0]! ^= low;
    this.high[0]! ^= high;
  }

  finish(): bigint {
    this.low[2]! ^= 0xff;
    for (let i = 0; i < 4; i++) this.round();
    const fold = (words: Uint32Array): bigint =>
      BigInt((words[0]! ^ words[1]! ^ words[2]! ^ words[3]!) >>> 0);
    return (fold(this.high) << 32n) | fold(this.low);
  }
}

/**
 * SipHash-2-4。StringToHashBucketStrong が使う鍵つきハッシュ。
 *
 * @param key 符号なし 64 bit 二つ。
 * @returns 符号なし 64 bit。
 * @see https://www.aumasson.jp/siphash/siphash.pdf
 */
export function sipHash(key: readonly [bigint, bigint], bytes: Uint8Array): bigint {
  const state = new SipState(key);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const whole = bytes.length & ~7;
  for (let at = 0; at < whole; at += 8) state.absorb(view.getUint32(at, true), view.getUint32(at + 4, true));
  // 最後の語は、余りのバイトと、最上位に長さ。
  const tail = new Uint8Array(8);
  tail.set(bytes.subarray(whole));
  tail[7] = bytes.length;
  const last = new DataView(tail.buffer);
  state.absorb(last.getUint32(0, true), last.getUint32(4, true));
  return state.finish();
}

const MURMUR = 0xc6a4a7935bd1e995n;
const SEED = 0xdecafcaffen;

/**
 * TF の Hash64(MurmurHash64A、種は固定)。古い StringToHashBucket が使う。
 *
 * @returns 符号なし 64 bit。
 */
export function hash64(bytes: Uint8Array): bigint {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let h = SEED ^ ((BigInt(bytes.length) * MURMUR) & M);
  const whole = bytes.length & ~7;
  for (let at = 0; at < whole; at += 8) {
    let k = (view.getBigUint64(at, true) * MURMUR) & M;
    k ^= k >> 47n;
    h = ((h ^ ((k * MURMUR) & M)) * MURMUR) & M;
  }
  if (whole < bytes.length) {
    for (let at = whole; at < bytes.length; at++) h ^= BigInt(bytes[at]!) << BigInt(8 * (at - whole));
    h = (h * MURMUR) & M;
  }
  h ^= h >> 47n;
  h = (h * MURMUR) & M;
  return h ^ (h >> 47n);
}
