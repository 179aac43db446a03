/** 融合できる活性化。 */
export type Activation = "linear" | "relu" | "relu6" | "elu" | "sigmoid" | "leakyrelu" | "tanh";

/** 偏りの無い層に使う 0 の列。必要な長さまで伸ばして使い回す。 */
let zeros = new Float32Array(64);

function zerosOf(length: number): Float32Array {
  if (zeros.length < length) zeros = new Float32Array(length * 2);
  return zeros;
}

/**
 * 小さい全結合層: out[i, j] = bias[j] + Σ a[i, p] b[p, j]。和は倍精度のレジスタに溜める。
 *
 * 列を 4 本ずつ進めて a の読み出しを使い回す。余りの 3 本もまとめる(分類の出力は 3 列前後が多い)。
 *
 * @param a 形状 [rows, inner]。
 * @param b 形状 [inner, columns]。
 * @param bias 長さ columns。無ければ 0。
 */
export function denseInto(
  a: Float32Array,
  b: Float32Array,
  bias: Float32Array | undefined,
  out: Float32Array,
  rows: number,
  inner: number,
  columns: number,
): void {
  const start = bias ?? zerosOf(columns);
  const blocked = columns & ~3;
  const rest = columns - blocked;
  for (let i = 0; i < rows; i++) {
    const from = i * inner;
    const to = i * columns;
    let j = 0;
    for (; j < blocked; j += 4) {
      let s0 = start[j]!;
      let s1 = start[j + 1]!;
      let s2 = start[j + 2]!;
      let s3 = start[j + 3]!;
      let at = j;
      for (let p = 0; p < inner; p++) {
        const x = a[from + p]!;
        s0 += x * b[at]!;
        s1 += x * b[at + 1]!;
        s2 += x * b[at + 2]!;
        s3 += x * b[at + 3]!;
        at += columns;
      }
      out[to + j] = s0;
      out[to + j + 1] = s1;
      out[to + j + 2] = s2;
      out[to + j + 3] = s3;
    }
    if (rest === 3) {
      let s0 = start[j]!;
      let s1 = start[j + 1]!;
      let s2 = start[j + 2]!;
      let at = j;
      for (let p = 0; p < inner; p++) {
        const x = a[from + p]!;
        s0 += x * b[at]!;
        s1 += x * b[at + 1]!;
        s2 += x * b[at + 2]!;
        at += columns;
      }
      out[to + j] = s0;
      out[to + j + 1] = s1;
      out[to + j + 2] = s2;
      continue;
    }
    for (; j < columns; j++) {
      let sum = start[j]!;
      let at = j;
      for (let p = 0; p < inner; p++) {
        sum += a[from + p]! * b[at]!;
        at += columns;
      }
      out[to + j] = sum;
    }
  }
}

/** 活性化をその場で掛ける。NaN は NaN のまま通す。 */
export function activateInPlace(data: Float32Array, activation: Activation, alpha: number): void {
  const { length } = data;
  switch (activation) {
    case "linear":
      return;
    case "relu":
      for (let i = 0; i < length; i++) if (data[i]! < 0) data[i] = 0;
      return;
    case "relu6":
      for (let i = 0; i < length; i++) data[i] = Math.min(Math.max(data[i]!, 0), 6);
      return;
    case "elu":
      for (let i = 0; i < length; i++) if (data[i]! < 0) data[i] = Math.expm1(data[i]!);
      return;
    case "sigmoid":
      for (let i = 0; i < length; i++) data[i] = 1 / (1 + Math.exp(-data[i]!));
      return;
    case "leakyrelu":
      for (let i = 0; i < length; i++) if (data[i]! < 0) data[i]! *= alpha;
      return;
    case "tanh":
      for (let i = 0; i < length; i++) data[i] = Math.tanh(data[i]!);
  }
}
