// TF Serving の json_tensor_test.cc の場合のうち、ほかの表に同じ本文の行が無いもの。名前は元の試験の名前。
import { describe, expect, test } from "bun:test";
import { parseJson } from "../../../src/client/json_text.ts";
import { writeError } from "../../../src/rest/http_status.ts";
import { writeClassifications, writeRegressions } from "../../../src/rest/json_example.ts";
import { writePredictions } from "../../../src/rest/json_predictions.ts";
import { type PredictFormat, readPredictBody } from "../../../src/rest/json_tensor.ts";
import type { DType } from "../../../src/tensor/dtype.ts";
import { type Tensor, tensor } from "../../../src/tensor/tensor.ts";
import { info, signature } from "../../helpers/fake_models.ts";

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const textOf = (body: Uint8Array | string): string =>
  typeof body === "string" ? body : Buffer.from(body).toString();

describe("requests that are refused", () => {
  const plain: Record<string, DType> = { default: "int32" };
  const named: Record<string, DType> = { int_tensor: "int32", str_tensor: "string" };
  const rows: [string, Record<string, DType>, string, string][] = [
    ["SingleUnnamedTensorErrors", plain, "", "document is empty"],
    [
      "SingleUnnamedTensorErrors",
      plain,
      '{"signature_name": 5, "instances": [[1,2],[3,4],[5,6,7]]}',
      "must be a string value",
    ],
    [
      "SingleUnnamedTensorErrors",
      plain,
      '{"instances": [[1,2],[3,4],[5,6,7]], "inputs": [[1,2],[3,4],[5,6,7]]}',
      "Not formatted correctly",
    ],
    ["SingleUnnamedTensorErrors", plain, '{"instances": [1, [1]]}', "Expecting shape"],
    [
      "MultipleNamedTensorErrors",
      named,
      '{"instances": [{"int_tensor": [[1,2],[3,4],[5,6]], "str_tensor": ["foo", "bar"]}, {"int_tensor": [[[7,8],[9,0],[1,2]]], "str_tensor": ["baz", "bat"]}]}',
      "Expecting shape",
    ],
    [
      "MultipleNamedTensorErrors",
      named,
      '{"instances": [{"int_tensor": [[1,2],[3,4],[5,6],[7,8]], "str_tensor": ["foo", "bar"]}, {"int_tensor": [[7,8],[9,0],[1,2]], "str_tensor": ["baz", "bat"]}]}',
      "Expecting tensor size",
    ],
    [
      "MultipleNamedTensorErrors",
      named,
      '{"instances": [{"int_tensor": [[1,2],[3,4],[5,6]], "str_tensor": ["foo", "bar"]}, [1, 20, 30], {"int_tensor": [[[7,8],[9,0],[1,2]]], "str_tensor": ["baz", "bat"]}]}',
      "Expecting object but got list",
    ],
  ];
  test.each(rows)("%s: %#", (_, dtypes, body, message) => {
    const infos = Object.entries(dtypes).map(([alias, dtype]) => [alias, info(`${alias}:0`, dtype)]);
    const target = signature("serving_default", Object.fromEntries(infos), {});
    expect(() => readPredictBody(encode(body)).read(target)).toThrow(message);
  });
});

const int32 = (shape: number[], ...values: number[]) => tensor("int32", shape, Int32Array.from(values));
const float = (shape: number[], ...values: number[]) => tensor("float", shape, Float32Array.from(values));
const string = (shape: number[], ...values: string[]) => tensor("string", shape, values.map(encode));
const DEEP = int32([2, 3, 2], 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2);
const deep = "[[[1, 2], [3, 4], [5, 6]], [[7, 8], [9, 0], [1, 2]]]";
const BYTES = string([2, 2], "hello", "world", "tf", "serving");
const MANY: Record<string, Tensor> = {
  double_scalar_tensor: tensor("double", [2], Float64Array.of(8, 9)),
  float_tensor: float([2, 1], 1, 2),
  int_tensor: DEEP,
  str_tensor: string([2, 2], "foo", "bar", "baz", "bat"),
  str_tensor_bytes: BYTES,
};

