// Kubernetes がファイルを入れ替えるとおりに symlink を付け替え、両方の口に負荷をかけたまま版が進むことを外から見る。
//   bun test/interop/lifecycle_symlinks.ts BINARY
// ConfigMap と Secret の volume は、印の付いた隠しディレクトリを作り、`..data` の symlink を rename で差し替える。
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { constantNetwork } from "../../scripts/load/constant_network.ts";
import { freePort } from "../../scripts/load/tools.ts";
import { GrpcClient } from "../../src/client/grpc_client.ts";
import { RestClient } from "../../src/client/rest_client.ts";
import { writeSavedModel } from "../../src/savedmodel/writer.ts";
import { tensor } from "../../src/tensor/tensor.ts";

const [given] = process.argv.slice(2);
if (given === undefined) throw new Error("usage: bun test/interop/lifecycle_symlinks.ts BINARY");
const binary = resolve(given);
const SWAPS = 6;
const CALLERS = 2;
const work = mkdtempSync(join(tmpdir(), "symlinks-"));
let passed = 0;
let failed = 0;

const ROW = [1, 2, 3, 4];
/** 版 n の答え。隣り合う版は答えが違う。 */
const bestOf = (version: number): number => version % 3;

function placeModel(directory: string, version: number): void {
  for (const [path, bytes] of writeSavedModel(constantNetwork(bestOf(version)))) {
    const file = join(directory, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, bytes);
  }
}

/** 名前を保ったまま、指す先だけを 1 回の rename で替える。 */
function repoint(link: string, target: string): void {
  const fresh = `${link}_tmp`;
  symlinkSync(target, fresh);
  renameSync(fresh, link);
}

/** kubelet と同じ手順の volume。`write` が新しい中身を隠しディレクトリに書く。 */
class AtomicVolume {
  readonly path: string;
  #generation = 0;

  constructor(path: string) {
    this.path = path;
    mkdirSync(path, { recursive: true });
  }

  update(write: (directory: string) => void): void {
    const old = `..${this.#generation}`;
    const fresh = `..${++this.#generation}`;
    write(join(this.path, fresh));
    repoint(join(this.path, "..data"), fresh);
    rmSync(join(this.path, old), { recursive: true, force: true });
  }

  /** 見える名前 `name` を `..data` の中へ向ける。 */
  expose(name: string): void {
    symlinkSync(join("..data", name), join(this.path, name));
  }
}

interface Answers {
  /** 成功した呼び出しの、最も大きい値の番号ごとの数。 */
  readonly counts: number[];
  readonly failures: string[];
}

/** 止めるまで、両方の口から予測し続ける。 */
function load(rest: RestClient, grpc: GrpcClient): () => Promise<Answers> {
  const answers: Answers = { counts: [0, 0, 0], failures: [] };
  let going = true;
  const record = (scores: Iterable<number>) => {
    const values = [...scores];
    const best = values.indexOf(Math.max(...values));
    answers.counts[best] = answers.counts[best]! + 1;
  };
  const input = new Map([["input", tensor("float", [1, 4], Float32Array.from(ROW))]]);
  const calls = [
    async () => record(((await rest.predict({ name: "m" }, { instances: [ROW] })) as number[][])[0]!),
    async () => {
      const { outputs } = await grpc.predict({ name: "m" }, input);
      record(outputs.get("output")!.data as Float32Array);
    },
  ];
  const loops = Array.from({ length: CALLERS }, () => calls)
    .flat()
    .map(async (call) => {
      while (going) {
        await call().catch((error) => answers.failures.push(String(error)));
        await Bun.sleep(1);
      }
    });
  return async () => {
    going = false;
    await Promise.all(loops);
    return answers;
  };
}

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`still waiting: ${what}`);
    await Bun.sleep(20);
  }
}

/**
 * 版 1 から始め、`swap(n)` で版 n へ替えることを SWAPS 回くり返す。
 * 失敗した要求が無いこと、替わったあとの答えが新しい版のものであること、すべての答えがどれかの版のものであること。
 */
