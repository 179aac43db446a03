import { invalidArgument } from "../base/status.ts";
import { CLASSIFY_METHOD, REGRESS_METHOD, type Signature, type TensorInfo } from "../tensor/signature.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { formatSignature } from "./signature_text.ts";

/** 分類の 1 列。モデルが片方しか出さなければ、もう片方は空文字列か 0。 */
export interface LabeledScore {
  readonly label: string;
  readonly score: number;
}

/** 例ごとの、列の並び。 */
export type Classifications = readonly (readonly LabeledScore[])[];

/** 例ごとの値。 */
export type Regressions = Float32Array;

/** テンソル名 → 実行の結果。 */
type Fetched = ReadonlyMap<string, Tensor>;

/**
 * Example を入れて分類か回帰を得る、シグネチャの読み方。検査を済ませたもの。
 */
export interface InferenceHead<T> {
  /** Example のバイト列を入れるところ。 */
  readonly input: TensorInfo;
  /** 求めるテンソル名。 */
  readonly outputs: readonly string[];
  /** @throws INVALID_ARGUMENT 形、型、行数が約束と違う。 */
  read(fetched: Fetched, exampleCount: number): T;
}

const decoder = new TextDecoder();
const shapeText = ({ shape }: Tensor): string => `[${shape.join(",")}]`;
const typeText = ({ dtype }: Tensor): string => `DT_${dtype.toUpperCase()}`;

function checkMethod(kind: string, wanted: string, { methodName }: Signature): void {
  if (methodName === wanted) return;
  throw invalidArgument(`Expected ${kind} signature method_name to be ${wanted}. Was: ${methodName}`);
}

/** 分類の出力 1 つの形・型・行数。 */
function checkColumns(name: "classes" | "scores", value: Tensor, exampleCount: number): void {
  const wanted = name === "classes" ? "string" : "float";
  if (value.shape.length !== 2) {
    throw invalidArgument(`Expected Tensor shape: [batch_size num_classes] but got ${shapeText(value)}`);
  }
  if (value.dtype !== wanted) {
    throw invalidArgument(`Expected ${name} Tensor of DT_${wanted.toUpperCase()}. Got: ${typeText(value)}`);
  }
  if (value.shape[0] !== exampleCount) {
    throw invalidArgument(`Expected ${name} output batch size of ${exampleCount}. Got: ${value.shape[0]}`);
  }
}

function readClassifications(
  classes: Tensor | undefined,
  scores: Tensor | undefined,
  exampleCount: number,
): Classifications {
  if (classes !== undefined) checkColumns("classes", classes, exampleCount);
  if (scores !== undefined) checkColumns("scores", scores, exampleCount);
  if (classes !== undefined && scores !== undefined && classes.shape[1] !== scores.shape[1]) {
    throw invalidArgument(
      `Tensors class and score should match in dim_size(1). Got ${classes.shape[1]} vs. ${scores.shape[1]}`,
    );
  }
  const columns = (classes ?? scores)?.shape[1] ?? 0;
  const labels = classes?.data as Uint8Array[] | undefined;
  const values = scores?.data as Float32Array | undefined;
  return Array.from({ length: exampleCount }, (_, row) =>
    Array.from({ length: columns }, (_, column) => {
      const at = row * columns + column;
      return { label: labels === undefined ? "" : decoder.decode(labels[at]), score: values?.[at] ?? 0 };
    }),
  );
}

/**
 * @param methodNameCheck `--enable_signature_method_name_check`
 * @throws INVALID_ARGUMENT 分類に使えないシグネチャ。
 * @see tensorflow_serving/servables/tensorflow/classifier.cc
 */
export function classificationHead(
  signature: Signature,
  methodNameCheck: boolean,
): InferenceHead<Classifications> {
  if (methodNameCheck) checkMethod("classification", CLASSIFY_METHOD, signature);
  const { inputs, outputs } = signature;
  if (inputs.size !== 1) throw invalidArgument("Expected one input Tensor.");
  if (outputs.size !== 1 && outputs.size !== 2) {
    throw invalidArgument(`Expected one or two output Tensors, found ${outputs.size}`);
  }
  const input = inputs.get("inputs");
  if (input === undefined) {
    throw invalidArgument(`No classification inputs found in SignatureDef: ${formatSignature(signature)}`);
  }
  const classes = outputs.get("classes")?.name;
  const scores = outputs.get("scores")?.name;
  const names = [classes, scores].filter((name) => name !== undefined);
  if (names.length === 0) {
    throw invalidArgument(
      `Expected classification signature outputs to contain at least one of "classes" or "scores". Signature was: ${formatSignature(signature)}`,
    );
  }
  return {
    input,
    outputs: names,
    read: (fetched, exampleCount) =>
      readClassifications(
        classes === undefined ? undefined : fetched.get(classes),
        // 二つが同じテンソルを指すとき、TF Serving はそれを classes としてだけ読む。
        scores === undefined || scores === classes ? undefined : fetched.get(scores),
        exampleCount,
      ),
  };
}

function readRegressions(value: Tensor, exampleCount: number): Regressions {
  const { shape } = value;
  if (!(shape.length === 1 || (shape.length === 2 && shape[1] === 1))) {
    throw invalidArgument(
      `Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got ${shapeText(value)}`,
    );
  }
  if (shape[0] !== exampleCount) {
    throw invalidArgument(
      `Input batch size did not match output batch size: ${exampleCount} vs. ${shape[0]}`,
    );
  }
  if (value.dtype !== "float") {
    throw invalidArgument(`Expected output Tensor of DT_FLOAT.  Got: ${typeText(value)}`);
  }
  return value.data;
}

/**
 * @param methodNameCheck `--enable_signature_method_name_check`
 * @throws INVALID_ARGUMENT 回帰に使えないシグネチャ。
 * @see tensorflow_serving/servables/tensorflow/regressor.cc
 */
export function regressionHead(signature: Signature, methodNameCheck: boolean): InferenceHead<Regressions> {
  if (methodNameCheck) checkMethod("regression", REGRESS_METHOD, signature);
  const { inputs, outputs } = signature;
  if (inputs.size !== 1) throw invalidArgument("Expected one input Tensor.");
  if (outputs.size !== 1) throw invalidArgument("Expected one output Tensor.");
  const input = inputs.get("inputs");
  if (input === undefined) {
    throw invalidArgument(`No regression inputs found in SignatureDef: ${formatSignature(signature)}`);
  }
  const output = outputs.get("outputs")?.name;
  if (output === undefined) {
    throw invalidArgument(`No regression outputs found in SignatureDef: ${formatSignature(signature)}`);
  }
  return {
    input,
    outputs: [output],
    read: (fetched, exampleCount) => readRegressions(fetched.get(output)!, exampleCount),
  };
}
