import { describe, expect, test } from "bun:test";
import { create, toBinary } from "@bufbuild/protobuf";
import { Code, invalidArgument, outOfRange, StatusError } from "../../../src/base/status.ts";
import { DataType } from "../../../src/gen/tensorflow/core/framework/types_pb.ts";
import { MetaGraphDefSchema } from "../../../src/gen/tensorflow/core/protobuf/meta_graph_pb.ts";
import { TrackableObjectGraphSchema } from "../../../src/gen/tensorflow/core/protobuf/trackable_object_graph_pb.ts";
import type { GraphSession } from "../../../src/graph/session.ts";
import type { Tensor } from "../../../src/tensor/tensor.ts";
import {
  attr,
  constant,
  fakeCheckpoint,
  floats,
  fn,
  graph,
  INT,
  ints,
  longs,
  node,
  open,
  placeholder,
  plain,
  signature,
  T,
  texts,
} from "../../helpers/graph_builder.ts";

const STRING = attr.type("DT_STRING");

const handle = (name: string, shared = name) =>
  node(name, "VarHandleOp", [], { dtype: T, shape: attr.shape(), shared_name: attr.text(shared) });
const read = (name: string, variable: string, ...controls: string[]) =>
  node(name, "ReadVariableOp", [variable, ...controls], { dtype: T });

/** `keys` を読んで `targets` に書く復元の手順。 */
const restore = (keys: string[], slices: string[], assigns: (output: number) => ReturnType<typeof node>) => [
  placeholder("prefix", STRING),
  constant("keys", texts([keys.length], ...keys)),
  constant("slices", texts([keys.length], ...slices)),
  node("restore", "RestoreV2", ["prefix", "keys", "slices"], {
    dtypes: attr.types(...keys.map(() => "DT_FLOAT" as const)),
  }),
  ...keys.map((_, i) => assigns(i)),
];

const fetch = (session: GraphSession, name: string, feeds: Record<string, Tensor> = {}): Tensor =>
  session.prepare(Object.keys(feeds), [name]).run(Object.values(feeds))[0]!;

const failureOf = (run: () => unknown): StatusError => {
  try {
    run();
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(StatusError);
    return thrown as StatusError;
  }
  throw new Error("nothing was thrown");
};

