import { expect, test } from "bun:test";
import { Health } from "../../../src/service/health.ts";

test("Health tells each change once", () => {
  const health = new Health();
  const seen: boolean[] = [];
  const unsubscribe = health.onChange((serving) => seen.push(serving));
  expect(health.serving).toBe(false);
  for (const serving of [false, true, true, false]) health.setServing(serving);
  unsubscribe();
  health.setServing(true);
  expect(seen).toEqual([true, false]);
  expect(health.serving).toBe(true);
});
