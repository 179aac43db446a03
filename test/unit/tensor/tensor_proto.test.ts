import { describe, expect, test } from "bun:test";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import fc from "fast-check";
import { Code, StatusError } from "../../../src/base/status.ts";
import { TensorProtoSchema } from "../../../src/gen/tensorflow/core/framework/tensor_pb.ts";
import { DataType } from "../../../src/gen/tensorflow/core/framework/types_pb.ts";
import { tensor } from "../../../src/tensor/tensor.ts";
import { tensorFromProto, tensorToProto } from "../../../src/tensor/tensor_proto.ts";
import {
  decodeTensorProto,
  encodeTensorProto,
  fixedTensorSize,
  writeFixedTensor,
} from "../../../src/tensor/tensor_wire.ts";
import { anyTensor } from "./arbitrary_tensor.ts";

type Init = MessageInitShape<typeof TensorProtoSchema>;

const shapeOf = (...dims: (number | bigint)[]) => ({ dim: dims.map((size) => ({ size: BigInt(size) })) });
const utf8 = (text: string) => new TextEncoder().encode(text);

/** 2 つの読み手は同じ答えを返すので、必ず両方を確かめる。 */
function decodeBoth(init: Init) {
  const message = create(TensorProtoSchema, init);
  const value = tensorFromProto(message);
  expect(decodeTensorProto(toBinary(TensorProtoSchema, message))).toEqual(value);
  return value;
}

function codeOf(body: () => unknown): number {
  try {
    body();
  } catch (error) {
    expect(error).toBeInstanceOf(StatusError);
    return (error as StatusError).code;
  }
  return Code.OK;
}

