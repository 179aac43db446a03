/** 試験のための素朴な圧縮。すべての印(文字列、3 種の写し)を使う。 */
export function compressSnappy(input: Uint8Array): Uint8Array {
  const out: number[] = [];
  let rest = input.length;
  while (rest >= 128) {
    out.push((rest & 127) | 128);
    rest >>>= 7;
  }
  out.push(rest);
  const seen = new Map<number, number>();
  let literal = 0;
  const flush = (end: number) => {
    while (literal < end) {
      const count = Math.min(end - literal, 70);
      if (count <= 60) out.push((count - 1) << 2);
      else out.push(60 << 2, count - 1);
      out.push(...input.subarray(literal, literal + count));
      literal += count;
    }
  };
  let at = 0;
  while (at + 4 <= input.length) {
    const word = input[at]! | (input[at + 1]! << 8) | (input[at + 2]! << 16) | (input[at + 3]! << 24);
    const from = seen.get(word);
    seen.set(word, at);
    if (from === undefined) {
      at++;
      continue;
    }
    let count = 4;
    while (count < 64 && at + count < input.length && input[at + count] === input[from + count]) count++;
    flush(at);
    const offset = at - from;
    if (count <= 11 && offset < 2048) out.push(1 | ((count - 4) << 2) | ((offset >>> 8) << 5), offset & 255);
    else if (at % 2 === 0) out.push(2 | ((count - 1) << 2), offset & 255, offset >>> 8);
    else out.push(3 | ((count - 1) << 2), offset & 255, (offset >>> 8) & 255, (offset >>> 16) & 255, 0);
    at += count;
    literal = at;
  }
  flush(input.length);
  return Uint8Array.from(out);
}
