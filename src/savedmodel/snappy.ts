import { dataLoss } from "../base/status.ts";

/** 3 バイトの写しが 64 バイトになるのが最大。宣言された長さがこれを越える入力は嘘。 */
const MAX_EXPANSION = 64 / 3;

/**
 * Snappy の生ブロックを解く(枠組み形式ではない)。
 *
 * npm の実装は出力の長さを確かめず、長さの嘘を黙って受け入れるので自前で持つ。
 *
 * @throws DATA_LOSS 途中で切れている、範囲の外を写す、宣言と長さが違う。
 * @see https://github.com/google/snappy/blob/main/format_description.txt
 */
export function decompressSnappy(input: Uint8Array): Uint8Array {
  let at = 0;
  const next = (count: number): number => {
    if (at + count > input.length) throw dataLoss("Snappy data is truncated");
    let value = 0;
    for (let i = 0; i < count; i++) value += input[at++]! * 2 ** (8 * i);
    return value;
  };

  let length = 0;
  for (let scale = 1; ; scale *= 128) {
    const byte = next(1);
    length += (byte & 127) * scale;
    if (length > 0xffffffff || scale > 2 ** 28) throw dataLoss("Snappy length is out of range");
    if (byte < 128) break;
  }
  if (length > (input.length - at) * MAX_EXPANSION) {
    throw dataLoss(`Snappy data of ${input.length} bytes cannot hold ${length} bytes`);
  }

  const output = new Uint8Array(length);
  let to = 0;
  while (at < input.length) {
    const tag = input[at++]!;
    const kind = tag & 3;
    if (kind === 0) {
      const short = tag >>> 2;
      const count = (short < 60 ? short : next(short - 59)) + 1;
      if (at + count > input.length) throw dataLoss("Snappy literal is truncated");
      if (to + count > length) throw dataLoss("Snappy data is longer than declared");
      output.set(input.subarray(at, at + count), to);
      at += count;
      to += count;
      continue;
    }
    const count = kind === 1 ? ((tag >>> 2) & 7) + 4 : (tag >>> 2) + 1;
    const offset = kind === 1 ? ((tag >>> 5) << 8) + next(1) : next(kind === 2 ? 2 : 4);
    if (offset === 0 || offset > to) throw dataLoss("Snappy copy points before the start");
    if (to + count > length) throw dataLoss("Snappy data is longer than declared");
    // 写し元と写し先は重なってよく、その時は繰り返しになる。だから 1 バイトずつ進める。
    for (const end = to + count; to < end; to++) output[to] = output[to - offset]!;
  }
  if (to !== length) throw dataLoss(`Snappy data is ${to} bytes, ${length} declared`);
  return output;
}
