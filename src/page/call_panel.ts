import { type Answer, hasKey, type Model, post, readMetadata } from "./api.ts";
import { byId, el, setOptions } from "./dom.ts";
import { formatJson } from "./format_json.ts";
import { buildSample, findObstacle, firstGuess, searchSample, wasComputed } from "./sample.ts";
import { formatNumber, onAppearance, t } from "./settings.ts";
import { readSignatures, type SignatureSpec, type TensorSpec } from "./signature.ts";
import { SnippetTabs } from "./snippet_tabs.ts";
import { urlOf } from "./snippets.ts";

/** これより長い応答は、頁を重くしないよう先頭だけを見せる。 */
const MAX_SHOWN = 20_000;
const LATEST = "";
const DEFAULT = "serving_default";

function tensorRows(tensors: readonly TensorSpec[]): HTMLElement[] {
  if (tensors.length === 0) return [el("tr", {}, el("td", { colspan: "3" }, t("none")))];
  return tensors.map(({ alias, dtype, shape }) => {
    const sizes = shape?.map((size) => (size < 0 ? "?" : String(size))).join(" × ");
    const text = sizes === undefined ? t("anyShape") : sizes === "" ? t("scalar") : sizes;
    return el("tr", {}, el("td", {}, alias), el("td", {}, dtype), el("td", {}, text));
  });
}

/** シグネチャを見て、呼び、写すところ。 */
export class CallPanel {
  readonly #model = byId("pick-model", HTMLSelectElement);
  readonly #version = byId("pick-version", HTMLSelectElement);
  readonly #signature = byId("pick-signature", HTMLSelectElement);
  readonly #editor = byId("editor", HTMLTextAreaElement);
  readonly #send = byId("send", HTMLButtonElement);
  readonly #tabs: SnippetTabs;
  readonly #onPick: (model: string) => void;
  #models: readonly Model[] = [];
  #signatures: readonly SignatureSpec[] = [];
  /** 見本を入れたときの文面。違えば利用者が書き換えている。 */
  #sample = "";
  /** モデル → 既定のシグネチャの見本。頁の別の所から勧められたもの。 */
  readonly #suggestions = new Map<string, string>();
  #problem = "";
  #answer: Answer | undefined;
  #tries = 1;
  /** 今読んでいるもの。遅れて届いた前のものを捨てる。 */
  #reading = "";

