import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { AttrValue } from "../../../src/gen/tensorflow/core/framework/attr_value_pb.ts";
import type { StepDescription } from "../../../src/graph/plan.ts";
import { sizeOf, type Tensor } from "../../../src/tensor/tensor.ts";
import {
  attr,
  backend,
  constant,
  floats,
  graph,
  node,
  open,
  placeholder,
  signature,
  T,
} from "../../helpers/graph_builder.ts";

/** 決まった手順で作る、0 でない値の列。 */
const values = (shape: number[], seed: number): Tensor =>
  floats(shape, ...Array.from({ length: sizeOf(shape) }, (_, i) => Math.sin(seed * 97 + i * 1.7) + 0.1));
const positive = (shape: number[], seed: number): Tensor =>
  floats(shape, ...Array.from({ length: sizeOf(shape) }, (_, i) => 0.5 + Math.abs(Math.sin(seed * 31 + i))));

type Nodes = ReturnType<typeof node>[];

/** 融合された実行と、途中をすべて求めて融合を妨げた実行を比べる。 */
async function compare(
  nodes: Nodes,
  x: Tensor,
  deviceWork: number,
): Promise<{ ops: string[]; worst: number; steps: readonly StepDescription[] }> {
  const output = `${nodes.at(-1)!.name}:0`;
  const every = nodes
    .filter(({ op }) => op !== "Const" && op !== "Placeholder")
    .map(({ name }) => `${name}:0`);
  const fused = await open(graph(nodes), { signatures: [signature("s", ["x:0"], [output])] }, { deviceWork });
  const apart = await open(graph(nodes), {}, { deviceWork: Number.POSITIVE_INFINITY });
  try {
    const [got] = fused.prepare(["x:0"], [output]).run([x]);
    const wanted = apart.prepare(["x:0"], every).run([x]).at(-1)!;
    expect(got!.shape).toEqual(wanted.shape);
    const [a, b] = [got!.data as Float32Array, wanted.data as Float32Array];
    const worst = a.reduce(
      (most, value, i) => Math.max(most, Math.abs(value - b[i]!) / (1 + Math.abs(b[i]!))),
      0,
    );
    const { steps } = fused.describe()[0]!;
    return { ops: steps.map(({ op }) => op), worst, steps };
  } finally {
    fused.dispose();
    apart.dispose();
  }
}

const conv = (op: string, filter: string, extra: Record<string, AttrValue> = {}) =>
  node("conv", op, ["x", filter], {
    T,
    strides: attr.ints(1, 1, 1, 1),
    padding: attr.text("SAME"),
    ...extra,
  });

const norm = (input: string) => [
  constant("scale", positive([4], 1)),
  constant("offset", values([4], 2)),
  constant("mean", values([4], 3)),
  constant("variance", positive([4], 4)),
  node("norm", "FusedBatchNormV3", [input, "scale", "offset", "mean", "variance"], {
    T,
    U: T,
    is_training: attr.bool(false),
    epsilon: attr.float(1e-3),
  }),
];

const image = values([2, 5, 5, 3], 9);

const rows: [string, Nodes, Tensor, string[]][] = [
  [
    "MatMul + BiasAdd + Relu",
    [
      placeholder("x"),
      constant("w", values([3, 4], 1)),
      constant("b", values([4], 2)),
      node("m", "MatMul", ["x", "w"], { T }),
      node("a", "BiasAdd", ["m", "b"], { T }),
      node("y", "Relu", ["a"], { T }),
    ],
    values([5, 3], 3),
    ["_DenseLayers"],
  ],
  [
    "MatMul + constant AddV2 + Mul + Sub + LeakyRelu",
    [
      placeholder("x"),
      constant("w", values([4, 3], 1)),
      constant("b", values([1, 4], 2)),
      constant("s", values([4], 5)),
      constant("t", values([], 6)),
      node("m", "MatMul", ["x", "w"], { T, transpose_b: attr.bool(true) }),
      node("a", "AddV2", ["b", "m"], { T }),
      node("c", "Mul", ["a", "s"], { T }),
      node("d", "Sub", ["c", "t"], { T }),
      node("y", "LeakyRelu", ["d"], { T, alpha: attr.float(0.3) }),
    ],
    values([5, 3], 3),
    ["_Dense"],
  ],
  [
    "an addition that widens the result stays apart",
    [
      placeholder("x"),
      constant("w", values([3, 4], 1)),
      constant("b", values([2, 1, 4], 2)),
      node("m", "MatMul", ["x", "w"], { T }),
      node("y", "AddV2", ["m", "b"], { T }),
    ],
    values([5, 3], 3),
    ["_DenseLayers", "AddV2"],
  ],
  [
    "Conv2D + BiasAdd + FusedBatchNormV3 + Relu6",
    [
      placeholder("x"),
      constant("f", values([3, 3, 3, 4], 1)),
      constant("b", values([4], 7)),
      conv("Conv2D", "f"),
      node("bias", "BiasAdd", ["conv", "b"], { T }),
      ...norm("bias"),
      node("y", "Relu6", ["norm"], { T }),
    ],
    image,
    ["_Conv"],
  ],
  [
    "DepthwiseConv2d + FusedBatchNormV3 + Elu",
    [
      placeholder("x"),
      constant("f", values([3, 3, 2, 2], 1)),
      conv("DepthwiseConv2dNative", "f"),
      ...norm("conv"),
      node("y", "Elu", ["norm"], { T }),
    ],
    values([1, 6, 4, 2], 2),
    ["_DepthwiseConv"],
  ],
  [
    "Conv2D + Sigmoid without a bias",
    [
      placeholder("x"),
      constant("f", values([1, 1, 3, 4], 1)),
      conv("Conv2D", "f", { strides: attr.ints(1, 2, 2, 1), padding: attr.text("VALID") }),
      node("y", "Sigmoid", ["conv"], { T }),
    ],
    image,
    ["_Conv"],
  ],
  [
    "two activations in a row fuse only the first",
    [
      placeholder("x"),
      constant("w", values([3, 4], 1)),
      node("m", "MatMul", ["x", "w"], { T }),
      node("r", "Relu", ["m"], { T }),
      node("y", "Sigmoid", ["r"], { T }),
    ],
    values([2, 3], 3),
    ["_DenseLayers", "Sigmoid"],
  ],
];

