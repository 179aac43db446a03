import { Code, invalidArgument, StatusError, unimplemented } from "../base/status.ts";
import { byteWidth, dtypeName } from "../tensor/dtype.ts";
import { sizeOf } from "../tensor/tensor.ts";
import { type AttrMap, NodeAttrs } from "./attrs.ts";
import type { WasmDevice } from "./backend.ts";
import { channelsLast } from "./channels_last.ts";
import { DataflowExecutor } from "./dataflow.ts";
import { DeviceRunner, EitherRunner, HostRunner, type Kernel, LinearExecutor, RawRunner } from "./execute.ts";
import {
  type Endpoint,
  type FlatGraph,
  type FlatNode,
  type FunctionLibrary,
  flattenFunction,
  refsOf,
  wireTypesOf,
} from "./flatten.ts";
import { fuse } from "./fuse.ts";
import { fuseLayers } from "./fuse_layers.ts";
import { findOpDefinition } from "./op_defs.ts";
import { frameOps } from "./ops/frames.ts";
import { aliasOps } from "./ops/identity.ts";
import { opRows } from "./ops/index.ts";
import type { DeviceRow, OpRow, SessionState, Subgraph } from "./ops/registry.ts";
import { Variable } from "./ops/variable.ts";
import { constantOf, PlanNode, PlannedNode, type Wire } from "./plan_node.ts";
import { rewrites } from "./rewrite.ts";
import { rowShapes } from "./rows/row_wise.ts";
import { fitsDevice, Value } from "./value.ts";

/**
 * ホストで計算するより wasm に渡すほうが速くなる仕事量(積和の回数)。
 * TypeScript で走らせた 4-16-3 の全結合は、55 行(第 1 層で 3,500)あたりで tfjs-wasm と並ぶ。
 */
export const DEVICE_WORK = 4096;
/**
 * これだけの要素の重みを持つ演算があれば、1 行の入力でも wasm のほうが速い。読み込みのうちに立ち上げる。
 * これより小さい全結合は、tfjs ではなく {@link fuseLayers} の 1 つの演算になる。
 */
const HEAVY_WEIGHTS = 16_384;
/** 畳み込みの結果がこれより大きく、かつ入力の 2 倍を超えるなら、畳み込まずに毎回計算する。 */
const MAX_FOLDED_GROWTH_BYTES = 16 * 2 ** 20;

/** 走れない理由として並べる数。 */
const MAX_FAILURES = 8;

/** 計画が頼るもの。モデル 1 版に 1 つ。 */
export interface PlanContext {
  readonly library: FunctionLibrary;
  readonly session: SessionState;
  /** どの signature からも書き込まれない変数か。 */
  isFrozen(variable: Variable): boolean;
  device(): WasmDevice | undefined;
  /** どちらでも走れる演算をデバイスに回す仕事量。 */
  readonly deviceWork: number;
  /** 計画の間で分け合う、畳み込みの結果。 */
  readonly folded: Map<FlatNode, readonly Value[]>;
  /** 定数を覚えておく。閉じるときにデバイスの写しを手放すため。 */
  keep(value: Value): void;
}

/** 何を計画するか。 */
export interface PlanRequest {
  /** 与える線。 */
  readonly feeds: readonly Endpoint[];
  /** 求める線。 */
  readonly fetches: readonly Endpoint[];
  /** 値は要らないが必ず走らせるノード。 */
  readonly targets: readonly FlatNode[];
  /** 行ごとに独立かを調べるか。 */
  readonly asksRows?: boolean;
  /** 与えられる線のうち、いつも同じ値のもの。 */
  readonly fixed?: readonly (Value | undefined)[];
}

/** 利用者に見せる 1 歩。 */
export interface StepDescription {
  readonly node: string;
  readonly op: string;
  /** `host`, `wasm`, `host or wasm`, `engine`。 */
  readonly kernel: string;
}

/** できあがった計画。 */
export interface Plan {
  readonly executor: Subgraph;
  /** 部分計画も含めた全部の歩。 */
  readonly steps: readonly StepDescription[];
  /** wasm が無ければ走れない、または定数の大きさから wasm が必要だと分かっている。 */
  readonly needsDevice: boolean;
  /** デバイスの歩だけが使う定数。先に上げて、ホストの写しを手放してよい。 */
  readonly deviceConstants: readonly Value[];
  /** 行ごとに独立な計画なら、入力ごとに求められる形。関数の計画では調べない。 */
  readonly rowShapes: readonly (readonly number[])[] | undefined;
}

