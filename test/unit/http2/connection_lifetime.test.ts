import { describe, expect, test } from "bun:test";
import { type LifetimeLimits, limitLifetime } from "../../../src/http2/connection_lifetime.ts";
import type { Http2Connection } from "../../../src/http2/http2_connection.ts";
import { FakeClock } from "../../helpers/fake_clock.ts";

/** したことを書き留めるだけの接続。 */
function create(limits: LifetimeLimits, random = 0.5) {
  const clock = new FakeClock();
  const done: string[] = [];
  const closed = Promise.withResolvers<void>();
  const connection = {
    whenClosed: closed.promise,
    idleSinceMs: 0 as number | undefined,
    heard: () => {},
    announce: async () => void done.push("announce"),
    closeWhenDone: async () => void done.push("close"),
    destroy: () => {
      done.push("destroy");
      closed.resolve();
    },
    ping: (_: Uint8Array, heard: () => void) => {
      done.push("ping");
      connection.heard = heard;
    },
  };
  limitLifetime(connection as unknown as Http2Connection, clock, limits, () => random);
  return { clock, done, connection };
}

describe("limitLifetime()", () => {
  test("does nothing when nothing is limited", () => {
    expect(create({}).clock.pendingTimers).toBe(0);
  });

  test.each([
    [0, 900],
    [0.5, 1000],
    [1, 1100],
  ])("ends by age, give or take a tenth (%p: %p ms)", async (random, ms) => {
    const { clock, done } = create({ maxAgeMs: 1000 }, random);
    await clock.advance(ms - 1);
    expect(done).toEqual([]);
    await clock.advance(1);
    expect(done).toEqual(["announce", "close"]);
    await clock.advance(1e9);
    expect(done).toEqual(["announce", "close"]);
  });

  test("cuts what is left after the grace", async () => {
    const { clock, done } = create({ maxAgeMs: 1000, maxAgeGraceMs: 50 });
    await clock.advance(1049);
    expect(done).toEqual(["announce", "close"]);
    await clock.advance(1);
    expect(done.at(-1)).toBe("destroy");
    await clock.settle();
    expect(clock.pendingTimers).toBe(0);
  });

  test("ends by idleness, counted from the last stream", async () => {
    const { clock, done, connection } = create({ maxIdleMs: 100 });
    await clock.advance(50);
    connection.idleSinceMs = undefined;
    await clock.advance(500);
    connection.idleSinceMs = clock.monotonicMs();
    await clock.advance(99);
    expect(done).toEqual([]);
    await clock.advance(1);
    expect(done).toEqual(["announce", "close"]);
  });

  test("asks whether the client lives, and hangs up when it does not say so", async () => {
    const { clock, done, connection } = create({ keepaliveMs: 100, keepaliveTimeoutMs: 30 });
    await clock.advance(100);
    connection.heard();
    await clock.advance(99);
    expect(done).toEqual(["ping"]);
    await clock.advance(1);
    expect(done).toEqual(["ping", "ping"]);
    await clock.advance(30);
    expect(done).toEqual(["ping", "ping", "destroy"]);
    await clock.settle();
    expect(clock.pendingTimers).toBe(0);
  });
});
