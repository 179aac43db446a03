/** 予測の良さ。 */
export interface Scores {
  readonly accuracy: number;
  /** 平均の負の対数尤度(自然対数)。 */
  readonly logLoss: number;
  /** [正解][予測] の件数。 */
  readonly confusion: readonly (readonly number[])[];
}

/** 確率が 0 でも有限に保つ下限。scikit-learn の log_loss と同じく倍精度の計算機イプシロン。 */
const FLOOR = Number.EPSILON;

export function argmax(values: readonly number[]): number {
  return values.indexOf(Math.max(...values));
}

/** @param predictions 行ごとの確率。 */
export function scoresOf(predictions: readonly (readonly number[])[], labels: readonly number[]): Scores {
  const classes = predictions[0]!.length;
  const confusion = Array.from({ length: classes }, () => new Array<number>(classes).fill(0));
  let correct = 0;
  let loss = 0;
  for (const [i, probabilities] of predictions.entries()) {
    const label = labels[i]!;
    const predicted = argmax(probabilities);
    confusion[label]![predicted]!++;
    if (predicted === label) correct++;
    loss -= Math.log(Math.min(1 - FLOOR, Math.max(FLOOR, probabilities[label]!)));
  }
  return { accuracy: correct / labels.length, logLoss: loss / labels.length, confusion };
}

/** 平均と標本標準偏差(n − 1 で割る)。 */
export interface Spread {
  readonly mean: number;
  readonly sd: number;
}

export function spreadOf(values: readonly number[]): Spread {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, sd: values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : 0 };
}
