import type { Clock } from "./clock.ts";
import type { Logger } from "./log.ts";
import type { Metrics } from "./metrics.ts";

/** 外界への三つの窓。関数やクラスの第 1 引数として渡す。 */
export interface Host {
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
}
