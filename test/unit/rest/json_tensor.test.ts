import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { StatusError } from "../../../src/base/status.ts";
import { type PredictInputs, readGeneralBody, readPredictBody } from "../../../src/rest/json_tensor.ts";
import type { DType } from "../../../src/tensor/dtype.ts";
import type { Signature } from "../../../src/tensor/signature.ts";
import { sizeOf, type Tensor } from "../../../src/tensor/tensor.ts";
import { info, signature } from "../../helpers/fake_models.ts";

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

/** `{x: "float"}` からシグネチャを。別名の昇順に並べる。 */
function inputsOf(dtypes: Readonly<Record<string, DType | undefined>>): Signature {
  const entries = Object.entries(dtypes).sort(([a], [b]) => (a < b ? -1 : 1));
  return signature(
    "serving_default",
    Object.fromEntries(entries.map(([alias, dtype]) => [alias, info(`${alias}:0`, dtype)])),
    {},
  );
}

/** `float [2,2] 1 2 3 4` の形。文字列は復号して見せる。 */
function show(value: Tensor | undefined): string {
  if (value === undefined) return "undecodable";
  const items = Array.isArray(value.data)
    ? value.data.map((item) => new TextDecoder().decode(item))
    : Array.from(value.data as Float64Array, (item) => (Object.is(item, -0) ? "-0" : String(item)));
  const { length } = items;
  expect(length).toBe(sizeOf(value.shape));
  return `${value.dtype} [${value.shape}]${items.map((item) => ` ${item}`).join("")}`;
}

function shown({ format, inputs }: PredictInputs): Record<string, string> {
  return { format, ...Object.fromEntries([...inputs].map(([alias, value]) => [alias, show(value)])) };
}

/** 結果か失敗を、比べられる形で。二つの道の答えは等しい。 */
function read(body: string | Uint8Array, dtypes: Readonly<Record<string, DType | undefined>>) {
  const bytes = typeof body === "string" ? encode(body) : body;
  const attempt = (reader: typeof readPredictBody) => {
    try {
      const opened = reader(bytes);
      return { name: opened.signatureName, ...shown(opened.read(inputsOf(dtypes))) };
    } catch (thrown) {
      if (!(thrown instanceof StatusError)) throw thrown;
      return thrown.toString();
    }
  };
  const result = attempt(readPredictBody);
  expect(result).toEqual(attempt(readGeneralBody));
  return result;
}

const row = (tensors: Record<string, string>, name = "") => ({ name, format: "row", ...tensors });
const columnar = (tensors: Record<string, string>, name = "") => ({ name, format: "columnar", ...tensors });

const mixed = {
  int_tensor: "int32",
  str_tensor: "string",
  float_tensor: "float",
  dbl_tensor: "double",
} as const;

