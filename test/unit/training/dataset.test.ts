import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseDataset, subset } from "../../../scripts/training/dataset.ts";

const csv = readFileSync(join(import.meta.dir, "../../../model/iris.csv"), "utf8");
const header = csv.split("\n")[0]!;

test("parseDataset() reads Fisher's 150 rows", () => {
  const { rows, labels } = parseDataset(csv);
  expect(rows).toHaveLength(150);
  expect([0, 1, 2].map((label) => labels.filter((l) => l === label).length)).toEqual([50, 50, 50]);
  expect(rows[0]).toEqual([5.1, 3.5, 1.4, 0.2]);
  expect(rows[149]).toEqual([5.9, 3.0, 5.1, 1.8]);
  // UCI の写しはこの 2 行が違う。
  expect(rows[34]).toEqual([4.9, 3.1, 1.5, 0.2]);
  expect(rows[37]).toEqual([4.9, 3.6, 1.4, 0.1]);
  const means = [0, 1, 2, 3].map((k) => rows.reduce((sum, row) => sum + row[k]!, 0) / 150);
  expect(means.map((mean) => mean.toFixed(4))).toEqual(["5.8433", "3.0573", "3.7580", "1.1993"]);
});

test.each([
  ["another header", "a,b,c,d,species\n", "line 1"],
  ["a missing column", `${header}\n5.1,3.5,1.4,setosa\n`, "line 2"],
  ["text for a number", `${header}\n5.1,3.5,1.4,0.2,setosa\n5.1,wide,1.4,0.2,setosa\n`, "line 3"],
  ["an empty cell", `${header}\n5.1,,1.4,0.2,setosa\n`, "line 2"],
  ["an unknown species", `${header}\n5.1,3.5,1.4,0.2,rosa\n`, "line 2"],
])("parseDataset() refuses %s, naming the line", (_, text, line) => {
  expect(() => parseDataset(text)).toThrow(line);
});

test("subset() keeps rows and labels together", () => {
  const { rows, labels } = subset(parseDataset(csv), [149, 0]);
  expect(rows.map((row) => row[0])).toEqual([5.9, 5.1]);
  expect(labels).toEqual([2, 0]);
});
