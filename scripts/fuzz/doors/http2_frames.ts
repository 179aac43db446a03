import { create, toBinary } from "@bufbuild/protobuf";
import { DataType } from "../../../src/gen/tensorflow/core/framework/types_pb.ts";
import { PredictRequestSchema } from "../../../src/gen/tensorflow_serving/apis/predict_pb.ts";

/** @see https://www.rfc-editor.org/rfc/rfc9113#section-6 */
export const FrameType = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

export const Flag = { endStream: 1, ack: 1, endHeaders: 4, padded: 8, priority: 32 } as const;

export const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

/** @param length 長さの欄に書く値。嘘もつける。 */
export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array = new Uint8Array(0),
  length = payload.length,
): Buffer {
  const out = Buffer.alloc(9 + payload.length);
  out.writeUIntBE(length, 0, 3);
  out[3] = type;
  out[4] = flags;
  out.writeUInt32BE(stream >>> 0, 5);
  out.set(payload, 9);
  return out;
}

export function u32(...values: number[]): Buffer {
  const out = Buffer.alloc(values.length * 4);
  for (const [i, value] of values.entries()) out.writeUInt32BE(value >>> 0, i * 4);
  return out;
}

/** 番号と値の組。 */
export function settings(...pairs: readonly (readonly [number, number])[]): Buffer {
  const out = Buffer.alloc(pairs.length * 6);
  pairs.forEach(([id, value], i) => {
    out.writeUInt16BE(id, i * 6);
    out.writeUInt32BE(value >>> 0, i * 6 + 2);
  });
  return frame(FrameType.settings, 0, 0, out);
}

function prefixed(value: number, bits: number, first: number): number[] {
  const most = 2 ** bits - 1;
  if (value < most) return [first | value];
  const out = [first | most];
  let rest = value - most;
  for (; rest >= 128; rest = Math.floor(rest / 128)) out.push((rest % 128) | 128);
  out.push(rest);
  return out;
}

/** 表に載せない文面での見出し 1 つ。 @param index `true` なら動的表に載せる。 */
export function header(name: string, value: string, index = false): Buffer {
  return Buffer.concat([
    Buffer.from([index ? 0x40 : 0x00]),
    Buffer.from(prefixed(name.length, 7, 0)),
    Buffer.from(name, "latin1"),
    Buffer.from(prefixed(value.length, 7, 0)),
    Buffer.from(value, "latin1"),
  ]);
}

export const PREDICT_PATH = "/tensorflow.serving.PredictionService/Predict";

/** gRPC の呼び出しの見出し。 */
export function grpcHeaders(path = PREDICT_PATH, extra: readonly (readonly [string, string])[] = []): Buffer {
  const pairs: readonly (readonly [string, string])[] = [
    [":method", "POST"],
    [":scheme", "http"],
    [":path", path],
    [":authority", "localhost"],
    ["content-type", "application/grpc"],
    ["te", "trailers"],
    ...extra,
  ];
  return Buffer.concat(pairs.map(([name, value]) => header(name, value)));
}

/** 5 バイトの頭を付けた gRPC のメッセージ。 */
export function grpcMessage(message: Uint8Array, length = message.length, compressed = 0): Buffer {
  const out = Buffer.alloc(5 + message.length);
  out[0] = compressed;
  out.writeUInt32BE(length >>> 0, 1);
  out.set(message, 5);
  return out;
}

/** Iris の 1 行を問う PredictRequest。 */
export const irisRequest: Uint8Array = toBinary(
  PredictRequestSchema,
  create(PredictRequestSchema, {
    modelSpec: { name: "iris" },
    inputs: {
      input: {
        dtype: DataType.DT_FLOAT,
        tensorShape: { dim: [{ size: 1n }, { size: 4n }] },
        floatVal: [5.1, 3.5, 1.4, 0.2],
      },
    },
  }),
);

/** 40 バイトほどで、64 MiB に伸びるテンソルを名乗る PredictRequest。 */
export const paddedRequest: Uint8Array = toBinary(
  PredictRequestSchema,
  create(PredictRequestSchema, {
    modelSpec: { name: "iris" },
    inputs: {
      input: {
        dtype: DataType.DT_FLOAT,
        tensorShape: { dim: [{ size: 2n ** 24n }] },
        floatVal: [1],
      },
    },
  }),
);

/** 見出しと本文の揃った、正しい呼び出し 1 回。 */
export function predictCall(stream: number): Buffer {
  return Buffer.concat([
    frame(FrameType.headers, Flag.endHeaders, stream, grpcHeaders()),
    frame(FrameType.data, Flag.endStream, stream, grpcMessage(irisRequest)),
  ]);
}

/** 届いたバイトを枠に切る。 */
export function* framesOf(bytes: Buffer): Generator<{ type: number; flags: number; payload: Buffer }> {
  let at = 0;
  while (at + 9 <= bytes.length) {
    const length = bytes.readUIntBE(at, 3);
    if (at + 9 + length > bytes.length) return;
    yield { type: bytes[at + 3]!, flags: bytes[at + 4]!, payload: bytes.subarray(at + 9, at + 9 + length) };
    at += 9 + length;
  }
}
