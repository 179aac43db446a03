import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Glob } from "bun";

const root = join(import.meta.dir, "..", "..");
const pages = ["*.md", "docs/**/*.md", "deploy/**/*.md"].flatMap((pattern) => [
  ...new Glob(pattern).scanSync(root),
]);

/** 見出しから GitHub が作る錨。 */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-");

const anchorsIn = (text: string): Set<string> =>
  new Set([...text.matchAll(/^#+ (.+)$/gm)].map(([, heading]) => anchorOf(heading!)));

test.each(pages)("the links of %s lead somewhere", (page) => {
  const text = readFileSync(join(root, page), "utf8").replace(/```[\s\S]*?```/g, "");
  const links = [...text.matchAll(/\]\((?<path>[^)#\s]*)(?:#(?<anchor>[^)\s]+))?\)/g)];
  const broken = links.flatMap(({ groups }) => {
    const { path = "", anchor } = groups!;
    if (path.includes("://")) return [];
    const target = path === "" ? page : join(dirname(page), path);
    if (!existsSync(join(root, target))) return [`${path} does not exist`];
    const misses =
      anchor !== undefined &&
      target.endsWith(".md") &&
      !anchorsIn(readFileSync(join(root, target), "utf8")).has(anchor);
    return misses ? [`${path}#${anchor} is no heading`] : [];
  });
  expect(broken).toEqual([]);
});
