import { expect, test } from "bun:test";
import fc from "fast-check";
import { seededRandom, shuffled } from "../../../scripts/training/random.ts";
import { repeatedStratifiedFolds, type Split, stratifiedSplit } from "../../../scripts/training/split.ts";

const labels = Array.from({ length: 150 }, (_, i) => Math.floor(i / 50));
const countsOf = (rows: readonly number[], all: readonly number[] = labels): number[] =>
  [0, 1, 2].map((label) => rows.filter((row) => all[row] === label).length);
const everyRow = (size: number): number[] => Array.from({ length: size }, (_, i) => i);
const joined = ({ train, test }: Split): number[] => [...train, ...test].sort((a, b) => a - b);

test("seededRandom() repeats its sequence for a seed and differs between seeds", () => {
  const take = (seed: number): number[] => {
    const random = seededRandom(seed);
    return Array.from({ length: 1000 }, random);
  };
  expect(take(1936)).toEqual(take(1936));
  expect(take(1936)).not.toEqual(take(1937));
  expect(take(1936).every((value) => value >= 0 && value < 1)).toBe(true);
  expect(Math.abs(take(7).reduce((sum, value) => sum + value, 0) / 1000 - 0.5)).toBeLessThan(0.05);
});

test("shuffled() is a permutation and leaves its input alone", () => {
  fc.assert(
    fc.property(fc.array(fc.integer()), fc.nat(), (items, seed) => {
      const before = [...items];
      const after = shuffled(items, seededRandom(seed));
      expect(items).toEqual(before);
      expect(after.sort((a, b) => a - b)).toEqual(before.sort((a, b) => a - b));
    }),
  );
});

test("stratifiedSplit() puts ten of each species aside and loses no row", () => {
  const split = stratifiedSplit(labels, 0.2, seededRandom(1));
  expect(countsOf(split.test)).toEqual([10, 10, 10]);
  expect(countsOf(split.train)).toEqual([40, 40, 40]);
  expect(joined(split)).toEqual(everyRow(150));
  expect(stratifiedSplit(labels, 0.2, seededRandom(1))).toEqual(split);
  expect(stratifiedSplit(labels, 0.2, seededRandom(2))).not.toEqual(split);
});

test("repeatedStratifiedFolds() tests every row once per repeat, equally by species", () => {
  const splits = repeatedStratifiedFolds(labels, 5, 3, seededRandom(3));
  expect(splits).toHaveLength(15);
  for (const split of splits) {
    expect(countsOf(split.test)).toEqual([10, 10, 10]);
    expect(joined(split)).toEqual(everyRow(150));
  }
  for (let repeat = 0; repeat < 3; repeat++) {
    const tested = splits.slice(repeat * 5, repeat * 5 + 5).flatMap(({ test }) => test);
    expect(tested.sort((a, b) => a - b)).toEqual(everyRow(150));
  }
  expect(splits[0]).not.toEqual(splits[5]!);
});

test("repeatedStratifiedFolds() keeps the shares within one row for any labels", () => {
  const many = fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 10, maxLength: 80 });
  fc.assert(
    fc.property(many, fc.integer({ min: 2, max: 5 }), (labels, folds) => {
      const splits = repeatedStratifiedFolds(labels, folds, 1, seededRandom(5));
      const total = countsOf(everyRow(labels.length), labels);
      for (const split of splits) {
        expect(joined(split)).toEqual(everyRow(labels.length));
        for (const [label, count] of countsOf(split.test, labels).entries()) {
          expect(Math.abs(count - total[label]! / folds)).toBeLessThan(1);
        }
      }
    }),
  );
});
