import type { RestRequest, RpcRequest } from "../test/helpers/upstream_doors.ts";

// TF Serving に答えを録らせる質問。モデルは test/helpers/upstream_models.ts のもの。

const get = (target: string): RestRequest => ({ method: "GET", target });
const post = (target: string, body: string): RestRequest => ({
  method: "POST",
  target: `/v1/models/${target}`,
  body,
});
const signed = (signature: string, rest: string): string => `{"signature_name":"${signature}",${rest}}`;

const escapedName = "modelname%21%23%24%25%26%27%28%29%2A%2B%2C%2F%3A%3B%3D%3F%40%5B%5D";

/** `/v1/models` と `/` は、ここでは別の答えを持つ。 */
const paths = [
  ..."/ /half/ /half /half/versions/1 /half/versions/003 /half/versions/2 /half/versions/abc".split(" "),
  ..."/half/versions/-1 /half/versions/+1 /half/versions/0 /half/versions/ /half/versions/1/".split(" "),
  ..."/half/versions/9223372036854775807 /half/versions/9223372036854775808".split(" "),
  ..."/half/versions/9223372036854775808/metadata /half/versions/1/metadata".split(" "),
  ..."/half/labels/stable /half/labels/none /half/labels/ /half/labels/a/b /half/labels/a:b".split(" "),
  ..."/half/labels/stable/metadata /half/labels/none/metadata /half/labels/stable/versions/1".split(" "),
  ..."/half/labels/odd%20%251%20label /half/labels/odd%20%251%20label/metadata".split(" "),
  ..."/half/versions/1/labels/x /half/metadata /half/METADATA /half/metadata/ /half//metadata".split(" "),
  ..."/metadata /versions /versions/5 /labels/x //half /half?a=1 /half? /half/metadata?a=1".split(" "),
  ..."/half/versions/1?x=1 /half:predict /:half /half/version/1 /debug/model_name".split(" "),
  ..."/a%2Fb /%68alf /h%61lf/metadata /half% /half%4 /half%zz /%00half /half%00 /half%00x/metadata".split(
    " ",
  ),
  ..."/ha+lf /%C3%A4 /a%0Ab%09c%01 /a%7Fb /%3C%3E%22%26' /half;a=b /half&a /half@x /$half /~half".split(" "),
  ..."/half' /(half) /half! /half, /half= /-._ /nope /nope/metadata /nope/versions/1".split(" "),
  "/nope/versions/1/metadata",
  "/echo/metadata",
  "/example/metadata",
  ...["", "/metadata"].map((rest) => `/${escapedName}${rest}`),
  `/x/labels/${escapedName}/metadata`,
].map((path) => `/v1/models${path}`);
const others = [
  ..."/v1/foo /v1/ /v1 /v2/x //v1/models/half /statuspage /index".split(" "),
  ..."/V1/Models/half/Versions/1/metadata /V1/Models/half/Versions/1/Metadata /V1/MODELS/half".split(" "),
];

const calls = [
  ..."foo foo:predict half half:predict half:predict/ half:predict?x=1 half:PREDICT half:Predict".split(" "),
  ..."half:explain half/metadata half/version/50:regress half/versions/HELLO:regress".split(" "),
  ..."half/versions/18446744073709551615:regress half/versions/9223372036854775807:predict".split(" "),
  ..."half/versions/50:predict half/versions/1:predict half99:predict half/labels/none:predict".split(" "),
  ..."half/labels/none:classify half/labels/none:regress half/label/x:regress :predict half:".split(" "),
  ..."half/versions/50/labels/some_label:regress half/versions/some_label:regress half:classify".split(" "),
  ..."half:regress half/labels/stable:predict half/labels/odd%20%251%20label:predict".split(" "),
  ..."half/versions/:predict half:predict:predict %68alf:predict half%3Apredict".split(" "),
  ..."half%3Apredict:predict half:predict%20 half/Versions/1:predict half/LABELS/stable:predict".split(" "),
].flatMap((target) => ['{"instances":[[1],[2]]}', "x"].map((body) => post(target, body)));