describe("TensorProto の復号", () => {
  const cases: [string, Init, unknown[]][] = [
    ["ちょうど", { dtype: DataType.DT_FLOAT, tensorShape: shapeOf(2), floatVal: [1.5, -2] }, [1.5, -2]],
    [
      "最後の値で埋める",
      { dtype: DataType.DT_FLOAT, tensorShape: shapeOf(4), floatVal: [1, 2] },
      [1, 2, 2, 2],
    ],
    ["値が無ければ 0", { dtype: DataType.DT_DOUBLE, tensorShape: shapeOf(2) }, [0, 0]],
    ["余りは捨てる", { dtype: DataType.DT_INT32, tensorShape: shapeOf(2), intVal: [7, 8, 9] }, [7, 8]],
    ["要素 0 個は値を見ない", { dtype: DataType.DT_INT32, tensorShape: shapeOf(0, 3), intVal: [7] }, []],
    [
      "要素 0 個は content も見ない",
      { dtype: DataType.DT_INT32, tensorShape: shapeOf(0), tensorContent: utf8("x") },
      [],
    ],
    ["形が無ければスカラー", { dtype: DataType.DT_INT64, int64Val: [-5n] }, [-5n]],
    ["別の型の欄は見ない", { dtype: DataType.DT_FLOAT, intVal: [3] }, [0]],
    [
      "int8 は下位 8 ビット",
      { dtype: DataType.DT_INT8, tensorShape: shapeOf(3), intVal: [300, -1, -129] },
      [44, -1, 127],
    ],
    [
      "uint16 は下位 16 ビット",
      { dtype: DataType.DT_UINT16, tensorShape: shapeOf(2), intVal: [65537, -1] },
      [1, 65535],
    ],
    ["bool", { dtype: DataType.DT_BOOL, tensorShape: shapeOf(3), boolVal: [true, false] }, [1, 0, 0]],
    [
      "half はビット列",
      { dtype: DataType.DT_HALF, tensorShape: shapeOf(2), halfVal: [0x3c00, 0xc000] },
      [1, -2],
    ],
    [
      "bfloat16 はビット列",
      { dtype: DataType.DT_BFLOAT16, tensorShape: shapeOf(2), halfVal: [0x3f80, 0x40490000 + 0x4049] },
      [1, 3.140625],
    ],
    ["uint32", { dtype: DataType.DT_UINT32, uint32Val: [4294967295] }, [4294967295]],
    ["uint64", { dtype: DataType.DT_UINT64, uint64Val: [2n ** 64n - 1n] }, [2n ** 64n - 1n]],
    [
      "複素数は組で埋める",
      { dtype: DataType.DT_COMPLEX64, tensorShape: shapeOf(2), scomplexVal: [1, 2] },
      [1, 2, 1, 2],
    ],
    [
      "組にならない端は捨てる",
      { dtype: DataType.DT_COMPLEX128, tensorShape: shapeOf(2), dcomplexVal: [1, 2, 3] },
      [1, 2, 1, 2],
    ],
    ["1 つも組にならなければ 0", { dtype: DataType.DT_COMPLEX64, scomplexVal: [9] }, [0, 0]],
    [
      "文字列を埋める",
      { dtype: DataType.DT_STRING, tensorShape: shapeOf(2), stringVal: [utf8("a")] },
      [utf8("a"), utf8("a")],
    ],
    ["文字列の余りは捨てる", { dtype: DataType.DT_STRING, stringVal: [utf8("a"), utf8("b")] }, [utf8("a")]],
    ["文字列の既定は空", { dtype: DataType.DT_STRING }, [utf8("")]],
    [
      "content が勝つ",
      { dtype: DataType.DT_INT32, tensorContent: Uint8Array.of(1, 0, 0, 0), intVal: [5] },
      [1],
    ],
    [
      "文字列の content",
      { dtype: DataType.DT_STRING, tensorShape: shapeOf(2), tensorContent: Uint8Array.of(1, 2, 97, 98, 99) },
      [utf8("a"), utf8("bc")],
    ],
    [
      "bool の content",
      { dtype: DataType.DT_BOOL, tensorShape: shapeOf(2), tensorContent: Uint8Array.of(1, 0) },
      [1, 0],
    ],
    [
      "階数不明の印は無視",
      { dtype: DataType.DT_FLOAT, tensorShape: { unknownRank: true }, floatVal: [4] },
      [4],
    ],
  ];
  test.each(cases)("%s", (_, init, expected) => {
    const value = decodeBoth(init);
    expect(Array.from(value.data as Iterable<unknown>)).toEqual(expected);
  });

  const refused: [string, Init][] = [
    ["型なし", {}],
    ["参照型", { dtype: 101 as DataType, floatVal: [1] }],
    ["値を持てない型", { dtype: DataType.DT_RESOURCE }],
    ["知らない型", { dtype: 77 as DataType, tensorShape: shapeOf(0) }],
    ["負の次元", { dtype: DataType.DT_FLOAT, tensorShape: shapeOf(2, -1) }],
    ["255 次元", { dtype: DataType.DT_FLOAT, tensorShape: shapeOf(...Array<number>(255).fill(1)) }],
    ["int64 を越える", { dtype: DataType.DT_FLOAT, tensorShape: shapeOf(2n ** 40n, 2n ** 40n) }],
    ["越えた後に 0", { dtype: DataType.DT_FLOAT, tensorShape: shapeOf(2n ** 40n, 2n ** 40n, 0) }],
    ["短い content", { dtype: DataType.DT_FLOAT, tensorShape: shapeOf(2), tensorContent: utf8("1234567") }],
    ["長い content", { dtype: DataType.DT_INT8, tensorContent: utf8("12") }],
    ["0 と 1 以外の bool", { dtype: DataType.DT_BOOL, tensorContent: Uint8Array.of(2) }],
    ["文字列の長さの嘘", { dtype: DataType.DT_STRING, tensorContent: Uint8Array.of(5, 97) }],
    ["文字列の余り", { dtype: DataType.DT_STRING, tensorContent: Uint8Array.of(1, 97, 98) }],
    ["長さの列が切れる", { dtype: DataType.DT_STRING, tensorContent: Uint8Array.of(0x80) }],
    ["長さの varint が長すぎる", { dtype: DataType.DT_STRING, tensorContent: new Uint8Array(9).fill(0xff) }],
    [
      "要素数に満たない文字列",
      { dtype: DataType.DT_STRING, tensorShape: shapeOf(1000), tensorContent: utf8("a") },
    ],
    ["巨大な埋め草", { dtype: DataType.DT_FLOAT, tensorShape: shapeOf(2 ** 40), floatVal: [1] }],
    ["巨大な整数の埋め草", { dtype: DataType.DT_INT32, tensorShape: shapeOf(2 ** 40), intVal: [1] }],
    [
      "巨大な文字列の埋め草",
      { dtype: DataType.DT_STRING, tensorShape: shapeOf(2 ** 40), stringVal: [utf8("a")] },
    ],
    ["数として正確でない次元", { dtype: DataType.DT_FLOAT, tensorShape: shapeOf(0, 1n << 53n) }],
  ];
  test.each(refused)("%s は INVALID_ARGUMENT", (_, init) => {
    const message = create(TensorProtoSchema, init);
    expect(codeOf(() => tensorFromProto(message))).toBe(Code.INVALID_ARGUMENT);
    expect(codeOf(() => decodeTensorProto(toBinary(TensorProtoSchema, message)))).toBe(Code.INVALID_ARGUMENT);
  });

  test("並びの合う tensor_content は写さない", () => {
    const content = new Uint8Array(new Float32Array([1, 2]).buffer);
    const message = create(TensorProtoSchema, {
      dtype: DataType.DT_FLOAT,
      tensorShape: shapeOf(2),
      tensorContent: content,
    });
    expect((tensorFromProto(message).data as Float32Array).buffer).toBe(content.buffer);
    const shifted = new Uint8Array(9);
    shifted.set(content, 1);
    message.tensorContent = shifted.subarray(1);
    expect(tensorFromProto(message).data).toEqual(new Float32Array([1, 2]));
  });
});

