import { afterAll, beforeAll, describe, expect, spyOn, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { embeddedModel, wasmFiles } from "../../src/assets.ts";
import { systemClock } from "../../src/base/clock.ts";
import { silentLogger } from "../../src/base/log.ts";
import { Metrics } from "../../src/base/metrics.ts";
import { UsageError } from "../../src/cli/command.ts";
import { commands } from "../../src/cli/commands.ts";
import { usage } from "../../src/cli/usage.ts";
import { PredictionLogSchema } from "../../src/gen/tensorflow_serving/apis/prediction_log_pb.ts";
import { parseOptions } from "../../src/options.ts";
import { diskStorage } from "../../src/savedmodel/storage.ts";
import { encodeRecord, readRecords } from "../../src/servables/tf_record.ts";
import { ModelServer } from "../../src/server.ts";
import { freePort } from "../helpers/free_port.ts";

/** 副コマンドを同じプロセスで走らせ、書いたものを集める。 */
async function run(name: string, ...args: string[]): Promise<{ exitCode: number; out: string; err: string }> {
  const out: string[] = [];
  const err: string[] = [];
  const log = spyOn(console, "log").mockImplementation((...parts) => void out.push(parts.join(" ")));
  const error = spyOn(console, "error").mockImplementation((...parts) => void err.push(parts.join(" ")));
  try {
    return { exitCode: await commands.get(name)!.run(args), out: out.join("\n"), err: err.join("\n") };
  } finally {
    log.mockRestore();
    error.mockRestore();
  }
}

const directory = mkdtempSync(join(tmpdir(), "iris-cli-"));
const model = join(directory, "iris");
let server: ModelServer;
let grpc: string;
let rest: string;

beforeAll(async () => {
  await run("export", model);
  const [port, restPort] = [await freePort(), await freePort()];
  const { options } = parseOptions(
    [`--port=${port}`, `--rest_api_port=${restPort}`, "--model_name=iris", `--model_base_path=${model}`],
    {},
  );
  server = new ModelServer(
    { clock: systemClock, log: silentLogger, metrics: new Metrics() },
    { options, storage: diskStorage, wasm: wasmFiles, cpus: 2 },
  );
  await server.start();
  grpc = `127.0.0.1:${port}`;
  rest = `http://127.0.0.1:${restPort}`;
});

afterAll(async () => {
  await server.stop(1000);
  rmSync(directory, { recursive: true, force: true });
});

test("export writes the embedded files byte for byte", () => {
  for (const [path, asset] of embeddedModel) {
    expect(readFileSync(join(model, path)).equals(readFileSync(asset))).toBe(true);
  }
});

describe("predict", () => {
  test("prints three probabilities and the label, by both doors alike", async () => {
    const byRest = await run("predict", `--server=${rest}`, "5.1", "3.5", "1.4", "0.2");
    const byGrpc = await run("predict", "--grpc", `--server=${grpc}`, "5.1", "3.5", "1.4", "0.2");
    expect(byRest.exitCode).toBe(0);
    expect(byRest.out).toEndWith("label: setosa");
    expect(byRest.out.split("\n")).toHaveLength(4);
    expect(byGrpc).toEqual(byRest);
  });

  test("answers several flowers as JSON", async () => {
    const { out } = await run(
      "predict",
      "--json",
      `--server=${rest}`,
      "5.1",
      "3.5",
      "1.4",
      "0.2",
      "6.7",
      "3",
      "5.2",
      "2.3",
    );
    expect((JSON.parse(out) as { label: string }[]).map(({ label }) => label)).toEqual([
      "setosa",
      "virginica",
    ]);
  });

  test("prints one line for each of several flowers", async () => {
    const { out } = await run("predict", `--server=${rest}`, ..."5.1 3.5 1.4 0.2 6.7 3 5.2 2.3".split(" "));
    expect(out.split("\n")).toEqual([
      expect.stringMatching(/^setosa +0\.\d{6} {2}5\.1 3\.5 1\.4 0\.2$/),
      expect.stringMatching(/^virginica +0\.\d{6} {2}6\.7 3 5\.2 2\.3$/),
    ]);
  });

  test("sends request bodies from a file, by both doors, one answer a line", async () => {
    const file = join(directory, "bodies.jsonl");
    writeFileSync(
      file,
      '{"instances": [[5.1, 3.5, 1.4, 0.2]]}\n{"inputs": {"input": [[6.7, 3, 5.2, 2.3]]}}\n',
    );
    const byRest = await run("predict", `--server=${rest}`, `--data=${file}`);
    const byGrpc = await run("predict", "--grpc", `--server=${grpc}`, `--data=${file}`);
    const [first, second] = byRest.out.split("\n").map((line) => JSON.parse(line));
    const columns = byGrpc.out.split("\n").map((line) => JSON.parse(line).outputs.output[0]);
    expect(columns.flat().map(Math.fround)).toEqual(
      [...first.predictions[0], ...second.outputs[0]].map(Math.fround),
    );
    for (const value of columns.flat()) expect(String(value).length).toBeLessThan(16);
  });

  test("sends examples to the method of the signature", async () => {
    const file = join(directory, "examples.json");
    const flower = { sepal_length: 5.1, sepal_width: 3.5, petal_length: 1.4, petal_width: 0.2 };
    writeFileSync(file, JSON.stringify({ examples: [flower] }));
    const { exitCode, out } = await run(
      "predict",
      `--server=${rest}`,
      "--signature=classify",
      `--data=${file}`,
    );
    expect([exitCode, JSON.parse(out).results[0][0][0]]).toEqual([0, "setosa"]);
  });

  test("passes on the server's words about a bad body", async () => {
    const file = join(directory, "no_inputs.json");
    writeFileSync(file, '{"rows": []}');
    const { exitCode, err } = await run("predict", `--server=${rest}`, `--data=${file}`);
    expect([exitCode, err]).toEqual([1, expect.stringContaining("INVALID_ARGUMENT: ")]);
  });

  test.each([
    ["numbers", ["predict", "-"], "5.1,3.5,1.4,0.2\n6.7 3 5.2 2.3\n", /^setosa .*\nvirginica /],
    [
      "a body",
      ["predict", "--data=-"],
      '{"instances": [[5.1, 3.5, 1.4, 0.2]]}',
      /^\{"predictions":\[\[0\.99/,
    ],
    [
      "the body of a load",
      ["bench", "--data=-", "--requests=3"],
      '{"inputs": [[1, 2, 3, 4]]}',
      /^3 requests/,
    ],
  ])("reads %s from a pipe", async (_, args, input, expected) => {
    const main = join(import.meta.dir, "../../src/main.ts");
    const target = args[0] === "bench" ? `--rest=${rest}` : `--server=${rest}`;
    const child = Bun.spawn([process.execPath, main, ...args, target], {
      stdin: new Blob([input]),
      stderr: "pipe",
    });
    expect(await new Response(child.stdout).text()).toMatch(expected);
    expect(await child.exited).toBe(0);
  });

  test("says what the server refused", async () => {
    const { exitCode, err } = await run("predict", `--server=${rest}`, "--model=nope", "1", "2", "3", "4");
    expect([exitCode, err]).toEqual([1, "NOT_FOUND: Servable not found for request: Latest(nope)"]);
  });

  test.each([
    [["1", "2", "3"], "predict takes 4 numbers per flower, got 3"],
    [["a", "2", "3", "4"], "not a number: a"],
    [["--version=x", "1", "2", "3", "4"], "--version needs a number, not x"],
    [["--data=x", "1", "2", "3", "4"], "give numbers or --data, not both"],
    [["--jsno"], "unknown flag: --jsno (did you mean --json?)"],
  ])("refuses %j", async (args, message) => {
    await expect(run("predict", ...args)).rejects.toThrow(new UsageError(message));
  });
});

describe("health", () => {
  test("exits 0 while serving", async () => {
    expect(await run("health", `--server=${grpc}`)).toEqual({ exitCode: 0, out: "SERVING", err: "" });
  });

  test("exits 1 when nothing listens or the service is unknown", async () => {
    expect((await run("health", `--server=127.0.0.1:${await freePort()}`)).exitCode).toBe(1);
    expect((await run("health", `--server=${grpc}`, "--service=nope")).exitCode).toBe(1);
  });

  test("refuses a bad timeout", async () => {
    await expect(run("health", "--timeout_ms=x")).rejects.toThrow(UsageError);
  });
});

describe("show", () => {
  test("prints signatures and kernels", async () => {
    const { exitCode, out } = await run("show", join(model, "1"));
    expect(exitCode).toBe(0);
    for (const part of [
      "tag-set: serve",
      "signature_def['serving_default']",
      "name: serving_default_input:0",
      "dtype: DT_FLOAT",
      "shape: (-1, 4)",
      "method name: tensorflow/serving/classify",
      "ParseExampleV2 [host]",
    ]) {
      expect(out).toContain(part);
    }
  });

  test("prints the same as JSON", async () => {
    const { out } = await run("show", "--json", join(model, "1"));
    const { signatures } = JSON.parse(out) as {
      signatures: Record<string, { unsupported: null; steps: object[] }>;
    };
    expect(Object.keys(signatures)).toEqual(["classify", "serving_default"]);
    expect(signatures["serving_default"]!.unsupported).toBeNull();
    expect(signatures["serving_default"]!.steps.length).toBeGreaterThan(0);
  });

  test("exits 1 with the reason for what is no model", async () => {
    const { exitCode, err } = await run("show", directory);
    expect(exitCode).toBe(1);
    expect(err).toStartWith("NOT_FOUND: Specified file path does not appear to contain a SavedModel bundle");
  });

  test("names the versions under a base path", async () => {
    const { exitCode, err } = await run("show", model);
    expect([exitCode, err]).toEqual([
      1,
      expect.stringContaining(`It holds the versions 1. Try: iris-serving show ${join(model, "1")}`),
    ]);
  });

  test("refuses two directories", async () => {
    await expect(run("show", "a", "b")).rejects.toThrow(UsageError);
  });
});

describe("warmup record", () => {
  const file = join(model, "1/assets.extra/tf_serving_warmup_requests");
  const logs = () =>
    [...readRecords(readFileSync(file))].map((record) => fromBinary(PredictionLogSchema, record));

  test("makes up numbers and skips what takes examples", async () => {
    const { exitCode, out, err } = await run("warmup", "record", join(model, "1"), "--rows=3");
    expect([exitCode, out, err]).toEqual([
      0,
      `${file}: 1 requests`,
      "skipped classify: its inputs cannot be made up",
    ]);
    const { logType } = logs()[0]!;
    if (logType.case !== "predictLog") throw new Error("not a predict log");
    expect(logType.value.request!.inputs["input"]!.floatVal).toEqual(new Array(12).fill(0));
  });

  test("takes requests from a file", async () => {
    const requests = join(directory, "logs.jsonl");
    writeFileSync(
      requests,
      '{"predictLog": {"request": {"modelSpec": {"name": "a"}}}}\n\n{"classifyLog": {}}\n',
    );
    expect((await run("warmup", "record", join(model, "1"), `--requests=${requests}`)).exitCode).toBe(0);
    expect(logs().map(({ logType }) => logType.case)).toEqual(["predictLog", "classifyLog"]);
  });

  test("says why the file cannot be written", async () => {
    const { exitCode, err } = await run(
      "warmup",
      "record",
      "/dev/null",
      `--requests=${join(directory, "logs.jsonl")}`,
    );
    expect([exitCode, err]).toEqual([1, expect.stringContaining("ENOTDIR")]);
  });

  test("refuses what it cannot use", async () => {
    const bad = join(directory, "bad.jsonl");
    writeFileSync(bad, "{}\n{");
    const refused: string[][] = [
      ["replay", model],
      ["record"],
      ["record", join(model, "1"), "--rows=0"],
      ["record", join(model, "1"), `--requests=${bad}`],
    ];
    for (const args of refused) await expect(run("warmup", ...args)).rejects.toThrow(UsageError);
    expect((await run("warmup", "record", directory)).exitCode).toBe(1);
  });
});

describe("bench", () => {
  const data = join(directory, "body.json");
  const few = ["--requests=40", "--concurrency=4", "--warmup=2", "--json=-"];
  interface Report {
    readonly requests: number;
    readonly failed: number;
    readonly histogram: readonly { readonly count: number }[];
    readonly errors: readonly { readonly message: string }[];
  }

  test.each([
    ["REST", () => [`--rest=${rest}`]],
    ["gRPC", () => [`--grpc=${grpc}`, "--connections=2"]],
    ["a file by REST", () => [`--rest=${rest}`, `--data=${data}`]],
    ["a file by gRPC", () => [`--grpc=${grpc}`, `--data=${data}`, "--rate=100000"]],
  ])("loads by %s", async (_, target) => {
    writeFileSync(data, '{"instances": [[5.1, 3.5, 1.4, 0.2]]}');
    const { exitCode, out, err } = await run("bench", ...target(), ...few);
    expect([exitCode, err]).toEqual([0, ""]);
    const report = JSON.parse(out) as Report;
    expect([report.requests, report.failed]).toEqual([40, 0]);
    expect(report.histogram.reduce((sum, { count }) => sum + count, 0)).toBe(40);
  });

  test("replays recorded requests by gRPC", async () => {
    const file = join(directory, "records");
    const record = create(PredictionLogSchema, {
      logType: {
        case: "classifyLog",
        value: {
          request: {
            modelSpec: { name: "default", signatureName: "classify" },
            input: { kind: { case: "exampleList", value: { examples: [{}] } } },
          },
        },
      },
    });
    writeFileSync(file, encodeRecord(toBinary(PredictionLogSchema, record)));
    const { out, err } = await run("bench", `--grpc=${grpc}`, `--data=${file}`, "--model=iris", ...few);
    // 特徴の無い例はサーバーが断る。届いたことだけを見る。
    expect(out + err).toMatch(/Could not find|feature/i);
  });

  test("prints a text report and writes the JSON one", async () => {
    const file = join(directory, "report.json");
    const { exitCode, out } = await run("bench", `--rest=${rest}`, "--requests=3", `--json=${file}`);
    expect(exitCode).toBe(0);
    expect(out).toMatch(/^3 requests in .* 0 failed/);
    expect(JSON.parse(readFileSync(file, "utf8"))).toMatchObject({ protocol: "rest", requests: 3 });
  });

  test("exits 1 when requests fail", async () => {
    const bad = join(directory, "bad_body.json");
    writeFileSync(bad, '{"instances": [[1]]}');
    const { exitCode, out } = await run(
      "bench",
      `--rest=${rest}`,
      `--data=${bad}`,
      "--warmup=0",
      ...few.slice(0, 2),
      "--json=-",
    );
    expect(exitCode).toBe(1);
    const report = JSON.parse(out) as Report;
    expect(report.failed).toBe(40);
    expect(report.errors[0]!.message).toStartWith("HTTP 400");
  });

  test("exits 1 when nobody listens or the model is unknown", async () => {
    expect((await run("bench", `--rest=127.0.0.1:${await freePort()}`)).exitCode).toBe(1);
    expect((await run("bench", `--grpc=${grpc}`, "--model=nope")).err).toStartWith("NOT_FOUND");
  });

  test.each([
    [["--rest=a", "--grpc=b"]],
    [["extra"]],
    [["--concurrency=0"]],
    [["--concurrency=257"]],
    [["--version=x"]],
    [["--data=/does/not/exist"]],
  ])("refuses %j", async (args) => {
    await expect(run("bench", ...args)).rejects.toThrow(UsageError);
  });

  test("names the signatures there are", async () => {
    await expect(run("bench", `--rest=${rest}`, "--signature=x")).rejects.toThrow(
      /classify, serving_default/,
    );
  });
});

test("export exits 1 where it cannot write", async () => {
  const file = join(directory, "a_file");
  writeFileSync(file, "");
  expect((await run("export", file)).exitCode).toBe(1);
});

test("export refuses to guess where to write", async () => {
  await expect(run("export")).rejects.toThrow(UsageError);
});

describe("help", () => {
  test("lists the commands, explains one, and the server's flags", async () => {
    expect((await run("help")).out).toContain("\n  predict ");
    expect((await run("help", "bench")).out).toStartWith("usage: iris-serving bench");
    expect((await run("help", "serve")).out).toContain("--rest_api_port=8501");
  });

  test("names a near command", async () => {
    await expect(run("help", "bnech")).rejects.toThrow("did you mean bench?");
  });
});

test("usage() names every command", () => {
  for (const name of commands.keys()) expect(usage(commands.values())).toContain(`\n  ${name} `);
});