describe("readPredictBody() reads", () => {
  const rows: [string, Record<string, DType>, string, unknown][] = [
    [
      "a plain list",
      { default: "int32" },
      '{"instances": [[1,2],[3,4],[5,6]]}',
      row({ default: "int32 [3,2] 1 2 3 4 5 6" }),
    ],
    [
      "floats written as integers",
      { default: "float" },
      '{"instances": [1, 2.0, 3, 4, 5.003, 0.007, 0.0]}',
      row({ default: `float [7] 1 2 3 4 ${Math.fround(5.003)} ${Math.fround(0.007)} 0` }),
    ],
    [
      "doubles written as integers",
      { default: "double" },
      '{"instances": [1.0, 2, 3, 4, 0.662, 0, 0.0]}',
      row({ default: "double [7] 1 2 3 4 0.662 0 0" }),
    ],
    [
      "an integer float32 cannot hold",
      { default: "float" },
      '{"instances": [1435774380]}',
      row({ default: "float [1] 1435774336" }),
    ],
    [
      "a real float32 cannot hold",
      { default: "float" },
      '{"instances": [1435774380.0]}',
      row({ default: "float [1] 1435774336" }),
    ],
    [
      "beyond the largest float",
      { default: "float" },
      '{"instances": [1.79769e+308, -1.79769e+308]}',
      row({ default: "float [2] Infinity -Infinity" }),
    ],
    [
      "below the smallest float",
      { default: "float" },
      '{"instances": [2.22507e-308, -2.22507e-308]}',
      row({ default: "float [2] 0 -0" }),
    ],
    [
      "floats below the smallest normal one",
      { default: "float" },
      '{"instances": [1e-40, -1.4e-45, 1.1754943e-38, 1.17549435e-38]}',
      row({ default: `float [4] 0 -0 0 ${2 ** -126}` }),
    ],
    [
      "the same floats beside another key",
      { default: "float" },
      '{"instances": [1e-40, -1.4e-45, 1.1754943e-38, 1.17549435e-38], "other": null}',
      row({ default: `float [4] 0 -0 0 ${2 ** -126}` }),
    ],
    [
      "doubles below the smallest normal one",
      { default: "double" },
      '{"instances": [1e-40, 1e-308, -5e-324, 2.3e-308]}',
      row({ default: "double [4] 1e-40 0 -0 2.3e-308" }),
    ],
    [
      "a signature name",
      { default: "int32" },
      '{"signature_name": "predict_images", "instances": [[1,2]]}',
      row({ default: "int32 [1,2] 1 2" }, "predict_images"),
    ],
    [
      "a signature name after the values",
      { default: "int32" },
      '{"instances": [[1,2]], "signature_name": "s"}',
      row({ default: "int32 [1,2] 1 2" }, "s"),
    ],
    [
      "an escaped signature name",
      { default: "int32" },
      '{"signature_name": "\\u0061b", "instances": [1]}',
      row({ default: "int32 [1] 1" }, "ab"),
    ],
    [
      "base64 scalars",
      { default: "string" },
      '{"instances": [{"b64":"aGVsbG8="},{"b64":"d29ybGQ="}]}',
      row({ default: "string [2] hello world" }),
    ],
    [
      "base64 in lists",
      { default: "string" },
      '{"instances": [[{"b64":"aGVsbG8="}],[{"b64":"d29ybGQ="}]]}',
      row({ default: "string [2,1] hello world" }),
    ],
    [
      "named base64",
      { default: "string" },
      '{"instances": [{"default": [[{"b64":"aGVsbG8="}],[{"b64":"d29ybGQ="}]]}]}',
      row({ default: "string [1,2,1] hello world" }),
    ],
    [
      "several named tensors",
      mixed,
      '{"instances":[{"int_tensor":[[1,2],[3,4],[5,6]],"str_tensor":["foo","bar"],"float_tensor":[1.0,NaN],"dbl_tensor":[NaN]},{"int_tensor":[[7,8],[9,0],[1,2]],"str_tensor":["baz","bat"],"float_tensor":[2.0,Infinity],"dbl_tensor":[2.0]}]}',
      row({
        int_tensor: "int32 [2,3,2] 1 2 3 4 5 6 7 8 9 0 1 2",
        str_tensor: "string [2,2] foo bar baz bat",
        float_tensor: "float [2,2] 1 NaN 2 Infinity",
        dbl_tensor: "double [2,1] NaN 2",
      }),
    ],
    [
      "members in another order",
      { a: "float", b: "int32" },
      '{"instances":[{"b":1,"a":2},{"a":3,"b":4}]}',
      row({ a: "float [2] 2 3", b: "int32 [2] 1 4" }),
    ],
    [
      "named columns",
      { int_tensor: "int32" },
      '{"inputs":{"int_tensor":[[[1,2],[3,4],[5,6]]]}}',
      columnar({ int_tensor: "int32 [1,3,2] 1 2 3 4 5 6" }),
    ],
    [
      "a plain column",
      { int_tensor: "int32" },
      '{"inputs":[[[1,2],[3,4],[5,6]]]}',
      columnar({ int_tensor: "int32 [1,3,2] 1 2 3 4 5 6" }),
    ],
    [
      "columns of several kinds",
      { int_tensor: "int32", str_tensor: "string", bin_tensor: "string" },
      '{"inputs":{"int_tensor":[[[1,2],[3,4],[5,6]]],"str_tensor":["foo","bar"],"bin_tensor":{"b64":"aGVsbG8="}}}',
      columnar({
        bin_tensor: "string [] hello",
        int_tensor: "int32 [1,3,2] 1 2 3 4 5 6",
        str_tensor: "string [2] foo bar",
      }),
    ],
    [
      "non-finite words",
      { x: "float" },
      '{"instances":[NaN,Infinity,-Inf]}',
      row({ x: "float [3] NaN Infinity -Infinity" }),
    ],
    ["a scalar column", { x: "float" }, '{"inputs":3}', columnar({ x: "float [] 3" })],
    [
      "a column with members that are no input",
      { x: "float" },
      '{"inputs":{"x":[1,2],"zzz":"ignored"}}',
      columnar({ x: "float [2] 1 2" }),
    ],
    [
      "text beside base64",
      { s: "string" },
      '{"instances":["a",{"b64":"aGk="}]}',
      row({ s: "string [2] a hi" }),
    ],
    ["a base64 column", { s: "string" }, '{"inputs":{"b64":"aGk="}}', columnar({ s: "string [] hi" })],
    ["an input named b64", { b64: "float" }, '{"inputs":{"b64":1.5}}', columnar({ b64: "float [] 1.5" })],
    [
      "columns of different lengths",
      { a: "float", b: "string" },
      '{"inputs":{"a":[1,2],"b":"q"}}',
      columnar({ a: "float [2] 1 2", b: "string [] q" }),
    ],
    ["empty lists", { x: "float" }, '{"instances":[[],[]]}', row({ x: "float [2,0]" })],
    ["an empty column", { x: "half" }, '{"inputs":[]}', columnar({ x: "half [0]" })],
    [
      "a list of empty lists of strings",
      { x: "string" },
      '{"instances":[[[],[]]]}',
      row({ x: "string [1,2,0]" }),
    ],
    [
      "the edges of int64",
      { x: "int64" },
      '{"instances":[-9223372036854775808,9223372036854775807,0,-0]}',
      row({ x: "int64 [4] -9223372036854775808 9223372036854775807 0 0" }),
    ],
    ["small int64", { x: "int64" }, '{"inputs":[[1],[-2]]}', columnar({ x: "int64 [2,1] 1 -2" })],
    [
      "the edges of uint64",
      { x: "uint64" },
      '{"instances":[0,18446744073709551615]}',
      row({ x: "uint64 [2] 0 18446744073709551615" }),
    ],
    [
      "the edges of uint32",
      { x: "uint32" },
      '{"instances":[0,4294967295]}',
      row({ x: "uint32 [2] 0 4294967295" }),
    ],
    [
      "the edges of int32",
      { x: "int32" },
      '{"instances":[-2147483648,2147483647]}',
      row({ x: "int32 [2] -2147483648 2147483647" }),
    ],
    [
      "narrow integers modulo their width",
      { x: "uint8" },
      '{"instances":[300,-1,255]}',
      row({ x: "uint8 [3] 44 255 255" }),
    ],
    ["int8 modulo its width", { x: "int8" }, '{"instances":[128,-129]}', row({ x: "int8 [2] -128 127" })],
    ["int16 modulo its width", { x: "int16" }, '{"instances":[32768]}', row({ x: "int16 [1] -32768" })],
    ["booleans", { x: "bool" }, '{"instances":[true,false]}', row({ x: "bool [2] 1 0" })],
    [
      "big integers as reals",
      { x: "double" },
      '{"instances":[18446744073709551615,1e30]}',
      row({ x: "double [2] 18446744073709552000 1e+30" }),
    ],
    [
      "integer zero without a sign",
      { x: "float" },
      '{"instances":[-0,-0.0,-0e0]}',
      row({ x: "float [3] 0 -0 -0" }),
    ],
    [
      "spaces everywhere",
      { x: "float" },
      ' { "instances" : [ [ 1 , 2 ] , [ 3 ,\n4 ] ] } ',
      row({ x: "float [2,2] 1 2 3 4" }),
    ],
    ["what follows the root", { x: "float" }, '{"instances":[1]}]]', row({ x: "float [1] 1" })],
    ["unknown keys", { x: "float" }, '{"note":{"a":[1]},"instances":[1]}', row({ x: "float [1] 1" })],
    [
      "the first of repeated keys",
      { x: "float" },
      '{"instances":[1],"instances":[2]}',
      row({ x: "float [1] 1" }),
    ],
    [
      "the first of repeated signature names",
      { x: "float" },
      '{"signature_name":"a","instances":[1],"signature_name":"b"}',
      row({ x: "float [1] 1" }, "a"),
    ],
    [
      "a key repeated in one element as if appended",
      { x: "float" },
      '{"instances":[{"x":1,"x":2},{"x":3}]}',
      row({ x: "float [2] 1 2" }),
    ],
    [
      "a repeated string key as if appended",
      { x: "string" },
      '{"instances":[{"x":"a","x":"b"},{"x":"c"}]}',
      row({ x: "string [2] a b" }),
    ],
    ["names cut at NUL", { x: "float" }, '{"instances":[{"x\\u0000y":1}]}', row({ x: "float [1] 1" })],
    [
      "names outside ASCII",
      { é: "float" },
      '{"instances":[{"é":1}],"signature_name":"ü"}',
      row({ é: "float [1] 1" }, "ü"),
    ],
    ["embedded NUL in text", { x: "string" }, '{"instances":["a\\u0000b"]}', row({ x: "string [1] a\0b" })],
    [
      "deep ignored values",
      { x: "float" },
      `{"instances":[1],"nested":${"[".repeat(500_000)}${"]".repeat(500_000)}}`,
      row({ x: "float [1] 1" }),
    ],
    [
      "deep rectangular values",
      { x: "float" },
      `{"instances":[${"[".repeat(40)}1${"]".repeat(40)}]}`,
      row({ x: `float [1,${new Array(40).fill(1)}] 1` }),
    ],
  ];
  test.each(rows)("%s", (_, dtypes, body, expected) => {
    expect(read(body, dtypes)).toEqual(expected as never);
  });

  test("only the bytes it is given", () => {
    const padded = encode('{"instances": [[1,2],[3,4],[5,6]]}X');
    expect(read(padded.subarray(0, -1), { x: "int32" })).toEqual(row({ x: "int32 [3,2] 1 2 3 4 5 6" }));
  });
  test("bytes of text as they are", () => {
    const body = Buffer.concat([encode('{"inputs":"'), Buffer.of(0xff, 0x00 + 0x80), encode('"}')]);
    const { inputs } = readPredictBody(body).read(inputsOf({ x: "string" }));
    expect(inputs.get("x")?.data).toEqual([Uint8Array.of(0xff, 0x80)]);
  });
  test("ranks no tensor has as undecodable", () => {
    const depth = 500_000;
    const body = `{"inputs":${"[".repeat(depth)}1${"]".repeat(depth)}}`;
    expect(read(body, { x: "float" })).toEqual(columnar({ x: "undecodable" }));
    expect(read('{"inputs":[]}', { x: undefined })).toEqual(columnar({ x: "undecodable" }));
  });
  test("a base64 first element with several inputs into one of them", () => {
    expect(read('{"instances":[{"b64":"aGk="}]}', { a: "string", b: "float" })).toEqual(
      row({ a: "string [1] hi" }),
    );
  });
  test("another body before the first one is taken", () => {
    const first = readPredictBody(encode('{"instances":[1,2]}'));
    const second = readPredictBody(encode('{"instances":[[3],[4]]}'));
    expect(shown(first.read(inputsOf({ x: "float" })))).toEqual({ format: "row", x: "float [2] 1 2" });
    expect(shown(second.read(inputsOf({ x: "double" })))).toEqual({ format: "row", x: "double [2,1] 3 4" });
    expect(shown(first.read(inputsOf({ x: "double" })))).toEqual({ format: "row", x: "double [2] 1 2" });
  });
  test("more values than the scratch holds", () => {
    const values = Array.from({ length: 40_000 }, (_, i) => i);
    const { inputs } = readPredictBody(encode(JSON.stringify({ instances: values }))).read(
      inputsOf({ x: "double" }),
    );
    expect(Array.from(inputs.get("x")!.data as Float64Array)).toEqual(values);
  });
});

