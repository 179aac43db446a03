// 起動がモデルを待つ間、プロセスは生きている。入口はまだ 1 つも開いていない。
import { afterAll, expect, test } from "bun:test";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../helpers/free_port.ts";

const root = join(import.meta.dir, "../..");
const directory = mkdtempSync(join(tmpdir(), "iris-start-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function start(...flags: readonly string[]) {
  const ports = [`--port=${await freePort()}`, `--rest_api_port=${await freePort()}`];
  const child = Bun.spawn([process.execPath, join(root, "src/main.ts"), ...ports, ...flags], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const log = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  let seen = "";
  return {
    child,
    /** 記録に `text` が現れるまで待つ。その前にプロセスが終われば失敗。 */
    async until(text: string): Promise<void> {
      while (!seen.includes(text)) {
        const { done, value } = await log.read();
        if (done) throw new Error(`exited with ${await child.exited} before "${text}":\n${seen}`);
        seen += value;
      }
      seen = seen.slice(seen.indexOf(text) + text.length);
    },
  };
}

test("a base path that is not there yet", async () => {
  const base = join(directory, "late");
  const server = await start(`--model_base_path=${base}`);
  await server.until("Could not find base path");
  cpSync(join(root, "model/iris"), base, { recursive: true });
  await server.until("Exporting HTTP/REST API");
  server.child.kill();
  expect(await server.child.exited).toBe(0);
});

test("a version that does not load is tried again", async () => {
  const base = join(directory, "corrupt");
  mkdirSync(join(base, "1"), { recursive: true });
  writeFileSync(join(base, "1/saved_model.pb"), "\xff");
  const server = await start(`--model_base_path=${base}`, "--load_retry_interval_micros=20000");
  for (let retry = 1; retry <= 5; retry++) await server.until(`retry: ${retry}`);
  await server.until("Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available");
  expect(await server.child.exited).toBe(255);
});
