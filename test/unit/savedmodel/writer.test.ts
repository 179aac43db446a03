import { expect, test } from "bun:test";
import { fromBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import type { AttrValue } from "../../../src/gen/tensorflow/core/framework/attr_value_pb.ts";
import type { FunctionDef } from "../../../src/gen/tensorflow/core/framework/function_pb.ts";
import type { NodeDef } from "../../../src/gen/tensorflow/core/framework/node_def_pb.ts";
import { DataType } from "../../../src/gen/tensorflow/core/framework/types_pb.ts";
import type { MetaGraphDef } from "../../../src/gen/tensorflow/core/protobuf/meta_graph_pb.ts";
import { SavedModelSchema } from "../../../src/gen/tensorflow/core/protobuf/saved_model_pb.ts";
import { SaverDef_CheckpointFormatVersion } from "../../../src/gen/tensorflow/core/protobuf/saver_pb.ts";
import { TrackableObjectGraphSchema } from "../../../src/gen/tensorflow/core/protobuf/trackable_object_graph_pb.ts";
import { type ArgDef, findOpDefinition, type OpDefinition } from "../../../src/graph/op_defs.ts";
import { CheckpointReader } from "../../../src/savedmodel/checkpoint.ts";
import type { Activation, DenseNetwork } from "../../../src/savedmodel/dense_network.ts";
import { memoryStorage } from "../../../src/savedmodel/storage.ts";
import { writeSavedModel } from "../../../src/savedmodel/writer.ts";

const { DT_FLOAT, DT_RESOURCE, DT_STRING } = DataType;

function network(
  widths: readonly number[],
  activations: readonly Activation[],
  classify = false,
): DenseNetwork {
  return {
    inputName: "input",
    outputName: "output",
    layers: activations.map((activation, i) => {
      const [rows, columns] = [widths[i]!, widths[i + 1]!];
      return {
        activation,
        kernel: {
          dtype: "float",
          shape: [rows, columns],
          data: Float32Array.from({ length: rows * columns }, (_, k) => Math.sin(k + i)),
        },
        bias: {
          dtype: "float",
          shape: [columns],
          data: Float32Array.from({ length: columns }, (_, k) => k / 8),
        },
      };
    }),
    classifier: classify
      ? {
          features: Array.from({ length: widths[0]! }, (_, k) => `feature_${k}`),
          labels: Array.from({ length: widths.at(-1)! }, (_, k) => `label ${k}`),
        }
      : undefined,
  };
}

const iris = network([4, 16, 3], ["relu", "softmax"], true);

function metaGraphOf(model: DenseNetwork): MetaGraphDef {
  return fromBinary(SavedModelSchema, writeSavedModel(model).get("saved_model.pb")!).metaGraphs[0]!;
}

const functionsOf = (meta: MetaGraphDef): Map<string, FunctionDef> =>
  new Map(meta.graphDef!.library!.function.map((f) => [f.signature!.name, f]));

const typesOf = (attr: AttrValue | undefined): DataType[] =>
  attr?.value.case === "list" ? attr.value.value.type : [];

/** 引数の宣言と属性から、引数が占める要素の型を順に出す。 */
function expand(
  args: readonly ArgDef[],
  node: NodeDef,
  { defaults }: OpDefinition,
): { arg: string; types: number[] }[] {
  return args.map(({ name, type, numberAttr }) => {
    if (type.kind === "list") return { arg: name, types: typesOf(node.attr[type.attr]) };
    const given = type.kind === "attr" ? node.attr[type.attr]?.value : undefined;
    const one =
      type.kind === "fixed"
        ? type.wire
        : given?.case === "type"
          ? given.value
          : type.kind === "attr"
            ? Number(defaults.get(type.attr)?.value)
            : Number.NaN;
    const count = numberAttr === undefined ? undefined : node.attr[numberAttr]?.value;
    const times = numberAttr === undefined ? 1 : count?.case === "i" ? Number(count.value) : Number.NaN;
    return { arg: name, types: new Array<number>(times).fill(one) };
  });
}

/** 本物の演算の宣言に照らして、ノードの列を調べる。見つけた問題を返す。 */
function problemsIn(
  nodes: readonly NodeDef[],
  args: ReadonlyMap<string, number>,
  inFunction: boolean,
): string[] {
  const problems: string[] = [];
  const values = new Map<string, number>(args);
  const names = new Set<string>();
  for (const node of nodes) {
    if (names.has(node.name)) problems.push(`${node.name} is there twice`);
    names.add(node.name);
    const definition = findOpDefinition(node.op);
    if (definition === undefined) {
      problems.push(`${node.name}: unknown op ${node.op}`);
      continue;
    }
    let flat = 0;
    for (const { arg, types } of expand(definition.outputs, node, definition)) {
      for (const [i, type] of types.entries()) {
        values.set(
          inFunction ? `${node.name}:${arg}:${i}` : flat === 0 ? node.name : `${node.name}:${flat}`,
          type,
        );
        flat++;
      }
    }
  }
  for (const node of nodes) {
    const definition = findOpDefinition(node.op);
    if (definition === undefined) continue;
    const data = node.input.filter((input) => !input.startsWith("^"));
    const control = node.input.filter((input) => input.startsWith("^"));
    if (node.input.join() !== [...data, ...control].join())
      problems.push(`${node.name}: control before data`);
    for (const name of control) if (!names.has(name.slice(1))) problems.push(`${node.name}: no node ${name}`);
    const wanted = expand(definition.inputs, node, definition).flatMap(({ types }) => types);
    const given = data.map((input) => values.get(input));
    if (wanted.join() !== given.join())
      problems.push(`${node.name}: wants [${wanted}], gets [${given}] from ${data}`);
  }
  return problems;
}

test.each([
  ["Iris", iris],
  ["one linear layer", network([2, 1], ["linear"])],
  ["every activation", network([3, 5, 4, 6, 2], ["relu", "tanh", "sigmoid", "softmax"], true)],
])("writeSavedModel() writes graphs that fit the op definitions: %s", (_, model) => {
  const meta = metaGraphOf(model);
  expect(problemsIn(meta.graphDef!.node, new Map(), false)).toEqual([]);
  for (const f of functionsOf(meta).values()) {
    const { inputArg, outputArg, isStateful, controlOutput } = f.signature!;
    expect(problemsIn(f.nodeDef, new Map(inputArg.map(({ name, type }) => [name, type])), true)).toEqual([]);
    expect(isStateful).toBe(true);
    expect(Object.keys(f.ret)).toEqual(outputArg.map(({ name }) => name));
    expect(Object.keys(f.controlRet)).toEqual(controlOutput);
    const nodes = new Set(f.nodeDef.map(({ name }) => name));
    for (const from of [
      ...Object.values(f.ret).map((ret) => ret.split(":")[0]!),
      ...Object.values(f.controlRet),
    ]) {
      expect(nodes).toContain(from);
    }
    const shapes = f.attr["_input_shapes"]!.value;
    expect(shapes.case === "list" && shapes.value.shape.length).toBe(inputArg.length);
    for (const { type, handleData } of inputArg)
      expect(handleData).toHaveLength(type === DT_RESOURCE ? 1 : 0);
    for (const { name } of [...inputArg, ...outputArg]) expect(name).toMatch(/^[a-z][a-z0-9_]*$/);
  }
});

test("writeSavedModel() writes calls whose Tin and Tout are the callee's signature", () => {
  const meta = metaGraphOf(iris);
  const functions = functionsOf(meta);
  const calls = [...meta.graphDef!.node, ...[...functions.values()].flatMap((f) => f.nodeDef)].filter(
    ({ op }) => op === "StatefulPartitionedCall",
  );
  expect(calls).toHaveLength(6);
  for (const { attr } of calls) {
    const target = attr["f"]!.value;
    const callee = functions.get(target.case === "func" ? target.value.name : "")!.signature!;
    expect(typesOf(attr["Tin"])).toEqual(callee.inputArg.map(({ type }) => type));
    expect(typesOf(attr["Tout"])).toEqual(callee.outputArg.map(({ type }) => type));
  }
});

test("writeSavedModel() promises the documented names", () => {
  const { signatureDef, collectionDef, saverDef, metaInfoDef, graphDef } = metaGraphOf(iris);
  const described = Object.entries(signatureDef).map(([key, { inputs, outputs, methodName }]) => ({
    key,
    methodName,
    tensors: [...Object.entries(inputs), ...Object.entries(outputs)].map(
      ([alias, { encoding, dtype, tensorShape }]) =>
        `${alias}=${encoding.value} ${DataType[dtype]} [${tensorShape!.dim.map(({ size }) => size)}]`,
    ),
  }));
  expect(described).toEqual([
    {
      key: "serving_default",
      methodName: "tensorflow/serving/predict",
      tensors: [
        "input=serving_default_input:0 DT_FLOAT [-1,4]",
        "output=StatefulPartitionedCall:0 DT_FLOAT [-1,3]",
      ],
    },
    {
      key: "classify",
      methodName: "tensorflow/serving/classify",
      tensors: [
        "inputs=classify_inputs:0 DT_STRING [-1]",
        "classes=StatefulPartitionedCall_1:0 DT_STRING [-1,3]",
        "scores=StatefulPartitionedCall_1:1 DT_FLOAT [-1,3]",
      ],
    },
  ]);
  expect(collectionDef["saved_model_main_op"]!.kind.value).toMatchObject({ value: ["NoOp"] });
  expect(saverDef).toMatchObject({
    filenameTensorName: "saver_filename:0",
    saveTensorName: "StatefulPartitionedCall_2:0",
    restoreOpName: "StatefulPartitionedCall_3",
    version: SaverDef_CheckpointFormatVersion.V2,
  });
  expect(metaInfoDef).toMatchObject({ tags: ["serve"], strippedDefaultAttrs: true });
  const names = graphDef!.node.map(({ name }) => name);
  for (const name of ["NoOp", "saver_filename", "StatefulPartitionedCall_2", "StatefulPartitionedCall_3"]) {
    expect(names).toContain(name);
  }
});

test("writeSavedModel() without a classifier exports serving_default alone", () => {
  const { signatureDef, saverDef } = metaGraphOf(network([4, 3], ["softmax"]));
  expect(Object.keys(signatureDef)).toEqual(["serving_default"]);
  expect(saverDef!.restoreOpName).toBe("StatefulPartitionedCall_2");
});

test("writeSavedModel() pairs both object graphs, the functions and the checkpoint", async () => {
  const files = writeSavedModel(iris);
  expect([...files.keys()]).toEqual([
    "variables/variables.index",
    "variables/variables.data-00000-of-00001",
    "saved_model.pb",
  ]);
  const meta = metaGraphOf(iris);
  const functions = functionsOf(meta);
  const saved = meta.objectGraphDef!;

  await using reader = await CheckpointReader.open(memoryStorage(files), "variables/variables");
  const stored = await reader.read("_CHECKPOINTABLE_OBJECT_GRAPH");
  const bytes = (stored.data as Uint8Array[])[0]!;
  const embedded = meta.graphDef!.node.find(({ name }) => name === "Const")!.attr["value"]!.value;
  expect(embedded.case === "tensor" && embedded.value.stringVal[0]).toEqual(bytes);
  const trackable = fromBinary(TrackableObjectGraphSchema, bytes);

  expect(trackable.nodes).toHaveLength(saved.nodes.length);
  const shape = ({ children }: { children: readonly { nodeId: number; localName: string }[] }) =>
    children.map(({ nodeId, localName }) => `${localName}→${nodeId}`);
  expect(trackable.nodes.map(shape)).toEqual(saved.nodes.map(shape));

  const expected = iris.layers.flatMap(({ kernel, bias }) => [kernel, bias]);
  const variables = saved.nodes.flatMap((node, id) =>
    node.kind.case === "variable" ? [{ id, ...node.kind.value }] : [],
  );
  expect(variables.map(({ name }) => name)).toEqual([
    "dense/kernel",
    "dense/bias",
    "dense_1/kernel",
    "dense_1/bias",
  ]);
  for (const [index, { id, name, trainable }] of variables.entries()) {
    const { attributes, hasCheckpointValues } = trackable.nodes[id]!;
    expect(attributes).toHaveLength(1);
    expect(attributes[0]).toMatchObject({ name: "VARIABLE_VALUE", fullName: name });
    expect(hasCheckpointValues).toBe(true);
    expect(trainable).toBe(true);
    expect(await reader.read(attributes[0]!.checkpointKey)).toEqual(expected[index]!);
  }
  // 値を持つのは、根・一覧・変数だけ。
  expect(trackable.nodes.map(({ hasCheckpointValues }) => hasCheckpointValues === true)).toEqual([
    true,
    true,
    false,
    false,
    true,
    true,
    true,
    true,
    false,
    false,
  ]);

  for (const [name, { boundInputs, canonicalizedInputSignature }] of Object.entries(
    saved.concreteFunctions,
  )) {
    const { inputArg } = functions.get(name)!.signature!;
    expect(boundInputs).toEqual(variables.map(({ id }) => id));
    expect(inputArg).toHaveLength(1 + boundInputs.length);
    expect(canonicalizedInputSignature!.kind.case).toBe("tupleValue");
  }
  const callable = saved.nodes.flatMap(({ kind }) =>
    kind.case === "function"
      ? kind.value.concreteFunctions
      : kind.case === "bareConcreteFunction"
        ? [kind.value.concreteFunctionName]
        : [],
  );
  expect(callable.sort()).toEqual(Object.keys(saved.concreteFunctions).sort());
});

test("writeSavedModel() saves and restores the same keys in the same order", () => {
  const functions = [...functionsOf(metaGraphOf(iris)).values()];
  const keysOf = (op: string): string[] => {
    const constant = functions
      .flatMap(({ nodeDef }) => nodeDef)
      .find(({ name }) => name === `${op}/tensor_names`)!.attr["value"]!.value;
    return constant.case === "tensor"
      ? constant.value.stringVal.map((key) => new TextDecoder().decode(key))
      : [];
  };
  expect(keysOf("SaveV2")).toEqual([
    ...[0, 1, 2, 3].map((index) => `variables/${index}/.ATTRIBUTES/VARIABLE_VALUE`),
    "_CHECKPOINTABLE_OBJECT_GRAPH",
  ]);
  expect(keysOf("RestoreV2")).toEqual(keysOf("SaveV2"));
});

test("writeSavedModel() is deterministic and keeps every weight, whatever the widths", async () => {
  const widths = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 2, maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(widths, fc.boolean(), async (widths, classify) => {
      const model = network(widths, new Array<Activation>(widths.length - 1).fill("relu"), classify);
      const files = writeSavedModel(model);
      expect(writeSavedModel(model)).toEqual(files);
      await using reader = await CheckpointReader.open(memoryStorage(files), "variables/variables");
      for (const [index, value] of model.layers.flatMap(({ kernel, bias }) => [kernel, bias]).entries()) {
        expect(await reader.read(`variables/${index}/.ATTRIBUTES/VARIABLE_VALUE`)).toEqual(value);
      }
    }),
    { numRuns: 25 },
  );
});

