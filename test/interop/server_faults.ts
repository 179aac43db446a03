// 実行ファイルを相手に、機械の災難を起こす。要求は失われず(失われてよいものは理由を書く)、サーバーは生き残ること。
//   bun test/interop/server_faults.ts BINARY
// 道具(libfaketime, setpriv, prlimit, ip, iptables)や権限の無い検査は「skip」と書いて飛ばす。
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer, connect as dial, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { findFakeTime } from "../../scripts/debian_tools.ts";
import { RawConnection } from "../../scripts/fuzz/doors/raw_connection.ts";
import { Random } from "../../scripts/fuzz/random.ts";
import { constantNetwork } from "../../scripts/load/constant_network.ts";
import { freePort } from "../../scripts/load/tools.ts";
import { Code, StatusError } from "../../src/base/status.ts";
import { writeSavedModel } from "../../src/savedmodel/writer.ts";
import { type BinaryServer, type BinaryServerOptions, startBinary } from "./binary_server.ts";
import { clientsOf } from "./iris_clients.ts";

const given = process.argv[2];
if (given === undefined) throw new Error("usage: bun test/interop/server_faults.ts BINARY");
const binary = resolve(given);
const work = mkdtempSync(join(tmpdir(), "server-faults-"));
// 別の利用者としても読めるように。
chmodSync(work, 0o755);
const LOSS = 0.03;
let passed = 0;
let failed = 0;

/** 検査が途中で失敗しても、起こしたものは残さない。 */
const started: { kill(): void }[] = [];

async function check(name: string, body: () => Promise<string>): Promise<void> {
  try {
    console.log(`ok   ${name}: ${await body()}`);
    passed++;
  } catch (error) {
    failed++;
    console.log(`FAIL ${name}: ${error instanceof Error ? error.stack : error}`);
  } finally {
    for (const one of started.splice(0)) one.kill();
  }
}

function must(condition: boolean, what: string): void {
  if (!condition) throw new Error(what);
}

const isRoot = process.getuid?.() === 0;
const has = (tool: string): boolean => Bun.which(tool) !== null;

async function run(options: Partial<BinaryServerOptions> = {}): Promise<BinaryServer> {
  const server = await startBinary({ binary, cwd: join(work, "empty"), ...options });
  started.push({ kill: () => server.ended() === undefined && void server.stop("SIGKILL") });
  return server;
}

/** 両方の入口が正しく答える。 */
async function healthy(server: BinaryServer, name = "iris"): Promise<void> {
  const clients = clientsOf(server);
  try {
    const answers = await Promise.all([clients.askRest(name), clients.askGrpc(name)]);
    must(
      answers.every((best) => best === 0),
      `wrong answers ${answers}`,
    );
  } finally {
    clients.close();
  }
}

async function stopped(server: BinaryServer): Promise<void> {
  const code = await server.stop();
  must(code === 0, `the server exited with ${code}: ${(await server.log).slice(-1000)}`);
}

function place(base: string, version: number, best: number): void {
  for (const [path, bytes] of writeSavedModel(constantNetwork(best))) {
    const file = join(base, String(version), path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, bytes);
  }
}

/** `stop()` まで、二つの入口に問い続ける。 */
function keepAsking(server: BinaryServer, name = "iris") {
  const clients = clientsOf(server);
  let asking = true;
  let asked = 0;
  const failures: string[] = [];
  const loop = async (ask: (name: string) => Promise<number>) => {
    while (asking) {
      await ask(name).catch((error: unknown) => failures.push(String(error)));
      asked++;
      await Bun.sleep(2);
    }
  };
  const loops = [loop(clients.askRest), loop(clients.askGrpc), loop(clients.askRest), loop(clients.askGrpc)];
  return async (): Promise<{ readonly asked: number; readonly failures: readonly string[] }> => {
    asking = false;
    await Promise.all(loops);
    clients.close();
    return { asked, failures };
  };
}

// 時計 ---------------------------------------------------------------------------------------------

