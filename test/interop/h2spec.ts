// gRPC の入口を h2spec にかける。どの項目も通らなければならない。
//   bun test/interop/h2spec.ts BINARY
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startBinary } from "./binary_server.ts";

const binary = process.argv[2];
if (binary === undefined) throw new Error("usage: bun test/interop/h2spec.ts BINARY");

const report = join(tmpdir(), `h2spec-${process.pid}.xml`);
const server = await startBinary({ binary, cwd: join(tmpdir(), "h2spec") });
const tool = Bun.spawnSync(
  [
    ...["go", "tool", "h2spec", "-h", "127.0.0.1", "-p", String(server.port)],
    ...["-P", "/grpc.health.v1.Health/Check", "-o", "2", "-j", report],
  ],
  { cwd: join(import.meta.dir, "h2spec"), stdio: ["ignore", "ignore", "pipe"] },
);
const exitCode = await server.stop();
const xml = await Bun.file(report)
  .exists()
  .then((exists) => (exists ? readFileSync(report, "latin1") : ""));
if (xml === "") throw new Error(`h2spec wrote no report: ${tool.stderr.toString()}`);

let passed = 0;
let failed = 0;
let skipped = 0;
const problems: string[] = [];
const cases = xml.matchAll(
  /<testcase package="([^"]*)" classname="([^"]*)"[^>]*?(?:\/>|>([\s\S]*?)<\/testcase>)/g,
);
for (const [, section = "", title = "", inner = ""] of cases) {
  if (inner.includes("<skipped")) skipped++;
  else if (inner.trim() === "") passed++;
  else {
    failed++;
    problems.push(`${section} ${title}\n${inner.trim()}`);
  }
}
if (exitCode !== 0) {
  failed++;
  problems.push(`the server exited with ${exitCode}`);
}
for (const problem of problems) console.log(`FAIL ${problem}`);
console.log(`h2spec: ${skipped} cases do not apply`);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