const methods = "PUT DELETE PATCH OPTIONS"
  .split(" ")
  .flatMap((method) =>
    ["/v1/models/half", "/v1/models/half:predict", "/v1/foo", "/nope"].map((target) => ({ method, target })),
  );

const dtypes =
  "float32 float64 float16 bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool string complex64 qint8";
const literals = [
  ..."1 0 -0 -0.0 1.0 -1 1e2 1E+2 127 128 -128 -129 255 256 300 32767 32768 65535 65536".split(" "),
  ..."2147483647 2147483648 -2147483648 -2147483649 4294967295 4294967296".split(" "),
  ..."9007199254740991 9007199254740993 -9007199254740993 9223372036854775807".split(" "),
  ..."9223372036854775808 -9223372036854775808 -9223372036854775809".split(" "),
  ..."18446744073709551615 18446744073709551616 184467440737095516150".split(" "),
  ..."1e400 1e308 1.7976931348623159e308 5e-324 1e-310 2.3e-308 1e-400 1e-40 1.17549435e-38".split(" "),
  ..."3.4028235e38 3.4028236e38 1e39 1.5 0.1 0.333333333333333333 123456789.123456789 1435774380".split(" "),
  ..."16777217 NaN -NaN Inf -Inf Infinity -Infinity true false null [] [[]] [1] {}".split(" "),
  ...`"" "a" {"b64":"aGVsbG8="} {"b64":"/w=="} {"b64":""} {"b64":1} {"b64":"a"} {"b64":"aGVsbG8"}`.split(" "),
  ...`{"b64":"aGVsbG8=="} {"b64":"-_-_"} {"B64":"aa=="} {"b64":"YQ==","x":1}`.split(" "),
  '{"b64":"aG Vs\\nbG8="}',
  '"\\u00e9\\u0001\\n\\"\\\\/\\ud83d\\ude00"',
  '"é\u2028\x7f"',
];
const scalars = dtypes
  .split(" ")
  .flatMap((dtype) => literals.map((text) => signed(`echo_${dtype}`, `"instances":[${text}]`)))
  .map((body) => post("echo:predict", body));

/** 列の形と行の形、名前の付いたものと付かないもの。 */
const shapes = [
  '"instances":[]',
  '"instances":{}',
  '"instances":5',
  '"instances":null',
  '"inputs":null',
  '"inputs":{}',
  '"inputs":[]',
  '"instances":[[],[]]',
  '"instances":[{"x":[]},{"x":[]}]',
  '"instances":[1,2],"inputs":[1]',
  '"foo":1',
  '"instances":[[1,2],[3,4]]',
  '"instances":[[1,2],[3]]',
  '"instances":[[1,2],[[3,4]]]',
  '"instances":[1,[2]]',
  '"instances":[[1],2]',
  '"instances":[[[1,2],[3]]]',
  '"instances":[[1,[2]]]',
  '"instances":[[[1],2]]',
  '"instances":[{"x":1},{"x":[2]}]',
  '"instances":[{"x":1,"y":1}]',
  '"instances":[{"y":1}]',
  '"instances":[{}]',
  '"instances":[{"x":1},{}]',
  '"instances":[{"x":1},{"x":2,"z":3}]',
  '"instances":[{"x":1},2]',
  '"instances":[1,{"x":2}]',
  '"instances":[{"x":1,"x":2}]',
  '"instances":[{"x":1},{"x":1,"x":2}]',
  '"instances":[{"x":1,"x":2},{"x":3,"x":4}]',
  '"inputs":[[1],[2,3]]',
  '"inputs":{"x":[[1],[2,3]]}',
  '"inputs":{"x":1,"x":2}',
  '"inputs":{"x":1,"zzz":"ignored"}',
  '"inputs":{"y":1}',
  '"inputs":{"x":{"x":1}}',
  '"inputs":3',
  '"inputs":"s"',
  '"inputs":[{"x":1}]',
  '"inputs":{"b64":"aa=="}',
  '"instances":[{"b64":"aa=="}]',
  '"instances":[null]',
  '"instances":[[[[[[[1]]]]]]]',
  '"instances":[[1.5,2],[NaN,Infinity]]',
  '"instances":[{"x":null}]',
  '"instances":[{"x\\u0000y":1}]',
  '"instances":[{"\\u0078":1}]',
  '"inst\\u0061nces":[1]',
  '"Instances":[1]',
  '"instances":[1],"instances":[2]',
  '"inputs":[1],"inputs":[2]',
  '"instances":[1],"signature_name":5',
  '"instances":[1],"context":5,"examples":6',
  '"instances":[[1,2],["a","b"]]',
  '"instances":[[[1,2],[3,4]],[[1,2],[3]]]',
  '"instances":[[],[1]]',
  '"instances":[[[],[1]]]',
  '"inputs":[[],[1]]',
  '"inputs":[[1],2]',
].flatMap((rest) => [
  ...["echo_float32", "echo_string", "no_inputs", "nope"].map((name) =>
    post("echo:predict", signed(name, rest)),
  ),
  post("echo:predict", `{${rest}}`),
  post("nope:predict", `{${rest}}`),
]);

