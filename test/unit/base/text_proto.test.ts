import { describe, expect, test } from "bun:test";
import { create, type DescMessage, fromBinary, toBinary, toJson } from "@bufbuild/protobuf";
import { toText } from "@bufbuild/protobuf/txtpb";
import fc from "fast-check";
import { parseTextProto, TextProtoError } from "../../../src/base/text_proto.ts";
import { ExampleSchema } from "../../../src/gen/tensorflow/core/example/example_pb.ts";
import { GraphDefSchema } from "../../../src/gen/tensorflow/core/framework/graph_pb.ts";
import { TensorProtoSchema } from "../../../src/gen/tensorflow/core/framework/tensor_pb.ts";
import { ModelServerConfigSchema } from "../../../src/gen/tensorflow_serving/config/model_server_config_pb.ts";
import { MonitoringConfigSchema } from "../../../src/gen/tensorflow_serving/config/monitoring_config_pb.ts";
import { PlatformConfigMapSchema } from "../../../src/gen/tensorflow_serving/config/platform_config_pb.ts";
import { SavedModelBundleSourceAdapterConfigSchema } from "../../../src/gen/tensorflow_serving/servables/tensorflow/saved_model_bundle_source_adapter_pb.ts";
import { BatchingParametersSchema } from "../../../src/gen/tensorflow_serving/servables/tensorflow/session_bundle_config_pb.ts";

const json = (schema: DescMessage, text: string) => toJson(schema, parseTextProto(schema, text));

