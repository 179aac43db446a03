import { fromBinary } from "@bufbuild/protobuf";
import { TrackableObjectGraphSchema } from "../gen/tensorflow/core/protobuf/trackable_object_graph_pb.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Endpoint, FlatGraph, FlatNode } from "./flatten.ts";
import { aliasOps } from "./ops/identity.ts";
import { tableImportOps } from "./ops/table.ts";
import { assigningOps } from "./ops/variable.ts";

/** 変数の値が入っているチェックポイント。 */
export interface CheckpointSource {
  readonly entries: ReadonlyMap<string, unknown>;
  /** @param shapeAndSlice 空なら全体。 */
  read(key: string, shapeAndSlice?: string): Promise<Tensor>;
}

/** チェックポイントの鍵 1 つ。 */
export interface CheckpointKey {
  readonly key: string;
  readonly slice: string;
}

/** 書き戻す先と、その鍵。 */
export interface Restoration {
  /** 変数を作るノード → 鍵。 */
  readonly variables: ReadonlyMap<FlatNode, CheckpointKey>;
  /** 表を作るノード → キーと値の鍵。 */
  readonly tables: ReadonlyMap<FlatNode, readonly [CheckpointKey, CheckpointKey]>;
}

const OBJECT_GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH";
const decoder = new TextDecoder();

/** 値を変えない演算をさかのぼった源。 */
export function sourceOf(from: Endpoint): Endpoint {
  let at = from;
  for (let hops = 0; hops < 1_000_000 && aliasOps.has(at.node.op); hops++) {
    const { inputs } = at.node;
    const next = inputs[inputs.length > 1 ? at.index : 0];
    if (next === undefined) break;
    at = next;
  }
  return at;
}

function stringsOf(from: Endpoint | undefined): string[] | undefined {
  if (from === undefined) return undefined;
  const { node } = sourceOf(from);
  if (node.op !== "Const") return undefined;
  const value = node.attrs.tensor("value");
  return value.dtype === "string" ? value.data.map((bytes) => decoder.decode(bytes)) : undefined;
}

/** RestoreV2 の出力 `index` が読む鍵。 */
function keyOf({ node, index }: Endpoint): CheckpointKey | undefined {
  if (node.op !== "RestoreV2") return undefined;
  const key = stringsOf(node.inputs[1])?.[index];
  if (key === undefined) return undefined;
  return { key, slice: stringsOf(node.inputs[2])?.[index] ?? "" };
}

/** `roots` より前に終わるべきノードと roots 自身。 */
export function reachableFrom(roots: readonly FlatNode[]): Set<FlatNode> {
  const seen = new Set(roots);
  const stack = [...roots];
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    for (const next of [...node.controls, ...node.inputs.map((input) => input.node)]) {
      if (seen.has(next)) continue;
      seen.add(next);
      stack.push(next);
    }
  }
  return seen;
}

/**
 * 変数や表とチェックポイントの鍵を、グラフの中の書き戻しの手順(RestoreV2 の出力 → 代入)から読み取る。
 * TF1 の保存器、TF2 の復元関数、Keras のいずれも同じ形をしている。
 *
 * @param restoreOp 保存器が指す復元の演算。複数の保存器があるとき、これを優先する。
 */
export function findRestorations(graph: FlatGraph, restoreOp: string | undefined): Restoration {
  const variables = new Map<FlatNode, CheckpointKey>();
  const tables = new Map<FlatNode, readonly [CheckpointKey, CheckpointKey]>();
  const preferred = preferredNodes(graph, restoreOp);
  for (const nodes of [preferred, graph.nodes]) {
    for (const { op, inputs } of nodes) {
      const target = inputs[0] === undefined ? undefined : sourceOf(inputs[0]).node;
      if (target === undefined) continue;
      if ((op === "Assign" || op === "AssignVariableOp") && !variables.has(target)) {
        const key = inputs[1] === undefined ? undefined : keyOf(sourceOf(inputs[1]));
        if (key !== undefined) variables.set(target, key);
      } else if (tableImportOps.has(op) && !tables.has(target)) {
        const [keys, values] = [1, 2].map((i) =>
          inputs[i] === undefined ? undefined : keyOf(sourceOf(inputs[i])),
        );
        if (keys !== undefined && values !== undefined) tables.set(target, [keys, values]);
      }
    }
  }
  return { variables, tables };
}

function preferredNodes(graph: FlatGraph, restoreOp: string | undefined): Iterable<FlatNode> {
  if (restoreOp === undefined || restoreOp === "") return [];
  try {
    return reachableFrom([graph.operation(restoreOp)]);
  } catch {
    // 復元の演算を指す名前が古いだけなら、残りのノードから探せばよい。
    return [];
  }
}

/**
 * 書き戻しの手順に現れない変数のための、名前 → 鍵。オブジェクトグラフがあればその記録、無ければ名前そのもの。
 */
export async function readKeyNames(
  checkpoint: CheckpointSource,
): Promise<(name: string) => string | undefined> {
  const byName = new Map<string, string>();
  if (checkpoint.entries.has(OBJECT_GRAPH_KEY)) {
    const stored = await checkpoint.read(OBJECT_GRAPH_KEY);
    const bytes = stored.dtype === "string" ? stored.data[0] : undefined;
    const nodes = bytes === undefined ? [] : fromBinary(TrackableObjectGraphSchema, bytes).nodes;
    for (const { name, fullName, checkpointKey } of nodes.flatMap((node) => node.attributes)) {
      if (name === "VARIABLE_VALUE" && fullName !== "") byName.set(fullName, checkpointKey);
    }
  }
  return (name) => byName.get(name) ?? (checkpoint.entries.has(name) ? name : undefined);
}

/** グラフのどこかの実行から書き込まれうる変数のノードを集める。 */
export function findAssigned(
  roots: readonly FlatNode[],
  mayAssign: (node: FlatNode) => boolean,
): Set<FlatNode> {
  const assigned = new Set<FlatNode>();
  for (const node of reachableFrom(roots)) {
    if (assigningOps.has(node.op) && node.inputs[0] !== undefined) {
      assigned.add(assignedBy(node.inputs[0]));
    } else if (mayAssign(node)) {
      // 関数の中で書き込むものは、渡された resource のどれに書くか分からないので、全部を書き込まれるとみなす。
      for (const input of node.inputs) assigned.add(sourceOf(input).node);
    }
  }
  return assigned;
}

/** 代入の先の変数。`Assign` の結果にまた `AssignAdd` する、のような連鎖をさかのぼる。 */
function assignedBy(target: Endpoint): FlatNode {
  let { node } = sourceOf(target);
  for (let hops = 0; hops < 10_000 && node.inputs[0] !== undefined && assigningOps.has(node.op); hops++) {
    node = sourceOf(node.inputs[0]).node;
  }
  return node;
}
