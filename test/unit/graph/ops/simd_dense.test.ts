import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { compileWasm, wasmModules } from "../../../../scripts/wasm.ts";
import { type Layer, SimdDense } from "../../../../src/graph/ops/simd_dense.ts";

type Net = readonly Layer[];
const innerOf = ({ weights, biases }: Layer): number => weights.length / biases.length;

/** 値と、float で計算したときに許される誤差。 */
interface Bounded {
  readonly value: number;
  readonly error: number;
}

/** float の丸め 1 回の、値に対する誤差。 */
const ROUNDING = 2 ** -24;
/** e^x と、その後の数回の計算の誤差。 */
const EXP_ERROR = 16 * ROUNDING;

/** 和の誤差は、値ではなく、足すものの絶対値の和で決まる(打ち消し合えば値はいくらでも小さくなる)。 */
function weighted(x: readonly Bounded[], { weights, biases }: Layer, column: number): Bounded {
  let value = biases[column]!;
  let magnitude = Math.abs(value);
  let inherited = 0;
  for (const [p, from] of x.entries()) {
    const weight = weights[p * biases.length + column]!;
    value += from.value * weight;
    magnitude += Math.abs(from.value * weight);
    inherited += from.error * Math.abs(weight);
  }
  return { value, error: inherited + (x.length + 1) * ROUNDING * (magnitude + inherited) };
}

function activate({ value, error }: Bounded, activation: Layer["activation"]): Bounded {
  if (activation === "relu") return { value: Math.max(value, 0), error };
  if (activation === "relu6") return { value: Math.min(Math.max(value, 0), 6), error };
  // 傾きは 1/4 まで。
  if (activation === "sigmoid") return { value: 1 / (1 + Math.exp(-value)), error: error / 4 + EXP_ERROR };
  return { value, error };
}

function softmaxOf(x: readonly Bounded[]): Bounded[] {
  const high = Math.max(...x.map(({ value }) => value));
  const powers = x.map(({ value }) => Math.exp(value - high));
  const total = powers.reduce((sum, power) => sum + power, 0);
  // 最大値を引いたときの丸めは、差の大きさによる。
  const spread = Math.max(...x.map(({ value, error }) => error + ROUNDING * (high - value)));
  return powers.map((power) => ({
    value: power / total,
    error: (power / total) * (Math.expm1(2 * spread) + EXP_ERROR + x.length * ROUNDING) + 2 ** -126,
  }));
}

/** 倍精度で、書いてあるとおりに。 */
function reference(net: Net, x: Float32Array, rows: number): Bounded[] {
  const inner = innerOf(net[0]!);
  return Array.from({ length: rows }, (_, row) => {
    let values = Array.from(x.subarray(row * inner, (row + 1) * inner), (value) => ({ value, error: 0 }));
    for (const layer of net) {
      const sums = Array.from(layer.biases, (_, column) => weighted(values, layer, column));
      values =
        layer.activation === "softmax" ? softmaxOf(sums) : sums.map((sum) => activate(sum, layer.activation));
    }
    return values;
  }).flat();
}

/** 決まった手順で作る、0 の周りの値の列。 */
function filled(length: number, seed: number, scale: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => scale * Math.sin(seed * 97.3 + i * 1.7));
}

const nets = fc
  .record({
    widths: fc.array(fc.integer({ min: 1, max: 19 }), { minLength: 2, maxLength: 5 }),
    activations: fc.array(fc.constantFrom("linear", "relu", "relu6", "sigmoid" as const), {
      minLength: 4,
      maxLength: 4,
    }),
    softmax: fc.boolean(),
    seed: fc.integer({ min: 1, max: 1000 }),
    scale: fc.constantFrom(0.3, 1, 4),
  })
  .map(({ widths, activations, softmax, seed, scale }): Net => {
    const layers = widths.slice(1).map((columns, i) => ({
      weights: filled(widths[i]! * columns, seed + i, scale / Math.sqrt(widths[i]!)),
      biases: filled(columns, seed + i + 0.5, scale),
      activation: activations[i] as Layer["activation"],
    }));
    if (softmax) layers[layers.length - 1] = { ...layers.at(-1)!, activation: "softmax" };
    return layers;
  });

