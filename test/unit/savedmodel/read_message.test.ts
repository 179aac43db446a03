import { expect, test } from "bun:test";
import { join } from "node:path";
import {
  create,
  type DescField,
  type DescMessage,
  fromBinary,
  type Message,
  ScalarType,
  toBinary,
} from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import fc from "fast-check";
import { StatusError } from "../../../src/base/status.ts";
import { SavedModelSchema } from "../../../src/gen/tensorflow/core/protobuf/saved_model_pb.ts";
import {
  BundleEntryProtoSchema,
  BundleHeaderProtoSchema,
} from "../../../src/gen/tensorflow/core/protobuf/tensor_bundle_pb.ts";
import { readMessage } from "../../../src/savedmodel/read_message.ts";

const fixtures = join(import.meta.dir, "..", "..", "fixtures");
const models = [...new Bun.Glob("**/saved_model.pb").scanSync(fixtures)].sort();

/** 種から作った、入れ子の浅いメッセージ。どの欄も埋まりうる。 */
function made(desc: DescMessage, random: () => number, depth: number): Message {
  const values: Record<string, unknown> = {};
  const scalarOf = (field: DescField): unknown => {
    if (field.enum !== undefined) return Math.floor(random() * 5);
    switch (field.scalar) {
      case ScalarType.STRING:
        return ["", "a", "名前", "__proto__"][Math.floor(random() * 4)];
      case ScalarType.BYTES:
        return Uint8Array.from({ length: Math.floor(random() * 4) }, () => random() * 256);
      case ScalarType.BOOL:
        return random() < 0.5;
      case ScalarType.FLOAT:
        return Math.fround(random() * 1e9 - 5e8);
      case ScalarType.DOUBLE:
        return random() * 1e9 - 5e8;
      case ScalarType.INT64:
        return BigInt.asIntN(
          64,
          BigInt(Math.floor(random() * 2 ** 52)) * 4096n * BigInt(random() < 0.5 ? 1 : -1),
        );
      case ScalarType.UINT64:
      case ScalarType.FIXED64:
        return BigInt.asUintN(64, BigInt(Math.floor(random() * 2 ** 52)) * 4099n);
      case ScalarType.UINT32:
      case ScalarType.FIXED32:
        return Math.floor(random() * 2 ** 32);
      default:
        return Math.floor(random() * 2 ** 32) - 2 ** 31;
    }
  };
  const one = (field: DescField): unknown =>
    field.message === undefined ? scalarOf(field) : made(field.message, random, depth + 1);
  for (const field of desc.fields) {
    if (random() < (depth > 2 ? 0.8 : 0.3) || (field.message !== undefined && depth > 4)) continue;
    const count = Math.floor(random() * 3);
    if (field.fieldKind === "list") values[field.localName] = Array.from({ length: count }, () => one(field));
    else if (field.fieldKind === "map") {
      const keys = Array.from({ length: count }, (_, i) =>
        field.mapKey === ScalarType.STRING ? `k${i}` : i,
      );
      values[field.localName] = Object.fromEntries(keys.map((key) => [key, one(field)]));
    } else if (field.oneof !== undefined) {
      values[field.oneof.localName] = { case: field.localName, value: one(field) };
    } else values[field.localName] = one(field);
  }
  return create(desc, values);
}

const plain = { readUnknownFields: false };

test.each(models)("%s is read as protobuf-es reads it", async (path) => {
  const bytes = await Bun.file(join(fixtures, path)).bytes();
  expect(readMessage("tensorflow.SavedModel", bytes)).toEqual(fromBinary(SavedModelSchema, bytes, plain));
});

