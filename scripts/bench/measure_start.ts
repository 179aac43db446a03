// exec から最初の答えまで。
import { join } from "node:path";
import { freePort } from "../load/tools.ts";
import { bun, root, step } from "../steps.ts";
import type { Pace } from "./main.ts";
import { compare, interleave, type Row } from "./rounds.ts";
import { startServer } from "./servers.ts";
import { post } from "./subjects.ts";

const BODY = '{"instances": [[5.1, 3.5, 1.4, 0.2]]}';

/** 起こし、答えが返るまで 2 ms おきに尋ね、止める。 @returns ミリ秒。 */
async function firstAnswer(commandOf: (rest: number, grpc: number) => string[]): Promise<number> {
  const [rest, grpc] = [await freePort(), await freePort()];
  const start = performance.now();
  const target = { url: `http://127.0.0.1:${rest}/v1/models/iris:predict`, body: BODY };
  const server = await startServer(commandOf(rest, grpc), async () => (await post(target)).length > 0, {
    pollMs: 2,
  });
  const time = performance.now() - start;
  await server.stop();
  return time;
}

export async function measureStart(work: string, { rounds }: Pace): Promise<Row[]> {
  const empty = join(work, "empty");
  await step("Building the empty server", [
    bun,
    "build",
    "--compile",
    "--minify",
    "--bytecode",
    "--format=esm",
    `--outfile=${empty}`,
    join(import.meta.dir, "ceilings", "empty.ts"),
  ]);
  const times = await interleave(
    rounds * 4,
    () =>
      firstAnswer((rest, grpc) => [
        join(root, "iris-serving"),
        `--rest_api_port=${rest}`,
        `--port=${grpc}`,
        "--log_level=warn",
      ]),
    () => firstAnswer((rest, grpc) => [empty, String(rest), String(grpc)]),
  );
  return [
    compare("exec to first answered predict ÷ empty Elysia + grpc-js binary", "ms", times, { atMost: 1.5 }),
  ];
}
