import { listModels, type Model, type ModelVersion } from "./api.ts";
import { byId, el } from "./dom.ts";
import { onAppearance, t } from "./settings.ts";

const INTERVAL_MS = 2000;

function stateCell({ state, error }: ModelVersion): HTMLElement {
  const badge = el("span", { class: `state ${error === "" ? state : "failed"}` }, state);
  return error === "" ? badge : el("span", {}, badge, el("span", { class: "reason" }, error));
}

/** モデルと版の状態の表。 */
export class ModelsPanel {
  readonly #onModels: (models: readonly Model[]) => void;
  readonly #onPick: (model: string) => void;
  #models: readonly Model[] | undefined;
  #current = "";
  #shown = "";

  constructor(onModels: (models: readonly Model[]) => void, onPick: (model: string) => void) {
    this.#onModels = onModels;
    this.#onPick = onPick;
    onAppearance(() => this.#render());
    void this.#poll();
  }

  setCurrent(model: string): void {
    this.#current = model;
    this.#render();
  }

  async #poll(): Promise<void> {
    if (!document.hidden || this.#models === undefined) {
      const models = await listModels().catch(() => undefined);
      // 鍵を求められているのは、切れたのとは違う。
      byId("lost", HTMLParagraphElement).hidden =
        models !== undefined || !byId("key-form", HTMLFormElement).hidden;
      if (models !== undefined) {
        this.#models = models;
        this.#onModels(models);
        const state = JSON.stringify(models);
        // 変わらない表は描き直さない。焦点や選択を奪わないように。
        if (state !== this.#shown) {
          this.#shown = state;
          this.#render();
        }
      }
    }
    setTimeout(() => void this.#poll(), INTERVAL_MS);
  }

  #render(): void {
    if (this.#models === undefined) return;
    const count = this.#models.length;
    byId("models-count", HTMLElement).textContent =
      count === 0
        ? t("modelsNone")
        : count === 1
          ? t("modelsOne")
          : t("modelsCount", { count: String(count) });
    const focused = document.activeElement?.getAttribute("data-model");
    const rows = this.#models.map(({ name, versions }) => {
      const button = el("button", { type: "button", class: "link", "data-model": name }, name);
      button.addEventListener("click", () => this.#onPick(name));
      return el(
        "tr",
        name === this.#current ? { "aria-current": "true" } : {},
        el("td", {}, button),
        el(
          "td",
          {},
          el("div", { class: "versions" }, ...versions.map(({ version }) => el("span", {}, version))),
        ),
        el("td", {}, el("div", { class: "versions" }, ...versions.map(stateCell))),
      );
    });
    const body = byId("model-rows", HTMLTableSectionElement);
    body.replaceChildren(...rows);
    if (focused !== null && focused !== undefined) {
      body.querySelector<HTMLElement>(`[data-model="${CSS.escape(focused)}"]`)?.focus();
    }
  }
}
