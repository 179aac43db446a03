import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { opsDocument } from "../../../scripts/ops_doc.ts";

test("docs/ops.md is what the executor's table says", () => {
  const written = readFileSync(join(import.meta.dir, "../../../docs/ops.md"), "utf8");
  // 古ければ `bun scripts/ops_doc.ts` で作り直す。
  expect(written).toBe(opsDocument());
});
