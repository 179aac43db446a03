import { staticTable } from "./hpack_table.ts";

const exact = new Map(staticTable.map(({ name, value }, i) => [`${name} ${value}`, i + 1]));
/** 同じ名前の行は並んでいるので、最初のものを残す。 */
const byName = new Map(staticTable.map(({ name }, i) => [name, i + 1] as const).reverse());

function putInteger(out: number[], first: number, prefix: number, value: number): void {
  const most = 2 ** prefix - 1;
  if (value < most) {
    out.push(first | value);
    return;
  }
  out.push(first | most);
  let rest = value - most;
  for (; rest >= 0x80; rest >>>= 7) out.push((rest & 0x7f) | 0x80);
  out.push(rest);
}

function putString(out: number[], text: string): void {
  putInteger(out, 0, 7, text.length);
  for (let i = 0; i < text.length; i++) out.push(text.charCodeAt(i) & 0xff);
}

/**
 * 表に載せず、Huffman 符号も使わずに書く。状態が無いので同じヘッダーはいつも同じバイトになり、
 * 作り置いて使い回せる。表を持たない相手(nginx の grpc_pass)にもそのまま通じる。
 *
 * @param fields 名前は小文字。文字は 1 バイトに収まること。
 */
export function encodeHeaders(fields: Iterable<readonly [name: string, value: string]>): Uint8Array {
  const out: number[] = [];
  for (const [name, value] of fields) {
    const whole = exact.get(`${name} ${value}`);
    if (whole !== undefined) {
      putInteger(out, 0x80, 7, whole);
      continue;
    }
    const index = byName.get(name) ?? 0;
    putInteger(out, 0, 4, index);
    if (index === 0) putString(out, name);
    putString(out, value);
  }
  return Uint8Array.from(out);
}