const row = '{"a":1,"b":"p","c":1.5}';
const several = [
  `"instances":[${row},{"a":2,"b":"q","c":2.5}]`,
  `"inputs":${row}`,
  '"inputs":{"a":[1,2],"b":"q","c":[[1.5]]}',
  `"instances":[${row},5]`,
  `"instances":[${row},{"a":1}]`,
  `"instances":[${row},{"a":1,"b":"x","c":1,"d":1}]`,
  '"instances":[{"c":1,"b":"x","a":1},{"b":"y","a":2,"c":3}]',
  '"instances":[{"c":"x","b":1,"a":"z"}]',
  '"instances":[{"a":1,"b":"p","b":"q","c":1},{"a":1,"b":"r","b":"s","c":1}]',
  '"instances":[{"a":[1,2],"b":"p","c":1},{"a":[1],"b":"p","c":1}]',
  '"instances":[{"a":[1,2],"b":["p"],"c":[[1]]},{"a":[3,4],"b":["q"],"c":[[2]]}]',
  '"instances":[{"a":1,"b":{"b64":"//8="},"c":1}]',
  '"inputs":[1,2]',
  '"inputs":5',
  '"instances":[1,2]',
  '"instances":[{}]',
].map((rest) => post("echo:predict", signed("multi", rest)));

const outputs = Object.entries({
  bytes: ['"instances":["a",{"b64":"/g=="}]', '"inputs":["a"]', '"instances":[["a","b"],["c","d"]]'],
  only_bytes: ['"instances":["a",{"b64":"/w=="}]', '"inputs":"a"', '"inputs":{"s_bytes":{"b64":"aGk="}}'],
  float_bytes: ['"instances":[1,2]', '"inputs":1'],
  scalar_out: ['"instances":[1,2]', '"inputs":[1,2]', '"inputs":5'],
  only_scalar_out: ['"instances":[1,2]', '"inputs":[1,2]'],
  mismatch: ['"inputs":[1,2]', '"inputs":[]'],
  no_inputs: ['"instances":[1]', '"inputs":{}', '"inputs":1'],
  subnormal: ['"instances":[1]', '"inputs":[1]'],
  subnormal_double: ['"instances":[1]', '"inputs":[1]'],
  integers: ['"instances":[1]', '"inputs":[1]'],
  unsigned: ['"instances":[1]', '"inputs":[1]'],
  half_out: ['"instances":[1]', '"inputs":1', '"inputs":[]'],
  complex_out: ['"instances":[1]', '"inputs":1'],
  cube: ['"instances":[1]', '"inputs":[1]'],
  hollow: ['"instances":[1]', '"inputs":[1]'],
  texts: ['"instances":[1]', '"inputs":[1]'],
  no_method: ['"instances":[1]'],
  odd_method: ['"instances":[1]'],
  "": ['"instances":[1]'],
  "\\u0065cho_int32": ['"instances":[1]'],
  "echo_int32\\u0000x": ['"instances":[1]'],
  "äö \\\"<>&'\\n\\u2028": [
    '"instances":[1]',
    '"inputs":[1]',
    '"instances":[{"x\\"<é":1}]',
    '"inputs":{"x":1}',
  ],
}).flatMap(([name, bodies]) => bodies.map((rest) => post("echo:predict", signed(name, rest))));

