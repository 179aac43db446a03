import { readFileSync } from "node:fs";
import { arch, cpus, release, totalmem } from "node:os";
import { VERSION } from "../../src/version.ts";

/** @throws 無い道具の名前と、それを持つ Debian のパッケージ。 */
export function requireTools(names: readonly string[]): void {
  const packages: Record<string, string> = { h2load: "nghttp2-client", taskset: "util-linux" };
  const missing = names.filter((name) => Bun.which(name) === null);
  if (missing.length === 0) return;
  throw new Error(
    `missing ${missing.join(", ")}: apt-get install ${missing.map((name) => packages[name] ?? name).join(" ")}`,
  );
}

const versionOf = (...command: string[]): string => {
  const { stdout, stderr } = Bun.spawnSync(command);
  return `${stdout}${stderr}`.trim().split("\n")[0]!;
};

/** 測った機械と道具。 */
export function describeMachine(): Record<string, string> {
  const os = /PRETTY_NAME="(.*)"/.exec(readFileSync("/etc/os-release", "utf8"))?.[1] ?? "Linux";
  return {
    cpu: `${cpus().length} × ${cpus()[0]?.model ?? "unknown"} (${arch()})`,
    memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    os: `${os}, Linux ${release()}`,
    "iris-serving": VERSION,
    bun: Bun.version,
    wrk: versionOf("wrk", "-v").replace(/ Copyright.*/, ""),
    h2load: versionOf("h2load", "--version"),
    load: `${readFileSync("/proc/loadavg", "utf8").split(" ").slice(0, 3).join(" ")} (1, 5, 15 min, at the end)`,
    date: new Date().toISOString().slice(0, 10),
  };
}
