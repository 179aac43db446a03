import type { GaugeCell, Metrics } from "../base/metrics.ts";
import type { ServableState } from "../core/servable_state.ts";
import type { ConfiguredModels } from "./readiness.ts";

/** 名前 → 版の状態。まだ何も起きていない名前では空。 */
function statesOf(models: ConfiguredModels, name: string): readonly ServableState[] {
  try {
    return models.statuses(name);
  } catch {
    return [];
  }
}

/** 読み出すときに、版の今の状態を 1、前の状態を 0 にする。 */
export function registerModelStateMetrics(metrics: Metrics, models: ConfiguredModels): void {
  const states = metrics.gauge({
    name: "/iris_serving/model_state",
    help: "1 for the state that the version is in; with several processes, how many have it so.",
    labels: ["model_name", "version", "state"],
  });
  const available = metrics.gauge({
    name: "/iris_serving/model_available",
    help: "1 if a version of the configured model is available.",
    labels: ["model_name"],
    across: "min",
  });
  let shown: GaugeCell[] = [];
  metrics.onCollect(() => {
    for (const cell of shown) cell.set(0);
    shown = [];
    for (const name of models.list()) {
      const versions = statesOf(models, name);
      const cell = available.cell(name);
      cell.set(versions.some(({ state }) => state === "AVAILABLE") ? 1 : 0);
      shown.push(cell);
      for (const { id, state } of versions) {
        const current = states.cell(name, String(id.version), state);
        current.set(1);
        shown.push(current);
      }
    }
  });
}