const documents = [
  ...["", "   ", "\n\t\r ", "{", "}", "[", "]", "[1]", "1", '"a"', "null", "true", "NaN", "{}", "{}x"],
  ...['{"instances":[1]} xyz', '\ufeff{"instances":[1]}', "\ufeff", "instances = [1, 2]", '{"instances":[1]'],
  ...['{"instances":[1 2]}', '{"instances":[1,]}', '{"instances":[,1]}', '{"instances"[1]}'],
  ...["{instances:[1]}", '{"instances":[1],}', "{'instances':[1]}", '{"instances":[1]/**/}', '{"a":tru}'],
  ...['{"a', '{"a"', '{"a":', '{"a":1', '{"a":1,', '{"a":[', '{"a":[1', '{"a":[1,', '{"a":{', '{"a":}'],
  ...['{"a":]', '{"a":[}', '{"a":{]', "[}", "{]", '{"instances":[1]}}', '{"instances":[1]]', "{1:2}"],
  ...['{"a":1 "b":2}', '{"a" 1}', '{"a"::1}', "{,}", "[,]", '{"instances":[1.5.5]}', '{"instances":[--1]}'],
  ...[
    '{"instances":["a\nb"]}',
    '{"instances":["a\x01b"]}',
    '{"instances":["\\q"]}',
    '{"instances":["\\u12"]}',
  ],
  ...['{"instances":["\\ud800"]}', '{"instances":["\\ud800\\u0041"]}', '{"instances":[+1]}'],
  ...['{"instances":[.5]}', '{"instances":[1.]}', '{"instances":[01]}', '{"instances":[1e]}'],
  ...['{"instances":[-]}', '{"instances":[Infinit]}', '{"instances":[nan]}', '{"instances":[NaNN]}'],
  ...['{"instances":[1e309]}', '{"instances":[0e400]}', '{"instances":[0.00001e312]}'],
  ...[`{"instances":[1${"0".repeat(308)}]}`, `{"instances":[1${"0".repeat(309)}]}`],
  ...['{"signature_name":"","instances":[1]}', '{"signature_name":null,"instances":[1]}'],
  `{"instances":["${"x".repeat(400)}"]}`,
  `{"instances":["${"\\u00e9".repeat(200)}"]}`,
  `{"instances":5,"k":[${Array.from({ length: 200 }, (_, i) => i).join()}]}`,
  '{"instances":5,"k":1e2,"l":1.0,"m":1e20,"n":18446744073709551616,"o":0.1,"p":1e21,"q":1.5e-7,"r":-0.0}',
  '{"instances":5,"k":{"a":{},"b":[],"c":[{}],"d":[[1,{"x":[1,2]}]]},"v":[NaN],"w":1}',
].flatMap((body) => ["predict", "classify"].map((verb) => post(`echo:${verb}`, body)));

