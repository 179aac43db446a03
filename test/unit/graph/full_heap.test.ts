import { expect, test } from "bun:test";
import { wasmFiles } from "../../../src/assets.ts";
import { resourceExhausted } from "../../../src/base/status.ts";
import { Backend } from "../../../src/graph/backend.ts";
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
  T,
} from "../../helpers/graph_builder.ts";

const SIDE = 128;
const weights = constant(
  "w",
  floats([SIDE, SIDE], ...Array.from({ length: SIDE * SIDE }, (_, i) => (i % (SIDE + 1) === 0 ? 2 : 0))),
);
const product = graph([placeholder("x"), weights, node("y", "MatMul", ["x", "w"], { T })]);
const row = floats([1, SIDE], ...Array.from({ length: SIDE }, (_, i) => i));
const doubled = Array.from({ length: SIDE }, (_, i) => 2 * i);

/** 記憶の一杯になった wasm。 */
async function fullBackend(): Promise<Backend> {
  const backend = new Backend(wasmFiles);
  await backend.boot();
  const refuse = (): never => {
    throw resourceExhausted("OOM when allocating 65536 bytes in the wasm heap");
  };
  backend.device!.uploadInSlices = refuse;
  backend.device!.uploadKept = refuse;
  return backend;
}

test("weights that do not fit the wasm heap stay on the host", async () => {
  const failures: string[] = [];
  const session = await open(
    product,
    {
      signatures: [
        {
          key: "s",
          methodName: "",
          inputs: new Map([["x", { name: "x:0", wireDType: 1, dtype: "float", shape: [-1, SIDE] }]]),
          outputs: new Map([["y", { name: "y:0", wireDType: 1, dtype: "float", shape: [-1, SIDE] }]]),
          defaults: new Map(),
        },
      ],
    },
    { backend: await fullBackend(), onDeviceFailure: ({ message }) => failures.push(message) },
  );
  expect(failures).toEqual(["OOM when allocating 65536 bytes in the wasm heap"]);
  const prepared = session.prepare(["x:0"], ["y:0"]);
  for (let call = 0; call < 2; call++) expect([...prepared.run([row])[0]!.data]).toEqual(doubled);
  session.dispose();
});

test("what finds the wasm heap full while running is computed on the host", async () => {
  const session = await open(product, {}, { backend: await fullBackend(), deviceWork: 0 });
  expect([...session.prepare(["x:0"], ["y:0"]).run([row])[0]!.data]).toEqual(doubled);
  session.dispose();
});

test("a table whose rows are looked up does not start wasm, however large", async () => {
  const backend = new Backend(wasmFiles);
  const session = await open(
    graph([
      placeholder("i", INT),
      weights,
      constant("axis", ints([], 0)),
      node("y", "GatherV2", ["w", "i", "axis"], {
        Tparams: T,
        Tindices: INT,
        Taxis: INT,
        batch_dims: attr.int(0),
      }),
    ]),
    {},
    { backend },
  );
  expect(session.prepare(["i:0"], ["y:0"]).run([ints([1], 3)])[0]!.data[3]).toBe(2);
  expect(backend.device).toBeUndefined();
  session.dispose();
});
