import { type Random, shuffled } from "./random.ts";

/** 行番号の二分。どちらも昇順。 */
export interface Split {
  readonly train: readonly number[];
  readonly test: readonly number[];
}

const ascending = (a: number, b: number): number => a - b;

/** ラベルごとに混ぜた行番号。 */
function shuffledByLabel(labels: readonly number[], random: Random): number[][] {
  const groups = new Map<number, number[]>();
  for (const [index, label] of labels.entries()) {
    const group = groups.get(label);
    if (group === undefined) groups.set(label, [index]);
    else group.push(index);
  }
  return [...groups.keys()].sort(ascending).map((label) => shuffled(groups.get(label)!, random));
}

/** 層化した二分。どのラベルも同じ割合で試験側に入る。 */
export function stratifiedSplit(labels: readonly number[], testFraction: number, random: Random): Split {
  const train: number[] = [];
  const test: number[] = [];
  for (const group of shuffledByLabel(labels, random)) {
    const count = Math.round(group.length * testFraction);
    test.push(...group.slice(0, count));
    train.push(...group.slice(count));
  }
  return { train: train.sort(ascending), test: test.sort(ascending) };
}

/**
 * 層化 k 分割を混ぜ直して繰り返す。
 *
 * @returns repeats × folds 個。繰り返しごとに続けて並び、各行は 1 回の繰り返しでちょうど 1 度だけ試験側に入る。
 */
export function repeatedStratifiedFolds(
  labels: readonly number[],
  folds: number,
  repeats: number,
  random: Random,
): Split[] {
  const splits: Split[] = [];
  for (let repeat = 0; repeat < repeats; repeat++) {
    const groups = shuffledByLabel(labels, random);
    for (let fold = 0; fold < folds; fold++) {
      const inFold = (_: number, position: number): boolean => position % folds === fold;
      const test = groups.flatMap((group) => group.filter(inFold));
      const train = groups.flatMap((group) => group.filter((_, position) => !inFold(_, position)));
      splits.push({ train: train.sort(ascending), test: test.sort(ascending) });
    }
  }
  return splits;
}
