const K0 = 0xc3a5c85c97cb3127n;
const K1 = 0xb492b66fbe98f273n;
const K2 = 0x9ae16a3b2f90404fn;
const M = 0xffffffffffffffffn;

const mul = (a: bigint, b: bigint): bigint => (a * b) & M;
const rotate = (v: bigint, by: bigint): bigint => ((v >> by) | (v << (64n - by))) & M;
const shiftMix = (v: bigint): bigint => v ^ (v >> 47n);

function hashLength16(u: bigint, v: bigint, by: bigint): bigint {
  const a = shiftMix(mul((u ^ v) & M, by));
  const b = shiftMix(mul((v ^ a) & M, by));
  return mul(b, by);
}

type Read = (at: number) => bigint;

function hashUpTo16(bytes: Uint8Array, view: DataView, read: Read): bigint {
  const length = bytes.length;
  const by = (K2 + BigInt(length * 2)) & M;
  if (length >= 8) {
    const a = (read(0) + K2) & M;
    const b = read(length - 8);
    const c = (mul(rotate(b, 37n), by) + a) & M;
    const d = mul((rotate(a, 25n) + b) & M, by);
    return hashLength16(c, d, by);
  }
  if (length >= 4) {
    const a = BigInt(view.getUint32(0, true));
    const b = BigInt(view.getUint32(length - 4, true));
    return hashLength16((BigInt(length) + (a << 3n)) & M, b, by);
  }
  if (length > 0) {
    const y = BigInt(bytes[0]! + (bytes[length >> 1]! << 8));
    const z = BigInt(length + (bytes[length - 1]! << 2));
    return mul(shiftMix(mul(y, K2) ^ mul(z, K0)), K2);
  }
  return K2;
}

function hashUpTo32(length: number, read: Read): bigint {
  const by = (K2 + BigInt(length * 2)) & M;
  const a = mul(read(0), K1);
  const b = read(8);
  const c = mul(read(length - 8), by);
  const d = mul(read(length - 16), K2);
  return hashLength16(
    (rotate((a + b) & M, 43n) + rotate(c, 30n) + d) & M,
    (a + rotate((b + K2) & M, 18n) + c) & M,
    by,
  );
}

function hashUpTo64(length: number, read: Read): bigint {
  const by = (K2 + BigInt(length * 2)) & M;
  const a = mul(read(0), K2);
  const b = read(8);
  const c = mul(read(length - 8), by);
  const d = mul(read(length - 16), K2);
  const y = (rotate((a + b) & M, 43n) + rotate(c, 30n) + d) & M;
  const z = hashLength16(y, (a + rotate((b + K2) & M, 18n) + c) & M, by);
  const e = mul(read(16), by);
  const f = read(24);
  const g = mul((y + read(length - 32)) & M, by);
  const h = mul((z + read(length - 24)) & M, by);
  return hashLength16(
    (rotate((e + f) & M, 43n) + rotate(g, 30n) + h) & M,
    (e + rotate((f + a) & M, 18n) + g) & M,
    by,
  );
}

function weakHash32(read: Read, at: number, seedA: bigint, seedB: bigint): [bigint, bigint] {
  const last = read(at + 24);
  const first = (seedA + read(at)) & M;
  const sum = (first + read(at + 8) + read(at + 16)) & M;
  const turned = rotate((seedB + first + last) & M, 21n);
  return [(sum + last) & M, (turned + rotate(sum, 44n) + first) & M];
}

function hashLong(length: number, read: Read): bigint {
  let x = 81n;
  let y = (mul(81n, K1) + 113n) & M;
  let z = mul(shiftMix((mul(y, K2) + 113n) & M), K2);
  let v: [bigint, bigint] = [0n, 0n];
  let w: [bigint, bigint] = [0n, 0n];
  x = (mul(x, K2) + read(0)) & M;
  const end = Math.floor((length - 1) / 64) * 64;
  for (let at = 0; at < end; at += 64) {
    x = mul(rotate((x + y + v[0] + read(at + 8)) & M, 37n), K1);
    y = mul(rotate((y + v[1] + read(at + 48)) & M, 42n), K1);
    x ^= w[1];
    y = (y + v[0] + read(at + 40)) & M;
    z = mul(rotate((z + w[0]) & M, 33n), K1);
    v = weakHash32(read, at, mul(v[1], K1), (x + w[0]) & M);
    w = weakHash32(read, at + 32, (z + w[1]) & M, (y + read(at + 16)) & M);
    [x, z] = [z, x];
  }
  const by = (K1 + ((z & 0xffn) << 1n)) & M;
  const at = length - 64;
  w[0] = (w[0] + BigInt((length - 1) & 63)) & M;
  v[0] = (v[0] + w[0]) & M;
  w[0] = (w[0] + v[0]) & M;
  x = mul(rotate((x + y + v[0] + read(at + 8)) & M, 37n), by);
  y = mul(rotate((y + v[1] + read(at + 48)) & M, 42n), by);
  x ^= mul(w[1], 9n);
  y = (y + mul(v[0], 9n) + read(at + 40)) & M;
  z = mul(rotate((z + w[0]) & M, 33n), by);
  v = weakHash32(read, at, mul(v[1], by), (x + w[0]) & M);
  w = weakHash32(read, at + 32, (z + w[1]) & M, (y + read(at + 16)) & M);
  [x, z] = [z, x];
  return hashLength16(
    (hashLength16(v[0], w[0], by) + mul(shiftMix(y), K0) + z) & M,
    (hashLength16(v[1], w[1], by) + x) & M,
    by,
  );
}

/**
 * FarmHash の Fingerprint64(CPU によらず同じ値)。StringToHashBucketFast などの土台で、
 * 学習時と 1 bit でも違えば埋め込みの行がずれるので、長さの区分ごとに TF の値で確かめてある。
 *
 * @returns 符号なし 64 bit。
 * @see https://github.com/google/farmhash farmhashna::Hash64
 */
export function fingerprint64(bytes: Uint8Array): bigint {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const read: Read = (at) => view.getBigUint64(at, true);
  if (bytes.length <= 16) return hashUpTo16(bytes, view, read);
  if (bytes.length <= 32) return hashUpTo32(bytes.length, read);
  if (bytes.length <= 64) return hashUpTo64(bytes.length, read);
  return hashLong(bytes.length, read);
}

const CAT = 0xc6a4a7935bd1e995n;

/**
 * 二つの指紋を順に混ぜる。SparseCross が列を掛け合わせるのに使う。
 *
 * @see tensorflow/core/platform/fingerprint.h FingerprintCat64
 */
export function fingerprintCat64(first: bigint, second: bigint): bigint {
  let result = first ^ CAT;
  result ^= mul(shiftMix(mul(second, CAT)), CAT);
  result = mul(result, CAT);
  result = mul(shiftMix(result), CAT);
  return shiftMix(result);
}
