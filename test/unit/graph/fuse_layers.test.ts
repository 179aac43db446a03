import { describe, expect, test } from "bun:test";
import { StatusError } from "../../../src/base/status.ts";
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

const values = (shape: number[], seed: number): Tensor =>
  floats(shape, ...Array.from({ length: sizeOf(shape) }, (_, i) => Math.sin(seed * 97 + i * 1.7)));

type Nodes = ReturnType<typeof node>[];

/** `input` に続く 1 層。偏りと活性化は名前があれば付く。 */
function dense(name: string, input: string, shape: [number, number], activation = "", biased = true): Nodes {
  const sum = biased ? `${name}/sum` : `${name}/product`;
  return [
    constant(`${name}/w`, values(shape, shape[0] + 1)),
    node(`${name}/product`, "MatMul", [input, `${name}/w`], { T }),
    ...(biased
      ? [
          constant(`${name}/b`, values([shape[1]], shape[1] + 2)),
          node(sum, "BiasAdd", [`${name}/product`, `${name}/b`], { T }),
        ]
      : []),
    node(name, activation === "" ? "Identity" : activation, [sum], { T }),
  ];
}

const classifier: Nodes = [
  placeholder("x"),
  ...dense("one", "x", [5, 7], "Relu"),
  ...dense("two", "one", [7, 6], "Sigmoid", false),
  ...dense("three", "two", [6, 3]),
  node("y", "Softmax", ["three"], { T }),
];

async function run(nodes: Nodes, x: Tensor, deviceWork: number, outputs = ["y:0"]) {
  const session = await open(
    graph(nodes),
    { signatures: [signature("s", ["x:0"], outputs)] },
    { deviceWork },
  );
  try {
    const results = session.prepare(["x:0"], outputs).run([x]);
    return { results, steps: session.describe()[0]!.steps.map(({ op }) => op) };
  } finally {
    session.dispose();
  }
}

const steps = async (nodes: Nodes, columns: number, outputs?: string[]): Promise<string[]> =>
  (await run(nodes, values([2, columns], 1), Number.POSITIVE_INFINITY, outputs)).steps;

describe("layers", () => {
  test("become one step, which agrees with tfjs", async () => {
    const device = await backend.boot();
    const before = device.tensorCount;
    for (const rows of [0, 1, 3, 9]) {
      const x = values([rows, 5], rows + 1);
      const simd = await run(classifier, x, Number.POSITIVE_INFINITY);
      expect(simd.steps).toEqual(["_DenseLayers"]);
      const tfjs = await run(classifier, x, 0);
      expect(simd.results[0]!.shape).toEqual([rows, 3]);
      expect(tfjs.results[0]!.shape).toEqual([rows, 3]);
      for (const [i, value] of (simd.results[0]!.data as Float32Array).entries()) {
        expect(value).toBeCloseTo(tfjs.results[0]!.data[i] as number, 6);
      }
    }
    expect(device.tensorCount).toBe(before);
  });

  test("end where a value in between is asked for", async () => {
    expect(await steps(classifier, 5, ["one:0", "y:0"])).toEqual(["_DenseLayers", "_DenseLayers"]);
    expect(await steps(classifier, 5, ["three:0", "y:0"])).toEqual(["_DenseLayers", "Softmax"]);
  });

  test("end at what the kernel does not know", async () => {
    const leaky = [
      placeholder("x"),
      ...dense("one", "x", [3, 4], "LeakyRelu"),
      ...dense("two", "one", [4, 2], "Relu"),
      node("y", "Softmax", ["two"], { T }),
    ];
    expect(await steps(leaky, 3)).toEqual(["_Dense", "_DenseLayers", "Softmax"]);
    const twice = [
      placeholder("x"),
      ...dense("one", "x", [3, 4]),
      node("p", "Softmax", ["one"], { T }),
      ...dense("two", "p", [4, 2]),
      node("y", "Softmax", ["two"], { T }),
    ];
    expect(await steps(twice, 3)).toEqual(["_DenseLayers", "_DenseLayers"]);
    const turned = [
      placeholder("x"),
      constant("w", values([2, 3], 1)),
      node("y", "MatMul", ["x", "w"], { T, transpose_a: attr.bool(true) }),
    ];
    expect(await steps(turned, 3)).toEqual(["MatMul"]);
    const squared = [placeholder("x"), node("y", "MatMul", ["x", "x"], { T, transpose_b: attr.bool(true) })];
    expect(await steps(squared, 3)).toEqual(["MatMul"]);
  });

  test("leave big weights to tfjs", async () => {
    const big = [
      placeholder("x"),
      ...dense("one", "x", [2, 100]),
      ...dense("two", "one", [100, 200], "Relu"),
      ...dense("y", "two", [200, 2]),
    ];
    expect(await steps(big, 2)).toEqual(["_DenseLayers", "_Dense", "_DenseLayers"]);
    const many = [placeholder("x"), ...dense("d0", "x", [2, 120])];
    for (let i = 1; i <= 6; i++) many.push(...dense(`d${i}`, `d${i - 1}`, [120, 120]));
    many.push(node("y", "Identity", ["d6"], { T }));
    expect(await steps(many, 2)).toEqual(["_DenseLayers", "_DenseLayers"]);
  });

  test.each([0, Number.POSITIVE_INFINITY])(
    "blame the first layer for a wrong input, %d",
    async (deviceWork) => {
      await backend.boot();
      const wrong = async (shape: number[]) => run(classifier, values(shape, 1), deviceWork);
      expect(wrong([2, 4])).rejects.toThrow(
        new StatusError(3, "Matrix size-incompatible: In[0]: [2,4], In[1]: [5,7]\n\t [[{{node one}}]]"),
      );
      expect(wrong([5])).rejects.toThrow("In[0] and In[1] has different ndims: [5] vs. [5,7]");
    },
  );
});
