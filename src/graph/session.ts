import {
  Code,
  failedPrecondition,
  invalidArgument,
  notFound,
  outOfRange,
  permissionDenied,
  StatusError,
  unavailable,
} from "../base/status.ts";
import type { GraphDef } from "../gen/tensorflow/core/framework/graph_pb.ts";
import type { MetaGraphDef } from "../gen/tensorflow/core/protobuf/meta_graph_pb.ts";
import { type DType, dtypeOfWire } from "../tensor/dtype.ts";
import type { Signature } from "../tensor/signature.ts";
import { type Tensor, tensor } from "../tensor/tensor.ts";
import type { Backend, WasmDevice } from "./backend.ts";
import { type ExecutionState, isExhausted } from "./execute.ts";
import {
  type Endpoint,
  type FlatGraph,
  type FlatNode,
  FunctionLibrary,
  flattenGraph,
  wireTypesOf,
} from "./flatten.ts";
import { loadOpRows } from "./ops/index.ts";
import type { SessionState } from "./ops/registry.ts";
import { importTable } from "./ops/table.ts";
import { assigningOps, Variable, variableOf } from "./ops/variable.ts";
import { buildPlan, DEVICE_WORK, type Plan, type PlanContext, type StepDescription } from "./plan.ts";
import {
  type CheckpointSource,
  findAssigned,
  findRestorations,
  reachableFrom,
  readKeyNames,
} from "./restore.ts";
import { rewrites } from "./rewrite.ts";
import { checkSavedValues } from "./saved_values.ts";
import { type EngineObject, Value } from "./value.ts";

/** 1 つの版が持つ計画の数の上限。出力の選び方ごとに計画が増えるのを止める。 */
const MAX_PLANS = 64;

const INIT_SIGNATURE = "__saved_model_init_op";
const variableOps: ReadonlySet<string> = new Set(["VarHandleOp", "VariableV2", "Variable"]);
const assetReadingOps = /^(InitializeTableFromTextFile(V2)?|ReadFile)$/;

/** 計画の元になるもの。savedmodel の読み手がこの形で渡す。 */
export interface GraphSource {
  readonly metaGraph: MetaGraphDef;
  readonly signatures: ReadonlyMap<string, Signature>;
  /** 資産のテンソル名(`asset_path:0`)→ パス。初期化の演算に与える。 */
  readonly assets: ReadonlyMap<string, string>;
  /** 資産のパス → 中身。グラフの演算が読めるのはここにあるものだけ。 */
  readonly assetFiles: ReadonlyMap<string, Uint8Array>;
  /** 読み込んだ後に一度走らせる演算の名前。 */
  readonly initOp: string | undefined;
  /** 変数の無いモデルには無い。 */
  readonly checkpoint: CheckpointSource | undefined;
}

export interface GraphSessionOptions {
  readonly backend: Backend;
  /** 重い読み込みの途中で、待っている要求に順番を譲る。 */
  readonly yieldTurn: () => Promise<void>;
  /** 中止されたら、次に譲る所で読み込みをやめる。 */
  readonly signal?: AbortSignal;
  /** どちらでも走れる演算を wasm に回す仕事量(積和の回数)。0 なら必ず回す。試験と計測のため。 */
  readonly deviceWork?: number;
  /** あとから求めた wasm の立ち上げか作り直しに失敗した、または重みが載りきらなかった。いまのまま動き続ける。 */
  readonly onDeviceFailure: (error: StatusError) => void;
  /** グラフが書き出した(tf.print)。無ければ捨てる。 */
  readonly onPrint?: (text: string) => void;
}

/** 準備済みの実行。 */
export interface PreparedGraph {
  /** 各 feed のグラフ上の型。undefined は値を持てない型。 */
  readonly feedDTypes: readonly (DType | undefined)[];
  /** 入力がこの形(−1 は任意)なら、先頭の軸の行どうしは結果に関わらない。そう言えなければ undefined。 */
  readonly rowShapes: readonly (readonly number[])[] | undefined;
  /**
   * 同期で走る。途中で別の実行が割り込むことはない。
   *
   * @param checkpoint 繰り返しの 1 周ごとに呼ばれる。打ち切るなら投げる。
   */
  run(inputs: readonly Tensor[], checkpoint?: () => void): Tensor[];
}

