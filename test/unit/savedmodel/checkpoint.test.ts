import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { create, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import type { StatusError } from "../../../src/base/status.ts";
import { DataType } from "../../../src/gen/tensorflow/core/framework/types_pb.ts";
import {
  BundleEntryProtoSchema,
  BundleHeaderProto_Endianness,
  BundleHeaderProtoSchema,
} from "../../../src/gen/tensorflow/core/protobuf/tensor_bundle_pb.ts";
import { CheckpointReader, writeCheckpoint } from "../../../src/savedmodel/checkpoint.ts";
import { crc32c, maskCrc } from "../../../src/savedmodel/crc32c.ts";
import { compareBytes, readTable, writeTable } from "../../../src/savedmodel/sstable.ts";
import { diskStorage, memoryStorage, type Storage } from "../../../src/savedmodel/storage.ts";
import { type Tensor, tensor } from "../../../src/tensor/tensor.ts";
import { anyTensor } from "../tensor/arbitrary_tensor.ts";

const BUNDLES = `${import.meta.dir}/../../fixtures/bundles`;

interface Expected {
  readonly dtype: string;
  readonly shape: number[];
  readonly values: string[];
}
const expected: Record<string, Record<string, Expected>> = JSON.parse(
  readFileSync(`${BUNDLES}/expected.json`, "utf8"),
);

/** 期待値と同じ書き方。実数は 16 進を読み戻して比べる。 */
function plain({ data }: Tensor): (string | number)[] {
  if (Array.isArray(data)) return data.map((item) => Buffer.from(item).toString("base64"));
  if (data instanceof Float32Array || data instanceof Float64Array) return Array.from(data);
  return Array.from(data as Int32Array, String);
}

function parseHexFloat(text: string): number {
  const match = /^(-?)0x(\d)\.([0-9a-f]+)p([+-]\d+)$/.exec(text);
  if (match === null) return Number(text.replace("inf", "Infinity"));
  const [, sign, whole, digits, exponent] = match;
  const value = Number.parseInt(whole! + digits!, 16) * 2 ** (Number(exponent) - 4 * digits!.length);
  return sign === "-" ? -value : value;
}

const tfNames: Record<string, string> = { float32: "float", float64: "double", float16: "half" };

describe("TensorFlow が書いたチェックポイント", () => {
  test.each(Object.keys(expected))("%s の値がすべて一致する", async (bundle) => {
    await using reader = await CheckpointReader.open(diskStorage, `${BUNDLES}/${bundle}`);
    expect([...reader.entries.keys()].sort()).toEqual(Object.keys(expected[bundle]!).sort());
    for (const [name, { dtype, shape, values }] of Object.entries(expected[bundle]!)) {
      const value = await reader.read(name);
      expect([name, value.dtype, value.shape]).toEqual([
        name,
        (tfNames[dtype] ?? dtype) as Tensor["dtype"],
        shape,
      ]);
      const numbers = value.data instanceof Float32Array || value.data instanceof Float64Array;
      expect(plain(value)).toEqual(numbers ? values.map(parseHexFloat) : values);
    }
  });

  test.each(["dtypes", "many"])("%s は書き直すと 1 バイトも違わない", async (bundle) => {
    const prefix = `${BUNDLES}/${bundle}`;
    await using reader = await CheckpointReader.open(diskStorage, prefix);
    const names = Object.keys(expected[bundle]!);
    const values = new Map<string, Tensor>();
    for (const name of names) values.set(name, await reader.read(name));
    const files = writeCheckpoint("x", values);
    expect([...files.keys()]).toEqual(["x.index", "x.data-00000-of-00001"]);
    expect(files.get("x.index")).toEqual(new Uint8Array(readFileSync(`${prefix}.index`)));
    expect(files.get("x.data-00000-of-00001")).toEqual(
      new Uint8Array(readFileSync(`${prefix}.data-00000-of-00001`)),
    );
  });

  test("切片の境目をまたぐ部分も、ちょうど 1 つの切片も読める", async () => {
    await using reader = await CheckpointReader.open(diskStorage, `${BUNDLES}/partitioned`);
    const part = await reader.read("rows", "7 5 2,3:1,2");
    expect(part).toEqual(tensor("float", [3, 2], new Float32Array([11, 12, 16, 17, 21, 22])));
    expect((await reader.read("columns", "7 5 -:0,3")).shape).toEqual([7, 3]);
    expect(await reader.read("wide", "300 2 299,1:-")).toEqual(
      tensor("int64", [1, 2], new BigInt64Array([598n, 599n])),
    );
    expect((await reader.read("wide", "300 2 5,0:-")).shape).toEqual([0, 2]);
  });

  test("切片でない変数の一部も読める", async () => {
    await using reader = await CheckpointReader.open(diskStorage, `${BUNDLES}/dtypes`);
    expect(await reader.read("numeric/int16", "2 3 1,1:1,2")).toEqual(
      tensor("int16", [1, 2], new Int16Array([3, 127])),
    );
    expect(await reader.read("complex/64", "2 1,1")).toEqual(
      tensor("complex64", [1], new Float32Array([0, -3.5])),
    );
  });

  test("data ファイルのどの 1 バイトが変わっても、どれかの変数が DATA_LOSS になる", async () => {
    const files = new Map(
      readdirSync(BUNDLES)
        .filter((name) => name.startsWith("sharded."))
        .map((name): [string, Uint8Array] => [
          `/${name}`,
          new Uint8Array(readFileSync(`${BUNDLES}/${name}`)),
        ]),
    );
    for (const [path, bytes] of files) {
      if (path.endsWith(".index")) continue;
      for (let at = 0; at < bytes.length; at++) {
        const flipped = new Map(files).set(path, bytes.with(at, bytes[at]! ^ 1));
        await using reader = await CheckpointReader.open(memoryStorage(flipped), "/sharded");
        const outcomes = await Promise.allSettled(
          Array.from(reader.entries.keys(), (name) => reader.read(name)),
        );
        const failed = outcomes.filter((outcome) => outcome.status === "rejected");
        expect(failed.length).toBe(1);
        expect((failed[0] as PromiseRejectedResult).reason.toString()).toMatch(
          /^DATA_LOSS: \/sharded\.data-0000\d-of-00003; .*checksum mismatch/,
        );
      }
    }
  });
});

test("writeCheckpoint() で書いたものは読める", async () => {
  const names = fc.uniqueArray(fc.string({ minLength: 1, unit: "grapheme" }), { maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(names, fc.array(anyTensor, { minLength: 6, maxLength: 6 }), async (keys, values) => {
      const clean = keys.filter((key) => !key.startsWith("\0"));
      const tensors = new Map(clean.map((key, i): [string, Tensor] => [key, values[i]!]));
      const files = writeCheckpoint("/m/variables", tensors);
      await using reader = await CheckpointReader.open(memoryStorage(files), "/m/variables");
      for (const [name, value] of tensors) {
        expect(reader.entries.get(name)).toMatchObject({ dtype: value.dtype, shape: value.shape });
        expect(await reader.read(name)).toEqual(value);
      }
      expect(reader.entries.size).toBe(tensors.size);
    }),
  );
});

interface Row {
  readonly key: string | Uint8Array;
  readonly entry: Parameters<typeof create<typeof BundleEntryProtoSchema>>[1];
}

function bundle(
  rows: readonly Row[],
  data: Uint8Array,
  header: Parameters<typeof create<typeof BundleHeaderProtoSchema>>[1] = {
    numShards: 1,
    version: { producer: 1 },
  },
): Map<string, Uint8Array> {
  const table = rows.map(({ key, entry }) => ({
    key: typeof key === "string" ? new TextEncoder().encode(key) : key,
    value: toBinary(BundleEntryProtoSchema, create(BundleEntryProtoSchema, entry)),
  }));
  table.push({
    key: new Uint8Array(0),
    value: toBinary(BundleHeaderProtoSchema, create(BundleHeaderProtoSchema, header)),
  });
  table.sort((a, b) => compareBytes(a.key, b.key));
  return new Map([
    ["/b.index", writeTable(table)],
    ["/b.data-00000-of-00001", data],
  ]);
}

const shape = (...dims: number[]) => ({ dim: dims.map((size) => ({ size: BigInt(size) })) });
const floats = new Uint8Array(new Float32Array([1, 2, 3, 4]).buffer);
const whole = (from: number, to: number) => maskCrc(crc32c(floats.subarray(from, to)));

async function outcome(files: Map<string, Uint8Array>, name = "x", slice = ""): Promise<string> {
  try {
    await using reader = await CheckpointReader.open(memoryStorage(files), "/b");
    return String((await reader.read(name, slice)).data);
  } catch (error) {
    return String(error as StatusError);
  }
}

describe("big endian", () => {
  test("数値と文字列の検査合計の前の並びを直す", async () => {
    const header = { numShards: 1, endianness: BundleHeaderProto_Endianness.BIG };
    const number = Uint8Array.of(0x3f, 0x80, 0, 0);
    // 文字列 "ab": 長さ 2、長さ(big endian 32 ビット)の検査合計、中身。
    const lengths = crc32c(Uint8Array.of(0, 0, 0, 2));
    const check = new Uint8Array(4);
    new DataView(check.buffer).setUint32(0, maskCrc(lengths));
    const text = Uint8Array.of(2, ...check, 97, 98);
    const files = bundle(
      [
        { key: "n", entry: { dtype: DataType.DT_FLOAT, size: 4n, crc32c: maskCrc(crc32c(number)) } },
        {
          key: "s",
          entry: {
            dtype: DataType.DT_STRING,
            offset: 4n,
            size: 7n,
            crc32c: maskCrc(crc32c(Uint8Array.of(...check, 97, 98), lengths)),
          },
        },
      ],
      Uint8Array.of(...number, ...text),
      header,
    );
    expect(await outcome(files, "n")).toBe("1");
    expect(await outcome(files, "s")).toBe("97,98");
  });
});

describe("嘘をつくチェックポイント", () => {
  const x = { dtype: DataType.DT_FLOAT, shape: shape(4), size: 16n, crc32c: whole(0, 16) };
  const extent = (start: number, length: number) => ({
    extent: [{ start: BigInt(start), hasLengthHack: { case: "length" as const, value: BigInt(length) } }],
  });
  // 名前 "x" の切片 [start, start+length) のキー。64 未満の数は 1 バイト。
  const sliceOf = (start: number, length: number) =>
    Uint8Array.of(0, 0x78, 0, 1, 1, 1, 0x80 ^ start, 0x80 ^ length);
  const half = (start: number, length: number, more: object = {}): Row => ({
    key: sliceOf(start, length),
    entry: {
      dtype: DataType.DT_FLOAT,
      shape: shape(length),
      offset: BigInt(4 * start),
      size: BigInt(4 * length),
      crc32c: whole(4 * start, 4 * (start + length)),
      ...more,
    },
  });
  const sliced = (...slices: object[]): Row => ({
    key: "x",
    entry: { dtype: DataType.DT_FLOAT, shape: shape(4), slices },
  });

  test("元の形は正しく読める", async () => {
    expect(await outcome(bundle([{ key: "x", entry: x }], floats))).toBe("1,2,3,4");
    expect(await outcome(bundle([sliced(extent(0, 1), extent(1, 3)), half(0, 1), half(1, 3)], floats))).toBe(
      "1,2,3,4",
    );
    expect(
      await outcome(
        bundle([sliced(extent(0, 1), extent(1, 3)), half(0, 1), half(1, 3)], floats),
        "x",
        "4 1,3",
      ),
    ).toBe("2,3,4");
  });

  const lies: [string, Map<string, Uint8Array>, RegExp][] = [
    [
      "検査合計",
      bundle([{ key: "x", entry: { ...x, crc32c: 1 } }], floats),
      /^DATA_LOSS: \/b\.data-00000-of-00001; Tensor x: checksum mismatch/,
    ],
    ["ファイルの外", bundle([{ key: "x", entry: x }], floats.subarray(1)), /needs 16 bytes, the file has 15/],
    [
      "遠い位置",
      bundle([{ key: "x", entry: { ...x, offset: 2n ** 62n } }], floats),
      /^DATA_LOSS: \/b\.index; Tensor x lies at/,
    ],
    ["負の位置", bundle([{ key: "x", entry: { ...x, offset: -1n } }], floats), /lies at -1/],
    ["形と大きさ", bundle([{ key: "x", entry: { ...x, shape: shape(5) } }], floats), /has 16 bytes/],
    [
      "巨大な形",
      bundle([{ key: "x", entry: { ...x, shape: shape(2 ** 40, 2 ** 40) } }], floats),
      /too many elements/,
    ],
    ["負の次元", bundle([{ key: "x", entry: { ...x, shape: shape(-1) } }], floats), /negative dimension/],
    [
      "文字列の数",
      bundle([{ key: "x", entry: { ...x, dtype: DataType.DT_STRING, shape: shape(99) } }], floats),
      /has 16 bytes/,
    ],
    ["無いデータファイル", bundle([{ key: "x", entry: { ...x, shardId: 1 } }], floats), /in shard 1 of 1/],
    [
      "重なる変数",
      bundle(
        [
          { key: "x", entry: x },
          { key: "y", entry: { ...x, offset: 8n } },
        ],
        floats,
      ),
      /Tensors x and y overlap/,
    ],
    ["データファイルの数", bundle([], floats, { numShards: 0 }), /has 0 shards/],
    [
      "読めない版",
      bundle([], floats, { numShards: 1, version: { minConsumer: 2 } }),
      /^INVALID_ARGUMENT: .*version 2/,
    ],
    [
      "資源型",
      bundle([{ key: "x", entry: { dtype: DataType.DT_VARIANT } }], floats),
      /^UNIMPLEMENTED: .*variant/,
    ],
    ["無い名前", bundle([], floats), /^NOT_FOUND: Key x not found in checkpoint/],
    [
      "無い切片",
      bundle([sliced(extent(0, 1), extent(1, 3)), half(0, 1)], floats),
      /Slice 1,3 of x is missing/,
    ],
    ["足りない切片", bundle([sliced(extent(0, 1)), half(0, 1)], floats), /do not cover/],
    [
      "重なる切片",
      bundle([sliced(extent(0, 2), extent(1, 3)), half(0, 2, { offset: 16n }), half(1, 3)], floats),
      /0,2 and 1,3 of x overlap/,
    ],
    ["はみ出す切片", bundle([sliced(extent(3, 2)), half(3, 2)], floats), /3,2 does not fit/],
    [
      "形の違う切片",
      bundle([sliced(extent(0, 4)), half(0, 4, { shape: shape(2, 2) })], floats),
      /another type or shape/,
    ],
    ["階数の違う切片", bundle([sliced({ extent: [] })], floats), /does not fit shape/],
    [
      "protobuf でない行",
      new Map([
        [
          "/b.index",
          writeTable([
            { key: new Uint8Array(0), value: Uint8Array.of(8, 1) },
            { key: Uint8Array.of(120), value: Uint8Array.of(0xff) },
          ]),
        ],
      ]),
      /^DATA_LOSS: .*not a valid protobuf/,
    ],
    [
      "見出しが無い",
      new Map([["/b.index", writeTable([{ key: Uint8Array.of(120), value: new Uint8Array(0) }])]]),
      /no header/,
    ],
    ["索引が無い", new Map(), /^NOT_FOUND: \/b\.index; No such file/],
  ];
  test.each(lies)("%s", async (_, files, message) => {
    expect(await outcome(files)).toMatch(message);
  });

  const strings: [string, number[], RegExp][] = [
    ["長さが切れる", [0x80], /lengths are malformed/],
    ["検査合計が切れる", [1, 0, 0], /lengths are malformed/],
    ["長さの検査合計", [1, 0, 0, 0, 0, 97], /lengths checksum mismatch/],
  ];
  test.each(strings)("文字列の%s", async (_, bytes, message) => {
    const entry = { dtype: DataType.DT_STRING, size: BigInt(bytes.length), crc32c: 0 };
    expect(await outcome(bundle([{ key: "x", entry }], Uint8Array.from(bytes)))).toMatch(message);
  });

  const specs: [string, RegExp][] = [
    ["4 0,5", /^INVALID_ARGUMENT: slice 0,5 does not fit/],
    ["5 0,4", /does not match the shape stored in checkpoint: \[4\]/],
    ["4 a", /Invalid slice/],
    ["q 0,4", /Invalid shape/],
    ["4 -:-", /does not fit/],
  ];
  test.each(specs)("shape_and_slices %j", async (spec, message) => {
    expect(await outcome(bundle([{ key: "x", entry: x }], floats), "x", spec)).toMatch(message);
  });

  test("文字列の一部は読めない", async () => {
    const files = writeCheckpoint(
      "/b",
      new Map([["x", tensor("string", [2], [Uint8Array.of(1), Uint8Array.of(2)])]]),
    );
    expect(await outcome(new Map(files), "x", "2 0,1")).toMatch(/^UNIMPLEMENTED/);
  });
});

test("キーの昇順で名前を返し、切片の行は隠す", async () => {
  const rows = readTable(new Uint8Array(readFileSync(`${BUNDLES}/partitioned.index`)));
  expect(rows.length).toBeGreaterThan(4);
  await using reader = await CheckpointReader.open(diskStorage, `${BUNDLES}/partitioned`);
  expect([...reader.entries.keys()]).toEqual(["columns", "rows", "wide"]);
});

describe("checkRanges()", () => {
  const prefix = "/m/variables/variables";
  const dataFile = `${prefix}.data-00000-of-00001`;
  const written = writeCheckpoint(
    prefix,
    new Map([
      ["a", tensor("float", [3], Float32Array.of(1, 2, 3))],
      ["b", tensor("string", [], [new TextEncoder().encode("tail")])],
    ]),
  );
  const index = written.get(`${prefix}.index`)!;
  const data = written.get(dataFile)!;
  const check = async (files: [string, Uint8Array][]): Promise<void> => {
    await using reader = await CheckpointReader.open(
      memoryStorage(new Map([[`${prefix}.index`, index], ...files])),
      prefix,
    );
    await reader.checkRanges();
  };

  test("収まっていれば何も言わない", async () => {
    await check([[dataFile, data]]);
  });

  test("末尾が切れていれば、どの変数かを言う", async () => {
    await expect(check([[dataFile, data.subarray(0, data.length - 1)]])).rejects.toThrow(/Tensor b/);
  });

  test("ファイルが無ければ NOT_FOUND", async () => {
    await expect(check([])).rejects.toThrow(`${dataFile}; No such file or directory`);
  });
});

/** 穴だらけの大きなファイルを持つ置き場所。書かれていない所は 0。 */
function sparseStorage(
  index: Uint8Array,
  dataBytes: number,
  written: ReadonlyMap<number, Uint8Array>,
): Storage {
  const memory = memoryStorage(new Map([["/b.index", index]]));
  return {
    ...memory,
    open: async (path) =>
      path === "/b.index"
        ? await memory.open(path)
        : {
            bytes: dataBytes,
            readInto: async (position, target) => {
              target.fill(0);
              for (const [at, bytes] of written) {
                const from = Math.max(position, at);
                const to = Math.min(position + target.length, at + bytes.length);
                if (from < to) target.set(bytes.subarray(from - at, to - at), from - position);
              }
            },
            [Symbol.asyncDispose]: async () => {},
          },
  };
}

test("数千の変数の索引は何枚もの塊になり、4 GiB より先の変数も読める", async () => {
  const far = 5 * 2 ** 30 + 3;
  const value = new Uint8Array(Float32Array.of(1.5, -2).buffer);
  const entry = (offset: number, bytes: Uint8Array) => ({
    dtype: DataType.DT_FLOAT,
    shape: { dim: [{ size: BigInt(bytes.length / 4) }] },
    offset: BigInt(offset),
    size: BigInt(bytes.length),
    crc32c: maskCrc(crc32c(bytes)),
  });
  const written = new Map([[far, value]]);
  const rows = Array.from({ length: 6000 }, (_, i) => {
    const name = `layer_with_weights-${String(i).padStart(4, "0")}/kernel/.ATTRIBUTES/VARIABLE_VALUE`;
    return {
      key: new TextEncoder().encode(name),
      value: toBinary(
        BundleEntryProtoSchema,
        create(BundleEntryProtoSchema, entry(i * 4, new Uint8Array(4))),
      ),
    };
  });
  const last = {
    key: new TextEncoder().encode("z"),
    value: toBinary(BundleEntryProtoSchema, create(BundleEntryProtoSchema, entry(far, value))),
  };
  const header = {
    key: new Uint8Array(0),
    value: toBinary(
      BundleHeaderProtoSchema,
      create(BundleHeaderProtoSchema, { numShards: 1, version: { producer: 1 } }),
    ),
  };
  const index = writeTable([header, ...rows, last]);
  expect(index.length).toBeGreaterThan(262_144);
  await using reader = await CheckpointReader.open(sparseStorage(index, far + value.length, written), "/b");
  await reader.checkRanges();
  expect(reader.entries.size).toBe(6001);
  expect(Array.from((await reader.read("z")).data as Float32Array)).toEqual([1.5, -2]);
});
