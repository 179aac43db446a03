import { invalidArgument } from "../../base/status.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { Value } from "../value.ts";
import { decodeText, toNumber } from "./kernel_util.ts";
import type { OpNode, OpRow, RawKernel, RunState } from "./registry.ts";

/** TF の真偽の読み方。スカラーなら 0 でない、空でない文字列。スカラーでなければ要素があること。 */
export function isTruthy({ shape, data }: Tensor): boolean {
  if (shape.length > 0) return data.length > 0;
  const first = data[0]!;
  return first instanceof Uint8Array ? first.length > 0 : Number(first) !== 0;
}

export function summarize({ dtype, data }: Tensor, count: number): string {
  const items: string[] = [];
  for (let i = 0; i < Math.min(count, data.length); i++) {
    const item = data[i]!;
    items.push(
      item instanceof Uint8Array ? decodeText(item) : dtype === "bool" ? String(item === 1) : String(item),
    );
  }
  return items.join(" ") + (data.length > count ? "..." : "");
}

/** 条件が偽なら、添えられた値を並べて失敗する。 @see tensorflow/core/kernels/logging_ops.cc AssertOp */
const assert = (node: OpNode): RawKernel => {
  const count = node.attrs.int("summarize");
  return (inputs, run) => {
    const condition = inputs[0]!.tensor(run.device);
    if (condition.data.length !== 1 || condition.data[0] === 0) {
      const parts = inputs.slice(1).map((input) => `[${summarize(input.tensor(run.device), count)}]`);
      throw invalidArgument(`assertion failed: ${parts.join(" ")}`);
    }
    return [];
  };
};

const ifOp = (node: OpNode): RawKernel => {
  const then = node.subgraph("then_branch");
  const otherwise = node.subgraph("else_branch");
  return ([condition, ...inputs], run) =>
    (isTruthy(condition!.tensor(run.device)) ? then : otherwise).run(inputs, run);
};

/** 範囲外の番号は最後の枝。 @see tensorflow/core/kernels/functional_ops.cc CaseOp */
const caseOp = (node: OpNode): RawKernel => {
  const branches = node.attrs.funcs("branches").map((_, i) => node.subgraph("branches", i));
  return ([index, ...inputs], run) => {
    const chosen = toNumber(index!.tensor(run.device));
    const last = branches.length - 1;
    return branches[chosen < 0 || chosen > last ? last : chosen]!.run(inputs, run);
  };
};

const whileOp = (node: OpNode): RawKernel => {
  const condition = node.subgraph("cond");
  const body = node.subgraph("body");
  const proceeds = (vars: readonly Value[], run: RunState): boolean => {
    const [value] = condition.run(vars, run);
    if (value === undefined) throw invalidArgument("The condition of a loop must return one value");
    value.retain();
    try {
      return isTruthy(value.tensor(run.device));
    } finally {
      value.drop(run.device);
    }
  };
  return (inputs, run) => {
    let vars = inputs;
    for (const value of vars) value.retain();
    try {
      while (proceeds(vars, run)) {
        run.checkpoint();
        const next = body.run(vars, run);
        for (const value of next) value.retain();
        for (const value of vars) value.drop(run.device);
        vars = next;
      }
    } catch (thrown) {
      for (const value of vars) value.drop(run.device);
      throw thrown;
    }
    for (const value of vars) value.handOver();
    return vars;
  };
};

const nothing = (): RawKernel => () => [];

/** 関数を枝や本体に持つ制御フロー(v2)と、順序だけの演算。 */
export const controlOps: readonly OpRow[] = [
  { op: "NoOp", raw: nothing },
  { op: "ControlTrigger", raw: nothing },
  { op: "Assert", stateful: true, raw: assert },
  { op: "If", raw: ifOp },
  { op: "StatelessIf", raw: ifOp },
  { op: "Case", raw: caseOp },
  { op: "StatelessCase", raw: caseOp },
  { op: "While", raw: whileOp },
  { op: "StatelessWhile", raw: whileOp },
];
