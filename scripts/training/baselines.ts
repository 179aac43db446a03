import type { Spread } from "./scores.ts";

/** scikit-learn で一度だけ測った基準(scripts/baselines.py の出力)。 */
export interface Baselines {
  readonly library: string;
  /** 測った分割の指紋。 */
  readonly foldsSha256: string;
  readonly models: readonly {
    readonly name: string;
    readonly definition: string;
    readonly crossValidation: {
      readonly accuracy: Spread;
      readonly logLoss: Spread;
      readonly accuracyByRepeat: readonly number[];
    };
    readonly heldOut: { readonly accuracy: number; readonly logLoss: number };
  }[];
}

export function parseBaselines(json: string): Baselines {
  return JSON.parse(json) as Baselines;
}
