import {
  type Color,
  type LabelPlace,
  labelPlaces,
  type ProbabilityGrid,
  paintRegions,
} from "./decision_map.ts";
import { byId, svg } from "./dom.ts";
import { flowers, ranges, speciesNames } from "./iris_data.ts";
import { formatNumber, t } from "./settings.ts";

const VIEW = { left: 44, top: 12, right: 428, bottom: 300 };
const COLUMNS = 57;
const ROWS = 45;
const LENGTH = 2;
const WIDTH = 3;

const margin = 0.15;
const xRange = { min: ranges[LENGTH]!.min - margin, max: ranges[LENGTH]!.max + margin };
const yRange = { min: ranges[WIDTH]!.min - margin / 2, max: ranges[WIDTH]!.max + margin / 2 };

const toX = (length: number): number =>
  VIEW.left + ((length - xRange.min) / (xRange.max - xRange.min)) * (VIEW.right - VIEW.left);
const toY = (width: number): number =>
  VIEW.bottom - ((width - yRange.min) / (yRange.max - yRange.min)) * (VIEW.bottom - VIEW.top);

/** データの花の、平面での座標。0 から 1。 */
const dots = flowers.map(
  ({ sizes }) =>
    [
      (sizes[LENGTH] - xRange.min) / (xRange.max - xRange.min),
      (sizes[WIDTH] - yRange.min) / (yRange.max - yRange.min),
    ] as const,
);

/** 格子の点ごとの花。がく片は `sepal` のまま、花弁だけを動かす。 */
export function gridFlowers(sepal: readonly number[]): number[][] {
  return Array.from({ length: ROWS * COLUMNS }, (_, at) => {
    const column = at % COLUMNS;
    const row = Math.floor(at / COLUMNS);
    return [
      ...sepal.slice(0, 2),
      xRange.min + ((xRange.max - xRange.min) * column) / (COLUMNS - 1),
      yRange.min + ((yRange.max - yRange.min) * row) / (ROWS - 1),
    ];
  });
}

/** その要素の色。CSS の変数は light-dark() のまま読めるので、色にしてから読む。 */
function colorOf(className: string, property: string): Color {
  const probe = document.createElement("span");
  probe.className = className;
  probe.style.color = `var(${property})`;
  document.body.append(probe);
  const [red = 0, green = 0, blue = 0] = (getComputedStyle(probe).color.match(/[\d.]+/g) ?? []).map(Number);
  probe.remove();
  return [red, green, blue];
}

/** 花弁の平面。領域は画布に、軸と花はその上の SVG に描く。 */
export class PetalPlane {
  readonly #svg = byId("plane", SVGSVGElement);
  readonly #canvas = byId("regions", HTMLCanvasElement);
  readonly #labels = svg("g");
  readonly #marker = svg("g");
  readonly #axes = svg("g");
  #grid: ProbabilityGrid | undefined;
  #point: readonly number[] = [];
  #winner = 0;

