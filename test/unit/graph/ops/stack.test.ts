import { describe, expect, test } from "bun:test";
import { fromBinary } from "@bufbuild/protobuf";
import { ExampleSchema } from "../../../../src/gen/tensorflow/core/example/example_pb.ts";
import {
  attr,
  constant,
  floats,
  graph,
  INT,
  ints,
  node,
  open,
  placeholder,
  runOnce,
  T,
  texts,
} from "../../../helpers/graph_builder.ts";

describe("stacks", () => {
  const stack = (max: number) => [
    constant("max", ints([], max)),
    node("s", "StackV2", ["max"], { elem_type: T, stack_name: attr.text("back") }),
    constant("a", floats([2], 1, 2)),
    constant("b", floats([1], 3)),
    node("push_a", "StackPushV2", ["s", "a"], { T }),
    node("push_b", "StackPushV2", ["s", "b", "^push_a"], { T }),
  ];
  const pop = (name: string, after: string) => node(name, "StackPopV2", ["s", `^${after}`], { elem_type: T });

  test("give back what was pushed, last in first out, anew in every call", async () => {
    const nodes = [...stack(-1), pop("first", "push_b"), pop("second", "first")];
    const session = await open(graph(nodes));
    const prepared = session.prepare([], ["first:0", "second:0", "push_a:0"]);
    for (let call = 0; call < 2; call++) {
      expect(prepared.run([])).toEqual([floats([1], 3), floats([2], 1, 2), floats([2], 1, 2)]);
    }
    session.dispose();
  });

  test("say when they are full, empty, closed, or of another type", async () => {
    const run = (...nodes: ReturnType<typeof node>[]) =>
      runOnce(graph(nodes), {}, [`${nodes.at(-1)!.name}:0`]);
    await expect(run(...stack(1))).rejects.toThrow("Stack[back] overflowed its max_size (1)");
    const three = [...stack(-1), pop("p", "push_b"), pop("q", "p"), pop("r", "q")];
    await expect(run(...three)).rejects.toThrow("Stack[back] is empty when calling Pop().");
    const closed = [...stack(-1), node("c", "StackCloseV2", ["s", "^push_b"]), pop("p", "c")];
    await expect(run(...closed)).rejects.toThrow("Stack[back] has already been closed.");
    const other = [
      ...stack(-1),
      constant("i", ints([1], 1)),
      node("y", "StackPushV2", ["s", "i"], { T: INT }),
    ];
    await expect(run(...other)).rejects.toThrow("Must have type float but got int32");
  });
});

describe("DecodeJSONExample", () => {
  const nodes = [placeholder("x", attr.type("DT_STRING")), node("y", "DecodeJSONExample", ["x"])];

  test("writes the bytes of the same Example", async () => {
    const json =
      '{"features": {"feature": {"a": {"int64List": {"value": ["7", 8]}}, "b": {"bytesList": {"value": ["aGk="]}}}}}';
    const [out] = await runOnce(graph(nodes), { "x:0": texts([1, 1], json) }, ["y:0"]);
    expect(out!.shape).toEqual([1, 1]);
    const { features } = fromBinary(ExampleSchema, (out!.data as Uint8Array[])[0]!);
    expect(features!.feature["a"]!.kind).toMatchObject({ case: "int64List", value: { value: [7n, 8n] } });
    expect(features!.feature["b"]!.kind).toMatchObject({
      value: { value: [new TextEncoder().encode("hi")] },
    });
  });

  test("refuses what is not an Example", async () => {
    for (const text of ["", "{", '{"none": 1}']) {
      await expect(runOnce(graph(nodes), { "x:0": texts([], text) }, ["y:0"])).rejects.toThrow(
        "Error while parsing JSON: ",
      );
    }
  });
});
