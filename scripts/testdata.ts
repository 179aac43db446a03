// TensorFlow と TensorFlow Serving が試験用に配っているモデルを読み、名前が約束する値を確かめる。
//   bun scripts/testdata.ts CHECKOUT…   CHECKOUT は配布物の写し(tensorflow/… か tensorflow_serving/… を含む所)
// どの写しにも無い TensorFlow のモデルは、同じ性質のものを testdata_models.py に書かせて代わりにする。
// 結果の表を docs/testdata.md に書く。食い違いがあれば 1 で終わる。
import { existsSync } from "node:fs";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { wasmFiles } from "../src/assets.ts";
import { StatusError } from "../src/base/status.ts";
import { ExampleSchema } from "../src/gen/tensorflow/core/example/example_pb.ts";
import { Backend } from "../src/graph/backend.ts";
import { GraphSession } from "../src/graph/session.ts";
import { readAssets, readSavedModel } from "../src/savedmodel/saved_model.ts";
import { diskStorage } from "../src/savedmodel/storage.ts";
import { type Tensor, tensor } from "../src/tensor/tensor.ts";
import { python } from "./python.ts";
import { root } from "./steps.ts";

/** 1 回の呼び出しと、約束された値(または断りの文)。 */
interface Call {
  readonly signature: string;
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly expected: readonly (number | string)[] | RegExp;
}

interface Row {
  /** 適合試験の一覧での番号。 */
  readonly number: number;
  readonly path: string;
  /** 読めること、呼べることの確認。 */
  readonly calls: readonly Call[];
  /** 読み込みが断られるなら、その文。 */
  readonly refused?: RegExp;
}

const float = (shape: number[], ...items: number[]): Tensor =>
  tensor("float", shape, Float32Array.from(items));
const text = (shape: number[], ...items: string[]): Tensor =>
  tensor(
    "string",
    shape,
    items.map((item) => new TextEncoder().encode(item)),
  );

function example(x: number): Tensor {
  const feature = { kind: { case: "floatList" as const, value: { value: [x] } } };
  const message = create(ExampleSchema, { features: { feature: { x: feature } } });
  return tensor("string", [1], [toBinary(ExampleSchema, message)]);
}

const call = (
  signature: string,
  inputs: Readonly<Record<string, Tensor>>,
  ...expected: (number | string)[]
): Call => ({ signature, inputs, expected });

/** x/2 + 2 と、その変種(x/2 + 3、x2/2 + 3)。 */
function halfPlusTwo(path: string, number: number, x2: Tensor = float([1, 1], 4)): Row {
  const calls = [
    call("serving_default", { x: float([2, 1], 2, 10) }, 3, 7),
    call("regress_x_to_y", { inputs: example(4) }, 4),
    call("regress_x_to_y2", { inputs: example(4) }, 5),
    call("regress_x2_to_y3", { inputs: x2 }, 5),
    call("classify_x_to_y", { inputs: example(8) }, 6),
  ];
  return { number, path, calls };
}

const SERVING = "tensorflow_serving/servables/tensorflow/testdata";
const CC = "tensorflow/cc/saved_model/testdata";
const identity = [1, 0, 0, 0, 1, 0, 0, 0, 1];

