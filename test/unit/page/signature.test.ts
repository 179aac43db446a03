import { expect, test } from "bun:test";
import { type MetadataJson, readSignatures } from "../../../src/page/signature.ts";

const shape = (...sizes: number[]) => ({
  dim: sizes.map((size) => ({ size: String(size), name: "" })),
  unknown_rank: false,
});
const predict = "tensorflow/serving/predict";
const metadata = (signatures: Record<string, unknown>): MetadataJson =>
  ({
    model_spec: { name: "m", version: "1" },
    metadata: { signature_def: { signature_def: signatures } },
  }) as MetadataJson;

test("readSignatures() puts the default first and leaves out what cannot be called", () => {
  const found = readSignatures(
    metadata({
      a: { method_name: "tensorflow/serving/classify" },
      __saved_model_init_op: { method_name: "" },
      serving_default: { method_name: predict },
      b: { method_name: "tensorflow/serving/regress" },
    }),
  );
  expect(found.map(({ key, verb }) => `${key} ${verb}`)).toEqual([
    "serving_default predict",
    "a classify",
    "b regress",
  ]);
});

test("readSignatures() reads dtypes and shapes, sorted by name", () => {
  const [found] = readSignatures(
    metadata({
      serving_default: {
        method_name: predict,
        inputs: {
          z: { name: "z:0", dtype: "DT_INT64", tensor_shape: shape() },
          a: { name: "a:0", dtype: "DT_FLOAT_REF", tensor_shape: shape(-1, 4) },
          u: { name: "u:0", dtype: "DT_STRING", tensor_shape: { dim: [], unknown_rank: true } },
          c: { coo_sparse: {}, dtype: "DT_FLOAT", tensor_shape: shape(-1, -1) },
        },
      },
    }),
  );
  expect(found!.inputs).toEqual([
    { alias: "a", dtype: "float", shape: [-1, 4], composite: false },
    { alias: "c", dtype: "float", shape: [-1, -1], composite: true },
    { alias: "u", dtype: "string", shape: undefined, composite: false },
    { alias: "z", dtype: "int64", shape: [], composite: false },
  ]);
  expect(found!.outputs).toEqual([]);
});