test("agrees with double precision, whatever the number of rows", () => {
  fc.assert(
    fc.property(nets, fc.constantFrom(0, 1, 2, 3, 4, 5, 7, 8, 33, 700), (net, rows) => {
      const x = filled(rows * innerOf(net[0]!), rows + 0.3, 3);
      const got = new SimdDense(net).run(x, rows);
      const wanted = reference(net, x, rows);
      expect(got.length).toBe(wanted.length);
      const wrong = wanted.findIndex(({ value, error }, i) => !(Math.abs(got[i]! - value) <= error));
      expect(wrong).toBe(-1);
    }),
    { numRuns: 150 },
  );
});

test("a row is the same to the last bit, alone and among others", () => {
  fc.assert(
    fc.property(nets, fc.constantFrom(2, 5, 8, 600), (net, rows) => {
      const inner = innerOf(net[0]!);
      const x = filled(rows * inner, rows, 3);
      const simd = new SimdDense(net);
      const together = simd.run(x, rows);
      const columns = net.at(-1)!.biases.length;
      for (const row of [0, 1, rows - 2, rows - 1]) {
        const alone = simd.run(x.slice(row * inner, (row + 1) * inner), 1);
        expect(alone).toEqual(together.slice(row * columns, (row + 1) * columns));
      }
    }),
    { numRuns: 60 },
  );
});

test("more weights than there is room for, used in turn", () => {
  const nets = Array.from({ length: 12 }, (_, seed): Net => {
    const [wide, narrow] = [300, 100];
    return [
      { weights: filled(wide * narrow, seed, 0.1), biases: filled(narrow, seed, 1), activation: "linear" },
    ];
  });
  const simds = nets.map((net) => new SimdDense(net));
  const x = filled(300, 5, 1);
  for (let turn = 0; turn < 3; turn++) {
    for (const [i, simd] of simds.entries()) {
      const wanted = reference(nets[i]!, x, 1);
      for (const [j, value] of simd.run(x, 1).entries()) {
        expect(Math.abs(value - wanted[j]!.value)).toBeLessThanOrEqual(wanted[j]!.error);
      }
    }
  }
});

const identity = (size: number, activation: Layer["activation"]): Net => [
  {
    weights: Float32Array.from({ length: size * size }, (_, i) => Number(i % (size + 1) === 0)),
    biases: new Float32Array(size),
    activation,
  },
];
const single = (activation: Layer["activation"], ...x: number[]): number[] =>
  x.map((value) => new SimdDense(identity(1, activation)).run(Float32Array.of(value), 1)[0]!);

test("values that are no numbers, and those at the ends", () => {
  const { NaN: nan, POSITIVE_INFINITY: inf } = Number;
  expect(single("linear", nan, inf, -inf)).toEqual([nan, inf, -inf]);
  expect(single("relu", nan, inf, -inf, -1, 2)).toEqual([nan, inf, 0, 0, 2]);
  expect(single("relu6", nan, inf, -inf, 5, 7)).toEqual([nan, 6, 0, 5, 6]);
  expect(single("sigmoid", nan, inf, -inf, 0, 200, -200)).toEqual([nan, 1, 0, 0.5, 1, 0]);

  const softmax = (...x: number[]) => [
    ...new SimdDense(identity(x.length, "softmax")).run(Float32Array.from(x), 1),
  ];
  expect(softmax(-1)).toEqual([1]);
  expect(softmax(1000, 0, -1000)).toEqual([1, 0, 0]);
  expect(softmax(3, 3, 3, 3)).toEqual([0.25, 0.25, 0.25, 0.25]);
  // 0 を掛けた無限大は NaN なので、行はすべて NaN になる。
  expect(softmax(inf, 1)).toEqual([nan, nan]);
  expect(softmax(nan, 1, 1, 1, 1)).toEqual([nan, nan, nan, nan, nan]);
  // 最小の正規数までは値があり、その先は 0。
  expect(softmax(0, -87)[1]).toBeCloseTo(Math.exp(-87), 42);
  expect(softmax(0, -88)[1]).toBe(0);
});

test.each([...wasmModules])("src/gen/wasm/%s.ts is what its source compiles to", async (name, pages) => {
  const written = readFileSync(join(import.meta.dir, `../../../../src/gen/wasm/${name}.ts`), "utf8");
  // 古ければ `bun run generate` で作り直す。
  expect(written).toBe(await compileWasm(name, pages));
});