describe("variables", () => {
  test("take their keys from the restore steps, through identities and calls", async () => {
    const restoring = fn("restoring", {
      inputs: { prefix: DataType.DT_STRING, v: DataType.DT_RESOURCE },
      outputs: { out: [DataType.DT_STRING, "prefix"] },
      nodes: [
        constant("keys", texts([1], "layer/.ATTRIBUTES/VARIABLE_VALUE")),
        constant("slices", texts([1], "")),
        node("restore", "RestoreV2", ["prefix", "keys:output:0", "slices:output:0"], {
          dtypes: attr.types("DT_FLOAT"),
        }),
        node("i", "Identity", ["restore:tensors:0"], { T }),
        node("assign", "AssignVariableOp", ["v", "i:output:0"], { dtype: T }),
      ],
      controls: ["assign"],
    });
    const session = await open(
      graph(
        [
          handle("v"),
          placeholder("prefix", STRING),
          read("r", "v"),
          node("restored", "StatefulPartitionedCall", ["prefix", "v"], {
            f: attr.func("restoring"),
            Tin: attr.types("DT_STRING", "DT_RESOURCE"),
            Tout: attr.types("DT_STRING"),
          }),
        ],
        [restoring],
      ),
      {
        checkpoint: fakeCheckpoint({ "layer/.ATTRIBUTES/VARIABLE_VALUE": floats([2], 1, 2) }),
        signatures: [signature("s", [], ["r:0"])],
      },
    );
    expect(plain(fetch(session, "r:0"))).toEqual(["float", [2], [1, 2]]);
    session.dispose();
  });

  test("read reference variables and slices", async () => {
    const variable = (name: string) => node(name, "VariableV2", [], { dtype: T, shape: attr.shape(-1) });
    const session = await open(
      graph([
        variable("a"),
        variable("b"),
        node("ra", "Identity", ["a"], { T }),
        node("sum", "AddV2", ["ra", "b"], { T }),
        ...restore(["w", "w"], ["4 0,2", "4 2,2"], (i) =>
          node(`assign${i}`, "Assign", [i === 0 ? "a" : "b", `restore:${i}`], { T }),
        ),
      ]),
      {
        checkpoint: fakeCheckpoint({
          w: floats([]),
          "w 4 0,2": floats([2], 1, 2),
          "w 4 2,2": floats([2], 30, 40),
        }),
        signatures: [signature("s", [], ["sum:0"])],
      },
    );
    expect(plain(fetch(session, "sum:0"))).toEqual(["float", [2], [31, 42]]);
    session.dispose();
  });

  test("fall back to the object graph and to their own names", async () => {
    const objects = create(TrackableObjectGraphSchema, {
      nodes: [{ attributes: [{ name: "VARIABLE_VALUE", fullName: "dense/kernel", checkpointKey: "k/0" }] }],
    });
    const session = await open(
      graph([handle("a", "dense/kernel"), handle("b", "bias"), read("ra", "a"), read("rb", "b")]),
      {
        checkpoint: fakeCheckpoint({
          _CHECKPOINTABLE_OBJECT_GRAPH: {
            dtype: "string",
            shape: [],
            data: [toBinary(TrackableObjectGraphSchema, objects)],
          },
          "k/0": floats([], 3),
          bias: floats([], 4),
        }),
        signatures: [signature("s", [], ["ra:0", "rb:0"])],
      },
    );
    expect([fetch(session, "ra:0").data[0], fetch(session, "rb:0").data[0]]).toEqual([3, 4]);
    session.dispose();
  });

  test("without a key stay uninitialised until they are read", async () => {
    const session = await open(
      graph([
        handle("v"),
        read("r", "v"),
        node("old", "VariableV2", [], { dtype: T, shape: attr.shape() }),
        node("o", "Identity", ["old"], { T }),
        node("is", "VarIsInitializedOp", ["v"]),
      ]),
      { checkpoint: fakeCheckpoint({}), signatures: [signature("s", [], ["r:0", "o:0", "is:0"])] },
    );
    const error = failureOf(() => fetch(session, "r:0"));
    expect(error.code).toBe(Code.FAILED_PRECONDITION);
    expect(error.message).toStartWith(
      "Could not find variable v. This could mean that the variable has been deleted.",
    );
    expect(failureOf(() => fetch(session, "o:0")).message).toStartWith(
      "Attempting to use uninitialized value old",
    );
    expect(fetch(session, "is:0").data[0]).toBe(0);
    session.dispose();
  });

  test("that no signature writes become constants; the others stay alive", async () => {
    const session = await open(
      graph([
        handle("w"),
        handle("count"),
        constant("one", floats([], 1)),
        placeholder("x"),
        read("rw", "w"),
        node("y", "Mul", ["x", "rw"], { T }),
        node("bump", "AssignAddVariableOp", ["count", "one"], { dtype: T }),
        read("total", "count", "^bump"),
        read("peek", "count"),
      ]),
      {
        checkpoint: fakeCheckpoint({ w: floats([], 3), count: floats([], 10) }),
        signatures: [
          signature("mul", ["x:0"], ["y:0"]),
          signature("bump", [], ["total:0"]),
          signature("peek", [], ["peek:0"]),
        ],
      },
    );
    expect(session.describe().map(({ steps }) => steps.map(({ op }) => op))).toEqual([
      ["Mul"],
      ["AssignAddVariableOp", "ReadVariableOp"],
      ["ReadVariableOp"],
    ]);
    expect(fetch(session, "total:0").data[0]).toBe(11);
    expect(fetch(session, "total:0").data[0]).toBe(12);
    expect(fetch(session, "peek:0").data[0]).toBe(12);
    expect(fetch(session, "y:0", { "x:0": floats([], 2) }).data[0]).toBe(6);
    session.dispose();
  });

  test("written inside a branch are not frozen", async () => {
    const F = DataType.DT_FLOAT;
    const branch = (name: string, by: number) =>
      fn(name, {
        inputs: { v: DataType.DT_RESOURCE },
        outputs: { y: [F, "r:value:0"] },
        nodes: [
          constant("d", floats([], by)),
          node("add", "AssignAddVariableOp", ["v", "d:output:0"], { dtype: T }),
          read("r", "v", "^add"),
        ],
        controls: ["add"],
      });
    const session = await open(
      graph(
        [
          handle("v"),
          placeholder("c", attr.type("DT_BOOL")),
          node("if", "If", ["c", "v"], {
            Tcond: attr.type("DT_BOOL"),
            Tin: attr.types("DT_RESOURCE"),
            Tout: attr.types("DT_FLOAT"),
            then_branch: attr.func("up"),
            else_branch: attr.func("down"),
          }),
          read("peek", "v"),
        ],
        [branch("up", 5), branch("down", -1)],
      ),
      {
        checkpoint: fakeCheckpoint({ v: floats([], 0) }),
        signatures: [signature("s", ["c:0"], ["if:0"]), signature("peek", [], ["peek:0"])],
      },
    );
    const run = (flag: number) =>
      fetch(session, "if:0", { "c:0": { dtype: "bool", shape: [], data: Uint8Array.of(flag) } });
    expect([run(1), run(1), run(0)].map((out) => out.data[0])).toEqual([5, 10, 9]);
    expect(fetch(session, "peek:0").data[0]).toBe(9);
    session.dispose();
  });

  test("count like the reference counter: get, add, add by, reset", async () => {
    const session = await open(
      graph([
        node("c", "VariableV2", [], { dtype: T, shape: attr.shape() }),
        constant("one", floats([], 1)),
        constant("zero", floats([], 0)),
        placeholder("by"),
        node("get", "Identity", ["c"], { T }),
        node("incr", "AssignAdd", ["c", "one"], { T }),
        node("incr_by", "AssignAdd", ["c", "by"], { T }),
        node("decr", "AssignSub", ["c", "one"], { T }),
        node("reset", "Assign", ["c", "zero"], { T }),
        ...restore(["c"], [""], () => node("a", "Assign", ["c", "restore:0"], { T })),
      ]),
      {
        checkpoint: fakeCheckpoint({ c: floats([], 0) }),
        signatures: [
          signature("get", [], ["get:0"]),
          signature("incr", [], ["incr:0"]),
          signature("by", ["by:0"], ["incr_by:0"]),
          signature("reset", [], ["reset:0"]),
        ],
      },
    );
    const steps = [
      fetch(session, "get:0"),
      fetch(session, "incr:0"),
      fetch(session, "incr_by:0", { "by:0": floats([], 5) }),
      fetch(session, "decr:0"),
      fetch(session, "get:0"),
      fetch(session, "reset:0"),
    ];
    expect(steps.map((out) => out.data[0])).toEqual([0, 1, 6, 5, 5, 0]);
    const error = failureOf(() => fetch(session, "incr_by:0", { "by:0": floats([1], 5) }));
    expect(error.message).toContain("Parameters and update must be the same size");
    session.dispose();
  });

  test("gather rows as constants when frozen", async () => {
    const session = await open(
      graph([
        node("v", "VarHandleOp", [], { dtype: T, shape: attr.shape(3, 2), shared_name: attr.text("v") }),
        placeholder("i", attr.type("DT_INT64")),
        node("g", "ResourceGather", ["v", "i"], { dtype: T, Tindices: attr.type("DT_INT64") }),
      ]),
      {
        checkpoint: fakeCheckpoint({ v: floats([3, 2], 1, 2, 3, 4, 5, 6) }),
        signatures: [signature("s", ["i:0"], ["g:0"])],
      },
    );
    expect(session.describe()[0]!.steps.map(({ op }) => op)).toEqual(["GatherV2"]);
    expect(plain(fetch(session, "g:0", { "i:0": longs([2], 2, 0) }))).toEqual([
      "float",
      [2, 2],
      [5, 6, 1, 2],
    ]);
    session.dispose();
  });
});

