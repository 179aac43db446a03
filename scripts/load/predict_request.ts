import { create, toBinary } from "@bufbuild/protobuf";
import { PredictRequestSchema } from "../../src/gen/tensorflow_serving/apis/predict_pb.ts";
import { tensor } from "../../src/tensor/tensor.ts";
import { tensorToProto } from "../../src/tensor/tensor_proto.ts";

/** `input` に `rows` × `width` の 0 を入れた PredictRequest のバイト列。 */
export function predictRequestBytes(model: string, rows: number, width: number): Uint8Array<ArrayBuffer> {
  const input = tensor("float", [rows, width], new Float32Array(rows * width));
  return toBinary(
    PredictRequestSchema,
    create(PredictRequestSchema, {
      modelSpec: { name: model },
      inputs: { input: tensorToProto(input, true) },
    }),
  );
}
