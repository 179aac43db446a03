import { invalidArgument } from "../../base/status.ts";
import { type Tensor, tensor } from "../../tensor/tensor.ts";
import { toLatin1 } from "./bytes.ts";
import { formatShape, newData, stridesOf, toNumbers } from "./kernel_util.ts";
import type { HostKernel, OpNode, OpRow } from "./registry.ts";

/** 最後の軸より前の添字ごとの列。 */
type Sequences = ReadonlyMap<string, { readonly at: readonly number[]; readonly items: unknown[] }>;

function sequencesOf(indices: Tensor, values: Tensor, rank: number): Sequences {
  const numbers = toNumbers(indices);
  const sequences = new Map<string, { at: number[]; items: unknown[] }>();
  for (let row = 0; row < values.data.length; row++) {
    const at = numbers.slice(row * rank, (row + 1) * rank - 1);
    const item = values.data[row]!;
    const key = at.join();
    const found = sequences.get(key) ?? { at, items: [] };
    found.items.push(item instanceof Uint8Array ? toLatin1(item) : item);
    sequences.set(key, found);
  }
  return sequences;
}

/** Levenshtein の距離。 */
function distance(a: readonly unknown[], b: readonly unknown[]): number {
  let before = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (const [i, item] of a.entries()) {
    const now = [i + 1];
    for (const [j, other] of b.entries()) {
      now.push(Math.min(before[j + 1]! + 1, now[j]! + 1, before[j]! + (item === other ? 0 : 1)));
    }
    before = now;
  }
  return before[b.length]!;
}

/** 疎な 2 つの列の組の、並びごとの編集距離。 */
const editDistance = (node: OpNode): HostKernel => {
  const normalizes = node.attrs.bool("normalize");
  return ([hypothesisIndices, hypothesisValues, hypothesisShape, truthIndices, truthValues, truthShape]) => {
    const ours = toNumbers(hypothesisShape!);
    const theirs = toNumbers(truthShape!);
    const rank = theirs.length;
    if (rank < 2) {
      throw invalidArgument(
        `Input SparseTensors must have rank at least 2, but truth_shape rank is: ${rank}`,
      );
    }
    if (ours.length !== rank) {
      throw invalidArgument(
        `Expected truth and hypothesis to have matching ranks, but their shapes are: ${formatShape(truthShape!.shape)} and ${formatShape(hypothesisShape!.shape)}`,
      );
    }
    const shape = ours.slice(0, -1).map((dim, i) => Math.max(dim, theirs[i]!));
    const out = newData("float", shape);
    const strides = stridesOf(shape);
    const hypotheses = sequencesOf(hypothesisIndices!, hypothesisValues!, rank);
    const truths = sequencesOf(truthIndices!, truthValues!, rank);
    for (const { at } of [...hypotheses.values(), ...truths.values()]) {
      if (at.some((index, i) => index < 0 || index >= shape[i]!)) {
        throw invalidArgument(`Got out-of-bounds index ${formatShape(at)} for shape ${formatShape(shape)}`);
      }
      const key = at.join();
      const [mine, wanted] = [hypotheses.get(key)?.items ?? [], truths.get(key)?.items ?? []];
      const raw = distance(wanted, mine);
      const flat = at.reduce((sum, index, i) => sum + index * strides[i]!, 0);
      out[flat] = normalizes ? raw / wanted.length : raw;
    }
    return tensor("float", shape, out);
  };
};

export const editDistanceOps: readonly OpRow[] = [{ op: "EditDistance", host: editDistance }];
