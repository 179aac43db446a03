import type { Host } from "../base/host.ts";
import type { ServerOptions } from "../options.ts";
import type { FromWorker, ToWorker } from "../processes/message.ts";
import { type Spawn, Supervisor } from "../processes/supervisor.ts";
import { WorkerLink } from "../processes/worker_link.ts";
import type { Member } from "../server.ts";
import { START_FAILED } from "./exit_codes.ts";
import { onStopSignal } from "./stop_signals.ts";

/** 働き手の番号を渡す環境変数。あれば、このプロセスは働き手。 */
const WORKER = "IRIS_SERVING_WORKER";

/** 働き手なら、親とつながる。 */
export function joinSupervisor(): Member | undefined {
  const index = process.env[WORKER];
  if (index === undefined || process.send === undefined) return undefined;
  const link = new WorkerLink((message) => {
    // 親がいなくなった直後の知らせは、届け先が無い。
    if (process.connected) process.send!(message);
  });
  process.on("message", (message) => link.receive(message as ToWorker));
  process.on("disconnect", () => link.disconnected());
  return { index: Number(index), link };
}

/** 自分自身を、もう 1 つ起こす。コンパイルされていなければ、同じ台本を同じ Bun で。 */
const spawnSelf =
  (args: readonly string[]): Spawn =>
  (index, onMessage) => {
    const script = Bun.main.startsWith("/$bunfs/") ? [] : [Bun.main];
    const child = Bun.spawn([process.execPath, ...script, "serve", ...args], {
      // 像の名前(tensorflow_model_server など)で呼ばれていても、副コマンドを読ませる。
      argv0: "iris-serving",
      env: { ...process.env, [WORKER]: String(index) },
      stdio: ["ignore", "inherit", "inherit"],
      serialization: "advanced",
      ipc: (message) => onMessage(message as FromWorker),
    });
    // 型の宣言に無いが、node:child_process と同じ性質がある。
    const channel = child as typeof child & { readonly connected: boolean };
    return {
      pid: child.pid,
      send(message) {
        // 死んだばかりの働き手への知らせは、捨ててよい。死は exited が告げる。
        if (channel.connected) child.send(message);
      },
      kill: () => child.kill("SIGKILL"),
      exited: child.exited.then(() => ({ code: child.exitCode, signal: child.signalCode })),
    };
  };

/**
 * いくつかの働き手を起こして見守り、合図が来るまで戻らない。
 *
 * @returns 終了コード。{@link serve} と同じ。
 */
export async function supervise(
  host: Host,
  options: ServerOptions,
  count: number,
  args: readonly string[],
): Promise<number> {
  const { log } = host;
  if (process.platform !== "linux") {
    console.error(
      "Failed to start server. Error: --processes above 1 needs Linux, where processes share a port",
    );
    return START_FAILED;
  }
  const supervisor = new Supervisor(host, count, spawnSelf(args));
  const signalled = Promise.withResolvers<string>();
  onStopSignal(signalled.resolve, () => {
    supervisor.kill();
    process.exit(1);
  });
  // 働き手が 1 つもいない間も、親は残る。
  const alive = setInterval(() => {}, 2 ** 30);
  const failed = await Promise.race([supervisor.start(), signalled.promise]);
  if (typeof failed === "object") return failed.code ?? START_FAILED;
  const signal = await signalled.promise;
  log.info(`${signal} received, draining`, { processes: count, graceMs: options.shutdownGraceMs });
  const isClean = await supervisor.stop(options.shutdownGraceMs);
  clearInterval(alive);
  log.info("stopped", { clean: isClean });
  return isClean ? 0 : 1;
}
