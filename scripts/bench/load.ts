// 負荷。道具は Debian の wrk と h2load。失敗が 1 件でもあれば、数字を出さずに投げる。
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { percentile } from "../load/tools.ts";

/** 負荷を掛ける側の CPU。 */
const LOAD_CPU = "1";

export interface Load {
  /** 1 秒あたりの要求。 */
  readonly perSecond: number;
  /** ミリ秒。 */
  readonly p50: number;
  readonly p99: number;
}

async function run(command: readonly string[]): Promise<string> {
  const child = Bun.spawn(["taskset", "-c", LOAD_CPU, ...command], { stdio: ["ignore", "pipe", "pipe"] });
  const [out, err, exitCode] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (exitCode !== 0) throw new Error(`${command.join(" ")} exited with ${exitCode}\n${out}\n${err}`);
  return out;
}

/** `1.23ms` などをミリ秒に。 */
function milliseconds(text: string): number {
  const [, value, unit] = /^([\d.]+)(us|ms|s|m)$/.exec(text) ?? [];
  const scale = { us: 1e-3, ms: 1, s: 1e3, m: 6e4 }[unit ?? ""];
  if (value === undefined || scale === undefined) throw new Error(`wrk printed an unknown time: ${text}`);
  return Number(value) * scale;
}

export interface RestTarget {
  readonly url: string;
  readonly body: string;
}

/** 1 本の糸の wrk。 @throws 200 台でない答え、切れた接続。 */
export async function wrk(
  work: string,
  { url, body }: RestTarget,
  connections: number,
  seconds: number,
): Promise<Load> {
  const script = join(work, "post.lua");
  writeFileSync(
    script,
    `wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\nwrk.body = ${JSON.stringify(body)}\n`,
  );
  const command = ["wrk", "-t1", `-c${connections}`, `-d${seconds}s`, "--latency", "-s", script, url];
  const output = await run(command);
  const trouble = /Socket errors:.*|Non-2xx.*/.exec(output);
  if (trouble !== null) throw new Error(`${command.join(" ")}: ${trouble[0].trim()}`);
  const read = (pattern: RegExp): string => {
    const found = pattern.exec(output)?.[1];
    if (found === undefined) throw new Error(`wrk printed no ${pattern}\n${output}`);
    return found;
  };
  return {
    perSecond: Number(read(/Requests\/sec:\s+([\d.]+)/)),
    p50: milliseconds(read(/\s50%\s+(\S+)/)),
    p99: milliseconds(read(/\s99%\s+(\S+)/)),
  };
}

export interface GrpcTarget {
  /** `http://127.0.0.1:8500` */
  readonly origin: string;
  readonly path: string;
  /** 長さの前置き(5 バイト)まで含めた要求。 */
  readonly frame: Uint8Array;
  /** 長さの前置きまで含めた、正しい応答の長さ。 */
  readonly answerBytes: number;
}

function checkH2load(command: readonly string[], output: string, answerBytes: number): number {
  const [, succeeded, failed, errored] =
    /(\d+) succeeded, (\d+) failed, (\d+) errored/.exec(output)?.map(Number) ?? [];
  const [, data] = /traffic:.*\((\d+)\) data/.exec(output)?.map(Number) ?? [];
  if (succeeded === undefined || succeeded === 0 || failed !== 0 || errored !== 0) {
    throw new Error(`${command.join(" ")}: ${/requests:.*/.exec(output)?.[0] ?? output}`);
  }
  // gRPC の失敗は HTTP では 200 なので、本文の量で見分ける(失敗の答えに本文は無い)。
  if (data === undefined || data < succeeded * answerBytes * 0.98) {
    throw new Error(
      `${command.join(" ")}: ${data} bytes of answers for ${succeeded} calls of ${answerBytes}`,
    );
  }
  return succeeded;
}

const grpcArguments = (file: string): string[] => [
  "-d",
  file,
  "-H",
  "content-type: application/grpc",
  "-H",
  "te: trailers",
];

/** 1 本の糸の h2load。 @throws 失敗した呼び出し、本文の無い答え。 */
export async function h2load(
  work: string,
  { origin, path, frame, answerBytes }: GrpcTarget,
  connections: number,
  streams: number,
  seconds: number,
): Promise<Load> {
  const [file, log] = [join(work, "frame.bin"), join(work, "h2load.log")];
  writeFileSync(file, frame);
  rmSync(log, { force: true });
  const command = [
    "h2load",
    "-t1",
    `-c${connections}`,
    `-m${streams}`,
    "-D",
    String(seconds),
    `--log-file=${log}`,
    ...grpcArguments(file),
    `${origin}${path}`,
  ];
  const output = await run(command);
  checkH2load(command, output, answerBytes);
  const perSecond = Number(/finished in [^,]+, ([\d.]+) req\/s/.exec(output)?.[1]);
  const times = readFileSync(log, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => Number(line.split("\t")[2]) / 1000)
    .sort((a, b) => a - b);
  return { perSecond, p50: percentile(times, 0.5), p99: percentile(times, 0.99) };
}

/** ちょうど `count` 件の要求を送る。 */
export async function sendMany(
  work: string,
  rest: RestTarget,
  grpc: GrpcTarget,
  count: number,
): Promise<void> {
  const [body, frame] = [join(work, "body.json"), join(work, "frame.bin")];
  writeFileSync(body, rest.body);
  writeFileSync(frame, grpc.frame);
  const restCommand = ["h2load", "--h1", "-t1", "-c64", `-n${count}`, "-d", body, rest.url];
  checkH2load(restCommand, await run(restCommand), 1);
  const grpcCommand = [
    "h2load",
    "-t1",
    "-c10",
    "-m10",
    `-n${count}`,
    ...grpcArguments(frame),
    grpc.origin + grpc.path,
  ];
  checkH2load(grpcCommand, await run(grpcCommand), grpc.answerBytes);
}
