import { describe, expect, test } from "bun:test";
import { NodeAttrs } from "../../../src/graph/attrs.ts";
import { findOpDefinition } from "../../../src/graph/op_defs.ts";
import table from "../../../src/graph/op_defs.tsv" with { type: "text" };
import { attr, floats, T } from "../../helpers/graph_builder.ts";

describe("findOpDefinition()", () => {
  test("finds every op of the table", () => {
    const ops = table
      .trimEnd()
      .split("\n")
      .slice(1)
      .map((line) => line.split("\t", 1)[0]!);
    expect(ops.length).toBeGreaterThan(1900);
    expect(ops.filter((op) => findOpDefinition(op) === undefined)).toEqual([]);
  });

  test("knows the arguments of every kind", () => {
    const split = findOpDefinition("Split")!;
    expect(split.outputs).toEqual([
      { name: "output", ref: false, numberAttr: "num_split", type: { kind: "attr", attr: "T" } },
    ]);
    const assign = findOpDefinition("Assign")!;
    expect(assign.inputs.map(({ ref }) => ref)).toEqual([true, false]);
    const call = findOpDefinition("PartitionedCall")!;
    expect(call.outputs[0]!.type).toEqual({ kind: "list", attr: "Tout" });
    expect(findOpDefinition("VarHandleOp")!.outputs[0]!.type).toEqual({ kind: "fixed", wire: 20 });
    expect(findOpDefinition("Assert")!.stateful).toBe(true);
    const strangers = ["NoSuchOp", "", "#", "Ad", "Split\t", "Split\n", "\uffff"];
    expect(strangers.filter((op) => findOpDefinition(op) !== undefined)).toEqual([]);
    expect(findOpDefinition("Split")).toBe(split);
  });
});

describe("NodeAttrs", () => {
  const given = new NodeAttrs(
    "n",
    {
      i: attr.int(5),
      f: attr.float(0.5),
      b: attr.bool(true),
      s: attr.text("häst"),
      t: T,
      ts: attr.types("DT_FLOAT", "DT_RESOURCE"),
      sh: attr.shape(2, -1),
      tensor: attr.tensor(floats([1], 3)),
      is: attr.ints(1, 2),
      fn: attr.func("f"),
      fns: attr.funcs("f", "g"),
      big: attr.int(2 ** 60),
    },
    undefined,
  );

  test("reads every kind", () => {
    expect([given.int("i"), given.bigint("i"), given.float("f"), given.bool("b"), given.string("s")]).toEqual(
      [5, 5n, 0.5, true, "häst"],
    );
    expect([given.dtype("t"), given.dtypes("ts"), given.shape("sh"), given.ints("is")]).toEqual([
      "float",
      ["float", undefined],
      [2, -1],
      [1, 2],
    ]);
    expect(given.tensor("tensor")).toEqual(floats([1], 3));
    expect([given.func("fn"), given.funcs("fns")]).toEqual(["f", ["f", "g"]]);
    expect([given.has("i"), given.has("nothing")]).toEqual([true, false]);
    expect([given.floats("is"), given.bools("is"), given.strings("is"), given.shapes("is")]).toEqual([
      [],
      [],
      [],
      [],
    ]);
  });

  test("fills in what the definition leaves out", () => {
    const conv = new NodeAttrs("c", {}, findOpDefinition("Conv2D"));
    expect([conv.string("data_format"), conv.ints("dilations"), conv.bool("use_cudnn_on_gpu")]).toEqual([
      "NHWC",
      [1, 1, 1, 1],
      true,
    ]);
    expect(new NodeAttrs("c", {}, findOpDefinition("LeakyRelu")).float("alpha")).toBeCloseTo(0.2, 6);
    expect(new NodeAttrs("c", {}, findOpDefinition("Placeholder")).shape("shape")).toBeUndefined();
    expect(new NodeAttrs("c", {}, findOpDefinition("Cast")).bool("Truncate")).toBe(false);
    expect(conv.extend("d", { strides: attr.ints(1, 2, 2, 1) }).string("data_format")).toBe("NHWC");
  });

  test.each([
    ["a missing attribute", () => given.int("nothing"), "NodeDef missing attr 'nothing' in node 'n'"],
    ["a missing tensor", () => given.tensor("nothing"), "NodeDef missing attr 'nothing' in node 'n'"],
    ["a missing function", () => given.func("nothing"), "NodeDef missing attr 'nothing' in node 'n'"],
    ["missing functions", () => given.funcs("nothing"), "NodeDef missing attr 'nothing' in node 'n'"],
    [
      "another kind",
      () => given.float("i"),
      "had value with type 'i' when 'f' expected for attr 'i' of node 'n'",
    ],
    ["an inexact integer", () => given.int("big"), "Attr 'big' of node 'n' is out of range"],
  ])("refuses %s", (_, read, message) => {
    expect(read).toThrow(message);
  });
});
