import { invalidArgument, notFound, resourceExhausted, unimplemented } from "../base/status.ts";
import type { FunctionDef } from "../gen/tensorflow/core/framework/function_pb.ts";
import type { GraphDef } from "../gen/tensorflow/core/framework/graph_pb.ts";
import type { NodeDef } from "../gen/tensorflow/core/framework/node_def_pb.ts";
import { type Attr, type AttrMap, NodeAttrs } from "./attrs.ts";
import { type ArgDef, findOpDefinition, type OpDefinition } from "./op_defs.ts";

/** 関数呼び出しの入れ子の上限。 */
const MAX_CALL_DEPTH = 64;
/** 平らにした後のノード数の上限。入れ子の呼び出しは指数的に膨らみうるので、書かれた数に比例して許す。 */
const FREE_FLAT_NODES = 200_000;
const FLAT_NODES_PER_WRITTEN = 16;

/** 引数 1 つが束ねる線の数の上限。 */
const MAX_WIDTH = 2 ** 17;

/** ノードの出力 1 本。 */
export interface Endpoint {
  readonly node: FlatNode;
  readonly index: number;
}

/**
 * 平らなグラフのノード。関数の呼び出しは残っていない。
 *
 * 呼び出しの境目は値を通すだけの `_Alias` と、順序だけを持つ `NoOp` に置き換わる。
 * 関数の引数は {@link FlatGraph.args} の `_Argument` になる。
 */
export interface FlatNode {
  /** グラフの中で一意な通し番号。 */
  readonly id: number;
  /** `call/inner`。エラー文に出る。 */
  readonly name: string;
  readonly op: string;
  readonly attrs: NodeAttrs;
  /** 登録簿に無い演算は undefined。 */
  readonly definition: OpDefinition | undefined;
  readonly inputs: readonly Endpoint[];
  /** 先に終わっていなければならないノード。 */
  readonly controls: readonly FlatNode[];
  /** ここへ来るまでに展開した関数名。While などの本体を展開するときに循環と深さを見張る。 */
  readonly callers: readonly string[];
}

/** 1 つのグラフ、または関数 1 つの本体。 */
export interface FlatGraph {
  readonly nodes: readonly FlatNode[];
  /** 関数の引数(宣言順)。最上位のグラフでは空。 */
  readonly args: readonly FlatNode[];
  /** 関数の戻り値(宣言順)。最上位のグラフでは空。 */
  readonly results: readonly Endpoint[];
  /** 関数を呼んだら必ず走るべきノード。 */
  readonly sideEffects: readonly FlatNode[];
  /**
   * `x`, `x:0` をテンソルとして引く。
   *
   * @throws NOT_FOUND 無い名前、または範囲外の番号。
   */
  endpoint(tensorName: string): Endpoint;
  /** ノード名を引く(init op のように出力を持たないもの)。呼び出しなら「呼び出しが終わった」ことを表すノード。 */
  operation(name: string): FlatNode;
}

/** 作りかけのノード。入力は全部の名前がそろってから解く。 */
interface Draft {
  id: number;
  name: string;
  op: string;
  attrs: NodeAttrs;
  definition: OpDefinition | undefined;
  inputs: Endpoint[];
  controls: FlatNode[];
  callers: readonly string[];
}

/** 名前の見える範囲。最上位か、関数の本体 1 つ。 */
interface Scope {
  readonly prefix: string;
  readonly depth: number;
  readonly entries: Map<string, Entry>;
  /** 関数の中だけ。引数名 → その引数の列。 */
  readonly args: ReadonlyMap<string, readonly FlatNode[]>;
  /** 関数の中では `node:out:i`、最上位では `node:i`。 */
  readonly inFunction: boolean;
  /** 呼び出し側の制御入力を表す NoOp。 */
  readonly entry: FlatNode | undefined;
  /** 呼び出し元をたどった関数名。循環を見つける。 */
  readonly callers: readonly string[];
}

/** 名前 1 つが指すもの。 */
interface Entry {
  /** 出力の列。演算なら 1 つのノード、呼び出しなら戻り値ごとの別名。 */
  readonly node: FlatNode | undefined;
  readonly results: readonly FlatNode[];
  /** 名前つき出力 → 平らな番号の始まり。 */
  readonly offset: (outputName: string) => number | undefined;
  /** `^name` が待つもの。 */
  readonly done: FlatNode;
}

