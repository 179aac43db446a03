import { describe, expect, test } from "bun:test";
import { StatusError } from "../../src/base/status.ts";
import { nearest, optionRows, parseOptions } from "../../src/options.ts";
import { flagGroups, flagsWithoutEffect, formatFlags } from "../../src/options_help.ts";

describe("parseOptions() reads the value when", () => {
  const rows: [string, string[], Record<string, string>, string, unknown][] = [
    ["nothing is given", [], {}, "port", 8500],
    ["--name=value", ["--port=9000"], {}, "port", 9000],
    ["--name value", ["--port", "9000"], {}, "port", 9000],
    ["the flag repeats, the last wins", ["--port=1", "--port=2"], {}, "port", 2],
    ["a flag beats the environment", ["--port=1"], { PORT: "2" }, "port", 1],
    ["the environment beats the default", [], { PORT: "2" }, "port", 2],
    ["an empty environment variable counts as absent", [], { PORT: "" }, "port", 8500],
    ["REST_API_PORT is set", [], { REST_API_PORT: "3" }, "restApiPort", 3],
    ["MODEL_NAME is set", [], { MODEL_NAME: "m" }, "modelName", "m"],
    ["MODEL_BASE_PATH is set", [], { MODEL_BASE_PATH: "/m" }, "modelBasePath", "/m"],
    ["a boolean stands bare", ["--enable_batching"], {}, "enableBatching", true],
    ["a boolean is =FALSE", ["--enable_model_warmup=FALSE"], {}, "enableModelWarmup", false],
    ["a boolean is =1", ["--enable_batching=1"], {}, "enableBatching", true],
    ["a boolean is a separate word", ["--enable_model_warmup", "false"], {}, "enableModelWarmup", false],
    ["a bare boolean precedes another flag", ["--enable_batching", "--port=1"], {}, "enableBatching", true],
    ["spaces surround a number", ["--port= 9000 "], {}, "port", 9000],
    ["a number is negative", ["--load_retry_interval_micros=-1"], {}, "loadRetryIntervalMicros", -1],
    ["a float is given", ["--per_process_gpu_memory_fraction=.5"], {}, "perProcessGpuMemoryFraction", 0.5],
    [
      "a value holds an equals sign",
      ["--grpc_channel_arguments=a=1,b=2"],
      {},
      "grpcChannelArguments",
      "a=1,b=2",
    ],
    ["only a base path is named, as TF Serving does", ["--model_base_path=/x"], {}, "modelName", "default"],
    ["a separate word looks like a flag", ["--model_name", "--x"], {}, "modelName", "--x"],
    ["-- ends the flags", ["--port=1", "--", "--port=2"], {}, "port", 1],
  ];
  test.each(rows)("%s", (_, argv, env, key, expected) => {
    expect(Reflect.get(parseOptions(argv, env).options, key)).toEqual(expected);
  });
});

describe("parseOptions() refuses", () => {
  const rows: [string[], Record<string, string>, string][] = [
    [["--port=abc"], {}, "Couldn't interpret value abc for flag port."],
    [["--port=70000"], {}, "Couldn't interpret value 70000 for flag port."],
    [["--port=1.5"], {}, "Couldn't interpret value 1.5 for flag port."],
    [["--port="], {}, "Couldn't interpret value  for flag port."],
    [["--port"], {}, "flag --port needs a value"],
    [["--enable_batching=maybe"], {}, "Couldn't interpret value maybe for flag enable_batching."],
    [["--log_format=xml"], {}, "Couldn't interpret value xml for flag log_format."],
    [[], { PORT: "x" }, "Couldn't interpret value x for environment variable PORT."],
    [["--rest_api_prot=1"], {}, "unknown argument: --rest_api_prot=1 (did you mean --rest_api_port?)"],
    [["--zzzzzzzzzzzz"], {}, "unknown argument: --zzzzzzzzzzzz"],
    [["stray"], {}, "unknown argument: stray"],
    [["port=1"], {}, "unknown argument: port=1"],
    [["-port=1"], {}, "unknown argument: -port=1"],
    [["-"], {}, "unknown argument: -"],
    [["--enable_batching", "maybe"], {}, "unknown argument: maybe"],
    [["--model_name", "--port=1", "--port"], {}, "flag --port needs a value"],
  ];
  test.each(rows)("%j with %j", (argv, env, message) => {
    expect(() => parseOptions(argv, env)).toThrow(message);
    expect(() => parseOptions(argv, env)).toThrow(StatusError);
  });
});

test("parseOptions() accepts every flag of the table and warns once for those without effect", () => {
  const argv = optionRows.map((row) => `--${row.flag}=${row.default}`);
  const { warnings } = parseOptions(argv, {});
  expect(warnings.length).toBe(optionRows.filter((row) => "ignored" in row).length);
  expect(new Set(warnings).size).toBe(warnings.length);
});

test("parseOptions() notices help and says where values came from", () => {
  const { help, sources } = parseOptions(["--help", "--port=1"], { MODEL_NAME: "m" });
  expect(help).toBe(true);
  expect(Object.fromEntries(sources)).toEqual({ port: "flag", model_name: "env" });
});

test("formatFlags() names every flag", () => {
  const text = formatFlags();
  for (const row of optionRows) expect(text).toContain(`--${row.flag}`);
});

test("every flag stands in one group, or among those without effect", () => {
  const spelled = flagGroups.flatMap(({ lines }) => lines.map(({ spelled }) => spelled.split("=")[0]!));
  expect([...spelled, ...flagsWithoutEffect].sort()).toEqual(
    optionRows.map(({ flag }) => `--${flag}`).sort(),
  );
});

test("nearest() suggests only what is close", () => {
  expect(nearest("prot", ["port", "model_name"])).toBe("port");
  expect(nearest("quite_different", ["port"])).toBeUndefined();
});
