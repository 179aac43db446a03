import { expect, test } from "bun:test";
import type { FamilySnapshot } from "../../../src/base/metrics.ts";
import type { ManagerState } from "../../../src/core/servable_state.ts";
import { mergeMetrics } from "../../../src/processes/merge_metrics.ts";
import { mergeStates } from "../../../src/processes/merge_states.ts";

const states = (...given: readonly (readonly [bigint, ManagerState])[]) =>
  given.map(([version, state]) => ({ name: "m", version, state }));

test.each([
  ["one process", [states([1n, "AVAILABLE"])], states([1n, "AVAILABLE"])],
  ["all available", [states([1n, "AVAILABLE"]), states([1n, "AVAILABLE"])], states([1n, "AVAILABLE"])],
  ["one still loading", [states([1n, "AVAILABLE"]), states([1n, "LOADING"])], states([1n, "LOADING"])],
  [
    "one already unloading",
    [states([1n, "UNLOADING"]), states([1n, "AVAILABLE"])],
    states([1n, "UNLOADING"]),
  ],
  ["one failed", [states([1n, "END"]), states([1n, "AVAILABLE"])], states([1n, "END"])],
  [
    "one has not seen it",
    [states([2n, "AVAILABLE"], [1n, "AVAILABLE"]), states([1n, "AVAILABLE"])],
    states([2n, "START"], [1n, "AVAILABLE"]),
  ],
  [
    "a latecomer never saw the old one",
    [states([2n, "AVAILABLE"], [1n, "END"]), states([2n, "AVAILABLE"])],
    states([2n, "AVAILABLE"], [1n, "END"]),
  ],
  ["nothing", [[], []], []],
])("states of the fleet: %s", (_, processes, merged) => {
  expect(mergeStates(processes)).toEqual(merged);
});

const family = (
  kind: FamilySnapshot["kind"],
  cells: FamilySnapshot["cells"],
  across?: "min" | "max",
): FamilySnapshot => ({
  name: "a",
  help: "",
  labels: ["x"],
  kind,
  limits: [1, 2],
  cells,
  ...(across === undefined ? {} : { across }),
});

test.each([
  ["counters add up", "counter", undefined, 3, 4, 7],
  ["gauges add up", "gauge", undefined, 3, 4, 7],
  ["or take the largest", "gauge", "max", 3, 4, 4],
  ["or the smallest", "gauge", "min", 3, 4, 3],
] as const)("metrics of the fleet: %s", (_, kind, across, a, b, sum) => {
  const one = (value: number) => [family(kind, [{ labelValues: ["p"], value }], across)];
  expect(mergeMetrics([one(a), one(b)])[0]!.cells).toEqual([{ labelValues: ["p"], value: sum }]);
});

test("distributions add up bucket by bucket, cells of one process alone stay", () => {
  const cell = (label: string, ...buckets: number[]) => ({
    labelValues: [label],
    value: 10,
    buckets,
    count: buckets.reduce((a, b) => a + b),
  });
  const merged = mergeMetrics([
    [family("histogram", [cell("p", 1, 2, 3), cell("q", 1, 0, 0)])],
    [family("histogram", [cell("p", 10, 20, 30)])],
    [],
  ]);
  expect(merged).toHaveLength(1);
  expect(merged[0]!.cells).toEqual([
    { labelValues: ["p"], value: 20, buckets: [11, 22, 33], count: 66 },
    { labelValues: ["q"], value: 10, buckets: [1, 0, 0], count: 1 },
  ]);
});
