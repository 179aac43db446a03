import { expect, test } from "bun:test";
import { TokenBucket } from "../../../src/http2/token_bucket.ts";
import { FakeClock } from "../../helpers/fake_clock.ts";

test("gives the burst at once, then as many as a second brings", () => {
  const clock = new FakeClock();
  const bucket = new TokenBucket(clock, 3, 2);
  const take = (times: number) => Array.from({ length: times }, () => bucket.take());
  expect(take(4)).toEqual([true, true, true, false]);
  clock.spend(1000);
  expect(take(3)).toEqual([true, true, false]);
  bucket.give(1);
  expect(take(2)).toEqual([true, false]);
  bucket.give(100);
  expect(take(4)).toEqual([true, true, true, false]);
});
