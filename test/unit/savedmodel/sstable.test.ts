import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { compressSnappy } from "../../../scripts/fuzz/snappy_writer.ts";
import { Code, type StatusError } from "../../../src/base/status.ts";
import { crc32c, maskCrc } from "../../../src/savedmodel/crc32c.ts";
import { compareBytes, readTable, type TableEntry, writeTable } from "../../../src/savedmodel/sstable.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);

/** ブロックを手で組み、検査合計まで付けてファイルにする。嘘も書ける。 */
function buildTable(
  blocks: readonly { contents: Uint8Array; type?: number; stored?: Uint8Array }[],
  index?: number[],
): Uint8Array {
  const parts: number[] = [];
  const push = (stored: Uint8Array, type: number): number[] => {
    const at = parts.length;
    const body = [...stored, type];
    const crc = maskCrc(crc32c(Uint8Array.from(body)));
    parts.push(...body, crc & 255, (crc >>> 8) & 255, (crc >>> 16) & 255, crc >>> 24);
    return [...varint(at), ...varint(stored.length)];
  };
  const handles = blocks.map(({ contents, type = 0, stored }) => push(stored ?? contents, type));
  const meta = push(block([]), 0);
  const rows = handles.map((handle, i) => ({ key: Uint8Array.of(i + 1), value: Uint8Array.from(handle) }));
  const indexHandle = push(index === undefined ? block(rows) : Uint8Array.from(index), 0);
  const footer = [...meta, ...indexHandle];
  while (footer.length < 40) footer.push(0);
  return Uint8Array.from([...parts, ...footer, 0x57, 0xfb, 0x80, 0x8b, 0x24, 0x75, 0x47, 0xdb]);
}

const varint = (value: number): number[] =>
  value < 128 ? [value] : [(value & 127) | 128, ...varint(value >>> 7)];

function block(entries: readonly TableEntry[]): Uint8Array {
  const body = entries.flatMap(({ key, value }) => [
    0,
    ...varint(key.length),
    ...varint(value.length),
    ...key,
    ...value,
  ]);
  return Uint8Array.from([...body, 0, 0, 0, 0, 1, 0, 0, 0]);
}

const rows = (...keys: string[]): TableEntry[] =>
  keys.map((key) => ({ key: utf8(key), value: utf8(`v:${key}`) }));

