import { create } from "@bufbuild/protobuf";
import { SignatureDefMapSchema } from "../gen/tensorflow_serving/apis/get_model_metadata_pb.ts";
import { ModelSpecSchema } from "../gen/tensorflow_serving/apis/model_pb.ts";
import type { MetadataResult } from "../service/prediction_service.ts";
import { signatureToProto } from "../tensor/signature_proto.ts";
import { printProto } from "./proto_json.ts";

/**
 * メタデータの本文。別々に書いた二つのメッセージを外枠でつなぐので、字下げは揃わない。
 *
 * @see tensorflow_serving/model_servers/http_rest_api_util.cc ToJsonString
 */
export function printMetadata({ id, signatures }: MetadataResult): string {
  const spec = create(ModelSpecSchema, {
    name: id.name,
    versionChoice: { case: "version", value: { value: id.version } },
  });
  const map = create(SignatureDefMapSchema, {
    signatureDef: Object.fromEntries(
      [...signatures].map(([key, signature]) => [key, signatureToProto(signature)]),
    ),
  });
  return (
    `{\n"model_spec":${printProto(ModelSpecSchema, spec)},\n` +
    `"metadata": {"signature_def": ${printProto(SignatureDefMapSchema, map)}}\n}\n`
  );
}
