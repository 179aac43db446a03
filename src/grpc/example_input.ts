import { type DescMessage, fromBinary, type MessageShape } from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { concatBytes } from "../base/bytes.ts";
import { SerializedInputSchema } from "../gen/tensorflow_serving/apis/internal/serialized_input_pb.ts";
import { mergeContext } from "../service/prediction_service.ts";

/** 分類・回帰・複合推論の要求では、どれも input が 2 番。 */
const INPUT = (2 << 3) | WireType.LengthDelimited;

/** 中の Example を復号せずに読んだ要求。 */
export interface ExampleRequest<T> {
  readonly message: T;
  /** 直列化した Example。文脈は混ぜてある。 */
  readonly examples: readonly Uint8Array[];
}

/** 例はモデルの中の演算が読むので、ここではバイト列のまま通す。 */
function readExamples(input: Uint8Array): readonly Uint8Array[] {
  const { kind } = fromBinary(SerializedInputSchema, input);
  switch (kind.case) {
    case "exampleList":
      return kind.value.examples;
    case "exampleListWithContext":
      return mergeContext(kind.value.examples, kind.value.context);
    default:
      return [];
  }
}

/**
 * `input` だけを生のまま取り分け、残りを記述どおりに読む。
 *
 * @throws 壊れたワイヤ(客には INTERNAL)。
 */
export function decodeExampleRequest<M extends DescMessage>(
  schema: M,
  bytes: Uint8Array,
): ExampleRequest<MessageShape<M>> {
  const reader = new BinaryReader(bytes);
  const inputs: Uint8Array[] = [];
  const rest: Uint8Array[] = [];
  while (reader.pos < reader.len) {
    const from = reader.pos;
    const [number, wireType] = reader.tag();
    if (((number << 3) | wireType) === INPUT) {
      inputs.push(reader.bytes());
    } else {
      reader.skip(wireType, number);
      rest.push(bytes.subarray(from, reader.pos));
    }
  }
  return {
    message: fromBinary(schema, concatBytes(rest)),
    examples: readExamples(concatBytes(inputs)),
  };
}
