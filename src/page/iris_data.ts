import csv from "../../model/iris.csv" with { type: "text" };

/** 1 輪の花。寸法は cm で、順は {@link featureNames}。 */
export interface Flower {
  readonly sizes: readonly [number, number, number, number];
  readonly species: string;
}

export const featureNames = ["sepal_length", "sepal_width", "petal_length", "petal_width"] as const;
export const speciesNames = ["setosa", "versicolor", "virginica"] as const;

/** 学習に使われたデータ。頁の束に入っている。 */
export const flowers: readonly Flower[] = csv
  .trim()
  .split("\n")
  .slice(1)
  .map((row) => {
    const [a, b, c, d, species = ""] = row.split(",");
    return { sizes: [Number(a), Number(b), Number(c), Number(d)], species };
  });

/** 寸法ごとのデータの範囲。 */
export const ranges: readonly { readonly min: number; readonly max: number }[] = featureNames.map((_, i) => {
  const values = flowers.map(({ sizes }) => sizes[i]!);
  return { min: Math.min(...values), max: Math.max(...values) };
});

/** その種のまん中あたりの花。寸法ごとの中央値。 */
export function typicalFlower(species: string): number[] {
  const own = flowers.filter((flower) => flower.species === species);
  return featureNames.map((_, i) => {
    const sorted = own.map(({ sizes }) => sizes[i]!).sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)]!;
  });
}
