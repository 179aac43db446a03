import { describe, expect, test } from "bun:test";
import { create } from "@bufbuild/protobuf";
import { ModelServerConfigSchema } from "../../../src/gen/tensorflow_serving/config/model_server_config_pb.ts";
import {
  checkTransition,
  fromModelServerConfigProto,
  isSameConfig,
  type ModelConfig,
  type ModelServerConfig,
  platformOf,
  type ServableVersionPolicy,
  singleModelConfig,
} from "../../../src/sources/model_config.ts";
import { FakeHost } from "../../helpers/fake_host.ts";

const model = (fields: Partial<ModelConfig> = {}): ModelConfig => ({
  name: "m",
  basePath: "/m",
  modelType: 0,
  modelPlatform: "tensorflow",
  versionPolicy: { kind: "latest", numVersions: 1 },
  versionLabels: new Map(),
  ...fields,
});
const list = (...models: Partial<ModelConfig>[]): ModelServerConfig => ({
  kind: "list",
  models: models.map(model),
});
const none: ModelServerConfig = { kind: "none" };
const custom: ModelServerConfig = { kind: "custom" };

function errorOf(run: () => unknown): string {
  try {
    run();
  } catch (thrown) {
    return String(thrown);
  }
  return "OK";
}

test("singleModelConfig() serves the latest version of one model and logs it", () => {
  const host = new FakeHost();
  expect(singleModelConfig(host, "m", "/m")).toEqual(list({}));
  expect(host.lines).toEqual([
    "I Building single TensorFlow model file config:  model_name: m model_base_path: /m",
  ]);
});

describe("fromModelServerConfigProto()", () => {
  const policyOf = (policyChoice: object | undefined) => {
    const config = fromModelServerConfigProto(
      create(ModelServerConfigSchema, {
        config: {
          case: "modelConfigList",
          value: { config: [policyChoice === undefined ? {} : { modelVersionPolicy: { policyChoice } }] },
        },
      } as Parameters<typeof create<typeof ModelServerConfigSchema>>[1]),
    );
    return config.kind === "list" ? config.models[0]?.versionPolicy : undefined;
  };

  test("reads every policy", () => {
    const rows: [object | undefined, ServableVersionPolicy][] = [
      [undefined, { kind: "latest", numVersions: 1 }],
      [
        { case: "latest", value: {} },
        { kind: "latest", numVersions: 1 },
      ],
      [
        { case: "latest", value: { numVersions: 3 } },
        { kind: "latest", numVersions: 3 },
      ],
      [{ case: "all", value: {} }, { kind: "all" }],
      [
        { case: "specific", value: { versions: [3n, 5n] } },
        { kind: "specific", versions: [3n, 5n] },
      ],
    ];
    for (const [choice, expected] of rows) expect(policyOf(choice)).toEqual(expected);
  });

  test("copies every field", () => {
    const config = fromModelServerConfigProto(
      create(ModelServerConfigSchema, {
        config: {
          case: "modelConfigList",
          value: {
            config: [
              {
                name: "m",
                basePath: "/m",
                modelType: 1,
                modelPlatform: "p",
                versionLabels: { stable: 3n },
                loggingConfig: {},
              },
            ],
          },
        },
      }),
    );
    expect(config).toEqual(
      list({
        modelType: 1,
        modelPlatform: "p",
        versionLabels: new Map([["stable", 3n]]),
        logging: { collector: "", filenamePrefix: "", samplingRate: 0 },
      }),
    );
  });

  test("knows the other kinds", () => {
    expect(fromModelServerConfigProto(create(ModelServerConfigSchema))).toEqual(none);
    expect(
      fromModelServerConfigProto(
        create(ModelServerConfigSchema, { config: { case: "customModelConfig", value: {} } }),
      ),
    ).toEqual(custom);
  });
});

