import { lstatSync, unlinkSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import type { TlsOptions, Server as TlsServer } from "node:tls";
import { tls as nodeTls } from "../base/late_builtins.ts";

/** 待ち受ける先。port 0 は空いている番号。 */
export type Address =
  | { readonly host: string; readonly port: number; readonly reusePort: boolean }
  | { readonly path: string };

/** サーバーの側の TLS。どれも PEM。 */
export interface ListenerTls {
  readonly key: string;
  readonly cert: string;
  /** 空なら、備え付けの認証局。 */
  readonly clientCa: string;
  /** 客に証明書を求めるか。 */
  readonly clientVerify: boolean;
}

function tlsOptions({ key, cert, clientCa, clientVerify }: ListenerTls, protocol: string): TlsOptions {
  return {
    key,
    cert,
    ...(clientCa === "" ? {} : { ca: clientCa }),
    requestCert: clientVerify,
    rejectUnauthorized: clientVerify,
    minVersion: "TLSv1.2",
    ALPNProtocols: [protocol],
  };
}

export interface ListenerOptions {
  readonly address: Address;
  readonly tls?: ListenerTls | undefined;
  /** TLS の握手で選ばせる、先の言葉(ALPN)。 */
  readonly protocol: "h2" | "http/1.1";
  /** 客が先に送り終えても(半分閉じても)、答えを送れるようにする。 */
  readonly allowHalfOpen: boolean;
  /** 同時に開いている接続の数。0 は無制限。 */
  readonly maxConnections: number;
  /** TLS の握手に掛けてよい時間。0 は Node の既定。 */
  readonly handshakeTimeoutMs: number;
}

/** 相手の機械が黙って消えた接続を、OS に探させ始めるまで。ミリ秒。 */
const KEEPALIVE_DELAY_MS = 60_000;

/** 前の持ち主が残したソケットだけを消す。ふつうのファイルには触らない。 */
function removeStaleSocket(path: string): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found?.isSocket()) unlinkSync(path);
}

/**
 * 1 つの宛先での待ち受け。TLS はここで終わり、先へ渡るのは中身の流れだけになる。
 * 証明書の差し替え、接続の制限、ポートの共有は、どの入口でも同じものがここで決まる。
 */
export class Listener {
  readonly #server: Server | TlsServer;
  readonly #options: ListenerOptions;

  /** @param accept つながった接続(TLS なら握手を終えたもの)。 */
  constructor(options: ListenerOptions, accept: (socket: Socket) => void) {
    this.#options = options;
    const { tls, protocol, allowHalfOpen, maxConnections, handshakeTimeoutMs } = options;
    const receive = (socket: Socket): void => {
      // 小さい応答を溜めると 40 ms 待たされることがある。
      socket.setNoDelay(true);
      socket.setKeepAlive(true, KEEPALIVE_DELAY_MS);
      // 切れた接続の後始末は先の層がする。ここで受けないと、握手の途中の失敗でプロセスが落ちる。
      socket.on("error", () => socket.destroy());
      accept(socket);
    };
    this.#server =
      tls === undefined
        ? createServer({ allowHalfOpen }, receive)
        : nodeTls().createServer(
            {
              ...tlsOptions(tls, protocol),
              allowHalfOpen,
              ...(handshakeTimeoutMs > 0 ? { handshakeTimeout: handshakeTimeoutMs } : {}),
            },
            receive,
          );
    // 握手に失敗した、または時間の掛かり過ぎた接続。まだ accept には渡っていない。
    this.#server.on("tlsClientError", (_, socket: Socket) => socket.destroy());
    if (maxConnections > 0) this.#server.maxConnections = maxConnections;
  }

  /**
   * @returns 実際の宛先(`0.0.0.0:8500`, `unix:/tmp/s`)。
   * @throws 使用中の番号など、OS の失敗。
   */
  async listen(): Promise<string> {
    const { address } = this.#options;
    if ("path" in address) removeStaleSocket(address.path);
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(address, () => {
        this.#server.off("error", reject);
        resolve();
      });
    });
    const bound = this.#server.address();
    return typeof bound === "object" && bound !== null
      ? `${bound.address.includes(":") ? `[${bound.address}]` : bound.address}:${bound.port}`
      : `unix:${"path" in address ? address.path : bound}`;
  }

  /** これから来る接続の証明書を差し替える。つながっているものは切れない。 */
  replaceCertificate(tls: ListenerTls): void {
    if (!("setSecureContext" in this.#server)) return;
    this.#server.setSecureContext(tlsOptions(tls, this.#options.protocol));
  }

  /** 新しい接続を断る。つながっているものは待たない。 */
  close(): void {
    this.#server.close();
    const { address } = this.#options;
    if ("path" in address) removeStaleSocket(address.path);
  }
}
