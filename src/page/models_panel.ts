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
    byId("models-table", HTMLDivElement).hidden = count === 0;
    byId("no-models", HTMLParagraphElement).hidden = count > 0;
    const rows = this.#models.flatMap((model) => this.#rowsOf(model));
    const body = byId("model-rows", HTMLTableSectionElement);
    body.replaceChildren(...rows);
    if (focused !== null && focused !== undefined) {
      body.querySelector<HTMLElement>(`[data-model="${CSS.escape(focused)}"]`)?.focus();
    }
  }

  /** 版ごとに 1 行。名前は最初の行にだけ書き、残りの行まで占める。 */
  #rowsOf({ name, versions }: Model): HTMLElement[] {
    const button = el("button", { type: "button", class: "link", "data-model": name }, name);
    button.addEventListener("click", () => this.#onPick(name));
    const head = el("th", { scope: "row", rowspan: String(Math.max(1, versions.length)) }, button);
    const current: Record<string, string> = name === this.#current ? { "aria-current": "true" } : {};
    if (versions.length === 0) return [el("tr", current, head, el("td", { colspan: "2" }, t("none")))];
    return versions.map((version, i) =>
      el(
        "tr",
        i === 0 ? current : { ...current, class: "more" },
        ...(i === 0 ? [head] : []),
        el("td", { class: "number" }, version.version),
        el("td", {}, stateCell(version)),
      ),
    );
  }
}