const rows: readonly Row[] = [
  {
    number: 1,
    path: "tensorflow_serving/batching/testdata/matrix_half_plus_two/1",
    calls: [
      call(
        "serving_default",
        { x: float([1, 3, 3], ...identity) },
        ...identity.map((value) => value / 2 + 2),
      ),
    ],
  },
  {
    number: 2,
    path: `${CC}/x_plus_y_v2_debuginfo`,
    calls: [call("serving_default", { x: float([], 3), y: float([], 4) }, 7)],
  },
  halfPlusTwo(`${CC}/half_plus_two/00000123`, 3),
  halfPlusTwo(`${CC}/half_plus_two_main_op/00000123`, 3),
  halfPlusTwo(`${CC}/half_plus_two_v2/00000123`, 3),
  halfPlusTwo(`${CC}/half_plus_two_pbtxt/00000123`, 3),
  halfPlusTwo(`${CC}/half_plus_two_sharded`, 3),
  halfPlusTwo(`${SERVING}/saved_model_half_plus_two_cpu/00000123`, 4),
  halfPlusTwo(`${SERVING}/saved_model_half_plus_two_2_versions/00000123`, 4),
  halfPlusTwo(`${SERVING}/saved_model_half_plus_two_2_versions/00000124`, 4),
  halfPlusTwo(`${SERVING}/saved_model_half_plus_two_mlmd/00000123`, 4),
  {
    number: 4,
    path: `${SERVING}/saved_model_half_plus_three/00000123`,
    calls: [
      call("serving_default", { x: float([2], 2, 10) }, 4, 8),
      call("tensorflow/serving/regress", { inputs: example(4) }, 5),
    ],
  },
  halfPlusTwo(`${SERVING}/saved_model_half_plus_two_cpu_with_saved_model_config/00000123`, 5),
  halfPlusTwo(`${SERVING}/saved_model_half_plus_two_cpu_with_empty_saved_model_config/00000123`, 5),
  halfPlusTwo(`${SERVING}/saved_model_half_plus_two_tf2_cpu/00000123`, 6, float([1], 4)),
  {
    number: 7,
    path: `${SERVING}/saved_model_half_plus_two_mkl/00000123`,
    calls: [
      call("serving_default", { x: float([2, 1], 2, 10) }, 3, 7),
      call("regress_x_to_y", { inputs: example(4) }, 4),
      // この 1 本だけは 10×10 の畳み込みを通る。
      call("regress_x_to_y2", { inputs: example(4) }, ...new Array<number>(100).fill(5)),
      call("classify_x_to_y", { inputs: example(8) }, 6),
    ],
  },
  {
    number: 8,
    path: `${CC}/VarsAndArithmeticObjectGraph`,
    calls: [call("serving_default", { a: float([], 2), b: float([], 4) }, 11)],
  },
  { number: 8, path: `${CC}/CyclicModule`, calls: [] },
  {
    number: 9,
    path: `${SERVING}/saved_model_counter/00000123`,
    calls: [
      call("get_counter", {}, 0),
      call("incr_counter", {}, 1),
      call("incr_counter_by", { delta: float([], 5) }, 6),
      call("get_counter", {}, 6),
      call("reset_counter", {}, 0),
    ],
  },
  {
    number: 10,
    path: "tensorflow/c/experimental/saved_model/internal/testdata/UninitializedVariable",
    calls: [
      {
        signature: "serving_default",
        inputs: {},
        expected: /uninitialized/i,
      },
    ],
  },
  { number: 11, path: `${CC}/AssetModule`, calls: [call("serving_default", {}, "TEST ASSET FILE CONTENTS")] },
  {
    number: 11,
    path: `${CC}/StaticHashTableModule`,
    calls: [call("serving_default", { keys: text([3], "baz", "none", "foo") }, 2, -1, 0)],
  },
  {
    number: 12,
    path: "tensorflow/c/experimental/saved_model/internal/testdata/SimpleWhileLoop",
    calls: [call("serving_default", { n: float([], 3) }, 12)],
  },
  {
    number: 12,
    path: "tensorflow/lite/python/testdata/control_flow_v1",
    calls: [
      call("serving_default", { x: float([], 3) }, 6),
      call("serving_default", { x: float([], -3) }, -4),
    ],
  },
  {
    number: 13,
    path: "tensorflow/python/compiler/tensorrt/test/testdata/tftrt_2.0",
    calls: [
      {
        signature: "serving_default",
        inputs: { x: float([1, 1], 2) },
        expected: /Op type not supported: 'TRTEngineOp' \(node '.*'\)/,
      },
    ],
  },
  halfPlusTwo(`${SERVING}/saved_model_half_plus_two_gpu/00000123`, 13),
  halfPlusTwo(`${SERVING}/saved_model_half_plus_two_gpu_trt/00000123`, 13),
  { number: 13, path: `${CC}/fuzz_generated/bad_node_attr`, calls: [], refused: /attr 'dtype'/ },
  { number: 13, path: `${CC}/fuzz_generated/const_with_no_value`, calls: [], refused: /no value/ },
  { number: 13, path: `${CC}/fuzz_generated/negative_shape`, calls: [], refused: /-1/ },
  {
    number: 13,
    // 写しによっては saved_model.pb が空。
    path: `${SERVING}/tf_text_regression/01`,
    calls: [],
    refused: /Could not find meta graph def|Op type not supported/,
  },
  { number: 14, path: `${CC}/OptimizerSlotVariableModule`, calls: [] },
  { number: 14, path: `${CC}/SimpleV1Model`, calls: [] },
  {
    number: 14,
    path: "tensorflow/tools/mlpbtxt/data-structure-model",
    calls: [],
  },
  {
    number: 15,
    path: "tensorflow/core/graph/regularization/testdata/bert1",
    calls: [
      {
        signature: "serving_default",
        inputs: { ids: tensor("int32", [2], Int32Array.of(1, 2)) },
        expected: /uninitialized/,
      },
    ],
  },
];

const checkouts = process.argv.slice(2);
const rewritten = join(root, ".cache", "testdata");
if (!existsSync(rewritten)) {
  const script = join(import.meta.dir, "testdata_models.py");
  const child = Bun.spawn([await python("newest"), script, rewritten], {
    stdio: ["ignore", "inherit", "ignore"],
  });
  if ((await child.exited) !== 0) throw new Error("TensorFlow could not write the models");
}
const backend = new Backend(wasmFiles);
const table: string[] = [];
let wrong = 0;
for (const row of rows) {
  const found = find(row.path);
  const result = found === undefined ? "not found" : await check(row, found.directory);
  if (result.startsWith("WRONG")) wrong++;
  const source = found?.source ?? "";
  table.push(`| ${row.number} | ${row.path.replace(/^.*testdata\//, "")} | ${source} | ${result} |`);
  console.log(table.at(-1));
}
await Bun.write(
  join(root, "docs", "testdata.md"),
  `# Upstream test models

Written by \`bun scripts/testdata.ts CHECKOUT…\`: the models that tensorflow/serving and tensorflow/tensorflow keep as test data, loaded and called, compared with the values that their names promise. Where no checkout holds a model, one with the same properties is written by TensorFlow (\`scripts/testdata_models.py\`) and read instead; the table says which.

| row | model | read from | result |
|---|---|---|---|
${table.join("\n")}
`,
);
process.exit(wrong > 0 ? 1 : 0);

