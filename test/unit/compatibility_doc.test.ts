import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { withReference } from "../../scripts/compatibility_doc.ts";
import { errorTexts } from "../../scripts/compatibility_texts.ts";

const root = join(import.meta.dir, "..", "..");

test("docs/compatibility.md is generated from the flags, the messages and the texts", () => {
  // 古ければ `bun scripts/compatibility_doc.ts` で作り直す。
  const document = readFileSync(join(root, "docs", "compatibility.md"), "utf8");
  expect(document).toBe(withReference(document));
});

/** 文を言う側(src)と、文を求める側(試験)の文字列。`+` で継いだものはつなぐ。 */
const spoken = ["src", "test"]
  .flatMap((top) =>
    readdirSync(join(root, top), { recursive: true, encoding: "utf8" }).map((name) => join(root, top, name)),
  )
  .filter((path) => /\.ts$|calls\.json$/.test(path) && !/src.gen|compatibility_doc/.test(path))
  .map((path) => readFileSync(path, "utf8"))
  .join("\n")
  .replaceAll(/["'`]\s*\+\s*["'`]/g, "")
  .replaceAll(/\\(["'`\\])/g, "$1");

/** これより短い断片は、どこにでもある。 */
const SHORTEST = 6;

test.each(errorTexts.filter(({ verdict }) => verdict !== "not applicable"))(
  "said in src or by a test: $text",
  (row) => {
    // gRPC の層(grpc-js)の文は、ここには書かれていない。
    if (row.verdict === "differs") return;
    const fixed = row.text.split(/<[a-z]+>|\{\{\{|[{}]/).map((part) => part.trim());
    const said = fixed.filter((part) => part.length >= SHORTEST);
    expect(said.filter((part) => !spoken.includes(part))).toEqual([]);
  },
);