  constructor(grpc: { readonly port: number; readonly tls: boolean }, onPick: (model: string) => void) {
    this.#onPick = onPick;
    this.#tabs = new SnippetTabs(() => {
      const signature = this.#current();
      if (signature === undefined) return undefined;
      const version = this.#version.value;
      return {
        origin: location.origin,
        grpc: { host: location.hostname, ...grpc },
        needsKey: hasKey(),
        model: this.#model.value,
        ...(version === LATEST ? {} : { version }),
        signature,
        text: this.#editor.value,
      };
    });
    this.#model.addEventListener("change", () => this.pick(this.#model.value));
    this.#version.addEventListener("change", () => void this.#load());
    this.#signature.addEventListener("change", () => this.#restore());
    this.#editor.addEventListener("input", () => this.#tabs.render());
    this.#editor.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void this.#call();
    });
    this.#send.addEventListener("click", () => void this.#call());
    byId("restore", HTMLButtonElement).addEventListener("click", () => this.#restore());
    onAppearance(() => this.#render());
  }

  setModels(models: readonly Model[]): void {
    const isFirst = this.#models.length === 0;
    const names = (list: readonly Model[]): string => list.map(({ name }) => name).join("\n");
    if (names(models) !== names(this.#models)) {
      setOptions(
        this.#model,
        models.map(({ name }) => [name, name]),
      );
    }
    this.#models = models;
    byId("call", HTMLElement).hidden = models.length === 0;
    const first = models.find(({ name }) => name === "iris") ?? models[0];
    if (isFirst && first !== undefined) this.pick(first.name);
    else this.#showVersions();
  }

  pick(model: string): void {
    this.#model.value = model;
    this.#version.value = LATEST;
    this.#showVersions();
    this.#onPick(model);
    void this.#load();
  }

  /** 既定のシグネチャの見本を決める。手を入れていない見本はその場で入れ替わる。 */
  suggest(model: string, body: object): void {
    this.#suggestions.set(model, formatJson(body));
    const isUntouched = this.#answer === undefined && this.#editor.value === this.#sample;
    if (model === this.#model.value && this.#current()?.key === DEFAULT && isUntouched) this.#restore();
  }

  #current(): SignatureSpec | undefined {
    return this.#signatures.find(({ key }) => key === this.#signature.value);
  }

  #showVersions(): void {
    const versions = this.#models.find(({ name }) => name === this.#model.value)?.versions ?? [];
    const open = versions.filter(({ state }) => state === "AVAILABLE");
    const options = [
      [LATEST, t("latest")] as const,
      ...open.map(({ version }) => [version, version] as const),
    ];
    const shown = [...this.#version.options].map(({ value, text }) => `${value} ${text}`).join("\n");
    if (shown !== options.map((option) => option.join(" ")).join("\n")) setOptions(this.#version, options);
  }

  async #load(): Promise<void> {
    const model = this.#model.value;
    const version = this.#version.value;
    const reading = `${model}\n${version}`;
    this.#reading = reading;
    let signatures: readonly SignatureSpec[] = [];
    let problem = "";
    try {
      signatures = readSignatures(await readMetadata(model, version === LATEST ? undefined : version));
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
    }
    if (this.#reading !== reading) return;
    this.#signatures = signatures;
    this.#problem = problem;
    setOptions(
      this.#signature,
      signatures.map(({ key }) => [key, key]),
    );
    this.#restore();
  }

  #restore(): void {
    const signature = this.#current();
    this.#sample = signature === undefined ? "" : this.#sampleOf(signature);
    this.#editor.value = this.#sample;
    this.#answer = undefined;
    this.#tries = 1;
    this.#render();
  }

  #sampleOf(signature: SignatureSpec): string {
    const suggested = signature.key === DEFAULT ? this.#suggestions.get(this.#model.value) : undefined;
    return suggested ?? formatJson(buildSample(signature, firstGuess(signature)).body);
  }

  /** 手を入れていない見本なら、断られても受け取られるものを探す。 */
  async #call(): Promise<void> {
    const signature = this.#current();
    if (signature === undefined || this.#send.disabled) return;
    const model = this.#model.value;
    const version = this.#version.value === LATEST ? undefined : this.#version.value;
    const reading = this.#reading;
    this.#send.disabled = true;
    this.#send.textContent = t("sending");
    let answer: Answer;
    const isGenerated =
      this.#sample === formatJson(buildSample(signature, firstGuess(signature)).body) &&
      this.#editor.value === this.#sample;
    if (isGenerated) {
      const found = await searchSample(signature, ({ verb, body }) =>
        post(model, version, verb, JSON.stringify(body)),
      );
      answer = found.answer;
      this.#tries = found.tries;
      const isGood = answer.ok || wasComputed(answer.text);
      if (isGood && this.#reading === reading && this.#current() === signature) {
        this.#sample = formatJson(found.sample.body);
        this.#editor.value = this.#sample;
      }
    } else {
      this.#tries = 1;
      answer = await post(model, version, signature.verb, this.#editor.value);
    }
    if (this.#reading === reading && this.#current() === signature) this.#answer = answer;
    this.#render();
  }

  #render(): void {
    this.#showVersions();
    const signature = this.#current();
    const obstacle = signature && findObstacle(signature);
    byId("input-rows", HTMLTableSectionElement).replaceChildren(...tensorRows(signature?.inputs ?? []));
    byId("output-rows", HTMLTableSectionElement).replaceChildren(...tensorRows(signature?.outputs ?? []));
    const notice = byId("call-problem", HTMLParagraphElement);
    notice.textContent =
      this.#problem !== ""
        ? t("metadataMissing", { reason: this.#problem })
        : obstacle === undefined
          ? ""
          : t(`obstacle_${obstacle.kind}`, { alias: "", dtype: "", ...obstacle });
    notice.hidden = notice.textContent === "";
    // 答えの型だけが書けないものは、送れば gRPC で通る見本が見つかるので、止めない。
    this.#send.disabled =
      signature === undefined || (obstacle !== undefined && obstacle.kind !== "output_dtype");
    this.#send.textContent = t("send");
    const call = this.#tabs.render();
    byId("target", HTMLElement).textContent =
      call === undefined ? "" : `POST ${decodeURI(new URL(urlOf(call)).pathname)}`;
    this.#renderAnswer();
  }

  #renderAnswer(): void {
    const pane = byId("answer", HTMLPreElement);
    const status = byId("status", HTMLOutputElement);
    const note = byId("answer-note", HTMLParagraphElement);
    pane.dataset["empty"] = t("noResponse");
    const answer = this.#answer;
    const text = answer?.text ?? "";
    pane.textContent = text.slice(0, MAX_SHOWN);
    status.className = `status ${answer === undefined ? "" : answer.ok ? "ok" : "failed"}`;
    status.textContent =
      answer === undefined
        ? ""
        : answer.status === 0
          ? t("unreachable")
          : t("answered", { status: String(answer.status), ms: formatNumber(answer.milliseconds, 1) });
    const notes = [
      ...(this.#tries > 1 && answer?.ok === true ? [t("adjusted", { count: String(this.#tries) })] : []),
      ...(text.length > MAX_SHOWN
        ? [t("cut", { shown: formatNumber(MAX_SHOWN, 0), total: formatNumber(text.length, 0) })]
        : []),
    ];
    note.textContent = notes.join(" ");
  }
}
