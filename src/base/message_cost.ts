import type { DescMessage } from "@bufbuild/protobuf";

/** 復号した結果に許す大きさの見積もり。数バイトのメッセージを並べただけのファイルに、メモリを使い切らせない。 */
export const MAX_DECODED_BYTES = 768 * 2 ** 20;

const MESSAGE_BYTES = 96;
const FIELD_BYTES = 16;
const COLLECTION_BYTES = 64;

/** 欄と、そのうち列か表であるものの数から。 */
export const emptyBytes = (fields: number, collections: number): number =>
  MESSAGE_BYTES + fields * FIELD_BYTES + collections * COLLECTION_BYTES;

const known = new WeakMap<DescMessage, number>();

/** 空のメッセージが占めるバイト数の見積もり(Bun での実測に合わせた)。欄と空の配列のぶん、場所を取る。 */
export function emptyMessageBytes(desc: DescMessage): number {
  let bytes = known.get(desc);
  if (bytes === undefined) {
    const collections = desc.fields.filter(
      ({ fieldKind }) => fieldKind === "list" || fieldKind === "map",
    ).length;
    bytes = emptyBytes(desc.fields.length, collections);
    known.set(desc, bytes);
  }
  return bytes;
}
