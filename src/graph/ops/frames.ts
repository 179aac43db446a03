/** v1 の制御フロー。行を持たず、dataflow.ts がじかに扱う。 */
export const frameOps: ReadonlySet<string> = new Set([
  "Switch",
  "RefSwitch",
  "_SwitchN",
  "Merge",
  "RefMerge",
  "Enter",
  "RefEnter",
  "Exit",
  "RefExit",
  "NextIteration",
  "RefNextIteration",
  "LoopCond",
]);
