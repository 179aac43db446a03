import { SPECIES } from "./dataset.ts";
import { type CrossValidation, FOLDS, SEED, type Trained } from "./experiment.ts";
import { HYPERPARAMETERS } from "./network.ts";
import type { Scores, Spread } from "./scores.ts";

/** model/metrics.json の中身。小数は 6 桁に丸める。時刻や所要時間は入れない(毎回同じバイト列にするため)。 */
export function metricsOf({ split, training, heldOut }: Trained, validated: CrossValidation, epochs: number) {
  return {
    seed: SEED,
    classes: SPECIES,
    network: { layers: `4-${HYPERPARAMETERS.hidden}-${SPECIES.length}`, ...HYPERPARAMETERS, epochs },
    training: { rows: split.train.length, ...rounded(training) },
    heldOut: { rows: split.test.length, ...rounded(heldOut) },
    crossValidation: {
      folds: FOLDS,
      repeats: validated.repeats,
      foldsSha256: validated.foldsSha256,
      accuracy: roundedSpread(validated.accuracy),
      logLoss: roundedSpread(validated.logLoss),
      accuracyByRepeat: validated.accuracyByRepeat.map(round),
      confusion: validated.confusion,
    },
  };
}

const round = (value: number): number => Number(value.toFixed(6));
const roundedSpread = ({ mean, sd }: Spread): Spread => ({ mean: round(mean), sd: round(sd) });
const rounded = ({ accuracy, logLoss, confusion }: Scores): Scores => ({
  accuracy: round(accuracy),
  logLoss: round(logLoss),
  confusion,
});
