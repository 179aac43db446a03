import { describe, expect, test } from "bun:test";
import { wasmFiles } from "../../../../src/assets.ts";
import { Backend } from "../../../../src/graph/backend.ts";
import { concatRows, splitRows } from "../../../../src/tensor/tensor.ts";
import {
  attr,
  constant,
  floats,
  graph,
  INT,
  ints,
  node,
  open,
  plain,
  T,
} from "../../../helpers/graph_builder.ts";
import { differs, openZoo, readZoo, zooCalls, zooNames } from "../../../helpers/zoo.ts";

type Nodes = ReturnType<typeof node>[];

const x = node("x", "Placeholder", [], { dtype: T, shape: attr.shape(-1, 3) });
const i = (name: string, ...values: number[]) => constant(name, ints([values.length], ...values));
const scalar = (name: string, value: number) => constant(name, ints([], value));
const REDUCE = { T, Tidx: INT, keep_dims: attr.bool(true) };

async function shapesOf(nodes: Nodes, fetch = "y:0", feeds = ["x:0"]): Promise<unknown> {
  const session = await open(graph([x, ...nodes]));
  try {
    return session.prepare(feeds, [fetch]).rowShapes;
  } finally {
    session.dispose();
  }
}

const batchSize: Nodes = [
  node("shape", "Shape", ["x"], { T, out_type: INT }),
  i("zero", 0),
  i("one", 1),
  node("n", "StridedSlice", ["shape", "zero", "one", "one"], {
    T: INT,
    Index: INT,
    shrink_axis_mask: attr.int(1),
  }),
];

describe("rows are independent", () => {
  test.each<[string, Nodes]>([
    ["element by element", [node("y", "Relu", ["x"], { T })]],
    [
      "with a constant of one row",
      [constant("c", floats([1, 3], 1, 2, 3)), node("y", "AddV2", ["x", "c"], { T })],
    ],
    [
      "in a product from the left",
      [constant("w", floats([3, 1], 1, 2, 3)), node("y", "MatMul", ["x", "w"], { T })],
    ],
    ["in a softmax over columns", [node("y", "Softmax", ["x"], { T })]],
    ["in a mean over columns", [i("axis", -1), node("y", "Mean", ["x", "axis"], REDUCE)]],
    [
      "behind a reshape by the batch size",
      [
        ...batchSize,
        scalar("rest", -1),
        node("to", "Pack", ["n", "rest"], { T: INT, N: attr.int(2) }),
        node("flat", "Reshape", ["x", "minus"], { T, Tshape: INT }),
        i("minus", -1),
        node("y", "Reshape", ["flat", "to"], { T, Tshape: INT }),
      ],
    ],
    [
      "with zeros made for them",
      [
        ...batchSize,
        constant("f", floats([], 0)),
        node("zeros", "Fill", ["shape", "f"], { T, index_type: INT }),
        node("y", "AddV2", ["x", "zeros"], { T }),
      ],
    ],
    [
      "turned and turned back",
      [
        i("perm", 1, 0),
        node("t", "Transpose", ["x", "perm"], { T, Tperm: INT }),
        node("s", "Neg", ["t"], { T }),
        node("y", "Transpose", ["s", "perm"], { T, Tperm: INT }),
      ],
    ],
  ])("%s", async (_, nodes) => {
    expect(await shapesOf(nodes)).toEqual([[-1, 3]]);
  });
});

