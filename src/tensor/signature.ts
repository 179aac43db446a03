import type { DType } from "./dtype.ts";
import type { Tensor } from "./tensor.ts";

/** 未知の次元は -1。階数そのものが未知なら shape は undefined。 */
export interface TensorInfo {
  /** グラフ上のテンソル名(`x:0`)。 */
  readonly name: string;
  /** メタデータに書かれた型の番号。値を持てない型や参照型のこともある。 */
  readonly wireDType: number;
  /** 値の型。値を持てないものは undefined。 */
  readonly dtype: DType | undefined;
  readonly shape: readonly number[] | undefined;
}

/** 名前つき入出力の組。Map の順は別名の昇順。 */
export interface Signature {
  readonly key: string;
  readonly methodName: string;
  readonly inputs: ReadonlyMap<string, TensorInfo>;
  readonly outputs: ReadonlyMap<string, TensorInfo>;
  /** 要求に無いときに使う入力(SignatureDef.defaults)。 */
  readonly defaults: ReadonlyMap<string, Tensor>;
}

/** シグネチャ名が空のときの既定。@see tensorflow/cc/saved_model/signature_constants.h */
export const DEFAULT_SIGNATURE = "serving_default";
export const PREDICT_METHOD = "tensorflow/serving/predict";
export const CLASSIFY_METHOD = "tensorflow/serving/classify";
export const REGRESS_METHOD = "tensorflow/serving/regress";