const callOps = new Set(["PartitionedCall", "StatefulPartitionedCall"]);

/** 引数 1 つが占める幅。 */
function widthOf(arg: ArgDef, attrs: NodeAttrs): number {
  if (arg.type.kind === "list") return attrs.wireTypes(arg.type.attr).length;
  if (arg.numberAttr === undefined) return 1;
  const width = attrs.int(arg.numberAttr);
  if (width >= 0 && width <= MAX_WIDTH) return width;
  throw invalidArgument(`Attr '${arg.numberAttr}' has value ${width}, which is not in [0, ${MAX_WIDTH}]`);
}

/** 引数の列を 1 本ずつの型(ワイヤの番号)に展開する。 */
export function wireTypesOf(args: readonly ArgDef[], attrs: NodeAttrs): number[] {
  const wires: number[] = [];
  for (const arg of args) {
    const { type } = arg;
    if (type.kind === "list") for (const wire of attrs.wireTypes(type.attr)) wires.push(wire);
    else {
      const wire = type.kind === "fixed" ? type.wire : attrs.wireType(type.attr);
      for (let left = widthOf(arg, attrs); left > 0; left--) wires.push(wire);
    }
  }
  return wires;
}

/** 引数の列を 1 本ずつの「参照か」に展開する。 */
export function refsOf(args: readonly ArgDef[], attrs: NodeAttrs): boolean[] {
  const refs: boolean[] = [];
  for (const arg of args) for (let left = widthOf(arg, attrs); left > 0; left--) refs.push(arg.ref);
  return refs;
}

function offsetsOf(definition: OpDefinition | undefined, attrs: NodeAttrs): Entry["offset"] {
  return (outputName) => {
    // 知らない演算は計画で断るので、ここでは番号 0 から数えておけばよい。
    if (definition === undefined) return 0;
    let at = 0;
    for (const arg of definition.outputs) {
      if (arg.name === outputName) return at;
      at += widthOf(arg, attrs);
    }
    return undefined;
  };
}

/** FunctionDef の宣言を OpDefinition の形に。 */
function signatureOf(args: NonNullable<FunctionDef["signature"]>["inputArg"]): ArgDef[] {
  return args.map((arg) => ({
    name: arg.name,
    ref: arg.isRef,
    numberAttr: arg.numberAttr === "" ? undefined : arg.numberAttr,
    type:
      arg.typeListAttr !== ""
        ? { kind: "list", attr: arg.typeListAttr }
        : arg.typeAttr !== ""
          ? { kind: "attr", attr: arg.typeAttr }
          : { kind: "fixed", wire: arg.type },
  }));
}

/** 関数の本体にある placeholder 属性を、呼び出し側の属性で埋める。 */
function substitute(attr: AttrMap, outer: AttrMap): AttrMap {
  let out: Record<string, Attr> | undefined;
  for (const [name, value] of Object.entries(attr)) {
    if (value.value.case !== "placeholder") continue;
    const given = outer[value.value.value];
    if (given === undefined) continue;
    out ??= { ...attr };
    out[name] = given;
  }
  return out ?? attr;
}

/** 関数の置き場。GraphDef の library を名前で引く。 */
export class FunctionLibrary {
  readonly #functions: ReadonlyMap<string, FunctionDef>;
  /** 平らにした後に許すノードの数。 */
  readonly maxFlatNodes: number;

  constructor(graph: GraphDef) {
    let written = graph.node.length;
    for (const { nodeDef } of graph.library?.function ?? []) written += nodeDef.length;
    this.maxFlatNodes = FREE_FLAT_NODES + FLAT_NODES_PER_WRITTEN * written;
    this.#functions = new Map(
      (graph.library?.function ?? []).map((definition) => [definition.signature?.name ?? "", definition]),
    );
  }

  has(name: string): boolean {
    return this.#functions.has(name);
  }

  /** @throws NOT_FOUND 無い関数。 */
  get(name: string): FunctionDef {
    const found = this.#functions.get(name);
    if (found === undefined) throw notFound(`Function ${name} is not defined.`);
    return found;
  }
}

/** 平らにする作業 1 回分。 */
class Flattener {
  readonly nodes: Draft[] = [];
  readonly #library: FunctionLibrary;
  /** 入力の名前解決は全ノードを作ってから。深い再帰を避けるため、呼び出しの展開も列で回す。 */
  readonly #unresolved: (() => void)[] = [];
  readonly #calls: (() => void)[] = [];

