// 実行ファイルを相手に、版の入れ替えの途中で起こりうる災難を起こす。古い版が提供され続け、状態が理由を言うこと。
//   bun test/interop/lifecycle_faults.ts BINARY
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { constantNetwork, wideNetwork } from "../../scripts/load/constant_network.ts";
import { freePort } from "../../scripts/load/tools.ts";
import { codeName } from "../../src/base/status.ts";
import { RestClient } from "../../src/client/rest_client.ts";
import { writeSavedModel } from "../../src/savedmodel/writer.ts";

const binary = process.argv[2];
if (binary === undefined) throw new Error("usage: bun test/interop/lifecycle_faults.ts BINARY");
const work = mkdtempSync(join(tmpdir(), "faults-"));
let passed = 0;
let failed = 0;

type Files = Map<string, Uint8Array>;
const answering = (best: number): Files => writeSavedModel(constantNetwork(best));

function place(base: string, version: number, files: Files): void {
  for (const [path, bytes] of files) {
    const file = join(base, String(version), path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, bytes);
  }
}

class Server {
  readonly client: RestClient;
  readonly #child: Bun.Subprocess;

  private constructor(child: Bun.Subprocess, client: RestClient) {
    this.#child = child;
    this.client = client;
  }

  static async start(base: string): Promise<Server> {
    const [port, restPort] = [await freePort(), await freePort()];
    const child = Bun.spawn(
      [
        binary!,
        `--port=${port}`,
        `--rest_api_port=${restPort}`,
        "--model_name=m",
        `--model_base_path=${base}`,
        "--max_num_load_retries=0",
        "--log_level=error",
      ],
      { cwd: work, stdio: ["ignore", "ignore", "ignore"] },
    );
    const server = new Server(child, new RestClient({ origin: `http://127.0.0.1:${restPort}` }));
    await server.until((states) => states.some((state) => state.endsWith("AVAILABLE OK")));
    return server;
  }

  /** `版 状態 コード` の列。版の降順。 */
  async states(): Promise<string[]> {
    const states = await this.client.getModelStatus({ name: "m" });
    return states.map(({ version, state, code }) => `${version} ${state} ${codeName(code)}`);
  }

  async until(condition: (states: string[]) => boolean): Promise<void> {
    const deadline = performance.now() + 20_000;
    for (;;) {
      const states = await this.states().catch(() => []);
      if (condition(states)) return;
      if (performance.now() > deadline) throw new Error(`states stayed ${JSON.stringify(states)}`);
      await Bun.sleep(50);
    }
  }

  async best(): Promise<number> {
    const [row] = (await this.client.predict({ name: "m" }, { instances: [[1, 2, 3, 4]] })) as number[][];
    return row!.indexOf(Math.max(...row!));
  }

  async stop(signal: NodeJS.Signals): Promise<number> {
    this.#child.kill(signal);
    return await this.#child.exited;
  }
}

async function check(name: string, body: (base: string) => Promise<void>): Promise<void> {
  const base = join(work, name.replaceAll(/\W+/g, "_"));
  mkdirSync(base, { recursive: true });
  try {
    await body(base);
    passed++;
    console.log(`ok   ${name}`);
  } catch (error) {
    failed++;
    console.log(`FAIL ${name}: ${error instanceof Error ? error.stack : error}`);
  }
}

function equal(actual: unknown, expected: unknown): void {
  if (JSON.stringify(actual) !== JSON.stringify(expected)) {
    throw new Error(`expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`);
  }
}

/** 版 1 を提供しているところへ悪い版 2 を置く。 */
const bad = (spoil: (files: Files) => void, code: string) => async (base: string) => {
  place(base, 1, answering(0));
  const server = await Server.start(base);
  const files = answering(2);
  spoil(files);
  place(base, 2, files);
  await server.until((states) => states.some((state) => state.startsWith("2 END")));
  equal(await server.states(), [`2 END ${code}`, "1 AVAILABLE OK"]);
  equal(await server.best(), 0);
  // 直した版を置けば、そこから進む。
  place(base, 3, answering(2));
  await server.until((states) => states[0] === "3 AVAILABLE OK");
  equal(await server.best(), 2);
  equal(await server.stop("SIGTERM"), 0);
};

