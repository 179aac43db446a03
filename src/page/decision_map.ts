/** 格子の上の確率。`values[(row * columns + column) * classes + k]`。 */
export interface ProbabilityGrid {
  readonly columns: number;
  readonly rows: number;
  readonly classes: number;
  readonly values: readonly number[];
}

export type Color = readonly [red: number, green: number, blue: number];

/** 領域の名札を置く所。格子の座標(0 から 1)。 */
export interface LabelPlace {
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

/** 名札の半分の幅と高さ。格子の座標で。 */
const LABEL = { width: 0.12, height: 0.04 };

/**
 * 名札を置く所。名札が領域に収まる点のうち、`avoid` の点と端からいちばん遠いもの。収まらない領域には置かない。
 *
 * @param avoid 隠したくない点。座標は 0 から 1。
 */
export function labelPlaces(
  { columns, rows, classes, values }: ProbabilityGrid,
  avoid: readonly (readonly [x: number, y: number])[],
): LabelPlace[] {
  const winners = Array.from({ length: columns * rows }, (_, cell) => {
    const own = values.slice(cell * classes, (cell + 1) * classes);
    return own.indexOf(Math.max(...own));
  });
  const dx = Math.ceil(LABEL.width * columns);
  const dy = Math.ceil(LABEL.height * rows);
  const best = new Map<number, LabelPlace & { readonly room: number }>();
  for (let row = dy; row < rows - dy; row++) {
    for (let column = dx; column < columns - dx; column++) {
      const species = winners[row * columns + column]!;
      const fits = [-dy, 0, dy].every((r) =>
        [-dx, 0, dx].every((c) => winners[(row + r) * columns + column + c] === species),
      );
      if (!fits) continue;
      const x = column / (columns - 1);
      const y = row / (rows - 1);
      // 名札は横に長いので、横の隔たりは割り引いて測る。
      const distances = avoid.map(([px, py]) => Math.hypot((px - x) / 2.5, py - y));
      const room = Math.min(x / 2.5, (1 - x) / 2.5, y, 1 - y, ...distances);
      if (room > (best.get(species)?.room ?? 0)) best.set(species, { species, x, y, room });
    }
  }
  return [...best.values()].map(({ species, x, y }) => ({ species, x, y }));
}
