import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { writePredictions, writePredictionsGenerally } from "../../../src/rest/json_predictions.ts";
import type { PredictFormat } from "../../../src/rest/json_tensor.ts";
import { allocate, arrayOf, type DType, type NumericDType } from "../../../src/tensor/dtype.ts";
import { sizeOf, type Tensor, type TensorMap, tensor } from "../../../src/tensor/tensor.ts";

const text = (body: Uint8Array | string): string =>
  typeof body === "string" ? body : Buffer.from(body).toString("latin1");

function write(outputs: TensorMap, format: PredictFormat): string {
  const body = text(writePredictions(outputs, format));
  expect(body).toBe(text(writePredictionsGenerally(outputs, format)));
  return body;
}

const float = (shape: number[], ...values: number[]) => tensor("float", shape, Float32Array.from(values));
const double = (shape: number[], ...values: number[]) => tensor("double", shape, Float64Array.from(values));
const int32 = (shape: number[], ...values: number[]) => tensor("int32", shape, Int32Array.from(values));
const string = (shape: number[], ...values: string[]) =>
  tensor(
    "string",
    shape,
    values.map((value) => new Uint8Array(Buffer.from(value, "latin1"))),
  );

describe("writePredictions() writes", () => {
  const rows: [string, PredictFormat, Record<string, Tensor>, string][] = [
    [
      "one column of floats",
      "row",
      { y: float([3], 2.5, 3, 4.5) },
      '{\n    "predictions": [2.5, 3.0, 4.5\n    ]\n}',
    ],
    [
      "rows of floats",
      "row",
      { y: float([2, 3], 1, 2, 3, 4, 5, 6) },
      '{\n    "predictions": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]\n    ]\n}',
    ],
    [
      "rows of doubles",
      "row",
      { y: double([2, 1], 0.1, 1 / 3) },
      '{\n    "predictions": [[0.1], [0.33333333333333331]\n    ]\n}',
    ],
    [
      "six significant digits when they are enough",
      "row",
      { y: float([2, 3], 9000000, 999999, 0.5, 0.0003, 0.00003, 555557.5) },
      '{\n    "predictions": [[9e+06, 999999.0, 0.5], [0.0003, 3e-05, 555557.5]\n    ]\n}',
    ],
    [
      "values that are no numbers",
      "row",
      { y: float([2, 2], NaN, Infinity, 3, -Infinity) },
      '{\n    "predictions": [[NaN, Infinity], [3.0, -Infinity]\n    ]\n}',
    ],
    [
      "integers",
      "row",
      { y: int32([5], 1, -2, 3, 4, 2147483647) },
      '{\n    "predictions": [1, -2, 3, 4, 2147483647\n    ]\n}',
    ],
    [
      "deep integers",
      "row",
      { y: int32([2, 2, 2], 1, 2, 3, 4, 1, 2, 3, 4) },
      '{\n    "predictions": [[[1, 2], [3, 4]], [[1, 2], [3, 4]]\n    ]\n}',
    ],
    [
      "all of int64",
      "row",
      { y: tensor("int64", [2], BigInt64Array.of(-(1n << 63n), 9223372036854775807n)) },
      '{\n    "predictions": [-9223372036854775808, 9223372036854775807\n    ]\n}',
    ],
    [
      "all of uint64",
      "columnar",
      { y: tensor("uint64", [], BigUint64Array.of(18446744073709551615n)) },
      '{\n    "outputs": 18446744073709551615\n}',
    ],
    [
      "booleans",
      "row",
      { y: tensor("bool", [2], Uint8Array.of(1, 0)) },
      '{\n    "predictions": [true, false\n    ]\n}',
    ],
    ["no rows", "row", { y: float([0]) }, '{\n    "predictions": []\n}'],
    [
      "no rows of several outputs",
      "row",
      { a: float([0, 3, 4]), b: string([0, 1, 2]) },
      '{\n    "predictions": []\n}',
    ],
    ["no columns", "row", { y: float([2, 0]) }, '{\n    "predictions": [[], []\n    ]\n}'],
    [
      "strings",
      "row",
      { y: string([3], 'a"b\\', "\b\t\n\f\r\x01\x1f", "/\x7f\xe3\x81\x82\xff") },
      '{\n    "predictions": ["a\\"b\\\\", "\\b\\t\\n\\f\\r\\u0001\\u001F", "/\x7f\xe3\x81\x82\xff"\n    ]\n}',
    ],
    [
      "bytes",
      "row",
      { y_bytes: string([2], "hello", "\xff\x00") },
      '{\n    "predictions": [{\n            "b64": "aGVsbG8="\n        }, {\n            "b64": "/wA="\n        }\n    ]\n}',
    ],
    [
      "bytes in rows",
      "row",
      { str_tensor_bytes: string([2, 2], "hello", "hello", "hello", "hello") },
      '{\n    "predictions": [[{\n                "b64": "aGVsbG8="\n            }, {\n                "b64": "aGVsbG8="\n            }], [{\n                "b64": "aGVsbG8="\n            }, {\n                "b64": "aGVsbG8="\n            }]\n    ]\n}',
    ],
    [
      "the suffix as nothing for other types",
      "row",
      { y_bytes: int32([1], 7) },
      '{\n    "predictions": [7\n    ]\n}',
    ],
    [
      "several outputs",
      "row",
      { a: float([2], 1, 2), b: tensor("int64", [2, 2], BigInt64Array.of(1n, 2n, 3n, 9223372036854775807n)) },
      '{\n    "predictions": [\n        {\n            "a": 1.0,\n            "b": [1, 2]\n        },\n        {\n            "a": 2.0,\n            "b": [3, 9223372036854775807]\n        }\n    ]\n}',
    ],
    [
      "several outputs with bytes",
      "row",
      { classes: int32([1], 0), img_bytes: string([1, 2], "hello", "x"), scores: float([1, 2], 0.1, 0.9) },
      '{\n    "predictions": [\n        {\n            "classes": 0,\n            "img_bytes": [{\n                    "b64": "aGVsbG8="\n                }, {\n                    "b64": "eA=="\n                }],\n            "scores": [0.1, 0.9]\n        }\n    ]\n}',
    ],
    [
      "a column",
      "columnar",
      { y: float([2, 2], 1, 2, 3, 4) },
      '{\n    "outputs": [\n        [\n            1.0,\n            2.0\n        ],\n        [\n            3.0,\n            4.0\n        ]\n    ]\n}',
    ],
    ["a scalar", "columnar", { y: float([], 1.5) }, '{\n    "outputs": 1.5\n}'],
    ["an empty column", "columnar", { y: float([0]) }, '{\n    "outputs": []\n}'],
    [
      "an empty dimension",
      "columnar",
      { y: float([2, 0]) },
      '{\n    "outputs": [\n        [],\n        []\n    ]\n}',
    ],
    [
      "several columns",
      "columnar",
      { a: double([2], 8, 9), b_bytes: string([1], "tf"), e: float([0]) },
      '{\n    "outputs": {\n        "a": [\n            8.0,\n            9.0\n        ],\n        "b_bytes": [\n            {\n                "b64": "dGY="\n            }\n        ],\n        "e": []\n    }\n}',
    ],
    [
      "columns of different lengths",
      "columnar",
      { a: int32([1], 1), b: int32([], 2) },
      '{\n    "outputs": {\n        "a": [\n            1\n        ],\n        "b": 2\n    }\n}',
    ],
    [
      "aliases cut at NUL",
      "columnar",
      { a: int32([], 1), "b\0c": int32([], 2) },
      '{\n    "outputs": {\n        "a": 1,\n        "b": 2\n    }\n}',
    ],
    [
      "a type without a form, of no values",
      "columnar",
      { y: tensor("half", [0], new Float32Array(0)) },
      '{\n    "outputs": []\n}',
    ],
  ];
  test.each(rows)("%s (%s)", (_, format, outputs, body) => {
    expect(write(new Map(Object.entries(outputs)), format)).toBe(body);
  });

  test.each([1, 3])("a large body of %d columns and a small one after it", (columns) => {
    const values = Float32Array.from({ length: 30_000 }, (_, i) => i / 7);
    const large = new Map([["y", tensor("float", [30_000 / columns, columns], values)]]);
    expect(JSON.parse(write(large, "row")).predictions.flat().map(Math.fround)).toEqual(Array.from(values));
    expect(write(new Map([["y", int32([1], 1)]]), "row")).toBe('{\n    "predictions": [1\n    ]\n}');
  });
});

