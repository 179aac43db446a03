import { describe, expect, test } from "bun:test";
import { Code, StatusError } from "../../../src/base/status.ts";
import { DataType } from "../../../src/gen/tensorflow/core/framework/types_pb.ts";
import {
  attr,
  bools,
  constant,
  floats,
  fn,
  graph,
  INT,
  ints,
  node,
  open,
  placeholder,
  plain,
  runOnce,
  signature,
  T,
} from "../../helpers/graph_builder.ts";

const thrownBy = (run: () => unknown): StatusError => {
  try {
    run();
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(StatusError);
    return thrown as StatusError;
  }
  throw new Error("nothing was thrown");
};

describe("plans", () => {
  test("stop at fed tensors, whatever produces them", async () => {
    const g = graph([
      placeholder("x"),
      node("middle", "Neg", ["x"], { T }),
      node("y", "Square", ["middle"], { T }),
    ]);
    expect(plain((await runOnce(g, { "middle:0": floats([1], 5) }, ["y:0"]))[0]!)).toEqual([
      "float",
      [1],
      [25],
    ]);
  });

  test("return a fed tensor that is fetched, and outputs in any order", async () => {
    const g = graph([placeholder("x"), node("y", "Neg", ["x"], { T })]);
    const session = await open(g);
    const prepared = session.prepare(["x:0"], ["y:0", "x:0", "y:0"]);
    expect(prepared.run([floats([], 2)]).map((one) => one.data[0])).toEqual([-2, 2, -2]);
    expect(session.prepare(["x:0"], ["y:0", "x:0", "y:0"])).toBe(prepared);
    session.dispose();
  });

  test("expose the dtype of each feed in the caller's order", async () => {
    const g = graph([
      placeholder("b"),
      placeholder("a", INT),
      node("c", "Cast", ["a"], { SrcT: INT, DstT: T }),
      node("y", "Sub", ["b", "c"], { T }),
    ]);
    const session = await open(g);
    const prepared = session.prepare(["b:0", "a:0"], ["y:0"]);
    expect(prepared.feedDTypes).toEqual(["float", "int32"]);
    expect(prepared.run([floats([], 5), ints([], 3)])[0]!.data[0]).toBe(2);
    session.dispose();
  });

  test("use the default of an unfed PlaceholderWithDefault", async () => {
    const g = graph([
      constant("d", floats([], 7)),
      node("p", "PlaceholderWithDefault", ["d"], { dtype: T, shape: attr.shape() }),
      node("y", "Neg", ["p"], { T }),
    ]);
    expect((await runOnce(g, {}, ["y"]))[0]!.data[0]).toBe(-7);
    expect((await runOnce(g, { p: floats([], 1) }, ["y"]))[0]!.data[0]).toBe(-1);
  });

  test("complain about an unfed placeholder only when it is needed", async () => {
    const g = graph([placeholder("x"), placeholder("z"), node("y", "Neg", ["x"], { T })]);
    expect((await runOnce(g, { x: floats([], 1) }, ["y"]))[0]!.data[0]).toBe(-1);
    const session = await open(g);
    const error = thrownBy(() => session.prepare([], ["y"]).run([]));
    expect(error.code).toBe(Code.INVALID_ARGUMENT);
    expect(error.message).toBe(
      "You must feed a value for placeholder tensor 'x' with dtype float\n\t [[{{node x}}]]",
    );
    session.dispose();
  });

  test("fold what depends on constants only", async () => {
    const g = graph([
      placeholder("x"),
      constant("a", floats([2], 1, 2)),
      constant("b", floats([2], 3, 4)),
      node("ab", "Mul", ["a", "b"], { T }),
      node("i", "Identity", ["ab"], { T }),
      node("y", "AddV2", ["x", "i"], { T }),
    ]);
    const session = await open(g, { signatures: [signature("s", ["x:0"], ["y:0"])] });
    expect(session.describe()).toEqual([
      { signature: "s", steps: [{ node: "y", op: "AddV2", kernel: "host or wasm" }], unsupported: undefined },
    ]);
    expect(plain(session.prepare(["x:0"], ["y:0"]).run([floats([2], 0, 1)])[0]!)).toEqual([
      "float",
      [2],
      [3, 9],
    ]);
    session.dispose();
  });

  test("leave the failure of a constant expression to the run that needs it", async () => {
    const g = graph([
      constant("a", ints([1], 5)),
      constant("zero", ints([1], 0)),
      node("q", "FloorDiv", ["a", "zero"], { T: INT }),
      node("y", "Neg", ["q"], { T: INT }),
    ]);
    const session = await open(g);
    const prepared = session.prepare([], ["y:0"]);
    expect(thrownBy(() => prepared.run([])).message).toContain("[[{{node q}}]]");
    session.dispose();
  });

  test.each([
    { what: "carries unchanged is a constant of its body", carried: "w", folded: true },
    { what: "changes is read in every turn", carried: "doubled:z:0", folded: false },
  ])("what a loop $what", async ({ carried, folded }) => {
    const { DT_FLOAT, DT_INT32, DT_BOOL } = DataType;
    const inputs = { i: DT_INT32, sum: DT_FLOAT, w: DT_FLOAT };
    const condition = fn("condition", {
      inputs,
      outputs: { go: [DT_BOOL, "less:z:0"] },
      nodes: [constant("three", ints([], 3)), node("less", "Less", ["i", "three:output:0"], { T: INT })],
    });
    const body = fn("body", {
      inputs,
      outputs: {
        next: [DT_INT32, "next_i:z:0"],
        total: [DT_FLOAT, "total_sum:z:0"],
        kept: [DT_FLOAT, carried],
      },
      nodes: [
        constant("one", ints([], 1)),
        node("next_i", "AddV2", ["i", "one:output:0"], { T: INT }),
        node("doubled", "AddV2", ["w", "w"], { T }),
        node("squared", "Square", ["w"], { T }),
        node("total_sum", "AddV2", ["sum", "squared:y:0"], { T }),
      ],
    });
    const g = graph(
      [
        placeholder("x"),
        constant("zero", ints([], 0)),
        constant("weight", floats([], 3)),
        node("loop", "While", ["zero", "x", "weight"], {
          T: attr.types("DT_INT32", "DT_FLOAT", "DT_FLOAT"),
          cond: attr.func("condition"),
          body: attr.func("body"),
        }),
      ],
      [condition, body],
    );
    const session = await open(g, { signatures: [signature("s", ["x:0"], ["loop:1"])] });
    const ops = session.describe()[0]!.steps.map(({ op }) => op);
    expect(ops.includes("Square")).toBe(!folded);
    const [sum] = session.prepare(["x:0"], ["loop:1"]).run([floats([], 1)]);
    expect(sum!.data[0]).toBe(folded ? 1 + 3 * 9 : 1 + 9 + 36 + 144);
    session.dispose();
  });

  test("name every unsupported op once and leave other signatures alone", async () => {
    const g = graph([
      placeholder("x"),
      node("odd", "XlaCallModule", ["x"], { Tin: attr.types("DT_FLOAT"), Tout: attr.types("DT_FLOAT") }),
      node("odd2", "XlaCallModule", ["odd"], { Tin: attr.types("DT_FLOAT"), Tout: attr.types("DT_FLOAT") }),
      node("odder", "NoSuchOpAnywhere", ["odd2"]),
      node("y", "Neg", ["x"], { T }),
    ]);
    const session = await open(g, {
      signatures: [signature("bad", ["x:0"], ["odder:0"]), signature("good", ["x:0"], ["y:0"])],
    });
    const error = thrownBy(() => session.prepare(["x:0"], ["odder:0"]));
    expect(error.code).toBe(Code.UNIMPLEMENTED);
    expect(error.message).toBe(
      "Signature 'bad' cannot run: Op type not supported: 'XlaCallModule' (node 'odd'); Op type not supported: 'NoSuchOpAnywhere' (node 'odder')",
    );
    expect(session.describe().map(({ unsupported }) => unsupported)).toEqual([error.message, undefined]);
    expect(session.prepare(["x:0"], ["y:0"]).run([floats([], 1)])[0]!.data[0]).toBe(-1);
    session.dispose();
  });

  test("name the node whose attributes no kernel takes", async () => {
    const g = graph([
      placeholder("x"),
      node("t", "HashTableV2", [], { key_dtype: attr.type("DT_RESOURCE"), value_dtype: T }),
      node("n", "LookupTableSizeV2", ["t"]),
    ]);
    const session = await open(g);
    expect(thrownBy(() => session.prepare([], ["n:0"])).message).toBe(
      "Op 'HashTableV2' is not supported here: HashTableV2 with resource or variant elements is not supported (node 't')",
    );
    session.dispose();
  });

  test.each([
    ["a cycle", [node("a", "Neg", ["b"], { T }), node("b", "Neg", ["a"], { T })], "a:0", "part of a cycle"],
    [
      "a cycle of identities",
      [node("a", "Identity", ["b"], { T }), node("b", "Identity", ["a"], { T })],
      "a:0",
      "part of a cycle",
    ],
    [
      "missing inputs",
      [placeholder("x"), node("a", "AddV2", ["x"], { T })],
      "a:0",
      "takes 2 inputs but has 1",
    ],
    [
      "an output that is not there",
      [placeholder("x"), node("a", "Neg", ["x:3"], { T })],
      "a:0",
      "reads output 3 of 'x'",
    ],
    [
      "an output that is not there behind an identity",
      [placeholder("x"), node("n", "Neg", ["x"], { T }), node("a", "Identity", ["n:1"], { T })],
      "a:0",
      "Output 1 of node 'n' (op 'Neg') does not exist: it has 1",
    ],
    ["a missing attribute", [placeholder("x"), node("a", "Neg", ["x"])], "a:0", "missing attr 'T'"],
    [
      "an attribute of another kind",
      [placeholder("x"), node("a", "Neg", ["x"], { T: attr.int(1) })],
      "a:0",
      "'type' expected for attr 'T'",
    ],
    ["an unknown tensor", [placeholder("x")], "nothing:0", "was not found in the Graph"],
  ])("refuse %s", async (_, nodes, fetch, message) => {
    const session = await open(graph(nodes));
    expect(thrownBy(() => session.prepare([], [fetch])).message).toContain(message);
    session.dispose();
  });

  test("run Assert though nobody reads it", async () => {
    const g = graph([
      placeholder("x"),
      constant("limit", floats([], 10)),
      node("less", "Less", ["x", "limit"], { T }),
      constant("text", { dtype: "string", shape: [], data: [new TextEncoder().encode("too big")] }),
      node("assert", "Assert", ["less", "text", "x"], { T: attr.types("DT_STRING", "DT_FLOAT") }),
      node("y", "Identity", ["x", "^assert"], { T }),
    ]);
    expect((await runOnce(g, { x: floats([], 1) }, ["y"]))[0]!.data[0]).toBe(1);
    const error = await runOnce(g, { x: floats([], 12) }, ["y"]).catch((thrown) => thrown);
    expect(error.code).toBe(Code.INVALID_ARGUMENT);
    expect(error.message).toBe("assertion failed: [too big] [12]\n\t [[{{node assert}}]]");
  });

  test("drop pure work that is only ordered before the result", async () => {
    const g = graph([
      placeholder("x"),
      node("unused", "Square", ["x"], { T }),
      node("group", "NoOp", ["^unused"]),
      node("y", "Neg", ["x", "^group"], { T }),
    ]);
    const session = await open(g, { signatures: [signature("s", ["x:0"], ["y:0"])] });
    expect(session.describe()[0]!.steps.map(({ op }) => op)).toEqual(["Neg"]);
    session.dispose();
  });

  test("run branches and loops as sub-plans", async () => {
    const F = DataType.DT_FLOAT;
    const I = DataType.DT_INT32;
    const functions = [
      fn("neg", { inputs: { x: F }, outputs: { y: [F, "n:y:0"] }, nodes: [node("n", "Neg", ["x"], { T })] }),
      fn("same", { inputs: { x: F }, outputs: { y: [F, "x"] }, nodes: [] }),
      fn("below", {
        inputs: { i: I, x: F },
        outputs: { go: [DataType.DT_BOOL, "l:z:0"] },
        nodes: [constant("five", ints([], 5)), node("l", "Less", ["i", "five:output:0"], { T: INT })],
      }),
      fn("body", {
        inputs: { i: I, x: F },
        outputs: { j: [I, "inc:z:0"], y: [F, "double:z:0"] },
        nodes: [
          constant("one", ints([], 1)),
          node("inc", "AddV2", ["i", "one:output:0"], { T: INT }),
          node("double", "AddV2", ["x", "x"], { T }),
        ],
      }),
    ];
    const one = { Tin: attr.types("DT_FLOAT"), Tout: attr.types("DT_FLOAT") };
    const g = graph(
      [
        placeholder("x"),
        placeholder("c", attr.type("DT_BOOL")),
        placeholder("k", INT),
        constant("zero", ints([], 0)),
        node("if", "StatelessIf", ["c", "x"], {
          ...one,
          Tcond: attr.type("DT_BOOL"),
          then_branch: attr.func("neg"),
          else_branch: attr.func("same"),
        }),
        node("case", "StatelessCase", ["k", "x"], { ...one, branches: attr.funcs("same", "neg") }),
        node("while", "StatelessWhile", ["zero", "x"], {
          T: attr.types("DT_INT32", "DT_FLOAT"),
          cond: attr.func("below"),
          body: attr.func("body"),
        }),
      ],
      functions,
    );
    const session = await open(g, {
      signatures: [signature("s", ["x:0", "c:0", "k:0"], ["if:0", "case:0", "while:1"])],
    });
    const run = (x: number, c: boolean, k: number) =>
      session
        .prepare(["x:0", "c:0", "k:0"], ["if:0", "case:0", "while:0", "while:1"])
        .run([floats([], x), bools([], c), ints([], k)])
        .map((out) => out.data[0]);
    expect(run(3, true, 0)).toEqual([-3, 3, 5, 96]);
    expect(run(3, false, 1)).toEqual([3, -3, 5, 96]);
    // 範囲の外の番号は最後の枝。
    expect(run(3, false, 9)).toEqual([3, -3, 5, 96]);
    expect(session.describe()[0]!.steps.map((step) => `${step.node} ${step.op}`)).toContain(
      "while/body/body/inc AddV2",
    );
    session.dispose();
  });

  test("give a loop the chance to stop at every turn", async () => {
    const I = DataType.DT_INT32;
    const g = graph(
      [
        constant("zero", ints([], 0)),
        node("while", "StatelessWhile", ["zero"], {
          T: attr.types("DT_INT32"),
          cond: attr.func("always"),
          body: attr.func("stay"),
        }),
      ],
      [
        fn("always", {
          inputs: { i: I },
          outputs: { go: [DataType.DT_BOOL, "t:output:0"] },
          nodes: [constant("t", bools([], true))],
        }),
        fn("stay", { inputs: { i: I }, outputs: { j: [I, "i"] }, nodes: [] }),
      ],
    );
    const session = await open(g);
    let turns = 0;
    const stop = new StatusError(Code.DEADLINE_EXCEEDED, "enough");
    const error = thrownBy(() =>
      session.prepare([], ["while:0"]).run([], () => {
        if (++turns === 100) throw stop;
      }),
    );
    expect(error).toBe(stop);
    session.dispose();
  });

  test("keep the number of plans bounded by reusing a wider one", async () => {
    const names = Array.from({ length: 80 }, (_, i) => `y${i}`);
    const g = graph([placeholder("x"), ...names.map((name) => node(name, "Neg", ["x"], { T }))]);
    const all = names.map((name) => `${name}:0`);
    const session = await open(g, { signatures: [signature("s", ["x:0"], all)] });
    for (let i = 0; i < 80; i++) {
      const out = session.prepare(["x:0"], all.slice(i)).run([floats([], i)]);
      expect(out.length).toBe(80 - i);
      expect(out[0]!.data[0]).toBe(-i);
    }
    session.dispose();
  });
});
