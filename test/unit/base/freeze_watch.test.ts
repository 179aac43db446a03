import { describe, expect, test } from "bun:test";
import { FreezeWatch } from "../../../src/base/freeze_watch.ts";
import { FakeClock } from "../../helpers/fake_clock.ts";

function create() {
  const clock = new FakeClock();
  let cpuMs = 0;
  const watch = new FreezeWatch(clock, () => cpuMs);
  return {
    clock,
    watch,
    /** CPU を使いながら時間が過ぎる。 */
    work: (ms: number) => {
      clock.spend(ms);
      cpuMs += ms;
    },
  };
}

describe("FreezeWatch", () => {
  test("idle time is not frozen time", async () => {
    const { clock, watch } = create();
    await clock.advance(60_000);
    expect(watch.frozenSince(0)).toBe(0);
  });

  test("a gap without heartbeat and without CPU time is frozen time, but for one beat", async () => {
    const { clock, watch } = create();
    await clock.advance(1000);
    clock.spend(3000);
    expect(watch.frozenSince(1000)).toBe(2500);
    expect(watch.frozenSince(4000)).toBe(0);
    await clock.advance(1000);
    expect(watch.frozenSince(1000)).toBe(2500);
  });

  test("a long run that keeps the loop busy is not frozen time", async () => {
    const { clock, watch, work } = create();
    await clock.advance(1000);
    work(30_000);
    expect(watch.frozenSince(0)).toBe(0);
    await clock.advance(1000);
    expect(watch.frozenSince(0)).toBe(0);
  });

  test("several freezes add up, those before do not count", async () => {
    const { clock, watch } = create();
    for (let i = 0; i < 40; i++) {
      clock.spend(2000);
      await clock.advance(500);
    }
    expect(watch.frozenSince(clock.monotonicMs() - 2500 * 3)).toBe(3 * 1500);
    expect(watch.frozenSince(-1)).toBe(16 * 1500);
  });
});
