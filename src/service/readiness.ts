import { StatusError } from "../base/status.ts";
import type { ServableState } from "../core/servable_state.ts";
import type { Health } from "./health.ts";

/** 設定された名前と、その版の状態。 */
export interface ConfiguredModels {
  list(): readonly string[];
  /** @throws NOT_FOUND まだ何も起きていない名前。 */
  statuses(name: string): readonly ServableState[];
}

export interface Readiness {
  readonly ready: boolean;
  /** 名前 → `AVAILABLE`、または足りない理由。 */
  readonly models: Readonly<Record<string, string>>;
}

/**
 * 仕事を任せてよいか。設定されたモデルのどれにも提供できる版があり、終わりかけていないこと。
 * 1 つでも欠けたサーバーに割り振れば、そのモデルへの要求が失敗するため。
 */
export function readiness(health: Health, models: ConfiguredModels): Readiness {
  const entries = models.list().map((name) => [name, describe(models, name)] as const);
  return {
    ready: health.serving && entries.every(([, state]) => state === AVAILABLE),
    models: Object.fromEntries(entries),
  };
}

const AVAILABLE = "AVAILABLE";

function describe(models: ConfiguredModels, name: string): string {
  try {
    const states = models.statuses(name);
    if (states.some(({ state }) => state === AVAILABLE)) return AVAILABLE;
    const [newest] = states;
    if (newest === undefined) return "no version";
    return newest.error === undefined ? newest.state : `${newest.state}: ${newest.error}`;
  } catch (thrown) {
    return StatusError.from(thrown).message;
  }
}