const fakeTime = findFakeTime();
if (fakeTime === undefined) console.log("skip the clock jumps: libfaketime is not installed");
else {
  await check("the wall clock jumps by days, forward and back", async () => {
    const now = join(work, "now");
    const base = join(work, "clock");
    writeFileSync(now, "+0\n");
    place(base, 1, 0);
    const server = await run({
      args: ["--model_name=m", `--model_base_path=${base}`],
      env: {
        LD_PRELOAD: fakeTime,
        FAKETIME_TIMESTAMP_FILE: now,
        FAKETIME_NO_CACHE: "1",
        FAKETIME_DONT_FAKE_MONOTONIC: "1",
      },
    });
    const dateOf = async () =>
      Date.parse((await fetch(`http://127.0.0.1:${server.restPort}/v1/models/m`)).headers.get("date")!);
    const finish = keepAsking(server, "m");
    const seen: number[] = [];
    for (const [turn, shift] of ["+86400", "-86400", "+31536000", "-3600", "+0"].entries()) {
      writeFileSync(now, `${shift}\n`);
      // 飛んだ後も、版の発見は続く。
      place(base, turn + 2, 0);
      const { rest, close } = clientsOf(server);
      for (let tries = 0; ; tries++) {
        const states = await rest.getModelStatus({ name: "m" });
        if (states[0]!.version === BigInt(turn + 2) && states[0]!.state === "AVAILABLE") break;
        must(tries < 200, `version ${turn + 2} was not loaded after a jump of ${shift} s`);
        await Bun.sleep(50);
      }
      close();
      // Bun は Date の見出しを 1 秒ごとに作り直す。
      await Bun.sleep(1200);
      seen.push(Math.round(((await dateOf()) - Date.now()) / 3_600_000));
    }
    const { asked, failures } = await finish();
    must(failures.length === 0, `${failures.length} of ${asked} failed: ${failures[0]}`);
    must(Math.max(...seen) >= 8759 && Math.min(...seen) <= -24, `the clock did not jump: ${seen}`);
    await stopped(server);
    return `${asked} requests, 0 failed, ${seen.length} jumps, each followed by a version swap`;
  });
}

// 凍結 ---------------------------------------------------------------------------------------------

await check("SIGSTOP for two seconds, five times", async () => {
  const server = await run();
  const finish = keepAsking(server);
  for (let turn = 0; turn < 5; turn++) {
    process.kill(server.pid, "SIGSTOP");
    await Bun.sleep(2000);
    process.kill(server.pid, "SIGCONT");
    await Bun.sleep(300);
  }
  const { asked, failures } = await finish();
  must(failures.length === 0, `${failures.length} of ${asked} failed: ${failures[0]}`);
  await stopped(server);
  return `${asked} requests, 0 failed`;
});

await check("SIGTERM while stopped", async () => {
  const server = await run();
  process.kill(server.pid, "SIGSTOP");
  const exited = server.stop();
  await Bun.sleep(500);
  process.kill(server.pid, "SIGCONT");
  const code = await exited;
  must(code === 0, `the server exited with ${code}`);
  return "exit status 0";
});

// 黙る客 --------------------------------------------------------------------------------------------

await check("connections that are silent or too slow are closed", async () => {
  const server = await run({
    args: ["--rest_api_idle_timeout_seconds=5", "--grpc_handshake_timeout_ms=2000"],
  });
  const partHeader = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
  const partBody = "POST /v1/models/iris:predict HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{";
  /** 名前、宛先、最初に送るもの、そのあと 1 秒ごとに送るもの。 */
  const cases: readonly (readonly [string, number, string, string])[] = [
    ["a silent REST connection", server.restPort, "", ""],
    ["half a header", server.restPort, partHeader, ""],
    ["a header a byte a second", server.restPort, partHeader, "a"],
    ["half a body", server.restPort, partBody, ""],
    ["a body a byte a second", server.restPort, partBody, " "],
    ["a silent gRPC connection", server.port, "", ""],
    ["half an HTTP/2 preface", server.port, "PRI * HTTP", ""],
  ];
  const began = performance.now();
  const closedAfter = await Promise.all(
    cases.map(async ([name, port, first, more]) => {
      const connection = await RawConnection.open(port);
      if (first !== "") await connection.send(first);
      while (!connection.closed && performance.now() - began < 30_000) {
        if (more !== "") await connection.send(more);
        await connection.until(({ closed }) => closed, 1000);
      }
      must(connection.closed, `${name} was still open after 30 s`);
      return (performance.now() - began) / 1000;
    }),
  );
  await healthy(server);
  await stopped(server);
  return `${cases.length} kinds, the last after ${Math.max(...closedAfter).toFixed(0)} s`;
});

// 資源 ---------------------------------------------------------------------------------------------

