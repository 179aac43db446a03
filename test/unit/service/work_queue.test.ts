import { describe, expect, test } from "bun:test";
import type { StatusError } from "../../../src/base/status.ts";
import { Admission } from "../../../src/service/admission.ts";
import { WorkQueue } from "../../../src/service/work_queue.ts";
import { FakeHost } from "../../helpers/fake_host.ts";

function create({ maxInFlight = 0, maxQueueDelayMs = 0 } = {}) {
  const host = new FakeHost();
  const admission = new Admission(host, { maxInFlight, maxQueueDelayMs });
  const queue = new WorkQueue(host.clock, admission);
  const seen: string[] = [];
  /** `ms` 掛かる仕事。 */
  const submit = (name: string, ms: number, later?: Promise<void>): void =>
    queue.submit({
      arrivedMs: 0,
      start: () => {
        seen.push(name);
        host.clock.spend(ms);
        return later;
      },
      refuse: (error: StatusError) => seen.push(`${name}: ${error.message}`),
    });
  return { host, admission, queue, seen, submit };
}

describe("WorkQueue", () => {
  test("starts at once what finds nobody waiting, and puts the rest off when the turn is long", () => {
    const { host, seen, submit } = create();
    for (const name of ["a", "b", "c", "d"]) submit(name, 3);
    expect(seen).toEqual(["a", "b"]);
    host.clock.turn();
    expect(seen).toEqual(["a", "b", "c", "d"]);
  });

  test("what waits is started in order, 5 ms a turn, before what comes later", () => {
    const { host, seen, submit } = create();
    for (const name of ["a", "b", "c", "d"]) submit(name, 6);
    host.clock.turn();
    submit("e", 6);
    expect(seen).toEqual(["a", "b"]);
    for (const expected of ["c", "d", "e"]) {
      host.clock.turn();
      expect(seen.at(-1)).toBe(expected);
    }
    submit("f", 1);
    expect(seen.at(-1)).toBe("f");
  });

  test("after a turn with several, those of the next are gathered until it ends; a lone one never waits", () => {
    const { host, seen, submit } = create();
    submit("lone", 1);
    host.clock.turn();
    for (const name of ["a", "b"]) submit(name, 1);
    expect(seen).toEqual(["lone", "a", "b"]);
    host.clock.turn();
    submit("c", 1);
    expect(seen).toEqual(["lone", "a", "b"]);
    host.clock.turn();
    expect(seen).toEqual(["lone", "a", "b", "c"]);
    submit("d", 1);
    expect(seen.at(-1)).toBe("d");
  });

  test("refuses what has waited too long, and lets the others go on", () => {
    const { host, seen, submit } = create({ maxQueueDelayMs: 10 });
    for (const name of ["a", "b", "c"]) submit(name, 6);
    host.clock.turn();
    host.clock.turn();
    expect(seen).toEqual(["a", "b", "c: Server is overloaded: the request waited too long to be started"]);
    submit("d", 1);
    expect(seen.at(-1)).toBe("d");
  });

  test("work that ends later keeps its place until then", async () => {
    const { admission, seen, submit } = create({ maxInFlight: 1 });
    const ended = Promise.withResolvers<void>();
    submit("a", 0, ended.promise);
    submit("b", 0);
    expect(seen).toEqual(["a", "b: Too many requests in flight"]);
    expect(admission.refusal()).toBeDefined();
    ended.resolve();
    await ended.promise;
    expect(admission.refusal()).toBeUndefined();
    submit("c", 0);
    expect(seen.at(-1)).toBe("c");
  });

  test("those in line count before they have started", () => {
    const { host, admission, submit } = create({ maxInFlight: 2 });
    for (const name of ["a", "b", "c"]) submit(name, 6);
    expect(admission.refusal()?.message).toBe("Too many requests in flight");
    host.clock.turn();
    expect(admission.refusal()).toBeUndefined();
  });

  test("whenEmpty() waits for the line, and calls once", () => {
    const { host, queue, submit } = create();
    let calls = 0;
    for (const name of ["a", "b", "c"]) submit(name, 6);
    queue.whenEmpty(() => calls++);
    host.clock.turn();
    expect(calls).toBe(0);
    host.clock.turn();
    host.clock.turn();
    expect(calls).toBe(1);
    queue.whenEmpty(() => calls++);
    host.clock.turn();
    expect(calls).toBe(2);
  });
});
