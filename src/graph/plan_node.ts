import type { DType } from "../tensor/dtype.ts";
import { dtypeOfWire } from "../tensor/dtype.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { NodeAttrs } from "./attrs.ts";
import { type FlatNode, wireTypesOf } from "./flatten.ts";
import type { OpDefinition } from "./op_defs.ts";
import type { OpNode, SessionState, Subgraph } from "./ops/registry.ts";
import type { Device, Value } from "./value.ts";

/** 計画の中の線。 */
export interface Wire {
  readonly node: PlanNode;
  readonly index: number;
}

/** 計画を立てている間のノード。畳み込みと融合で書き換わる。 */
export class PlanNode {
  inputs: Wire[] = [];
  controls: PlanNode[] = [];
  /** 畳み込まれた出力。 */
  constants: readonly Value[] | undefined;
  /** 与えられる値なら、その番号。 */
  feed: number | undefined;

  constructor(
    readonly name: string,
    public op: string,
    public attrs: NodeAttrs,
    public definition: OpDefinition | undefined,
    readonly callers: readonly string[],
    /** 元のノード。計画が作ったものには無い。 */
    readonly flat?: FlatNode,
  ) {}

  /** 出力ごとの型(ワイヤの番号)。 */
  get outputWires(): number[] {
    return this.definition === undefined ? [] : wireTypesOf(this.definition.outputs, this.attrs);
  }
}

/** 定数の値。定数でなければ undefined。 */
export function constantOf({ node, index }: Wire): Value | undefined {
  return node.constants?.[index];
}

/** 組み立て関数に見せる面。 */
export class PlannedNode implements OpNode {
  readonly name: string;
  readonly op: string;
  readonly attrs: NodeAttrs;
  readonly inputTypes: readonly (DType | undefined)[];
  readonly outputTypes: readonly (DType | undefined)[];

  constructor(
    private readonly node: PlanNode,
    private readonly context: {
      readonly session: SessionState;
      device(): Device | undefined;
    },
    private readonly plan: (attr: string, index: number | undefined) => Subgraph,
  ) {
    this.name = node.name;
    this.op = node.op;
    this.attrs = node.attrs;
    this.inputTypes =
      node.definition === undefined
        ? []
        : wireTypesOf(node.definition.inputs, node.attrs).map((wire) => dtypeOfWire(wire));
    this.outputTypes = node.outputWires.map((wire) => dtypeOfWire(wire));
  }

  get session(): SessionState {
    return this.context.session;
  }

  constant(index: number): Tensor | undefined {
    const wire = this.node.inputs[index];
    const value = wire === undefined ? undefined : constantOf(wire);
    return value?.object === undefined ? value?.tensor(this.context.device()) : undefined;
  }

  subgraph(attr: string, index?: number): Subgraph {
    return this.plan(attr, index);
  }
}
