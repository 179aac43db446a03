import { create } from "@bufbuild/protobuf";
import {
  type SignatureDef,
  SignatureDefSchema,
  type TensorInfo as TensorInfoProto,
  TensorInfoSchema,
} from "../gen/tensorflow/core/protobuf/meta_graph_pb.ts";
import { dtypeOfWire } from "./dtype.ts";
import type { Signature, TensorInfo } from "./signature.ts";
import { tensorFromProto, tensorToProto } from "./tensor_proto.ts";

/**
 * 読み込んだ原本。疎な入力や次元の名前のように実行には要らないものも、メタデータの答えには
 * 書かれたまま出すために覚えておく。
 */
const originals = new WeakMap<Signature, SignatureDef>();

/** 別名の昇順(バイト順)。 */
function sorted<P, V>(entries: { readonly [alias: string]: P }, convert: (value: P) => V): Map<string, V> {
  return new Map(
    Object.entries(entries)
      .sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
      .map(([alias, value]) => [alias, convert(value)]),
  );
}

function infoFromProto({ encoding, dtype, tensorShape }: TensorInfoProto): TensorInfo {
  return {
    name: encoding.case === "name" ? encoding.value : "",
    wireDType: dtype,
    dtype: dtypeOfWire(dtype),
    shape:
      tensorShape === undefined || tensorShape.unknownRank
        ? undefined
        : tensorShape.dim.map(({ size }) => Number(size)),
  };
}

function infoToProto({ name, wireDType, shape }: TensorInfo): TensorInfoProto {
  return create(TensorInfoSchema, {
    encoding: { case: "name", value: name },
    dtype: wireDType,
    tensorShape:
      shape === undefined ? { unknownRank: true } : { dim: shape.map((size) => ({ size: BigInt(size) })) },
  });
}

/**
 * @throws INVALID_ARGUMENT 既定値のテンソルが読めない。
 */
export function signatureFromProto(key: string, proto: SignatureDef): Signature {
  const signature: Signature = {
    key,
    methodName: proto.methodName,
    inputs: sorted(proto.inputs, infoFromProto),
    outputs: sorted(proto.outputs, infoFromProto),
    defaults: sorted(proto.defaults, tensorFromProto),
  };
  originals.set(signature, proto);
  return signature;
}

/** {@link signatureFromProto} で読んだものなら、書かれていたままを返す。 */
export function signatureToProto(signature: Signature): SignatureDef {
  const original = originals.get(signature);
  if (original !== undefined) return original;
  const { methodName, inputs, outputs, defaults } = signature;
  return create(SignatureDefSchema, {
    methodName,
    inputs: Object.fromEntries([...inputs].map(([alias, info]) => [alias, infoToProto(info)])),
    outputs: Object.fromEntries([...outputs].map(([alias, info]) => [alias, infoToProto(info)])),
    defaults: Object.fromEntries([...defaults].map(([alias, value]) => [alias, tensorToProto(value)])),
  });
}
