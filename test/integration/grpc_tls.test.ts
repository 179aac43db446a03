import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type TLSSocket } from "node:tls";
import { Code, StatusError } from "../../src/base/status.ts";
import { type ClientTls, GrpcClient } from "../../src/client/grpc_client.ts";
import { createAuthority, type Identity, issue } from "../helpers/certificates.ts";
import { type GrpcSetup, startGrpc } from "../helpers/start_grpc.ts";

let authority: Identity;
let stranger: Identity;
let serverIdentity: Identity;
let clientIdentity: Identity;
let strangerIdentity: Identity;
const folder = mkdtempSync(join(tmpdir(), "grpc-tls-"));
afterAll(() => rmSync(folder, { recursive: true }));
beforeAll(async () => {
  authority = await createAuthority("authority");
  stranger = await createAuthority("stranger");
  serverIdentity = await issue(authority, "server");
  clientIdentity = await issue(authority, "client");
  strangerIdentity = await issue(stranger, "intruder");
});

/** 呼べたか、呼べなければそのコード。 */
async function tryCall({ targets }: GrpcSetup, tls: ClientTls | undefined, target = 0): Promise<Code> {
  using client = new GrpcClient({ address: targets[target]!, tls });
  try {
    return (await client.health()) ? Code.OK : Code.UNKNOWN;
  } catch (thrown) {
    if (thrown instanceof StatusError) return thrown.code;
    throw thrown;
  }
}

const tlsOf = ({ cert, key }: Identity, clientVerify: boolean) => ({
  cert,
  key,
  clientCa: clientVerify ? authority.cert : "",
  clientVerify,
});

describe("TLS", () => {
  test("serves clients that trust the certificate, and no others", async () => {
    await using server = await startGrpc({ tls: tlsOf(serverIdentity, false) });
    expect(await tryCall(server, { rootCerts: authority.cert })).toBe(Code.OK);
    expect(await tryCall(server, { rootCerts: stranger.cert })).toBe(Code.UNAVAILABLE);
    expect(await tryCall(server, undefined)).toBe(Code.UNAVAILABLE);
    // 求めていない証明書は、誰のものでも見ない。
    expect(await tryCall(server, { rootCerts: authority.cert, ...strangerIdentity })).toBe(Code.OK);
  });

  test("is spoken on the UNIX socket too", async () => {
    await using server = await startGrpc({
      tls: tlsOf(serverIdentity, false),
      addresses: [{ path: join(folder, "tls.sock") }],
    });
    expect(await tryCall(server, { rootCerts: authority.cert })).toBe(Code.OK);
    expect(await tryCall(server, undefined)).toBe(Code.UNAVAILABLE);
  });

  test("mutual TLS lets in only clients of its authority", async () => {
    await using server = await startGrpc({ tls: tlsOf(serverIdentity, true) });
    const rootCerts = authority.cert;
    expect(await tryCall(server, { rootCerts, ...clientIdentity })).toBe(Code.OK);
    expect(await tryCall(server, { rootCerts })).toBe(Code.UNAVAILABLE);
    expect(await tryCall(server, { rootCerts, ...strangerIdentity })).toBe(Code.UNAVAILABLE);
    expect(await tryCall(server, undefined)).toBe(Code.UNAVAILABLE);
  });

  /** 握手だけして、相手の名乗る名前を見る。 */
  function handshake(port: number, options: object): Promise<TLSSocket> {
    return new Promise((resolve, reject) => {
      const socket = connect(
        {
          port,
          host: "127.0.0.1",
          servername: "localhost",
          ca: authority.cert,
          ALPNProtocols: ["h2"],
          ...options,
        },
        () => resolve(socket),
      );
      socket.on("error", reject);
    });
  }

  test("replaces its certificate without dropping connections", async () => {
    await using server = await startGrpc({ tls: tlsOf(serverIdentity, false) });
    const port = Number(server.targets[0]!.split(":")[1]);
    using client = new GrpcClient({ address: server.targets[0]!, tls: { rootCerts: authority.cert } });
    expect(await client.health()).toBe(true);
    server.door.replaceCertificate(tlsOf(await issue(authority, "renewed"), false));
    const socket = await handshake(port, {});
    expect(socket.getPeerCertificate().subject.CN).toBe("renewed");
    socket.destroy();
    expect(await client.health()).toBe(true);
  });

  test("refuses versions before TLS 1.2", async () => {
    await using server = await startGrpc({ tls: tlsOf(serverIdentity, false) });
    const port = Number(server.targets[0]!.split(":")[1]);
    expect(handshake(port, { minVersion: "TLSv1", maxVersion: "TLSv1.1" })).rejects.toThrow();
    const socket = await handshake(port, { maxVersion: "TLSv1.2" });
    expect(socket.getProtocol()).toBe("TLSv1.2");
    socket.destroy();
  });
});
