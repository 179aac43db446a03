import { lstatSync, unlinkSync } from "node:fs";
import type { Socket } from "node:net";
import type { TlsOptions, Server as TlsServer } from "node:tls";
import { tls as nodeTls } from "../base/late_builtins.ts";
import { PlainTransport } from "./plain_transport.ts";
import { acceptTls } from "./tls_transport.ts";
import type { Accept } from "./transport.ts";

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

export interface ListenerOptions {
  readonly address: Address;
  readonly tls?: ListenerTls | undefined;
  /** TLS の握手で選ばせる、先の言葉(ALPN)。 */
  readonly protocol: "h2" | "http/1.1";
  /** 同時に開いている接続の数。0 は無制限。 */
  readonly maxConnections: number;
  /** TLS の握手に掛けてよい時間。0 は Node の既定。 */
  readonly handshakeTimeoutMs: number;
}

/** 待ち受けているもの。 */
interface Listening {
  /** 実際の宛先。 */
  readonly name: string;
  replaceCertificate(tls: ListenerTls): void;
  close(): void;
}

/** 相手の機械が黙って消えた接続を、OS に探させ始めるまで。ミリ秒。 */
const KEEPALIVE_DELAY_MS = 60_000;

/**
 * 1 つの宛先での待ち受け。TLS はここで終わり、先へ渡るのは中身の流れだけになる。
 * 証明書の差し替え、接続の制限、ポートの共有は、どの入口でも同じものがここで決まる。
 */
export class Listener {
  readonly #options: ListenerOptions;
  readonly #accept: Accept;
  #listening: Listening | undefined;

  /** @param accept つながった接続(TLS なら握手を終えたもの)に、その上の層を載せる。 */
  constructor(options: ListenerOptions, accept: Accept) {
    this.#options = options;
    this.#accept = accept;
  }

  /**
   * @returns 実際の宛先(`0.0.0.0:8500`, `[::]:8501`, `unix:/tmp/s`)。
   * @throws 使用中の番号など、OS の失敗。
   */
  async listen(): Promise<string> {
    const { address, tls } = this.#options;
    if ("path" in address) removeStaleSocket(address.path);
    this.#listening =
      tls === undefined
        ? listenPlain(this.#options, this.#accept)
        : await listenTls(this.#options, tls, this.#accept);
    return this.#listening.name;
  }

  /** これから来る接続の証明書を差し替える。つながっているものは切れない。 @throws 使えない証明書。 */
  replaceCertificate(tls: ListenerTls): void {
    this.#listening?.replaceCertificate(tls);
  }

  /** 新しい接続を断る。つながっているものは待たない。 */
  close(): void {
    const { address } = this.#options;
    this.#listening?.close();
    this.#listening = undefined;
    if ("path" in address) removeStaleSocket(address.path);
  }
}

/** 前の持ち主が残したソケットだけを消す。ふつうのファイルには触らない。 */
function removeStaleSocket(path: string): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found?.isSocket()) unlinkSync(path);
}

const nameOf = (host: string, port: number): string => `${host.includes(":") ? `[${host}]` : host}:${port}`;

function listenPlain({ address, maxConnections }: ListenerOptions, accept: Accept): Listening {
  let open = 0;
  const socket: Bun.SocketHandler<PlainTransport> = {
    open(one) {
      open++;
      const transport = new PlainTransport(one);
      one.data = transport;
      if (maxConnections > 0 && open > maxConnections) {
        one.terminate();
        return;
      }
      // 小さい応答を溜めると 40 ms 待たされることがある。
      one.setNoDelay(true);
      one.setKeepAlive(true, KEEPALIVE_DELAY_MS);
      transport.handler = accept(transport);
    },
    data: ({ data: { handler } }, chunk) => handler?.data(chunk),
    drain: ({ data }) => data.drain(),
    end: ({ data: { handler } }) => handler?.ended(),
    // 切れた接続の後始末は close が来てからする。
    error: () => {},
    close({ data }) {
      open--;
      data.close();
    },
  };
  const common = { allowHalfOpen: true, socket };
  const replaceCertificate = (): void => {};
  if ("path" in address) {
    const name = `unix:${address.path}`;
    const server = orExplain(name, () => Bun.listen({ ...common, unix: address.path }));
    return { name, replaceCertificate, close: () => server.stop() };
  }
  const { host: hostname, port, reusePort } = address;
  // reusePort は型の定義に載っていない。
  const tcp = { ...common, hostname, port, reusePort };
  const server = orExplain(nameOf(hostname, port), () => Bun.listen(tcp));
  return { name: nameOf(server.hostname, server.port), replaceCertificate, close: () => server.stop() };
}

/** Bun の失敗は訳も番号も言わないので、Node の言い方に直す。 */
function orExplain<T>(name: string, listen: () => T): T {
  try {
    return listen();
  } catch (thrown) {
    const code: unknown = thrown instanceof Error ? Reflect.get(thrown, "code") : undefined;
    const reason = code === "EADDRINUSE" ? "address already in use" : String(thrown);
    throw Object.assign(new Error(`listen ${code}: ${reason} ${name}`, { cause: thrown }), { code });
  }
}

async function listenTls(
  { address, protocol, maxConnections, handshakeTimeoutMs }: ListenerOptions,
  tls: ListenerTls,
  accept: Accept,
): Promise<Listening> {
  const receive = (socket: Socket): void => {
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEPALIVE_DELAY_MS);
    // ここで受けないと、握手の途中の失敗でプロセスが落ちる。
    socket.on("error", () => socket.destroy());
    acceptTls(socket, accept);
  };
  const server: TlsServer = nodeTls().createServer(
    {
      ...tlsOptions(tls, protocol),
      allowHalfOpen: true,
      ...(handshakeTimeoutMs > 0 ? { handshakeTimeout: handshakeTimeoutMs } : {}),
    },
    receive,
  );
  // 握手に失敗した、または時間の掛かり過ぎた接続。まだ accept には渡っていない。
  server.on("tlsClientError", (_, socket: Socket) => socket.destroy());
  if (maxConnections > 0) server.maxConnections = maxConnections;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(address, () => {
      server.off("error", reject);
      resolve();
    });
  });
  const bound = server.address();
  return {
    name:
      typeof bound === "object" && bound !== null
        ? nameOf(bound.address, bound.port)
        : `unix:${"path" in address ? address.path : bound}`,
    replaceCertificate: (next) => server.setSecureContext(tlsOptions(next, protocol)),
    close: () => void server.close(),
  };
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