describe("TensorProto の往復", () => {
  test("どのテンソルも元に戻り、どの書き手も同じバイトを書く", () => {
    fc.assert(
      fc.property(anyTensor, fc.boolean(), (value, asContent) => {
        const message = tensorToProto(value, asContent);
        const bytes = toBinary(TensorProtoSchema, message);
        expect(encodeTensorProto(value, asContent)).toEqual(bytes);
        expect(tensorFromProto(fromBinary(TensorProtoSchema, bytes))).toEqual(value);
        expect(decodeTensorProto(bytes)).toEqual(value);
        const fixed = new Uint8Array(fixedTensorSize(value));
        if (fixed.length > 0) {
          writeFixedTensor(fixed, 0, value, asContent);
          expect(fixed).toEqual(bytes);
        }
      }),
      { numRuns: 500 },
    );
  });

  test.each([0x7f800001, 0xffc12345])("NaN のビット %p は変わらない", (bits) => {
    const data = new Float32Array(new Uint32Array([bits, 0]).buffer);
    const value = tensor("float", [2], data);
    const bytes = encodeTensorProto(value);
    const { data: read } = decodeTensorProto(bytes) as { data: Float32Array };
    expect(new Uint32Array(read.slice().buffer)[0]).toBe(bits);
    const fixed = new Uint8Array(fixedTensorSize(value));
    writeFixedTensor(fixed, 0, value, false);
    expect(fixed).toEqual(new Uint8Array(bytes));
  });

  test("長い固定長の値も同じバイトを書く", () => {
    for (const value of [
      tensor(
        "float",
        [100, 3],
        Float32Array.from({ length: 300 }, (_, i) => i / 7),
      ),
      tensor(
        "double",
        [300],
        Float64Array.from({ length: 300 }, (_, i) => i / 7),
      ),
      tensor(
        "complex64",
        [150],
        Float32Array.from({ length: 300 }, (_, i) => i / 7),
      ),
    ]) {
      for (const asContent of [true, false]) {
        const fixed = new Uint8Array(fixedTensorSize(value));
        writeFixedTensor(fixed, 0, value, asContent);
        expect(fixed).toEqual(new Uint8Array(encodeTensorProto(value, asContent)));
      }
    }
  });

  test("契約の例と同じバイトを書く", () => {
    const value = tensor("float", [3], new Float32Array([1, 2, 5]));
    expect(Buffer.from(encodeTensorProto(value)).toString("hex")).toBe(
      "08011204120208032a0c0000803f000000400000a040",
    );
    const scalar = tensor("float", [], new Float32Array([3]));
    expect(Buffer.from(encodeTensorProto(scalar)).toString("hex")).toBe("080112002a0400004040");
  });
});

