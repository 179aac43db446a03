import { describe, expect, test } from "bun:test";
import { labelPlaces, paintRegions } from "../../../src/page/decision_map.ts";
import { formatJson } from "../../../src/page/format_json.ts";
import { featureNames, flowers, ranges, speciesNames, typicalFlower } from "../../../src/page/iris_data.ts";
import { Latest } from "../../../src/page/latest.ts";

describe("the data in the page", () => {
  test("are the 150 flowers, fifty of a kind", () => {
    for (const name of speciesNames) {
      expect(flowers.filter(({ species }) => species === name)).toHaveLength(50);
    }
    expect(flowers).toHaveLength(150);
    expect(flowers.flatMap(({ sizes }) => sizes).every((size) => size > 0 && size < 10)).toBe(true);
  });

  test("give the sliders their ranges", () => {
    expect(ranges.map(({ min, max }) => [min, max])).toEqual([
      [4.3, 7.9],
      [2, 4.4],
      [1, 6.9],
      [0.1, 2.5],
    ]);
  });

  test.each([...speciesNames])("have a typical %s inside the ranges", (name) => {
    const flower = typicalFlower(name);
    expect(flower).toHaveLength(featureNames.length);
    flower.forEach((size, i) => {
      expect(size).toBeWithin(ranges[i]!.min, ranges[i]!.max);
    });
  });
});

describe("the decision map", () => {
  // 左半分は 0、右半分は 1 の種。
  const columns = 21;
  const rows = 21;
  const values = Array.from({ length: columns * rows }, (_, cell) =>
    cell % columns < columns / 2 ? [0.9, 0.1] : [0.2, 0.8],
  ).flat();
  const grid = { columns, rows, classes: 2, values };

  test("has the colour of the likeliest kind, more of it where it is surer", () => {
    const [width, height] = [20, 10];
    const pixels = paintRegions(
      grid,
      width,
      height,
      [
        [255, 0, 0],
        [0, 0, 255],
      ],
      [255, 255, 255],
    );
    const at = (x: number): number[] => [...pixels.slice((5 * width + x) * 4, (5 * width + x) * 4 + 4)];
    const [left, right] = [at(0), at(width - 1)];
    expect(left[0]).toBe(255);
    expect(left[1]!).toBeLessThan(200);
    expect(right[2]).toBe(255);
    expect(left[3]).toBe(255);
    expect(left[1]!).toBeLessThan(right[1]!);
  });

  test("is drawn with the last row of the grid on top", () => {
    const tall = { columns: 2, rows: 2, classes: 2, values: [1, 0, 1, 0, 0, 1, 0, 1] };
    const pixels = paintRegions(
      tall,
      2,
      2,
      [
        [0, 0, 0],
        [255, 255, 255],
      ],
      [128, 128, 128],
    );
    expect(pixels[0]!).toBeGreaterThan(128);
    expect(pixels[2 * 4]!).toBeLessThan(128);
  });

  test("puts a label into each region that has room, away from the points", () => {
    const places = labelPlaces(grid, [
      [0.2, 0.2],
      [0.8, 0.8],
    ]);
    expect(places.map(({ species }) => species)).toEqual([0, 1]);
    expect(places[0]!.x).toBeLessThan(0.45);
    expect(places[0]!.y).toBeGreaterThan(0.3);
    expect(places[1]!.x).toBeGreaterThan(0.55);
    expect(places[1]!.y).toBeLessThan(0.7);
  });

  test("puts none where there is no room", () => {
    const sliver = values.map((value, i) => (Math.floor(i / 2) % columns === 0 ? value : [0.1, 0.9][i % 2]!));
    expect(labelPlaces({ ...grid, values: sliver }, []).map(({ species }) => species)).toEqual([1]);
  });
});

describe("formatJson()", () => {
  test.each([
    [{ instances: [[0.5, 1]] }, '{"instances": [[0.5, 1]]}'],
    [{}, "{}"],
    [[], "[]"],
    ["a", '"a"'],
    [null, "null"],
  ])("writes %j in one line", (value, text) => {
    expect(formatJson(value)).toBe(text);
  });

  test("breaks what is long, never beyond the width, without changing it", () => {
    const value = {
      inputs: {
        x: [Array.from({ length: 60 }, (_, i) => i / 10)],
        s: Array.from({ length: 30 }, () => "word"),
      },
    };
    const text = formatJson(value);
    expect(JSON.parse(text)).toEqual(value);
    expect(text.split("\n").length).toBeGreaterThan(5);
    expect(Math.max(...text.split("\n").map((line) => line.length))).toBeLessThanOrEqual(76);
  });
});

describe("Latest", () => {
  test("runs one at a time and keeps only the last that waits", async () => {
    const latest = new Latest();
    const log: string[] = [];
    const first = Promise.withResolvers<void>();
    const done = Promise.withResolvers<void>();
    latest.run(async () => {
      log.push("first begins");
      await first.promise;
      log.push("first ends");
    });
    latest.run(async () => void log.push("dropped"));
    latest.run(async () => {
      log.push("last");
      done.resolve();
    });
    first.resolve();
    await done.promise;
    expect(log).toEqual(["first begins", "first ends", "last"]);
  });
});
