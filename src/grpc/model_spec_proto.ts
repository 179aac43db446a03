import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServableId } from "../core/servable_id.ts";
import type {
  ModelSpec as ModelSpecProto,
  ModelSpecSchema,
} from "../gen/tensorflow_serving/apis/model_pb.ts";
import type { ModelSpec } from "../service/model_spec.ts";

/** 要求のモデル指定。無いものは無いまま渡し、どう断るかは service に任せる。 */
export function fromModelSpecProto(proto: ModelSpecProto | undefined): ModelSpec | undefined {
  if (proto === undefined) return undefined;
  const { name, versionChoice } = proto;
  switch (versionChoice.case) {
    case "version":
      return { name, version: versionChoice.value.value };
    case "versionLabel":
      return { name, label: versionChoice.value };
    default:
      return { name };
  }
}

/** 答えに書く、実際に使ったモデル。ラベルは書かない(TF Serving と同じ)。 */
export function toModelSpecProto(
  { name, version }: ServableId,
  signatureName: string,
): MessageInitShape<typeof ModelSpecSchema> {
  return { name, versionChoice: { case: "version", value: { value: version } }, signatureName };
}
