/** REST の `:predict` などの語。 */
export type Verb = "predict" | "classify" | "regress";

/** シグネチャの 1 つの入力か出力。 */
export interface TensorSpec {
  readonly alias: string;
  /** `float`、`int64` など。TensorFlow の名前から `DT_` を取り、小文字にしたもの。 */
  readonly dtype: string;
  /** 長さの分からない次元は -1。階数も分からなければ undefined。 */
  readonly shape: readonly number[] | undefined;
  /** 疎なテンソルなど、いくつかのテンソルから成るもの。 */
  readonly composite: boolean;
}

export interface SignatureSpec {
  readonly key: string;
  readonly verb: Verb;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
}

interface TensorInfoJson {
  /** 1 つのテンソルでないときは無い。 */
  readonly name?: string;
  readonly dtype: string;
  readonly tensor_shape?: {
    readonly dim?: readonly { readonly size: string }[];
    readonly unknown_rank?: boolean;
  };
}

interface SignatureJson {
  readonly inputs?: Readonly<Record<string, TensorInfoJson>>;
  readonly outputs?: Readonly<Record<string, TensorInfoJson>>;
  readonly method_name?: string;
}

/** `GET /v1/models/NAME/metadata` の答え。 */
export interface MetadataJson {
  readonly model_spec: { readonly name: string; readonly version: string };
  readonly metadata: {
    readonly signature_def: { readonly signature_def: Readonly<Record<string, SignatureJson>> };
  };
}

const verbs: ReadonlyMap<string, Verb> = new Map([
  ["tensorflow/serving/predict", "predict"],
  ["tensorflow/serving/classify", "classify"],
  ["tensorflow/serving/regress", "regress"],
]);

function readTensors(tensors: Readonly<Record<string, TensorInfoJson>> = {}): TensorSpec[] {
  return Object.entries(tensors)
    .map(([alias, { name = "", dtype, tensor_shape: shape }]) => ({
      alias,
      dtype: dtype.replace(/^DT_|_REF$/g, "").toLowerCase(),
      shape: shape?.unknown_rank ? undefined : (shape?.dim ?? []).map(({ size }) => Number(size)),
      composite: name === "",
    }))
    .sort((a, b) => (a.alias < b.alias ? -1 : 1));
}

/** 呼べるシグネチャ。既定のものを先頭に、あとは名前の順。メソッド名の無い内部のものは除く。 */
export function readSignatures({ metadata }: MetadataJson): SignatureSpec[] {
  const order = (key: string): string => (key === "serving_default" ? "" : key);
  return Object.entries(metadata.signature_def.signature_def)
    .flatMap(([key, { inputs, outputs, method_name: method = "" }]) => {
      const verb = verbs.get(method);
      if (verb === undefined) return [];
      return [{ key, verb, inputs: readTensors(inputs), outputs: readTensors(outputs) }];
    })
    .sort((a, b) => (order(a.key) < order(b.key) ? -1 : 1));
}