  constructor(library: FunctionLibrary) {
    this.#library = library;
  }

  finish(): void {
    for (let next = this.#calls.pop(); next !== undefined; next = this.#calls.pop()) next();
    for (const resolve of this.#unresolved) resolve();
  }

  node(name: string, op: string, attr: AttrMap = {}, callers: readonly string[] = []): Draft {
    const definition = findOpDefinition(op);
    const { maxFlatNodes } = this.#library;
    if (this.nodes.length >= maxFlatNodes) {
      throw resourceExhausted(`The graph expands to more than ${maxFlatNodes} nodes`);
    }
    const draft: Draft = {
      id: this.nodes.length,
      name,
      op,
      attrs: new NodeAttrs(name, attr, definition),
      definition,
      inputs: [],
      controls: [],
      callers,
    };
    this.nodes.push(draft);
    return draft;
  }

  /** NodeDef の列を範囲に加える。 */
  addNodes(scope: Scope, defs: readonly NodeDef[], outer: AttrMap): void {
    for (const def of defs) {
      if (scope.entries.has(def.name)) {
        throw invalidArgument(`Node '${scope.prefix}${def.name}' is not unique`);
      }
      const attr = substitute(def.attr, outer);
      const callee = this.#calleeOf(def, attr);
      scope.entries.set(
        def.name,
        callee === undefined ? this.#addOp(scope, def, attr) : this.#addCall(scope, def, attr, callee),
      );
    }
  }

  #calleeOf(def: NodeDef, attr: AttrMap): { name: string; attr: AttrMap } | undefined {
    if (callOps.has(def.op)) {
      const value = attr["f"]?.value;
      if (value?.case !== "func") throw invalidArgument(`NodeDef missing attr 'f' in node '${def.name}'`);
      return value.value;
    }
    // 演算名が関数名でもある古い書き方。属性がそのまま多相の引数になる。
    return this.#library.has(def.op) && findOpDefinition(def.op) === undefined
      ? { name: def.op, attr }
      : undefined;
  }

  #addOp(scope: Scope, def: NodeDef, attr: AttrMap): Entry {
    const node = this.node(scope.prefix + def.name, def.op, attr, scope.callers);
    this.#unresolved.push(() => {
      for (const input of def.input) {
        if (input.startsWith("^")) node.controls.push(this.#control(scope, input.slice(1), node.name));
        else node.inputs.push(this.resolve(scope, input, node.name));
      }
      // 関数の中の副作用は、呼び出し側の制御入力より後に起きる。
      if (scope.entry !== undefined && node.definition?.stateful !== false) node.controls.push(scope.entry);
    });
    return { node, results: [], offset: offsetsOf(node.definition, node.attrs), done: node };
  }

  #addCall(scope: Scope, def: NodeDef, attr: AttrMap, callee: { name: string; attr: AttrMap }): Entry {
    const name = scope.prefix + def.name;
    const entry = this.node(`${name}/input_control`, "NoOp");
    const done = this.node(`${name}/output_control`, "NoOp");
    const definition = this.#library.get(callee.name);
    if (scope.callers.includes(callee.name)) {
      throw invalidArgument(
        `Function ${callee.name} calls itself: ${[...scope.callers, callee.name].join(" -> ")}`,
      );
    }
    if (scope.depth >= MAX_CALL_DEPTH) {
      throw invalidArgument(
        `Function calls are nested deeper than ${MAX_CALL_DEPTH} levels at node '${name}'`,
      );
    }
    const inner = { ...attr, ...callee.attr };
    const signature = new NodeAttrs(name, inner, undefined);
    const outputs = signatureOf(definition.signature?.outputArg ?? []);
    const results = outputs.flatMap((arg) =>
      Array.from({ length: widthOf(arg, signature) }, () => this.node(name, "_Alias")),
    );
    const args = this.#arguments(definition, signature, name, "_Alias");
    this.#calls.push(() => {
      const body: Scope = {
        prefix: `${name}/`,
        depth: scope.depth + 1,
        entries: new Map(),
        args: args.byName,
        inFunction: true,
        entry,
        callers: [...scope.callers, callee.name],
      };
      this.addBody(body, definition, inner, outputs, signature, (endpoints, effects) => {
        results.forEach((node, i) => {
          node.inputs.push(endpoints[i]!);
        });
        done.controls.push(entry, ...effects);
      });
    });
    this.#unresolved.push(() => {
      let at = 0;
      for (const input of def.input) {
        if (input.startsWith("^")) {
          entry.controls.push(this.#control(scope, input.slice(1), name));
          continue;
        }
        const arg = args.all[at++];
        if (arg === undefined) throw invalidArgument(`Node '${name}' has too many inputs for ${callee.name}`);
        arg.inputs.push(this.resolve(scope, input, name));
      }
      if (at !== args.all.length) {
        throw invalidArgument(
          `Node '${name}' passes ${at} inputs to ${callee.name}, which takes ${args.all.length}`,
        );
      }
      if (scope.entry !== undefined) entry.controls.push(scope.entry);
    });
    const offset: Entry["offset"] = (outputName) => {
      // 呼び出しの出力は、OpDef では list 出力 1 つ(`output`)。関数名を演算とする書き方では宣言どおり。
      if (callOps.has(def.op)) return 0;
      let at2 = 0;
      for (const arg of outputs) {
        if (arg.name === outputName) return at2;
        at2 += widthOf(arg, signature);
      }
      return undefined;
    };
    return { node: undefined, results, offset, done };
  }

  /** 関数の引数を表すノードを作る。 */
  #arguments(definition: FunctionDef, attrs: NodeAttrs, name: string, op: "_Alias" | "_Argument") {
    const byName = new Map<string, Draft[]>();
    const all: Draft[] = [];
    for (const arg of signatureOf(definition.signature?.inputArg ?? [])) {
      const nodes = Array.from({ length: widthOf(arg, attrs) }, () => this.node(`${name}/${arg.name}`, op));
      byName.set(arg.name, nodes);
      all.push(...nodes);
    }
    return { byName, all };
  }

  /** 単独の関数(While の本体など)を `_Argument` つきで展開する。 */
  addFunction(name: string, attr: AttrMap, callers: readonly string[]) {
    const definition = this.#library.get(name);
    const signature = new NodeAttrs(name, attr, undefined);
    const outputs = signatureOf(definition.signature?.outputArg ?? []);
    const args = this.#arguments(definition, signature, name, "_Argument");
    const scope: Scope = {
      prefix: `${name}/`,
      depth: callers.length,
      entries: new Map(),
      args: args.byName,
      inFunction: true,
      entry: undefined,
      callers: [...callers, name],
    };
    const out: { args: FlatNode[]; results: Endpoint[]; effects: FlatNode[] } = {
      args: args.all,
      results: [],
      effects: [],
    };
    this.addBody(scope, definition, attr, outputs, signature, (endpoints, effects) => {
      out.results.push(...endpoints);
      out.effects.push(...effects);
    });
    return out;
  }

  addBody(
    scope: Scope,
    definition: FunctionDef,
    attr: AttrMap,
    outputs: readonly ArgDef[],
    signature: NodeAttrs,
    finish: (results: Endpoint[], effects: FlatNode[]) => void,
  ): void {
    const first = this.nodes.length;
    this.addNodes(scope, definition.nodeDef, attr);
    const last = this.nodes.length;
    this.#unresolved.push(() => {
      const results = outputs.flatMap((arg) => {
        const source = definition.ret[arg.name];
        if (source === undefined) {
          throw invalidArgument(`Return ${arg.name} missing in function ${scope.callers.at(-1)}`);
        }
        const width = widthOf(arg, signature);
        if (width === 1) return [this.resolve(scope, source, scope.prefix)];
        return Array.from({ length: width }, (_, i) => this.resolve(scope, `${source}:${i}`, scope.prefix));
      });
      const named = Object.values(definition.controlRet).map((node) =>
        this.#control(scope, node, scope.prefix),
      );
      // control_ret の無い古い関数では、副作用のある本体のノードすべて。
      const effects = named.length > 0 ? named : this.nodes.slice(first, last).filter(isEffect);
      finish(results, effects);
    });
  }

  /** 入力名を端点に。 */
  resolve(scope: Scope, input: string, user: string): Endpoint {
    const parts = input.split(":");
    const name = parts[0]!;
    const argument = scope.args.get(name);
    if (argument !== undefined) {
      const node = argument[Number(parts[1] ?? 0)];
      if (node === undefined) throw this.#badInput(input, user);
      return { node, index: 0 };
    }
    const entry = scope.entries.get(name);
    if (entry === undefined) throw this.#badInput(input, user);
    let index: number;
    if (scope.inFunction && parts.length > 1 && !/^\d+$/.test(parts[1]!)) {
      const offset = entry.offset(parts[1]!);
      if (offset === undefined) throw this.#badInput(input, user);
      index = offset + Number(parts[2] ?? 0);
    } else {
      index = Number(parts[1] ?? 0);
    }
    if (!Number.isInteger(index) || index < 0) throw this.#badInput(input, user);
    if (entry.node !== undefined) return { node: entry.node, index };
    const node = entry.results[index];
    if (node === undefined) throw this.#badInput(input, user);
    return { node, index: 0 };
  }

  #control(scope: Scope, name: string, user: string): FlatNode {
    const entry = scope.entries.get(name);
    if (entry === undefined) throw this.#badInput(`^${name}`, user);
    return entry.done;
  }

  #badInput(input: string, user: string): Error {
    return invalidArgument(`Node '${user}': Unknown input node '${input}'`);
  }
}

