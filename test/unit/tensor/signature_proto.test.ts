import { expect, test } from "bun:test";
import { create } from "@bufbuild/protobuf";
import { SignatureDefSchema } from "../../../src/gen/tensorflow/core/protobuf/meta_graph_pb.ts";
import { PREDICT_METHOD, type Signature } from "../../../src/tensor/signature.ts";
import { signatureFromProto, signatureToProto } from "../../../src/tensor/signature_proto.ts";
import { tensor } from "../../../src/tensor/tensor.ts";

const proto = create(SignatureDefSchema, {
  methodName: PREDICT_METHOD,
  inputs: {
    z: {
      encoding: { case: "name", value: "z:0" },
      dtype: 1,
      tensorShape: { dim: [{ size: -1n, name: "rows" }] },
    },
    a: { encoding: { case: "name", value: "a:0" }, dtype: 7, tensorShape: { unknownRank: true } },
    sparse: { encoding: { case: "cooSparse", value: { valuesTensorName: "v:0" } }, dtype: 9 },
    handle: { encoding: { case: "name", value: "h:0" }, dtype: 20, tensorShape: {} },
  },
  outputs: {
    y: { encoding: { case: "name", value: "y:0" }, dtype: 101, tensorShape: { dim: [{ size: 3n }] } },
  },
  defaults: { z: { dtype: 1, tensorShape: { dim: [{ size: 2n }] }, floatVal: [5] } },
});

test("signatureFromProto() sorts aliases and reads names, types, shapes and defaults", () => {
  const signature = signatureFromProto("k", proto);
  expect(signature.key).toBe("k");
  expect(signature.methodName).toBe(PREDICT_METHOD);
  expect([...signature.inputs]).toEqual([
    ["a", { name: "a:0", wireDType: 7, dtype: "string", shape: undefined }],
    ["handle", { name: "h:0", wireDType: 20, dtype: undefined, shape: [] }],
    ["sparse", { name: "", wireDType: 9, dtype: "int64", shape: undefined }],
    ["z", { name: "z:0", wireDType: 1, dtype: "float", shape: [-1] }],
  ]);
  expect([...signature.outputs]).toEqual([
    ["y", { name: "y:0", wireDType: 101, dtype: "float", shape: [3] }],
  ]);
  expect([...signature.defaults]).toEqual([["z", tensor("float", [2], Float32Array.of(5, 5))]]);
});

test("signatureToProto() gives back what was read, to the last detail", () => {
  expect(signatureToProto(signatureFromProto("k", proto))).toBe(proto);
});

test("signatureToProto() writes a signature that was never read", () => {
  const signature: Signature = {
    key: "k",
    methodName: PREDICT_METHOD,
    inputs: new Map([["x", { name: "x:0", wireDType: 1, dtype: "float", shape: [-1, 4] }]]),
    outputs: new Map([["y", { name: "y:0", wireDType: 3, dtype: "int32", shape: undefined }]]),
    defaults: new Map([["x", tensor("float", [1], Float32Array.of(2))]]),
  };
  expect(signatureFromProto("k", signatureToProto(signature))).toEqual(signature);
});
