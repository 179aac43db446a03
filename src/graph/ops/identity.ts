import type { OpNode, OpRow, RawKernel } from "./registry.ts";

const passFirst = (): RawKernel => (inputs) => inputs[0]!;

/** 値をそのまま通す演算。計画時に別名として消えるが、fetch や制御の都合で残ったものはこの行が走る。 */
const passOps = [
  "Identity",
  "Snapshot",
  "StopGradient",
  "PreventGradient",
  "RefIdentity",
  "EnsureShape",
  "DeepCopy",
];

export const identityOps: readonly OpRow[] = passOps.map((op) => ({ op, raw: (_: OpNode) => passFirst() }));