test.each([
  ["tensorflow.SavedModel", SavedModelSchema],
  ["tensorflow.BundleHeaderProto", BundleHeaderProtoSchema],
  ["tensorflow.BundleEntryProto", BundleEntryProtoSchema],
] as const)("any %s is read as protobuf-es reads it", (name, schema) => {
  fc.assert(
    fc.property(
      fc.infiniteStream(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })),
      (stream) => {
        const bytes = toBinary(
          schema as DescMessage,
          made(schema, () => stream.next().value as number, 0),
        );
        expect(readMessage(name, bytes)).toEqual(fromBinary(schema, bytes, plain) as never);
      },
    ),
    { numRuns: 300 },
  );
});

test("a message that is written twice is merged, as protobuf does", () => {
  const parts = [
    {
      metaGraphs: [
        { graphDef: { version: 3, node: [{ name: "a", attr: { x: { value: { case: "i", value: 1n } } } }] } },
      ],
    },
    { metaGraphs: [{ saverDef: { version: 2 } }] },
  ] as const;
  const [first, second] = parts.map(({ metaGraphs: [graph] }) => {
    const model = create(SavedModelSchema, { metaGraphs: [graph as never] });
    return toBinary(SavedModelSchema.field.metaGraphs.message!, model.metaGraphs[0]!);
  });
  // saver_def が 2 度、attr の値が 2 度。
  const graph = Buffer.concat([first!, second!, second!, first!]);
  const bytes = new BinaryWriter().tag(2, WireType.LengthDelimited).bytes(graph).finish();
  expect(readMessage("tensorflow.SavedModel", bytes)).toEqual(fromBinary(SavedModelSchema, bytes, plain));
});

test("fields that are not known, or have another wire type, are left out", () => {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.LengthDelimited).string("no number");
  writer.tag(1, WireType.Varint).int64(-7n);
  for (const [number, wire] of [
    [900, WireType.Varint],
    [901, WireType.Bit64],
    [902, WireType.Bit32],
  ] as const) {
    writer.tag(number, wire);
    if (wire === WireType.Varint) writer.uint64(2n ** 64n - 1n);
    else if (wire === WireType.Bit64) writer.fixed64(1n);
    else writer.fixed32(1);
  }
  writer.tag(903, WireType.LengthDelimited).string("skipped");
  expect(readMessage("tensorflow.SavedModel", writer.finish())).toEqual(
    create(SavedModelSchema, { savedModelSchemaVersion: -7n }),
  );
});

test.each([
  ["a number without an end", [8, ...Array.from({ length: 10 }, () => 0x80)], "has a malformed number"],
  ["a length beyond the end", [18, 5, 0], "is truncated"],
  ["a fixed number beyond the end", [(900 << 3) | 5, 0x38, 0], "is truncated"],
  ["the tag 0", [0], "has tag 0"],
  ["a group", [(5 << 3) | 3], "has wire type 3"],
  ["nesting without an end", nested(200), "nests deeper than 100"],
])("%s is refused", (_, bytes, message) => {
  expect(() => readMessage("tensorflow.SavedModel", Uint8Array.from(bytes))).toThrow(`protobuf ${message}`);
});

/** 属性の list の func の attr の list … と続くもの。 */
function nested(depth: number): number[] {
  const wrap = (number: number, inner: readonly number[]): number[] => {
    const length = inner.length < 128 ? [inner.length] : [(inner.length & 127) | 128, inner.length >> 7];
    return [(number << 3) | 2, ...length, ...inner];
  };
  let value: number[] = [];
  for (let i = 0; i < depth / 4; i++) value = wrap(1, wrap(9, wrap(2, wrap(2, value))));
  return wrap(2, wrap(2, wrap(1, wrap(5, wrap(2, value)))));
}

test("whatever is broken, the failure has a code", async () => {
  const bytes = await Bun.file(join(import.meta.dir, "../../../model/iris/1/saved_model.pb")).bytes();
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 0, max: 255 }), (at, byte) => {
      const broken = bytes.slice();
      broken[at] = byte;
      try {
        readMessage("tensorflow.SavedModel", broken);
      } catch (thrown) {
        expect(thrown).toBeInstanceOf(StatusError);
      }
    }),
    { numRuns: 1000 },
  );
});
