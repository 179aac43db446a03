/** 値の範囲を画素の範囲に写す。 */
export type Scale = (value: number) => number;

export function linearScale(from: readonly [number, number], to: readonly [number, number]): Scale {
  return (value) => to[0] + ((value - from[0]) / (from[1] - from[0])) * (to[1] - to[0]);
}

/** SVG に書く数。桁を揃えて小さくし、同じ入力からは同じ文字にする。 */
export function px(value: number): string {
  return String(Number(value.toFixed(2)));
}

export function escapeHtml(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}

/** 常用対数の目盛り。0 は描けないので、値域の下端より小さい値は呼び手が切り詰める。 */
function logScale(from: readonly [number, number], to: readonly [number, number]): Scale {
  const linear = linearScale([Math.log10(from[0]), Math.log10(from[1])], to);
  return (value) => linear(Math.log10(value));
}

export interface Axis {
  /** 対数目盛りにする。 */
  readonly logarithmic?: boolean;
  readonly domain: readonly [number, number];
  readonly ticks: readonly number[];
  readonly format: (value: number) => string;
  readonly title: string;
}

/** 軸と目盛り線つきの枠。 */
export interface Frame {
  readonly x: Scale;
  readonly y: Scale;
  /** 枠の中身に重ねる、軸の文字と線。 */
  readonly axes: string;
  readonly width: number;
  readonly height: number;
  /** 描く場所 [左, 上, 右, 下]。 */
  readonly inner: readonly [number, number, number, number];
}

export function frameOf(width: number, height: number, xAxis: Axis, yAxis: Axis): Frame {
  const inner = [60, 14, width - 14, height - 42] as const;
  const [left, top, right, bottom] = inner;
  const x = linearScale(xAxis.domain, [left, right]);
  const y = (yAxis.logarithmic ? logScale : linearScale)(yAxis.domain, [bottom, top]);
  const axes = [
    ...yAxis.ticks.map(
      (tick) =>
        `<line class="grid" x1="${left}" x2="${right}" y1="${px(y(tick))}" y2="${px(y(tick))}"/>` +
        `<text class="tick" x="${left - 8}" y="${px(y(tick) + 4)}" text-anchor="end">${yAxis.format(tick)}</text>`,
    ),
    ...xAxis.ticks.map(
      (tick) =>
        `<line class="axis" x1="${px(x(tick))}" x2="${px(x(tick))}" y1="${bottom}" y2="${bottom + 4}"/>` +
        `<text class="tick" x="${px(x(tick))}" y="${bottom + 17}" text-anchor="middle">${xAxis.format(tick)}</text>`,
    ),
    `<line class="axis" x1="${left}" x2="${right}" y1="${bottom}" y2="${bottom}"/>`,
    `<text class="label" x="${px((left + right) / 2)}" y="${height - 6}" text-anchor="middle">${xAxis.title}</text>`,
    `<text class="label" transform="translate(13 ${px((top + bottom) / 2)}) rotate(-90)" text-anchor="middle">${yAxis.title}</text>`,
  ].join("");
  return { x, y, axes, width, height, inner };
}

/** 枠と中身を 1 つの SVG にする。 */
export function svg({ width, height, axes }: Frame, name: string, content: string): string {
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(name)}">${axes}${content}</svg>`;
}
