import { zlib } from "../base/late_builtins.ts";

/** 伸ばした後の大きさの上限。 @see tensorflow_serving/util/net_http/compression/gzip_zlib.h kMaxUncompressedBytes */
const MAX_INFLATED_BYTES = 100 * 1024 * 1024;

/** `Content-Encoding` に gzip の綴りが含まれるか(`x-gzip` なども)。大文字は数えない。 */
export function isGzip(contentEncoding: string | null): boolean {
  return contentEncoding?.includes("gzip") === true;
}

/**
 * gzip の 1 区画を伸ばす。大きさは末尾の 4 バイトを信じ、上限を超えれば伸ばさない。
 *
 * @returns gzip でない、壊れている、大きすぎるときは undefined。
 * @see tensorflow_serving/util/net_http/compression/gzip_zlib.cc UncompressGzipAndAllocate
 */
export function inflateBody(body: Uint8Array): Uint8Array | undefined {
  if (body.length < 4) return undefined;
  const size = new DataView(body.buffer, body.byteOffset).getUint32(body.length - 4, true);
  if (size > MAX_INFLATED_BYTES) return undefined;
  try {
    const inflated = zlib().gunzipSync(body, { maxOutputLength: Math.max(size, 1) });
    return inflated.length === size ? inflated : undefined;
  } catch {
    // 何が壊れていても客への答えは「空の本文」で、理由は区別されない。
    return undefined;
  }
}
