// 相互運用試験の 4 つの運び方(平文、TLS、mTLS、UNIX ソケット)と、呼び出しの表。
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createAuthority, issue } from "../test/helpers/certificates.ts";
import { cache } from "./python.ts";
import { root } from "./steps.ts";

const home = join(cache, "transports");

/** 客に渡す、つなぎ方。値は PEM のファイル。 */
interface Trust {
  readonly roots?: string;
  readonly cert?: string;
  readonly key?: string;
}

export interface Transport {
  readonly name: string;
  /** サーバーの旗。 */
  readonly flags: readonly string[];
  readonly trust: Trust;
  /** 無ければ TCP。 */
  readonly socket?: string;
}

function save(name: string, text: string): string {
  const path = join(home, name);
  writeFileSync(path, text);
  return path;
}

/** 証明書はその場で作る。リポジトリには鍵を置かない。 */
export async function createTransports(): Promise<readonly Transport[]> {
  mkdirSync(home, { recursive: true });
  const authority = await createAuthority("interop authority");
  const [server, client] = [await issue(authority, "server"), await issue(authority, "client")];
  const roots = save("roots.pem", authority.cert);
  const sslConfig = (clientVerify: boolean): string =>
    [
      `server_key: ${JSON.stringify(server.key)}`,
      `server_cert: ${JSON.stringify(server.cert)}`,
      ...(clientVerify ? [`custom_ca: ${JSON.stringify(authority.cert)}`, "client_verify: true"] : []),
    ].join("\n");
  const socket = join(home, "grpc.sock");
  return [
    { name: "plaintext", flags: [], trust: {} },
    {
      name: "TLS",
      flags: [`--ssl_config_file=${save("tls.txt", sslConfig(false))}`],
      trust: { roots },
    },
    {
      name: "mTLS",
      flags: [`--ssl_config_file=${save("mtls.txt", sslConfig(true))}`],
      trust: { roots, cert: save("client.pem", client.cert), key: save("client.key", client.key) },
    },
    { name: "UNIX socket", flags: [`--grpc_socket_path=${socket}`], trust: {}, socket },
  ];
}

/**
 * 表の客に渡すファイル。宛先は名前で書く(Bun の上の grpc-js は、TLS の相手を IP で名指せない)。
 *
 * @param grpc `host:port`
 */
export function writeConnection({ name, trust, socket }: Transport, grpc: string): string {
  const target = socket === undefined ? grpc.replace("127.0.0.1", "localhost") : `unix:${socket}`;
  return save(`${name}.json`, JSON.stringify({ target, ...trust }));
}

const model = join(root, "model", "iris");

/** ラベルの付いた iris を出す設定のファイル。 */
export function writeModelConfig(): string {
  mkdirSync(home, { recursive: true });
  return save(
    "models.txt",
    `model_config_list { config { name: "iris" base_path: ${JSON.stringify(model)} model_platform: "tensorflow"
      version_labels { key: "stable" value: 1 } } }`,
  );
}

/**
 * 表のなかの `$score 行 列` を、独立に計算した iris.csv のその行の確率に、`$model` をモデルの場所に置き換える。
 *
 * @param outputs scripts/reference_outputs.ts の書いたファイル。
 */
export function writeTable(outputs: string): string {
  const scores = (JSON.parse(readFileSync(outputs, "utf8")) as { outputs: number[][] }).outputs;
  const table = JSON.parse(
    readFileSync(join(root, "test", "interop", "calls.json"), "utf8"),
    (_, value: unknown) => {
      if (value === "$model") return model;
      const [, row, column] = (typeof value === "string" && /^\$score (\d+) (\d+)$/.exec(value)) || [];
      return row === undefined ? value : scores[Number(row)]![Number(column)]!;
    },
  );
  return save("calls.json", JSON.stringify(table));
}
