import { type Dataset, type Row, SPECIES } from "./dataset.ts";
import { probabilities, type Weights } from "./network.ts";
import { argmax } from "./scores.ts";
import type { Split } from "./split.ts";
import { frameOf, px, svg } from "./svg.ts";

const COLUMNS = 480;
const LINES = 300;
/** これ以上の確率なら濃く塗る。 */
const CONFIDENT = 0.9;

/**
 * 花弁の平面(長さ × 幅)に、判別の領域と試験側の点を描く。
 *
 * 網は 4 つの測定値を見るので、平面の各点には、花弁から回帰で見込まれるがく片の寸法を補う。
 * 点そのものの判定は実際の 4 つの値で行う。
 */
export function petalPlane(dataset: Dataset, { train, test }: Split, weights: Weights): string {
  const xDomain = [0.5, 7.2] as const;
  const yDomain = [0, 2.7] as const;
  const frame = frameOf(
    920,
    520,
    { domain: xDomain, ticks: [1, 2, 3, 4, 5, 6, 7], format: String, title: "petal length (cm)" },
    {
      domain: yDomain,
      ticks: [0, 0.5, 1, 1.5, 2, 2.5],
      format: (v) => v.toFixed(1),
      title: "petal width (cm)",
    },
  );
  const sepals = sepalRegression(train.map((i) => dataset.rows[i]!));
  const [left, top, right, bottom] = frame.inner;
  const [cellWidth, cellHeight] = [(right - left) / COLUMNS, (bottom - top) / LINES];
  const at = (column: number, line: number): { species: number; confident: boolean } => {
    const length = xDomain[0] + ((column + 0.5) / COLUMNS) * (xDomain[1] - xDomain[0]);
    const width = yDomain[1] - ((line + 0.5) / LINES) * (yDomain[1] - yDomain[0]);
    const p = probabilities(weights, [...sepals(length, width), length, width]);
    const species = argmax(p);
    return { species, confident: p[species]! >= CONFIDENT };
  };
  // 同じ判定が横に続く升目を 1 本の帯にまとめ、領域ごとに 1 つの path にする。
  const paths = new Map<string, string>();
  for (let line = 0; line < LINES; line++) {
    let start = 0;
    let current = at(0, line);
    for (let column = 1; column <= COLUMNS; column++) {
      const next = column < COLUMNS ? at(column, line) : undefined;
      if (next?.species === current.species && next.confident === current.confident) continue;
      const key = `${SPECIES[current.species]}${current.confident ? " sure" : ""}`;
      const [x, y, width] = [left + start * cellWidth, top + line * cellHeight, (column - start) * cellWidth];
      paths.set(
        key,
        `${paths.get(key) ?? ""}M${px(x)} ${px(y)}h${px(width)}v${px(cellHeight)}h-${px(width)}z`,
      );
      if (next === undefined) break;
      start = column;
      current = next;
    }
  }
  const regions = [...paths].map(([key, d]) => `<path class="region ${key}" d="${d}"/>`).join("");

  const seen = new Map<string, number>();
  const mark = (index: number, side: "train" | "test"): string => {
    const row = dataset.rows[index]!;
    const label = dataset.labels[index]!;
    const p = probabilities(weights, row);
    // 測定は 0.1 cm 刻みで重なりやすいので、同じ場所の点は少しずつ横へずらす。
    const place = `${row[2]},${row[3]}`;
    const nth = seen.get(place) ?? 0;
    seen.set(place, nth + 1);
    const x = frame.x(row[2]!) + (nth % 2 === 0 ? 1 : -1) * Math.ceil(nth / 2) * 5;
    const y = frame.y(row[3]!);
    const wrong = argmax(p) !== label;
    const title = `row ${index + 1}: ${row.join(", ")} cm, ${SPECIES[label]}; predicted ${SPECIES.map((name, k) => `${name} ${(100 * p[k]!).toFixed(1)} %`).join(", ")}`;
    const ring = wrong ? `<circle class="wrong" cx="${px(x)}" cy="${px(y)}" r="10"/>` : "";
    return `<g class="${side} ${SPECIES[label]}"><title>${title}</title>${shape(label, x, y, side === "test" ? 5.5 : 3.2)}${ring}</g>`;
  };
  const points = [...train.map((i) => mark(i, "train")), ...test.map((i) => mark(i, "test"))].join("");
  const clip = `<clipPath id="plane"><rect x="${left}" y="${top}" width="${right - left}" height="${bottom - top}"/></clipPath>`;
  return svg(
    frame,
    "Petal plane with decision regions",
    `${clip}<g clip-path="url(#plane)">${regions}</g>${points}`,
  );
}

/** 花ごとの印。色が見分けられなくても形で分かる。 */
export function shape(label: number, x: number, y: number, r: number): string {
  if (label === 0) return `<circle cx="${px(x)}" cy="${px(y)}" r="${px(r)}"/>`;
  if (label === 1) {
    return `<path d="M${px(x)} ${px(y - r * 1.2)}L${px(x + r * 1.1)} ${px(y + r * 0.8)}L${px(x - r * 1.1)} ${px(y + r * 0.8)}z"/>`;
  }
  return `<rect x="${px(x - r * 0.9)}" y="${px(y - r * 0.9)}" width="${px(r * 1.8)}" height="${px(r * 1.8)}"/>`;
}

/** 花弁の長さと幅から、がく片の長さと幅を見込む最小二乗の平面。 */
function sepalRegression(rows: readonly Row[]): (length: number, width: number) => [number, number] {
  const mean = [0, 1, 2, 3].map((k) => rows.reduce((sum, row) => sum + row[k]!, 0) / rows.length);
  const moment = (a: number, b: number): number =>
    rows.reduce((sum, row) => sum + (row[a]! - mean[a]!) * (row[b]! - mean[b]!), 0);
  const [ll, lw, ww] = [moment(2, 2), moment(2, 3), moment(3, 3)];
  const determinant = ll * ww - lw * lw;
  const slopes = [0, 1].map((k) => {
    const [l, w] = [moment(k, 2), moment(k, 3)];
    return [(l * ww - w * lw) / determinant, (w * ll - l * lw) / determinant] as const;
  });
  return (length, width) => {
    const [a, b] = slopes.map(([l, w], k) => mean[k]! + l * (length - mean[2]!) + w * (width - mean[3]!));
    return [a!, b!];
  };
}
