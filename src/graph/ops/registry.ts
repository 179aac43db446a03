import type { DType } from "../../tensor/dtype.ts";
import type { Shape, Tensor } from "../../tensor/tensor.ts";
import type { Device, DeviceTensor, EngineObject, Value } from "../value.ts";

/**
 * # 演算の表
 *
 * 1 演算 = 1 行({@link OpRow})。族ごとのファイルが `export const xxxOps: readonly OpRow[]` を出し、
 * `ops/index.ts` がまとめる。行は最大 3 種の**組み立て関数**を持つ。組み立て関数は計画時に 1 回だけ呼ばれ、
 * 属性をそこで読み切り、実行時に呼ばれる閉包(カーネル)を返す。カーネルの中で属性や名前を引いてはならない。
 *
 * - `host`: ホストの {@link Tensor} → {@link Tensor}。入力の `data` は書き換えない。int64 は BigInt64Array、
 *   half と bfloat16 は「その精度で表せる値だけを入れた Float32Array」(結果は `kernel_util.ts` の `roundTo` で丸める)。
 *   入力の `shape`/`data` をそのまま出力に使ってよい(値は不変)。
 * - `device`: {@link DeviceTensor} → {@link DeviceTensor}。tfjs-wasm のカーネルを `device.call(名前, …)` で呼ぶ。
 *   tfjs をこの族のファイルから import してはならない(起動を遅くする)。中間のテンソルは自動で解放される。
 * - `raw`: {@link Value} → {@link Value}。resource、variant、制御フロー、TensorList など。値を素通しできる。
 *
 * wasm に無い tfjs カーネル(Einsum, ComplexAbs …)を `device.call` すると、自動で tfjs-cpu に移して走り、結果は
 * デバイスに戻る(写す手間がかかるので、よく使うものは組み替えるか `host` を書く)。
 *
 * ## 置き場所の決まり方(plan.ts、計画時)
 *
 * 1. `raw` があれば raw。
 * 2. `device` の組み立て関数が無い、undefined を返した、または `host` に指定されていない入力の dtype が
 *    デバイスに載らない(float, int32, bool 以外) → host。出力の dtype は制限しない(デバイスのカーネルは
 *    ホストの {@link Tensor} を返してもよい。例: int64 の ArgMax)。
 * 3. 既定では、float を 1 つも入力に持たない演算は host(整数の形状計算、bool、添字)。
 * 4. `host` が無ければ device。
 * 5. 両方あれば「どちらでも」になり、実行時に入力の居場所と仕事量だけで選ぶ(名前は引かない):
 *    どれかの(ホスト指定でない)入力がデバイスにあれば device、そうでなければ `work(inputs)` が閾値以上のとき device。
 *    `work` の既定は最大の入力の要素数。単位はおおよそ「ホストでの積和の回数」。
 *
 * host しか無い重い演算は正しいが遅い。device しか無い演算、大きな定数の重み、`heavy` の演算を含むモデルは、
 * 読み込みのときに wasm を立ち上げる。ほかのモデルは、とても大きな仕事に出会うまで tfjs を読み込みもしない。
 *
 * ## 定数畳み込み
 *
 * 入力がすべて定数で、`stateful` でなく、`foldable !== false` の行の `host` は計画時に 1 回だけ走る。
 * `raw` の行は `foldable: true` と明記したものだけ。
 *
 * ## 例
 *
 * ```ts
 * export const exampleOps: readonly OpRow[] = [
 *   {
 *     op: "Transpose",
 *     host: () => ([x, perm]) => transpose(x!, toNumbers(perm!)),
 *     device: {
 *       hostInputs: [1],
 *       build: () => (inputs, device) =>
 *         device.call("Transpose", { x: inputs.device(0) }, { perm: toNumbers(inputs.host(1)) }),
 *     },
 *   },
 *   {
 *     op: "LeakyRelu",
 *     host: (node) => {
 *       const alpha = node.attrs.float("alpha");
 *       return ([x]) => mapUnary(x!, (v) => (v > 0 ? v : v * alpha));
 *     },
 *   },
 *   { op: "Split", host: (node) => { const n = node.attrs.int("num_split"); return (inputs) => [ …n 個 ]; } },
 * ];
 * ```
 *
 * ## エラー
 *
 * 入力が悪ければ base/status.ts の `invalidArgument("…")` などを投げる(文面は TF のもの)。ノード名は execute.ts が付ける。
 * 属性の組が未対応なら組み立て関数で `unimplemented("…")` を投げる。計画時にノード名とともに利用者に届き、
 * そのノードに届くシグネチャだけが使えなくなる。
 * 実行時の値で大きさが決まる出力は、必ず `kernel_util.ts` の `newTensor`/`checkSize` で確保する(巨大な形を断る)。
 */
export interface OpRow {
  /** TF の演算名。 */
  readonly op: string;
  /** 副作用がある、または呼ぶたびに結果が変わる。畳み込まず、到達すれば必ず順に走る。 */
  readonly stateful?: boolean;
  /** false なら定数だけが入力でも計画時に走らせない。 */
  readonly foldable?: boolean;
  readonly host?: (node: OpNode) => HostKernel;
  readonly device?: DeviceRow;
  readonly raw?: (node: OpNode) => RawKernel;
}

