import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { type Dataset, parseDataset } from "../../../scripts/training/dataset.ts";
import { applyMap, fisherAxes, foldMap } from "../../../scripts/training/fisher_axes.ts";
import { foldStandardisation, initialWeights, probabilities } from "../../../scripts/training/network.ts";

const iris = parseDataset(readFileSync(join(import.meta.dir, "../../../model/iris.csv"), "utf8"));
const map = fisherAxes(iris);

/** 群内共分散。自由度は行数 − 群の数。 */
function withinCovariance({ rows, labels }: Dataset): number[][] {
  const width = rows[0]!.length;
  const centers = [0, 1, 2].map((label) => {
    const own = rows.filter((_, i) => labels[i] === label);
    return Array.from({ length: width }, (_, k) => own.reduce((sum, row) => sum + row[k]!, 0) / own.length);
  });
  return Array.from({ length: width }, (_, a) =>
    Array.from({ length: width }, (_, b) =>
      rows.reduce((sum, row, i) => {
        const center = centers[labels[i]!]!;
        return sum + ((row[a]! - center[a]!) * (row[b]! - center[b]!)) / (rows.length - 3);
      }, 0),
    ),
  );
}

test("fisherAxes() makes the within-class covariance the identity, centred", () => {
  const mapped = { rows: iris.rows.map((row) => applyMap(map, row)), labels: iris.labels };
  const covariance = withinCovariance(mapped);
  expect(covariance).toHaveLength(2);
  for (const [a, row] of covariance.entries()) {
    for (const [b, value] of row.entries()) expect(value).toBeCloseTo(a === b ? 1 : 0, 10);
  }
  for (const axis of [0, 1]) {
    expect(mapped.rows.reduce((sum, row) => sum + row[axis]!, 0) / 150).toBeCloseTo(0, 10);
  }
});

test("fisherAxes() keeps all that separates the means: Mahalanobis distances stay", () => {
  // setosa と virginica の距離の 2 乗は、R の MASS::lda や scikit-learn の LDA と同じ 179.38。
  const center = (label: number): number[] => {
    const own = iris.rows.filter((_, i) => iris.labels[i] === label).map((row) => applyMap(map, row));
    return [0, 1].map((k) => own.reduce((sum, row) => sum + row[k]!, 0) / own.length);
  };
  const squared = (a: number[], b: number[]): number => a.reduce((sum, v, k) => sum + (v - b[k]!) ** 2, 0);
  expect(squared(center(0), center(2))).toBeCloseTo(179.38471, 4);
  expect(squared(center(0), center(1))).toBeCloseTo(89.864186, 4);
  expect(squared(center(1), center(2))).toBeCloseTo(17.201066, 4);
});

test("fisherAxes() refuses a singular covariance", () => {
  const flat = {
    rows: [
      [1, 1],
      [2, 2],
      [3, 3],
      [5, 5],
    ],
    labels: [0, 0, 1, 1],
  };
  expect(() => fisherAxes(flat)).toThrow("singular");
});

test("foldMap() is exact: the folded layer equals the layer after the map", () => {
  const number = fc.double({ min: -4, max: 4, noNaN: true });
  fc.assert(
    fc.property(
      fc.array(fc.array(number, { minLength: 3, maxLength: 3 }), { minLength: 2, maxLength: 2 }),
      fc.array(number, { minLength: 3, maxLength: 3 }),
      fc.array(fc.double({ min: 0, max: 9, noNaN: true }), { minLength: 4, maxLength: 4 }),
      (kernel, bias, row) => {
        const folded = foldMap(map, kernel, bias);
        const standardised = applyMap(map, row);
        for (const [unit, b] of bias.entries()) {
          const before = standardised.reduce((sum, x, k) => sum + x * kernel[k]![unit]!, b);
          const after = row.reduce((sum, x, k) => sum + x * folded.kernel[k]![unit]!, folded.bias[unit]!);
          expect(Math.abs(after - before)).toBeLessThan(1e-10);
        }
      },
    ),
  );
});

test("foldStandardisation() leaves the probabilities of all 150 rows within float32", () => {
  const weights = initialWeights(2, 3, 7);
  const folded = foldStandardisation(map, weights);
  expect(folded.hiddenKernel).toHaveLength(4);
  for (const value of folded.hiddenKernel.flat()) expect(Math.fround(value)).toBe(value);
  for (const row of iris.rows) {
    const before = probabilities(weights, applyMap(map, row));
    const after = probabilities(folded, row);
    for (const [k, p] of before.entries()) expect(Math.abs(after[k]! - p)).toBeLessThan(1e-5);
  }
});
