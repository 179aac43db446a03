import { mkdirSync } from "node:fs";
import { resolve } from "node:path";
import { freePort } from "../../scripts/load/tools.ts";

const START_LIMIT_MS = 30_000;

export interface BinaryServerOptions {
  readonly binary: string;
  /** 作業ディレクトリ。無ければ作る。 */
  readonly cwd: string;
  readonly args?: readonly string[];
  /** 実行ファイルの前に置く命令(`prlimit --nofile=64` など)。 */
  readonly prefix?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly port?: number;
  readonly restPort?: number;
}

/** 空きポートで動いている実行ファイル。 */
export interface BinaryServer {
  readonly pid: number;
  readonly port: number;
  readonly restPort: number;
  /** 終わっていれば、その終了コードか signal の名前。 */
  ended(): number | string | undefined;
  /** 標準エラーに出たもの。終わってから読む。 */
  readonly log: Promise<string>;
  /** SIGTERM(または `signal`)を送り、終わるのを待つ。 */
  stop(signal?: NodeJS.Signals): Promise<number>;
}

/** 起動し、REST が何か答えるまで待つ。 */
export async function startBinary(options: BinaryServerOptions): Promise<BinaryServer> {
  const { binary, cwd, args = [], prefix = [], env = {} } = options;
  const port = options.port ?? (await freePort());
  const restPort = options.restPort ?? (await freePort());
  mkdirSync(cwd, { recursive: true });
  const child = Bun.spawn(
    [
      ...prefix,
      resolve(binary),
      `--port=${port}`,
      `--rest_api_port=${restPort}`,
      "--log_level=warn",
      ...args,
    ],
    { cwd, env: { ...process.env, ...env }, stdio: ["ignore", "ignore", "pipe"] },
  );
  const log = new Response(child.stderr).text();
  const ended = () => child.exitCode ?? child.signalCode ?? undefined;
  const deadline = performance.now() + START_LIMIT_MS;
  for (;;) {
    const answered = await fetch(`http://127.0.0.1:${restPort}/v1/models/iris`).then(
      () => true,
      () => false,
    );
    if (answered) break;
    if (ended() !== undefined || performance.now() > deadline) {
      child.kill("SIGKILL");
      throw new Error(`the server did not start (${ended()}): ${await log}`);
    }
    await Bun.sleep(25);
  }
  return {
    pid: child.pid,
    port,
    restPort,
    ended,
    log,
    stop: (signal = "SIGTERM") => {
      child.kill(signal);
      return child.exited;
    },
  };
}