describe("parseTextProto() reads", () => {
  const rows: [string, DescMessage, string, unknown][] = [
    ["an empty text", ModelServerConfigSchema, "", {}],
    ["a comment", ModelServerConfigSchema, "# nothing\n", {}],
    [
      "nested messages, commas, colons before braces",
      ModelServerConfigSchema,
      'model_config_list: { config: { name: "a", base_path: "/m/a", model_platform: "tensorflow" }, config < name: "b" >; }',
      {
        modelConfigList: {
          config: [{ name: "a", basePath: "/m/a", modelPlatform: "tensorflow" }, { name: "b" }],
        },
      },
    ],
    [
      "versions in both list forms, maps, enums",
      ModelServerConfigSchema,
      `model_config_list { config {
         model_type: TENSORFLOW
         model_version_policy { specific { versions: 42 versions: [43, 0x2c] } }
         version_labels { key: "stable" value: 42 }
         version_labels { key: 'canary', value: 43 }
       } }`,
      {
        modelConfigList: {
          config: [
            {
              modelType: "TENSORFLOW",
              modelVersionPolicy: { specific: { versions: ["42", "43", "44"] } },
              versionLabels: { stable: "42", canary: "43" },
            },
          ],
        },
      },
    ],
    [
      "wrapper messages",
      BatchingParametersSchema,
      "max_batch_size { value: 128 } batch_timeout_micros { value: 0 } allowed_batch_sizes: 4 allowed_batch_sizes: 010",
      { maxBatchSize: "128", batchTimeoutMicros: "0", allowedBatchSizes: ["4", "8"] },
    ],
    [
      "booleans and adjacent strings",
      MonitoringConfigSchema,
      `prometheus_config { enable: t path: "/a" '/b\\x2f\\143\\n\\u3042' }`,
      { prometheusConfig: { enable: true, path: "/a/b/c\nあ" } },
    ],
    [
      "floats of every spelling",
      TensorProtoSchema,
      "dtype: 1 float_val: [1, -2.5, 1e3, .5, 3f, inf, -inf, nan] int64_val: -9223372036854775808 bool_val: [true, False, 1]",
      {
        dtype: "DT_FLOAT",
        floatVal: [1, -2.5, 1000, 0.5, 3, "Infinity", "-Infinity", "NaN"],
        int64Val: ["-9223372036854775808"],
        boolVal: [true, false, true],
      },
    ],
    [
      "map values that are messages",
      ExampleSchema,
      'features { feature { key: "x" value { float_list { value: 2 } } } feature { key: "y" } }',
      { features: { feature: { x: { floatList: { value: [2] } }, y: {} } } },
    ],
    ["an empty list", TensorProtoSchema, "float_val: []", {}],
    [
      "numbers at the edges, in every base",
      TensorProtoSchema,
      "int_val: [-2147483648, 0x7FFFFFFF, -017] uint32_val: 4294967295 uint64_val: 18446744073709551615 dtype: -5",
      {
        dtype: -5,
        intVal: [-2147483648, 2147483647, -15],
        uint32Val: [4294967295],
        uint64Val: ["18446744073709551615"],
      },
    ],
    [
      "floats that round, overflow and vanish",
      TensorProtoSchema,
      "float_val: [3.4028236e38, 1e-50, - 5, 1.5F, 1E+3f, -INFINITY] double_val: 1e400",
      { floatVal: ["Infinity", 0, -5, 1.5, 1000, "-Infinity"], doubleVal: ["Infinity"] },
    ],
    [
      "escapes, surrogate pairs, adjacent strings",
      TensorProtoSchema,
      String.raw`string_val: "\a\b\f\n\r\t\v\\\?\'\"" string_val: "\777\x4\u00e9\uD83D\uDE00\U0001F600" string_val: 'it''s' string_val: "\ud83d\n"`,
      {
        stringVal: [
          btoa("\x07\b\f\n\r\t\v\\?'\""),
          Buffer.from([0xff, 4, ...Buffer.from("é😀😀")]).toString("base64"),
          btoa("its"),
          Buffer.from([0xed, 0xa0, 0xbd, 10]).toString("base64"),
        ],
      },
    ],
    [
      "a repeated key, whose last value wins; a missing key and value",
      ModelServerConfigSchema,
      'model_config_list { config { version_labels { key: "a" value: 1 } version_labels: [{ key: "a" value: 2 }, {}] } }',
      { modelConfigList: { config: [{ versionLabels: { a: "2", "": "0" } }] } },
    ],
    [
      "a default value written twice (as C++ does)",
      TensorProtoSchema,
      "version_number: 0 version_number: 3",
      { versionNumber: 3 },
    ],
  ];
  test.each(rows)("%s", (_, schema, text, expected) => {
    expect(json(schema, text)).toEqual(expected as never);
  });

  test("an expanded Any", () => {
    const anyTypes = [SavedModelBundleSourceAdapterConfigSchema];
    const text = `platform_configs { key: "tensorflow" value { source_adapter_config {
      [type.googleapis.com/tensorflow.serving.SavedModelBundleSourceAdapterConfig] {
        legacy_config { saved_model_tags: "serve" } } } } }`;
    const any = parseTextProto(PlatformConfigMapSchema, text, anyTypes).platformConfigs["tensorflow"]!
      .sourceAdapterConfig!;
    expect(any.typeUrl).toBe("type.googleapis.com/tensorflow.serving.SavedModelBundleSourceAdapterConfig");
    expect(
      fromBinary(SavedModelBundleSourceAdapterConfigSchema, any.value).legacyConfig!.savedModelTags,
    ).toEqual(["serve"]);
  });
});

