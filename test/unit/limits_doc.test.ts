import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { optionRows } from "../../src/options.ts";

const page = readFileSync(join(import.meta.dir, "..", "..", "docs", "limits.md"), "utf8");
const documented = [...page.matchAll(/^\|[^|]*\| `--(\w+)` \| (\S+) \|/gm)].map(([, flag, value]) => [
  flag,
  value,
]);

test("docs/limits.md tells the flags' real defaults", () => {
  const real = documented.map(([flag]) => [
    flag,
    String(optionRows.find((row) => row.flag === flag)?.default),
  ]);
  expect(documented).toEqual(real);
});

test("docs/limits.md has every flag that is a limit", () => {
  const limits = optionRows
    .map(({ flag }) => flag)
    .filter((flag) => /^(grpc_|rest_api_)?max_|^grpc_(reset|hand)|timeout|grace/.test(flag));
  const elsewhere = ["max_num_load_retries", "grpc_max_threads"];
  expect(documented.map(([flag]) => flag!).sort()).toEqual(
    limits.filter((flag) => !elsewhere.includes(flag)).sort(),
  );
});
