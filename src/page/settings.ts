import { byId, memory } from "./dom.ts";
import { chooseLanguage, isWord, type Language, languages, say, type Word } from "./words.ts";

type Theme = "light" | "dark";

const darkSystem = matchMedia("(prefers-color-scheme: dark)");
const listeners: (() => void)[] = [];
let language: Language = chooseLanguage([memory.read("language") ?? "", ...navigator.languages]);

const savedTheme = (): Theme | undefined => {
  const saved = memory.read("theme");
  return saved === "light" || saved === "dark" ? saved : undefined;
};
const currentTheme = (): Theme => savedTheme() ?? (darkSystem.matches ? "dark" : "light");

/** 今の言語での言葉。 */
export const t = (key: Word, values?: Readonly<Record<string, string>>): string => say(language, key, values);

/** 今の言語での数。 */
export const formatNumber = (value: number, digits: number): string =>
  value.toLocaleString(language, { minimumFractionDigits: digits, maximumFractionDigits: digits });

/** 言語か配色が変わったときに描き直す。登録したときにも一度呼ぶ。 */
export function onAppearance(render: () => void): void {
  listeners.push(render);
  render();
}

function apply(): void {
  document.documentElement.lang = language;
  const saved = savedTheme();
  if (saved === undefined) delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = saved;
  for (const element of document.querySelectorAll<HTMLElement>("[data-word]")) {
    const key = element.dataset["word"]!;
    if (isWord(key)) element.textContent = t(key);
  }
  const button = byId("language", HTMLButtonElement);
  button.textContent = t("otherLanguage");
  button.lang = languages.find((other) => other !== language)!;
  const theme = byId("theme", HTMLButtonElement);
  theme.title = t(currentTheme() === "dark" ? "toLight" : "toDark");
  theme.setAttribute("aria-label", theme.title);
  for (const render of listeners) render();
}

/** 言語と配色の切り替えをつなぐ。 */
export function startSettings(): void {
  byId("language", HTMLButtonElement).addEventListener("click", () => {
    language = languages.find((other) => other !== language)!;
    memory.write("language", language);
    apply();
  });
  byId("theme", HTMLButtonElement).addEventListener("click", () => {
    memory.write("theme", currentTheme() === "dark" ? "light" : "dark");
    apply();
  });
  darkSystem.addEventListener("change", apply);
  apply();
}