/** signature 1 つの、利用者に見せる計画。 */
export interface SignatureDescription {
  readonly signature: string;
  readonly steps: readonly StepDescription[];
  /** 走れない理由。走れるなら undefined。 */
  readonly unsupported: string | undefined;
}

const nothing = (): void => {};

/** 変数、表、資産。 */
class SessionStore implements SessionState {
  readonly #resources = new Map<string, EngineObject>();
  #assets: ReadonlyMap<string, Uint8Array>;

  constructor(
    assets: ReadonlyMap<string, Uint8Array>,
    readonly print: (text: string) => void,
  ) {
    this.#assets = assets;
  }

  resource<T extends EngineObject>(key: string, create: () => T): T {
    const known = this.#resources.get(key);
    if (known !== undefined) return known as T;
    const made = create();
    this.#resources.set(key, made);
    return made;
  }

  readAsset(path: string): Uint8Array {
    const found = this.#assets.get(path);
    if (found !== undefined) return found;
    if (path.startsWith("/")) {
      throw permissionDenied(`${path}; Only the assets of the model can be read`);
    }
    throw notFound(`${path}; No such file or directory`);
  }

  forgetAssets(): void {
    this.#assets = new Map();
  }

  dispose(device: WasmDevice | undefined): void {
    for (const resource of this.#resources.values()) {
      if (resource instanceof Variable) resource.dispose(device);
    }
    this.#resources.clear();
    this.forgetAssets();
  }
}

/** 名前を並べ替えて揃えた計画と、その feed の型。 */
interface PlanEntry {
  readonly plan: Plan;
  readonly feeds: readonly string[];
  readonly fetches: readonly string[];
  readonly feedDTypes: ReadonlyMap<string, DType | undefined>;
}

/**
 * 読み込まれたグラフ 1 つ。変数、表、計画、デバイスの記憶を持つ。
 *
 * @see tensorflow/cc/saved_model/loader.cc LoadSavedModel
 */
export class GraphSession {
  readonly #source: Pick<GraphSource, "signatures">;
  readonly #options: GraphSessionOptions;
  readonly #graph: FlatGraph;
  readonly #store: SessionStore;
  readonly #context: PlanContext;
  readonly #constants = new Set<Value>();
  readonly #plans = new Map<string, PlanEntry>();
  readonly #failures = new Map<string, unknown>();
  readonly #prepared = new Map<string, PreparedGraph>();
  readonly #state: { -readonly [K in keyof ExecutionState]: ExecutionState[K] };
  /** どの signature からも書き込まれない変数。読み込みが終わるまでは undefined(何も固定しない)。 */
  #assigned: ReadonlySet<Variable> | undefined;
  #disposed = false;