if (!has("prlimit")) console.log("skip EMFILE: prlimit is not installed");
else {
  await check("no file descriptors left (EMFILE)", async () => {
    const server = await run({ prefix: ["prlimit", "--nofile=64"] });
    await healthy(server);
    for (let round = 0; round < 3; round++) {
      const ports = [server.restPort, server.port];
      const held = await Promise.all(
        Array.from({ length: 200 }, (_, i) => RawConnection.open(ports[i % 2]!)),
      );
      await Bun.sleep(300);
      must(server.ended() === undefined, "the server died");
      const open = readdirSync(`/proc/${server.pid}/fd`).length;
      must(open >= 60, `only ${open} files were open`);
      for (const connection of held) connection.reset();
      await Bun.sleep(300);
      // 空けば、すぐにまた答える。
      await healthy(server);
    }
    await stopped(server);
    return "3 rounds of 200 connections against a limit of 64 files; it answers as soon as they are gone";
  });
}

await check("the log cannot be written (disk full)", async () => {
  const full = openSync("/dev/full", "w");
  const [port, restPort] = [await freePort(), await freePort()];
  mkdirSync(join(work, "empty"), { recursive: true });
  const child = Bun.spawn([binary, `--port=${port}`, `--rest_api_port=${restPort}`], {
    cwd: join(work, "empty"),
    stdio: ["ignore", full, full],
  });
  closeSync(full);
  started.push({ kill: () => child.kill("SIGKILL") });
  const clients = clientsOf({ port, restPort });
  for (let tries = 0; tries < 200; tries++) {
    if (
      await clients.askRest().then(
        () => true,
        () => false,
      )
    )
      break;
    must(child.exitCode === null, `the server exited with ${child.exitCode}`);
    await Bun.sleep(50);
  }
  must((await clients.askGrpc()) === 0, "wrong answer");
  clients.close();
  child.kill("SIGTERM");
  const code = await child.exited;
  must(code === 0, `the server exited with ${code}`);
  return "it answers, and stops with 0";
});

await check("the reader of the log is gone (EPIPE)", async () => {
  const [port, restPort] = [await freePort(), await freePort()];
  // head は 1 行で終わる。その後の行は、読み手のいない管に書かれる。
  const child = Bun.spawn(
    [
      "sh",
      "-c",
      `"$0" --port=${port} --rest_api_port=${restPort} 2>&1 | head -n 1 >&2; sleep 30 & wait $!`,
      binary,
    ],
    { cwd: join(work, "empty"), stdio: ["ignore", "ignore", "ignore"] },
  );
  const clients = clientsOf({ port, restPort });
  try {
    let answered = 0;
    for (let tries = 0; tries < 100 && answered < 10; tries++) {
      if (
        await clients.askRest().then(
          () => true,
          () => false,
        )
      )
        answered++;
      await Bun.sleep(50);
    }
    must(answered === 10, `answered ${answered} of 10`);
    return "it answers";
  } finally {
    clients.close();
    const found = spawnSync("sh", [
      "-c",
      `ss -ltnpH 'sport = :${port}' | grep -o 'pid=[0-9]*'`,
    ]).stdout.toString();
    for (const [, pid] of found.matchAll(/pid=(\d+)/g)) process.kill(Number(pid), "SIGTERM");
    child.kill("SIGTERM");
    await child.exited;
  }
});

if (!isRoot || !has("setpriv")) console.log("skip unreadable files: needs root and setpriv");
else {
  await check("unreadable files of a version", async () => {
    const base = join(work, "unreadable");
    place(base, 1, 0);
    const server = await run({
      prefix: ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"],
      args: ["--model_name=m", `--model_base_path=${base}`, "--max_num_load_retries=0"],
    });
    await healthy(server, "m");
    place(base, 2, 2);
    chmodSync(join(base, "2", "saved_model.pb"), 0);
    place(base, 3, 2);
    chmodSync(join(base, "3"), 0);
    const { rest, close } = clientsOf(server);
    for (let tries = 0; ; tries++) {
      const states = await rest.getModelStatus({ name: "m" });
      const third = states.find(({ version }) => version === 3n);
      if (third?.state === "END") {
        must(third.code !== Code.OK, "an unreadable version ended without a reason");
        must(!/\n\s+at /.test(third.message), `a stack trace in the status: ${third.message}`);
        break;
      }
      must(tries < 200, "version 3 did not end");
      await Bun.sleep(50);
    }
    await healthy(server, "m");
    chmodSync(join(base, "3"), 0o755);
    chmodSync(join(base, "2", "saved_model.pb"), 0o644);
    place(base, 4, 0);
    for (let tries = 0; ; tries++) {
      const [newest] = await rest.getModelStatus({ name: "m" });
      if (newest?.version === 4n && newest.state === "AVAILABLE") break;
      must(tries < 200, "version 4 was not loaded");
      await Bun.sleep(50);
    }
    close();
    await stopped(server);
    return "the old version answers, the status says why, a readable version is taken up; no capabilities";
  });
}

