import { describe, expect, test } from "bun:test";
import {
  type AspiredVersionPolicy,
  availabilityPreserving,
  resourcePreserving,
  type VersionSnapshot,
} from "../../../src/core/aspired_version_policy.ts";
import type { HarnessState } from "../../../src/core/loader_harness.ts";

const states: Record<string, HarnessState> = {
  R: "Ready",
  N: "New",
  L: "Loading",
  U: "Unloading",
  UR: "UnloadRequested",
  D: "Disabled",
  E: "Error",
};

/** `3R*` は「版 3、Ready、希望あり」。 */
function parse(text: string): VersionSnapshot[] {
  return text.split(" ").map((word) => {
    const [, version, state, star] = /^(\d+)([A-Z]+)(\*?)$/.exec(word)!;
    return { version: BigInt(version!), state: states[state!]!, aspired: star === "*" };
  });
}

function check(policy: AspiredVersionPolicy, snapshot: string): string {
  const action = policy(parse(snapshot));
  return action === undefined ? "none" : `${action.kind} ${action.version}`;
}

describe("availabilityPreserving()", () => {
  test.each([
    ["1U 2E 3R* 4N* 5N*", "load 5"],
    ["1U 2E 3R 4R* 5N*", "unload 3"],
    ["1D 2R 3E", "unload 2"],
    ["1R* 2E* 3L* 4U 5D", "none"],
    ["1R 2L*", "none"],
    ["1R 2E*", "none"],
    ["1R 2L* 3R*", "unload 1"],
    ["1R 2E* 3R*", "unload 1"],
    ["2R 1R 3E* 4L*", "unload 1"],
    ["1R 2N*", "load 2"],
    ["1R 2R 3N*", "unload 1"],
    ["9E*", "none"],
  ])("%s → %s", (snapshot, expected) => {
    expect(check(availabilityPreserving, snapshot)).toBe(expected);
  });
});

describe("resourcePreserving()", () => {
  test.each([
    ["1U 2R* 3R 4N* 5R", "unload 3"],
    ["1R* 2L* 3N* 4D 5N*", "load 5"],
    ["1R* 2E* 3L* 4U 5D", "none"],
    ["1UR 2N*", "none"],
    ["1E 2N*", "load 2"],
    ["1E 2UR 3N*", "none"],
    ["1E 2D 3N*", "load 3"],
  ])("%s → %s", (snapshot, expected) => {
    expect(check(resourcePreserving, snapshot)).toBe(expected);
  });
});