/** 副作用のある演算か、(中に副作用がありうる)入れ子の呼び出しの終わり。 */
function isEffect({ definition, op, name }: FlatNode): boolean {
  return definition?.stateful === true || (op === "NoOp" && name.endsWith("/output_control"));
}

/** 最上位のグラフを平らにする。 @throws INVALID_ARGUMENT 壊れた参照、循環する関数、深すぎる呼び出し。 */
export function flattenGraph(graph: GraphDef, library: FunctionLibrary): FlatGraph {
  const flattener = new Flattener(library);
  const scope: Scope = {
    prefix: "",
    depth: 0,
    entries: new Map(),
    args: new Map(),
    inFunction: false,
    entry: undefined,
    callers: [],
  };
  flattener.addNodes(scope, graph.node, {});
  flattener.finish();
  return {
    nodes: flattener.nodes,
    args: [],
    results: [],
    sideEffects: [],
    endpoint(tensorName) {
      const { name, index } = parseTensorName(tensorName);
      const entry = scope.entries.get(name);
      if (entry === undefined) {
        throw invalidArgument(
          `Tensor ${tensorName}, specified in either feed_devices or fetch_devices was not found in the Graph`,
        );
      }
      if (entry.node !== undefined) return { node: entry.node, index };
      const node = entry.results[index];
      if (node === undefined) throw notFound(`Node '${name}' has no output ${index}`);
      return { node, index: 0 };
    },
    operation(name) {
      const entry = scope.entries.get(name.replace(/^\^/, ""));
      if (entry === undefined) throw notFound(`Operation ${name} was not found in the graph`);
      return entry.done;
    },
  };
}

