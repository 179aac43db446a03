import { readMetrics } from "./api.ts";
import { byId, svg } from "./dom.ts";
import { type Rates, ratesBetween, readTotals, type Totals } from "./metrics_text.ts";
import { formatNumber, onAppearance, t } from "./settings.ts";

const INTERVAL_MS = 1000;
const POINTS = 60;
const CHART = { width: 600, height: 80 };

/** いまの速さと、この 1 分の線。 */
export class TrafficPanel {
  readonly #chart = byId("sparkline", SVGSVGElement);
  readonly #history: number[] = [];
  #before: { readonly totals: Totals; readonly at: number } | undefined;
  #rates: Rates | undefined;

  constructor() {
    onAppearance(() => this.#render());
    void this.#poll();
  }

  async #poll(): Promise<void> {
    // 見られていない間は数えない。
    if (!document.hidden) await this.#read();
    setTimeout(() => void this.#poll(), INTERVAL_MS);
  }

  async #read(): Promise<void> {
    const text = await readMetrics().catch(() => undefined);
    byId("figures", HTMLDivElement).hidden = text === undefined;
    byId("no-figures", HTMLParagraphElement).hidden = text !== undefined;
    if (text === undefined) return;
    const totals = readTotals(text);
    const at = performance.now();
    if (this.#before !== undefined) {
      this.#rates = ratesBetween(this.#before.totals, totals, (at - this.#before.at) / 1000);
      this.#history.push(this.#rates.requestsPerSecond);
      if (this.#history.length > POINTS) this.#history.shift();
      this.#render();
    }
    this.#before = { totals, at };
  }

  #render(): void {
    const rate = (value: number): string => formatNumber(value, value < 10 ? 1 : 0);
    const time = (value: number | undefined): string =>
      value === undefined ? "–" : `${formatNumber(value, value < 10 ? 2 : 0)} ms`;
    const show = (id: string, text: string): void => {
      byId(id, HTMLElement).textContent = text;
    };
    this.#chart.setAttribute("aria-label", t("trafficChart"));
    this.#draw();
    const peak = Math.max(0, ...this.#history);
    show("peak", peak === 0 ? "" : t("trafficPeak", { rate: rate(peak) }));
    if (this.#rates === undefined) return;
    show("request-rate", rate(this.#rates.requestsPerSecond));
    show("error-rate", rate(this.#rates.errorsPerSecond));
    show("p50", time(this.#rates.p50));
    show("p99", time(this.#rates.p99));
  }

  #draw(): void {
    const { width, height } = CHART;
    const top = Math.max(1, ...this.#history);
    const offset = POINTS - this.#history.length;
    const points = this.#history.map((value, i) => {
      const x = ((offset + i) / (POINTS - 1)) * width;
      return `${x.toFixed(1)},${(height - 2 - (value / top) * (height - 8)).toFixed(1)}`;
    });
    const first = ((offset / (POINTS - 1)) * width).toFixed(1);
    const floor = `${height - 1}`;
    this.#chart.replaceChildren(
      svg("line", { class: "floor", x1: "0", x2: `${width}`, y1: floor, y2: floor }),
      ...(points.length < 2
        ? []
        : [
            svg("polygon", {
              class: "area",
              points: `${first},${height} ${points.join(" ")} ${width},${height}`,
            }),
            svg("polyline", { class: "trace", points: points.join(" ") }),
          ]),
    );
  }
}