/** @returns 写しか、TensorFlow に書かせた代わり。 */
function find(path: string): { directory: string; source: string } | undefined {
  const holds = (directory: string): boolean =>
    existsSync(join(directory, "saved_model.pb")) || existsSync(join(directory, "saved_model.pbtxt"));
  const checkout = checkouts.map((each) => join(each, path)).find(holds);
  if (checkout !== undefined) return { directory: checkout, source: "checkout" };
  const name = path.replace(/^.*testdata\/|^.*\/(?=data-structure-model)/, "").replace(/\/0*123$/, "");
  const own = join(rewritten, name);
  return holds(own) ? { directory: own, source: "rewritten" } : undefined;
}

async function check({ calls, refused }: Row, directory: string): Promise<string> {
  try {
    await using bundle = await readSavedModel(diskStorage, directory, ["serve"]);
    const session = await GraphSession.load(
      { ...bundle, assetFiles: await readAssets(diskStorage, bundle) },
      {
        backend,
        yieldTurn: async () => {},
        onDeviceFailure: (error) => {
          throw error;
        },
      },
    );
    try {
      const refusals = session.describe().flatMap(({ unsupported }) => unsupported ?? []);
      if (refused !== undefined) {
        const reason = refusals.find((reason) => refused.test(reason));
        return reason === undefined ? "WRONG: it loads" : `loads; calls refused: ${inline(reason)}`;
      }
      const results = calls.map((one) => [one.signature, outcome(session, bundle, one)] as const);
      const bad = results.find(([, result]) => result.startsWith("WRONG"));
      if (bad !== undefined) return `WRONG: ${bad.join(": ")}`;
      const told = results.filter(([, result]) => result !== "ok").map(([, result]) => result);
      const good = results.length - told.length;
      return [`loads`, good > 0 ? `${good} calls right` : "", ...told].filter(Boolean).join("; ");
    } finally {
      session.dispose();
    }
  } catch (thrown) {
    if (!(thrown instanceof StatusError)) throw thrown;
    const fits = refused?.test(thrown.message) ?? false;
    return fits ? `refused: ${inline(thrown.message)}` : `WRONG: ${inline(thrown.message)}`;
  }
}

type Bundle = Awaited<ReturnType<typeof readSavedModel>>;

function outcome(
  session: GraphSession,
  { signatures }: Bundle,
  { signature, inputs, expected }: Call,
): string {
  const found = signatures.get(signature);
  if (found === undefined) return "WRONG: no such signature";
  try {
    const feeds = [...found.inputs];
    const values = feeds.map(([alias]) => inputs[alias] ?? found.defaults.get(alias));
    if (values.includes(undefined)) return `WRONG: inputs are ${feeds.map(([alias]) => alias)}`;
    const fetches = Array.from(found.outputs.values(), ({ name }) => name);
    const prepared = session.prepare(
      feeds.map(([, { name }]) => name),
      fetches,
    );
    const [output] = prepared.run(values as Tensor[]);
    const got = Array.from(output!.data as ArrayLike<unknown>, (value) =>
      value instanceof Uint8Array ? new TextDecoder().decode(value) : Number(value),
    );
    if (expected instanceof RegExp) return `WRONG: ${got} instead of a refusal`;
    const same = got.length === expected.length && got.every((value, i) => isClose(value, expected[i]!));
    return same ? "ok" : `WRONG: ${got.slice(0, 12)} instead of ${expected}`;
  } catch (thrown) {
    if (!(thrown instanceof StatusError)) throw thrown;
    const fits = expected instanceof RegExp && expected.test(thrown.message);
    return `${fits ? "refused" : "WRONG"}: ${inline(thrown.message)}`;
  }
}

function isClose(got: number | string, expected: number | string): boolean {
  if (typeof got === "string" || typeof expected === "string") return got === expected;
  return Math.abs(got - expected) <= 1e-5 * Math.max(1, Math.abs(expected));
}

/** 表の 1 マスに収まる形。 */
function inline(message: string): string {
  const line = message
    .replaceAll(/\s+/g, " ")
    .replaceAll("|", "\\|")
    .replaceAll(/\/\S*\/testdata\//g, "…/");
  return `\`${line.length > 160 ? `${line.slice(0, 160)}…` : line}\``;
}
