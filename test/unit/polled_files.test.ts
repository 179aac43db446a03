import { expect, test } from "bun:test";
import { invalidArgument, notFound } from "../../src/base/status.ts";
import { pollFiles } from "../../src/polled_files.ts";
import { FakeHost } from "../helpers/fake_host.ts";

function setup(intervalMs = 100) {
  const host = new FakeHost();
  const state = {
    content: { text: "a" },
    readError: undefined as Error | undefined,
    applyError: undefined as Error | undefined,
  };
  const applied: string[] = [];
  let reads = 0;
  const stop = pollFiles(
    host,
    "the thing",
    intervalMs,
    { text: "a" },
    async () => {
      reads++;
      if (state.readError !== undefined) throw state.readError;
      return { ...state.content };
    },
    ({ text }) => {
      if (state.applyError !== undefined) throw state.applyError;
      applied.push(text);
    },
  );
  return { host, state, applied, stop, reads: () => reads };
}

test("applies what has changed, once", async () => {
  const { host, state, applied, reads } = setup();
  await host.clock.advance(250);
  expect([reads(), applied]).toEqual([2, []]);
  state.content = { text: "b" };
  await host.clock.advance(300);
  expect(applied).toEqual(["b"]);
  expect(host.linesWith("Reloaded the thing")).toEqual(["I Reloaded the thing"]);
});

test("keeps the old while the new cannot be read or used, says so once, and tries again", async () => {
  const { host, state, applied } = setup();
  state.readError = notFound("/f; No such file or directory");
  await host.clock.advance(300);
  state.readError = undefined;
  state.content = { text: "half" };
  state.applyError = invalidArgument("no pair");
  await host.clock.advance(300);
  expect(applied).toEqual([]);
  expect(host.lines).toEqual([
    "E Could not reload the thing, keeping the old one: NOT_FOUND: /f; No such file or directory",
    "E Could not reload the thing, keeping the old one: INVALID_ARGUMENT: no pair",
  ]);
  state.applyError = undefined;
  await host.clock.advance(100);
  expect(applied).toEqual(["half"]);
});

test("ends when told, and never begins at an interval of 0", async () => {
  const { host, reads, stop } = setup();
  stop();
  await host.clock.advance(1000);
  const never = setup(0);
  await never.host.clock.advance(1000);
  expect([reads(), never.reads(), host.clock.pendingTimers]).toEqual([0, 0, 0]);
});
