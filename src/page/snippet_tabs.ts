import { byId, el } from "./dom.ts";
import { t } from "./settings.ts";
import { buildSnippet, type SnippetCall, type SnippetKind, snippetKinds } from "./snippets.ts";

/** 固有の名前なので訳さない。 */
const titles: Readonly<Record<SnippetKind, string>> = {
  curl: "curl",
  grpcurl: "grpcurl",
  python: "Python (REST)",
  python_grpc: "Python (gRPC)",
  typescript: "TypeScript",
};

const COPIED_MS = 1500;

/** 写しを許されない所(https でも localhost でもない)では、選んで写す昔の方法を使う。 */
async function copyText(source: HTMLElement): Promise<void> {
  try {
    await navigator.clipboard.writeText(source.textContent);
  } catch {
    getSelection()?.selectAllChildren(source);
    document.execCommand("copy");
  }
}

/**
 * 同じ呼び出しの書き方を選ぶ札。矢印で移る。
 *
 * @see https://www.w3.org/WAI/ARIA/apg/patterns/tabs/
 */
export class SnippetTabs {
  readonly #call: () => SnippetCall | undefined;
  readonly #buttons = new Map<SnippetKind, HTMLButtonElement>();
  readonly #copy = byId("copy", HTMLButtonElement);
  readonly #code = byId("snippet", HTMLPreElement);
  #kind: SnippetKind = "curl";

  constructor(call: () => SnippetCall | undefined) {
    this.#call = call;
    for (const kind of snippetKinds) {
      const button = el("button", {
        type: "button",
        role: "tab",
        id: `tab-${kind}`,
        "aria-controls": "snippet",
      });
      button.textContent = titles[kind];
      button.addEventListener("click", () => this.#choose(kind));
      button.addEventListener("keydown", (event) => this.#moveBy(event));
      this.#buttons.set(kind, button);
    }
    byId("tabs", HTMLDivElement).append(...this.#buttons.values());
    this.#copy.addEventListener("click", () => {
      void copyText(this.#code).then(() => {
        this.#copy.textContent = t("copied");
        setTimeout(() => {
          this.#copy.textContent = t("copy");
        }, COPIED_MS);
      });
    });
  }

  /** @returns 描いた呼び出し。 */
  render(): SnippetCall | undefined {
    for (const [kind, button] of this.#buttons) {
      const isChosen = kind === this.#kind;
      button.setAttribute("aria-selected", String(isChosen));
      button.tabIndex = isChosen ? 0 : -1;
    }
    this.#code.setAttribute("aria-labelledby", `tab-${this.#kind}`);
    const call = this.#call();
    const snippet = call && buildSnippet(this.#kind, call);
    const isGrpc = this.#kind === "grpcurl" || this.#kind === "python_grpc";
    this.#code.textContent = snippet ?? t(isGrpc && call?.grpc.port === 0 ? "noGrpcPort" : "noSnippet");
    this.#copy.hidden = snippet === undefined;
    return call;
  }

  #choose(kind: SnippetKind): void {
    this.#kind = kind;
    this.render();
  }

  #moveBy(event: KeyboardEvent): void {
    const at = snippetKinds.indexOf(this.#kind);
    const last = snippetKinds.length - 1;
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const kind = snippetKinds[(to + snippetKinds.length) % snippetKinds.length]!;
    this.#choose(kind);
    this.#buttons.get(kind)?.focus();
  }
}