/** 選ばれたカーネルと、入力ごとの「デバイスに載せるか」。 */
interface Chosen {
  readonly kernel: Kernel;
  readonly onDevice: readonly boolean[];
}

/** 分岐の中で副作用を持ちうるもの。 */
const effectfulCalls = new Set(["If", "Case", "While"]);
const loops = new Set(["While", "StatelessWhile"]);
/** 変数の中身を読むだけのもの。 */
const readingOps = new Set(["ReadVariableOp", "_Deref"]);

/**
 * 計画を立てる。刈り込み(与えられた線で止まる)、別名の解消、並べ替え、定数の畳み込み、融合、カーネルの選択。
 *
 * @throws UNIMPLEMENTED 届く演算にカーネルが無い。
 * @throws INVALID_ARGUMENT 壊れたグラフ。
 */
export function buildPlan(context: PlanContext, request: PlanRequest): Plan {
  const builder = new PlanBuilder(context, request, true);
  // Switch や Merge があると、別名を消すと dead の伝わり方が変わる。消さずに作り直す。
  return (builder.hasFrames ? new PlanBuilder(context, request, false) : builder).build();
}

/** {@link buildPlan} の作業台。 */
class PlanBuilder {
  readonly #context: PlanContext;
  readonly #collapses: boolean;
  readonly #asksRows: boolean;
  readonly #fixed: PlanRequest["fixed"];
  readonly #fed = new Map<FlatNode, Map<number, Wire>>();
  readonly #nodes = new Map<FlatNode, PlanNode>();
  readonly #derefs = new Map<FlatNode, PlanNode>();
  readonly #queue: { flat: FlatNode; node: PlanNode }[] = [];
  readonly #feeds: PlanNode[];
  #fetches: Wire[];
  readonly #targets: PlanNode[];
  readonly #descriptions: StepDescription[] = [];
  readonly #subplans = new Map<string, Subgraph>();
  readonly #deviceConstants = new Set<Value>();
  #needsDevice = false;
  hasFrames = false;

