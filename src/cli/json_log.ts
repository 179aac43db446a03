import { fromJsonString } from "@bufbuild/protobuf";
import { type PredictionLog, PredictionLogSchema } from "../gen/tensorflow_serving/apis/prediction_log_pb.ts";

/** protobuf の JSON 形で書かれた記録。読み手は重いので、この形の記録を読むときにだけ読み込む。 */
export const readJsonLog = (line: string): PredictionLog => fromJsonString(PredictionLogSchema, line);