describe("decodeTensorProto()", () => {
  test("詰めない形・分かれた塊・後から来る型も protobuf-es と同じに読む", () => {
    const piece = fc.oneof(
      fc.record({
        field: fc.constantFrom(5, 9),
        values: fc.array(fc.float({ noNaN: true }), { maxLength: 4 }),
      }),
      fc.record({
        field: fc.constantFrom(6, 12),
        values: fc.array(fc.double({ noNaN: true }), { maxLength: 4 }),
      }),
      // 半精度の NaN は、比べる側がビット列を区別してしまうので除く。
      fc.record({ field: fc.constant(13), values: fc.array(fc.nat(0x3bff), { maxLength: 4 }) }),
      fc.record({
        field: fc.constantFrom(7, 10, 11, 16, 17),
        values: fc.array(fc.nat(0xffffffff), { maxLength: 4 }),
      }),
    );
    const types = [1, 2, 3, 4, 5, 6, 8, 9, 10, 14, 17, 18, 19, 22, 23];
    fc.assert(
      fc.property(
        fc.array(fc.tuple(piece, fc.boolean())),
        fc.constantFrom(...types),
        fc.array(fc.nat(3), { maxLength: 2 }),
        fc.boolean(),
        (pieces, dtype, dims, typeFirst) => {
          const writer = new BinaryWriter();
          if (typeFirst) writer.tag(1, WireType.Varint).int32(dtype);
          for (const [{ field, values }, packed] of pieces) {
            const one = (value: number) => {
              if (field === 5 || field === 9) writer.float(value);
              else if (field === 6 || field === 12) writer.double(value);
              else writer.uint32(value);
            };
            const wire =
              field === 5 || field === 9
                ? WireType.Bit32
                : field === 6 || field === 12
                  ? WireType.Bit64
                  : WireType.Varint;
            if (packed) {
              writer.tag(field, WireType.LengthDelimited).fork();
              values.forEach(one);
              writer.join();
            } else {
              for (const value of values) {
                writer.tag(field, wire);
                one(value);
              }
            }
          }
          writer.tag(2, WireType.LengthDelimited).fork();
          for (const size of dims)
            writer.tag(2, WireType.LengthDelimited).fork().tag(1, WireType.Varint).int64(size).join();
          writer.tag(7, WireType.Bit32).fixed32(1).join();
          writer.tag(99, WireType.LengthDelimited).bytes(Uint8Array.of(1, 2));
          if (!typeFirst) writer.tag(1, WireType.Varint).int32(dtype);
          const bytes = writer.finish();
          expect(decodeTensorProto(bytes)).toEqual(tensorFromProto(fromBinary(TensorProtoSchema, bytes)));
        },
      ),
      { numRuns: 500 },
    );
  });

  test("どんなバイト列でも INVALID_ARGUMENT か値で終わる", () => {
    fc.assert(
      fc.property(
        anyTensor,
        fc.boolean(),
        fc.array(fc.tuple(fc.nat(), fc.nat(255))),
        fc.nat(),
        (value, asContent, edits, cut) => {
          const bytes = encodeTensorProto(value, asContent);
          for (const [at, byte] of edits) bytes[at % bytes.length] = byte;
          const code = codeOf(() =>
            decodeTensorProto(bytes.subarray(0, bytes.length - (cut % bytes.length))),
          );
          expect([Code.OK, Code.INVALID_ARGUMENT] as number[]).toContain(code);
        },
      ),
      { numRuns: 1000 },
    );
  });

  test("群・切れた値・知らないワイヤ型", () => {
    const group = Uint8Array.of(0x08, 1, 0x9b, 0x06, 0x08, 5, 0x9c, 0x06);
    expect(decodeTensorProto(group)).toEqual(tensor("float", [], new Float32Array(1)));
    const refused = [
      [0x2d, 0, 0],
      [0x31, 0],
      [0x0f],
      [0x00],
      [0x2a, 3, 0, 0, 0],
      Array<number>(40).fill(0x0b),
      Array<number>(11).fill(0xff),
    ];
    for (const bytes of refused) {
      expect(codeOf(() => decodeTensorProto(Uint8Array.from([0x08, 1, ...bytes])))).toBe(
        Code.INVALID_ARGUMENT,
      );
    }
  });
});
