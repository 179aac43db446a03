import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { opsDocument } from "../../../scripts/ops_doc.ts";
import { lateFamilies } from "../../../src/graph/ops/late_families.ts";

test("docs/ops.md is what the executor's table says", async () => {
  const written = readFileSync(join(import.meta.dir, "../../../docs/ops.md"), "utf8");
  // 古ければ `bun scripts/ops_doc.ts` で作り直す。
  expect(written).toBe(await opsDocument());
});

test.each(lateFamilies)(
  "a family that is loaded late has just the ops it is listed with: $ops",
  async ({ ops, load }) => {
    expect((await load()).map(({ op }) => op).sort()).toEqual([...ops].sort());
  },
);