async function check(name: string, flags: readonly string[], swap: (version: number) => void): Promise<void> {
  const [port, restPort] = [await freePort(), await freePort()];
  const server = Bun.spawn(
    [
      binary,
      `--port=${port}`,
      `--rest_api_port=${restPort}`,
      "--max_num_load_retries=0",
      "--log_level=error",
      ...flags,
    ],
    { cwd: work, stdio: ["ignore", "ignore", "inherit"] },
  );
  const rest = new RestClient({ origin: `http://127.0.0.1:${restPort}` });
  using grpc = new GrpcClient({ address: `127.0.0.1:${port}` });
  /** 版だけが提供されているか。 */
  const serves = async (version: number): Promise<boolean> => {
    const states = await rest.getModelStatus({ name: "m" }).catch(() => []);
    const live = states.filter(({ state }) => state !== "END");
    return live.length === 1 && live[0]!.version === BigInt(version) && live[0]!.state === "AVAILABLE";
  };
  try {
    await until("version 1", () => serves(1));
    const stop = load(rest, grpc);
    try {
      for (let version = 2; version <= SWAPS + 1; version++) {
        swap(version);
        await until(`version ${version}`, () => serves(version));
        const [row] = (await rest.predict({ name: "m" }, { instances: [ROW] })) as number[][];
        if (row!.indexOf(Math.max(...row!)) !== bestOf(version)) {
          throw new Error(`version ${version} answered ${row}`);
        }
      }
    } catch (error) {
      await stop();
      throw error;
    }
    const { counts, failures } = await stop();
    const total = counts.reduce((a, b) => a + b, 0);
    console.log(`     ${name}: ${total} requests, ${failures.length} failed, by answer ${counts}`);
    if (failures.length > 0) throw new Error(`${failures.length} failed: ${failures.slice(0, 3)}`);
    if (counts.includes(0)) throw new Error(`not every version answered: ${counts}`);
    server.kill("SIGTERM");
    const status = await server.exited;
    if (status !== 0) throw new Error(`the server exited with ${status}`);
    passed++;
    console.log(`ok   ${name}`);
  } catch (error) {
    server.kill("SIGKILL");
    failed++;
    console.log(`FAIL ${name}: ${error instanceof Error ? error.stack : error}`);
  }
}

{
  const base = join(work, "config_map", "models");
  for (let version = 1; version <= SWAPS + 1; version++) placeModel(join(base, String(version)), version);
  const volume = new AtomicVolume(join(work, "config_map", "config"));
  const write = (version: number) => (directory: string) => {
    mkdirSync(directory);
    writeFileSync(
      join(directory, "models.config"),
      `model_config_list { config { name: "m" base_path: ${JSON.stringify(base)} model_platform: "tensorflow"
         model_version_policy { specific { versions: ${version} } } } }`,
    );
  };
  volume.update(write(1));
  volume.expose("models.config");
  await check(
    "a ConfigMap with the model config file is updated",
    [
      `--model_config_file=${join(volume.path, "models.config")}`,
      "--model_config_file_poll_wait_seconds=1",
      "--file_system_poll_wait_seconds=1",
    ],
    (version) => volume.update(write(version)),
  );
}
{
  const home = join(work, "base_link");
  const release = (version: number): string => {
    placeModel(join(home, `release-${version}`, String(version)), version);
    return `release-${version}`;
  };
  mkdirSync(home);
  symlinkSync(release(1), join(home, "current"));
  await check(
    "the base path is a symlink that is pointed at another release",
    ["--model_name=m", `--model_base_path=${join(home, "current")}`],
    (version) => {
      repoint(join(home, "current"), release(version));
      rmSync(join(home, `release-${version - 1}`), { recursive: true });
    },
  );
}
{
  const volume = new AtomicVolume(join(work, "volume"));
  const write = (version: number) => (directory: string) =>
    placeModel(join(directory, String(version)), version);
  volume.update(write(1));
  volume.expose("1");
  await check(
    "an atomic volume holds the version directories",
    ["--model_name=m", `--model_base_path=${volume.path}`],
    (version) => {
      volume.update(write(version));
      volume.expose(String(version));
      rmSync(join(volume.path, String(version - 1)));
    },
  );
}
{
  const home = join(work, "version_link");
  const base = join(home, "base");
  mkdirSync(base, { recursive: true });
  const publish = (version: number): void => {
    const ready = join(home, "store", `v${version}`);
    placeModel(ready, version);
    repoint(join(base, String(version)), ready);
  };
  publish(1);
  await check(
    "a version directory arrives as a renamed symlink",
    ["--model_name=m", `--model_base_path=${base}`],
    publish,
  );
}
rmSync(work, { recursive: true, force: true });
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
