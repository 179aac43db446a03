import { type Model, post, readMetadata } from "./api.ts";
import { byId, el } from "./dom.ts";
import { featureNames, ranges, speciesNames, typicalFlower } from "./iris_data.ts";
import { Latest } from "./latest.ts";
import { gridFlowers, PetalPlane } from "./petal_plane.ts";
import { formatNumber, onAppearance, t } from "./settings.ts";
import { readSignatures } from "./signature.ts";

const STEP = 0.1;

/** 4 つの寸法を受け、3 つの確率を返すモデルか。 */
async function looksLikeIris(model: string): Promise<boolean> {
  const [signature] = readSignatures(await readMetadata(model, undefined));
  const [input, second] = signature?.inputs ?? [];
  const [output, other] = signature?.outputs ?? [];
  return (
    signature?.verb === "predict" &&
    second === undefined &&
    other === undefined &&
    input?.dtype === "float" &&
    input.shape?.join() === `-1,${featureNames.length}` &&
    output?.shape?.join() === `-1,${speciesNames.length}`
  );
}

/** アヤメのモデルの名前。名が iris を含み、形も合うもの。 */
async function findIris(models: readonly Model[]): Promise<string | undefined> {
  for (const { name, versions } of models) {
    const isReady = versions.some(({ state }) => state === "AVAILABLE");
    if (/iris/i.test(name) && isReady && (await looksLikeIris(name))) return name;
  }
  return undefined;
}

interface Bar {
  readonly fill: HTMLElement;
  readonly value: HTMLElement;
  readonly name: HTMLElement;
}

/** つまみの花が変わったときに呼ばれる。 */
type OnFlower = (model: string, sizes: readonly number[]) => void;

class IrisPanel {
  readonly #model: string;
  readonly #onFlower: OnFlower;
  readonly #sliders: HTMLInputElement[] = [];
  readonly #sizes: HTMLOutputElement[] = [];
  readonly #labels: HTMLElement[] = [];
  readonly #presets: HTMLButtonElement[] = [];
  readonly #bars: Bar[] = [];
  readonly #verdict = byId("verdict", HTMLOutputElement);
  readonly #plane: PetalPlane;
  readonly #points = new Latest();
  readonly #maps = new Latest();
  #probabilities: readonly number[] = [];
  #sepal = "";

  constructor(model: string, onFlower: OnFlower) {
    this.#model = model;
    this.#onFlower = onFlower;
    const start = typicalFlower("versicolor");
    featureNames.forEach((name, i) => {
      const { min, max } = ranges[i]!;
      const label = el("label", { for: name });
      const size = el("output", { for: name });
      const slider = el("input", {
        type: "range",
        id: name,
        min: String(min),
        max: String(max),
        step: String(STEP),
        value: String(start[i]),
      });
      slider.addEventListener("input", () => this.#changed());
      byId("sliders", HTMLDivElement).append(el("div", { class: "slider" }, label, size, slider));
      this.#labels.push(label);
      this.#sizes.push(size);
      this.#sliders.push(slider);
    });
    for (const name of speciesNames) {
      const preset = el("button", { type: "button", class: `quiet ${name}` });
      preset.addEventListener("click", () => this.#set(typicalFlower(name)));
      this.#presets.push(preset);
      const bar = {
        name: el("span"),
        fill: el("div", { class: "fill" }),
        value: el("span", { class: "value" }),
      };
      const track = el("div", { class: "track", "aria-hidden": "true" }, bar.fill);
      byId("bars", HTMLUListElement).append(el("li", { class: name }, bar.name, track, bar.value));
      this.#bars.push(bar);
    }
    byId("presets", HTMLDivElement).append(...this.#presets);
    this.#plane = new PetalPlane((length, width) => {
      const [a, b] = this.#flower();
      this.#set([a!, b!, length, width]);
    });
    onAppearance(() => this.#render());
    byId("iris", HTMLElement).hidden = false;
    this.#changed();
  }

  #flower(): number[] {
    return this.#sliders.map(({ value }) => Number(Number(value).toFixed(1)));
  }

  #set(sizes: readonly number[]): void {
    this.#sliders.forEach((slider, i) => {
      slider.value = String(sizes[i]);
    });
    this.#changed();
  }

  #changed(): void {
    const flower = this.#flower();
    this.#showSizes(flower);
    this.#onFlower(this.#model, flower);
    this.#points.run(async () => {
      const [probabilities] = await this.#predict([flower]);
      if (probabilities !== undefined) this.#show(probabilities);
    });
    const sepal = flower.slice(0, 2);
    if (sepal.join() === this.#sepal) return;
    this.#sepal = sepal.join();
    this.#maps.run(async () => {
      const predictions = await this.#predict(gridFlowers(sepal));
      if (predictions.length > 0) this.#plane.showRegions(predictions);
    });
  }

  /** 1 つの要求でまとめてたずねる。答えが無ければ空。 */
  async #predict(instances: readonly (readonly number[])[]): Promise<readonly (readonly number[])[]> {
    const answer = await post(this.#model, undefined, "predict", JSON.stringify({ instances }));
    if (!answer.ok) {
      this.#verdict.textContent = answer.status === 0 ? t("unreachable") : answer.text;
      return [];
    }
    return (JSON.parse(answer.text) as { readonly predictions: number[][] }).predictions;
  }

  #showSizes(flower: readonly number[]): void {
    flower.forEach((size, i) => {
      const text = `${formatNumber(size, 1)} cm`;
      this.#sizes[i]!.textContent = text;
      this.#sliders[i]!.setAttribute("aria-valuetext", text);
    });
    this.#plane.showFlower(flower, this.#winner());
  }

  #winner(): number {
    return Math.max(0, this.#probabilities.indexOf(Math.max(...this.#probabilities)));
  }

  #show(probabilities: readonly number[]): void {
    this.#probabilities = probabilities;
    const percent = (value: number): string => `${formatNumber(value * 100, 1)} %`;
    probabilities.forEach((value, i) => {
      const bar = this.#bars[i]!;
      bar.fill.style.width = `${(value * 100).toFixed(2)}%`;
      bar.value.textContent = percent(value);
    });
    const winner = this.#winner();
    this.#verdict.textContent = t("verdict", {
      name: t(speciesNames[winner]!),
      percent: percent(probabilities[winner]!),
    });
    this.#plane.showFlower(this.#flower(), winner);
  }

  #render(): void {
    featureNames.forEach((name, i) => {
      this.#labels[i]!.textContent = t(name);
    });
    speciesNames.forEach((name, i) => {
      this.#presets[i]!.textContent = t(name);
      this.#bars[i]!.name.textContent = t(name);
    });
    this.#showSizes(this.#flower());
    if (this.#probabilities.length > 0) this.#show(this.#probabilities);
    this.#plane.render();
  }
}

let isShown = false;

/** アヤメのモデルがあれば、その区画を出す。モデルが読めるまで何度でも呼んでよい。 */
export async function offerIris(models: readonly Model[], onFlower: OnFlower): Promise<void> {
  if (isShown) return;
  const name = await findIris(models);
  if (name === undefined || isShown) return;
  isShown = true;
  new IrisPanel(name, onFlower);
}