  constructor(context: PlanContext, request: PlanRequest, collapses: boolean) {
    this.#context = context;
    this.#collapses = collapses;
    this.#asksRows = request.asksRows === true;
    this.#fixed = request.fixed;
    this.#feeds = request.feeds.map(({ node, index }, i) => {
      const feed = new PlanNode(node.name, "_Feed", node.attrs, undefined, []);
      feed.feed = i;
      const outputs = this.#fed.get(node) ?? new Map<number, Wire>();
      if (outputs.has(index)) throw invalidArgument(`Tensor ${node.name}:${index} is fed twice`);
      this.#fed.set(node, outputs.set(index, { node: feed, index: 0 }));
      return feed;
    });
    this.#fetches = request.fetches.map((endpoint) => this.#value(endpoint, undefined));
    this.#targets = request.targets.map((flat) => this.#node(flat));
    for (let next = this.#queue.pop(); next !== undefined; next = this.#queue.pop()) {
      this.#fill(next.flat, next.node);
    }
  }

  build(): Plan {
    if (!this.hasFrames) {
      for (const [i, feed] of this.#feeds.entries()) {
        const value = this.#fixed?.[i];
        if (value !== undefined) feed.constants = [value];
      }
    }
    let order = this.#sort();
    if (!this.hasFrames) order = this.#prune(order);
    for (const node of order) this.#fold(node);
    if (!this.hasFrames) {
      channelsLast(order, this.#fetches);
      order = this.#prune(this.#sort());
    }
    const asksRows = this.#asksRows && !this.hasFrames;
    const independent = asksRows ? rowShapes(order, this.#feeds, this.#fetches) : undefined;
    if (!this.hasFrames) {
      fuse(order, this.#fetches);
      order = this.#prune(this.#sort());
      fuseLayers(order, this.#fetches, HEAVY_WEIGHTS);
      order = this.#prune(this.#sort());
    }
    const executor = this.hasFrames ? this.#dataflow(order) : this.#linear(order);
    return {
      executor,
      steps: this.#descriptions,
      needsDevice: this.#needsDevice,
      deviceConstants: [...this.#deviceConstants],
      rowShapes: independent,
    };
  }

  #node(flat: FlatNode): PlanNode {
    const known = this.#nodes.get(flat);
    if (known !== undefined) return known;
    const node = new PlanNode(flat.name, flat.op, flat.attrs, flat.definition, flat.callers, flat);
    this.#nodes.set(flat, node);
    this.#queue.push({ flat, node });
    if (frameOps.has(flat.op)) this.hasFrames = true;
    return node;
  }

  /** 線をたどり、別名を飛ばした先を返す。飛ばした別名の制御入力は `controls` に足す。 */
  #wire(from: Endpoint, controls: PlanNode[]): Wire {
    let at = from;
    // 別名だけの輪を断る。
    for (let hops = 0; hops < 1_000_000; hops++) {
      const { node, index } = at;
      const fed = this.#fed.get(node)?.get(index);
      if (fed !== undefined) return fed;
      const isBoundary = node.op === "_Alias";
      if (!isBoundary && !(this.#collapses && aliasOps.has(node.op))) {
        checkOutput(at);
        return { node: this.#node(node), index };
      }
      const source = node.inputs[node.inputs.length > 1 ? index : 0];
      if (source === undefined) throw invalidArgument(`Node '${node.name}' has no input`);
      if (!isBoundary && isRef(source)) return { node: this.#derefOf(node, source), index: 0 };
      for (const control of node.controls) controls.push(this.#node(control));
      at = source;
    }
    throw invalidArgument(`Node '${from.node.name}' is part of a cycle`);
  }

  /** 参照でない値としての線。参照なら、読み出しを差し込む。 */
  #value(from: Endpoint, user: PlanNode | undefined): Wire {
    const controls: PlanNode[] = user?.controls ?? [];
    const wire = this.#wire(from, controls);
    if (user === undefined) this.#pinned.push(...controls);
    const { node, index } = wire;
    if (node.feed !== undefined || !isRefOutput(node, index)) return wire;
    const deref = this.#synthesize(`${node.name}/deref`, "_Deref", {}, [wire]);
    deref.controls.push(...controls);
    return { node: deref, index: 0 };
  }

  /** 求める線が別名だったときに、その別名が待っていたもの。 */
  readonly #pinned: PlanNode[] = [];

  /** 参照の Identity。その時点の中身を読む 1 つのノードとして共有する。 */
  #derefOf(alias: FlatNode, source: Endpoint): PlanNode {
    const known = this.#derefs.get(alias);
    if (known !== undefined) return known;
    const deref = new PlanNode(alias.name, "_Deref", new NodeAttrs(alias.name, {}, undefined), undefined, []);
    this.#derefs.set(alias, deref);
    for (const control of alias.controls) deref.controls.push(this.#node(control));
    deref.inputs = [this.#wire(source, deref.controls)];
    return deref;
  }

  #synthesize(name: string, op: string, attrs: AttrMap, inputs: Wire[]): PlanNode {
    const definition = findOpDefinition(op);
    const node = new PlanNode(name, op, new NodeAttrs(name, attrs, definition), definition, []);
    node.inputs = inputs;
    return node;
  }

  #fill(flat: FlatNode, node: PlanNode): void {
    for (const control of flat.controls) node.controls.push(this.#node(control));
    checkInputs(flat);
    const refs = flat.definition === undefined ? [] : refsOf(flat.definition.inputs, flat.attrs);
    node.inputs = flat.inputs.map((input, i) =>
      refs[i] === true ? this.#wire(input, node.controls) : this.#value(input, node),
    );
    rewrites.get(flat.op)?.rewrite(node, flat);
  }

  /** 依存の順に並べる(深さ優先)。ループの戻り線(NextIteration)は数えない。 */
  #sort(): PlanNode[] {
    const order: PlanNode[] = [];
    const state = new Map<PlanNode, 1 | 2>();
    const stack: { node: PlanNode; next: number }[] = [];
    const visit = (root: PlanNode): void => {
      if (state.has(root)) return;
      state.set(root, 1);
      stack.push({ node: root, next: 0 });
      while (stack.length > 0) {
        const top = stack.at(-1)!;
        const { node } = top;
        const { inputs, controls } = node;
        // 定数の入力はもう要らないが、待つべきもの(変数への書き込みなど)は残る。
        const count = controls.length + (node.constants === undefined ? inputs.length : 0);
        if (top.next >= count) {
          stack.pop();
          state.set(node, 2);
          order.push(node);
          continue;
        }
        const at = top.next++;
        const dependency = at < controls.length ? controls[at]! : inputs[at - controls.length]!.node;
        if (node.op === "Merge" && isNextIteration(dependency.op)) continue;
        const seen = state.get(dependency);
        if (seen === 1) throw invalidArgument(`Node '${dependency.name}' is part of a cycle`);
        if (seen === undefined) {
          state.set(dependency, 1);
          stack.push({ node: dependency, next: 0 });
        }
      }
    };
    for (const node of this.#roots()) visit(node);
    // 戻り線の元は、先の並びからは届かないことがある。
    for (let i = 0; i < order.length; i++) {
      if (order[i]!.op === "Merge") for (const { node } of order[i]!.inputs) visit(node);
    }
    return order;
  }

  #roots(): PlanNode[] {
    return [...this.#pinned, ...this.#fetches.map(({ node }) => node), ...this.#targets];
  }

  /** 結果に効かず、副作用も無いノードを除く。順序のためだけの辺は、間のノードが消えても保つ。 */
  #prune(order: readonly PlanNode[]): PlanNode[] {
    const live = new Set<PlanNode>(this.#fetches.map(({ node }) => node));
    for (let i = order.length - 1; i >= 0; i--) {
      const node = order[i]!;
      if (!live.has(node) && !isEffectful(node)) continue;
      live.add(node);
      if (node.constants === undefined) for (const input of node.inputs) live.add(input.node);
    }
    return order.filter((node) => live.has(node));
  }

  #fold(node: PlanNode): void {
    if (node.constants !== undefined || node.feed !== undefined) return;
    // v1 の枝の中の定数は、制御入力が dead なら dead でなければならない。
    if (this.hasFrames && node.controls.length > 0) return;
    const row = opRows.get(node.op);
    if (row === undefined || row.stateful === true || row.foldable === false) return;
    const inputs: Value[] = [];
    for (const input of node.inputs) {
      const value = constantOf(input);
      if (value === undefined) return;
      inputs.push(value);
    }
    if (readingOps.has(node.op)) {
      const variable = inputs[0]?.object;
      if (!(variable instanceof Variable) || !this.#context.isFrozen(variable)) return;
      if (variable.value !== undefined) node.constants = [variable.value];
      return;
    }
    if (row.raw !== undefined && row.foldable !== true) return;
    const { folded } = this.#context;
    const outputs = (node.flat && folded.get(node.flat)) ?? this.#evaluate(node, row, inputs);
    if (outputs === undefined) return;
    node.constants = outputs;
    if (node.flat === undefined || folded.has(node.flat)) return;
    folded.set(node.flat, outputs);
  }

  #evaluate(node: PlanNode, row: OpRow, inputs: readonly Value[]): readonly Value[] | undefined {
    const planned = this.#planned(node);
    try {
      let kernel: Kernel;
      if (row.raw !== undefined) kernel = new RawRunner(row.raw(planned));
      else if (row.host !== undefined) kernel = new HostRunner(row.host(planned));
      else return undefined;
      const out = kernel.invoke(inputs, {
        device: this.#context.device(),
        checkpoint: () => {},
        wishDevice: () => {},
      });
      const outputs = out instanceof Value ? [out] : out;
      const grown = bytesOf(outputs);
      if (grown > MAX_FOLDED_GROWTH_BYTES && grown > 2 * bytesOf(inputs)) return undefined;
      return outputs.map((value) => value.retain());
    } catch (thrown) {
      // 入力の悪さや未対応の属性は、その演算が本当に要るときに、実行か組み立ての失敗として現れる。
      if (thrown instanceof StatusError) return undefined;
      throw thrown;
    }
  }

  #planned(node: PlanNode): PlannedNode {
    return new PlannedNode(node, this.#context, (attr, index) => this.#subplan(node, attr, index));
  }

  #subplan(node: PlanNode, attr: string, index: number | undefined): Subgraph {
    const key = `${node.name}\u0000${attr}\u0000${index ?? ""}`;
    const known = this.#subplans.get(key);
    if (known !== undefined) return known;
    const body = this.#flatten(node, attr, index);
    const plan = buildPlan(this.#context, {
      feeds: body.args.map((arg) => ({ node: arg, index: 0 })),
      fetches: body.results,
      targets: body.sideEffects,
      fixed: this.#fixedArgs(node),
    });
    this.#descriptions.push(
      ...plan.steps.map((step) => ({ ...step, node: `${node.name}/${attr}/${step.node}` })),
    );
    if (plan.needsDevice) this.#needsDevice = true;
    for (const value of plan.deviceConstants) this.#deviceConstants.add(value);
    this.#subplans.set(key, plan.executor);
    return plan.executor;
  }

  readonly #flattened = new Map<string, FlatGraph>();

  #flatten(node: PlanNode, attr: string, index: number | undefined): FlatGraph {
    const key = `${node.name}\u0000${attr}\u0000${index ?? ""}`;
    const known = this.#flattened.get(key);
    if (known !== undefined) return known;
    const name = index === undefined ? node.attrs.func(attr) : node.attrs.funcs(attr)[index];
    if (name === undefined)
      throw invalidArgument(`Attr '${attr}' of node '${node.name}' has no function ${index}`);
    const flat = flattenFunction(
      this.#context.library,
      name,
      node.attrs.funcAttrs(attr, index),
      node.callers,
    );
    this.#flattened.set(key, flat);
    return flat;
  }

  /** 枝や本体の引数のうち、いつも同じ定数が渡るもの。ループの重みも、それで定数になる。 */
  #fixedArgs(node: PlanNode): readonly (Value | undefined)[] {
    const values = node.inputs.map(constantOf);
    if (!loops.has(node.op)) return values.slice(1);
    const { args, results } = this.#flatten(node, "body", undefined);
    return values.map((value, i) => (carriedBy(results[i]) === args[i] ? value : undefined));
  }

  /** カーネルを選ぶ。規則は ops/registry.ts の説明のとおり。 */
  #kernel(node: PlanNode): Chosen {
    const row = opRows.get(node.op);
    if (row === undefined) throw unsupportedOp(node);
    const planned = this.#planned(node);
    try {
      if (row.raw !== undefined) return { kernel: new RawRunner(row.raw(planned)), onDevice: [] };
      const onDevice = this.#deviceInputs(planned, row.device, node.inputs.length);
      const device = onDevice === undefined ? undefined : row.device!.build(planned);
      if (device === undefined) {
        if (row.host === undefined) throw unimplemented("no kernel for these attributes and types");
        return { kernel: new HostRunner(row.host(planned)), onDevice: [] };
      }
      if (row.host === undefined) {
        this.#needsDevice = true;
        return { kernel: new DeviceRunner(device), onDevice: onDevice! };
      }
      const work = row.device!.work ?? largestInput;
      if (row.device!.heavy === true || isHeavy(node, onDevice!)) this.#needsDevice = true;
      const kernel = new EitherRunner(row.host(planned), device, onDevice!, work, this.#context.deviceWork);
      return { kernel, onDevice: onDevice! };
    } catch (thrown) {
      throw explain(thrown, node);
    }
  }

  /** @returns 入力ごとの「デバイスに載せるか」。デバイスの候補でなければ undefined。 */
  #deviceInputs(planned: PlannedNode, row: DeviceRow | undefined, count: number): boolean[] | undefined {
    if (row === undefined) return undefined;
    const host = row.hostInputs ?? [];
    const onDevice = Array.from({ length: count }, (_, i) =>
      host === "rest" ? i === 0 : !host.includes(i) && !host.includes(i - count),
    );
    const types = planned.inputTypes.filter((_, i) => onDevice[i] === true);
    if (!types.every(fitsDevice)) return undefined;
    return row.anyDType === true || types.includes("float") ? onDevice : undefined;
  }

  /** 全部のノードのカーネルを選ぶ。選べないものがあれば、まとめて言う。 */
  #kernels(nodes: readonly PlanNode[]): Map<PlanNode, Chosen> {
    const chosen = new Map<PlanNode, Chosen>();
    const failures = new Map<string, StatusError>();
    for (const node of nodes) {
      try {
        const found = this.#kernel(node);
        this.#descriptions.push({ node: node.name, op: node.op, kernel: found.kernel.place });
        chosen.set(node, found);
      } catch (thrown) {
        if (!(thrown instanceof StatusError) || thrown.code !== Code.UNIMPLEMENTED) throw thrown;
        // 同じ理由は、最初のノードだけで言う。
        const reason = `${node.op}: ${thrown.message.replace(`'${node.name}'`, "")}`;
        if (!failures.has(reason)) failures.set(reason, thrown);
      }
    }
    const [first, ...others] = [...failures.values()];
    if (first === undefined) return chosen;
    const texts = [first, ...others.slice(0, MAX_FAILURES - 1)].map(({ message }) => message);
    if (failures.size > MAX_FAILURES) texts.push(`and ${failures.size - MAX_FAILURES} more`);
    throw unimplemented(texts.join("; "), first.cause);
  }

  #linear(order: readonly PlanNode[]): Subgraph {
    const slots = new Map<PlanNode, number[]>();
    const template: (Value | undefined)[] = [];
    const constants = new Map<Value, number>();
    const slotOf = ({ node, index }: Wire): number => {
      const value = node.constants?.[index];
      if (value !== undefined) {
        let slot = constants.get(value);
        if (slot === undefined) {
          slot = template.push(value) - 1;
          this.#context.keep(value);
          constants.set(value, slot);
        }
        return slot;
      }
      const own = slots.get(node) ?? [];
      slots.set(node, own);
      own[index] ??= template.push(undefined) - 1;
      return own[index]!;
    };
    const working = order.filter(
      (node) => node.constants === undefined && node.feed === undefined && node.op !== "NoOp",
    );
    const chosen = this.#kernels(working);
    const built = working.map((node) => ({ ...chosen.get(node)!, node, inputs: node.inputs.map(slotOf) }));
    const fetches = this.#fetches.map(slotOf);
    const feeds = this.#feeds.map((feed) => slots.get(feed)?.[0] ?? -1);
    this.#collectDeviceConstants(built, template, fetches);
    // 最後に使う歩で手放す。定数と fetch は手放さない。
    const kept = new Set([...constants.values(), ...fetches]);
    const frees: number[][] = built.map(() => []);
    for (let i = built.length - 1; i >= 0; i--) {
      for (const slot of built[i]!.inputs) {
        if (kept.has(slot)) continue;
        kept.add(slot);
        frees[i]!.push(slot);
      }
    }
    return new LinearExecutor({
      template,
      feeds,
      fetches,
      steps: built.map(({ node, kernel, inputs }, i) => ({
        name: node.name,
        op: node.op,
        kernel,
        inputs,
        outputs: outputsOf(slots.get(node)),
        frees: frees[i]!,
      })),
    });
  }

  /** デバイスの歩しか使わない定数を集める。 */
  #collectDeviceConstants(
    built: readonly { node: PlanNode; onDevice: readonly boolean[]; inputs: readonly number[] }[],
    template: readonly (Value | undefined)[],
    fetches: readonly number[],
  ): void {
    const elsewhere = new Set(fetches);
    const used = new Set<number>();
    for (const { node, onDevice, inputs } of built) {
      const tables = tablesOf(node);
      inputs.forEach((slot, i) => {
        const value = template[slot];
        if (value === undefined || tables.includes(i)) return;
        // 小さい定数は、どちらで走るかが実行時に決まる。
        if (onDevice[i] === true && sizeOf(value.shape) >= HEAVY_WEIGHTS) used.add(slot);
        else elsewhere.add(slot);
      });
    }
    for (const slot of used) {
      if (!elsewhere.has(slot)) this.#deviceConstants.add(template[slot]!);
    }
  }

  #dataflow(order: readonly PlanNode[]): Subgraph {
    const working = order.filter(
      (node) => node.constants === undefined && node.feed === undefined && !frameOps.has(node.op),
    );
    const kernels = new Map([...this.#kernels(working)].map(([node, { kernel }]) => [node, kernel]));
    for (const { constants } of order) constants?.forEach((value) => void this.#context.keep(value));
    return new DataflowExecutor(order, kernels, this.#feeds, this.#fetches);
  }
}

function isNextIteration(op: string): boolean {
  return op === "NextIteration" || op === "RefNextIteration";
}

/** 呼び出しの境目を飛ばした先。 */
function originOf(from: Endpoint): Endpoint {
  let at = from;
  for (let hops = 0; at.node.op === "_Alias" && hops < 10_000; hops++) {
    const source = at.node.inputs[0];
    if (source === undefined) break;
    at = source;
  }
  return at;
}

/** 別名を飛ばした先のノード。 */
function carriedBy(from: Endpoint | undefined): FlatNode | undefined {
  let at = from;
  for (let hops = 0; hops < 10_000; hops++) {
    if (at === undefined || (at.node.op !== "_Alias" && !aliasOps.has(at.node.op))) break;
    const { inputs } = at.node;
    at = inputs[inputs.length > 1 ? at.index : 0];
  }
  return at?.node;
}

/** 呼び出しの境目を飛ばした先が、参照を出す出力か。 */
function isRef(from: Endpoint): boolean {
  const { node, index } = originOf(from);
  return isRefOutput(node, index);
}

function isRefOutput({ definition, attrs }: FlatNode | PlanNode, index: number): boolean {
  if (definition === undefined || !definition.outputs.some(({ ref }) => ref)) return false;
  return refsOf(definition.outputs, attrs)[index] === true;
}

function isEffectful(node: PlanNode): boolean {
  if (node.constants !== undefined || node.feed !== undefined || node.op === "NoOp") return false;
  const row = opRows.get(node.op);
  if (row === undefined) return node.definition?.stateful !== false;
  return row.stateful === true || effectfulCalls.has(node.op);
}

function outputsOf(slots: readonly number[] | undefined): number[] {
  if (slots === undefined) return [];
  return Array.from({ length: slots.length }, (_, i) => slots[i] ?? -1);
}

/** 行を引くだけの表である入力。 */
const tablesOf = ({ op }: PlanNode): readonly number[] => opRows.get(op)?.device?.tables ?? [];

/** 重みの大きさだけで、1 行の入力でもデバイスのほうが速いと分かるか。 */
function isHeavy(node: PlanNode, onDevice: readonly boolean[]): boolean {
  const tables = tablesOf(node);
  return node.inputs.some((input, i) => {
    const value = constantOf(input);
    return (
      onDevice[i] === true &&
      !tables.includes(i) &&
      value !== undefined &&
      sizeOf(value.shape) >= HEAVY_WEIGHTS
    );
  });
}

function largestInput(inputs: readonly Value[]): number {
  let largest = 0;
  for (const input of inputs) largest = Math.max(largest, sizeOf(input.shape));
  return largest;
}

function bytesOf(values: readonly Value[]): number {
  let bytes = 0;
  for (const value of values) {
    if (value.dtype !== undefined) bytes += sizeOf(value.shape) * (byteWidth(value.dtype) || 16);
  }
  return bytes;
}

function unsupportedOp(node: PlanNode): StatusError {
  return unimplemented(`Op type not supported: '${node.op}' (node '${node.name}')`);
}

/** 組み立ての失敗に、演算とノードの名前を添える。 */
function explain(thrown: unknown, node: PlanNode): unknown {
  if (!(thrown instanceof StatusError) || thrown.message.includes(`(node '`)) return thrown;
  return new StatusError(
    thrown.code,
    `Op '${node.op}' is not supported here: ${thrown.message} (node '${node.name}')`,
    thrown.cause,
  );
}

/** その番号の出力があるか。関数の戻り値や別名の先は、たどり終えて初めて分かる。 */
function checkOutput({ node: { name, op, definition, attrs }, index }: Endpoint): void {
  if (definition === undefined) return;
  const count = wireTypesOf(definition.outputs, attrs).length;
  if (index >= count) {
    throw invalidArgument(`Output ${index} of node '${name}' (op '${op}') does not exist: it has ${count}`);
  }
}

/** 入力の数と型が宣言に合うか。 @see tensorflow/core/graph/validate.cc */
function checkInputs({ name, op, definition, attrs, inputs }: FlatNode): void {
  if (definition === undefined) return;
  const expected = wireTypesOf(definition.inputs, attrs);
  if (expected.length !== inputs.length) {
    throw invalidArgument(
      `Node '${name}' (op '${op}') takes ${expected.length} inputs but has ${inputs.length}`,
    );
  }
  inputs.forEach((input, i) => {
    const { node: source, index } = originOf(input);
    if (source.definition === undefined) return;
    const given = wireTypesOf(source.definition.outputs, source.attrs);
    if (index >= given.length) {
      throw invalidArgument(
        `Node '${name}' reads output ${index} of '${source.name}', which has no such output`,
      );
    }
    if (given[index]! % REF_OFFSET !== expected[i]! % REF_OFFSET) {
      throw invalidArgument(
        `Input ${i} of node ${name} was passed ${wireName(given[index]!)} from ${source.name}:${index} incompatible with expected ${wireName(expected[i]!)}.`,
      );
    }
  });
}

/** 参照の型の番号は、元の型にこれを足したもの。 */
const REF_OFFSET = 100;

function wireName(wire: number): string {
  return dtypeName(wire % REF_OFFSET);
}
