import { expect, test } from "bun:test";
import { countOpenFiles, relieveOpenFiles } from "../../src/open_files.ts";
import { FakeHost } from "../helpers/fake_host.ts";

test("idle connections are closed while the limit is near, and only then", async () => {
  const host = new FakeHost();
  let open = 10;
  let closed = 0;
  const stop = relieveOpenFiles(
    host,
    () => {
      closed++;
      return 5;
    },
    async () => ({ open, limit: 100 }),
  );
  await host.clock.advance(5000);
  expect(closed).toBe(0);
  open = 90;
  await host.clock.advance(2000);
  expect(closed).toBe(1);
  expect(host.linesWith("limit of open files")).toHaveLength(1);
  open = 89;
  await host.clock.advance(10_000);
  expect(closed).toBe(1);
  stop();
  open = 100;
  await host.clock.advance(10_000);
  expect([closed, host.clock.pendingTimers]).toEqual([1, 0]);
});

test("nothing is watched where the count is unknown", async () => {
  const host = new FakeHost();
  relieveOpenFiles(
    host,
    () => {
      throw new Error("not called");
    },
    async () => undefined,
  );
  await host.clock.advance(2000);
  expect(host.clock.pendingTimers).toBe(0);
});

test.skipIf(process.platform !== "linux")("this process has fewer files open than it may", async () => {
  const files = (await countOpenFiles())!;
  expect(files.open).toBeGreaterThan(2);
  expect(files.open).toBeLessThan(files.limit);
});
