import { invalidArgument } from "../base/status.ts";
import { tensor } from "../tensor/tensor.ts";
import { atNode, type ExecutionState, type Kernel, wrongArity } from "./execute.ts";
import { isTruthy } from "./ops/control.ts";
import { toNumber } from "./ops/kernel_util.ts";
import type { RunState, Subgraph } from "./ops/registry.ts";
import { constantOf, type PlanNode, type Wire } from "./plan_node.ts";
import { Value } from "./value.ts";

/** 線を流れる札。undefined は dead(選ばれなかった枝)。 */
type Token = Value | undefined;

type Kind = "op" | "feed" | "switch" | "merge" | "enter" | "exit" | "next" | "pass";

/** 出力の線の先。`input` が -1 なら順序だけの線。 */
interface Edge {
  readonly output: number;
  readonly target: Unit;
  readonly input: number;
}

/** ノード 1 つの、実行に要る形。 */
interface Unit {
  readonly index: number;
  readonly name: string;
  readonly kind: Kind;
  readonly kernel: Kernel | undefined;
  readonly feed: number;
  /** 入力の初期値。定数だけが入っている。 */
  readonly inputs: readonly Token[];
  readonly edges: Edge[];
  /** 待つ入力の数。Merge では、最下位の 1 が「まだ値を受け取っていない」、その上が制御入力の数。 */
  pending: number;
  readonly outputs: number;
  readonly frameName: string;
  readonly isConstantEnter: boolean;
}

const kinds: Readonly<Record<string, Kind>> = {
  Switch: "switch",
  RefSwitch: "switch",
  _SwitchN: "switch",
  Merge: "merge",
  RefMerge: "merge",
  Enter: "enter",
  RefEnter: "enter",
  Exit: "exit",
  RefExit: "exit",
  NextIteration: "next",
  RefNextIteration: "next",
  LoopCond: "pass",
};

/** ループ 1 つの実行。最上位は親の無い枠。 */
class Frame {
  readonly iterations: (Iteration | undefined)[] = [];
  /** まだ片付いていない最初の周。 */
  first = 0;
  readonly invariants: { unit: Unit; token: Token }[] = [];
  deadExits: Unit[] = [];

  constructor(
    readonly name: string,
    readonly parent: Iteration | undefined,
    public pendingEnters: number,
  ) {}

  get last(): Iteration {
    return this.iterations.at(-1)!;
  }
}

/** 枠の 1 周。 */
class Iteration {
  readonly pending: Int32Array;
  /** Merge では dead で届いた入力の数、ほかでは 1 つでも dead なら正。 */
  readonly dead: Int32Array;
  readonly inputs: (Token[] | undefined)[];
  readonly children = new Map<string, Frame>();
  /** 走るのを待つノードと、終わっていない子の枠の数。 */
  outstanding = 0;

  constructor(
    readonly frame: Frame,
    readonly number: number,
    initial: Int32Array,
  ) {
    this.pending = initial.slice();
    this.dead = new Int32Array(initial.length);
    this.inputs = new Array(initial.length);
  }
}

interface Ready {
  readonly unit: Unit;
  readonly iteration: Iteration;
  readonly dead: boolean;
}

/**
 * v1 の制御フロー(Switch, Merge, Enter, Exit, NextIteration)を含む計画を、札の流れとして走らせる。
 * 札は「どの枠の何周目か」の中だけで待ち合わせ、選ばれなかった枝には dead の札が流れる。
 *
 * @see tensorflow/core/common_runtime/propagator_state.cc
 */
export class DataflowExecutor implements Subgraph {
  readonly #units: Unit[];
  readonly #initial: Int32Array;
  readonly #enters = new Map<string, number>();
  readonly #fetches: readonly { unit: Unit | undefined; index: number; constant: Token }[];
  /** fetch される線を出すノード。 */
  readonly #fetched = new Set<Unit>();

  readonly #feedCount: number;

