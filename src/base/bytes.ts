/** 素の Uint8Array に見せ直す。Buffer は slice が写さないなど、意味が違うため。写さない。 */
export function plainBytes({ buffer, byteOffset, byteLength }: Uint8Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** つなぐ。1 つなら写さない。 */
export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  return parts.length === 1 ? parts[0]! : plainBytes(Buffer.concat(parts));
}

/** Buffer の手続きを使うために見せ直す。写さない。 */
export const asBuffer = (bytes: Uint8Array): Buffer =>
  bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
