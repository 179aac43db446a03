import type { Dataset, Row } from "./dataset.ts";

/** 線形写像 x ↦ (x − offset)·matrix。matrix は [入力幅][軸の数]。 */
export interface AffineMap {
  readonly offset: readonly number[];
  readonly matrix: readonly (readonly number[])[];
}

/**
 * 標準化の座標を決める。群内共分散で測った長さが 1 になるよう伸縮し(マハラノビスの距離)、
 * 群の平均が張る平面(Fisher の判別平面)に落とす。軸の数は群の数 − 1。
 *
 * 列ごとの標準化では、花の大きさに伴う列どうしの相関が残り、重みの減衰が判別に効く方向まで縮めてしまう。
 * 学習側の行だけから決め、写像は線形なので後で第 1 層の重みに畳み込める。
 *
 * @see R. A. Fisher, The use of multiple measurements in taxonomic problems, Annals of Eugenics 7 (1936)
 */
export function fisherAxes({ rows, labels }: Dataset): AffineMap {
  const width = rows[0]!.length;
  const classes = [...new Set(labels)].sort((a, b) => a - b);
  const offset = mean(rows, width);
  const means = classes.map((label) =>
    mean(
      rows.filter((_, i) => labels[i] === label),
      width,
    ),
  );
  const within = Array.from({ length: width }, () => new Array<number>(width).fill(0));
  for (const [i, row] of rows.entries()) {
    const center = means[classes.indexOf(labels[i]!)]!;
    for (let a = 0; a < width; a++) {
      for (let b = 0; b < width; b++) {
        within[a]![b]! += ((row[a]! - center[a]!) * (row[b]! - center[b]!)) / (rows.length - classes.length);
      }
    }
  }
  const lower = cholesky(within);
  // 白色化した空間での群の平均を、順に直交化する。第 1 軸は最初と最後の群を分ける向き。
  const axes: number[][] = [];
  const directions = [
    difference(means.at(-1)!, means[0]!),
    ...means.slice(1, -1).map((m) => difference(m, offset)),
  ];
  for (const direction of directions) {
    let axis = solveLower(lower, direction);
    for (const earlier of axes) {
      const along = dot(axis, earlier);
      axis = axis.map((value, k) => value - along * earlier[k]!);
    }
    const length = Math.sqrt(dot(axis, axis));
    axes.push(axis.map((value) => value / length));
  }
  // 白色化は x·L⁻ᵀ なので、軸 u の係数は L⁻ᵀu。
  const columns = axes.map((axis) => solveUpper(lower, axis));
  return { offset, matrix: offset.map((_, k) => columns.map((column) => column[k]!)) };
}

/** 写像を 1 行に当てる。 */
export function applyMap({ offset, matrix }: AffineMap, row: Row): number[] {
  return matrix[0]!.map((_, axis) => {
    let sum = 0;
    for (let k = 0; k < offset.length; k++) sum += (row[k]! - offset[k]!) * matrix[k]![axis]!;
    return sum;
  });
}

/**
 * 写像を、それに続く層へ畳み込む。(x − o)·M·K + b = x·(MK) + (b − o·MK)。
 *
 * @param kernel [軸の数][幅]
 * @returns 元の座標を直接受け取る kernel [入力幅][幅] と bias。
 */
export function foldMap(
  { offset, matrix }: AffineMap,
  kernel: readonly (readonly number[])[],
  bias: readonly number[],
): { readonly kernel: number[][]; readonly bias: number[] } {
  const folded = matrix.map((row) =>
    bias.map((_, unit) => row.reduce((sum, value, axis) => sum + value * kernel[axis]![unit]!, 0)),
  );
  return {
    kernel: folded,
    bias: bias.map((value, unit) => value - offset.reduce((sum, o, k) => sum + o * folded[k]![unit]!, 0)),
  };
}

const difference = (a: readonly number[], b: readonly number[]): number[] =>
  a.map((value, k) => value - b[k]!);
const dot = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, value, k) => sum + value * b[k]!, 0);

function mean(rows: readonly Row[], width: number): number[] {
  return Array.from({ length: width }, (_, k) => rows.reduce((sum, row) => sum + row[k]!, 0) / rows.length);
}

/** 対称正定値行列 A = L·Lᵀ の下三角 L。 */
function cholesky(a: readonly (readonly number[])[]): number[][] {
  const lower = a.map((row) => row.map(() => 0));
  for (let i = 0; i < a.length; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = a[i]![j]!;
      for (let k = 0; k < j; k++) sum -= lower[i]![k]! * lower[j]![k]!;
      if (i === j && sum <= 0) throw new Error("The within-class covariance is singular");
      lower[i]![j] = i === j ? Math.sqrt(sum) : sum / lower[j]![j]!;
    }
  }
  return lower;
}

/** L·y = b を解く。 */
function solveLower(lower: readonly (readonly number[])[], b: readonly number[]): number[] {
  const y: number[] = [];
  for (let i = 0; i < b.length; i++) {
    let sum = b[i]!;
    for (let k = 0; k < i; k++) sum -= lower[i]![k]! * y[k]!;
    y.push(sum / lower[i]![i]!);
  }
  return y;
}

/** Lᵀ·x = b を解く。 */
function solveUpper(lower: readonly (readonly number[])[], b: readonly number[]): number[] {
  const x = new Array<number>(b.length).fill(0);
  for (let i = b.length - 1; i >= 0; i--) {
    let sum = b[i]!;
    for (let k = i + 1; k < b.length; k++) sum -= lower[k]![i]! * x[k]!;
    x[i] = sum / lower[i]![i]!;
  }
  return x;
}
