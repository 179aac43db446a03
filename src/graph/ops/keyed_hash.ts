const M = 0xffffffffffffffffn;
const rotateLeft = (v: bigint, by: bigint): bigint => ((v << by) | (v >> (64n - by))) & M;

/**
 * SipHash-2-4。StringToHashBucketStrong が使う鍵つきハッシュ。
 *
 * @param key 符号なし 64 bit 二つ。
 * @returns 符号なし 64 bit。
 * @see https://www.aumasson.jp/siphash/siphash.pdf
 */
export function sipHash(key: readonly [bigint, bigint], bytes: Uint8Array): bigint {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let v0 = key[0] ^ 0x736f6d6570736575n;
  let v1 = key[1] ^ 0x646f72616e646f6dn;
  let v2 = key[0] ^ 0x6c7967656e657261n;
  let v3 = key[1] ^ 0x7465646279746573n;
  const round = (): void => {
    v0 = (v0 + v1) & M;
    v1 = rotateLeft(v1, 13n) ^ v0;
    v0 = rotateLeft(v0, 32n);
    v2 = (v2 + v3) & M;
    v3 = rotateLeft(v3, 16n) ^ v2;
    v0 = (v0 + v3) & M;
    v3 = rotateLeft(v3, 21n) ^ v0;
    v2 = (v2 + v1) & M;
    v1 = rotateLeft(v1, 17n) ^ v2;
    v2 = rotateLeft(v2, 32n);
  };
  const absorb = (word: bigint): void => {
    v3 ^= word;
    round();
    round();
    v0 ^= word;
  };
  const whole = bytes.length & ~7;
  for (let at = 0; at < whole; at += 8) absorb(view.getBigUint64(at, true));
  let last = BigInt(bytes.length & 0xff) << 56n;
  for (let at = whole; at < bytes.length; at++) last |= BigInt(bytes[at]!) << BigInt(8 * (at - whole));
  absorb(last);
  v2 ^= 0xffn;
  for (let i = 0; i < 4; i++) round();
  return v0 ^ v1 ^ v2 ^ v3;
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
