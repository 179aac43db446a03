import { beforeAll, describe, expect, test } from "bun:test";
import { connect } from "node:tls";
import { RestClient } from "../../src/client/rest_client.ts";
import { createAuthority, type Identity, issue } from "../helpers/certificates.ts";
import { startRest } from "../helpers/start_rest.ts";

let authority: Identity;
let server: Identity;
beforeAll(async () => {
  authority = await createAuthority("authority");
  server = await issue(authority, "server");
});

const tlsOf = ({ cert, key }: Identity, clientCa = "") => ({
  cert,
  key,
  clientCa,
  clientVerify: clientCa !== "",
});

const MODEL = { name: "half_plus_two" };

describe("REST over TLS", () => {
  test("answers a client that knows the root, and no other", async () => {
    await using rest = await startRest({ tls: tlsOf(server) });
    const client = new RestClient({ origin: rest.origin, rootCerts: authority.cert });
    expect(await client.predict(MODEL, { instances: [1] })).toEqual([2.5]);
    const stranger = new RestClient({ origin: rest.origin, rootCerts: server.cert });
    expect(stranger.predict(MODEL, { instances: [1] })).rejects.toThrow("Could not reach");
  });

  test("asks the client for a certificate when it has a root for them", async () => {
    await using rest = await startRest({ tls: tlsOf(server, authority.cert) });
    const client = await issue(authority, "client");
    const get = (tls: object) =>
      fetch(`${rest.origin}/v1/models/half_plus_two`, { tls: { ca: authority.cert, ...tls } });
    expect((await get(client)).status).toBe(200);
    expect(get({})).rejects.toThrow();
  });

  test("refuses versions before TLS 1.2", async () => {
    await using rest = await startRest({ tls: tlsOf(server) });
    const handshake = (version: "TLSv1.1" | "TLSv1.2" | "TLSv1.3") =>
      new Promise<string | null>((resolve, reject) => {
        const socket = connect(
          {
            port: rest.port,
            host: "127.0.0.1",
            servername: "localhost",
            ca: authority.cert,
            minVersion: version,
            maxVersion: version,
          },
          () => {
            resolve(socket.getProtocol());
            socket.destroy();
          },
        );
        socket.on("error", reject);
      });
    expect(handshake("TLSv1.1")).rejects.toThrow("PROTOCOL_VERSION");
    expect(await handshake("TLSv1.2")).toBe("TLSv1.2");
    expect(await handshake("TLSv1.3")).toBe("TLSv1.3");
  });

  test("shows a replaced certificate to new connections, and keeps the old ones", async () => {
    await using rest = await startRest({ tls: tlsOf(server) });
    const old = await keepAlive(rest.port);
    expect(old.name).toBe("server");
    expect(await old.get()).not.toContain("close");
    rest.door.replaceCertificate(tlsOf(await issue(authority, "renewed")));
    for (let i = 0; i < 5; i++) {
      const next = await keepAlive(rest.port);
      expect(next.name).toBe("renewed");
      expect(await next.get()).not.toContain("close");
      next.end();
    }
    expect(await old.get()).not.toContain("close");
    old.end();
  });

  test("keeps the old certificate when the new one is unusable", async () => {
    await using rest = await startRest({ tls: tlsOf(server) });
    expect(() => rest.door.replaceCertificate({ ...tlsOf(server), cert: "nonsense" })).toThrow();
    const client = await keepAlive(rest.port);
    expect(client.name).toBe("server");
    expect(await client.get()).not.toContain("close");
    client.end();
  });
});

/** 1 本の TLS の接続。`get` は状態を 1 度聞き、`Connection` の値を返す。 */
async function keepAlive(port: number) {
  const opened = Promise.withResolvers<void>();
  const closed = Promise.withResolvers<void>();
  let answered = (_: string): void => {};
  const socket = connect({ port, host: "127.0.0.1", servername: "localhost", ca: authority.cert }, () =>
    opened.resolve(),
  );
  socket.on("data", (chunk: Buffer) => answered(chunk.toString()));
  socket.on("error", opened.reject);
  socket.on("close", () => closed.resolve());
  await opened.promise;
  return {
    name: String(socket.getPeerCertificate().subject.CN),
    closed: closed.promise,
    end: () => socket.destroy(),
    get: async (): Promise<string> => {
      const reply = new Promise<string>((resolve) => {
        answered = resolve;
      });
      socket.write("GET /v1/models/half_plus_two HTTP/1.1\r\nHost: localhost\r\n\r\n");
      const text = await reply;
      expect(text).toStartWith("HTTP/1.1 200 OK");
      return /\r\nconnection: (.*)\r\n/i.exec(text)?.[1] ?? "";
    },
  };
}
