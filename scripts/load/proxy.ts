import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../steps.ts";

export const proxies = ["nginx", "haproxy"] as const;
export type ProxyName = (typeof proxies)[number];

interface Ports {
  readonly grpc: number;
  readonly rest: number;
}

/** 実行ファイル。Debian では root の PATH にしか無い。 */
export function findProxy(name: ProxyName): string | null {
  return Bun.which(name, { PATH: `${process.env["PATH"]}:/usr/sbin:/usr/local/sbin` });
}

/**
 * deploy/proxies の設定を、宛先と自分の番号だけ手元のものに替えて書く。例として載せたものがそのまま試される。
 *
 * @param servers `iris-1` から順に。
 * @returns 書いたファイル。
 */
export function writeProxyConfig(
  name: ProxyName,
  directory: string,
  own: Ports,
  servers: readonly Ports[],
): string {
  mkdirSync(directory, { recursive: true });
  const source = join(root, "deploy", "proxies", name === "nginx" ? "nginx.conf" : "haproxy.cfg");
  let text = readFileSync(source, "utf8")
    .replace(/(listen |bind :)8500\b/, (_, word: string) => `${word}${own.grpc}`)
    .replace(/(listen |bind :)8501\b/, (_, word: string) => `${word}${own.rest}`)
    .replaceAll("/tmp/", `${directory}/`);
  for (const [i, { grpc, rest }] of servers.entries()) {
    text = text
      .replaceAll(`iris-${i + 1}:8500`, `127.0.0.1:${grpc}`)
      .replaceAll(`iris-${i + 1}:8501`, `127.0.0.1:${rest}`);
  }
  const file = join(directory, `${name}.conf`);
  writeFileSync(file, text);
  return file;
}

export function checkCommand(name: ProxyName, executable: string, file: string): string[] {
  return name === "nginx" ? [executable, "-t", "-c", file] : [executable, "-c", "-f", file];
}

/** 前面で動かす。 */
export function runCommand(name: ProxyName, executable: string, file: string): string[] {
  return name === "nginx" ? [executable, "-c", file, "-g", "daemon off;"] : [executable, "-db", "-f", file];
}