const DATA = "variables/variables.data-00000-of-00001";
const cut = (name: string) => (files: Files) => {
  const bytes = files.get(name)!;
  files.set(name, bytes.slice(0, bytes.length >> 1));
};

await check(
  "a version with garbage for saved_model.pb",
  bad((files) => files.set("saved_model.pb", new Uint8Array(100).fill(255)), "DATA_LOSS"),
);
await check("a version with truncated variables", bad(cut(DATA), "DATA_LOSS"));
await check(
  "a version with one flipped bit in its variables",
  bad((files) => {
    files.get(DATA)![3]! ^= 1;
  }, "DATA_LOSS"),
);
await check("an empty version directory", async (base) => {
  place(base, 1, answering(0));
  const server = await Server.start(base);
  mkdirSync(join(base, "2"));
  await server.until((states) => states.some((state) => state.startsWith("2 END")));
  equal(await server.states(), ["2 END NOT_FOUND", "1 AVAILABLE OK"]);
  equal(await server.best(), 0);
  equal(await server.stop("SIGTERM"), 0);
});
await check("a file that is named like a version", async (base) => {
  place(base, 1, answering(0));
  const server = await Server.start(base);
  writeFileSync(join(base, "2"), "not a directory");
  await server.until((states) => states.some((state) => state.startsWith("2 END")));
  equal(await server.states(), ["2 END NOT_FOUND", "1 AVAILABLE OK"]);
  equal(await server.best(), 0);
  equal(await server.stop("SIGTERM"), 0);
});
await check("the base path vanishes and comes back", async (base) => {
  place(base, 1, answering(0));
  const server = await Server.start(base);
  renameSync(base, `${base}.gone`);
  await Bun.sleep(2500);
  equal(await server.best(), 0);
  place(`${base}.gone`, 2, answering(2));
  renameSync(`${base}.gone`, base);
  await server.until((states) => states[0] === "2 AVAILABLE OK");
  equal(await server.best(), 2);
  equal(await server.stop("SIGTERM"), 0);
});
await check("kill -9 in the middle of a swap, then a restart", async (base) => {
  place(base, 1, answering(0));
  const first = await Server.start(base);
  place(base, 2, writeSavedModel(wideNetwork(40)));
  await first.until((states) => states.some((state) => state.startsWith("2 ")));
  await first.stop("SIGKILL");
  place(base, 3, answering(2));
  const second = await Server.start(base);
  equal(await second.states(), ["3 AVAILABLE OK"]);
  equal(await second.best(), 2);
  equal(await second.stop("SIGTERM"), 0);
});
if (process.getuid?.() === 0) {
  await check("the disk under the model is full", async (base) => {
    if (spawnSync("mount", ["-t", "tmpfs", "-o", "size=256k", "tmpfs", base]).status !== 0) {
      throw new Error("cannot mount a small file system");
    }
    try {
      place(base, 1, answering(0));
      const server = await Server.start(base);
      let full = false;
      try {
        place(base, 2, writeSavedModel(wideNetwork(4)));
      } catch {
        full = true;
      }
      equal(full, true);
      // writeSavedModel の順では saved_model.pb が最後なので、途中で切れた版は読める印を持たない。
      await server.until((states) => states.some((state) => state.startsWith("2 END")));
      equal(await server.best(), 0);
      rmSync(join(base, "2"), { recursive: true });
      place(base, 3, answering(2));
      await server.until((states) => states[0] === "3 AVAILABLE OK");
      equal(await server.best(), 2);
      equal(await server.stop("SIGTERM"), 0);
    } finally {
      spawnSync("umount", ["-l", base]);
    }
  });
}
rmSync(work, { recursive: true, force: true });
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
