import { beforeAll, describe, expect, test } from "bun:test";
import { RestClient } from "../../src/client/rest_client.ts";
import { createAuthority, type Identity, issue } from "../helpers/certificates.ts";
import { startRest } from "../helpers/start_rest.ts";

let authority: Identity;
let server: Identity;
beforeAll(async () => {
  authority = await createAuthority("authority");
  server = await issue(authority, "server");
});

const MODEL = { name: "half_plus_two" };

describe("REST over TLS", () => {
  test("answers a client that knows the root, and no other", async () => {
    await using rest = await startRest({ tls: server });
    const client = new RestClient({ origin: rest.origin, rootCerts: authority.cert });
    expect(await client.predict(MODEL, { instances: [1] })).toEqual([2.5]);
    const stranger = new RestClient({ origin: rest.origin, rootCerts: server.cert });
    expect(stranger.predict(MODEL, { instances: [1] })).rejects.toThrow("Could not reach");
  });

  test("asks the client for a certificate when it has a root for them", async () => {
    await using rest = await startRest({ tls: { ...server, clientCa: authority.cert } });
    const client = await issue(authority, "client");
    const get = (tls: object) =>
      fetch(`${rest.origin}/v1/models/half_plus_two`, { tls: { ca: authority.cert, ...tls } });
    expect((await get(client)).status).toBe(200);
    expect(get({})).rejects.toThrow();
  });

  test("shows a replaced certificate to new connections", async () => {
    const other = await createAuthority("another authority");
    await using rest = await startRest({ tls: server, reusePort: true });
    const old = new RestClient({ origin: rest.origin, rootCerts: authority.cert });
    expect(await old.predict(MODEL, { instances: [1] })).toEqual([2.5]);
    rest.door.replaceCertificate(await issue(other, "server"));
    const renewed = new RestClient({ origin: rest.origin, rootCerts: other.cert });
    expect(await renewed.predict(MODEL, { instances: [1] })).toEqual([2.5]);
  });
});
