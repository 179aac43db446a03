import { describe, expect, test } from "bun:test";
import { fromJson } from "@bufbuild/protobuf";
import { ClassificationRequestSchema } from "../../../src/gen/tensorflow_serving/apis/classification_pb.ts";
import { PredictRequestSchema } from "../../../src/gen/tensorflow_serving/apis/predict_pb.ts";
import { readRequest } from "../../../src/page/request_tensors.ts";
import type { SignatureSpec, TensorSpec } from "../../../src/page/signature.ts";
import {
  buildSnippet,
  compactJson,
  type SnippetCall,
  type SnippetKind,
  snippetKinds,
} from "../../../src/page/snippets.ts";
import { tensorFromProto } from "../../../src/tensor/tensor_proto.ts";

const input = (alias: string, dtype: string): TensorSpec => ({ alias, dtype, shape: [-1], composite: false });
const signature = (...inputs: TensorSpec[]): SignatureSpec => ({
  key: "serving_default",
  verb: "predict",
  inputs,
  outputs: [],
});
const call = (text: string, given: Partial<SnippetCall> = {}): SnippetCall => ({
  origin: "http://localhost:8501",
  grpc: { host: "localhost", port: 8500, tls: false },
  needsKey: false,
  model: "iris",
  signature: signature(input("x", "float")),
  text,
  ...given,
});

/** シェルが grpcurl に渡す -d の中身。 */
function grpcurlBody(given: SnippetCall): unknown {
  const text = buildSnippet("grpcurl", given)!;
  const quoted = /-d '([\s\S]*)' \\\n/.exec(text)![1]!;
  return JSON.parse(quoted.replaceAll(`'\\''`, "'"));
}

describe("readRequest()", () => {
  const f = { alias: "x", dtype: "float" };
  const rows: [string, SignatureSpec, string, unknown][] = [
    [
      "rows",
      signature(input("x", "float")),
      '{"instances": [[1, 2], [3, 4]]}',
      [{ ...f, shape: [2, 2], values: [1, 2, 3, 4] }],
    ],
    [
      "scalars by row",
      signature(input("x", "float")),
      '{"instances": [1, 2]}',
      [{ ...f, shape: [2], values: [1, 2] }],
    ],
    [
      "rows with names",
      signature(input("x", "float"), input("n", "int64")),
      '{"instances": [{"x": 1.5, "n": 9007199254740993}]}',
      [
        { ...f, shape: [1], values: [1.5] },
        { alias: "n", dtype: "int64", shape: [1], values: [{ raw: "9007199254740993" }] },
      ],
    ],
    [
      "columns",
      signature(input("x", "float")),
      '{"inputs": [[1], [2]]}',
      [{ ...f, shape: [2, 1], values: [1, 2] }],
    ],
    [
      "columns with names",
      signature(input("x", "float")),
      '{"inputs": {"x": [NaN]}}',
      [{ ...f, shape: [1], values: [{ raw: "NaN" }] }],
    ],
    [
      "bytes",
      signature(input("s", "string")),
      '{"instances": [{"b64": "AAE="}, {"b64": "/w=="}]}',
      [{ alias: "s", dtype: "string", shape: [2], values: [{ b64: "AAE=" }, { b64: "/w==" }] }],
    ],
    [
      "a scalar column",
      signature(input("x", "float")),
      '{"inputs": 5.0}',
      [{ ...f, shape: [], values: [{ raw: "5.0" }] }],
    ],
    ["no inputs", signature(), '{"inputs": {}}', []],
  ];
  test.each(rows)("reads %s", (_, given, text, tensors) => {
    expect(readRequest(given, text).tensors).toEqual(tensors as never);
  });

  test("reads examples, with what they share", () => {
    const { examples, signatureName } = readRequest(
      signature(),
      '{"signature_name": "c", "context": {"a": 1.0}, "examples": [{"b": ["x", "y"]}]}',
    );
    expect(signatureName).toBe("c");
    expect(examples).toEqual([
      [
        ["a", [{ raw: "1.0" }]],
        ["b", ["x", "y"]],
      ],
    ]);
  });

  test.each([
    "",
    "[]",
    "{",
    '{"inputs": {"x": [null]}}',
    '{"instances": [{"x": 1}, 2]}',
    '{"examples": [1]}',
  ])("refuses %p", (text) => {
    expect(() => readRequest(signature(input("x", "float")), text)).toThrow(SyntaxError);
  });
});

test("compactJson() changes nothing but the space outside strings", () => {
  expect(compactJson('{\n  "a" : [1,\n 2.50],\n "b": "x  \\" , y"\n}')).toBe(
    '{"a": [1, 2.50], "b": "x  \\" , y"}',
  );
});