describe("parseTextProto() refuses, in the words and at the places of C++ TextFormat", () => {
  // protoc --encode が同じ入力に出した最初の 1 行。
  const server: [string, string][] = [
    [
      "improperly formatted file",
      '1:12: Message type "tensorflow.serving.ModelServerConfig" has no field named "improperly".',
    ],
    [
      'model_config_list { config { bas_path: "x" } }',
      '1:38: Message type "tensorflow.serving.ModelConfig" has no field named "bas_path".',
    ],
    ["model_config_list {\n config { name: 5 } }", "2:17: Expected string, got: 5"],
    ["model_config_list {\n\tconfig { name: 5 } }", "2:24: Expected string, got: 5"],
    [
      'model_config_list { config { name: "a" name: "b" } }',
      '1:44: Non-repeated field "name" is specified multiple times.',
    ],
    ["model_config_list {", "1:20: Expected identifier, got: "],
    ["model_config_list { config { name 'x' } }", '1:35: Expected ":", found "\'x\'".'],
    ['model_config_list { config { name: "a\n" } }', "1:38: String literals cannot cross line boundaries."],
    ['model_config_list { config { name: "a } }', "1:42: Unexpected end of string."],
    ['model_config_list { config { name: "\\q" } }', "1:38: Invalid escape sequence in string literal."],
    ["model_config_list config {}", '1:19: Expected "{", found "config".'],
    ["model_config_list <}", '1:20: Expected ">", found "}".'],
    ["model_config_list {}; ;", "1:23: Expected identifier, got: ;"],
    ["{", "1:1: Expected identifier, got: {"],
    ["1", "1:1: Expected identifier, got: 1"],
    ['"a"', '1:1: Expected identifier, got: "a"'],
    ["あ", "1:1: Interpreting non ascii codepoint 227."],
    [
      "[x.y] { }",
      '1:7: Extension "x.y" is not defined or is not an extension of "tensorflow.serving.ModelServerConfig".',
    ],
    [
      "model_config_list {} custom_model_config {}",
      '1:42: Field "custom_model_config" is specified along with field "model_config_list", another member of oneof "config".',
    ],
    [
      "custom_model_config { [type.googleapis.com/foo.Bar] { } }",
      '1:53: Could not find type "type.googleapis.com/foo.Bar" stored in google.protobuf.Any.',
    ],
    [
      "model_config_list { config { version_labels { name: 1 } } }",
      '1:51: Message type "tensorflow.serving.ModelConfig.VersionLabelsEntry" has no field named "name".',
    ],
    [
      "model_config_list { config { version_labels { value: 1 value: 2 } } }",
      '1:61: Non-repeated field "value" is specified multiple times.',
    ],
  ];
  const tensor: [string, string][] = [
    ["dtype: DT_NOPE", '1:15: Unknown enumeration value of "DT_NOPE" for field "dtype".'],
    ['dtype: "x"', '1:8: Expected integer or identifier, got: "x"'],
    ["dtype: 99999999999", "1:8: Integer out of range (99999999999)"],
    ["int_val: 2147483648", "1:10: Integer out of range (2147483648)"],
    ["int_val: -2147483649", "1:11: Integer out of range (2147483649)"],
    ["uint32_val: -1", "1:13: Expected integer, got: -"],
    ["int64_val: 9223372036854775808", "1:12: Integer out of range (9223372036854775808)"],
    ["int_val: 1.5", "1:10: Expected integer, got: 1.5"],
    ["int_val: true", "1:10: Expected integer, got: true"],
    ["int_val: 08", "1:11: Numbers starting with leading zero must be in octal."],
    ["int_val: 0x", '1:12: "0x" must be followed by hex digits.'],
    ["int_val: 1a", "1:11: Need space between number and identifier."],
    ["int_val: 0x1.5", "1:13: Hex and octal numbers must be integers."],
    ["float_val: 1e", '1:14: "e" must be followed by exponent.'],
    ["float_val: 1.2.3", "1:15: Already saw decimal point or exponent; can't have another one."],
    ["float_val: x", "1:12: Expected double, got: x"],
    ["float_val: 0x10", "1:12: Expect a decimal number, got: 0x10"],
    ["float_val: 010", "1:12: Expect a decimal number, got: 010"],
    ["float_val: [1", '1:14: Expected ",", found "".'],
    ["int_val: [1 2]", '1:13: Expected ",", found "2".'],
    ["int_val: [1,]", "1:13: Expected integer, got: ]"],
    ["int_val [1]", '1:9: Expected ":", found "[".'],
    ["tensor_shape: [{}]", '1:15: Expected "{", found "[".'],
    ["bool_val: 2", "1:11: Integer out of range (2)"],
    ["bool_val: maybe", '1:16: Invalid value for boolean field "bool_val". Value: "maybe".'],
    ['bool_val: "x"', '1:11: Expected identifier, got: "x"'],
    ['tensor_content: "\\x"', "1:20: Expected hex digits for escape sequence."],
    ['tensor_content: "\\u12"', "1:22: Expected four hex digits for \\u escape sequence."],
    ['tensor_content: "\\U99999999"', "1:20: Expected eight hex digits up to 10ffff for \\U escape sequence"],
    ["int_val: 1 \x01", "1:12: Invalid control characters encountered in text."],
    ["/* */", "1:1: Expected identifier, got: /"],
  ];
  const outcome = (schema: DescMessage, text: string): string => {
    try {
      parseTextProto(schema, text);
    } catch (error) {
      expect(error).toBeInstanceOf(TextProtoError);
      const { line, column, message } = error as TextProtoError;
      return `${line}:${column}: ${message}`;
    }
    return "was accepted";
  };
  test.each(server)("ModelServerConfig %j", (text, expected) => {
    expect(outcome(ModelServerConfigSchema, text)).toBe(expected);
  });
  test.each(tensor)("TensorProto %j", (text, expected) => {
    expect(outcome(TensorProtoSchema, text)).toBe(expected);
  });

  test("bytes that are no text in a string field", () => {
    const text = 'model_config_list { config { name: "\\xff" } }';
    expect(outcome(ModelServerConfigSchema, text)).toContain(
      'String field "name" contains invalid UTF-8 data.',
    );
  });

  test("an Any given twice", () => {
    const anyTypes = [ModelServerConfigSchema];
    const once = "[type.googleapis.com/tensorflow.serving.ModelServerConfig] {}";
    const any = parseTextProto(ModelServerConfigSchema, `custom_model_config { ${once} }`, anyTypes);
    expect(any.config.case).toBe("customModelConfig");
    expect(() =>
      parseTextProto(ModelServerConfigSchema, `custom_model_config { ${once} ${once} }`, anyTypes),
    ).toThrow("specified multiple times");
  });

  test("a small text that would fill the memory", () => {
    const text = `variant_val { ${"tensors{}".repeat(100)} }`;
    expect(parseTextProto(TensorProtoSchema, text, undefined, 200_000).variantVal[0]?.tensors).toHaveLength(
      100,
    );
    expect(() => parseTextProto(TensorProtoSchema, text, undefined, 100_000)).toThrow(
      "Message is too large, it decodes to more than 100000 bytes.",
    );
  });

  test("bottomless nesting", () => {
    const text = "variant_val { tensors {".repeat(100_000);
    expect(() => parseTextProto(TensorProtoSchema, text)).toThrow("recursion limit");
  });
});

