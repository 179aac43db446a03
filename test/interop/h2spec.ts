// gRPC の入口を h2spec にかける。落ちる項目は、下の表にあるものだけでなければならない。
//   bun test/interop/h2spec.ts BINARY
// 表に無い項目が落ちても、表にある項目が通っても失敗になる。HTTP/2 は Bun の node:http2 が話している。
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startBinary } from "./binary_server.ts";

const binary = process.argv[2];
if (binary === undefined) throw new Error("usage: bun test/interop/h2spec.ts BINARY");

/**
 * - `always`: 必ず落ちる。
 * - `racy`: 先に届いた応答しだいで、落ちることも通ることもある。
 */
interface Expected {
  readonly outcome: "always" | "racy";
  readonly reason: string;
}

const trailersOnly =
  "h2spec's GET is not a gRPC call: the right answer is 415 in one HEADERS frame with END_STREAM, and h2spec waits for DATA";
const tolerated =
  "Bun ignores the frame (or resets only that stream) where the RFC ends the connection; no stream of a correct client is touched, no memory is kept";

const expected: Readonly<Record<string, Expected>> = {
  "generic/2 Sends a WINDOW_UPDATE frame on half-closed (remote) stream": {
    outcome: "always",
    reason: trailersOnly,
  },
  "generic/2 Sends a PRIORITY frame on half-closed (remote) stream": {
    outcome: "always",
    reason: trailersOnly,
  },
  "http2/5.1 idle: Sends a DATA frame": { outcome: "always", reason: tolerated },
  "http2/5.1 idle: Sends a WINDOW_UPDATE frame": { outcome: "always", reason: tolerated },
  "http2/5.1 half closed (remote): Sends a HEADERS frame": {
    outcome: "racy",
    reason: "the 415 of the first HEADERS may arrive before the error of the second",
  },
  "http2/5.1 closed: Sends a DATA frame after sending RST_STREAM frame": {
    outcome: "racy",
    reason: "the 415 may be on its way before the RST_STREAM is read",
  },
  "http2/5.1 closed: Sends a DATA frame": { outcome: "always", reason: tolerated },
  "http2/5.1 closed: Sends a HEADERS frame": { outcome: "always", reason: tolerated },
  "http2/5.1.2 Sends HEADERS frames that causes their advertised concurrent stream limit to be exceeded": {
    outcome: "racy",
    reason:
      "each GET is answered with 415 at once, so h2spec's streams are closed before the limit is reached",
  },
  "http2/5.1.1 Sends stream identifier that is numerically smaller than previous": {
    outcome: "always",
    reason: tolerated,
  },
  "http2/5.3.1 Sends HEADERS frame that depend on itself": {
    outcome: "always",
    reason: "RFC 9113 section 5.3 removed stream priority; the field is not read",
  },
  "http2/5.3.1 Sends PRIORITY frame that depend on itself": {
    outcome: "always",
    reason: "RFC 9113 section 5.3 removed stream priority; the frame is not read",
  },
  "http2/6.7 Sends a PING frame with ACK": {
    outcome: "always",
    reason:
      "an acknowledgement of a ping never sent ends the connection, as in Node.js; the RFC leaves it open and no correct client sends one",
  },
};

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
const seen = new Set<string>();
const cases = xml.matchAll(
  /<testcase package="([^"]*)" classname="([^"]*)"[^>]*?(?:\/>|>([\s\S]*?)<\/testcase>)/g,
);
for (const [, section = "", title = "", inner = ""] of cases) {
  const name = `${section} ${title.replaceAll("&#34;", '"').replaceAll("&#39;", "'").replaceAll("&amp;", "&")}`;
  seen.add(name);
  const entry = expected[name];
  if (inner.includes("<skipped")) {
    // 応答の DATA が要る項目。h2spec が自分で飛ばす。
    skipped++;
    continue;
  }
  const bad = inner.trim() !== "";
  const surprising = bad ? entry === undefined : entry?.outcome === "always";
  if (surprising) {
    failed++;
    problems.push(bad ? `fails: ${name}\n${inner.trim()}` : `passes, yet is listed as failing: ${name}`);
    continue;
  }
  passed++;
  if (bad) console.log(`expected  ${name}\n          ${entry!.reason}`);
}
for (const name of Object.keys(expected).filter((one) => !seen.has(one))) {
  failed++;
  problems.push(`h2spec has no such case: ${name}`);
}
if (exitCode !== 0) {
  failed++;
  problems.push(`the server exited with ${exitCode}`);
}
for (const problem of problems) console.log(`FAIL ${problem}`);
console.log(`h2spec: ${skipped} cases do not apply`);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
