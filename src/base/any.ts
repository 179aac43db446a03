import { type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";

// protobuf-es の anyPack と anyUnpack は、備え付けの型の記述を残らず連れてくる。

/** google.protobuf.Any の中身。 */
interface Packed {
  readonly typeUrl: string;
  readonly value: Uint8Array;
}

export function packAny<D extends DescMessage>(schema: D, message: MessageShape<D>): Packed {
  return { typeUrl: `type.googleapis.com/${schema.typeName}`, value: toBinary(schema, message) };
}

/**
 * @returns 別の型なら undefined。
 * @throws 中身が壊れている。
 */
export function unpackAny<D extends DescMessage>(
  { typeUrl, value }: Packed,
  schema: D,
): MessageShape<D> | undefined {
  const name = typeUrl.slice(typeUrl.lastIndexOf("/") + 1);
  return name === schema.typeName ? fromBinary(schema, value) : undefined;
}