// 網 -----------------------------------------------------------------------------------------------

/** 客とサーバーの間で、種から決まるバイト数を通した接続を切る代理。 */
async function cuttingProxy(
  to: number,
  random: Random,
): Promise<{ port: number; cuts: () => number; server: Server }> {
  let cuts = 0;
  const server = createServer((client: Socket) => {
    const upstream = dial({ host: "127.0.0.1", port: to });
    // 3 回に 1 回は切らない。
    let left = random.below(3) === 0 ? Number.POSITIVE_INFINITY : random.below(2000);
    const cut = () => {
      client.destroy();
      upstream.destroy();
    };
    const pass = (into: Socket) => (chunk: Buffer) => {
      left -= chunk.length;
      if (left > 0) into.write(chunk);
      else {
        cuts++;
        into.write(chunk.subarray(0, Math.max(0, chunk.length + left)));
        if (random.below(2) === 0) client.resetAndDestroy();
        cut();
      }
    };
    client.on("data", pass(upstream)).on("error", cut).on("close", cut);
    upstream.on("data", pass(client)).on("error", cut).on("close", cut);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return { port, cuts: () => cuts, server };
}

await check("a proxy that cuts connections", async () => {
  const server = await run();
  await healthy(server);
  const files = () => readdirSync(`/proc/${server.pid}/fd`).length;
  const before = files();
  const random = new Random(1);
  const [grpc, rest] = [await cuttingProxy(server.port, random), await cuttingProxy(server.restPort, random)];
  const finish = keepAsking(server);
  let answered = 0;
  let cut = 0;
  for (let turn = 0; turn < 300; turn++) {
    const clients = clientsOf({ port: grpc.port, restPort: rest.port }, 2000);
    const outcomes = await Promise.allSettled([clients.askRest(), clients.askGrpc()]);
    clients.close();
    for (const outcome of outcomes) {
      if (outcome.status === "fulfilled") {
        must(outcome.value === 0, `wrong answer ${outcome.value}`);
        answered++;
      } else {
        const { reason } = outcome as { readonly reason: unknown };
        const known = [
          Code.UNAVAILABLE,
          Code.CANCELLED,
          Code.INTERNAL,
          Code.DEADLINE_EXCEEDED,
        ] as readonly Code[];
        must(reason instanceof StatusError && known.includes(reason.code), `unexpected ${reason}`);
        cut++;
      }
    }
  }
  const { asked, failures } = await finish();
  must(failures.length === 0, `${failures.length} of ${asked} beside the proxy failed: ${failures[0]}`);
  grpc.server.close();
  rest.server.close();
  await Bun.sleep(1000);
  must(files() <= before + 8, `${files()} files stay open, ${before} before`);
  await healthy(server);
  await stopped(server);
  return `${answered} answered, ${cut} cut (${grpc.cuts() + rest.cuts()} connections); ${asked} beside it, 0 failed`;
});

const namespace = `iris-faults-${process.pid}`;
if (!isRoot || !has("ip") || !has("iptables")) console.log("skip packet loss: needs root, ip and iptables");
else if (spawnSync("ip", ["netns", "add", namespace]).status !== 0) {
  console.log("skip packet loss: no network namespaces here");
} else {
  try {
    const inside = (...command: string[]) => spawnSync("ip", ["netns", "exec", namespace, ...command]);
    inside("ip", "link", "set", "lo", "up");
    const drop = [
      "-p",
      "tcp",
      "-m",
      "statistic",
      "--mode",
      "random",
      "--probability",
      String(LOSS),
      "-j",
      "DROP",
    ];
    if (inside("iptables", "-A", "INPUT", "-i", "lo", ...drop).status !== 0) {
      console.log("skip packet loss: iptables has no statistic match here");
    } else {
      await check("packets are lost in a network namespace", async () => {
        const { status, stdout } = inside(
          process.execPath,
          join(import.meta.dir, "server_faults_lossy.ts"),
          binary,
        );
        must(status === 0, stdout.toString());
        return `${stdout.toString().trim()}, with ${LOSS * 100} % of all packets lost`;
      });
    }
  } finally {
    spawnSync("ip", ["netns", "del", namespace]);
  }
}

rmSync(work, { recursive: true, force: true });
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