const features = [
  ...'1 1.0 -1 true null "a" {"b64":"YQ=="} {"b64":"?"} {"b64":1} {} [] [[1]] [1,2] [1.0,2]'.split(" "),
  ...'[1,2.0] [1,true,false] [true,1] ["a",{"b64":"YQ=="}] ["a",1] [1,"a"] [1.5,null] [{"t":10}]'.split(" "),
  ..."[[10],20] NaN Infinity [1.5,NaN] 9223372036854775807 9223372036854775808".split(" "),
  ...'18446744073709551616 -9223372036854775809 1e2 1e39 -0 -0.0 1e-40 ["\\u0000"]'.split(" "),
].flatMap((value) =>
  ["x", "i", "s", "v", "other"].flatMap((name) => {
    const given = name === "x" ? "" : '"x":1.5,';
    return [
      post("example:classify", `{"examples":[{${given}"${name}":${value}}]}`),
      post("example:regress", signed("regress", `"context":{"${name}":${value}},"examples":[{"x":1.5},{}]`)),
    ];
  }),
);

const signatures =
  "serving_default classes_only scores_only three_outputs scores_and_x x_only wrong_input_alias two_inputs " +
  "scores_rank1 scores_rank3 classes_float scores_double scores_string scores_rows classes_rows other_widths " +
  "zero_classes regress regress_rank1 regress_wide regress_int regress_rank0 regress_rank3 regress_rows " +
  "regress_alias regress_two regress_double_rank1 predict nope";
const heads = signatures
  .split(" ")
  .flatMap((name) => [
    ...["classify", "regress"].flatMap((verb) =>
      ['"examples":[{"x":1.5}]', '"examples":[{"x":1.5},{"x":2.5,"i":3,"s":"é"}]'].map((rest) =>
        post(`example:${verb}`, signed(name, rest)),
      ),
    ),
    ...(name === "two_inputs" ? [] : [post("example:predict", signed(name, '"instances":[{"b64":""},"?"]'))]),
  ]);

const examples = [
  "{}",
  '{"examples":[]}',
  '{"examples":{}}',
  '{"examples":5}',
  '{"examples":[5]}',
  '{"examples":[[1]]}',
  '{"examples":[{}]}',
  '{"examples":[{"x":1.5},5]}',
  '{"context":5,"examples":[{"x":1.5}]}',
  '{"context":{},"examples":[{"x":1.5}]}',
  '{"context":null,"examples":[{"x":1.5}]}',
  '{"context":{"x":9.5},"examples":[{}]}',
  '{"context":{"x":9.5},"examples":[{},{"x":1.5}]}',
  '{"context":{"x":9.5}}',
  '{"signature_name":["x"],"examples":[{"x":1.5}]}',
  '{"signature_name":5,"context":5}',
  '{"examples":[{"x":1.5,"x":2}]}',
  '{"examples":[{"x":2,"x":1.5}]}',
  '{"examples":[{"x\\u0000":1.5}]}',
  '{"examples":[{"x":1.5}],"examples":5}',
  '{"examples":[{"x":1.5},{"i":5}]}',
].flatMap((body) =>
  ["example:classify", "nope:classify", "nope:regress"].map((target) => post(target, body)),
);

/** REST で訊くこと。 */
export const restRequests: readonly RestRequest[] = [
  ...[...paths, ...others].map(get),
  ...calls,
  ...methods,
  ...scalars,
  ...shapes,
  ...several,
  ...outputs,
  ...documents,
  ...features,
  ...heads,
  ...examples,
];

const specs = [
  "",
  "model_spec {}",
  'model_spec { name: "nope" }',
  'model_spec { name: "half" }',
  'model_spec { name: "half" version { value: 1 } }',
  'model_spec { name: "half" version { value: 2 } }',
  'model_spec { name: "half" version { } }',
  'model_spec { name: "half" version { value: -1 } }',
  'model_spec { name: "half" version_label: "stable" }',
  'model_spec { name: "half" version_label: "none" }',
  'model_spec { name: "half" version_label: "" }',
  'model_spec { name: "nope" version_label: "x" }',
  'model_spec { name: "nope" version { value: 5 } }',
  'model_spec { name: "half" signature_name: "nope" }',
  `model_spec { name: "${"x".repeat(3000)}" }`,
];
const tensorOf = (fields: string): string => `inputs { key: "x" value { ${fields} } }`;
const matrix = "dtype: DT_FLOAT tensor_shape { dim { size: 1 } dim { size: 1 } } float_val: 2";
const examplesOf = (...values: readonly number[]): string =>
  `input { example_list { ${values
    .map((value) => `examples { features { feature { key: "x" value { float_list { value: ${value} } } } } }`)
    .join(" ")} } }`;