describe("answers", () => {
  const rows: [string, PredictFormat, Record<string, Tensor>, string][] = [
    ["FromJsonSingleTensor", "row", { int_tensor: DEEP }, `{"predictions": ${deep}}`],
    ["FromJsonSingleTensor", "columnar", { int_tensor: DEEP }, `{"outputs": ${deep}}`],
    [
      "FromJsonSingleScalarTensor",
      "row",
      { int_tensor: int32([5], 1, 2, 3, 4, 5) },
      '{"predictions": [1, 2, 3, 4, 5]}',
    ],
    [
      "FromJsonSingleScalarTensor",
      "columnar",
      { int_tensor: int32([5], 1, 2, 3, 4, 5) },
      '{"outputs": [1, 2, 3, 4, 5]}',
    ],
    [
      "FromJsonSingleBytesTensor",
      "row",
      { str_tensor_bytes: BYTES },
      '{"predictions": [[{"b64": "aGVsbG8="}, {"b64": "d29ybGQ="}], [{"b64": "dGY="}, {"b64": "c2VydmluZw=="}]]}',
    ],
    [
      "FromJsonMultipleNamedTensors",
      "row",
      MANY,
      `{"predictions": [
        {"double_scalar_tensor": 8.0, "float_tensor": [1.0], "int_tensor": [[1, 2], [3, 4], [5, 6]],
         "str_tensor": ["foo", "bar"], "str_tensor_bytes": [{"b64": "aGVsbG8="}, {"b64": "d29ybGQ="}]},
        {"double_scalar_tensor": 9.0, "float_tensor": [2.0], "int_tensor": [[7, 8], [9, 0], [1, 2]],
         "str_tensor": ["baz", "bat"], "str_tensor_bytes": [{"b64": "dGY="}, {"b64": "c2VydmluZw=="}]}]}`,
    ],
    [
      "FromJsonMultipleNamedTensors",
      "columnar",
      MANY,
      `{"outputs": {"double_scalar_tensor": [8.0, 9.0], "float_tensor": [[1.0], [2.0]], "int_tensor": ${deep},
        "str_tensor": [["foo", "bar"], ["baz", "bat"]],
        "str_tensor_bytes": [[{"b64": "aGVsbG8="}, {"b64": "d29ybGQ="}], [{"b64": "dGY="}, {"b64": "c2VydmluZw=="}]]}}`,
    ],
    ["FromJsonSingleZeroBatchTensor", "row", { int_tensor: int32([0, 2]) }, '{"predictions": []}'],
    [
      "FromJsonMultipleZeroBatchTensors",
      "row",
      { str_tensor: string([0, 1, 2]), float_tensor: float([0, 3, 4]) },
      '{"predictions": []}',
    ],
  ];
  test.each(rows)("%s as %s", (_, format, outputs, expected) => {
    const body = textOf(writePredictions(new Map(Object.entries(outputs)), format));
    expect(parseJson(body)).toEqual(parseJson(expected));
  });

  test.each<[string, Record<string, Tensor>]>([
    [
      "FromJsonMultipleNamedTensorsErrors",
      { int_tensor: int32([2, 3], 1, 2, 3, 4, 5, 6), str_tensor: string([1, 3], "foo", "bar", "baz") },
    ],
    [
      "FromJsonMultipleZeroBatchTensorsErrors",
      { int_tensor: int32([0, 2]), str_tensor: string([1, 2], "foo", "bar") },
    ],
  ])("%s", (_, outputs) => {
    expect(() => writePredictions(new Map(Object.entries(outputs)), "row")).toThrow(
      "inconsistent batch size",
    );
  });

  test("JsonFromClassificationResult", () => {
    const rows = [
      [0.2, 0.7, 0.1],
      [0.7, 0.1, 0.2],
    ].map((scores) => ["car", "bike", "bus"].map((label, i) => ({ label, score: Math.fround(scores[i]!) })));
    expect(parseJson(textOf(writeClassifications(rows)))).toEqual({
      results: [
        [
          ["car", 0.2],
          ["bike", 0.7],
          ["bus", 0.1],
        ],
        [
          ["car", 0.7],
          ["bike", 0.1],
          ["bus", 0.2],
        ],
      ],
    });
  });

  test("JsonFromRegressionResult", () => {
    expect(parseJson(textOf(writeRegressions(Float32Array.of(0.2, 0.9, 1))))).toEqual({
      results: [0.2, 0.9, 1],
    });
    expect(textOf(writeRegressions(Float32Array.of(0.2, Infinity, 1, -Infinity, NaN)))).toContain(
      "[0.2, Infinity, 1.0, -Infinity, NaN]",
    );
  });

  test.each([
    ['Bad key: "key"', '{\n    "error": "Bad key: \\"key\\""\n}'],
    ["Bad key: 'key'", '{\n    "error": "Bad key: \'key\'"\n}'],
  ])("StatusError: %s", (message, body) => {
    expect(textOf(writeError(message))).toBe(body);
  });
});
