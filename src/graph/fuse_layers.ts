import { sizeOf, tensor } from "../tensor/tensor.ts";
import { NodeAttrs, stringAttr, stringsAttr } from "./attrs.ts";
import { countUses, isFloat } from "./fuse.ts";
import { hasSimd, type LayerActivation, layerFloats, MAX_PROGRAM_FLOATS } from "./ops/simd_dense.ts";
import { constantOf, PlanNode, type Wire } from "./plan_node.ts";
import { Value } from "./value.ts";

/** 1 層。 */
interface Link {
  readonly weights: Wire;
  readonly biases: Wire;
  readonly activation: LayerActivation;
  readonly floats: number;
}

/** 層の続き。 */
interface Chain {
  readonly x: Wire;
  /** 最初の層の名前。形の誤りに添える。 */
  readonly first: string;
  readonly links: readonly Link[];
  readonly controls: readonly PlanNode[];
}

const activations: ReadonlySet<string> = new Set(["linear", "relu", "relu6", "sigmoid"]);

/**
 * 重みが定数の小さい全結合の続きを、終わりの softmax まで含めて 1 つの演算 `_DenseLayers` にする。
 * {@link fuse} の後に呼ぶ。ノードはその場で書き換える。
 *
 * @param order 依存の順。
 * @param maxWeights 層 1 つの重みが、これより少ないものだけ。
 */
export function fuseLayers(order: readonly PlanNode[], fetches: readonly Wire[], maxWeights: number): void {
  if (!hasSimd()) return;
  const uses = countUses(order, fetches);
  /** 続きの終わりのノード → 続き。 */
  const chains = new Map<PlanNode, Chain>();
  for (const node of order) {
    const x = node.inputs[0];
    if (node.constants !== undefined || x === undefined) continue;
    const before = x.index === 0 && uses.get(x.node) === 1 ? chains.get(x.node) : undefined;
    const longer = extend(before, node, maxWeights);
    if (longer !== undefined) {
      chains.delete(x.node);
      chains.set(node, longer);
      continue;
    }
    const link = linkOf(node, maxWeights);
    if (link !== undefined) chains.set(node, { x, first: node.name, links: [link], controls: [] });
  }
  for (const [node, chain] of chains) rewrite(node, chain);
}

/** `node` を足した続き。足せなければ undefined。 */
function extend(chain: Chain | undefined, node: PlanNode, maxWeights: number): Chain | undefined {
  const last = chain?.links.at(-1);
  if (chain === undefined || last === undefined || last.activation === "softmax") return undefined;
  const controls = [...chain.controls, ...node.inputs[0]!.node.controls];
  if (node.op === "Softmax") {
    if (last.activation !== "linear") return undefined;
    return { ...chain, controls, links: [...chain.links.slice(0, -1), { ...last, activation: "softmax" }] };
  }
  const link = linkOf(node, maxWeights);
  if (link === undefined) return undefined;
  const links = [...chain.links, link];
  const size = links.reduce((sum, { floats }) => sum + floats, 0);
  return size > MAX_PROGRAM_FLOATS ? undefined : { ...chain, controls, links };
}

function linkOf(node: PlanNode, maxWeights: number): Link | undefined {
  const { op, attrs, inputs } = node;
  if ((op !== "MatMul" && op !== "_Dense") || !isFloat(node)) return undefined;
  if (attrs.bool("transpose_a") || attrs.bool("transpose_b")) return undefined;
  const activation = op === "_Dense" ? attrs.string("activation") : "linear";
  const weights = constantOf(inputs[1]!);
  if (!activations.has(activation) || weights?.onHost !== true || weights.shape.length !== 2)
    return undefined;
  const [inner, columns] = weights.shape as [number, number];
  const size = sizeOf(weights.shape);
  const floats = layerFloats(inner, columns);
  if (size === 0 || size >= maxWeights || floats > MAX_PROGRAM_FLOATS) return undefined;
  const given = inputs[2];
  if (given !== undefined) {
    const biases = constantOf(given);
    if (biases?.onHost !== true || sizeOf(biases.shape) !== columns) return undefined;
  }
  const biases = given ?? zeros(node, columns);
  return { weights: inputs[1]!, biases, activation: activation as LayerActivation, floats };
}

/** 偏りの無い層の偏り。 */
function zeros({ name }: PlanNode, columns: number): Wire {
  const node = new PlanNode(`${name}/bias`, "Const", new NodeAttrs(name, {}, undefined), undefined, []);
  node.constants = [Value.ofTensor(tensor("float", [columns], new Float32Array(columns))).retain()];
  return { node, index: 0 };
}

function rewrite(node: PlanNode, { x, first, links, controls }: Chain): void {
  node.op = "_DenseLayers";
  node.definition = undefined;
  node.inputs = [x, ...links.flatMap(({ weights, biases }) => [weights, biases])];
  node.controls.push(...controls);
  node.attrs = new NodeAttrs(
    node.name,
    {
      activations: stringsAttr(links.map(({ activation }) => activation)),
      first: stringAttr(first),
    },
    undefined,
  );
}