describe("initialisation", () => {
  const table = [
    node("table", "HashTableV2", [], {
      key_dtype: STRING,
      value_dtype: attr.type("DT_INT64"),
      shared_name: attr.text("t"),
    }),
    placeholder("asset", STRING),
    node("fill", "InitializeTableFromTextFileV2", ["table", "asset"], {
      key_index: attr.int(-2),
      value_index: attr.int(-1),
    }),
    node("init", "NoOp", ["^fill"]),
    placeholder("x", STRING),
    constant("none", longs([], -1)),
    node("found", "LookupTableFindV2", ["table", "x", "none"], { Tin: STRING, Tout: attr.type("DT_INT64") }),
    node("size", "LookupTableSizeV2", ["table"]),
  ];
  const vocabulary = new TextEncoder().encode("apple\nbanana\r\n\ncherry");

  test("fills tables from the model's assets", async () => {
    const session = await open(graph(table), {
      initOp: "init",
      assets: new Map([["asset:0", "/m/assets/vocab.txt"]]),
      assetFiles: new Map([["/m/assets/vocab.txt", vocabulary]]),
      signatures: [signature("s", ["x:0"], ["found:0"]), signature("n", [], ["size:0"])],
    });
    expect(plain(fetch(session, "found:0", { "x:0": texts([2, 2], "banana", "x", "", "cherry") }))).toEqual([
      "int64",
      [2, 2],
      [1n, -1n, 2n, 3n],
    ]);
    expect(fetch(session, "size:0").data[0]).toBe(4n);
    session.dispose();
  });

  test.each([
    ["/etc/passwd", Code.PERMISSION_DENIED, "/etc/passwd; Only the assets of the model can be read"],
    ["other.txt", Code.NOT_FOUND, "other.txt; No such file or directory"],
  ])("reads nothing but assets (%s)", async (path, code, message) => {
    const error = await open(graph(table), {
      initOp: "init:0",
      assets: new Map([["asset:0", path]]),
    }).catch((thrown: unknown) => thrown as StatusError);
    expect(error).toMatchObject({ code, message: `${message}\n\t [[{{node fill}}]]` });
  });

  test("that was not run leaves tables uninitialised", async () => {
    const session = await open(graph(table));
    expect(failureOf(() => fetch(session, "size:0")).message).toStartWith("Table not initialized.");
    session.dispose();
  });

  test("brings back the contents of mutable tables from the checkpoint", async () => {
    const session = await open(
      graph([
        node("m", "MutableHashTableV2", [], {
          key_dtype: STRING,
          value_dtype: T,
          shared_name: attr.text("m"),
        }),
        placeholder("x", STRING),
        constant("none", floats([], -1)),
        node("found", "LookupTableFindV2", ["m", "x", "none"], { Tin: STRING, Tout: T }),
        ...restore(["m-keys", "m-values"], ["", ""], (i) =>
          i === 0
            ? node("import", "LookupTableImportV2", ["m", "restore:0", "restore:1"], { Tin: STRING, Tout: T })
            : node("done", "NoOp", ["^import"]),
        ),
      ]),
      {
        checkpoint: fakeCheckpoint({ "m-keys": texts([2], "a", "b"), "m-values": floats([2], 1, 2) }),
        signatures: [signature("s", ["x:0"], ["found:0"])],
      },
    );
    expect(plain(fetch(session, "found:0", { "x:0": texts([3], "b", "c", "a") }))).toEqual([
      "float",
      [3],
      [2, -1, 1],
    ]);
    session.dispose();
  });

  test("fails the load when its op has no kernel", async () => {
    const g = graph([node("odd", "NoSuchOpAnywhere"), node("init", "NoOp", ["^odd"])]);
    const error = await open(g, { initOp: "init" }).catch((thrown: unknown) => thrown as StatusError);
    expect(error).toMatchObject({ code: Code.UNIMPLEMENTED });
  });
});