const bySpec = specs.flatMap((spec): RpcRequest[] => [
  { rpc: "Predict", text: `${spec} ${tensorOf(matrix)}` },
  { rpc: "Classify", text: spec },
  { rpc: "Regress", text: `${spec} ${examplesOf(1.5)}` },
  { rpc: "GetModelStatus", text: spec },
  ...["", '"signature_def"', '"nope"', '["signature_def", "nope"]', '["signature_def", "signature_def"]'].map(
    (field) => ({
      rpc: "GetModelMetadata",
      text: `${spec} ${field === "" ? "" : `metadata_field: ${field}`}`,
    }),
  ),
]);

const one = "tensor_shape { dim { size: 1 } }";
const named = (keys: string): string =>
  [...keys].map((key) => `inputs { key: "${key}" value { dtype: DT_FLOAT ${one} float_val: 1 } }`).join(" ");
const aliases = ["", "x", "z", "xz", "zy"].flatMap((keys): RpcRequest[] =>
  ["echo_float32", "no_inputs"].map((name) => ({
    rpc: "Predict",
    text: `model_spec { name: "echo" signature_name: "${name}" } ${named(keys)}`,
  })),
);
const three =
  'model_spec { name: "echo" signature_name: "multi" } ' +
  'inputs { key: "a" value { dtype: DT_INT32 tensor_shape {} int_val: 1 } } ' +
  'inputs { key: "b" value { dtype: DT_STRING tensor_shape {} string_val: "x" } } ' +
  'inputs { key: "c" value { dtype: DT_FLOAT tensor_shape {} float_val: 1 } }';
const filters = [
  '"a"',
  '["b", "a"]',
  '"nope"',
  '["a", "a"]',
  '["a", "nope"]',
  '["nope", "a", "a"]',
  '""',
].map((filter): RpcRequest => ({ rpc: "Predict", text: `${three} output_filter: ${filter}` }));

const fields: readonly (readonly [name: string, wire: string, field: string, values: readonly string[]])[] = [
  ["float32", "DT_FLOAT", "float_val", ["1.5", "inf", "-0.0", "1e-40"]],
  ["float64", "DT_DOUBLE", "double_val", ["1.5", "5e-324"]],
  ["float16", "DT_HALF", "half_val", ["15360", "31744", "1", "-17408"]],
  ["bfloat16", "DT_BFLOAT16", "half_val", ["16256", "1"]],
  ["int8", "DT_INT8", "int_val", ["1", "300", "-129"]],
  ["int16", "DT_INT16", "int_val", ["1", "70000"]],
  ["int32", "DT_INT32", "int_val", ["1", "-2147483648"]],
  ["int64", "DT_INT64", "int64_val", ["1", "-9223372036854775808", "9007199254740993"]],
  ["uint8", "DT_UINT8", "int_val", ["1", "300", "-1"]],
  ["uint16", "DT_UINT16", "int_val", ["1", "70000"]],
  ["uint32", "DT_UINT32", "uint32_val", ["1", "4294967295"]],
  ["uint64", "DT_UINT64", "uint64_val", ["1", "18446744073709551615"]],
  ["bool", "DT_BOOL", "bool_val", ["true", "false"]],
  ["string", "DT_STRING", "string_val", ['"a"', '""', '"\\377\\000"']],
  ["complex64", "DT_COMPLEX64", "scomplex_val", ["1.5", "2.5"]],
  ["complex128", "DT_COMPLEX128", "dcomplex_val", ["1.5", "2.5"]],
  ["qint8", "DT_QINT8", "int_val", ["1", "300"]],
];
const sizes = ["", "dim { size: 1 }", "dim { size: 3 }", "dim { size: 0 }", "dim { size: -1 }"];
const tensors = fields.flatMap(([name, wire, field, values]) =>
  sizes.flatMap((dims) => {
    const texts = [
      "",
      ...[1, values.length, values.length * 3].map((count) =>
        Array.from({ length: count }, (_, i) => `${field}: ${values[i % values.length]}`).join(" "),
      ),
      ...[1, 2, 4, 8, 12].map(
        (bytes) =>
          `tensor_content: "${Array.from({ length: bytes }, (_, i) => `\\${String((i * 37 + 1) % 64).padStart(3, "0")}`).join("")}"`,
      ),
    ];
    return texts.map(
      (value): RpcRequest => ({
        rpc: "Predict",
        text: `model_spec { name: "echo" signature_name: "echo_${name}" } ${tensorOf(`dtype: ${wire} tensor_shape { ${dims} } ${value}`)}`,
      }),
    );
  }),
);