/** `device` 側の宣言。 */
export interface DeviceRow {
  /** ホストに置いたまま渡す入力の番号(軸、形、添字)。負の数は末尾から数える。`"rest"` は 1 番以降すべて。 */
  readonly hostInputs?: readonly number[] | "rest";
  /** 行を引くだけの表である入力の番号。それだけに使われる定数は、どれだけ大きくてもデバイスに上げない。 */
  readonly tables?: readonly number[];
  /** true なら、float の入力が無くても device を候補にする。 */
  readonly anyDType?: boolean;
  /** true なら、重みが小さくても起動時に wasm を立ち上げる(畳み込みのように、入力の広さで重くなるもの)。 */
  readonly heavy?: boolean;
  /** 「どちらでも」のときの仕事量の見積もり。既定は最大の入力の要素数。 */
  readonly work?: (inputs: readonly Value[]) => number;
  /** @returns この属性の組をデバイスで扱えなければ undefined。 */
  readonly build: (node: OpNode) => DeviceKernel | undefined;
}

/** ホストのカーネル。出力が 1 本ならテンソル、それ以外は出力順の配列を返す。 */
export type HostKernel = (inputs: readonly Tensor[]) => Tensor | readonly Tensor[];

/** デバイスのカーネル。要素ごとにホストの Tensor を混ぜて返してよい。 */
export type DeviceKernel = (
  inputs: DeviceKernelInputs,
  device: Device,
) => DeviceTensor | Tensor | readonly (DeviceTensor | Tensor)[];

/** デバイスのカーネルから見た入力。番号は 0 始まり。 */
export interface DeviceKernelInputs {
  readonly count: number;
  /** デバイスのテンソルとして。ホストにあれば上げる(定数なら一度だけ)。 */
  device(index: number): DeviceTensor;
  /** ホストのテンソルとして。 */
  host(index: number): Tensor;
  /** どちらにも写さずに形だけ見る。 */
  shape(index: number): Shape;
}

/** 値のカーネル。入力の Value をそのまま返してよい。 */
export type RawKernel = (inputs: readonly Value[], run: RunState) => Value | readonly Value[];

/** 1 回の実行に付いて回るもの。 */
export interface RunState {
  /** wasm が立ち上がっていなければ undefined。`value.tensor(run.device)` の形で使う。 */
  readonly device: Device | undefined;
  /**
   * 長い繰り返しが 1 周ごとに呼ぶ。
   *
   * @throws DEADLINE_EXCEEDED, CANCELLED 打ち切るべきとき。
   */
  checkpoint(): void;
}

/** 組み立て関数に渡される、計画時のノード。 */
export interface OpNode {
  /** 平らにした後の名前(`call/inner`)。 */
  readonly name: string;
  readonly op: string;
  readonly attrs: Attrs;
  /** データ入力ごとの dtype。resource, variant と、決められないものは undefined。 */
  readonly inputTypes: readonly (DType | undefined)[];
  /** 出力ごとの dtype。resource と variant は undefined。 */
  readonly outputTypes: readonly (DType | undefined)[];
  /** 計画時に分かっている入力の値。定数でなければ undefined。 */
  constant(index: number): Tensor | undefined;
  /** このモデル 1 版の間だけ生きるもの(変数、表)。 */
  readonly session: SessionState;
  /**
   * func 属性の関数を部分計画にする(While, If, Case, MapDefun …)。
   *
   * @param attr func 型(または list(func))の属性名。
   * @param index list(func) のときの番号。
   */
  subgraph(attr: string, index?: number): Subgraph;
}

/** 関数 1 つの計画。 */
export interface Subgraph {
  /** 引数と戻り値は関数の宣言順。受け取った Value はそのまま返ることもある。 */
  run(args: readonly Value[], run: RunState): readonly Value[];
}

/** モデル 1 版の状態。 */
export interface SessionState {
  /** container と名前で一意な resource を引く。無ければ作る。 */
  resource<T extends EngineObject>(key: string, create: () => T): T;
  /**
   * モデルの assets にあるファイルを読む。
   *
   * @param path グラフに現れたパス。assets の外は断る。
   * @throws PERMISSION_DENIED assets の外。
   * @throws NOT_FOUND 無いファイル。
   */
  readAsset(path: string): Uint8Array;
  /** グラフが書き出したもの(tf.print)。 */
  print(text: string): void;
}

/**
 * 属性の読み口。省かれた属性は OpDef の既定値で埋まる。
 * どれも、属性も既定値も無いか種類が違えば INVALID_ARGUMENT を投げる。
 */
export interface Attrs {
  has(name: string): boolean;
  /** int64 を number で。2^53 を超えれば INVALID_ARGUMENT。 */
  int(name: string): number;
  /** int64 をそのまま。 */
  bigint(name: string): bigint;
  float(name: string): number;
  bool(name: string): boolean;
  /** バイト列を UTF-8 の文字列として。 */
  string(name: string): string;
  bytes(name: string): Uint8Array;
  /** types.proto の番号をそのまま。 */
  wireType(name: string): number;
  /** 値を持てない型(resource, variant)は undefined。 */
  dtype(name: string): DType | undefined;
  /** 未知の次元は -1。階数が未知なら undefined。 */
  shape(name: string): number[] | undefined;
  tensor(name: string): Tensor;
  ints(name: string): number[];
  /** list(int) をそのまま(2^53 を超えるハッシュの鍵など)。 */
  bigints(name: string): bigint[];
  floats(name: string): number[];
  bools(name: string): boolean[];
  strings(name: string): string[];
  bytesList(name: string): Uint8Array[];
  dtypes(name: string): (DType | undefined)[];
  shapes(name: string): (number[] | undefined)[];
  /** func 属性の関数名。 */
  func(name: string): string;
  funcs(name: string): string[];
}
