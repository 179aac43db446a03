import { invalidArgument } from "../../base/status.ts";
import { tensor } from "../../tensor/tensor.ts";
import { bytesOf } from "./bytes.ts";
import { fingerprint64 } from "./farmhash.ts";
import { hash64, sipHash } from "./keyed_hash.ts";
import type { Attrs, HostKernel, OpRow } from "./registry.ts";

function buckets(attrs: Attrs, hash: (text: Uint8Array) => bigint): HostKernel {
  const count = attrs.bigint("num_buckets");
  if (count < 1n)
    throw invalidArgument(`Value for attr 'num_buckets' of ${count} must be at least minimum 1`);
  return ([input]) => {
    const texts = bytesOf(input!);
    const out = new BigInt64Array(texts.length);
    for (let i = 0; i < out.length; i++) out[i] = hash(texts[i]!) % count;
    return tensor("int64", input!.shape, out);
  };
}

/** 文字列を桶の番号にする演算。どの CPU でも TF と同じ番号になる。 */
export const stringHashOps: readonly OpRow[] = [
  { op: "StringToHashBucketFast", host: ({ attrs }) => buckets(attrs, fingerprint64) },
  { op: "StringToHashBucket", host: ({ attrs }) => buckets(attrs, hash64) },
  {
    op: "StringToHashBucketStrong",
    host: ({ attrs }) => {
      const key = attrs.bigints("key");
      if (key.length !== 2) throw invalidArgument("Key must have 2 elements");
      const pair = key.map((part) => BigInt.asUintN(64, part)) as [bigint, bigint];
      return buckets(attrs, (text) => sipHash(pair, text));
    },
  },
];