const wide = network([4, 3], ["softmax"], true);
test.each([
  ["no layer", { ...wide, layers: [] }, "A network needs at least one layer"],
  ["a bad name", { ...wide, inputName: "Input 1" }, '"Input 1" is not a valid argument name'],
  [
    "widths that do not meet",
    { ...wide, layers: [...wide.layers, ...network([2, 3], ["softmax"]).layers] },
    "Layer dense_1 does not fit: kernel [2,3], bias [3], input width 3",
  ],
  [
    "too few features",
    { ...wide, classifier: { features: ["a"], labels: ["x", "y", "z"] } },
    "1 feature names for 4 input columns",
  ],
  [
    "too few labels",
    { ...wide, classifier: { features: ["a", "b", "c", "d"], labels: ["x"] } },
    "1 labels for 3 output columns",
  ],
])("writeSavedModel() refuses %s", (_, model: DenseNetwork, message) => {
  expect(() => writeSavedModel(model)).toThrow(message);
});

test("the validator of these tests finds faults", () => {
  const { node } = metaGraphOf(iris).graphDef!;
  const call = node.find(({ name }) => name === "StatefulPartitionedCall")!;
  call.input.pop();
  expect(problemsIn(node, new Map(), false)).toEqual([
    `StatefulPartitionedCall: wants [${[DT_FLOAT, ...new Array(4).fill(DT_RESOURCE)]}], gets [${[DT_FLOAT, ...new Array(3).fill(DT_RESOURCE)]}] from ${call.input}`,
  ]);
  expect(problemsIn([{ ...call, op: "NoSuchOp" }], new Map([["x", DT_STRING]]), true)).toEqual([
    "StatefulPartitionedCall: unknown op NoSuchOp",
  ]);
});
