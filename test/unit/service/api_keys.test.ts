import { expect, test } from "bun:test";
import { ApiKeys } from "../../../src/service/api_keys.ts";

const keys = new ApiKeys("alpha\n\n  beta \r\ngamma");

test.each<[string | null, boolean]>([
  ["Bearer alpha", true],
  ["Bearer beta", true],
  ["bearer gamma", true],
  ["BEARER  gamma", true],
  ["Bearer alph", false],
  ["Bearer alphaa", false],
  ["Bearer ALPHA", false],
  ["Bearer alpha beta", false],
  ["Bearer ", false],
  ["Bearer", false],
  ["Basic alpha", false],
  ["alpha", false],
  ["", false],
  [null, false],
])("%p is let in: %p", (authorization, isAllowed) => {
  expect(keys.allows(authorization)).toBe(isAllowed);
});

test("replace() takes effect at once, and nothing lets nobody in", () => {
  const changing = new ApiKeys("one");
  const { allows } = changing;
  changing.replace("two\nthree");
  expect([allows("Bearer one"), allows("Bearer two"), allows("Bearer three")]).toEqual([false, true, true]);
  changing.replace("\n \n");
  expect(changing.size).toBe(0);
  expect([allows("Bearer two"), allows("Bearer "), allows(null)]).toEqual([false, false, false]);
});