describe("writePredictions() refuses", () => {
  const rows: [PredictFormat, Record<string, Tensor>, string][] = [
    ["row", {}, "Cannot convert empty tensor map to JSON"],
    ["columnar", {}, "Cannot convert empty tensor map to JSON"],
    ["row", { y: int32([], 1) }, "Tensor name: y has no shape information "],
    [
      "row",
      { a: int32([2], 1, 2), b: int32([1], 1) },
      "Tensor name: b has inconsistent batch size: 1 expecting: 2",
    ],
    [
      "row",
      { a: int32([0, 2]), b: string([1, 2], "a", "b") },
      "Tensor name: b has inconsistent batch size: 1 expecting: 0",
    ],
    ["row", { a: int32([1], 1), b: int32([], 1) }, "Tensor name: b has no shape information "],
    [
      "row",
      { y: tensor("complex64", [2], new Float32Array(4)) },
      "Failed to write JSON value for tensor type: complex64",
    ],
    [
      "columnar",
      { y: tensor("half", [], new Float32Array(1)) },
      "Failed to write JSON value for tensor type: half",
    ],
    [
      "row",
      { y: tensor("uint16", [1], new Uint16Array(1)) },
      "Failed to write JSON value for tensor type: uint16",
    ],
  ];
  test.each(rows)("%s %j", (format, outputs, message) => {
    const map = new Map(Object.entries(outputs));
    expect(() => writePredictions(map, format)).toThrow(message);
    expect(() => writePredictionsGenerally(map, format)).toThrow(message);
  });
});

test("writePredictions() writes what the general path writes", () => {
  const dtypes: NumericDType[] = ["float", "double", "int32", "int64", "uint8", "uint32", "uint64", "bool"];
  fc.assert(
    fc.property(
      fc.constantFrom<DType>(...dtypes),
      fc.array(fc.nat(4), { maxLength: 4 }),
      fc.uint8Array({ minLength: 8, maxLength: 64 }),
      fc.constantFrom<PredictFormat>("row", "columnar"),
      (dtype, shape, noise, format) => {
        const data = allocate(dtype, sizeOf(shape)) as Float32Array;
        const bytes = new Uint8Array(data.buffer);
        for (let i = 0; i < bytes.length; i++) bytes[i] = noise[i % noise.length]! ^ (i * 37);
        const array = new (arrayOf(dtype as NumericDType))(data.buffer, 0, data.length);
        if (format === "row" && shape.length === 0) return;
        write(new Map([["y", tensor(dtype, shape, array)]]), format);
      },
    ),
    { numRuns: 1000 },
  );
});
