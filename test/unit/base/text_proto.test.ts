import { describe, expect, test } from "bun:test";
import { createRegistry, type DescMessage, fromBinary, toJson } from "@bufbuild/protobuf";
import fc from "fast-check";
import { parseTextProto, TextProtoError } from "../../../src/base/text_proto.ts";
import { ExampleSchema } from "../../../src/gen/tensorflow/core/example/example_pb.ts";
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
  ];
  test.each(rows)("%s", (_, schema, text, expected) => {
    expect(json(schema, text)).toEqual(expected as never);
  });

  test("an expanded Any", () => {
    const registry = createRegistry(SavedModelBundleSourceAdapterConfigSchema);
    const text = `platform_configs { key: "tensorflow" value { source_adapter_config {
      [type.googleapis.com/tensorflow.serving.SavedModelBundleSourceAdapterConfig] {
        legacy_config { saved_model_tags: "serve" } } } } }`;
    const any = parseTextProto(PlatformConfigMapSchema, text, registry).platformConfigs["tensorflow"]!
      .sourceAdapterConfig!;
    expect(any.typeUrl).toBe("type.googleapis.com/tensorflow.serving.SavedModelBundleSourceAdapterConfig");
    expect(
      fromBinary(SavedModelBundleSourceAdapterConfigSchema, any.value).legacyConfig!.savedModelTags,
    ).toEqual(["serve"]);
  });
});

describe("parseTextProto() refuses", () => {
  const rows: [DescMessage, string, string, number, number][] = [
    [
      ModelServerConfigSchema,
      "improperly formatted file",
      'Message type "tensorflow.serving.ModelServerConfig" has no field named "improperly".',
      1,
      1,
    ],
    [ModelServerConfigSchema, "model_config_list {\n config { name: 5 } }", "Expected string, got: 5", 2, 17],
    [ModelServerConfigSchema, "model_config_list {", 'Expected "}", found "".', 1, 20],
    [
      ModelServerConfigSchema,
      "model_config_list { config { name 'x' } }",
      'Expected ":", found "\'x\'".',
      1,
      35,
    ],
    [
      ModelServerConfigSchema,
      'model_config_list { config { name: "a\n" } }',
      "String literals cannot cross line boundaries.",
      1,
      36,
    ],
    [ModelServerConfigSchema, "{", "Expected identifier, got: {", 1, 1],
    [
      ModelServerConfigSchema,
      "[x.y] { }",
      'Extension "x.y" is not defined or is not an extension of "tensorflow.serving.ModelServerConfig".',
      1,
      1,
    ],
    [
      ModelServerConfigSchema,
      "model_config_list {} custom_model_config {}",
      'Field "custom_model_config" is specified along with field "model_config_list", another member of oneof "config".',
      1,
      22,
    ],
    [
      MonitoringConfigSchema,
      "prometheus_config { enable: maybe }",
      'Invalid value for boolean field "enable". Value: "maybe".',
      1,
      29,
    ],
    [MonitoringConfigSchema, "prometheus_config { enable: 2 }", "Integer out of range (2)", 1, 29],
    [
      MonitoringConfigSchema,
      "prometheus_config {} prometheus_config {}",
      'Non-repeated field "prometheus_config" is specified multiple times.',
      1,
      22,
    ],
    [
      MonitoringConfigSchema,
      'prometheus_config { path: "\\q" }',
      "Invalid escape sequence in string literal.",
      1,
      27,
    ],
    [TensorProtoSchema, "dtype: DT_NOPE", 'Unknown enumeration value of "DT_NOPE" for field "dtype".', 1, 8],
    [TensorProtoSchema, "int_val: 2147483648", "Integer out of range (2147483648)", 1, 10],
    [TensorProtoSchema, "int_val: 08", "Expected integer, got: 08", 1, 10],
    [TensorProtoSchema, "float_val: x", "Expected double, got: x", 1, 12],
    [TensorProtoSchema, "float_val: [1", 'Expected "]", found "".', 1, 14],
  ];
  test.each(rows)("%p %s", (schema, text, message, line, column) => {
    try {
      parseTextProto(schema, text);
    } catch (error) {
      expect(error).toBeInstanceOf(TextProtoError);
      const { line: l, column: c, message: m } = error as TextProtoError;
      expect([m, l, c]).toEqual([message, line, column]);
      return;
    }
    throw new Error("was accepted");
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