describe("platformOf()", () => {
  test.each([
    [{ modelPlatform: "tensorflow" }, "tensorflow"],
    [{ modelPlatform: "other" }, "other"],
    [{ modelType: 1, modelPlatform: "" }, "tensorflow"],
  ])("%o → %s", (fields, expected) => {
    expect(platformOf(new FakeHost(), model(fields))).toBe(expected);
  });

  test.each([
    [
      { modelType: 1, modelPlatform: "tensorflow" },
      "INVALID_ARGUMENT: Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform, model name is m",
    ],
    [
      { modelType: 0, modelPlatform: "" },
      "INVALID_ARGUMENT: Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform, model name is m",
    ],
    [
      { modelType: 2, modelPlatform: "" },
      "INVALID_ARGUMENT: ModelServerConfig::model_type choice 2 not supported.",
    ],
  ])("%o fails", (fields, expected) => {
    expect(errorOf(() => platformOf(new FakeHost(), model(fields)))).toBe(expected);
  });

  test("warns about the deprecated field", () => {
    const host = new FakeHost();
    platformOf(host, model({ modelType: 1, modelPlatform: "" }));
    expect(host.lines).toEqual([
      "W Deprecated ModelServerConfig::model_type field used. Prefer ModelServerConfig::model_platform.",
    ]);
  });
});

describe("checkTransition()", () => {
  const illegal =
    "FAILED_PRECONDITION: Cannot transition to requested config. It is only legal to transition from one ModelConfigList to another.";
  const rows: [string, ModelServerConfig, ModelServerConfig, string][] = [
    ["nothing → list", none, list({}), "OK"],
    ["nothing → nothing", none, none, "OK"],
    ["nothing → custom", none, custom, "OK"],
    ["list → list", list({}), list({ name: "n" }), "OK"],
    ["list → empty list", list({}), list(), "OK"],
    ["list → nothing", list({}), none, illegal],
    ["list → custom", list({}), custom, illegal],
    ["custom → list", custom, list({}), illegal],
    ["custom → custom", custom, custom, "OK"],
    [
      "duplicate names",
      none,
      list({}, { basePath: "/other" }),
      "INVALID_ARGUMENT: Illegal to list model m multiple times in config list",
    ],
    [
      "duplicate empty names",
      none,
      list({ name: "" }, { name: "" }),
      "INVALID_ARGUMENT: Illegal to list model  multiple times in config list",
    ],
    [
      "relative path",
      none,
      list({ basePath: "models/m" }),
      "INVALID_ARGUMENT: Expected model m to have an absolute path or URI; got base_path()=models/m",
    ],
    [
      "empty path",
      none,
      list({ basePath: "" }),
      "INVALID_ARGUMENT: Expected model m to have an absolute path or URI; got base_path()=",
    ],
    [
      "mixed paths",
      none,
      list({}, { name: "n", basePath: "n" }),
      "INVALID_ARGUMENT: Expected model n to have an absolute path or URI; got base_path()=n",
    ],
    ["URI", none, list({ basePath: "s3://bucket/m" }), "OK"],
    ["two models, one path", none, list({}, { name: "n" }), "OK"],
    [
      "another platform",
      list({}),
      list({ modelPlatform: "other" }),
      "INVALID_ARGUMENT: Illegal to change a model's platform. For model m platform was tensorflow and new platform requested is other",
    ],
    ["same platform by type", list({}), list({ modelPlatform: "", modelType: 1 }), "OK"],
    [
      "no platform any more",
      list({}),
      list({ modelPlatform: "" }),
      "INVALID_ARGUMENT: Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform, model name is m",
    ],
    ["another path and policy", list({}), list({ basePath: "/x", versionPolicy: { kind: "all" } }), "OK"],
  ];
  test.each(rows)("%s", (_, current, next, expected) => {
    expect(errorOf(() => checkTransition(new FakeHost(), current, next))).toBe(expected);
  });
});

describe("isSameConfig()", () => {
  const labels = (...entries: [string, bigint][]) => list({ versionLabels: new Map(entries) });
  test("compares contents, not the order of labels", () => {
    const rows: [ModelServerConfig, ModelServerConfig, boolean][] = [
      [list({}), list({}), true],
      [list({}), list({ basePath: "/x" }), false],
      [labels(["a", 1n], ["b", 2n]), labels(["b", 2n], ["a", 1n]), true],
      [labels(["a", 1n]), labels(["a", 2n]), false],
      [list({}), none, false],
    ];
    for (const [a, b, expected] of rows) expect(isSameConfig(a, b)).toBe(expected);
  });
});