test("parseTextProto() keeps every byte of a quoted string", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      const quoted = [...bytes].map((byte) => `\\${byte.toString(8).padStart(3, "0")}`).join("");
      expect(parseTextProto(TensorProtoSchema, `tensor_content: "${quoted}"`).tensorContent).toEqual(bytes);
    }),
  );
});

test("parseTextProto() either reads or throws TextProtoError", () => {
  const alphabet = fc.constantFrom(
    "model_config_list",
    "config",
    "name",
    ":",
    "{",
    "}",
    "<",
    ">",
    "[",
    "]",
    '"a"',
    "1",
    ",",
    ";",
    "#",
    "\n",
    " ",
    "-",
    "\\",
    "'",
  );
  fc.assert(
    fc.property(fc.array(alphabet, { maxLength: 40 }), (parts) => {
      try {
        parseTextProto(ModelServerConfigSchema, parts.join(" "));
      } catch (error) {
        expect(error).toBeInstanceOf(TextProtoError);
      }
    }),
  );
});

test("parseTextProto() reads back what protobuf-es prints", () => {
  const bytes = fc.uint8Array({ maxLength: 8 });
  const value = fc.oneof(
    fc.record({ case: fc.constant("s" as const), value: bytes }),
    fc.record({
      case: fc.constant("i" as const),
      value: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    }),
    fc.record({ case: fc.constant("f" as const), value: fc.float({ noNaN: true }) }),
    fc.record({ case: fc.constant("b" as const), value: fc.boolean() }),
    fc.record({ case: fc.constant("type" as const), value: fc.nat(30) }),
    fc.record({
      case: fc.constant("tensor" as const),
      value: fc.record({
        dtype: fc.nat(23),
        doubleVal: fc.array(fc.double({ noNaN: true })),
        stringVal: fc.array(bytes),
        uint64Val: fc.array(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })),
      }),
    }),
    fc.record({ case: fc.constant("placeholder" as const), value: fc.string({ unit: "binary" }) }),
  );
  const graph = fc.record({
    node: fc.array(
      fc.record({
        name: fc.string({ unit: "grapheme" }),
        input: fc.array(fc.string()),
        attr: fc.dictionary(fc.string(), fc.record({ value })),
      }),
      { maxLength: 4 },
    ),
  });
  fc.assert(
    fc.property(graph, (init) => {
      const message = create(GraphDefSchema, init);
      const again = parseTextProto(GraphDefSchema, toText(GraphDefSchema, message));
      expect(toBinary(GraphDefSchema, again)).toEqual(toBinary(GraphDefSchema, message));
    }),
  );
});