/**
 * 関数 1 つを平らにする(While, If, Case の本体)。
 *
 * @param callers ここへ来るまでの関数名。循環と深さを見張る。
 */
export function flattenFunction(
  library: FunctionLibrary,
  name: string,
  attr: AttrMap,
  callers: readonly string[],
): FlatGraph {
  if (callers.includes(name)) {
    throw invalidArgument(`Function ${name} calls itself: ${[...callers, name].join(" -> ")}`);
  }
  if (callers.length >= MAX_CALL_DEPTH) {
    throw invalidArgument(`Function calls are nested deeper than ${MAX_CALL_DEPTH} levels at ${name}`);
  }
  const flattener = new Flattener(library);
  const { args, results, effects } = flattener.addFunction(name, attr, callers);
  flattener.finish();
  const unnamed = (): never => {
    throw unimplemented("Tensors inside a function have no public names");
  };
  return {
    nodes: flattener.nodes,
    args,
    results,
    sideEffects: effects,
    endpoint: unnamed,
    operation: unnamed,
  };
}

/** `x:1` → { name: "x", index: 1 }。 */
export function parseTensorName(tensorName: string): { name: string; index: number } {
  const colon = tensorName.lastIndexOf(":");
  const suffix = tensorName.slice(colon + 1);
  return colon > 0 && /^\d+$/.test(suffix)
    ? { name: tensorName.slice(0, colon), index: Number(suffix) }
    : { name: tensorName, index: 0 };
}
