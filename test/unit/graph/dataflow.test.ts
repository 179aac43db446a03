import { describe, expect, test } from "bun:test";
import { StatusError } from "../../../src/base/status.ts";
import {
  attr,
  backend,
  bools,
  constant,
  floats,
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

const BOOL = attr.type("DT_BOOL");

const enter = (name: string, input: string, frame: string, type = INT, isConstant = false) =>
  node(name, "Enter", [input], { T: type, frame_name: attr.text(frame), is_constant: attr.bool(isConstant) });
const merge = (name: string, inputs: string[], type = INT) =>
  node(name, "Merge", inputs, {
    T: type,
    N: attr.int(inputs.filter((input) => !input.startsWith("^")).length),
  });

/** `i < limit` の間 `i += 1; v = step(v)` とする v1 のループ。 */
const loop = (
  prefix: string,
  limit: string,
  start: string,
  value: string,
  ...body: ReturnType<typeof node>[]
) => {
  const p = (name: string) => `${prefix}${name}`;
  return [
    enter(p("enter_i"), start, prefix),
    enter(p("enter_v"), value, prefix, T),
    enter(p("enter_n"), limit, prefix, INT, true),
    merge(p("i"), [p("enter_i"), p("next_i")]),
    merge(p("v"), [p("enter_v"), p("next_v")], T),
    node(p("less"), "Less", [p("i"), p("enter_n")], { T: INT }),
    node(p("cond"), "LoopCond", [p("less")]),
    node(p("switch_i"), "Switch", [p("i"), p("cond")], { T: INT }),
    node(p("switch_v"), "Switch", [p("v"), p("cond")], { T }),
    node(p("body_i"), "Identity", [p("switch_i:1")], { T: INT }),
    node(p("body_v"), "Identity", [p("switch_v:1")], { T }),
    constant(p("one"), ints([], 1), `^${p("body_i")}`),
    node(p("inc"), "AddV2", [p("body_i"), p("one")], { T: INT }),
    node(p("next_i"), "NextIteration", [p("inc")], { T: INT }),
    ...body,
    node(p("next_v"), "NextIteration", [p("step")], { T }),
    node(p("exit_i"), "Exit", [p("switch_i")], { T: INT }),
    node(p("exit_v"), "Exit", [p("switch_v")], { T }),
  ];
};

describe("v1 control flow", () => {
  const branches = graph([
    placeholder("x"),
    placeholder("p", BOOL),
    node("switch", "Switch", ["x", "p"], { T }),
    node("on", "Identity", ["switch:1"], { T }),
    node("off", "Identity", ["switch:0"], { T }),
    // 枝の中の定数は、枝が選ばれたときだけ生きる。
    constant("hundred", floats([], 100), "^on"),
    node("yes", "AddV2", ["on", "hundred"], { T }),
    constant("minus", floats([], -1), "^off"),
    merge("out", ["yes", "minus"], T),
    node("after", "Neg", ["out"], { T }),
  ]);

  test("takes one branch, and says which", async () => {
    const session = await open(branches);
    const prepared = session.prepare(["x:0", "p:0"], ["after:0", "out:1"]);
    const run = (flag: boolean) => prepared.run([floats([], 5), bools([], flag)]).map((out) => out.data[0]);
    expect(run(true)).toEqual([-105, 0]);
    expect(run(false)).toEqual([1, 1]);
    session.dispose();
  });

  test("has no value on the branch that was not taken", async () => {
    const session = await open(branches);
    const prepared = session.prepare(["x:0", "p:0"], ["switch:1"]);
    expect(() => prepared.run([floats([], 5), bools([], false)])).toThrow("Retval[0] does not have value");
    expect(plain(prepared.run([floats([], 5), bools([], true)])[0]!)).toEqual(["float", [], [5]]);
    session.dispose();
  });

  const doubling = [
    placeholder("n", INT),
    placeholder("x"),
    constant("zero", ints([], 0)),
    ...loop("w/", "n", "zero", "x", node("w/step", "AddV2", ["w/body_v", "w/body_v"], { T })),
  ];

  test.each([
    [0, 3],
    [1, 6],
    [10, 3072],
  ])("runs a loop %i times", async (n, expected) => {
    const out = await runOnce(graph(doubling), { "n:0": ints([], n), "x:0": floats([], 3) }, [
      "w/exit_i:0",
      "w/exit_v:0",
    ]);
    expect(out.map((one) => one.data[0])).toEqual([n, expected]);
  });

  test("nests loops, and brings outer values in as invariants", async () => {
    const inner = [
      constant("o/start", ints([], 0), "^o/body_i"),
      ...loop(
        "q/",
        "o/body_i",
        "o/start",
        "o/body_v",
        node("q/step", "AddV2", ["q/body_v", "q/k"], { T }),
        enter("q/k", "o/k", "q/", T, true),
      ),
      node("o/step", "Identity", ["q/exit_v"], { T }),
    ];
    const g = graph([
      placeholder("n", INT),
      placeholder("x"),
      constant("half", floats([], 0.5)),
      constant("zero", ints([], 0)),
      enter("o/k", "half", "o/", T, true),
      ...loop("o/", "n", "zero", "x", ...inner),
    ]);
    // 外側の i 周目に 0.5 を i 回足す: 0.5 × (0 + 1 + … + 5)。
    const [out] = await runOnce(g, { "n:0": ints([], 6), "x:0": floats([], 1) }, ["o/exit_v:0"]);
    expect(plain(out!)).toEqual(["float", [], [8.5]]);
  });

  test("skips a whole loop on the branch that was not taken", async () => {
    const g = graph([
      placeholder("p", BOOL),
      placeholder("x"),
      constant("limit", ints([], 4)),
      constant("zero", ints([], 0)),
      node("sx", "Switch", ["x", "p"], { T }),
      node("sz", "Switch", ["zero", "p"], { T: INT }),
      node("sn", "Switch", ["limit", "p"], { T: INT }),
      ...loop("w/", "sn:1", "sz:1", "sx:1", node("w/step", "AddV2", ["w/body_v", "w/body_v"], { T })),
      node("other", "Neg", ["sx:0"], { T }),
      merge("out", ["w/exit_v", "other"], T),
    ]);
    const session = await open(g);
    const run = (flag: boolean) =>
      session.prepare(["p:0", "x:0"], ["out:0"]).run([bools([], flag), floats([], 3)])[0]!;
    expect(run(true).data[0]).toBe(48);
    expect(run(false).data[0]).toBe(-3);
    session.dispose();
  });

  test("orders effects by control edges, and keeps dead ones from happening", async () => {
    const g = graph([
      placeholder("p", BOOL),
      node("v", "VariableV2", [], { dtype: T, shape: attr.shape() }),
      constant("zero", floats([], 0)),
      node("reset", "Assign", ["v", "zero"], { T }),
      node("sp", "Switch", ["p", "p"], { T: BOOL }),
      node("on", "Identity", ["sp:1"], { T: BOOL }),
      node("off", "Identity", ["sp:0"], { T: BOOL }),
      constant("ten", floats([], 10), "^on", "^reset"),
      node("add", "AssignAdd", ["v", "ten"], { T }),
      constant("same", floats([], -1), "^off", "^reset"),
      merge("done", ["add", "same"], T),
      node("read", "Identity", ["v", "^done"], { T }),
    ]);
    const session = await open(g);
    const run = (flag: boolean) => session.prepare(["p:0"], ["read:0"]).run([bools([], flag)])[0]!.data[0];
    expect([run(true), run(false), run(true)]).toEqual([10, 0, 10]);
    session.dispose();
  });

  test("picks one of N with _SwitchN", async () => {
    const g = graph([
      placeholder("x"),
      placeholder("k", INT),
      node("s", "_SwitchN", ["x", "k"], { T, num_outs: attr.int(3) }),
      node("neg", "Neg", ["s:1"], { T }),
      merge("out", ["s:0", "neg", "s:2"], T),
    ]);
    const session = await open(g);
    const run = (k: number) =>
      session
        .prepare(["x:0", "k:0"], ["out:0", "out:1"])
        .run([floats([], 2), ints([], k)])
        .map((out) => out.data[0]);
    expect([run(0), run(1), run(7)]).toEqual([
      [2, 0],
      [-2, 1],
      [2, 2],
    ]);
    session.dispose();
  });

  test("names the node that failed, and lets the caller stop a loop", async () => {
    const session = await open(graph(doubling));
    const prepared = session.prepare(["n:0", "x:0"], ["w/exit_v:0"]);
    let turns = 0;
    expect(() =>
      prepared.run([ints([], 1e9), floats([], 0)], () => {
        if (++turns === 50) throw new StatusError(4, "enough");
      }),
    ).toThrow("enough");
    const three = enter("w/k", "three", "w/", T, true);
    const step = node("w/step", "AddV2", ["w/body_v", "w/k"], { T });
    const bad = graph([
      placeholder("n", INT),
      placeholder("x"),
      constant("zero", ints([], 0)),
      constant("three", floats([3], 1, 2, 3)),
      ...loop("w/", "n", "zero", "x", three, step),
    ]);
    const run = runOnce(bad, { "n:0": ints([], 3), "x:0": floats([2], 1, 2) }, ["w/exit_v:0"]);
    await expect(run).rejects.toThrow("Incompatible shapes: [2] vs. [3]\n\t [[{{node w/step}}]]");
    session.dispose();
  });

  test("leaves nothing on the device after loops, branches and failures", async () => {
    const device = await backend.boot();
    const session = await open(graph(doubling), {}, { deviceWork: 0 });
    const prepared = session.prepare(["n:0", "x:0"], ["w/exit_v:0"]);
    const before = device.tensorCount;
    for (let i = 0; i < 20; i++) {
      expect(prepared.run([ints([], i), floats([2], 1, 2)])[0]!.data[0]).toBe(2 ** i);
    }
    let turns = 0;
    expect(() =>
      prepared.run([ints([], 100), floats([2], 1, 2)], () => {
        if (++turns === 7) throw new StatusError(4, "enough");
      }),
    ).toThrow("enough");
    expect(device.tensorCount).toBe(before);
    session.dispose();
  });
});
