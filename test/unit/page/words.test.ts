import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { chooseLanguage, isWord, languages, say, type Word, words } from "../../../src/page/words.ts";

const page = join(import.meta.dir, "../../../src/page");
const html = readFileSync(join(page, "index.html"), "utf8");
const keys = Object.keys(words) as Word[];
const holes = (text: string): string[] => [...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1]!).sort();

describe("words", () => {
  test.each(keys)("%s is said in every language, with the same values", (key) => {
    for (const language of languages) {
      expect(words[key][language].trim().length).toBeGreaterThan(0);
      expect(holes(words[key][language])).toEqual(holes(words[key].en));
    }
  });

  test("the Japanese table is Japanese", () => {
    const same = keys.filter((key) => say("en", key) === say("ja", key));
    expect(same).toEqual([]);
  });

  test("the page names only words that exist", () => {
    const named = [...html.matchAll(/data-word="([^"]*)"/g)].map((match) => match[1]!);
    expect(named.length).toBeGreaterThan(20);
    expect(named.filter((key) => !isWord(key))).toEqual([]);
  });

  test("every word is used", () => {
    const sources = readdirSync(page)
      .filter((name) => name.endsWith(".ts") && name !== "words.ts")
      .map((name) => readFileSync(join(page, name), "utf8"))
      .join("\n");
    // 種の名、寸法の名、呼べない訳は、組み立てた名で引かれる。
    const built = /^(obstacle_|setosa|versicolor|virginica|sepal_|petal_)/;
    const unused = keys.filter(
      (key) => !built.test(key) && !sources.includes(`"${key}"`) && !html.includes(`data-word="${key}"`),
    );
    expect(unused).toEqual([]);
  });
});

test.each([
  [["ja"], "ja"],
  [["ja-JP", "en"], "ja"],
  [["fr", "JA", "en"], "ja"],
  [["en-GB", "ja"], "en"],
  [["", "fr"], "en"],
  [[], "en"],
] as const)("a browser that prefers %j sees %s", (preferred, language) => {
  expect(chooseLanguage(preferred)).toBe(language);
});

test("say() fills the values in and leaves what has none", () => {
  expect(say("en", "verdict", { name: "Setosa", percent: "99 %" })).toBe("Setosa, 99 % sure");
  expect(say("ja", "verdict", { name: "Setosa" })).toBe("Setosa(確かさ {percent})");
});