describe("curl", () => {
  test("posts the text of the editor", () => {
    expect(buildSnippet("curl", call('{\n "instances": [[1.0, 2]]\n}'))).toBe(
      `curl -X POST http://localhost:8501/v1/models/iris:predict \\\n  -d '{"instances": [[1.0, 2]]}'\n`,
    );
  });

  test("quotes for the shell, and names version and verb", () => {
    const given = call(`{"examples": [{"a": "it's"}]}`, {
      model: "a b",
      version: "7",
      signature: { ...signature(), verb: "classify" },
    });
    expect(buildSnippet("curl", given)).toBe(
      `curl -X POST http://localhost:8501/v1/models/a%20b/versions/7:classify \\\n  -d '{"examples": [{"a": "it'\\''s"}]}'\n`,
    );
  });
});

describe("grpcurl", () => {
  const dtypes: [string, string, number[] | bigint[] | boolean[]][] = [
    ["float", "[0.5, -2]", [0.5, -2]],
    ["double", "[1e300]", [1e300]],
    [
      "half",
      "[0.5, 65504, 0.1, -0.0000001, 70000]",
      [0.5, 65504, 0.0999755859375, -1.1920928955078125e-7, Infinity],
    ],
    ["bfloat16", "[0.5, 1.00390625, 1.01171875]", [0.5, 1, 1.015625]],
    ["int8", "[-128]", [-128]],
    ["uint8", "[255]", [255]],
    ["int16", "[-5]", [-5]],
    ["uint16", "[65535]", [65535]],
    ["int32", "[-2147483648]", [-2147483648]],
    ["uint32", "[4294967295]", [4294967295]],
    ["int64", "[9007199254740993]", [9007199254740993n]],
    ["uint64", "[18446744073709551615]", [18446744073709551615n]],
    ["bool", "[true, false]", [true, false]],
    ["float", "[NaN, Infinity, -Infinity]", [NaN, Infinity, -Infinity]],
  ];
  test.each(dtypes)("writes %s %s as a request that gRPC reads", (dtype, text, values) => {
    const given = call(`{"inputs": {"x": ${text}}}`, { signature: signature(input("x", dtype)) });
    const quoted = /-d '([\s\S]*)' \\\n/.exec(buildSnippet("grpcurl", given)!)![1]!;
    const body = JSON.parse(quoted.replace(/: \[(-?\d{16,})\]/g, ': ["$1"]'));
    const request = fromJson(PredictRequestSchema, body);
    expect(request.modelSpec?.name).toBe("iris");
    const { shape, data } = tensorFromProto(request.inputs["x"]!);
    expect(shape).toEqual([values.length]);
    const read = [...(data as Iterable<number | bigint>)];
    expect(dtype === "bool" ? read.map(Boolean) : read).toEqual(values as never);
  });

  test("writes strings as bytes", () => {
    const given = call('{"instances": ["é", {"b64": "/w=="}]}', {
      signature: signature(input("s", "string")),
    });
    const request = fromJson(PredictRequestSchema, grpcurlBody(given) as never);
    expect(request.inputs["s"]!.stringVal).toEqual([new TextEncoder().encode("é"), new Uint8Array([255])]);
  });

  test("writes examples, version and signature", () => {
    const given = call('{"examples": [{"f": 5.0, "i": 3, "s": ["a", {"b64": "/w=="}]}]}', {
      version: "3",
      signature: { ...signature(), key: "c", verb: "classify" },
    });
    expect(buildSnippet("grpcurl", given)).toContain("PredictionService/Classify");
    const request = fromJson(ClassificationRequestSchema, grpcurlBody(given) as never);
    expect(request.modelSpec).toMatchObject({
      signatureName: "c",
      versionChoice: { case: "version", value: { value: 3n } },
    });
    const list = request.input!.kind;
    if (list.case !== "exampleList") throw new Error(`unexpected ${list.case}`);
    const { feature } = list.value.examples[0]!.features!;
    expect(feature["f"]!.kind).toMatchObject({ case: "floatList", value: { value: [5] } });
    expect(feature["i"]!.kind).toMatchObject({ case: "int64List", value: { value: [3n] } });
    expect(feature["s"]!.kind.case).toBe("bytesList");
  });

  test("asks for TLS when the port has it", () => {
    const grpc = { host: "h", port: 1, tls: true };
    expect(buildSnippet("grpcurl", call('{"instances": [1]}', { grpc }))).toMatch(/^grpcurl -d /);
    expect(buildSnippet("python_grpc", call('{"instances": [1]}', { grpc }))).toContain(
      'grpc.secure_channel("h:1", grpc.ssl_channel_credentials())',
    );
  });
});

