// 実行ファイルの二つの入口を、生のソケットで攻める。攻めている最中も後も、健全な客は正しい答えを得て、
// メモリは限度を越えず、開いたままの fd は残らない。
//   bun run fuzz:doors [--binary=./iris-serving] [--rounds=1] [--scale=1] [--seed=1] [--only=NAME の一部]
import { readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { GrpcClient } from "../../src/client/grpc_client.ts";
import { RestClient } from "../../src/client/rest_client.ts";
import { tensor } from "../../src/tensor/tensor.ts";
import { type BinaryServer, startBinary } from "../../test/interop/binary_server.ts";
import { root } from "../steps.ts";
import type { Attack } from "./doors/attack.ts";
import { http1Attacks } from "./doors/http1_attacks.ts";
import { http2Attacks } from "./doors/http2_attacks.ts";
import { mixSeeds, Random } from "./random.ts";

/** 攻めの最中の常駐メモリの上限。大きな本文(8 MB)と、その木を同時に持てる広さ。 */
const MAX_RSS_MIB = 1024;
/** 攻めが終わって、接続が片付くまで待つ長さ。 */
const SETTLE_MS = 5000;
/** 健全な客の 1 回の期限。攻めの最中は待たされてよいが、答えは得る。 */
const HEALTHY_MS = 10_000;
/** 攻めの前より多くてよい fd の数。 */
const SPARE_FDS = 8;
const ROW = [5.1, 3.5, 1.4, 0.2];

const { values } = parseArgs({
  options: {
    binary: { type: "string", default: join(root, "iris-serving") },
    rounds: { type: "string", default: "1" },
    scale: { type: "string", default: "1" },
    seed: { type: "string", default: "1" },
    only: { type: "string", default: "" },
  },
});

const attacks: readonly Attack[] = [...http1Attacks, ...http2Attacks].filter(({ name }) =>
  name.includes(values.only),
);
if (attacks.length === 0) throw new Error(`no attack is called ${values.only}`);

const rssMiB = (pid: number): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024;
const peakMiB = (pid: number): number =>
  Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024;
const fdsOf = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;

const input = new Map([["input", tensor("float", [1, 4], Float32Array.from(ROW))]]);

/** 新しい接続で両方の入口に問い、正しい答えを得る。 */
async function healthy(server: BinaryServer): Promise<void> {
  const rest = new RestClient({ origin: `http://127.0.0.1:${server.restPort}`, timeoutMs: HEALTHY_MS });
  using grpc = new GrpcClient({ address: `127.0.0.1:${server.port}`, timeoutMs: HEALTHY_MS });
  const [rows, { outputs }] = await Promise.all([
    rest.predict({ name: "iris" }, { instances: [ROW] }),
    grpc.predict({ name: "iris" }, input),
  ]);
  const restRow = (rows as number[][])[0]!;
  const grpcRow = Array.from([...outputs.values()][0]!.data as Float32Array);
  for (const row of [restRow, grpcRow]) {
    if (row.length !== 3 || row.indexOf(Math.max(...row)) !== 0) throw new Error(`wrong answer ${row}`);
  }
}

let passed = 0;
let failed = 0;
let healthyCalls = 0;
const started = performance.now();
const start = () =>
  startBinary({
    binary: values.binary,
    cwd: join(tmpdir(), "fuzz-doors"),
    args: ["--enable_signature_method_name_check"],
  });
let server = await start();
await healthy(server);
let baseFds = fdsOf(server.pid);
let highestMiB = 0;

async function attackOnce(attack: Attack, random: Random): Promise<string> {
  const check = async () => {
    healthyCalls++;
    await healthy(server);
  };
  const note = await attack.run({
    ports: { grpc: server.port, rest: server.restPort },
    random,
    scale: Number(values.scale),
    healthy: check,
  });
  await check();
  const deadline = performance.now() + SETTLE_MS;
  let fds = fdsOf(server.pid);
  while (fds > baseFds + SPARE_FDS && performance.now() < deadline) {
    await Bun.sleep(50);
    fds = fdsOf(server.pid);
  }
  if (fds > baseFds + SPARE_FDS) throw new Error(`${note}; ${fds} files stay open, ${baseFds} before`);
  if (peakMiB(server.pid) > MAX_RSS_MIB)
    throw new Error(`${note}; memory reached ${peakMiB(server.pid)} MiB`);
  return note;
}

for (let round = 0; round < Number(values.rounds); round++) {
  for (const [index, attack] of attacks.entries()) {
    const at = performance.now();
    let line: string;
    try {
      line = `ok   ${attack.name}: ${await attackOnce(attack, new Random(mixSeeds(Number(values.seed) + round, index)))}`;
      passed++;
    } catch (error) {
      failed++;
      line = `FAIL ${attack.name}: ${error instanceof Error ? error.message : error}`;
    }
    const ended = server.ended();
    const memory =
      ended === undefined
        ? `${rssMiB(server.pid).toFixed(0)}/${peakMiB(server.pid).toFixed(0)} MiB`
        : `ended with ${ended}`;
    console.log(`${line} (${memory}, ${((performance.now() - at) / 1000).toFixed(1)} s)`);
    if (ended === undefined) highestMiB = Math.max(highestMiB, peakMiB(server.pid));
    // 次の攻めを、死んだり膨らんだりしたサーバーで測らない。
    if (ended !== undefined || peakMiB(server.pid) > MAX_RSS_MIB) {
      if (ended !== undefined) console.log((await server.log).slice(-2000));
      else await server.stop("SIGKILL");
      server = await start();
      await healthy(server);
      baseFds = fdsOf(server.pid);
    }
  }
}
const lastMiB = rssMiB(server.pid);
const exitCode = await server.stop();
if (exitCode !== 0) {
  failed++;
  console.log(`FAIL the server exited with ${exitCode}: ${(await server.log).slice(-2000)}`);
}
console.log(
  `${passed + failed} attacks, seed ${values.seed}, ${healthyCalls} healthy calls on each door, ` +
    `memory ${lastMiB.toFixed(0)} MiB at the end, ${highestMiB.toFixed(0)} MiB at most, ${((performance.now() - started) / 1000).toFixed(0)} s`,
);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
