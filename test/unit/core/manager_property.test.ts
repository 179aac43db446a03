import { expect, test } from "bun:test";
import fc from "fast-check";
import { EventBus } from "../../../src/base/event_bus.ts";
import { internal } from "../../../src/base/status.ts";
import { availabilityPreserving } from "../../../src/core/aspired_version_policy.ts";
import { AspiredVersionsManager } from "../../../src/core/aspired_versions_manager.ts";
import type { ServableHandle } from "../../../src/core/servable_handle.ts";
import type { ServableState } from "../../../src/core/servable_state.ts";
import { FakeHost } from "../../helpers/fake_host.ts";
import { FakeLoader, type FakeServable } from "../../helpers/fake_loader.ts";

type Step =
  | { readonly kind: "aspire"; readonly versions: readonly number[]; readonly failing: boolean }
  | { readonly kind: "borrow" }
  | { readonly kind: "giveBack" }
  | { readonly kind: "finishLoad" }
  | { readonly kind: "settle" };

const steps = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constant("aspire" as const),
      versions: fc.uniqueArray(fc.integer({ min: 1, max: 5 }), { maxLength: 3 }),
      failing: fc.boolean(),
    }),
    fc.constantFrom<Step>(
      { kind: "borrow" },
      { kind: "giveBack" },
      { kind: "finishLoad" },
      { kind: "settle" },
    ),
  ),
  { maxLength: 30 },
);

const followingStates: Record<string, readonly string[]> = {
  "": ["START"],
  START: ["LOADING", "END"],
  LOADING: ["AVAILABLE", "END"],
  AVAILABLE: ["UNLOADING"],
  UNLOADING: ["END"],
  END: ["START"],
};

/** 同じローダーから 2 度は読まず、借りられている間は解放しない。 */
class Watched extends FakeLoader {
  borrowed = 0;

  override async unload(): Promise<void> {
    expect(this.borrowed).toBe(0);
    await super.unload();
  }
}

test("whatever happens, versions follow their life cycle and end as aspired", async () => {
  await fc.assert(
    fc.asyncProperty(steps, fc.integer({ min: 0, max: 3 }), async (sequence, numLoadThreads) => {
      const host = new FakeHost();
      const bus = new EventBus<ServableState>();
      const states = new Map<bigint, string>();
      bus.subscribe(({ id: { version }, state }) => {
        expect(followingStates[states.get(version) ?? ""]).toContain(state);
        states.set(version, state);
      });
      const manager = new AspiredVersionsManager<FakeServable>(host, bus, {
        policy: availabilityPreserving,
        retry: { maxRetries: 0, intervalMs: 0 },
        numLoadThreads,
        numUnloadThreads: 0,
      });
      const loaders: Watched[] = [];
      const handles: ServableHandle<FakeServable>[] = [];
      const borrow = (): void => {
        if (manager.available().length === 0) return;
        const handle = manager.acquire({ name: "m" });
        (handle.servable.loader as Watched).borrowed++;
        handles.push(handle);
      };
      const giveBack = (): void => {
        const handle = handles.shift();
        if (handle === undefined) return;
        (handle.servable.loader as Watched).borrowed--;
        handle[Symbol.dispose]();
      };
      const aspire = (versions: readonly number[], failing: boolean): void =>
        manager.aspire(
          "m",
          versions.map((version) => {
            const loader = new Watched(failing ? [internal("no")] : []).held();
            loaders.push(loader as Watched);
            return { version: BigInt(version), data: loader };
          }),
        );
      for (const step of sequence) {
        if (step.kind === "aspire") aspire(step.versions, step.failing);
        else if (step.kind === "borrow") borrow();
        else if (step.kind === "giveBack") giveBack();
        else if (step.kind === "finishLoad") loaders.find(({ loads }) => loads > 0)?.release();
        else await host.clock.settle();
      }
      // 最後に健全な希望を告げ、すべてを終わらせる。
      aspire([], false);
      while (handles.length > 0) giveBack();
      for (const loader of loaders) loader.release();
      await host.clock.settle();
      expect(manager.available()).toEqual([]);
      aspire([2, 4], false);
      for (const loader of loaders) loader.release();
      await host.clock.settle();
      expect(manager.available().map(({ version }) => version)).toEqual([4n, 2n]);
      for (const loader of loaders) expect(loader.loads).toBeLessThanOrEqual(1);
      const alive = loaders.filter(({ loads, unloads }) => loads > unloads);
      expect(alive.length).toBeGreaterThanOrEqual(2);
    }),
    { numRuns: 300 },
  );
});

test("with healthy versions, something is served at every moment after the first", async () => {
  const sets = fc.array(fc.uniqueArray(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 3 }), {
    minLength: 2,
    maxLength: 12,
  });
  await fc.assert(
    fc.asyncProperty(sets, async (wishes) => {
      const host = new FakeHost();
      const bus = new EventBus<ServableState>();
      let serving = false;
      const manager = new AspiredVersionsManager<FakeServable>(host, bus, {
        policy: availabilityPreserving,
        retry: { maxRetries: 0, intervalMs: 0 },
        numLoadThreads: 0,
        numUnloadThreads: 0,
      });
      bus.subscribe(({ state }) => {
        if (state === "AVAILABLE") serving = true;
        if (serving) expect(manager.available().length).toBeGreaterThan(0);
      });
      for (const versions of wishes) {
        manager.aspire(
          "m",
          versions.map((version) => ({ version: BigInt(version), data: new FakeLoader() })),
        );
        await host.clock.settle();
        using handle = manager.acquire({ name: "m" });
        expect(versions).toContain(Number(handle.id.version));
      }
    }),
    { numRuns: 200 },
  );
});
