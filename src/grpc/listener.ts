import { lstatSync, unlinkSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type TlsOptions, type Server as TlsServer } from "node:tls";
import type { ServerTls } from "../service/server_tls.ts";

/** 待ち受ける先。port 0 は空いている番号。 */
export type GrpcAddress =
  | { readonly host: string; readonly port: number; readonly reusePort: boolean }
  | { readonly path: string };

function tlsOptions({ key, cert, clientCa, clientVerify }: ServerTls): TlsOptions {
  return {
    key,
    cert,
    ...(clientCa === "" ? {} : { ca: clientCa }),
    requestCert: clientVerify,
    rejectUnauthorized: clientVerify,
    minVersion: "TLSv1.2",
    ALPNProtocols: ["h2"],
  };
}

/** 接続についての限り。 */
export interface ListenerLimits {
  /** 同時に開いている接続の数。0 は無制限。 */
  readonly maxConnections: number;
  /** TLS の握手に掛けてよい時間。 */
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
 * grpc-js に待ち受けさせないのは、証明書の差し替え、接続の制限、ポートの共有を自分で決めるため。
 */
export class Listener {
  readonly #server: Server | TlsServer;
  readonly #address: GrpcAddress;

  /** @param accept つながった接続(TLS なら握手を終えたもの)。 */
  constructor(
    address: GrpcAddress,
    tls: ServerTls | undefined,
    accept: (socket: Socket) => void,
    limits?: ListenerLimits,
  ) {
    this.#address = address;
    const receive = (socket: Socket): void => {
      // 小さい応答を溜めると 40 ms 待たされることがある。
      socket.setNoDelay(true);
      socket.setKeepAlive(true, KEEPALIVE_DELAY_MS);
      // 切れた接続の後始末は HTTP/2 の層がする。ここで受けないと、握手の途中の失敗でプロセスが落ちる。
      socket.on("error", () => socket.destroy());
      accept(socket);
    };
    this.#server =
      tls === undefined
        ? createServer(receive)
        : createTlsServer({ ...tlsOptions(tls), handshakeTimeout: limits?.handshakeTimeoutMs }, receive);
    // 握手に失敗した、または時間の掛かり過ぎた接続。まだ accept には渡っていない。
    this.#server.on("tlsClientError", (_, socket: Socket) => socket.destroy());
    if (limits !== undefined && limits.maxConnections > 0)
      this.#server.maxConnections = limits.maxConnections;
  }

  /**
   * @returns 実際の宛先(`0.0.0.0:8500`, `unix:/tmp/s`)。
   * @throws 使用中の番号など、OS の失敗。
   */
  async listen(): Promise<string> {
    const address = this.#address;
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
      ? `${bound.address}:${bound.port}`
      : `unix:${"path" in address ? address.path : bound}`;
  }

  /** これから来る接続の証明書を差し替える。つながっているものは切れない。 */
  replaceCertificate(tls: ServerTls): void {
    if ("setSecureContext" in this.#server) this.#server.setSecureContext(tlsOptions(tls));
  }

  /** 新しい接続を断る。つながっているものは待たない。 */
  close(): void {
    this.#server.close();
    if ("path" in this.#address) removeStaleSocket(this.#address.path);
  }
}