describe("Python", () => {
  test("over REST posts the text of the editor", () => {
    expect(buildSnippet("python", call('{"instances": [[1.0]]}'))).toBe(
      'import urllib.request\n\nbody = r"""{"instances": [[1.0]]}"""\nrequest = urllib.request.Request("http://localhost:8501/v1/models/iris:predict", data=body.encode())\nwith urllib.request.urlopen(request) as reply:\n    print(reply.read().decode())\n',
    );
  });

  test("over gRPC writes typed tensors", () => {
    const given = call('{"inputs": {"x": [[1, NaN]], "s": ["a", {"b64": "/w=="}], "b": true, "n": [3]}}', {
      version: "2",
      signature: {
        ...signature(input("x", "float"), input("s", "string"), input("b", "bool"), input("n", "int64")),
        key: "other",
      },
    });
    const text = buildSnippet("python_grpc", given)!;
    expect(text).toStartWith("import base64\n");
    for (const line of [
      'tf.make_tensor_proto([1.0, float("NaN")], dtype=tf.float32, shape=[1, 2])',
      'tf.make_tensor_proto(["a", base64.b64decode("/w==")], dtype=tf.string, shape=[2])',
      "tf.make_tensor_proto([True], dtype=tf.bool, shape=[])",
      "tf.make_tensor_proto([3], dtype=tf.int64, shape=[1])",
      "request.model_spec.version.value = 2",
      'request.model_spec.signature_name = "other"',
      'grpc.insecure_channel("localhost:8500")',
    ]) {
      expect(text).toContain(line);
    }
  });

  test("over gRPC writes examples", () => {
    const text = buildSnippet(
      "python_grpc",
      call('{"examples": [{"f": 5.0, "i": 3, "s": "a"}]}', {
        signature: { ...signature(), verb: "regress" },
      }),
    )!;
    expect(text).toContain('"f": tf.train.Feature(float_list=tf.train.FloatList(value=[5.0])),');
    expect(text).toContain('"i": tf.train.Feature(int64_list=tf.train.Int64List(value=[3])),');
    expect(text).toContain('"s": tf.train.Feature(bytes_list=tf.train.BytesList(value=["a".encode()])),');
    expect(text).toContain("regression_pb2.RegressionRequest()");
    expect(text).toContain("stub.Regress(request, 10.0)");
  });
});

describe("TypeScript", () => {
  test("writes the request as a literal", () => {
    expect(buildSnippet("typescript", call('{"instances": [1]}'))).toContain(
      'body: JSON.stringify({"instances": [1]}),',
    );
  });

  test("keeps integers that a number cannot hold, and only those, as text", () => {
    expect(buildSnippet("typescript", call('{"inputs": [9007199254740993]}'))).toContain(
      `body: "{\\"inputs\\": [9007199254740993]}",`,
    );
    expect(buildSnippet("typescript", call('{"inputs": ["9007199254740993"]}'))).toContain("JSON.stringify(");
  });
});

test.each([
  ["curl", '  -H "Authorization: Bearer $API_KEY" \\\n  -d '],
  ["grpcurl", 'grpcurl -plaintext -H "authorization: Bearer $API_KEY" -d '],
  ["python", 'headers={"Authorization": "Bearer " + os.environ["API_KEY"]})'],
  ["python_grpc", 'metadata=[("authorization", "Bearer " + os.environ["API_KEY"])]))'],
  ["typescript", "headers: { Authorization: 'Bearer ' + process.env.API_KEY },"],
] as const)("%s takes the key from the environment when one is needed", (kind, words) => {
  const text = '{"instances": [1]}';
  expect(buildSnippet(kind, call(text, { needsKey: true }))).toContain(words);
  expect(buildSnippet(kind, call(text))).not.toContain("API_KEY");
});

describe("what cannot be written", () => {
  const rows: [string, SnippetCall, SnippetKind[]][] = [
    ["a request that is not JSON", call("{"), ["curl", "python", "typescript"]],
    [
      "a server without a gRPC port",
      call('{"instances": [1]}', { grpc: { host: "h", port: 0, tls: false } }),
      ["curl", "python", "typescript"],
    ],
    [
      "a type without a field",
      call('{"instances": [1]}', { signature: signature(input("x", "complex64")) }),
      [],
    ],
    [
      "a type that JSON cannot carry",
      call('{"instances": [1]}', { signature: signature(input("x", "half")) }),
      ["grpcurl", "python_grpc"],
    ],
    ["a signature without inputs", call("{}", { signature: signature() }), ["grpcurl", "python_grpc"]],
    [
      "a tensor of several",
      call('{"instances": [1]}', { signature: signature({ ...input("x", "float"), composite: true }) }),
      [],
    ],
    ["nothing", call('{"instances": [1]}'), [...snippetKinds]],
  ];
  test.each(rows)("%s", (_, given, written) => {
    expect(snippetKinds.filter((kind) => buildSnippet(kind, given) !== undefined)).toEqual(written);
  });
});