  constructor(
    order: readonly PlanNode[],
    kernels: ReadonlyMap<PlanNode, Kernel>,
    feeds: readonly PlanNode[],
    fetches: readonly Wire[],
  ) {
    this.#feedCount = feeds.length;
    const units = new Map<PlanNode, Unit>();
    const active = order.filter((node) => node.constants === undefined);
    for (const feed of feeds) if (!active.includes(feed)) active.push(feed);
    active.forEach((node, index) => {
      units.set(node, unitOf(node, index, kernels.get(node)));
    });
    for (const node of active) this.#connect(node, units);
    this.#units = [...units.values()];
    for (const { kind, frameName } of this.#units) {
      if (kind === "enter") this.#enters.set(frameName, (this.#enters.get(frameName) ?? 0) + 1);
    }
    this.#initial = Int32Array.from(this.#units, ({ pending }) => pending);
    this.#fetches = fetches.map((wire) => ({
      unit: units.get(wire.node),
      index: wire.index,
      constant: constantOf(wire),
    }));
    for (const { unit } of this.#fetches) if (unit !== undefined) this.#fetched.add(unit);
  }

  run(args: readonly Value[], run: RunState): readonly Value[] {
    const state = run as ExecutionState;
    if (args.length !== this.#feedCount) throw wrongArity(this.#feedCount, args.length);
    const flow = new Flow(this.#initial, this.#enters, state);
    const results: Token[] = this.#fetches.map(({ constant }) => constant?.retain());
    const capture = ({ unit, iteration }: Ready, outputs: readonly Token[]): void => {
      // Exit の値は、親の枠に現れる。
      const { frame } = unit.kind === "exit" ? iteration.frame.parent! : iteration;
      if (frame.parent !== undefined || !this.#fetched.has(unit)) return;
      this.#fetches.forEach((fetch, i) => {
        if (fetch.unit === unit) results[i] = outputs[fetch.index]?.retain();
      });
    };
    try {
      flow.run(this.#units, args, capture);
      for (let i = 0; i < results.length; i++) {
        if (results[i] === undefined) throw invalidArgument(`Retval[${i}] does not have value`);
      }
    } catch (thrown) {
      for (const result of results) result?.drop(state.device);
      throw thrown;
    } finally {
      flow.clear();
    }
    return results.map((result) => result!.handOver());
  }

  #connect(node: PlanNode, units: ReadonlyMap<PlanNode, Unit>): void {
    const target = units.get(node)!;
    const isMerge = target.kind === "merge";
    node.inputs.forEach((wire, input) => {
      const source = units.get(wire.node);
      if (source === undefined) return;
      source.edges.push({ output: wire.index, target, input });
      if (!isMerge) target.pending++;
    });
    for (const control of node.controls) {
      const source = units.get(control);
      if (source === undefined) continue;
      source.edges.push({ output: -1, target, input: -1 });
      target.pending += isMerge ? 2 : 1;
    }
  }
}

function unitOf(node: PlanNode, index: number, kernel: Kernel | undefined): Unit {
  const kind = node.feed !== undefined ? "feed" : (kinds[node.op] ?? "op");
  const enters = kind === "enter";
  return {
    index,
    name: node.name,
    kind,
    kernel,
    feed: node.feed ?? -1,
    inputs: node.inputs.map(constantOf),
    edges: [],
    pending: kind === "merge" ? 1 : 0,
    outputs: kind === "feed" ? 1 : Math.max(node.outputWires.length, 1),
    frameName: enters ? node.attrs.string("frame_name") : "",
    isConstantEnter: enters && node.attrs.bool("is_constant"),
  };
}

/** 1 回の実行。 */
class Flow {
  readonly #root: Iteration;
  readonly #queue: Ready[] = [];
  #head = 0;

  constructor(
    private readonly initial: Int32Array,
    private readonly enters: ReadonlyMap<string, number>,
    private readonly state: ExecutionState,
  ) {
    this.#root = this.#begin(new Frame("", undefined, 0));
  }

  run(
    units: readonly Unit[],
    args: readonly Value[],
    capture: (ready: Ready, outputs: readonly Token[]) => void,
  ): void {
    for (const unit of units) {
      if (unit.pending === 0) this.#push(unit, this.#root, false);
      // 定数だけを受ける Merge は、待たずに値を持つ。
      const constant = unit.kind === "merge" ? unit.inputs.findIndex((token) => token !== undefined) : -1;
      if (constant >= 0) this.#deliverToMerge(this.#root, unit, constant, unit.inputs[constant], false);
    }
    while (this.#head < this.#queue.length) {
      const ready = this.#queue[this.#head++]!;
      // 先頭の空きが大きくなったら詰める。長いループで列が伸び続けないように。
      if (this.#head > 4096) {
        this.#queue.splice(0, this.#head);
        this.#head = 0;
      }
      this.#step(ready, args, capture);
    }
  }

