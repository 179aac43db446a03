// 実行ファイルを、本物の相手(TensorFlow、公式クライアント、Go、buildah)と突き合わせる。
//   bun run interop [名前 …]   名前を挙げるとその検査だけを行う。
// 相手は .cache/interop に入れて使い回す。最後の行は「N passed, N failed」。
import { mkdirSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { findChromium, provide } from "./debian_tools.ts";
import {
  createTransports,
  type Transport,
  writeConnection,
  writeModelConfig,
  writeTable,
} from "./interop_transports.ts";
import { cache, python } from "./python.ts";
import { bun, root } from "./steps.ts";

const here = join(root, "test", "interop");
const binary = join(root, "iris-serving");
let passed = 0;
let failed = 0;
/** 道具や権限が無く、行わなかった検査。 */
let skipped = 0;

interface Outcome {
  /** 相手がこの機械に無く、行わなかった訳。 */
  readonly skipped?: string;
  readonly exitCode: number;
  readonly output: string;
}

async function run(
  command: readonly string[],
  env: Record<string, string> = {},
  cwd = root,
): Promise<Outcome> {
  const child = Bun.spawn([...command], {
    cwd,
    env: { ...process.env, TF_CPP_MIN_LOG_LEVEL: "3", CUDA_VISIBLE_DEVICES: "", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [stdout, stderr, exitCode] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { exitCode, output: stdout + stderr };
}

/** 準備の手順。失敗は検査の失敗として投げる。 */
async function must(
  command: readonly string[],
  env: Record<string, string> = {},
  cwd = root,
): Promise<string> {
  const { exitCode, output } = await run(command, env, cwd);
  if (exitCode !== 0) throw new Error(`${command.join(" ")} exited with ${exitCode}\n${output.slice(-4000)}`);
  return output;
}

/** 1 件の検査。出力が「N passed, N failed」で終わればその数を、そうでなければ 1 件として数える。 */
async function check(name: string, body: () => Promise<Outcome | undefined>): Promise<void> {
  const started = performance.now();
  let ok = 0;
  let bad = 0;
  let shown = "";
  try {
    const outcome = await body();
    if (outcome?.skipped !== undefined) {
      console.log(`- ${name}: skipped, ${outcome.skipped}`);
      skipped++;
      return;
    }
    const counts = outcome?.output.match(/(\d+) passed, (\d+) failed(?![\s\S]*\d+ passed, \d+ failed)/);
    ok = counts ? Number(counts[1]) : outcome === undefined || outcome.exitCode === 0 ? 1 : 0;
    bad = counts ? Number(counts[2]) : 1 - ok;
    if (outcome !== undefined && outcome.exitCode !== 0 && bad === 0) bad = 1;
    const skips = outcome?.output.match(/^skip\b.*/gm) ?? [];
    skipped += skips.length;
    shown = bad > 0 ? (outcome?.output ?? "") : skips.join("\n");
  } catch (error) {
    bad = 1;
    shown = String(error instanceof Error ? error.message : error);
  }
  passed += ok;
  failed += bad;
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`${bad === 0 ? "✓" : "✗"} ${name}: ${ok} passed, ${bad} failed (${seconds} s)`);
  if (shown !== "") console.log(shown.slice(-12_000));
}

async function freePort(): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const server = createServer();
  server.once("error", reject);
  server.listen(0, "127.0.0.1", () => {
    const address = server.address();
    server.close(() =>
      typeof address === "object" && address ? resolve(address.port) : reject(new Error("no port")),
    );
  });
  return promise;
}

interface Running {
  readonly grpc: string;
  readonly rest: string;
  stop(): Promise<number>;
}

/** 実行ファイルを空きポートで起動し、健全になるまで待つ。作業ディレクトリは空の場所。 */
async function serve(args: readonly string[] = []): Promise<Running> {
  const [port, restPort] = [await freePort(), await freePort()];
  const cwd = join(cache, "empty");
  mkdirSync(cwd, { recursive: true });
  const child = Bun.spawn([binary, `--port=${port}`, `--rest_api_port=${restPort}`, ...args], {
    cwd,
    stdio: ["ignore", "ignore", "pipe"],
  });
  const log = new Response(child.stderr).text();
  const rest = `127.0.0.1:${restPort}`;
  for (let attempt = 0; ; attempt++) {
    if (child.exitCode !== null || attempt > 200) {
      child.kill("SIGKILL");
      throw new Error(`the server did not start: ${await log}`);
    }
    const alive = await fetch(`http://${rest}/v1/models/iris`).then(
      (reply) => reply.ok,
      () => false,
    );
    if (alive) break;
    await Bun.sleep(50);
  }
  return {
    grpc: `127.0.0.1:${port}`,
    rest,
    stop: () => {
      child.kill("SIGTERM");
      return child.exited;
    },
  };
}

async function withServer(
  body: (server: Running) => Promise<Outcome>,
  args: readonly string[] = [],
): Promise<Outcome> {
  const server = await serve(args);
  const outcome = await body(server).catch((error) => ({ exitCode: 1, output: String(error) }));
  const exitCode = await server.stop();
  if (exitCode === 0) return outcome;
  return { exitCode, output: `${outcome.output}\nthe server exited with ${exitCode} on SIGTERM` };
}

/** 数の付いた出力を 1 つにまとめる。 */
function sum(outcomes: readonly Outcome[]): Outcome {
  let [ok, bad] = [0, 0];
  for (const { output, exitCode } of outcomes) {
    const [, passes, failures] = [...output.matchAll(/(\d+) passed, (\d+) failed/g)].at(-1) ?? [];
    ok += Number(passes ?? 0);
    bad += Number(failures ?? 0);
    if (passes === undefined || (exitCode !== 0 && failures === "0")) bad++;
  }
  const output = outcomes.map((outcome) => outcome.output.replace(/^ok .*\n/gm, "")).join("\n");
  return { exitCode: bad === 0 ? 0 : 1, output: `${output}\n${ok} passed, ${bad} failed` };
}

const transports = ((made?: Promise<readonly Transport[]>) => () => {
  made ??= createTransports();
  return made;
})();

/** 呼び出しの表を、1 つの客で、すべての運び方の上で行う。 */
async function runTable(client: readonly string[]): Promise<Outcome> {
  const outputs = join(cache, "outputs.json");
  const models = writeModelConfig();
  await must([bun, "scripts/reference_outputs.ts", outputs]);
  const table = writeTable(outputs);
  const outcomes: Outcome[] = [];
  for (const transport of await transports()) {
    const outcome = await withServer(
      ({ grpc }) => run([...client, table, writeConnection(transport, grpc)]),
      [...transport.flags, `--model_config_file=${models}`, "--allow_version_labels_for_unavailable_models"],
    );
    outcomes.push({ ...outcome, output: `${transport.name}:\n${outcome.output}` });
  }
  return sum(outcomes);
}

/** Go の無い機械では、Python の包みになった Go を入れて PATH の先頭に置く。 */
async function provideGo(): Promise<void> {
  if (Bun.which("go") !== null) return;
  process.env["PATH"] = `${dirname(await python("go"))}:${process.env["PATH"]}`;
}

/** 版を固定した Go の道具。無ければ入れる。 */
async function goTool(module: string, version: string): Promise<string> {
  const bin = join(cache, "bin", version);
  const path = join(bin, module.slice(module.lastIndexOf("/") + 1));
  if (!(await Bun.file(path).exists())) {
    mkdirSync(bin, { recursive: true });
    await must(["go", "install", `${module}@${version}`], { GOBIN: bin });
  }
  return path;
}

/** 見たいものが出力にあるか、終了コードが期待どおりかを 1 件と数える。 */
async function expectRun(
  command: readonly string[],
  { exitCode = 0, words = [] }: { exitCode?: number; words?: readonly string[] },
): Promise<Outcome> {
  const outcome = await run(command);
  const missing = words.filter((word) => !outcome.output.includes(word));
  const ok = outcome.exitCode === exitCode && missing.length === 0;
  const complaint = `${command.join(" ")} exited with ${outcome.exitCode}, without ${JSON.stringify(missing)}:\n`;
  return {
    exitCode: ok ? 0 : 1,
    output: ok ? "1 passed, 0 failed" : `${complaint}${outcome.output}\n0 passed, 1 failed`,
  };
}

const FLOWER = JSON.stringify({
  model_spec: { name: "iris" },
  inputs: {
    input: {
      dtype: "DT_FLOAT",
      tensor_shape: { dim: [{ size: 1 }, { size: 4 }] },
      float_val: [5.1, 3.5, 1.4, 0.2],
    },
  },
});

const grpcurl = (): Promise<string> => goTool("github.com/fullstorydev/grpcurl/cmd/grpcurl", "v1.9.4");

async function runGrpcurl(): Promise<Outcome> {
  const tool = await grpcurl();
  const service = "tensorflow.serving.PredictionService";
  const outcomes: Outcome[] = [];
  for (const transport of await transports()) {
    const { flags, trust, socket } = transport;
    const outcome = await withServer(async ({ grpc }) => {
      const security = [
        ...(trust.roots === undefined ? ["-plaintext"] : ["-cacert", trust.roots]),
        ...(trust.cert === undefined ? [] : ["-cert", trust.cert, "-key", trust.key!]),
      ];
      const target = socket === undefined ? [grpc] : ["-unix", socket];
      const expectTool = (before: readonly string[], after: readonly string[], words: readonly string[]) =>
        expectRun([tool, ...security, ...before, ...target, ...after], { words });
      return sum([
        await expectTool(
          [],
          ["list"],
          [service, "tensorflow.serving.ModelService", "grpc.health.v1.Health", "grpc.reflection.v1."],
        ),
        await expectTool([], ["describe", service], ["rpc Predict ( .tensorflow.serving.PredictRequest )"]),
        await expectTool(
          [],
          ["describe", "tensorflow.serving.PredictRequest"],
          ["map<string, .tensorflow.TensorProto> inputs = 2;"],
        ),
        // C++ のサーバーの記述と同じく JSON の名前を持たないので、道具は元の名前で書く。
        await expectTool(["-d", FLOWER], [`${service}/Predict`], ['"float_val"', '"serving_default"']),
      ]);
    }, flags);
    outcomes.push(outcome);
  }
  return sum(outcomes);
}

async function runHealthProbe(): Promise<Outcome> {
  const tool = await goTool("github.com/grpc-ecosystem/grpc-health-probe", "v0.4.61");
  const outcomes: Outcome[] = [];
  for (const { flags, trust, socket } of await transports()) {
    const outcome = await withServer(async ({ grpc }) => {
      const common = [
        tool,
        `-addr=${socket === undefined ? grpc : `unix:${socket}`}`,
        ...(trust.roots === undefined ? [] : ["-tls", `-tls-ca-cert=${trust.roots}`]),
        ...(trust.cert === undefined
          ? []
          : [`-tls-client-cert=${trust.cert}`, `-tls-client-key=${trust.key}`]),
      ];
      return sum([
        await expectRun(common, { words: ["status: SERVING"] }),
        await expectRun([...common, "-service=PredictionService"], { words: ["status: SERVING"] }),
        // 道具の「呼び出しの失敗」の終了コード。
        await expectRun([...common, "-service=nope"], { exitCode: 3, words: ["service name unknown"] }),
      ]);
    }, flags);
    outcomes.push(outcome);
  }
  return sum(outcomes);
}

const checks: Record<string, () => Promise<Outcome | undefined>> = {
  "message definitions equal PyPI's": async () => {
    const image = join(cache, "image.binpb");
    mkdirSync(cache, { recursive: true });
    await must([join(root, "node_modules", ".bin", "buf"), "build", "-o", image], {}, join(root, "proto"));
    return run([await python("newest"), join(here, "proto_descriptors.py"), image]);
  },
  "iris.csv equals scikit-learn's": async () =>
    run([await python("newest"), join(here, "iris_data.py"), join(root, "model", "iris.csv")]),
  "newest TensorFlow loads the export": async () => {
    const outputs = join(cache, "outputs.json");
    await must([bun, "scripts/reference_outputs.ts", outputs]);
    return run([
      await python("newest"),
      join(here, "tensorflow_loads_export.py"),
      join(root, "model/iris/1"),
      outputs,
    ]);
  },
  "oldest TensorFlow loads the export": async () => {
    const outputs = join(cache, "outputs.json");
    await must([bun, "scripts/reference_outputs.ts", outputs]);
    return run([
      await python("oldest"),
      join(here, "tensorflow_loads_export.py"),
      join(root, "model/iris/1"),
      outputs,
    ]);
  },
  "official Python client": () =>
    withServer(async ({ grpc, rest }) =>
      run([await python("newest"), join(here, "python_client.py"), grpc, rest]),
    ),
  "several processes": () => run([bun, join(here, "processes.ts"), binary]),
  "clients: Python": async () => runTable([await python("newest"), join(here, "calls.py")]),
  "clients: Go": async () => {
    const client = join(cache, "bin", "calls");
    await must(["go", "build", "-o", client, "."], {}, join(here, "go"));
    return runTable([client]);
  },
  "clients: TypeScript": () => runTable([bun, join(here, "calls.ts")]),
  grpcurl: runGrpcurl,
  grpc_health_probe: runHealthProbe,
  "example: Python": () =>
    withServer(async ({ grpc }) =>
      run([await python("newest"), "examples/python/predict.py"], { SERVER: grpc }),
    ),
  "example: curl": () =>
    withServer(({ rest }) => run(["sh", "examples/curl/predict.sh"], { SERVER: `http://${rest}` })),
  "example: Go": () =>
    withServer(({ grpc }) => run(["go", "run", "."], { SERVER: grpc }, join(root, "examples", "go"))),
  "example: TypeScript": () =>
    withServer(({ grpc, rest }) =>
      run([bun, "examples/typescript/predict.ts"], { GRPC_SERVER: grpc, REST_SERVER: `http://${rest}` }),
    ),
  "faults of the machine": async () => {
    await provide("faketime", "ip", "iptables");
    return run([bun, join(here, "server_faults.ts"), binary]);
  },
  "soak, briefly": () => run([bun, "scripts/load/soak.ts", "--minutes=0.5", `--binary=${binary}`]),
  "restarts without a proxy, briefly": () =>
    run([bun, "scripts/load/direct_restart.ts", "--restarts=4", `--binary=${binary}`]),
  "attacks on both doors": () => run([bun, "scripts/fuzz/doors.ts", `--binary=${binary}`]),
  h2spec: async () => {
    await provideGo();
    return run([bun, join(here, "h2spec.ts"), binary]);
  },
  "lifecycle under faults": () => run([bun, join(here, "lifecycle_faults.ts"), binary]),
  "page in Chromium": async () => {
    await provide("chromium");
    const chromium = findChromium();
    if (chromium === undefined) return { skipped: "no chromium on this machine", exitCode: 0, output: "" };
    const tools = [chromium, await python("newest"), `--grpcurl=${await grpcurl()}`];
    return run([bun, join(here, "page.ts"), binary, ...tools]);
  },
  "metrics and alerts by promtool": async () => {
    await provide("promtool");
    if (Bun.which("promtool") === null) return { skipped: "no promtool", exitCode: 0, output: "" };
    const page = join(cache, "metrics.txt");
    const metrics = await withServer(async ({ rest }) => {
      await Bun.write(page, await (await fetch(`http://${rest}/metrics`)).text());
      // 3 は名前の付け方への注意だけ。TensorFlow Serving の名前は「:」を含む。
      const { exitCode, output } = await run(["sh", "-c", `promtool check metrics < ${page}`]);
      const ok = exitCode === 0 || exitCode === 3;
      return { exitCode: ok ? 0 : 1, output: ok ? "1 passed, 0 failed" : `${output}\n0 passed, 1 failed` };
    });
    const rules = ["promtool", "check", "rules", join(root, "deploy", "prometheus", "alerts.yaml")];
    const alerts = ["promtool", "test", "rules", join(here, "alerts_test.yaml")];
    return sum([
      metrics,
      await expectRun(rules, { words: ["SUCCESS"] }),
      await expectRun(alerts, { words: ["SUCCESS"] }),
    ]);
  },
  "OpenAPI by Schemathesis": () =>
    withServer(async ({ rest }) => {
      const tool = join(await python("schemathesis"), "..", "schemathesis");
      const checks =
        "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";
      const common = ["--checks", checks, "--max-examples", "50", "--seed", "1", "--no-color"];
      const config = join(here, "schemathesis.toml");
      const document = `http://${rest}/openapi.json`;
      const outcome = await run([tool, "--config-file", config, "run", document, ...common]);
      // 道具は失敗の数を、試した操作の数とは別の文で言う。1 件でもあれば終了コードが 0 でない。
      const [, tested = "0"] = /Tested: (\d+)/.exec(outcome.output) ?? [];
      const counts = outcome.exitCode === 0 ? `${tested} passed, 0 failed` : "0 passed, 1 failed";
      return { exitCode: outcome.exitCode, output: `${outcome.output}\n${counts}` };
    }),
  "lifecycle by symlinks": () => run([bun, join(here, "lifecycle_symlinks.ts"), binary]),
  "damaged executables": () => run([bun, join(here, "damaged_binary.ts"), binary]),
  "deploy files": async () => {
    await provide("nginx", "haproxy");
    return run([bun, join(here, "deploy.ts"), join(cache, "deploy")]);
  },
  "rolling restart behind proxies": async () => {
    await provide("nginx", "haproxy");
    return run([bun, join(here, "rolling_restart.ts"), binary]);
  },
  "pages typed against the binary": async () => {
    if (process.getuid?.() !== 0) {
      return { skipped: "network namespaces need root", exitCode: 0, output: "" };
    }
    await provide("curl", "openssl", "ip");
    return run(["bash", join(here, "typed_pages.sh"), "binary", binary, join(cache, "typed")]);
  },
  "release archives": async () => {
    await provide("curl", "ip", "qemu", "arm64");
    const dist = join(cache, "dist");
    await must([bun, "scripts/release.ts", `--out=${dist}`]);
    return run(["bash", join(here, "release.sh"), dist, join(cache, "release")]);
  },
  "container image": () => run(["bash", join(here, "image.sh"), join(cache, "image")]),
};

/** 名指しされたときだけ行う。1 GB ほどを取り寄せ、数分かかるため。 */
const onRequest = new Set(["release archives"]);

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !(name in checks));
if (unknown.length > 0) {
  console.error(`no such check: ${unknown.join(", ")}\navailable: ${Object.keys(checks).join(", ")}`);
  process.exit(2);
}
await must([bun, "scripts/build.ts"]);
await provideGo();
for (const [name, body] of Object.entries(checks)) {
  if (wanted.length === 0 ? !onRequest.has(name) : wanted.includes(name)) await check(name, body);
}
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
