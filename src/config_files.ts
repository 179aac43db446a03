import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { Host } from "./base/host.ts";
import { invalidArgument } from "./base/status.ts";
import { SavedModelBundleSourceAdapterConfigSchema } from "./gen/tensorflow_serving/servables/tensorflow/saved_model_bundle_source_adapter_pb.ts";
import type { Storage } from "./savedmodel/storage.ts";

/** 設定ファイルの大きさの上限。読み違えて巨大なファイルを指しても、起動で分かるようにする。 */
const MAX_CONFIG_BYTES = 64 * 2 ** 20;

/**
 * 旗が指すテキスト形式のファイルを読む。
 *
 * @throws NOT_FOUND `<ファイル>; No such file or directory`
 * @throws INVALID_ARGUMENT `Invalid protobuf file: '<ファイル>'`。どこが悪いかはログに出る。空のファイルは `<ファイル>; Invalid argument`。
 * @see tensorflow_serving/util/proto_util.h ParseProtoTextFile
 */
export async function readTextProto<D extends DescMessage>(
  host: Host,
  storage: Pick<Storage, "read">,
  schema: D,
  path: string,
): Promise<MessageShape<D>> {
  const bytes = await storage.read(path, MAX_CONFIG_BYTES);
  // 空のファイルは mmap できない。書いている途中のものでもあるので、空の設定とは読まない。
  if (bytes.length === 0) throw invalidArgument(`${path}; Invalid argument`);
  const text = new TextDecoder().decode(bytes);
  // 設定ファイルの無い起動では、読み手を読み込まない。
  const { parseTextProto, TextProtoError } = await import("./base/text_proto.ts");
  try {
    return parseTextProto(schema, text, [SavedModelBundleSourceAdapterConfigSchema]);
  } catch (error) {
    if (!(error instanceof TextProtoError)) throw error;
    const { line, column, message } = error;
    host.log.error(`Error parsing text-format ${schema.typeName}: ${line}:${column}: ${message}`);
    throw invalidArgument(`Invalid protobuf file: '${path}'`, error);
  }
}
