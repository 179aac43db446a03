// パケットの失われる名前空間の中で、サーバーと客を動かす。server_faults.ts が起こす。
//   bun test/interop/server_faults_lossy.ts BINARY
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startBinary } from "./binary_server.ts";
import { clientsOf } from "./iris_clients.ts";

const ROUNDS = 200;
const PER_ROUND = 10;
/** 再送の間合いは倍々に延びるので、1 回の答えに何秒も掛かりうる。 */
const LIMIT_MS = 60_000;

const binary = process.argv[2];
if (binary === undefined) throw new Error("usage: bun test/interop/server_faults_lossy.ts BINARY");
const server = await startBinary({ binary, cwd: join(tmpdir(), "lossy") });
const clients = clientsOf(server, LIMIT_MS);
let answered = 0;
const problems: string[] = [];
for (let round = 0; round < ROUNDS; round += PER_ROUND) {
  const asked = Array.from({ length: PER_ROUND }, () => [clients.askRest(), clients.askGrpc()]).flat();
  for (const outcome of await Promise.allSettled(asked)) {
    if (outcome.status === "fulfilled" && outcome.value === 0) answered++;
    else problems.push(outcome.status === "fulfilled" ? `answered ${outcome.value}` : String(outcome.reason));
  }
}
clients.close();
const exitCode = await server.stop();
if (exitCode !== 0) problems.push(`the server exited with ${exitCode}`);
console.log(
  `${answered} requests, ${problems.length} failed${problems.length > 0 ? `: ${problems[0]}` : ""}`,
);
process.exit(problems.length === 0 ? 0 : 1);
