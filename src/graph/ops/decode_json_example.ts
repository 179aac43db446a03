import { fromJsonString, toBinary } from "@bufbuild/protobuf";
import { invalidArgument } from "../../base/status.ts";
import { ExampleSchema } from "../../gen/tensorflow/core/example/example_pb.ts";
import { tensor } from "../../tensor/tensor.ts";
import { bytesOf } from "./bytes.ts";
import { decodeText } from "./kernel_util.ts";
import type { OpRow } from "./registry.ts";

function encode(json: Uint8Array): Uint8Array {
  try {
    return toBinary(ExampleSchema, fromJsonString(ExampleSchema, decodeText(json)));
  } catch (thrown) {
    throw invalidArgument(`Error while parsing JSON: ${thrown instanceof Error ? thrown.message : thrown}`);
  }
}

/**
 * JSON で書かれた tf.Example を、バイト列に。
 *
 * @see tensorflow/core/kernels/example_parsing_ops.cc
 * @see https://protobuf.dev/programming-guides/json/
 */
export const decodeJsonExampleOps: readonly OpRow[] = [
  {
    op: "DecodeJSONExample",
    host:
      () =>
      ([examples]) =>
        tensor("string", examples!.shape, bytesOf(examples!).map(encode)),
  },
];
