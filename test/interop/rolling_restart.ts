// 3 つのサーバーを代理の後ろで 1 つずつ再起動し、失敗が 1 つも無いことを確かめる。nginx と HAProxy の、あるもので。
//   bun test/interop/rolling_restart.ts BINARY
import { join } from "node:path";
import { findProxy, proxies } from "../../scripts/load/proxy.ts";
import { root } from "../../scripts/steps.ts";

const binary = process.argv[2];
if (binary === undefined) throw new Error("usage: bun test/interop/rolling_restart.ts BINARY");
let passed = 0;
let failed = 0;
for (const proxy of proxies) {
  if (findProxy(proxy) === null) {
    console.log(`skip ${proxy}: not installed`);
    continue;
  }
  const child = Bun.spawnSync([
    process.execPath,
    join(root, "scripts/load/rolling_restart.ts"),
    `--proxy=${proxy}`,
    "--rounds=1",
    `--binary=${binary}`,
  ]);
  if (child.exitCode === 0) passed++;
  else failed++;
  console.log(`${child.exitCode === 0 ? "ok  " : "FAIL"} ${proxy}`);
  console.log(child.stdout.toString().trimEnd().replaceAll(/^/gm, "     "));
  if (child.exitCode !== 0) console.log(child.stderr.toString().slice(-4000));
}
if (passed + failed === 0) console.log("skip: neither nginx nor haproxy is installed");
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