const inputs = [
  "",
  "input {}",
  "input { example_list {} }",
  examplesOf(1.5),
  examplesOf(1.5, -2),
  'input { example_list_with_context { context { features { feature { key: "x" value { float_list { value: 9 } } } } } } }',
  'input { example_list_with_context { examples {} context { features { feature { key: "x" value { float_list { value: 9 } } } } } } }',
];
const task = (model: string, signature: string, verb: string, version = ""): string =>
  `tasks { model_spec { name: "${model}" signature_name: "${signature}" ${version} } method_name: "tensorflow/serving/${verb}" }`;
const inference = signatures.split(" ").flatMap((name) =>
  inputs.flatMap((input): RpcRequest[] => [
    { rpc: "Classify", text: `model_spec { name: "example" signature_name: "${name}" } ${input}` },
    { rpc: "Regress", text: `model_spec { name: "example" signature_name: "${name}" } ${input}` },
    { rpc: "MultiInference", text: `${task("example", name, "classify")} ${input}` },
  ]),
);
const classify = task("example", "classify", "classify");
const regress = task("example", "regress", "regress");
const multi = [
  "",
  `${classify} ${regress}`,
  `${regress} ${classify}`,
  `${classify} ${classify}`,
  `${task("example", "", "classify")} ${task("example", "serving_default", "classify")}`,
  `${classify} ${task("half", "regress", "regress")}`,
  `${classify} ${task("", "regress", "regress")}`,
  `${task("", "classify", "classify")} ${regress}`,
  task("example", "classify", "foo"),
  task("example", "classify", "predict"),
  task("nope", "classify", "classify"),
  `${classify} ${task("example", "regress", "regress", "version { value: 9 }")}`,
  task("example", "classify", "classify", "version { value: 9 }"),
  task("example", "classify", "classify", 'version_label: "q"'),
  `${classify} ${task("example", "nope", "regress")}`,
  `${classify} ${task("example", "regress_wide", "regress")}`,
  `${classify} ${regress} ${task("example", "scores_only", "classify")}`,
].flatMap((tasks): RpcRequest[] =>
  ["", examplesOf(1.5, 2.5)].map((input) => ({ rpc: "MultiInference", text: `${tasks} ${input}` })),
);

const reload = [
  "",
  'config { custom_model_config { type_url: "x" } }',
  'config { model_config_list { config { name: "a" base_path: "/x" model_platform: "tensorflow" } config { name: "a" base_path: "/x" model_platform: "tensorflow" } } }',
  'config { model_config_list { config { name: "a" base_path: "relative" model_platform: "tensorflow" } } }',
].map((text): RpcRequest => ({ rpc: "HandleReloadConfigRequest", text }));

/** gRPC で訊くこと。 */
export const rpcRequests: readonly RpcRequest[] = [
  ...bySpec,
  ...aliases,
  { rpc: "Predict", text: three },
  ...filters,
  ...tensors,
  ...inference,
  ...multi,
  ...reload,
];
