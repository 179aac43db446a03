import { expect, test } from "bun:test";
import { internal } from "../../../src/base/status.ts";
import { LoaderHarness } from "../../../src/core/loader_harness.ts";
import { Slots } from "../../../src/core/slots.ts";
import { FakeHost } from "../../helpers/fake_host.ts";
import { FakeLoader } from "../../helpers/fake_loader.ts";

const id = { name: "m", version: 1n };
const retry = { maxRetries: 0, intervalMs: 0 };
const deaf = { loading() {}, ready() {}, ended() {} };

test("of two load requests exactly one succeeds", () => {
  const harness = new LoaderHarness(new FakeHost(), id, new FakeLoader(), retry, deaf);
  harness.requestLoad();
  expect(() => harness.requestLoad()).toThrow("Duplicate load request");
});

test("of two unload requests exactly one succeeds", async () => {
  const harness = new LoaderHarness(new FakeHost(), id, new FakeLoader(), retry, deaf);
  harness.requestLoad();
  expect(() => harness.requestUnload()).toThrow("Servable not loaded, or unload already requested/ongoing");
  await harness.load(new Slots(1));
  harness.requestUnload();
  expect(() => harness.requestUnload()).toThrow("Servable not loaded, or unload already requested/ongoing");
});

test("an illegal transition is an internal error and ends the version", async () => {
  const harness = new LoaderHarness(new FakeHost(), id, new FakeLoader(), retry, deaf);
  const refused = harness.unload();
  await expect(refused).rejects.toThrow("Illegal request to transition from state New to Unloading");
  await refused.catch(() => {});
  expect(harness.state).toBe("Error");
});

test("a source's error is the version's error", () => {
  const harness = new LoaderHarness(new FakeHost(), id, internal("no path"), retry, deaf);
  expect([harness.state, harness.error?.message]).toEqual(["Error", "no path"]);
});
