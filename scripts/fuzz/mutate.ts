import type { Random } from "./random.ts";

const MAX_EDITS = 6;
/** 長さや個数の欄に置かれると効く値。 */
const poison = [
  [0x00],
  [0x01],
  [0x7f],
  [0x80],
  [0xff],
  [0xff, 0xff, 0xff, 0xff, 0x0f],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
  [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
];

/** 1 から数箇所を書き換える。 */
export function mutate(random: Random, input: Uint8Array): Uint8Array {
  let bytes: Uint8Array = input.slice();
  // 半分は 1 箇所だけ。壊しすぎると、入り口の検査で止まって奥に届かない。
  const most = random.below(2) === 0 ? 1 : MAX_EDITS;
  for (let edits = 1 + random.below(most); edits > 0; edits--) bytes = edit(random, bytes);
  return bytes;
}

function edit(random: Random, bytes: Uint8Array): Uint8Array {
  const at = random.below(bytes.length);
  const length = 1 + random.below(Math.min(64, bytes.length - at));
  switch (random.below(9)) {
    case 0:
      if (bytes.length > 0) bytes[at]! ^= 1 << random.below(8);
      return bytes;
    case 1:
      if (bytes.length > 0) bytes[at] = random.below(256);
      return bytes;
    case 2:
      return bytes.slice(0, at);
    case 3:
      return splice(bytes, at, length, new Uint8Array(0));
    case 4:
      return splice(bytes, at, 0, bytes.slice(at, at + length));
    case 5:
      return splice(
        bytes,
        at,
        0,
        Uint8Array.from({ length }, () => random.below(256)),
      );
    case 6:
      return splice(bytes, at, length, new Uint8Array(length));
    case 7: {
      const from = random.below(bytes.length);
      return splice(bytes, at, length, bytes.slice(from, from + length));
    }
    default: {
      const value = random.pick(poison);
      return splice(bytes, at, random.below(2) === 0 ? value.length : 1, Uint8Array.from(value));
    }
  }
}

function splice(bytes: Uint8Array, at: number, remove: number, insert: Uint8Array): Uint8Array {
  const tail = bytes.subarray(Math.min(bytes.length, at + remove));
  const out = new Uint8Array(at + insert.length + tail.length);
  out.set(bytes.subarray(0, at));
  out.set(insert, at);
  out.set(tail, at + insert.length);
  return out;
}
