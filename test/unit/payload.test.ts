import { expect, test } from "bun:test";
import { join } from "node:path";
import { checkAssets, digestAssets, digestEmbeddedModel, readPayload } from "../../src/payload.ts";
import { diskStorage } from "../../src/savedmodel/storage.ts";
import { digestDirectory } from "../../src/servables/content_digest.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const sha256 = (text: string) => new Bun.CryptoHasher("sha256").update(text).digest("hex");

test("every file that the executable carries has a digest", async () => {
  expect(Object.keys(await digestAssets()).sort()).toEqual([
    "model/1/saved_model.pb",
    "model/1/variables/variables.data-00000-of-00001",
    "model/1/variables/variables.index",
    "wasm/plain",
    "wasm/simd",
  ]);
});

test("the embedded model's digest is that of its directory", async () => {
  const directory = join(import.meta.dir, "..", "..", "model", "iris", "1");
  expect(await digestEmbeddedModel(await readPayload())).toEqual({
    version: "1",
    sha256: await digestDirectory(diskStorage, directory, new AbortController().signal),
  });
});

test("an altered or missing file is refused by name", () => {
  const expected = { a: sha256("one"), b: sha256("two") };
  checkAssets(
    new Map([
      ["a", bytes("one")],
      ["b", bytes("two")],
    ]),
    expected,
  );
  expect(() =>
    checkAssets(
      new Map([
        ["a", bytes("one")],
        ["b", bytes("twO")],
      ]),
      expected,
    ),
  ).toThrow(
    `This executable is damaged: its file b has SHA-256 ${sha256("twO")}, it was built with ${sha256("two")}`,
  );
  expect(() => checkAssets(new Map([["a", bytes("one")]]), expected)).toThrow("file b has SHA-256 nothing");
});
