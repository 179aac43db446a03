import { describe, expect, test } from "bun:test";
import { memoryStorage } from "../../../src/savedmodel/storage.ts";
import { checkManifest, parseManifest } from "../../../src/servables/manifest.ts";

const never = new AbortController().signal;
const bytes = (text: string) => new TextEncoder().encode(text);
const sha256 = (text: string) => new Bun.CryptoHasher("sha256").update(text).digest("hex");

const files = { "saved_model.pb": "graph", "variables/variables.index": "index" };
const sums = (of: Record<string, string>) =>
  Object.entries(of)
    .map(([path, text]) => `${sha256(text)}  ${path}\n`)
    .join("");
const check = (tree: Record<string, string>) =>
  checkManifest(
    memoryStorage(new Map(Object.entries(tree).map(([path, text]) => [`/m/1/${path}`, bytes(text)]))),
    "/m/1",
    never,
  );

describe("checkManifest() accepts", () => {
  test.each(["SHA256SUMS", "assets.extra/SHA256SUMS"])("%s", async (name) => {
    await check({ ...files, [name]: sums(files) });
  });
  test("./ before the paths, * and upper case", async () => {
    const text = sums(files)
      .replaceAll("  ", " *./")
      .replace(/^\w+/gm, (digest) => digest.toUpperCase());
    await check({ ...files, SHA256SUMS: text });
  });
  test("the one in the version directory before the other, which is a file like any", async () => {
    const all = { ...files, "assets.extra/SHA256SUMS": "anything" };
    await check({ ...all, SHA256SUMS: sums(all) });
  });
});

describe("checkManifest() refuses", () => {
  const rows: [string, Record<string, string>, string][] = [
    ["no manifest", files, "/m/1/SHA256SUMS; No manifest, and --require_model_manifest is set"],
    [
      "an altered file",
      { ...files, "saved_model.pb": "grapH", SHA256SUMS: sums(files) },
      `/m/1/saved_model.pb; SHA-256 is ${sha256("grapH")}, but SHA256SUMS says ${sha256("graph")}`,
    ],
    [
      "a missing file",
      { "saved_model.pb": "graph", SHA256SUMS: sums(files) },
      "/m/1/variables/variables.index; Listed in SHA256SUMS, but missing",
    ],
    [
      "a file that is not listed",
      { ...files, "assets.extra/tf_serving_warmup_requests": "", SHA256SUMS: sums(files) },
      "/m/1/assets.extra/tf_serving_warmup_requests; Not listed in SHA256SUMS",
    ],
    ["an empty manifest", { ...files, SHA256SUMS: "" }, "/m/1/saved_model.pb; Not listed in SHA256SUMS"],
    [
      "a manifest of something else",
      { ...files, SHA256SUMS: "hello\n" },
      "/m/1/SHA256SUMS; Line 1 is not a line of sha256sum",
    ],
  ];
  test.each(rows)("%s", async (_, tree, message) => {
    await expect(check(tree)).rejects.toThrow(message);
  });
});

test.each([
  ["a short digest", `${"a".repeat(63)}  f`],
  ["one space", `${"a".repeat(64)} f`],
  ["no path", `${"a".repeat(64)}  `],
  ["an escaped path", `\\${"a".repeat(64)}  a\\nb`],
  ["a path twice", `${"a".repeat(64)}  f\n${"b".repeat(64)}  ./f`],
])("parseManifest() refuses %s", (_, text) => {
  expect(() => parseManifest("/S", text)).toThrow("/S; Line");
});