const element = (where: string, inner: string) =>
  `INVALID_ARGUMENT: Failed to process element: ${where} of 'instances' list. Error: INVALID_ARGUMENT: ${inner}`;

describe("readPredictBody() refuses", () => {
  const two = { int_tensor: "int32", str_tensor: "string" } as const;
  const x = { x: "float" } as const;
  const rows: [string, Record<string, DType | undefined>, string][] = [
    ["", x, "INVALID_ARGUMENT: JSON Parse error: The document is empty"],
    [
      '{"instances":[1',
      x,
      "INVALID_ARGUMENT: JSON Parse error: Missing a comma or ']' after an array element. at offset: 15",
    ],
    ["[1,2]", x, "INVALID_ARGUMENT: JSON Value: [1, 2] Is not object"],
    [
      '{"signature_name": 5}',
      x,
      `INVALID_ARGUMENT: JSON Value: {\n    "signature_name": 5\n} not formatted correctly. 'signature_name' key must be a string value.`,
    ],
    [
      `{"signature_name":${"[".repeat(500_000)}${"]".repeat(500_000)}}`,
      x,
      `INVALID_ARGUMENT: JSON Value: {\n    "signature_name": ${"[".repeat(232)} not formatted correctly. 'signature_name' key must be a string value.`,
    ],
    ['{"instances":[1]}', {}, "INVALID_ARGUMENT: Failed to get input map for signature: DEFAULT"],
    [
      '{"signature_name":"foo","instances":[1]}',
      {},
      "INVALID_ARGUMENT: Failed to get input map for signature: foo",
    ],
    [
      '{"instances":[1],"inputs":[1]}',
      x,
      `INVALID_ARGUMENT: JSON Value: {\n    "instances": [1],\n    "inputs": [1]\n} Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist `,
    ],
    ["{}", x, "INVALID_ARGUMENT: Missing 'inputs' or 'instances' key"],
    [
      '{"instances": 1}',
      x,
      `INVALID_ARGUMENT: JSON Value: {\n    "instances": 1\n} Expecting 'instances' to be an list/array`,
    ],
    [
      '{"instances": []}',
      x,
      `INVALID_ARGUMENT: JSON Value: {\n    "instances": []\n} No values in 'instances' array`,
    ],
    [
      '{"instances":[1]}',
      two,
      "INVALID_ARGUMENT: instances is a plain list, but expecting list of objects as multiple input tensors required as per tensorinfo_map",
    ],
    [
      '{"inputs":[1]}',
      two,
      "INVALID_ARGUMENT: inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map",
    ],
    [
      '{"inputs":{"b64":"aGk="}}',
      two,
      "INVALID_ARGUMENT: inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map",
    ],
    [
      '{"instances":[{"x":1},[2]]}',
      x,
      "INVALID_ARGUMENT: Expecting object but got list at item 1 of input list",
    ],
    [
      '{"instances":[{"x":1},2]}',
      x,
      "INVALID_ARGUMENT: Expecting object but got list at item 1 of input list",
    ],
    [
      '{"instances":[{"x":1},{"b64":"aGk="}]}',
      x,
      "INVALID_ARGUMENT: Expecting object but got list at item 1 of input list",
    ],
    [
      '{"instances":[1,{"x":2}]}',
      x,
      "INVALID_ARGUMENT: Expecting value/list but got object at item 1 of input list",
    ],
    [
      '{"instances":[["baz","bar"],{"str_tensor":["baz","bat"]}]}',
      { str_tensor: "string" },
      "INVALID_ARGUMENT: Expecting value/list but got object at item 1 of input list",
    ],
    [
      '{"instances":[{}]}',
      x,
      "INVALID_ARGUMENT: Failed to process element: 0 of 'instances' list. JSON object: {} keys must be equal to: x",
    ],
    [
      '{"instances":[{"a":1,"b":2},{"a":3}]}',
      { a: "float", b: "float" },
      `INVALID_ARGUMENT: Failed to process element: 1 of 'instances' list. JSON object: {\n    "a": 3\n} keys must be equal to: a,b`,
    ],
    [
      '{"inputs":{"a":1}}',
      { a: "float", b: "float" },
      "INVALID_ARGUMENT: Missing named input: b in 'inputs' object.",
    ],
    ['{"instances":[{"x":1,"y":1}]}', x, element("0 key: y", "JSON object: does not have named input: y")],
    ['{"instances":["a"]}', x, element("0", 'JSON Value: "a" Type: String is not of expected type: float')],
    ['{"instances":[true]}', x, element("0", "JSON Value: true Type: True is not of expected type: float")],
    ['{"instances":[null]}', x, element("0", "JSON Value: null Type: Null is not of expected type: float")],
    [
      '{"instances":[1.0]}',
      { x: "int32" },
      element("0", "JSON Value: 1.0 Type: Number is not of expected type: int32"),
    ],
    [
      '{"instances":[1,1e2]}',
      { x: "int64" },
      element("1", "JSON Value: 100.0 Type: Number is not of expected type: int64"),
    ],
    [
      '{"instances":[2147483648]}',
      { x: "int32" },
      element("0", "JSON Value: 2147483648 Type: Number is not of expected type: int32"),
    ],
    [
      '{"instances":[-2147483649]}',
      { x: "int8" },
      element("0", "JSON Value: -2147483649 Type: Number is not of expected type: int8"),
    ],
    [
      '{"instances":[-1]}',
      { x: "uint32" },
      element("0", "JSON Value: -1 Type: Number is not of expected type: uint32"),
    ],
    [
      '{"instances":[4294967296]}',
      { x: "uint32" },
      element("0", "JSON Value: 4294967296 Type: Number is not of expected type: uint32"),
    ],
    [
      '{"instances":[9223372036854775808]}',
      { x: "int64" },
      element("0", "JSON Value: 9223372036854775808 Type: Number is not of expected type: int64"),
    ],
    [
      '{"instances":[-1]}',
      { x: "uint64" },
      element("0", "JSON Value: -1 Type: Number is not of expected type: uint64"),
    ],
    [
      '{"instances":[18446744073709551616]}',
      { x: "uint64" },
      element("0", "JSON Value: 18446744073709553000.0 Type: Number is not of expected type: uint64"),
    ],
    [
      '{"instances":[1]}',
      { x: "bool" },
      element("0", "JSON Value: 1 Type: Number is not of expected type: bool"),
    ],
    [
      '{"instances":[1]}',
      { x: "string" },
      element("0", "JSON Value: 1 Type: Number is not of expected type: string"),
    ],
    [
      '{"inputs":{"x":{"z":1}}}',
      x,
      'INVALID_ARGUMENT: JSON Value: {\n    "z": 1\n} Type: Object is not of expected type: float',
    ],
    ['{"instances":[[1,2],[3]]}', x, element("1", "Expecting tensor size: 2 but got: 1")],
    ['{"instances": [[1,2],[3,4],[5,6,7]]}', x, element("2", "Expecting tensor size: 2 but got: 3")],
    ['{"instances":[[1,2],[[3,4]]]}', x, element("1", "Expecting shape [2] but got: [1,2]")],
    [
      '{"instances": [[1,2],[3,4],[[5,6]]]}',
      { x: "int32" },
      element("2", "Expecting shape [2] but got: [1,2]"),
    ],
    ['{"instances":[1,[2]]}', x, element("1", "Expecting shape [] but got: [1]")],
    ['{"instances":[{"x":1},{"x":[2]}]}', x, element("1 key: x", "Expecting shape [] but got: [1]")],
    [
      '{"instances":[[1,2],["a","b"]]}',
      { x: "int32" },
      element("1", 'JSON Value: "a" Type: String is not of expected type: int32'),
    ],
    [
      '{"instances":[{"int_tensor":[[1,2],[3,4],[5,6]],"str_tensor":["a"]},{"int_tensor":[[[7,8],[9,0],[1,2]]],"str_tensor":["a"]}]}',
      two,
      element("1 key: int_tensor", "Expecting shape [3,2] but got: [1,3,2]"),
    ],
    [
      '{"instances":[{"int_tensor":[[1,2],[3,4],[5,6],[7,8]],"str_tensor":["a"]},{"int_tensor":[[7,8],[9,0],[1,2]],"str_tensor":["a"]}]}',
      two,
      element("1 key: int_tensor", "Expecting tensor size: 8 but got: 6"),
    ],
    [
      '{"instances":[[[1,2],[3]]]}',
      x,
      element("0", "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
    ],
    ['{"instances":[[1,[2]]]}', x, element("0", "Encountered list at unexpected level: 1 expected < 1")],
    [
      '{"instances":[[[1],2]]}',
      x,
      element("0", "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
    ],
    [
      '{"inputs":[[1],[2,3]]}',
      x,
      "INVALID_ARGUMENT: Encountered list at unexpected size: 2 at level: 1 expected size: 1",
    ],
    [
      '{"instances":[{"x":{"b64":5}}]}',
      { x: "string" },
      element("0 key: x", 'JSON Value: {\n    "b64": 5\n} not formatted correctly for base64 data'),
    ],
    [
      '{"instances":[[{"b64":"aGk=","z":1}]]}',
      { x: "string" },
      element(
        "0",
        'JSON Value: {\n    "b64": "aGk=",\n    "z": 1\n} not formatted correctly for base64 data',
      ),
    ],
    ['{"instances":[{"b64":"!!"}]}', { x: "string" }, element("0", "Unable to base64 decode")],
    ['{"inputs":[1]}', { x: "half" }, "UNIMPLEMENTED: Conversion of JSON Value: 1 to type: half"],
    ['{"inputs":1.5}', { x: undefined }, "UNIMPLEMENTED: Conversion of JSON Value: 1.5 to type: resource"],
    [
      '{"instances":[1]}',
      { x: "bfloat16" },
      "INVALID_ARGUMENT: Failed to process element: 0 of 'instances' list. Error: UNIMPLEMENTED: Conversion of JSON Value: 1 to type: bfloat16",
    ],
    [
      '{"instances":[{"z":1}]}',
      { x: "complex64" },
      element("0 key: z", "JSON object: does not have named input: z"),
    ],
  ];
  test.each(rows)("%.80s under %j", (body, dtypes, message) => {
    expect(read(body, dtypes)).toBe(message);
  });

  test("an enormous claimed shape without allocating it", () => {
    const first = `[${new Array(1000).fill("0").join()}]`;
    const rest = new Array(100_000).fill("0").join();
    expect(read(`{"instances":[[[[${first}]]],${rest}]}`, { x: "float" })).toBe(
      element("1", "Expecting tensor size: 1000 but got: 1"),
    );
    const wide = `[${new Array(300).fill("[1]").join()}]`;
    expect(read(`{"inputs":[[${wide}],1]}`, { x: "float" })).toBe(
      "INVALID_ARGUMENT: JSON Value: 1 found at incorrect level: 2 in the JSON DOM. Expected at level: 4",
    );
  });
});

/** 数のいろいろな綴り。 */
const spelledNumber = fc.oneof(
  fc.integer().map(String),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
  fc.float({ noNaN: true, noDefaultInfinity: true, min: -100, max: 100 }).map((value) => value.toFixed(3)),
  fc.bigInt({ min: -(1n << 65n), max: 1n << 65n }).map(String),
  fc.constantFrom(
    "NaN",
    "-NaN",
    "Inf",
    "-Infinity",
    "-0",
    "-0.0",
    "1e5",
    "1E-5",
    "01",
    "1.",
    "true",
    '"a"',
    "{}",
    "[]",
    "null",
    ".5",
  ),
);
const space = fc.constantFrom("", "", "", " ", "\n", " \t");
function nested(depth: number): fc.Arbitrary<string> {
  if (depth === 0) return spelledNumber;
  return fc
    .tuple(fc.array(fc.tuple(space, nested(depth - 1), space), { maxLength: 3 }), space)
    .map(([items, end]) => `[${items.map((item) => item.join("")).join()}${end}]`);
}
const rectangle = fc
  .tuple(
    fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 3 }),
    fc.infiniteStream(
      fc.oneof({ weight: 20, arbitrary: fc.integer().map(String) }, { weight: 5, arbitrary: spelledNumber }),
    ),
  )
  .map(([dims, stream]) => {
    const build = (level: number): string =>
      level === dims.length
        ? (stream.next().value as string)
        : `[${Array.from({ length: dims[level]! }, () => build(level + 1)).join()}]`;
    return build(0);
  });

test("readPredictBody() answers as the general path does", () => {
  const dtypes: DType[] = [
    "float",
    "double",
    "int32",
    "int8",
    "uint8",
    "uint32",
    "int64",
    "uint64",
    "bool",
    "string",
    "half",
  ];
  const value = fc.oneof(rectangle, rectangle, fc.integer({ min: 0, max: 3 }).chain(nested));
  const key = fc.constantFrom("instances", "inputs");
  const name = fc.constantFrom(
    "",
    '"signature_name":"s",',
    '"signature_name" : "serving_default" ,',
    '"signature_name":1,',
    '"x":2,',
  );
  fc.assert(
    fc.property(
      name,
      key,
      space,
      value,
      fc.constantFrom("}", " }", "", ",}", ',"signature_name":"t"}', "} x"),
      fc.constantFrom(...dtypes),
      (before, k, gap, json, after, dtype) => {
        read(`{${before}${gap}"${k}"${gap}:${gap}${json}${gap}${after}`, { x: dtype });
      },
    ),
    { numRuns: 4000 },
  );
});