describe("readTable()", () => {
  test("Snappy で圧縮されたブロックを読む", () => {
    const contents = block(rows("aaaa", "aaab", "aaac"));
    const file = buildTable([{ contents, type: 1, stored: compressSnappy(contents) }]);
    expect(readTable(file)).toEqual(rows("aaaa", "aaab", "aaac"));
  });

  const good = buildTable([{ contents: block(rows("a")) }, { contents: block(rows("b")) }]);
  const broken: [string, Uint8Array, RegExp][] = [
    ["短すぎる", good.subarray(0, 47), /too short to be an sstable/],
    ["目印が違う", good.with(good.length - 1, 0), /bad magic number/],
    ["中身が 1 ビット違う", good.with(3, 98), /checksum mismatch at 0/],
    ["知らない圧縮", buildTable([{ contents: block(rows("a")), type: 2 }]), /compression type 2/],
    [
      "並びが逆",
      buildTable([{ contents: block(rows("b")) }, { contents: block(rows("a")) }]),
      /out of order/,
    ],
    ["同じキー", buildTable([{ contents: block(rows("a", "a")) }]), /out of order/],
    [
      "共有が前のキーより長い",
      buildTable([{ contents: Uint8Array.of(1, 1, 0, 97, 0, 0, 0, 0, 1, 0, 0, 0) }]),
      /shares more/,
    ],
    [
      "値がブロックの外",
      buildTable([{ contents: Uint8Array.of(0, 1, 9, 97, 0, 0, 0, 0, 1, 0, 0, 0) }]),
      /runs past its block/,
    ],
    ["再起点の数の嘘", buildTable([{ contents: Uint8Array.of(0, 0, 0, 9) }]), /restart array/],
    ["短いブロック", buildTable([{ contents: Uint8Array.of(0) }]), /block is too short/],
    [
      "数が切れる",
      buildTable([{ contents: Uint8Array.of(0x80, 0, 0, 0, 0, 1, 0, 0, 0) }]),
      /number is truncated/,
    ],
    [
      "大きすぎる数",
      buildTable([{ contents: Uint8Array.of(...Array<number>(9).fill(0xff), 0, 0, 0, 0, 1, 0, 0, 0) }]),
      /out of range/,
    ],
    [
      "終わらない数",
      buildTable([{ contents: Uint8Array.of(...Array<number>(12).fill(0x80), 0, 0, 0, 0, 1, 0, 0, 0) }]),
      /too long/,
    ],
    [
      "索引がファイルの外を指す",
      buildTable([], [0, 1, 3, 97, 0xff, 0xff, 0x7f, 0, 0, 0, 0, 1, 0, 0, 0]),
      /number is truncated|past the end/,
    ],
  ];
  test.each(broken)("%s は DATA_LOSS", (_, file, message) => {
    let caught: unknown;
    try {
      readTable(file);
    } catch (error) {
      caught = error;
    }
    expect((caught as StatusError).code).toBe(Code.DATA_LOSS);
    expect((caught as StatusError).message).toMatch(message);
  });

  test("1 つのブロックを何度も指して膨らませることはできない", () => {
    const contents = block(rows("a"));
    const handle = [0, contents.length];
    const index = block([1, 2].map((key) => ({ key: Uint8Array.of(key), value: Uint8Array.from(handle) })));
    expect(() => readTable(buildTable([{ contents }], [...index]))).toThrow("out of order");
  });

  test("前のキーの共有を繰り返して膨らませることはできない", () => {
    const body = [0, ...varint(1000), 0, ...Array<number>(1000).fill(97)];
    for (let i = 0; i < 200; i++) body.push(...varint(1000 + i), 1, 0, 97);
    const contents = Uint8Array.from([...body, 0, 0, 0, 0, 1, 0, 0, 0]);
    expect(() => readTable(buildTable([{ contents }]))).toThrow("expand beyond reason");
  });
});

describe("writeTable()", () => {
  const anyRows = fc
    .uniqueArray(fc.uint8Array({ maxLength: 12 }), { comparator: (a, b) => compareBytes(a, b) === 0 })
    .chain((keys) =>
      fc.tuple(
        fc.constant(keys),
        fc.array(fc.uint8Array({ maxLength: 40 }), { minLength: keys.length, maxLength: keys.length }),
      ),
    )
    .map(([keys, values]) => [...keys].sort(compareBytes).map((key, i) => ({ key, value: values[i]! })));

  test("書いたものは読める", () => {
    fc.assert(
      fc.property(anyRows, (entries) => {
        expect(readTable(writeTable(entries))).toEqual(entries);
      }),
    );
  });

  test("256 KiB を越えるとブロックを分け、索引のキーを短くする", () => {
    const entries = Array.from({ length: 1500 }, (_, i) => ({
      key: utf8(`key/${String(i * 3).padStart(6, "0")}/suffix`),
      value: new Uint8Array(300).fill(i),
    }));
    const file = writeTable(entries);
    expect(readTable(file)).toEqual(entries);
    const footer = file.subarray(file.length - 48);
    const numbers: number[] = [];
    for (let at = 0, value = 0, scale = 1; numbers.length < 4; at++) {
      value += (footer[at]! & 127) * scale;
      scale *= 128;
      if (footer[at]! >= 128) continue;
      numbers.push(value);
      value = 0;
      scale = 1;
    }
    const [, , offset, size] = numbers;
    const index = Buffer.from(file.subarray(offset, offset! + size!)).toString("latin1");
    // 間のキーは違う 1 文字で切られ、最後のキーは先頭の 1 文字に 1 を足したものになる。
    expect(index).not.toContain("suffix");
    expect(index).toContain("key/002512\0");
    expect(index).toContain("l");
  });

  test("短くできないキーはそのまま使う", () => {
    const value = new Uint8Array(262144);
    const entries = [[0xff], [0xff, 0x00], [0xff, 0xff], [0xff, 0xff, 0x00]].map((key) => ({
      key: Uint8Array.from(key),
      value,
    }));
    expect(readTable(writeTable(entries)).map(({ key }) => [...key])).toEqual(
      entries.map(({ key }) => [...key]),
    );
  });
});
