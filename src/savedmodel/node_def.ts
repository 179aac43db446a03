import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { AttrValueSchema } from "../gen/tensorflow/core/framework/attr_value_pb.ts";
import { type NodeDef, NodeDefSchema } from "../gen/tensorflow/core/framework/node_def_pb.ts";
import type { TensorShapeProtoSchema } from "../gen/tensorflow/core/framework/tensor_shape_pb.ts";
import { DataType } from "../gen/tensorflow/core/framework/types_pb.ts";
import type { Shape } from "../tensor/tensor.ts";

/** 属性値ひとつ。型は OpDef の属性の型に合わせて選ぶ。 */
export type Attr = MessageInitShape<typeof AttrValueSchema>;
type ShapeInit = MessageInitShape<typeof TensorShapeProtoSchema>;

/** 次元の列 → TensorShapeProto。-1 は未知、空はスカラー。 */
export function shapeProto(shape: Shape): ShapeInit {
  return { dim: shape.map((size) => ({ size: BigInt(size) })) };
}

export const typeAttr = (type: DataType): Attr => ({ value: { case: "type", value: type } });
export const intAttr = (value: number): Attr => ({ value: { case: "i", value: BigInt(value) } });
export const shapeAttr = (shape: Shape): Attr => ({ value: { case: "shape", value: shapeProto(shape) } });
export const typesAttr = (type: readonly DataType[]): Attr => ({
  value: { case: "list", value: { type: [...type] } },
});
export const shapesAttr = (shapes: readonly Shape[]): Attr => ({
  value: { case: "list", value: { shape: shapes.map(shapeProto) } },
});
export const bytesAttr = (text: string): Attr => ({
  value: { case: "s", value: new TextEncoder().encode(text) },
});
export const functionAttr = (name: string): Attr => ({ value: { case: "func", value: { name } } });

/** 既定値を持つ属性は省く(`stripped_default_attrs`)。 */
export function node(
  name: string,
  op: string,
  input: readonly string[] = [],
  attr: Record<string, Attr> = {},
  device = "",
): NodeDef {
  return create(NodeDefSchema, { name, op, input: [...input], attr, device });
}

/** 文字列の定数。shape [] はスカラー。 */
export function stringConst(
  name: string,
  shape: Shape,
  values: readonly (string | Uint8Array)[],
  device = "",
): NodeDef {
  const stringVal = values.map((value) =>
    typeof value === "string" ? new TextEncoder().encode(value) : value,
  );
  return constNode(name, { dtype: DataType.DT_STRING, tensorShape: shapeProto(shape), stringVal }, device);
}

export function int32Const(name: string, shape: Shape, values: readonly number[]): NodeDef {
  return constNode(name, { dtype: DataType.DT_INT32, tensorShape: shapeProto(shape), intVal: [...values] });
}

/** 要素 0 個の float。ParseExampleV2 では「既定値が無い = 必須の特徴」を意味する。 */
export function emptyFloatConst(name: string): NodeDef {
  return constNode(name, { dtype: DataType.DT_FLOAT, tensorShape: shapeProto([0]) });
}

type TensorInit = Extract<NonNullable<Attr["value"]>, { case: "tensor" }>["value"] & { dtype: DataType };

function constNode(name: string, value: TensorInit, device = ""): NodeDef {
  return node(
    name,
    "Const",
    [],
    { dtype: typeAttr(value.dtype), value: { value: { case: "tensor", value } } },
    device,
  );
}