describe("fusion", () => {
  for (const [name, nodes, x, ops] of rows) {
    test(`${name}, on the host`, async () => {
      const { ops: got, worst } = await compare(nodes, x, Number.POSITIVE_INFINITY);
      expect(got).toEqual(ops);
      expect(worst).toBeLessThan(1e-5);
    });

    test(`${name}, on wasm`, async () => {
      await backend.boot();
      const { worst, steps } = await compare(nodes, x, 0);
      expect(worst).toBeLessThan(1e-5);
      // 融合しても、wasm で走れる演算のままである。
      expect(new Set(steps.map(({ kernel }) => kernel))).toEqual(new Set(["host or wasm"]));
    });
  }

  test("dense layers of any size agree between the host and wasm", async () => {
    const device = await backend.boot();
    const before = device.tensorCount;
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          rows: fc.integer({ min: 0, max: 7 }),
          inner: fc.integer({ min: 0, max: 9 }),
          columns: fc.integer({ min: 1, max: 11 }),
          transposeA: fc.boolean(),
          transposeB: fc.boolean(),
          bias: fc.boolean(),
          activation: fc.constantFrom("", "Relu", "Relu6", "Elu", "Sigmoid", "Tanh"),
          seed: fc.integer({ min: 1, max: 1000 }),
        }),
        async ({ rows: m, inner: k, columns: n, transposeA, transposeB, bias, activation, seed }) => {
          const nodes = [
            placeholder("x"),
            constant("w", values(transposeB ? [n, k] : [k, n], seed)),
            node("m", "MatMul", ["x", "w"], {
              T,
              transpose_a: attr.bool(transposeA),
              transpose_b: attr.bool(transposeB),
            }),
          ];
          if (bias) nodes.push(constant("b", values([n], seed + 1)), node("a", "BiasAdd", ["m", "b"], { T }));
          if (activation !== "") nodes.push(node("y", activation, [bias ? "a" : "m"], { T }));
          const x = values(transposeA ? [k, m] : [m, k], seed + 2);
          const { worst } = await compare(nodes, x, 0);
          expect(worst).toBeLessThan(1e-5);
        },
      ),
      { numRuns: 60 },
    );
    expect(device.tensorCount).toBe(before);
  });

  test("batched products agree between the host and wasm", async () => {
    await backend.boot();
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          a: fc.array(fc.constantFrom(1, 2, 3), { maxLength: 2 }),
          shared: fc.boolean(),
          sizes: fc.tuple(
            fc.integer({ min: 1, max: 4 }),
            fc.integer({ min: 1, max: 4 }),
            fc.integer({ min: 1, max: 4 }),
          ),
          adjX: fc.boolean(),
          adjY: fc.boolean(),
          seed: fc.integer({ min: 1, max: 1000 }),
        }),
        async ({ a, shared, sizes: [m, k, n], adjX, adjY, seed }) => {
          const batch = shared ? [] : a.map((dim, i) => (i === 0 ? 1 : dim));
          const nodes = [
            placeholder("x"),
            constant("w", values([...batch, ...(adjY ? [n, k] : [k, n])], seed)),
            node("y", "BatchMatMulV2", ["x", "w"], { T, adj_x: attr.bool(adjX), adj_y: attr.bool(adjY) }),
          ];
          const x = values([...a, ...(adjX ? [k, m] : [m, k])], seed + 1);
          expect((await compare(nodes, x, 0)).worst).toBeLessThan(1e-5);
        },
      ),
      { numRuns: 60 },
    );
  });
});
