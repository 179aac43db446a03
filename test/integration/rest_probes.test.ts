import { describe, expect, test } from "bun:test";
import { connect } from "node:net";
import { startRest } from "../helpers/start_rest.ts";

describe("probes", () => {
  test("/healthz and /livez answer as long as the server turns", async () => {
    await using server = await startRest({});
    for (const path of ["/healthz", "/livez", "/healthz?verbose"]) {
      const reply = await fetch(server.origin + path);
      expect([reply.status, await reply.text(), reply.headers.get("cache-control")]).toEqual([
        200,
        "ok\n",
        "no-store",
      ]);
    }
    expect((await fetch(`${server.origin}/healthz`, { method: "HEAD" })).status).toBe(200);
    expect((await fetch(`${server.origin}/healthz`, { method: "DELETE" })).status).toBe(404);
    expect((await fetch(`${server.origin}/healthzz`)).status).toBe(404);
  });

  test("/readyz says what is missing, with 503", async () => {
    let answer = { ready: false, models: { m: "LOADING" } };
    await using server = await startRest({ readiness: () => answer });
    const url = `${server.origin}/readyz`;
    const missing = await fetch(url);
    expect([missing.status, await missing.json()]).toEqual([503, answer]);
    expect((await fetch(url, { method: "HEAD" })).status).toBe(503);
    answer = { ready: true, models: { m: "AVAILABLE" } };
    const ready = await fetch(url);
    expect([ready.status, await ready.json()]).toEqual([200, answer]);
  });

  test("keys are not asked for", async () => {
    await using server = await startRest({
      authorize: () => false,
      readiness: () => ({ ready: true, models: {} }),
    });
    expect((await fetch(`${server.origin}/healthz`)).status).toBe(200);
    expect((await fetch(`${server.origin}/readyz`)).status).toBe(200);
  });
});

test("a stopping server answers what open connections still send, and tells them to close", async () => {
  await using server = await startRest({});
  const socket = connect(server.port, "127.0.0.1");
  const replies: string[] = [];
  let next = Promise.withResolvers<void>();
  socket.on("data", (chunk: Buffer) => {
    replies.push(chunk.toString());
    next.resolve();
  });
  const ask = async (): Promise<void> => {
    next = Promise.withResolvers<void>();
    socket.write("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await next.promise;
  };
  const status = "GET /v1/models/half_plus_two HTTP/1.1\r\nHost: localhost\r\n\r\n";
  await ask();
  const closed = new Promise<void>((resolve) => socket.on("close", () => resolve()));
  const stopped = server.door.stop(60_000);
  // 止め始めた後に届く要求。
  next = Promise.withResolvers<void>();
  socket.write(status);
  await next.promise;
  await Promise.all([stopped, closed]);
  expect(replies).toHaveLength(2);
  expect(replies[0]).not.toMatch(/connection: close/i);
  expect(replies[1]).toMatch(/^HTTP\/1.1 200 [\s\S]*connection: close/i);
});
