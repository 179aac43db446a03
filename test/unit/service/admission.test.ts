import { describe, expect, test } from "bun:test";
import { Admission } from "../../../src/service/admission.ts";
import { FakeHost } from "../../helpers/fake_host.ts";

const FULL = "Too many requests in flight";
const LATE = "Server is overloaded";

function create(maxInFlight: number, maxQueueDelayMs = 0) {
  const host = new FakeHost();
  const admission = new Admission(host, { maxInFlight, maxQueueDelayMs });
  const shed = () =>
    Object.fromEntries(
      host.metrics
        .snapshot()
        .find(({ name }) => name === "/iris_serving/shed_request_count")!
        .cells.map(({ labelValues, value }) => [labelValues[0]!, value]),
    );
  return { host, admission, shed };
}

describe("Admission", () => {
  test("lets in as many as the limit, and the next when one has left", () => {
    const { admission, shed } = create(2);
    admission.enter(0);
    expect(admission.refusal()).toBeUndefined();
    admission.enter(0);
    expect(admission.refusal()?.toString()).toBe(`RESOURCE_EXHAUSTED: ${FULL}`);
    expect(() => admission.enter(0)).toThrow(FULL);
    admission.leave();
    admission.enter(0);
    expect(shed()).toEqual({ in_flight: 2, queue_delay: 0 });
  });

  test("has no limit at 0", () => {
    const { host, admission, shed } = create(0);
    const arrived = admission.arrive();
    host.clock.spend(1e9);
    for (let i = 0; i < 100_000; i++) admission.enter(arrived);
    expect(shed()).toEqual({ in_flight: 0, queue_delay: 0 });
  });

  test("refuses what has waited longer than the limit, and counts it", () => {
    const { host, admission, shed } = create(0, 100);
    const arrived = admission.arrive();
    host.clock.spend(100);
    admission.enter(arrived);
    host.clock.spend(1);
    expect(() => admission.enter(arrived)).toThrow(LATE);
    expect(shed()).toEqual({ in_flight: 0, queue_delay: 1 });
  });

  test("the time in which the process was frozen is no wait", () => {
    const { host, admission } = create(0, 100);
    const arrived = admission.arrive();
    host.clock.spend(60);
    host.clock.freeze(5000);
    host.clock.spend(40);
    admission.enter(arrived);
    host.clock.spend(1);
    expect(() => admission.enter(arrived)).toThrow(LATE);
  });

  test("requests of one turn share one arrival time, those of the next do not", () => {
    const { host, admission } = create(0);
    expect(admission.arrive()).toBe(0);
    host.clock.spend(7);
    expect(admission.arrive()).toBe(0);
    host.clock.turn();
    expect(admission.arrive()).toBe(7);
  });

  test("what waits in line counts before it has come in, not against itself", () => {
    const { admission } = create(2);
    admission.line(1);
    expect(admission.refusal()).toBeUndefined();
    admission.line(1);
    expect(admission.refusal()?.toString()).toBe(`RESOURCE_EXHAUSTED: ${FULL}`);
    admission.line(-1);
    admission.enter(0);
    admission.line(-1);
    admission.enter(0);
    expect(() => admission.enter(0)).toThrow(FULL);
  });
});
