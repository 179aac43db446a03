/** 花の名前。添字がラベルの番号。 */
export const SPECIES = ["setosa", "versicolor", "virginica"] as const;

/** CSV の見出しのうち測定値の列。tf.Example の特徴名でもある。 */
export const FEATURES = ["sepal_length", "sepal_width", "petal_length", "petal_width"] as const;

/** 測定値 1 行。cm、{@link FEATURES} の順。 */
export type Row = readonly number[];

export interface Dataset {
  readonly rows: readonly Row[];
  /** {@link SPECIES} の添字。 */
  readonly labels: readonly number[];
}

/**
 * model/iris.csv を読む。
 *
 * @throws Error 見出し、列数、数値、花の名前のどれかが合わないとき(行番号つき)。
 */
export function parseDataset(csv: string): Dataset {
  const [header, ...lines] = csv.trimEnd().split("\n");
  const expected = [...FEATURES, "species"].join(",");
  if (header !== expected) throw new Error(`line 1: expected the header ${expected}, got ${header}`);
  const rows: number[][] = [];
  const labels: number[] = [];
  for (const [index, line] of lines.entries()) {
    const cells = line.split(",");
    const label = (SPECIES as readonly string[]).indexOf(cells.at(-1)!);
    const row = cells.slice(0, -1).map((cell) => (cell.trim() === "" ? Number.NaN : Number(cell)));
    if (row.length !== FEATURES.length || !row.every(Number.isFinite) || label < 0) {
      throw new Error(`line ${index + 2}: expected four numbers and a species, got ${line}`);
    }
    rows.push(row);
    labels.push(label);
  }
  return { rows, labels };
}

/** 添字で選んだ部分。 */
export function subset({ rows, labels }: Dataset, indices: readonly number[]): Dataset {
  return { rows: indices.map((i) => rows[i]!), labels: indices.map((i) => labels[i]!) };
}
