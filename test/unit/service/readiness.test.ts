import { describe, expect, test } from "bun:test";
import { internal, notFound } from "../../../src/base/status.ts";
import type { ManagerState, ServableState } from "../../../src/core/servable_state.ts";
import { Health } from "../../../src/service/health.ts";
import { readiness } from "../../../src/service/readiness.ts";

const state = (version: bigint, at: ManagerState, error?: string): ServableState => ({
  id: { name: "m", version },
  state: at,
  ...(error === undefined ? {} : { error: internal(error) }),
});

function ask(serving: boolean, models: Record<string, readonly ServableState[] | undefined>) {
  const health = new Health();
  health.setServing(serving);
  return readiness(health, {
    list: () => Object.keys(models),
    statuses: (name) => {
      const states = models[name];
      if (states === undefined) throw notFound(`Could not find any versions of model ${name}`);
      return states;
    },
  });
}

describe("readiness", () => {
  const available = [state(1n, "AVAILABLE")];

  test.each([
    ["every model has a version to serve", true, { a: available, b: available }, true, "AVAILABLE"],
    ["nothing is configured", true, {}, true, undefined],
    ["the server is starting or stopping", false, { b: available }, false, "AVAILABLE"],
    [
      "an older version is available",
      true,
      { b: [state(2n, "LOADING"), state(1n, "AVAILABLE")] },
      true,
      "AVAILABLE",
    ],
    ["a model is still loading", true, { a: available, b: [state(1n, "LOADING")] }, false, "LOADING"],
    ["a model failed", true, { b: [state(1n, "END", "bad bytes")] }, false, "END: INTERNAL: bad bytes"],
    ["a model has no version", true, { b: undefined }, false, "Could not find any versions of model b"],
    ["a model lists no version", true, { b: [] }, false, "no version"],
  ] as const)("%s", (_, serving, models, ready, text) => {
    const answer = ask(serving, models);
    expect([answer.ready, answer.models["b"]]).toEqual([ready, text]);
  });
});