  private constructor(
    source: GraphSource,
    options: GraphSessionOptions,
    graph: FlatGraph,
    library: FunctionLibrary,
  ) {
    this.#source = { signatures: source.signatures };
    this.#options = options;
    this.#graph = graph;
    this.#store = new SessionStore(source.assetFiles, options.onPrint ?? nothing);
    this.#context = {
      library,
      session: this.#store,
      folded: new Map(),
      isFrozen: (variable) => this.#assigned !== undefined && !this.#assigned.has(variable),
      device: () => options.backend.device,
      deviceWork: options.deviceWork ?? DEVICE_WORK,
      keep: (value) => this.#constants.add(value),
    };
    this.#state = {
      // 実行の間だけ入る。持ち続けると、入れ替わった後の古い wasm が残ってしまう。
      device: undefined,
      checkpoint: nothing,
      wishDevice: () => this.#wishDevice(),
    };
  }

  /**
   * 変数を読み、初期化の演算を走らせ、signature ごとの計画を立て、必要なら wasm を立ち上げて重みを上げる。
   * 走れない signature があっても読み込みは成り立つ({@link describe} と {@link prepare} が理由を言う)。
   *
   * @throws INVALID_ARGUMENT 壊れたグラフ。
   * @throws FAILED_PRECONDITION 値として成り立たない定数。
   * @throws UNIMPLEMENTED 初期化の演算にカーネルが無い。
   * @throws チェックポイントの読み取りの失敗。
   */
  static async load(source: GraphSource, options: GraphSessionOptions): Promise<GraphSession> {
    const graphDef = source.metaGraph.graphDef;
    if (graphDef === undefined) throw invalidArgument("The MetaGraph has no graph");
    checkSavedValues(graphDef);
    await loadOpRows(opsOf(graphDef));
    const library = new FunctionLibrary(graphDef);
    const session = new GraphSession(source, options, flattenGraph(graphDef, library), library);
    try {
      await session.#initialize(source);
    } catch (thrown) {
      session.dispose();
      throw thrown;
    }
    return session;
  }

  /**
   * テンソル名の組に対する実行を準備する。同じ組には同じものを返す。
   *
   * @param feeds 与えるテンソル名。
   * @param fetches 求めるテンソル名。
   * @throws UNIMPLEMENTED 届く演算にカーネルが無い。文面に演算とノード、知れていれば signature の名前を含む。
   * @throws NOT_FOUND グラフに無い名前。
   */
  prepare(feeds: readonly string[], fetches: readonly string[]): PreparedGraph {
    if (this.#disposed) throw failedPrecondition("Session has been closed.");
    const key = `${feeds.join("\u0000")}\u0001${fetches.join("\u0000")}`;
    const known = this.#prepared.get(key);
    if (known !== undefined) return known;
    const entry = this.#entry(feeds, fetches);
    if (entry.plan.needsDevice && this.#options.backend.device === undefined) {
      this.#wishDevice();
      throw unavailable("The wasm backend that this graph needs is still starting; try again");
    }
    const prepared = this.#bind(entry, feeds, fetches);
    if (this.#prepared.size < MAX_PLANS * 4) this.#prepared.set(key, prepared);
    return prepared;
  }

  /** 実行が変数を書き換えうる。呼ばれた回数が結果を変えるので、勝手にまとめてはいけない。 */
  get writesVariables(): boolean {
    return this.#assigned !== undefined && this.#assigned.size > 0;
  }

  /** signature ごとに、どの演算がどのカーネルで走るか。 */
  describe(): SignatureDescription[] {
    const descriptions: SignatureDescription[] = [];
    for (const [signature, { inputs, outputs }] of this.#served()) {
      try {
        const { plan } = this.#entry(tensorNames(inputs), tensorNames(outputs));
        descriptions.push({ signature, steps: plan.steps, unsupported: undefined });
      } catch (thrown) {
        descriptions.push({ signature, steps: [], unsupported: StatusError.from(thrown).message });
      }
    }
    return descriptions;
  }

  /** 変数、定数、デバイスの記憶をすべて手放す。走っている実行は無い(同期なので)。 */
  dispose(): void {
    const { device } = this.#options.backend;
    this.#disposed = true;
    this.#prepared.clear();
    this.#plans.clear();
    this.#failures.clear();
    this.#store.dispose(device);
    for (const value of this.#constants) value.releaseDevice(device);
    this.#constants.clear();
    this.#context.folded.clear();
    const { backend, yieldTurn, onDeviceFailure } = this.#options;
    backend.shrink(yieldTurn).catch((error: unknown) => onDeviceFailure(StatusError.from(error)));
  }

  async #initialize(source: GraphSource): Promise<void> {
    await this.#pause();
    const signatures = [...this.#served()].map(([, signature]) => signature);
    const roots = this.#rootsOf(signatures);
    const init = source.initOp === undefined ? undefined : this.#graph.operation(nodeName(source.initOp));
    const needed = reachableFrom(init === undefined ? roots : [...roots, init]);
    await this.#restore(source, needed);
    if (init !== undefined) this.#runInit(source, init);
    const assigned = findAssigned(roots, (node) => this.#mayAssign(node));
    this.#assigned = new Set([...assigned].flatMap((node) => this.#variableAt(node) ?? []));
    if (![...needed].some(({ op }) => assetReadingOps.test(op)) || roots.length === 0) {
      this.#store.forgetAssets();
    }
    await this.#planSignatures(signatures);
  }

  /** 要求から呼べる signature。初期化の印と、出力の無いものは除く。 */
  *#served(): Iterable<[string, Signature]> {
    for (const [key, signature] of this.#source.signatures) {
      if (key !== INIT_SIGNATURE && signature.outputs.size > 0) yield [key, signature];
    }
  }

  /** signature の出力を出すノード。名前が壊れているものは、計画のときに断る。 */
  #rootsOf(signatures: readonly Signature[]): FlatNode[] {
    return signatures.flatMap(({ outputs }) =>
      tensorNames(outputs).flatMap((name) => {
        try {
          return [this.#graph.endpoint(name).node];
        } catch (thrown) {
          if (thrown instanceof StatusError) return [];
          throw thrown;
        }
      }),
    );
  }

  #variableAt(node: FlatNode): Variable | undefined {
    return variableOps.has(node.op) ? variableOf(node, this.#store) : undefined;
  }

  /** 届く変数だけを、チェックポイントから 1 つずつ読む。鍵の無い変数は初期化されないまま残る。 */
  async #restore({ checkpoint, metaGraph }: GraphSource, needed: ReadonlySet<FlatNode>): Promise<void> {
    if (checkpoint === undefined) return;
    const found = findRestorations(this.#graph, metaGraph.saverDef?.restoreOpName);
    let keyNames: ((name: string) => string | undefined) | undefined;
    for (const node of needed) {
      const variable = this.#variableAt(node);
      if (variable === undefined || variable.value !== undefined) continue;
      let source = found.variables.get(node);
      if (source === undefined) {
        keyNames ??= await readKeyNames(checkpoint);
        const key = keyNames(variable.name);
        source = key === undefined ? undefined : { key, slice: "" };
      }
      if (source === undefined || !checkpoint.entries.has(source.key)) continue;
      const value = await checkpoint.read(source.key, source.slice);
      variable.assign(Value.ofTensor(value), this.#options.backend.device);
      await this.#pause();
    }
    for (const [node, [keys, values]] of found.tables) {
      if (!needed.has(node) || !checkpoint.entries.has(keys.key)) continue;
      importTable(
        { name: node.name, op: node.op, attrs: node.attrs, session: this.#store },
        await checkpoint.read(keys.key, keys.slice),
        await checkpoint.read(values.key, values.slice),
      );
    }
  }

  #runInit({ assets }: GraphSource, init: FlatNode): void {
    const feeds = [...assets].map(([name, path]) => ({ endpoint: this.#graph.endpoint(name), path }));
    const unique = new Map(feeds.map((feed) => [`${feed.endpoint.node.id}:${feed.endpoint.index}`, feed]));
    const plan = buildPlan(this.#context, {
      feeds: [...unique.values()].map(({ endpoint }) => endpoint),
      fetches: [],
      targets: [init],
    });
    const encoder = new TextEncoder();
    const args = [...unique.values()].map(({ path }) =>
      Value.ofTensor(tensor("string", [], [encoder.encode(path)])),
    );
    this.#state.device = this.#options.backend.device;
    try {
      plan.executor.run(args, this.#state);
    } finally {
      this.#state.device = undefined;
    }
  }

  /** 枝や本体の関数が、渡された変数に書き込みうるか。 */
  #mayAssign(node: FlatNode): boolean {
    if (!/^(If|Case|While)$/.test(node.op)) return false;
    const { library } = this.#context;
    const seen = new Set<string>();
    const queue = functionsOf(node.attrs.values);
    for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
      if (seen.has(name) || !library.has(name)) continue;
      seen.add(name);
      for (const { op, attr } of library.get(name).nodeDef) {
        if (assigningOps.has(op)) return true;
        queue.push(op, ...functionsOf(attr));
      }
    }
    return false;
  }

  async #planSignatures(signatures: readonly Signature[]): Promise<void> {
    const plans: Plan[] = [];
    for (const { inputs, outputs } of signatures) {
      await this.#pause();
      try {
        plans.push(this.#entry(tensorNames(inputs), tensorNames(outputs)).plan);
      } catch (thrown) {
        // 理由は failures に残り、prepare と describe が同じものを言う。
        if (!(thrown instanceof StatusError)) throw thrown;
      }
    }
    if (!plans.some(({ needsDevice }) => needsDevice)) return;
    await this.#options.backend.boot(this.#options.yieldTurn);
    await this.#upload(plans);
  }

  /** デバイスだけが使う重みを先に上げ、ホストの写しを手放す。 */
  async #upload(plans: readonly Plan[]): Promise<void> {
    for (const value of new Set(plans.flatMap(({ deviceConstants }) => deviceConstants))) {
      // 譲っている間に wasm が入れ替わることがある。
      const device = this.#options.backend.device!;
      if (value.resident === undefined) {
        try {
          value.attach(await device.uploadInSlices(value.tensor(device), () => this.#pause()));
        } catch (thrown) {
          if (!isExhausted(thrown)) throw thrown;
          // 載りきらない重みはホストに残る。遅くても、読み込めないよりよい。
          value.staysOnHost = true;
          this.#options.onDeviceFailure(StatusError.from(thrown));
          continue;
        }
        await this.#pause();
      }
      value.dropHost();
    }
  }

  async #pause(): Promise<void> {
    await this.#options.yieldTurn();
    this.#options.signal?.throwIfAborted();
  }

  #wishDevice(): void {
    const { backend, onDeviceFailure } = this.#options;
    backend.boot(this.#options.yieldTurn).catch((error: unknown) => onDeviceFailure(StatusError.from(error)));
  }

  /** 並びを問わずに引いた計画。 */
  #entry(feeds: readonly string[], fetches: readonly string[]): PlanEntry {
    const [sortedFeeds, sortedFetches] = [sortUnique(feeds), sortUnique(fetches)];
    const key = `${sortedFeeds.join("\u0000")}\u0001${sortedFetches.join("\u0000")}`;
    const known = this.#plans.get(key) ?? this.#superset(sortedFeeds, sortedFetches);
    if (known !== undefined) return known;
    if (this.#failures.has(key)) throw this.#failures.get(key);
    try {
      const entry = this.#build(sortedFeeds, sortedFetches);
      this.#plans.set(key, entry);
      return entry;
    } catch (thrown) {
      const error = this.#explain(thrown, sortedFeeds, sortedFetches);
      if (this.#failures.size < MAX_PLANS) this.#failures.set(key, error);
      throw error;
    }
  }

  /** 計画が増えすぎたら、求めるものをすべて含む計画を流用する。 */
  #superset(feeds: readonly string[], fetches: readonly string[]): PlanEntry | undefined {
    if (this.#plans.size < MAX_PLANS) return undefined;
    return this.#plans
      .values()
      .find(
        (entry) =>
          entry.feeds.join() === feeds.join() && fetches.every((name) => entry.fetches.includes(name)),
      );
  }

  #build(feeds: readonly string[], fetches: readonly string[]): PlanEntry {
    const [endpoints, wanted] = [feeds, fetches].map((names) =>
      names.map((name) => existing(this.#graph.endpoint(name))),
    ) as [Endpoint[], Endpoint[]];
    const plan = buildPlan(this.#context, { feeds: endpoints, fetches: wanted, targets: [], asksRows: true });
    return {
      plan,
      feeds,
      fetches,
      feedDTypes: new Map(feeds.map((name, i) => [name, dtypeAt(endpoints[i]!)])),
    };
  }

  /** 未対応の失敗に、その組を使う signature の名前を添える。 */
  #explain(thrown: unknown, feeds: readonly string[], fetches: readonly string[]): unknown {
    if (!(thrown instanceof StatusError) || thrown.code !== Code.UNIMPLEMENTED) return thrown;
    const users = [...this.#served()].filter(([, { inputs, outputs }]) => {
      const given = tensorNames(outputs);
      return (
        sortUnique(tensorNames(inputs)).join() === feeds.join() &&
        fetches.every((name) => given.includes(name))
      );
    });
    if (users.length === 0) return thrown;
    const names = users.map(([key]) => `'${key}'`).join(", ");
    return new StatusError(thrown.code, `Signature ${names} cannot run: ${thrown.message}`, thrown.cause);
  }

  #bind(
    { plan, feeds: ownFeeds, fetches: ownFetches, feedDTypes }: PlanEntry,
    feeds: readonly string[],
    fetches: readonly string[],
  ): PreparedGraph {
    const { executor } = plan;
    const state = this.#state;
    const { backend } = this.#options;
    const order = ownFeeds.map((name) => feeds.indexOf(name));
    const picks = fetches.map((name) => ownFetches.indexOf(name));
    return {
      feedDTypes: feeds.map((name) => feedDTypes.get(name)),
      rowShapes: plan.rowShapes && feeds.map((name) => plan.rowShapes![ownFeeds.indexOf(name)]!),
      run: (inputs, checkpoint = nothing) => {
        if (this.#disposed) throw failedPrecondition("Session has been closed.");
        const { device } = backend;
        state.device = device;
        state.checkpoint = checkpoint;
        const args = new Array<Value>(order.length);
        for (let i = 0; i < order.length; i++) args[i] = Value.ofTensor(inputs[order[i]!]!);
        let results: readonly Value[] = [];
        try {
          results = executor.run(args, state);
          for (let i = 0; i < results.length; i++) results[i]!.retain();
          const out = new Array<Tensor>(picks.length);
          for (let i = 0; i < picks.length; i++) out[i] = results[picks[i]!]!.tensor(device);
          return out;
        } finally {
          state.device = undefined;
          for (let i = 0; i < results.length; i++) results[i]!.drop(device);
        }
      },
    };
  }
}

/** グラフと関数の中の演算。 */
/** グラフの演算と、計画がそれらを書き直した先の演算。 */
function opsOf({ node, library }: GraphDef): Set<string> {
  const ops = new Set<string>();
  const bodies = [node, ...(library?.function ?? []).map(({ nodeDef }) => nodeDef)];
  for (const body of bodies) for (const { op } of body) ops.add(op);
  for (const op of [...ops]) for (const other of rewrites.get(op)?.into ?? []) ops.add(other);
  return ops;
}

function tensorNames(infos: Signature["inputs"]): string[] {
  return Array.from(infos.values(), ({ name }) => name);
}

/**
 * 値のある端か。
 *
 * @throws OUT_OF_RANGE 出力の無い演算、または範囲外の番号。
 * @see tensorflow/core/graph/graph.cc Graph::IsValidOutputTensor
 */
function existing(endpoint: Endpoint): Endpoint {
  const { node, index } = endpoint;
  if (node.definition === undefined) return endpoint;
  const count = wireTypesOf(node.definition.outputs, node.attrs).length;
  if (index < count) return endpoint;
  throw outOfRange(
    `Node '${node.name}' (type: '${node.op}', num of outputs: ${count}) does not have output ${index}`,
  );
}

function sortUnique(names: readonly string[]): string[] {
  return [...new Set(names)].sort();
}

/** 演算の名前として書かれたもの。`NoOp:0` のように出力の番号が付くこともある。 */
function nodeName(name: string): string {
  return name.replace(/:\d+$/, "");
}

function dtypeAt({ node, index }: Endpoint): DType | undefined {
  if (node.op === "_Alias") return undefined;
  const wire =
    node.definition === undefined ? undefined : wireTypesOf(node.definition.outputs, node.attrs)[index];
  return wire === undefined ? undefined : dtypeOfWire(wire);
}

function functionsOf(
  attrs: Readonly<Record<string, { readonly value: { readonly case?: string; readonly value?: unknown } }>>,
): string[] {
  return Object.values(attrs).flatMap(({ value }) => {
    if (value.case === "func") return [(value.value as { name: string }).name];
    if (value.case === "list")
      return (value.value as { func: { name: string }[] }).func.map(({ name }) => name);
    return [];
  });
}
