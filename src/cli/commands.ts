import { benchCommand } from "./bench.ts";
import type { Command } from "./command.ts";
import { completionCommand } from "./completion.ts";
import { exportCommand } from "./export.ts";
import { healthCommand } from "./health.ts";
import { helpCommand } from "./help.ts";
import { predictCommand } from "./predict.ts";
import { showCommand } from "./show.ts";
import { warmupCommand } from "./warmup.ts";

const all: readonly Command[] = [
  predictCommand,
  showCommand,
  exportCommand,
  healthCommand,
  warmupCommand,
  benchCommand,
  // 補完と助けは、自分も含めたこの表から作る。
  completionCommand(() => all),
  helpCommand(() => all),
];

/** 名前 → 副コマンド。`serve` は main が直接扱う。 */
export const commands: ReadonlyMap<string, Command> = new Map(all.map((command) => [command.name, command]));
