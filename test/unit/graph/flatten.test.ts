import { describe, expect, test } from "bun:test";
import { DataType } from "../../../src/gen/tensorflow/core/framework/types_pb.ts";
import { FunctionLibrary, flattenGraph, parseTensorName } from "../../../src/graph/flatten.ts";
import {
  attr,
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
  T,
} from "../../helpers/graph_builder.ts";

const F = DataType.DT_FLOAT;

const call = (name: string, f: string, inputs: string[], op = "PartitionedCall") =>
  node(name, op, inputs, {
    f: attr.func(f),
    Tin: attr.types(...inputs.filter((input) => !input.startsWith("^")).map(() => "DT_FLOAT" as const)),
    Tout: attr.types("DT_FLOAT"),
  });

const twice = fn("twice", {
  inputs: { x: F },
  outputs: { y: [F, "add:z:0"] },
  nodes: [node("add", "AddV2", ["x", "x"], { T })],
});

describe("flattenGraph()", () => {
  test("inlines calls at any depth", async () => {
    const fourfold = fn("fourfold", {
      inputs: { x: F },
      outputs: { y: [F, "second:output:0"] },
      nodes: [
        call("first", "twice", ["x"]),
        call("second", "twice", ["first:output:0"], "StatefulPartitionedCall"),
      ],
    });
    const g = graph(
      [placeholder("x"), call("c", "fourfold", ["x"]), call("d", "fourfold", ["c"])],
      [twice, fourfold],
    );
    const [out] = await runOnce(g, { "x:0": floats([2], 1, 2) }, ["d:0"]);
    expect(plain(out!)).toEqual(["float", [2], [16, 32]]);
  });

  test("calls a function by its name as op", async () => {
    const g = graph([placeholder("x"), node("c", "twice", ["x"])], [twice]);
    expect(plain((await runOnce(g, { x: floats([], 3) }, ["c"]))[0]!)).toEqual(["float", [], [6]]);
  });

  test("fills polymorphic attributes from the call", async () => {
    const poly = fn("poly", {
      inputs: { x: "Kind" },
      outputs: { y: ["Kind", "add:z:0"] },
      nodes: [node("add", "AddV2", ["x", "x"], { T: attr.placeholder("Kind") })],
    });
    const g = graph([placeholder("x", INT), node("c", "poly", ["x"], { Kind: INT })], [poly]);
    expect(plain((await runOnce(g, { x: ints([1], 21) }, ["c:0"]))[0]!)).toEqual(["int32", [1], [42]]);
  });

  test("resolves named outputs of list ops inside functions", async () => {
    const last = fn("last", {
      inputs: { x: F },
      outputs: { y: [F, "parts:output:2"] },
      nodes: [
        constant("axis", ints([], 0)),
        node("parts", "Split", ["axis:output:0", "x"], { T, num_split: attr.int(3) }),
      ],
    });
    const g = graph([placeholder("x"), call("c", "last", ["x"])], [last]);
    expect(plain((await runOnce(g, { x: floats([3], 1, 2, 3) }, ["c:0"]))[0]!)).toEqual(["float", [1], [3]]);
  });

  test("returns arguments and several results in order", async () => {
    const both = fn("both", {
      inputs: { a: F, b: F },
      outputs: { first: [F, "b"], second: [F, "a"] },
      nodes: [],
    });
    const g = graph(
      [
        placeholder("a"),
        placeholder("b"),
        node("c", "PartitionedCall", ["a", "b"], {
          f: attr.func("both"),
          Tin: attr.types("DT_FLOAT", "DT_FLOAT"),
          Tout: attr.types("DT_FLOAT", "DT_FLOAT"),
        }),
      ],
      [both],
    );
    const out = await runOnce(g, { a: floats([], 1), b: floats([], 2) }, ["c:0", "c:1"]);
    expect(out.map((one) => one.data[0])).toEqual([2, 1]);
  });

  test("keeps effects of a call that nobody reads, in control order", async () => {
    const bump = fn("bump", {
      inputs: { v: DataType.DT_RESOURCE },
      outputs: {},
      nodes: [
        constant("one", floats([], 1)),
        node("add", "AssignAddVariableOp", ["v", "one:output:0"], { dtype: T }),
      ],
      controls: ["add"],
    });
    const g = graph(
      [
        node("v", "VarHandleOp", [], { dtype: T, shape: attr.shape(), shared_name: attr.text("v") }),
        constant("zero", floats([], 0)),
        node("init", "AssignVariableOp", ["v", "zero"], { dtype: T }),
        node("c", "StatefulPartitionedCall", ["v", "^init"], {
          f: attr.func("bump"),
          Tin: attr.types("DT_RESOURCE"),
          Tout: attr.types(),
        }),
        node("again", "StatefulPartitionedCall", ["v", "^c"], {
          f: attr.func("bump"),
          Tin: attr.types("DT_RESOURCE"),
          Tout: attr.types(),
        }),
        node("read", "ReadVariableOp", ["v", "^again"], { dtype: T }),
      ],
      [bump],
    );
    const [out] = await runOnce(g, {}, ["read:0"]);
    expect(plain(out!)).toEqual(["float", [], [2]]);
  });

  test.each([
    [
      "a function that calls itself",
      [fn("f", { inputs: { x: F }, outputs: { y: [F, "c:output:0"] }, nodes: [call("c", "f", ["x"])] })],
      "f",
      "Function f calls itself: f -> f",
    ],
    ["a missing function", [], "gone", "Function gone is not defined."],
    [
      "a bad reference",
      [fn("f", { inputs: { x: F }, outputs: { y: [F, "nowhere:z:0"] }, nodes: [] })],
      "f",
      "Unknown input node 'nowhere:z:0'",
    ],
    [
      "a missing return",
      [fn("f", { inputs: { x: F, z: F }, outputs: { y: [F, "x"] }, nodes: [] })],
      "f",
      "passes 1 inputs to f, which takes 2",
    ],
  ])("refuses %s", (_, functions, target, message) => {
    const g = graph([placeholder("x"), call("c", target, ["x"])], functions);
    expect(() => flattenGraph(g, new FunctionLibrary(g))).toThrow(message);
  });

  test("refuses deep nesting and duplicate names", () => {
    const chain = Array.from({ length: 80 }, (_, i) =>
      fn(`f${i}`, {
        inputs: { x: F },
        outputs: { y: [F, "c:output:0"] },
        nodes: [call("c", `f${i + 1}`, ["x"])],
      }),
    );
    const deep = graph(
      [placeholder("x"), call("c", "f0", ["x"])],
      [...chain, { ...twice, signature: { ...twice.signature!, name: "f80" } }],
    );
    expect(() => flattenGraph(deep, new FunctionLibrary(deep))).toThrow("nested deeper than 64 levels");
    const doubled = graph([placeholder("x"), placeholder("x")]);
    expect(() => flattenGraph(doubled, new FunctionLibrary(doubled))).toThrow("Node 'x' is not unique");
  });

  test("stops an exponential expansion", () => {
    const levels = Array.from({ length: 40 }, (_, i) =>
      fn(`f${i}`, {
        inputs: { x: F },
        outputs: { y: [F, "b:output:0"] },
        nodes: [call("a", `f${i + 1}`, ["x"]), call("b", `f${i + 1}`, ["a:output:0"])],
      }),
    );
    const g = graph(
      [placeholder("x"), call("c", "f0", ["x"])],
      [...levels, { ...twice, signature: { ...twice.signature!, name: "f40" } }],
    );
    expect(() => flattenGraph(g, new FunctionLibrary(g))).toThrow("expands to more than");
  });

  test("finds endpoints and operations by name", async () => {
    const g = graph([placeholder("x"), node("stop", "NoOp"), call("c", "twice", ["x"])], [twice]);
    const flat = flattenGraph(g, new FunctionLibrary(g));
    expect(flat.endpoint("x:0").node.op).toBe("Placeholder");
    expect(flat.operation("stop").op).toBe("NoOp");
    expect(() => flat.endpoint("none:0")).toThrow("was not found in the Graph");
    expect(() => flat.endpoint("c:4")).toThrow("has no output 4");
    expect(() => flat.operation("none")).toThrow("not found in the graph");
    const session = await open(g);
    expect(() => session.prepare(["x:0", "x:0"], ["c:0"])).not.toThrow();
    session.dispose();
  });

  test("parseTensorName() splits the index", () => {
    expect(parseTensorName("a/b:12")).toEqual({ name: "a/b", index: 12 });
    expect(parseTensorName("a")).toEqual({ name: "a", index: 0 });
    expect(parseTensorName("a:b")).toEqual({ name: "a:b", index: 0 });
  });
});
