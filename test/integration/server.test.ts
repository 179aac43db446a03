import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { embeddedModel, wasmFiles } from "../../src/assets.ts";
import { systemClock } from "../../src/base/clock.ts";
import type { Host } from "../../src/base/host.ts";
import { silentLogger } from "../../src/base/log.ts";
import { Metrics } from "../../src/base/metrics.ts";
import { GrpcClient } from "../../src/client/grpc_client.ts";
import { RestClient } from "../../src/client/rest_client.ts";
import { withEmbedded } from "../../src/embedded_storage.ts";
import { parseOptions } from "../../src/options.ts";
import { digestEmbeddedModel, readPayload } from "../../src/payload.ts";
import { diskStorage } from "../../src/savedmodel/storage.ts";
import { ModelServer } from "../../src/server.ts";
import { tensor } from "../../src/tensor/tensor.ts";
import { freePort } from "../helpers/free_port.ts";

const MOUNT = "/models/embedded-iris";
const ROW = [5.1, 3.5, 1.4, 0.2];
const directory = mkdtempSync(join(tmpdir(), "iris-serving-"));

const embedded = withEmbedded(
  diskStorage,
  MOUNT,
  new Map([...embeddedModel].map(([path, asset]) => [path, new Uint8Array(readFileSync(asset))])),
);

function createServer(flags: readonly string[]): ModelServer {
  const host: Host = { clock: systemClock, log: silentLogger, metrics: new Metrics() };
  const { options } = parseOptions([`--model_base_path=${MOUNT}`, "--model_name=iris", ...flags], {});
  return new ModelServer(host, { options, storage: embedded, wasm: wasmFiles, cpus: 2 });
}

/** `legacy_config` を持つ設定ファイルのパス。 */
function platforms(platform: string, config: string): string {
  const path = join(directory, `platforms_${platform}.txt`);
  writeFileSync(
    path,
    `platform_configs { key: "${platform}" value { source_adapter_config {
       [type.googleapis.com/tensorflow.serving.SavedModelBundleSourceAdapterConfig] { legacy_config { ${config} } } } } }`,
  );
  return path;
}

afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe("ModelServer on the embedded model", () => {
  let server: ModelServer;
  let rest: RestClient;
  let grpc: GrpcClient;
  let url: string;

  beforeAll(async () => {
    const [port, restPort] = [await freePort(), await freePort()];
    const monitoring = join(directory, "monitoring.txt");
    writeFileSync(monitoring, "prometheus_config { enable: true }");
    server = createServer([
      `--port=${port}`,
      `--rest_api_port=${restPort}`,
      `--monitoring_config_file=${monitoring}`,
    ]);
    await server.start();
    url = `http://127.0.0.1:${restPort}`;
    rest = new RestClient({ origin: url });
    grpc = new GrpcClient({ address: `127.0.0.1:${port}` });
  });

  afterAll(async () => {
    grpc[Symbol.dispose]();
    await server.stop(1000);
  });

  test("both doors give the same probabilities", async () => {
    const byRest = (await rest.predict({ name: "iris" }, { instances: [ROW] })) as number[][];
    const { outputs, model } = await grpc.predict(
      { name: "iris" },
      new Map([["input", tensor("float", [1, 4], Float32Array.from(ROW))]]),
    );
    expect(model).toEqual({ name: "iris", version: 1n, signatureName: "serving_default" });
    expect(byRest[0]!.map(Math.fround)).toEqual([...(outputs.get("output")!.data as Float32Array)]);
    expect(byRest[0]!.indexOf(Math.max(...byRest[0]!))).toBe(0);
  });

  test("the metadata has the two signatures and no internal one", async () => {
    const reply = await fetch(`${url}/v1/models/iris/metadata`);
    const { metadata } = (await reply.json()) as {
      metadata: { signature_def: { signature_def: Record<string, { inputs: object; outputs: object }> } };
    };
    const signatures = metadata.signature_def.signature_def;
    expect(Object.keys(signatures).sort()).toEqual(["classify", "serving_default"]);
    expect(signatures["serving_default"]).toEqual({
      inputs: {
        input: {
          dtype: "DT_FLOAT",
          name: "serving_default_input:0",
          tensor_shape: {
            dim: [
              { size: "-1", name: "" },
              { size: "4", name: "" },
            ],
            unknown_rank: false,
          },
        },
      },
      outputs: {
        output: {
          dtype: "DT_FLOAT",
          name: "StatefulPartitionedCall:0",
          tensor_shape: {
            dim: [
              { size: "-1", name: "" },
              { size: "3", name: "" },
            ],
            unknown_rank: false,
          },
        },
      },
      method_name: "tensorflow/serving/predict",
      defaults: {},
    } as never);
  });

  test("the status is the document of the specification", async () => {
    const reply = await fetch(`${url}/v1/models/iris`);
    expect(await reply.json()).toEqual({
      model_version_status: [
        { version: "1", state: "AVAILABLE", status: { error_code: "OK", error_message: "" } },
      ],
    });
  });

  test("classify reads examples", async () => {
    const reply = await fetch(`${url}/v1/models/iris:classify`, {
      method: "POST",
      body: JSON.stringify({
        signature_name: "classify",
        examples: [{ sepal_length: 5.1, sepal_width: 3.5, petal_length: 1.4, petal_width: 0.2 }],
      }),
    });
    const { results } = (await reply.json()) as { results: [string, number][][] };
    expect(results[0]!.map(([label]) => label)).toEqual(["setosa", "versicolor", "virginica"]);
  });

  test("metrics are served where the monitoring file says", async () => {
    const reply = await fetch(`${url}/monitoring/prometheus/metrics`);
    expect(await reply.text()).toContain("# TYPE :tensorflow:serving:request_count counter");
  });

  test("the list of models has the digest that --version prints", async () => {
    const reply = await fetch(`${url}/v1/models`);
    const { models } = (await reply.json()) as { models: { versions: { sha256: string }[] }[] };
    const { sha256 } = await digestEmbeddedModel(await readPayload());
    expect(models[0]!.versions[0]!.sha256).toBe(sha256);
  });

  test("health says serving", async () => {
    expect(await grpc.health()).toBe(true);
  });
});

