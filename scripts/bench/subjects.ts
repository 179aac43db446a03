// 測る相手の起こし方。
import { join } from "node:path";
import { freePort } from "../load/tools.ts";
import { bun, root } from "../steps.ts";
import type { GrpcTarget, RestTarget } from "./load.ts";
import { callRaw, flowers, PREDICT, predictFrame } from "./payloads.ts";
import { type Running, startServer } from "./servers.ts";

const REST_PATH = "/v1/models/iris:predict";

export interface Subject {
  readonly server: Running;
  readonly rest: (rows: number) => RestTarget;
  readonly grpc: (rows: number, packed: boolean) => Promise<GrpcTarget>;
}

export async function post({ url, body }: RestTarget): Promise<string> {
  const response = await fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body,
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${url} answered ${response.status} ${text}`);
  return text;
}

function subject(server: Running, restPort: number, grpcPort: number): Subject {
  const origin = `http://127.0.0.1:${grpcPort}`;
  return {
    server,
    rest: (rows) => ({
      url: `http://127.0.0.1:${restPort}${REST_PATH}`,
      body: JSON.stringify({ instances: flowers(rows) }),
    }),
    grpc: async (rows, packed) => {
      const frame = predictFrame(flowers(rows), packed);
      const answer = await callRaw(`127.0.0.1:${grpcPort}`, PREDICT, frame);
      return { origin, path: PREDICT, frame, answerBytes: answer.length + 5 };
    },
  };
}

/** 正しい答え。測る前と後に確かめる。 @throws 違う答え。 */
export async function checkIris(ours: Subject): Promise<void> {
  const { predictions } = JSON.parse(await post(ours.rest(150))) as { predictions: number[][] };
  const right = predictions.filter((row, i) => row.indexOf(Math.max(...row)) === Math.floor(i / 50)).length;
  if (predictions.length !== 150 || right < 140) throw new Error(`only ${right} of 150 flowers were right`);
}

export async function startIris(flags: readonly string[] = []): Promise<Subject> {
  const [rest, grpc] = [await freePort(), await freePort()];
  const ours = (server: Running) => subject(server, rest, grpc);
  const server = await startServer(
    [join(root, "iris-serving"), `--rest_api_port=${rest}`, `--port=${grpc}`, "--log_level=warn", ...flags],
    async () => (await fetch(`http://127.0.0.1:${rest}/v1/models/iris`)).ok,
  );
  await checkIris(ours(server));
  return ours(server);
}

/** Elysia と grpc-js の、返すだけのサーバー。 */
export async function startEchoes(work: string, answer: Uint8Array): Promise<readonly [Subject, Subject]> {
  const [rest, grpc] = [await freePort(), await freePort()];
  const here = join(import.meta.dir, "ceilings");
  const answerFile = join(work, "answer.bin");
  await Bun.write(answerFile, answer);
  const elysia = await startServer(
    [bun, join(here, "elysia_echo.ts"), String(rest)],
    async () => (await fetch(`http://127.0.0.1:${rest}/ready`)).ok,
    { env: { NODE_ENV: "production" } },
  );
  const frame = predictFrame(flowers(1), false);
  const grpcJs = await startServer(
    [bun, join(here, "grpc_echo.ts"), String(grpc), answerFile],
    async () => (await callRaw(`127.0.0.1:${grpc}`, PREDICT, frame)).length === answer.length,
  );
  return [subject(elysia, rest, grpc), subject(grpcJs, rest, grpc)];
}
