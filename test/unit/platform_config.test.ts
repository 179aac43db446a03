import { describe, expect, test } from "bun:test";
import { parseOptions } from "../../src/options.ts";
import { type PlatformSettings, readPlatforms } from "../../src/platform_config.ts";
import { FakeFiles } from "../helpers/fake_files.ts";
import { FakeHost } from "../helpers/fake_host.ts";

const FILE = "/platforms.txt";
const ADAPTER = "type.googleapis.com/tensorflow.serving.SavedModelBundleSourceAdapterConfig";
const entry = (platform: string, config: string): string =>
  `platform_configs { key: "${platform}" value { source_adapter_config { ${config} } } }`;
const legacy = (config: string, platform = "tensorflow"): string =>
  entry(platform, `[${ADAPTER}] { legacy_config { ${config} } }`);

async function read(flags: readonly string[], files: Record<string, string> = {}) {
  const host = new FakeHost();
  const { options } = parseOptions(flags, {});
  const platforms = await readPlatforms(host, new FakeFiles(files), options);
  return { host, platforms };
}
const readFile = (text: string, ...flags: string[]) =>
  read([`--platform_config_file=${FILE}`, ...flags], { [FILE]: text });

const plain = {
  tags: ["serve"],
  batching: undefined,
  perModelBatching: false,
  warmup: true,
  numRequestIterations: 0,
} satisfies PlatformSettings;

describe("readPlatforms() from flags", () => {
  const rows: [string[], Partial<PlatformSettings>][] = [
    [[], {}],
    [["--saved_model_tags=serve,gpu"], { tags: ["serve", "gpu"] }],
    [["--saved_model_tags="], {}],
    [["--enable_model_warmup=false"], { warmup: false }],
    [["--num_request_iterations_for_warmup=3"], { numRequestIterations: 3 }],
    [["--enable_per_model_batching_parameters"], { perModelBatching: true }],
  ];
  test.each(rows)("%j", async (flags, expected) => {
    expect([...(await read(flags)).platforms]).toEqual([["tensorflow", { ...plain, ...expected }]]);
  });

  test("batches with defaults, or with the file's parameters", async () => {
    const defaults = (await read(["--enable_batching"])).platforms.get("tensorflow");
    expect(defaults?.batching).toBeDefined();
    expect(defaults?.batching?.maxBatchSize).toBeUndefined();
    const flags = ["--enable_batching", "--batching_parameters_file=/b"];
    const { platforms } = await read(flags, { "/b": "max_batch_size { value: 7 }" });
    expect(platforms.get("tensorflow")?.batching?.maxBatchSize).toBe(7n);
  });

  test("reads the session configuration only to check it", async () => {
    const flags = ["--tensorflow_session_config_file=/s"];
    expect((await read(flags, { "/s": "allow_soft_placement: true" })).platforms.size).toBe(1);
    await expect(read(flags, { "/s": "nope: 1" })).rejects.toThrow("Invalid protobuf file: '/s'");
  });
});

describe("readPlatforms() from a file", () => {
  const rows: [string, string, Partial<PlatformSettings>][] = [
    ["nothing", "", { warmup: false }],
    ["tags", 'saved_model_tags: "a" saved_model_tags: "b"', { warmup: false, tags: ["a", "b"] }],
    ["warm-up", "enable_model_warmup: true", {}],
    [
      "warm-up options",
      "enable_model_warmup: true model_warmup_options { num_request_iterations { value: 4 } }",
      { numRequestIterations: 4 },
    ],
    [
      "per-model batching",
      "enable_per_model_batching_params: true",
      { warmup: false, perModelBatching: true },
    ],
  ];
  test.each(rows)("with %s", async (_, config, expected) => {
    const { platforms, host } = await readFile(legacy(config));
    expect([...platforms]).toEqual([["tensorflow", { ...plain, ...expected }]]);
    expect(host.lines).toEqual([]);
  });

  test("with batching", async () => {
    const { platforms } = await readFile(
      legacy("batching_parameters { max_batch_size { value: 9 } allowed_batch_sizes: [3, 9] }"),
    );
    const { batching } = platforms.get("tensorflow")!;
    expect([batching?.maxBatchSize, batching?.allowedBatchSizes]).toEqual([9n, [3n, 9n]]);
  });

  test("with several platforms", async () => {
    const { platforms } = await readFile(`${legacy("")} ${legacy('saved_model_tags: "x"', "other")}`);
    expect([...platforms.keys()].sort()).toEqual(["other", "tensorflow"]);
    expect(platforms.get("other")?.tags).toEqual(["x"]);
  });

  test("an adapter without legacy_config has the defaults of the message", async () => {
    const { platforms } = await readFile(entry("tensorflow", `[${ADAPTER}] {}`));
    expect(platforms.get("tensorflow")).toEqual({ ...plain, warmup: false });
  });

  test("names what has no effect", async () => {
    const { host } = await readFile(
      legacy('session_target: "local" prefer_tflite_model: true'),
      "--enable_batching",
      "--saved_model_tags=gpu",
      "--batching_parameters_file=/not/read",
    );
    expect(host.lines).toEqual([
      "W flag --enable_batching has no effect beside --platform_config_file",
      "W flag --batching_parameters_file has no effect beside --platform_config_file",
      "W flag --saved_model_tags has no effect beside --platform_config_file",
      "W legacy_config.session_target of platform tensorflow has no effect",
      "W legacy_config.prefer_tflite_model of platform tensorflow has no effect",
    ]);
  });

  test.each([
    ["", `INVALID_ARGUMENT: ${FILE}; Invalid argument`],
    ["improperly formatted file", `INVALID_ARGUMENT: Invalid protobuf file: '${FILE}'`],
    [
      'platform_configs { key: "tensorflow" value {} }',
      "INVALID_ARGUMENT: Supplied config's type_url could not be parsed: ",
    ],
    [
      entry("tensorflow", 'type_url: "nope" value: ""'),
      "INVALID_ARGUMENT: Supplied config's type_url could not be parsed: nope",
    ],
    [
      entry("tensorflow", 'type_url: "type.googleapis.com/a.B" value: ""'),
      "INVALID_ARGUMENT: Couldn't find factory for config proto message type a.B",
    ],
  ])("refuses %s", async (text, message) => {
    const failure = await readFile(text).catch(String);
    expect(failure).toBe(message);
  });
});
