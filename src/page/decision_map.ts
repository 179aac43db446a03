/** 格子の上の確率。`values[(row * columns + column) * classes + k]`。 */
export interface ProbabilityGrid {
  readonly columns: number;
  readonly rows: number;
  readonly classes: number;
  readonly values: readonly number[];
}

export type Color = readonly [red: number, green: number, blue: number];

/** 領域の名札を置く所。格子の座標(0 から 1)。 */
export interface RegionCenter {
  readonly species: number;
  readonly x: number;
  readonly y: number;
}

/** 双線形に補った、点 (x, y) の確率。x と y は 0 から 1。 */
function sample({ columns, rows, classes, values }: ProbabilityGrid, x: number, y: number): number[] {
  const column = x * (columns - 1);
  const row = y * (rows - 1);
  const left = Math.min(Math.floor(column), columns - 2);
  const top = Math.min(Math.floor(row), rows - 2);
  const dx = column - left;
  const dy = row - top;
  const at = (r: number, c: number, k: number): number => values[(r * columns + c) * classes + k]!;
  return Array.from(
    { length: classes },
    (_, k) =>
      (at(top, left, k) * (1 - dx) + at(top, left + 1, k) * dx) * (1 - dy) +
      (at(top + 1, left, k) * (1 - dx) + at(top + 1, left + 1, k) * dx) * dy,
  );
}

/**
 * 確率を色にする。いちばん高い種の色を、確かなほど濃く。境の線は地の色で抜く。
 *
 * @param surface 地の色。
 * @returns RGBA。行は上から、格子の最後の行から。
 */
export function paintRegions(
  grid: ProbabilityGrid,
  width: number,
  height: number,
  colors: readonly Color[],
  surface: Color,
): Uint8ClampedArray<ArrayBuffer> {
  const pixels = new Uint8ClampedArray(width * height * 4);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const probabilities = sample(grid, column / (width - 1), 1 - row / (height - 1));
      const sorted = [...probabilities].sort((a, b) => b - a);
      const winner = probabilities.indexOf(sorted[0]!);
      const lead = sorted[0]! - sorted[1]!;
      // 差が開くほど濃く、並ぶ所は白く抜けて境の線になる。
      const strength = 0.12 + 0.34 * Math.min(1, lead * 1.15);
      const color = colors[winner]!;
      const at = (row * width + column) * 4;
      for (let channel = 0; channel < 3; channel++) {
        pixels[at + channel] = surface[channel]! * (1 - strength) + color[channel]! * strength;
      }
      pixels[at + 3] = 255;
    }
  }
  return pixels;
}

/** 領域のまん中。小さな領域(全体の 4 % 未満)には名札を置かない。 */
export function regionCenters({ columns, rows, classes, values }: ProbabilityGrid): RegionCenter[] {
  const sums = Array.from({ length: classes }, () => ({ count: 0, x: 0, y: 0 }));
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const at = (row * columns + column) * classes;
      const own = values.slice(at, at + classes);
      const sum = sums[own.indexOf(Math.max(...own))]!;
      sum.count++;
      sum.x += column / (columns - 1);
      sum.y += row / (rows - 1);
    }
  }
  return sums.flatMap(({ count, x, y }, species) =>
    count < columns * rows * 0.04 ? [] : [{ species, x: x / count, y: y / count }],
  );
}