  /** 届いたまま使われなかった札を手放す。 */
  clear(): void {
    this.#clearFrame(this.#root.frame);
  }

  #clearFrame(frame: Frame): void {
    for (const { token } of frame.invariants) token?.drop(this.state.device);
    frame.invariants.length = 0;
    for (const iteration of frame.iterations) if (iteration !== undefined) this.#clearIteration(iteration);
  }

  #clearIteration(iteration: Iteration): void {
    for (const child of iteration.children.values()) this.#clearFrame(child);
    iteration.children.clear();
    iteration.inputs.forEach((tokens, i) => {
      if (tokens !== undefined) this.#release(tokens);
      iteration.inputs[i] = undefined;
    });
  }

  #release(tokens: readonly Token[]): void {
    for (const token of tokens) token?.drop(this.state.device);
  }

  #begin(frame: Frame): Iteration {
    const iteration = new Iteration(frame, frame.iterations.length, this.initial);
    frame.iterations.push(iteration);
    frame.deadExits = [];
    return iteration;
  }

  #push(unit: Unit, iteration: Iteration, dead: boolean): void {
    iteration.outstanding++;
    this.#queue.push({ unit, iteration, dead });
  }

  #step(
    ready: Ready,
    args: readonly Value[],
    capture: (ready: Ready, outputs: readonly Token[]) => void,
  ): void {
    const { unit, iteration, dead } = ready;
    const tokens = iteration.inputs[unit.index];
    iteration.inputs[unit.index] = undefined;
    let outputs: readonly Token[];
    try {
      outputs = dead ? [] : this.#evaluate(unit, tokens ?? [], args);
      for (const output of outputs) output?.retain();
    } catch (thrown) {
      if (tokens !== undefined) this.#release(tokens);
      throw atNode(thrown, unit.name);
    }
    if (tokens !== undefined) this.#release(tokens);
    try {
      capture(ready, outputs);
      this.#propagate(ready, outputs);
    } finally {
      this.#release(outputs);
    }
    iteration.outstanding--;
    this.#settle(iteration.frame);
  }

  #evaluate(unit: Unit, tokens: readonly Token[], args: readonly Value[]): readonly Token[] {
    const at = (i: number): Value => (tokens[i] ?? unit.inputs[i])!;
    switch (unit.kind) {
      case "feed":
        return [args[unit.feed]!];
      case "switch": {
        const chosen = this.#chosenBranch(unit, at(1));
        return Array.from({ length: unit.outputs }, (_, i) => (i === chosen ? at(0) : undefined));
      }
      case "merge": {
        const from = tokens.findIndex((token) => token !== undefined);
        return [tokens[from], Value.ofTensor(tensor("int32", [], Int32Array.of(from)))];
      }
      case "op": {
        const out = unit.kernel!.invoke(
          unit.inputs.map((_, i) => at(i)),
          this.state,
        );
        return out instanceof Value ? [out] : out;
      }
      default:
        return [at(0)];
    }
  }

  #chosenBranch(unit: Unit, selector: Value): number {
    const value = selector.tensor(this.state.device);
    if (value.dtype === "bool") return isTruthy(value) ? 1 : 0;
    return Math.min(Math.max(toNumber(value), 0), unit.outputs - 1);
  }

  #propagate({ unit, iteration, dead }: Ready, outputs: readonly Token[]): void {
    const { frame } = iteration;
    switch (unit.kind) {
      case "enter":
        this.#enter(unit, iteration, outputs[0]);
        return;
      case "exit":
        if (dead) {
          if (iteration === frame.last) frame.deadExits.push(unit);
        } else this.#send(unit, frame.parent!, outputs, false);
        return;
      case "next":
        if (!dead) this.#send(unit, this.#nextOf(iteration), outputs, false);
        return;
      default:
        this.#send(unit, iteration, outputs, dead);
    }
  }

  #enter(unit: Unit, iteration: Iteration, token: Token): void {
    let child = iteration.children.get(unit.frameName);
    if (child === undefined) {
      child = new Frame(unit.frameName, iteration, this.enters.get(unit.frameName)!);
      this.#begin(child);
      iteration.children.set(unit.frameName, child);
      iteration.outstanding++;
    }
    child.pendingEnters--;
    if (unit.isConstantEnter) {
      child.invariants.push({ unit, token: token?.retain() });
      for (const one of child.iterations) {
        if (one !== undefined) this.#send(unit, one, [token], token === undefined);
      }
    } else this.#send(unit, child.iterations[0]!, [token], token === undefined);
    this.#settle(child);
  }

  #nextOf(iteration: Iteration): Iteration {
    const { frame } = iteration;
    const known = frame.iterations[iteration.number + 1];
    if (known !== undefined) return known;
    this.state.checkpoint();
    const next = this.#begin(frame);
    for (const { unit, token } of frame.invariants) this.#send(unit, next, [token], token === undefined);
    return next;
  }

  /** 出力を先々に配る。 */
  #send(unit: Unit, iteration: Iteration, outputs: readonly Token[], dead: boolean): void {
    for (const { output, target, input } of unit.edges) {
      if (input < 0) this.#control(iteration, target, dead);
      else if (target.kind === "merge") {
        this.#deliverToMerge(iteration, target, input, outputs[output], unit.kind === "enter");
      } else this.#deliver(iteration, target, input, outputs[output]);
    }
  }

  #control(iteration: Iteration, target: Unit, dead: boolean): void {
    const { pending } = iteration;
    const { index } = target;
    if (target.kind === "merge") {
      pending[index]! -= 2;
      const allDead = iteration.dead[index]! >= target.inputs.length;
      if (pending[index] === 0) this.#push(target, iteration, false);
      else if (pending[index] === 1 && allDead) this.#push(target, iteration, true);
      return;
    }
    if (dead) iteration.dead[index]!++;
    if (--pending[index]! === 0) this.#push(target, iteration, iteration.dead[index]! > 0);
  }

  #deliver(iteration: Iteration, target: Unit, input: number, token: Token): void {
    const { index } = target;
    if (token === undefined) iteration.dead[index]!++;
    else this.#slotsOf(iteration, target)[input] = token.retain();
    if (--iteration.pending[index]! === 0) this.#push(target, iteration, iteration.dead[index]! > 0);
  }

  #deliverToMerge(iteration: Iteration, target: Unit, input: number, token: Token, fromEnter: boolean): void {
    const { index } = target;
    const { pending } = iteration;
    if (token !== undefined) {
      const before = pending[index]!;
      // 最初に届いた値だけを使う。
      if ((before & 1) === 0) return;
      this.#slotsOf(iteration, target)[input] = token.retain();
      pending[index] = before & ~1;
      if (before === 1) this.#push(target, iteration, false);
      return;
    }
    // 選ばれなかった枝の中のループでは、Enter の dead だけでループ全体が dead になる。
    const count = ++iteration.dead[index]!;
    if ((count >= target.inputs.length || fromEnter) && pending[index] === 1) {
      this.#push(target, iteration, true);
    }
  }

  #slotsOf(iteration: Iteration, { index, inputs }: Unit): Token[] {
    const known = iteration.inputs[index];
    if (known !== undefined) return known;
    const made = new Array<Token>(inputs.length).fill(undefined);
    iteration.inputs[index] = made;
    return made;
  }

  /** 終わった周を片付け、枠が終わっていれば親に知らせる。 */
  #settle(from: Frame): void {
    for (let frame: Frame | undefined = from; frame !== undefined; ) {
      const parent: Iteration | undefined = frame.parent;
      if (parent === undefined || frame.pendingEnters > 0) return;
      while (frame.iterations[frame.first]?.outstanding === 0) {
        this.#clearIteration(frame.iterations[frame.first]!);
        if (frame.first === frame.iterations.length - 1) break;
        frame.iterations[frame.first] = undefined;
        frame.first++;
      }
      if (frame.iterations[frame.first]!.outstanding > 0) return;
      parent.children.delete(frame.name);
      for (const { token } of frame.invariants) token?.drop(this.state.device);
      for (const unit of frame.deadExits) this.#send(unit, parent, [], true);
      parent.outstanding--;
      frame = parent.frame;
    }
  }
}
