import { invalidArgument, unimplemented } from "../../base/status.ts";
import { sizeOf, type Tensor } from "../../tensor/tensor.ts";
import { Value } from "../value.ts";
import { type Combine, scatter } from "./gather.ts";
import { formatShape, makeTensor, stridesOf, toNumbers } from "./kernel_util.ts";
import type { OpNode, OpRow, RawKernel } from "./registry.ts";
import { broadcastTo } from "./shape.ts";
import { readMasks, resolveStridedSlice } from "./slice.ts";
import { copyStrided, withShape } from "./strided_copy.ts";
import { Variable } from "./variable.ts";
import { scatterUpdates } from "./variable_update_names.ts";

/** 行の番号ごとに、`updates` を重ねる。 */
function scatterRows(target: Tensor, indices: Tensor, updates: Tensor, how: Combine): Tensor {
  const rows = target.shape[0] ?? 0;
  const inner = target.shape.slice(1);
  const positions = toNumbers(indices);
  const wrong = positions.findIndex((index) => index < 0 || index >= rows);
  if (wrong >= 0) {
    throw invalidArgument(`indices[${wrong}] = ${positions[wrong]} is not in [0, ${rows})`);
  }
  const expected = [...indices.shape, ...inner];
  if (updates.shape.length > 0 && formatShape(updates.shape) !== formatShape(expected)) {
    throw invalidArgument(
      `Must have updates.shape = indices.shape + params.shape[1:] or updates.shape = [], got updates.shape ${formatShape(updates.shape)}, indices.shape ${formatShape(indices.shape)}, params.shape ${formatShape(target.shape)}`,
    );
  }
  const whole = updates.shape.length === 0 ? broadcastTo(updates, expected) : updates;
  const count = positions.length;
  return scatter(target, withShape(indices, [count, 1]), withShape(whole, [count, ...inner]), how);
}

/** 切り出した所を置き換えた写し。 */
function assignSlice(node: OpNode): (target: Tensor, inputs: readonly Tensor[]) => Tensor {
  const masks = readMasks(node);
  return (target, [begin, end, strides, value]) => {
    const spec = resolveStridedSlice(
      target.shape,
      toNumbers(begin!),
      toNumbers(end!),
      toNumbers(strides!),
      masks,
    );
    if (formatShape(spec.shape) !== formatShape(value!.shape)) {
      throw unimplemented(
        `sliced l-value shape ${formatShape(spec.shape)} does not match r-value shape ${formatShape(value!.shape)}. Automatic broadcasting not yet implemented.`,
      );
    }
    const data = (target.data as Float64Array).slice() as Tensor["data"];
    const own = stridesOf(target.shape);
    copyStrided(
      target.dtype,
      spec.counts,
      { data: value!.data, at: 0, strides: stridesOf(spec.counts) },
      {
        data,
        at: spec.starts.reduce((sum, start, i) => sum + start * own[i]!, 0),
        strides: spec.strides.map((step, i) => step * own[i]!),
      },
    );
    return makeTensor(target.dtype, target.shape, data);
  };
}

type Change = (target: Tensor, inputs: readonly Tensor[]) => Tensor;

/** 変数を読み、変え、書き戻す。参照なら参照を返す。 */
function updating(op: string, changeOf: (node: OpNode) => Change): OpRow {
  const isResource = op.startsWith("Resource");
  return {
    op,
    stateful: true,
    raw: (node): RawKernel => {
      const change = changeOf(node);
      return ([target, ...inputs], run) => {
        const variable = target!.objectOf(Variable);
        const current = (isResource ? variable.read() : variable.deref()).tensor(run.device);
        const next = change(
          current,
          inputs.map((input) => input.tensor(run.device)),
        );
        variable.assign(Value.ofTensor(next), run.device);
        return isResource ? [] : target!;
      };
    },
  };
}

const rows: readonly OpRow[] = scatterUpdates.map((op) => {
  if (op.endsWith("StridedSliceAssign")) return updating(op, assignSlice);
  const [, nd, how] = /Scatter(Nd)?(\w+)$/.exec(op)!;
  const combine = how!.toLowerCase() as Combine;
  if (nd !== undefined) {
    return updating(
      op,
      () =>
        (target, [indices, updates]) =>
          scatter(target, indices!, updates!, combine),
    );
  }
  return updating(
    op,
    () =>
      (target, [indices, updates]) =>
        scatterRows(target, indices!, updates!, combine),
  );
});

/** `i` 番目の行を変えた写し。 */
const inplace = (op: string, how: Combine): OpRow => ({
  op,
  host:
    () =>
    ([x, i, v]) => {
      const count = sizeOf(i!.shape);
      const rowsOfX = x!.shape[0] ?? 0;
      // 負の番号も、余りとして受け付ける。
      const at = toNumbers(i!).map((index) => ((index % rowsOfX) + rowsOfX) % rowsOfX);
      const indices = makeTensor("int32", [count, 1], Int32Array.from(at));
      return scatter(x!, indices, withShape(v!, [count, ...x!.shape.slice(1)]), how);
    },
});

/** 変数とテンソルの一部を書き換える演算。 */
export const variableUpdatesOps: readonly OpRow[] = [
  ...rows,
  {
    op: "TensorStridedSliceUpdate",
    host: (node) => {
      const change = assignSlice(node);
      return ([target, ...inputs]) => change(target!, inputs);
    },
  },
  inplace("InplaceUpdate", "update"),
  inplace("InplaceAdd", "add"),
  inplace("InplaceSub", "sub"),
];
