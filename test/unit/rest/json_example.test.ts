import { describe, expect, test } from "bun:test";
import { fromBinary } from "@bufbuild/protobuf";
import { ExampleSchema } from "../../../src/gen/tensorflow/core/example/example_pb.ts";
import { readExamplesBody, writeClassifications, writeRegressions } from "../../../src/rest/json_example.ts";

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

/** 特徴の名前 → `種類 値 値…`。 */
function features(example: Uint8Array): Record<string, string> {
  const { features: read } = fromBinary(ExampleSchema, example);
  return Object.fromEntries(
    Object.entries(read?.feature ?? {}).map(([name, { kind }]) => {
      const values: readonly unknown[] = kind.value?.value ?? [];
      const shown = values.map((value) =>
        value instanceof Uint8Array ? Buffer.from(value).toString() : String(value),
      );
      return [name, [kind.case ?? "unset", ...shown].join(" ")];
    }),
  );
}

function read(text: string) {
  const { signatureName, examples } = readExamplesBody(encode(text));
  return { signatureName, examples: examples.map(features) };
}

describe("readExamplesBody() reads", () => {
  const rows: [string, ReturnType<typeof read>][] = [
    [
      '{"examples":[{"names":["foo","bar"],"ratings":[8.0,9.0],"age":20},{"names":["baz"],"ratings":6.0}]}',
      {
        signatureName: "",
        examples: [
          { names: "bytesList foo bar", ratings: "floatList 8 9", age: "int64List 20" },
          { names: "bytesList baz", ratings: "floatList 6" },
        ],
      },
    ],
    [
      '{"signature_name":"custom_signture","context":{"query":"pizza","location":["sfo"]},"examples":[{"names":["foo","bar"],"ratings":[8.0,9.0,NaN,Infinity],"age":20},{"names":["baz",{"b64":"aGVsbG8="}],"ratings":6.0,"intboolmix":[1,true,false]},{"names":"bar","ratings":-Infinity}]}',
      {
        signatureName: "custom_signture",
        examples: [
          {
            query: "bytesList pizza",
            location: "bytesList sfo",
            names: "bytesList foo bar",
            ratings: "floatList 8 9 NaN Infinity",
            age: "int64List 20",
          },
          {
            query: "bytesList pizza",
            location: "bytesList sfo",
            names: "bytesList baz hello",
            ratings: "floatList 6",
            intboolmix: "int64List 1 1 0",
          },
          {
            query: "bytesList pizza",
            location: "bytesList sfo",
            names: "bytesList bar",
            ratings: "floatList -Infinity",
          },
        ],
      },
    ],
    [
      '{"context":{"a":1,"b":2},"examples":[{"a":3}]}',
      { signatureName: "", examples: [{ a: "int64List 3", b: "int64List 2" }] },
    ],
    ['{"context":{},"examples":[{}]}', { signatureName: "", examples: [{}] }],
    ['{"examples":[{"a":[]}]}', { signatureName: "", examples: [{ a: "unset" }] }],
    ['{"examples":[{"a":1,"a":"x"}]}', { signatureName: "", examples: [{ a: "bytesList x" }] }],
    ['{"examples":[{"a\\u0000b":1}]}', { signatureName: "", examples: [{ a: "int64List 1" }] }],
    [
      '{"examples":[{"__proto__":1}]}',
      { signatureName: "", examples: [Object.fromEntries([["__proto__", "int64List 1"]])] },
    ],
    [
      '{"examples":[{"a":[1e300,18446744073709551616]}]}',
      { signatureName: "", examples: [{ a: "floatList Infinity 18446744073709552000" }] },
    ],
    // float にすると非正規数になる数は 0 になる。
    ['{"examples":[{"a":[1e-40,1.17e-38]}]}', { signatureName: "", examples: [{ a: "floatList 0 0" }] }],
    [
      '{"examples":[{"a":[-9223372036854775808,9223372036854775807]}]}',
      { signatureName: "", examples: [{ a: "int64List -9223372036854775808 9223372036854775807" }] },
    ],
  ];
  test.each(rows)("%s", (text, expected) => {
    expect(read(text)).toEqual(expected);
  });
});

describe("readExamplesBody() refuses", () => {
  const rows: [string, string][] = [
    ["", "JSON Parse error: The document is empty"],
    ["[]", "JSON Value: [] Is not object"],
    [
      '{"signature_name":["hello"],"examples":[{"names":["foo","bar"]}]}',
      "not formatted correctly. 'signature_name' key must be a string value.",
    ],
    ['{"context":[{"names":["foo","bar"]}]}', "Example must be JSON object but got JSON Array"],
    ["{}", "JSON Value: {} When method is classify, key 'examples' is expected and was not found"],
    [
      '{"examples":{"names":1}}',
      'JSON Value: {\n    "examples": {\n        "names": 1\n    }\n} Expecting \'examples\' value to be an list/array',
    ],
    ['{"examples":[]}', "JSON Value: {\n    \"examples\": []\n} 'examples' value is an empty array"],
    ['{"examples":[[{"names":["foo","bar"]}]]}', "Example must be JSON object but got JSON Array"],
    ['{"examples":[1]}', "Example must be JSON object but got JSON Number"],
    ['{"examples":[{"names":[10,null]}]}', "Feature: names has element with unexpected JSON type: Null"],
    ['{"examples":[{"names":[10,10.0]}]}', "Unexpected element type in feature: names expecting type: int64"],
    ['{"examples":[{"names":[1.5,1]}]}', "Unexpected element type in feature: names expecting type: float"],
    [
      '{"examples":[{"names":["a",true]}]}',
      "Unexpected element type in feature: names expecting type: bytes",
    ],
    ['{"examples":[{"names":[1,"a"]}]}', "Unexpected element type in feature: names expecting type: int64"],
    [
      '{"examples":[{"names":[1,{"b64":"aGk="}]}]}',
      "Unexpected element type in feature: names expecting type: int64",
    ],
    [
      '{"examples":[{"names":[10,{"test":10}]}]}',
      "Feature: names has element with unexpected JSON type: Object",
    ],
    ['{"examples":[{"names":[[10],20]}]}', "Feature: names has element with unexpected JSON type: Array"],
    [
      '{"examples":[{"names":[20,18446744073709551603]}]}',
      "Feature: names has uint64_t element. Only int64_t is supported.",
    ],
    ['{"examples":[{"names":[{"b64":"*"}]}]}', "Unable to base64 decode"],
  ];
  test.each(rows)("%s", (text, message) => {
    expect(() => readExamplesBody(encode(text))).toThrow(message);
  });
});

const f = Math.fround;
test("writeClassifications() lists pairs of label and score", () => {
  const body = writeClassifications([
    [
      { label: "car", score: f(0.2) },
      { label: 'b"', score: f(0.7) },
    ],
    [{ label: "", score: 1 }],
    [],
  ]);
  expect(Buffer.from(body).toString()).toBe(
    '{\n    "results": [[["car", 0.2], ["b\\"", 0.7]], [["", 1.0]], []\n    ]\n}',
  );
  expect(() => writeClassifications([])).toThrow("Cannot convert empty ClassificationResults to JSON");
});

test("writeRegressions() lists values on one line", () => {
  const body = writeRegressions(Float32Array.of(0.2, Infinity, 1, -Infinity, NaN, -0));
  expect(Buffer.from(body).toString()).toBe(
    '{\n    "results": [0.2, Infinity, 1.0, -Infinity, NaN, -0.0]\n}',
  );
  expect(() => writeRegressions(new Float32Array(0))).toThrow(
    "Cannot convert empty RegressionResults to JSON",
  );
});