  /** @param onMove 花が引かれた先(花弁の長さと幅、データの範囲の中)。 */
  constructor(onMove: (length: number, width: number) => void) {
    const marks = svg("g", { "aria-hidden": "true" });
    for (const { sizes, species } of flowers) {
      marks.append(
        svg("circle", {
          class: `flower ${species}`,
          cx: toX(sizes[LENGTH]).toFixed(1),
          cy: toY(sizes[WIDTH]).toFixed(1),
          r: "3.4",
        }),
      );
    }
    this.#svg.append(this.#axes, marks, this.#labels, this.#marker);
    const move = (event: PointerEvent): void => {
      const box = this.#svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * 440;
      const y = ((event.clientY - box.top) / box.height) * 340;
      const length = xRange.min + ((x - VIEW.left) / (VIEW.right - VIEW.left)) * (xRange.max - xRange.min);
      const width = yRange.min + ((VIEW.bottom - y) / (VIEW.bottom - VIEW.top)) * (yRange.max - yRange.min);
      const clamp = (value: number, { min, max }: { min: number; max: number }): number =>
        Math.min(max, Math.max(min, value));
      onMove(clamp(length, ranges[LENGTH]!), clamp(width, ranges[WIDTH]!));
    };
    this.#svg.addEventListener("pointerdown", (event) => {
      this.#svg.setPointerCapture(event.pointerId);
      move(event);
    });
    this.#svg.addEventListener("pointermove", (event) => {
      if (this.#svg.hasPointerCapture(event.pointerId)) move(event);
    });
  }

  /** @param predictions {@link gridFlowers} の各点の確率。 */
  showRegions(predictions: readonly (readonly number[])[]): void {
    this.#grid = {
      columns: COLUMNS,
      rows: ROWS,
      classes: speciesNames.length,
      values: predictions.flat(),
    };
    this.#paint();
  }

  showFlower(sizes: readonly number[], winner: number): void {
    this.#point = sizes;
    this.#winner = winner;
    this.#mark();
  }

  /** 言語か配色が変わった。 */
  render(): void {
    this.#drawAxes();
    this.#paint();
    this.#mark();
  }

  #paint(): void {
    const context = this.#canvas.getContext("2d");
    if (this.#grid === undefined || context === null) return;
    const { width, height } = this.#canvas;
    const colors = speciesNames.map((name) => colorOf(name, "--own"));
    const pixels = paintRegions(this.#grid, width, height, colors, colorOf("", "--surface"));
    context.putImageData(new ImageData(pixels, width, height), 0, 0);
    const label = ({ species, x, y }: LabelPlace): SVGElement =>
      svg(
        "text",
        {
          class: "region",
          x: (VIEW.left + x * (VIEW.right - VIEW.left)).toFixed(1),
          y: (VIEW.bottom - y * (VIEW.bottom - VIEW.top)).toFixed(1),
        },
        t(speciesNames[species]!),
      );
    this.#labels.replaceChildren(...labelPlaces(this.#grid, dots).map(label));
  }

  #mark(): void {
    const [, , length, width] = this.#point;
    if (length === undefined || width === undefined) return;
    const [x, y] = [toX(length).toFixed(1), toY(width).toFixed(1)];
    const { left, right, top, bottom } = VIEW;
    this.#marker.setAttribute("class", speciesNames[this.#winner]!);
    this.#marker.replaceChildren(
      svg("line", { class: "cross", x1: `${left}`, x2: `${right}`, y1: y, y2: y }),
      svg("line", { class: "cross", x1: x, x2: x, y1: `${top}`, y2: `${bottom}` }),
      svg("circle", { class: "halo", cx: x, cy: y, r: "9" }),
      svg("circle", { class: "ring", cx: x, cy: y, r: "9" }),
    );
    const values = { length: formatNumber(length, 1), width: formatNumber(width, 1) };
    this.#svg.setAttribute("aria-label", t("planeLabel", values));
  }

  #drawAxes(): void {
    const { left, right, top, bottom } = VIEW;
    const middle = ((top + bottom) / 2).toFixed(1);
    this.#axes.replaceChildren(
      ...[1, 2, 3, 4, 5, 6].map((value) =>
        svg("text", { class: "tick", x: toX(value).toFixed(1), y: `${bottom + 17}` }, `${value}`),
      ),
      ...[0.5, 1, 1.5, 2, 2.5].map((value) =>
        svg(
          "text",
          { class: "tick left", x: `${left - 8}`, y: (toY(value) + 4).toFixed(1) },
          formatNumber(value, 1),
        ),
      ),
      svg("text", { class: "axis", x: `${(left + right) / 2}`, y: `${bottom + 35}` }, t("petalLengthAxis")),
      svg("text", { class: "axis", transform: `translate(13 ${middle}) rotate(-90)` }, t("petalWidthAxis")),
    );
  }
}