describe("rows may mix", () => {
  test.each<[string, Nodes]>([
    ["in a sum over rows", [i("axis", 0), node("y", "Sum", ["x", "axis"], REDUCE)]],
    [
      "when a mean over rows is subtracted",
      [i("axis", 0), node("m", "Mean", ["x", "axis"], REDUCE), node("y", "Sub", ["x", "m"], { T })],
    ],
    [
      "in a cumulative sum over rows",
      [scalar("axis", 0), node("y", "Cumsum", ["x", "axis"], { T, Tidx: INT })],
    ],
    [
      "in a softmax over turned columns",
      [
        i("perm", 1, 0),
        node("t", "Transpose", ["x", "perm"], { T, Tperm: INT }),
        node("s", "Softmax", ["t"], { T }),
        node("y", "Transpose", ["s", "perm"], { T, Tperm: INT }),
      ],
    ],
    [
      "in the product with themselves",
      [node("y", "MatMul", ["x", "x"], { T, transpose_b: attr.bool(true) })],
    ],
    [
      "divided by their number",
      [
        ...batchSize,
        node("f", "Cast", ["n"], { SrcT: INT, DstT: T }),
        node("y", "RealDiv", ["x", "f"], { T }),
      ],
    ],
    [
      "taken by their place",
      [
        ...batchSize,
        scalar("from", 0),
        scalar("step", 1),
        node("range", "Range", ["from", "n", "step"], { Tidx: INT }),
        scalar("axis", 0),
        node("y", "GatherV2", ["x", "range", "axis"], { Tparams: T, Tindices: INT, Taxis: INT }),
      ],
    ],
    ["reversed", [i("axis", 0), node("y", "ReverseV2", ["x", "axis"], { T, Tidx: INT })]],
    ["cut", [i("from", 0, 0), i("size", 1, 3), node("y", "Slice", ["x", "from", "size"], { T, Index: INT })]],
    [
      "against a constant of several rows",
      [constant("c", floats([2, 3], 1, 2, 3, 4, 5, 6)), node("y", "AddV2", ["x", "c"], { T })],
    ],
    [
      "joined end to end",
      [scalar("axis", 0), node("y", "ConcatV2", ["x", "x", "axis"], { T, N: attr.int(2), Tidx: INT })],
    ],
    ["reshaped across", [i("to", 3, -1), node("y", "Reshape", ["x", "to"], { T, Tshape: INT })]],
    ["squeezed wherever there is one", [node("y", "Squeeze", ["x"], { T })]],
    ["where they are sorted out", [node("z", "Relu", ["x"], { T }), node("y", "Where", ["z"], { T })]],
    ["in an op without a rule", [node("y", "MatrixSetDiag", ["x", "x"], { T })]],
    [
      "with random numbers",
      [
        ...batchSize,
        node("r", "RandomUniform", ["shape"], { T: INT, dtype: T }),
        node("y", "AddV2", ["x", "r"], { T }),
      ],
    ],
  ])("%s", async (_, nodes) => {
    expect(await shapesOf(nodes)).toBeUndefined();
  });

  test("when what is fetched has no rows", async () => {
    expect(await shapesOf([constant("y", floats([2], 1, 2))])).toBeUndefined();
    expect(await shapesOf([i("axis", 0, 1), node("y", "Sum", ["x", "axis"], REDUCE)])).toBeUndefined();
    expect(await shapesOf(batchSize, "shape:0")).toBeUndefined();
  });
});

test("answers of merged rows are those of each alone", async () => {
  const session = await open(
    graph([
      x,
      constant("w", floats([3, 2], 1, 2, 3, 4, 5, 6)),
      node("h", "MatMul", ["x", "w"], { T }),
      node("y", "Softmax", ["h"], { T }),
    ]),
  );
  const prepared = session.prepare(["x:0"], ["y:0"]);
  const [a, b] = [floats([1, 3], 0.1, 0.2, 0.3), floats([2, 3], 1, 0, 0, 0, 1, 0)];
  const [merged] = prepared.run([concatRows([a, b])]);
  const parts = splitRows(merged!, [1, 2]).map(plain);
  expect(parts).toEqual([a, b].map((one) => plain(prepared.run([one])[0]!)));
  session.dispose();
});

/** 同じ形の組を 1 つにまとめて走らせ、切り分けた答えを期待と比べる。まとめられるものが無ければ undefined。 */
async function mergedDifferences(name: string, backend: Backend): Promise<string[] | undefined> {
  const model = readZoo(name);
  if (model.stateful === true) return undefined;
  const zoo = await openZoo(name, model.tags, backend, Number.POSITIVE_INFINITY);
  const calls = zooCalls(zoo, model).filter(({ feeds, fetches, inputs }) => {
    const shapes = feeds.length === 0 ? undefined : zoo.session.prepare(feeds, fetches).rowShapes;
    const rows = inputs[0]?.shape[0];
    return shapes?.every((wanted, i) =>
      inputs[i]!.shape.every((dim, k) => (k === 0 ? dim === rows : wanted[k] === -1 || wanted[k] === dim)),
    );
  });
  const alike = Map.groupBy(calls, ({ signature, inputs }) =>
    [signature, ...inputs.map(({ shape }) => shape.slice(1))].join(";"),
  );
  const differences = [...alike.values()].flatMap((group) => {
    const { feeds, fetches, aliases } = group[0]!;
    const rows = group.map(({ inputs }) => inputs[0]!.shape[0]!);
    const merged = feeds.map((_, i) => concatRows(group.map(({ inputs }) => inputs[i]!)));
    const answers = zoo.session.prepare(feeds, fetches).run(merged);
    return answers.flatMap((answer, i) =>
      splitRows(answer, rows).flatMap((part, at) => {
        const difference = differs(part, group[at]!.outputs[i]!, model);
        return difference === undefined ? [] : [`${aliases[i]}: ${difference}`];
      }),
    );
  });
  zoo.session.dispose();
  return calls.length === 0 ? undefined : differences;
}

describe("the zoo, its cases merged", () => {
  const backend = new Backend(wasmFiles);
  const merged = new Set<string>();
  for (const name of zooNames) {
    test(name, async () => {
      const differences = await mergedDifferences(name, backend);
      if (differences !== undefined) merged.add(name);
      expect(differences ?? []).toEqual([]);
    });
  }

  test("merges the usual networks", () => {
    const usual = `keras_activations keras_attention keras_category_encoding keras_cnn keras_conv3d keras_dense
      keras_embedding keras_merge keras_mobile_block keras_norms keras_quantized keras_string_lookup keras_tabular
      keras_time_distributed keras_transformer parse_example_v1 tf1_mlp`;
    expect(usual.split(/\s+/).filter((name) => !merged.has(name))).toEqual([]);
  });
});