describe("a session", () => {
  test("stops loading when it is aborted", async () => {
    const aborted = AbortSignal.abort(new Error("no longer wanted"));
    await expect(open(graph([placeholder("x")]), {}, { signal: aborted })).rejects.toThrow(
      "no longer wanted",
    );
  });

  test("answers nothing after it is closed", async () => {
    const session = await open(graph([placeholder("x"), node("y", "Neg", ["x"], { T })]));
    const prepared = session.prepare(["x:0"], ["y:0"]);
    session.dispose();
    expect(failureOf(() => prepared.run([floats([], 1)])).code).toBe(Code.FAILED_PRECONDITION);
    expect(failureOf(() => session.prepare(["x:0"], ["y:0"])).code).toBe(Code.FAILED_PRECONDITION);
  });

  test("refuses constants without a value or a size, even where nothing reads them", async () => {
    const bare = node("bare", "Const", [], { dtype: T });
    await expect(open(graph([bare]))).rejects.toThrow(
      'Saved model contains node "bare" which is a constant tensor but no value has been provided',
    );
    const sized = constant("sized", floats([1], 1));
    const value = sized.attr["value"]!.value;
    if (value.case === "tensor") value.value.tensorShape!.dim[0]!.size = -1n;
    const body = fn("f", { inputs: {}, outputs: {}, nodes: [sized] });
    await expect(open(graph([], [body]))).rejects.toThrow(
      'Saved model contains node "sized" (op "Const") which initializes from a tensor with -1 elements',
    );
  });

  test("says why a tensor cannot be fetched", async () => {
    const session = await open(graph([constant("c", floats([1], 1)), node("n", "NoOp")]));
    const reasons: [feeds: string[], fetches: string[], error: StatusError][] = [
      [[], ["n:0"], outOfRange("Node 'n' (type: 'NoOp', num of outputs: 0) does not have output 0")],
      [[], ["c:1"], outOfRange("Node 'c' (type: 'Const', num of outputs: 1) does not have output 1")],
      [["c:2"], ["c:0"], outOfRange("Node 'c' (type: 'Const', num of outputs: 1) does not have output 2")],
      [
        [],
        ["none:0"],
        invalidArgument(
          "Tensor none:0, specified in either feed_devices or fetch_devices was not found in the Graph",
        ),
      ],
    ];
    for (const [feeds, fetches, { code, message }] of reasons) {
      const error = failureOf(() => session.prepare(feeds, fetches));
      expect([error.code, error.message]).toEqual([code, message]);
    }
    session.dispose();
  });

  test("refuses edges of the wrong type and widths beyond reason", async () => {
    const wrong = graph([constant("c", ints([1], 1)), node("y", "Relu", ["c"], { T })]);
    const typed = await open(wrong);
    expect(() => typed.prepare([], ["y:0"])).toThrow(
      "Input 0 of node y was passed int32 from c:0 incompatible with expected float.",
    );
    typed.dispose();
    const wide = graph([
      constant("c", floats([1], 1)),
      node("y", "Pack", ["c"], { T, N: attr.int(2 ** 31 - 1) }),
    ]);
    const widened = await open(wide);
    expect(() => widened.prepare([], ["y:0"])).toThrow(
      "Attr 'N' has value 2147483647, which is not in [0, 131072]",
    );
    widened.dispose();
  });

  test("reads its assets, and nothing else", async () => {
    const read = graph([placeholder("x", attr.type("DT_STRING")), node("y", "ReadFile", ["x"])]);
    const assetFiles = new Map([["/m/assets/a.txt", new TextEncoder().encode("inside")]]);
    const session = await open(read, { assetFiles, signatures: [signature("s", ["x:0"], ["y:0"])] });
    const run = (path: string) => session.prepare(["x:0"], ["y:0"]).run([texts([], path)])[0]!;
    expect(run("/m/assets/a.txt")).toEqual(texts([], "inside"));
    expect(() => run("/etc/passwd")).toThrow("Only the assets of the model can be read");
    session.dispose();
  });

  test("without a graph is refused", async () => {
    await expect(open(graph([]), { metaGraph: create(MetaGraphDefSchema) })).rejects.toThrow(
      "The MetaGraph has no graph",
    );
  });

  test("keeps mutable tables between calls", async () => {
    const session = await open(
      graph([
        node("m", "MutableHashTableV2", [], {
          key_dtype: attr.type("DT_INT64"),
          value_dtype: INT,
          shared_name: attr.text("m"),
        }),
        placeholder("k", attr.type("DT_INT64")),
        placeholder("v", INT),
        node("insert", "LookupTableInsertV2", ["m", "k", "v"], { Tin: attr.type("DT_INT64"), Tout: INT }),
        node("size", "LookupTableSizeV2", ["m", "^insert"]),
        node("all", "LookupTableExportV2", ["m"], { Tkeys: attr.type("DT_INT64"), Tvalues: INT }),
        node("remove", "LookupTableRemoveV2", ["m", "k"], { Tin: attr.type("DT_INT64") }),
        node("rest", "LookupTableSizeV2", ["m", "^remove"]),
      ]),
    );
    const feeds = { "k:0": longs([2], 7, 2n ** 60n), "v:0": ints([2], 1, 2) };
    expect(fetch(session, "size:0", feeds).data[0]).toBe(2n);
    expect(session.prepare([], ["all:0", "all:1"]).run([]).map(plain)).toEqual([
      ["int64", [2], [7n, 2n ** 60n]],
      ["int32", [2], [1, 2]],
    ]);
    expect(fetch(session, "rest:0", { "k:0": longs([1], 7) }).data[0]).toBe(1n);
    session.dispose();
  });
});
