// 相互運用試験が使う道具を、Debian の root なら入れる。ほかでは、無い道具の検査が「skip」と言って飛ばされる。
import { existsSync } from "node:fs";
import { findProxy } from "./load/proxy.ts";

/** 道具 → 入れるパッケージと、もうあるかどうか。 */
const tools = {
  chromium: { package: "chromium", isThere: () => findChromium() !== undefined },
  promtool: { package: "prometheus", isThere: () => Bun.which("promtool") !== null },
  faketime: { package: "libfaketime", isThere: () => findFakeTime() !== undefined },
  curl: { package: "curl", isThere: () => Bun.which("curl") !== null },
  openssl: { package: "openssl", isThere: () => Bun.which("openssl") !== null },
  ip: { package: "iproute2", isThere: () => Bun.which("ip") !== null },
  iptables: { package: "iptables", isThere: () => Bun.which("iptables") !== null },
  nginx: { package: "nginx-light", isThere: () => findProxy("nginx") !== null },
  qemu: {
    package: "qemu-user-static",
    isThere: () => Bun.which("qemu-aarch64-static") !== null,
  },
  arm64: {
    package: "libc6-arm64-cross",
    isThere: () => existsSync("/usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1"),
  },
  haproxy: { package: "haproxy", isThere: () => findProxy("haproxy") !== null },
};

export function findChromium(): string | undefined {
  const found = ["chromium", "chromium-browser", "google-chrome"].map((name) => Bun.which(name));
  return found.find((path) => path !== null) ?? undefined;
}

/** 時計をずらす共有ライブラリ。 */
export function findFakeTime(): string | undefined {
  const directories = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib"];
  return directories.map((directory) => `${directory}/faketime/libfaketime.so.1`).find(existsSync);
}

async function apt(...args: string[]): Promise<boolean> {
  const step = Bun.spawn(["apt-get", ...args], {
    // RUNLEVEL=1 なら、入れたサーバー(nginx など)は起動されない。
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" },
    stdio: ["ignore", "ignore", "inherit"],
  });
  return (await step.exited) === 0;
}

let updated: Promise<boolean> | undefined;

/** 無い道具を入れる。入れられなくても投げない(検査のほうが飛ばしたと言う)。 */
export async function provide(...names: readonly (keyof typeof tools)[]): Promise<void> {
  const missing = names.map((name) => tools[name]).filter(({ isThere }) => !isThere());
  if (missing.length === 0 || Bun.which("apt-get") === null || process.getuid?.() !== 0) return;
  updated ??= apt("update", "-qq");
  if (!(await updated)) return;
  await apt("install", "-y", "-qq", "--no-install-recommends", ...missing.map((tool) => tool.package));
}
