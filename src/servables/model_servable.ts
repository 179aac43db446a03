import type { ServableId } from "../core/servable_id.ts";
import type { DType } from "../tensor/dtype.ts";
import type { Signature } from "../tensor/signature.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** 1 回の呼び出しに付いて回るもの。 */
export interface RunContext {
  /** 実行の期限(Clock.monotonicMs の時刻)。無ければ無期限。 */
  readonly deadlineMs?: number;
  /** 客が去った、または期限が来たら立つ。 */
  readonly signal?: AbortSignal;
  /** 走らせる直前に、合図の物を作らせずに聞く「もう去ったか」。無ければ `signal` を見る。走らせた後のことは言わない。 */
  readonly abortedBeforeRun?: boolean;
}

/**
 * 準備済みの実行。入力と出力は位置で対応し、名前を引かない。
 * 同期で結果が出るもの(小さいグラフ)は Promise を作らずに返してよい。
 */
export interface PreparedRun {
  /** 各 feed のグラフ上の型。undefined は値を持てない型。 */
  readonly feedDTypes: readonly (DType | undefined)[];
  /**
   * 入力がこの形(−1 は任意。ただし同じ軸どうしは等しい)なら、先頭の軸の行どうしは結果に関わらない。
   * そう言えなければ無い。
   */
  readonly rowShapes?: readonly (readonly number[])[] | undefined;
  /**
   * @param inputs feed と同じ順・同じ数。型は feedDTypes に等しい(呼び手が確かめる)。
   * @returns fetch と同じ順・同じ数。
   * @throws 演算のエラー(INVALID_ARGUMENT など)、UNAVAILABLE(待ち行列が満杯)、DEADLINE_EXCEEDED。
   */
  run(inputs: readonly Tensor[], context: RunContext): readonly Tensor[] | Promise<readonly Tensor[]>;
}

/** 読み込まれて提供できるモデル 1 版。service が見るのはこの面だけ。 */
export interface ModelServable {
  readonly id: ServableId;
  /** キー昇順。`__saved_model_init_op` のような内部のものも含む。 */
  readonly signatures: ReadonlyMap<string, Signature>;
  /** 読み込んだ版のディレクトリの SHA-256(16 進)。 */
  readonly sha256: string;
  /** 呼び出しが変数を書き換えうるか。 */
  readonly stateful: boolean;
  /**
   * テンソル名の組に対する実行を準備する。同じ組には同じものを返す(初回だけ計画を立てる)。
   *
   * @param feeds 与えるテンソル名(`x:0`)。
   * @param fetches 求めるテンソル名(`y:0`)。
   * @throws UNIMPLEMENTED 到達する演算に対応するカーネルが無い(演算・ノード名を文面に含む)。
   * @throws INVALID_ARGUMENT / NOT_FOUND グラフに無い名前。
   */
  prepare(feeds: readonly string[], fetches: readonly string[]): PreparedRun;
}
