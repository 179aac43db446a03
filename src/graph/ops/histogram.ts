import { invalidArgument } from "../../base/status.ts";
import { tensor } from "../../tensor/tensor.ts";
import { isBig } from "./elementwise.ts";
import { formatShape, newData, toNumber } from "./kernel_util.ts";
import type { HostKernel, OpNode, OpRow } from "./registry.ts";

/** 範囲を等分した区間ごとの数。範囲の外のものは端の区間に入る。 */
const fixedWidth = (node: OpNode): HostKernel => {
  const to = node.attrs.dtype("dtype") === "int64" ? "int64" : "int32";
  return ([values, range, count]) => {
    if (range!.shape.length !== 1 || range!.shape[0] !== 2) {
      throw invalidArgument(
        `value_range should be a vector of 2 elements. Got: ${formatShape(range!.shape)}`,
      );
    }
    const bins = toNumber(count!);
    if (bins <= 0) throw invalidArgument(`nbins should be a positive number, but got '${bins}'`);
    const [low, high] = [Number(range!.data[0]), Number(range!.data[1])];
    if (!(low < high)) {
      throw invalidArgument(
        `value_range should satisfy value_range[0] < value_range[1], but got '[${low}, ${high}]'`,
      );
    }
    const step = (high - low) / bins;
    const totals = new Array<number>(bins).fill(0);
    for (let i = 0; i < values!.data.length; i++) {
      const value = Number(values!.data[i]);
      if (Number.isNaN(value)) continue;
      totals[Math.min(Math.trunc((Math.max(value, low) - low) / step), bins - 1)]!++;
    }
    const out = newData(to, [bins]);
    for (const [i, total] of totals.entries()) out[i] = isBig(to) ? BigInt(total) : total;
    return tensor(to, [bins], out as never);
  };
};

export const histogramOps: readonly OpRow[] = [{ op: "HistogramFixedWidth", host: fixedWidth }];