describe("ModelServer.start() refuses", () => {
  const bad = join(directory, "bad.txt");
  writeFileSync(bad, "improperly formatted file");
  const rows: [string, string[], string][] = [
    ["no gRPC address", ["--port=0"], "At least one of server_options.grpc_port"],
    [
      "no model",
      ["--model_base_path="],
      "Both server_options.model_base_path and server_options.model_config_file are empty!",
    ],
    [
      "ALTS with TLS",
      ["--use_alts_credentials", "--ssl_config_file=/x"],
      "Either use_alts_credentials must be false",
    ],
    [
      "a batching file without batching",
      ["--batching_parameters_file=/x"],
      "without setting server_options.enable_batching",
    ],
    [
      "all three parallelism flags",
      [
        "--tensorflow_session_parallelism=1",
        "--tensorflow_intra_op_parallelism=1",
        "--tensorflow_inter_op_parallelism=1",
      ],
      "You cannot configure all.",
    ],
    [
      "a missing config file",
      ["--model_config_file=/no/such/file"],
      "/no/such/file; No such file or directory",
    ],
    ["a bad config file", [`--model_config_file=${bad}`], `Invalid protobuf file: '${bad}'`],
    [
      "a relative base path",
      ["--model_base_path=relative"],
      "to have an absolute path or URI; got base_path()=relative",
    ],
    [
      "tags that no graph has",
      ["--saved_model_tags=serve,gpu", "--max_num_load_retries=0"],
      "did not become available",
    ],
    [
      "tags that no graph has, retries of which -1 is none",
      ["--saved_model_tags=serve,gpu", "--max_num_load_retries=-1", "--load_retry_interval_micros=60000000"],
      "did not become available",
    ],
    [
      "a platform file whose tags no graph has",
      [
        `--platform_config_file=${platforms("tensorflow", 'saved_model_tags: "gpu"')}`,
        "--max_num_load_retries=0",
      ],
      "did not become available",
    ],
    [
      "a platform file without the model's platform",
      [`--platform_config_file=${platforms("other", "")}`],
      "Model iris requests unsupported platform tensorflow",
    ],
    [
      "a missing platform file",
      ["--platform_config_file=/no/such/file"],
      "/no/such/file; No such file or directory",
    ],
    ["a missing TLS file", ["--ssl_config_file=/no/such/file"], "/no/such/file; No such file or directory"],
    ["a bad monitoring file", [`--monitoring_config_file=${bad}`], "Invalid protobuf file"],
  ];
  test.each(rows)("%s", async (_, flags, message) => {
    const server = createServer([
      `--port=${await freePort()}`,
      `--rest_api_port=${await freePort()}`,
      ...flags,
    ]);
    expect(await server.start().catch(String)).toContain(message);
    await server.stop(0);
  });

  test("a taken port", async () => {
    const taken = Bun.listen({ hostname: "0.0.0.0", port: 0, socket: { data() {} } });
    // ここで見るのは入口だけなので、モデルは読まない。
    const empty = join(directory, "empty.txt");
    writeFileSync(empty, "model_config_list {}");
    const server = createServer([
      `--port=${taken.port}`,
      "--rest_api_port=0",
      `--model_config_file=${empty}`,
    ]);
    expect(await server.start().catch(String)).toContain("Failed to BuildAndStart gRPC server");
    await server.stop(0);
    taken.stop(true);
  });
});
