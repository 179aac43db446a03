import { describe, expect, test } from "bun:test";
import { create } from "@bufbuild/protobuf";
import { notFound } from "../../../src/base/status.ts";
import { TensorProtoSchema } from "../../../src/gen/tensorflow/core/framework/tensor_pb.ts";
import { DataType } from "../../../src/gen/tensorflow/core/framework/types_pb.ts";
import {
  SignatureDefSchema,
  TensorInfoSchema,
} from "../../../src/gen/tensorflow/core/protobuf/meta_graph_pb.ts";
import { printMetadata } from "../../../src/rest/metadata_json.ts";
import { printProto } from "../../../src/rest/proto_json.ts";
import { printStatuses } from "../../../src/rest/status_json.ts";
import { signatureFromProto } from "../../../src/tensor/signature_proto.ts";
import { info, signature } from "../../helpers/fake_models.ts";

test("printStatuses() prints every field of every version", () => {
  const id = { name: "iris", version: 1n };
  expect(printStatuses([{ id, state: "AVAILABLE" }])).toBe(
    `{
 "model_version_status": [
  {
   "version": "1",
   "state": "AVAILABLE",
   "status": {
    "error_code": "OK",
    "error_message": ""
   }
  }
 ]
}
`,
  );
  const states = printStatuses([
    { id: { name: "iris", version: 9223372036854775807n }, state: "LOADING" },
    { id, state: "END", error: notFound('no "such" <file>\n\u0001\u200b') },
  ]);
  expect(states).toContain('"version": "9223372036854775807"');
  expect(states).toContain('"error_code": "NOT_FOUND"');
  expect(states).toContain('"error_message": "no \\"such\\" \\u003cfile\\u003e\\n\\u0001\\u200b"');
  expect(printStatuses([])).toBe('{\n "model_version_status": []\n}\n');
});

test("printMetadata() glues two documents in one frame", () => {
  const one = signature(
    "serving_default",
    { x: info("serving_default_x:0", "float", [-1, 4]) },
    { y: info("StatefulPartitionedCall:0", "float", [-1, 3]) },
  );
  expect(printMetadata({ id: { name: "iris", version: 1n }, signatures: new Map([[one.key, one]]) })).toBe(
    `{
"model_spec":{
 "name": "iris",
 "version": "1",
 "signature_name": ""
}
,
"metadata": {"signature_def": {
 "signature_def": {
  "serving_default": {
   "inputs": {
    "x": {
     "name": "serving_default_x:0",
     "dtype": "DT_FLOAT",
     "tensor_shape": {
      "dim": [
       {
        "size": "-1",
        "name": ""
       },
       {
        "size": "4",
        "name": ""
       }
      ],
      "unknown_rank": false
     }
    }
   },
   "outputs": {
    "y": {
     "name": "StatefulPartitionedCall:0",
     "dtype": "DT_FLOAT",
     "tensor_shape": {
      "dim": [
       {
        "size": "-1",
        "name": ""
       },
       {
        "size": "3",
        "name": ""
       }
      ],
      "unknown_rank": false
     }
    }
   },
   "method_name": "tensorflow/serving/predict",
   "defaults": {}
  }
 }
}
}
}
`,
  );
});

test("printMetadata() shows signatures as they were written, keys in order", () => {
  const proto = create(SignatureDefSchema, {
    inputs: {
      sparse: create(TensorInfoSchema, {
        encoding: {
          case: "cooSparse",
          value: { valuesTensorName: "v:0", indicesTensorName: "i:0", denseShapeTensorName: "d:0" },
        },
        dtype: DataType.DT_INT64,
        tensorShape: { unknownRank: true },
      }),
      scalar: create(TensorInfoSchema, {
        encoding: { case: "name", value: "s:0" },
        dtype: DataType.DT_STRING,
        tensorShape: {},
      }),
      bare: create(TensorInfoSchema, { dtype: DataType.DT_INVALID }),
    },
    defaults: {
      scalar: create(TensorProtoSchema, {
        dtype: DataType.DT_STRING,
        tensorShape: {},
        stringVal: [Buffer.from("hi")],
      }),
    },
  });
  const signatures = new Map([
    ["b", signatureFromProto("b", proto)],
    ["a", signature("a", {}, {})],
  ]);
  const { metadata } = JSON.parse(printMetadata({ id: { name: "m", version: 2n }, signatures }));
  expect(Object.keys(metadata.signature_def.signature_def)).toEqual(["a", "b"]);
  const { inputs, defaults, outputs, method_name } = metadata.signature_def.signature_def.b;
  expect(Object.keys(inputs)).toEqual(["bare", "scalar", "sparse"]);
  expect(inputs).toEqual({
    bare: { dtype: "DT_INVALID" },
    scalar: { name: "s:0", dtype: "DT_STRING", tensor_shape: { dim: [], unknown_rank: false } },
    sparse: {
      dtype: "DT_INT64",
      tensor_shape: { dim: [], unknown_rank: true },
      coo_sparse: { values_tensor_name: "v:0", indices_tensor_name: "i:0", dense_shape_tensor_name: "d:0" },
    },
  });
  expect({ outputs, method_name }).toEqual({ outputs: {}, method_name: "" });
  expect(defaults.scalar).toEqual({
    dtype: "DT_STRING",
    tensor_shape: { dim: [], unknown_rank: false },
    version_number: 0,
    tensor_content: "",
    half_val: [],
    float_val: [],
    double_val: [],
    int_val: [],
    string_val: ["aGk="],
    scomplex_val: [],
    int64_val: [],
    bool_val: [],
    dcomplex_val: [],
    resource_handle_val: [],
    variant_val: [],
    uint32_val: [],
    uint64_val: [],
    float8_val: "",
  });
});

describe("printProto() writes values of every kind", () => {
  const proto = create(TensorProtoSchema, {
    dtype: 999 as DataType,
    tensorContent: Uint8Array.of(255, 0),
    floatVal: [0.5, 1e6, 3, Number.NaN, Number.POSITIVE_INFINITY, Math.fround(1 / 3)],
    doubleVal: [0.1, Number.NEGATIVE_INFINITY],
    boolVal: [true],
    uint64Val: [18446744073709551615n],
  });
  const text = printProto(TensorProtoSchema, proto);
  test.each([
    ['"dtype": 999'],
    ['"tensor_content": "/wA="'],
    ['"float_val": [\n  0.5,\n  1e+06,\n  3,\n  "NaN",\n  "Infinity",\n  0.333333343\n ]'],
    ['"double_val": [\n  0.1,\n  "-Infinity"\n ]'],
    ['"bool_val": [\n  true\n ]'],
    ['"uint64_val": [\n  "18446744073709551615"\n ]'],
  ])("%s", (part) => {
    expect(text).toContain(part);
  });
});
