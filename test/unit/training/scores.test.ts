import { expect, test } from "bun:test";
import { argmax, scoresOf, spreadOf } from "../../../scripts/training/scores.ts";

test("argmax() takes the first of equals", () => {
  expect([argmax([0.1, 0.7, 0.2]), argmax([0.5, 0.5]), argmax([-3])]).toEqual([1, 0, 0]);
});

test("scoresOf() counts and averages", () => {
  const predictions = [
    [0.5, 0.25, 0.25],
    [0.25, 0.5, 0.25],
    [0.25, 0.5, 0.25],
    [0, 1, 0],
  ];
  const { accuracy, logLoss, confusion } = scoresOf(predictions, [0, 1, 2, 1]);
  expect(accuracy).toBe(0.75);
  expect(logLoss).toBeCloseTo((2 * Math.log(2) + Math.log(4)) / 4, 12);
  expect(confusion).toEqual([
    [1, 0, 0],
    [0, 2, 0],
    [0, 1, 0],
  ]);
});

test("scoresOf() stays finite when the truth was given no chance", () => {
  expect(scoresOf([[1, 0]], [1]).logLoss).toBeCloseTo(-Math.log(Number.EPSILON), 10);
});

test("spreadOf() is the sample standard deviation", () => {
  expect(spreadOf([1, 2, 3, 4])).toEqual({ mean: 2.5, sd: Math.sqrt(5 / 3) });
  expect(spreadOf([7])).toEqual({ mean: 7, sd: 0 });
});
