import { failedPrecondition } from "../base/status.ts";
import type { GraphDef } from "../gen/tensorflow/core/framework/graph_pb.ts";
import type { NodeDef } from "../gen/tensorflow/core/framework/node_def_pb.ts";

/**
 * ノードに書かれた値が、テンソルとして成り立つか。届かないノードも見る。
 *
 * @throws FAILED_PRECONDITION 値の無い Const、要素の数が決まらない値。
 * @see tensorflow/cc/saved_model/loader.cc ValidateSavedTensors
 */
export function checkSavedValues({ node, library }: GraphDef): void {
  node.forEach(checkNode);
  for (const { nodeDef } of library?.function ?? []) nodeDef.forEach(checkNode);
}

function checkNode({ name, op, attr }: NodeDef): void {
  const value = attr["value"]?.value;
  if (value === undefined && op === "Const") {
    throw failedPrecondition(
      `Saved model contains node "${name}" which is a constant tensor but no value has been provided`,
    );
  }
  if (value?.case !== "tensor") return;
  const shape = value.value.tensorShape;
  if (shape === undefined || (!shape.unknownRank && shape.dim.every(({ size }) => size >= 0n))) return;
  throw failedPrecondition(
    `Saved model contains node "${name}" (op "${op}") which initializes from a tensor with -1 elements`,
  );
}
