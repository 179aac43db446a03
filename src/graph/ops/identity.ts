import { invalidArgument } from "../../base/status.ts";
import type { DType } from "../../tensor/dtype.ts";
import { Value } from "../value.ts";
import { formatShape } from "./kernel_util.ts";
import type { OpNode, OpRow, RawKernel } from "./registry.ts";

const passFirst = (): RawKernel => (inputs) => inputs[0]!;
const passAll = (): RawKernel => (inputs) => inputs;

/** 値をそのまま通す演算。ほとんどは計画時に別名として消え、dead な値の流れる v1 の制御フローでだけ走る。 */
export const aliasOps: ReadonlySet<string> = new Set([
  "_Alias",
  "GuaranteeConst",
  "Identity",
  "IdentityN",
  "Snapshot",
  "StopGradient",
  "PreventGradient",
  "PlaceholderWithDefault",
  "OptimizationBarrier",
]);

const constant = (node: OpNode): RawKernel => {
  const value = Value.ofTensor(node.attrs.tensor("value"));
  return () => value;
};

const dtypeText = (dtype: DType | undefined): string => dtype ?? "resource";

const placeholder = (node: OpNode): RawKernel => {
  const shape = node.attrs.has("shape") ? node.attrs.shape("shape") : undefined;
  const text =
    shape === undefined || shape.length === 0 ? "" : ` and shape ${formatShape(shape).replaceAll("-1", "?")}`;
  return () => {
    throw invalidArgument(
      `You must feed a value for placeholder tensor '${node.name}' with dtype ${dtypeText(node.outputTypes[0])}${text}`,
    );
  };
};

const ensureShape = (node: OpNode): RawKernel => {
  const wanted = node.attrs.shape("shape");
  return ([value]) => {
    const { shape } = value!;
    if (
      wanted !== undefined &&
      (wanted.length !== shape.length || wanted.some((dim, i) => dim >= 0 && dim !== shape[i]))
    ) {
      throw invalidArgument(
        `Shape of tensor ${node.name} ${formatShape(shape)} is not compatible with expected shape ${formatShape(wanted).replaceAll("-1", "?")}.`,
      );
    }
    return value!;
  };
};

/** 値を作らない演算と、値の出入り口。 */
export const identityOps: readonly OpRow[] = [
  ...[...aliasOps].map((op) => ({ op, raw: op === "IdentityN" ? passAll : passFirst })),
  { op: "RefIdentity", raw: passFirst },
  { op: "DeepCopy", raw: passFirst },
  { op: "EnsureShape", foldable: true, raw: ensureShape },
  { op: "Const", foldable: true, raw: constant },
  { op: "HostConst", foldable: true, raw: constant },
  { op: "Placeholder", raw: placeholder },
  { op: "PlaceholderV2", raw: placeholder },
];
