import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { type PredictionLog, PredictionLogSchema } from "../gen/tensorflow_serving/apis/prediction_log_pb.ts";
import { diskStorage } from "../savedmodel/storage.ts";
import { encodeRecord, readRecords } from "../servables/tf_record.ts";
import { allocate } from "../tensor/dtype.ts";
import type { Signature, TensorInfo } from "../tensor/signature.ts";
import { sizeOf, tensor } from "../tensor/tensor.ts";
import { tensorToProto } from "../tensor/tensor_proto.ts";
import { type Command, type CommandFlags, UsageError } from "./command.ts";
import { parseFlags, readNumber } from "./command_flags.ts";
import { printFailure } from "./print_failure.ts";

type LogInit = MessageInitShape<typeof PredictionLogSchema>;

/** 版のディレクトリの中の、記録の場所。 */
const WARMUP_FILE = join("assets.extra", "tf_serving_warmup_requests");
const MAX_RECORDS = 1000;

/** 未知の次元を `rows` とした、0 だけのテンソル。 */
function zeros({ dtype, shape }: TensorInfo, rows: number) {
  if (dtype === undefined || dtype === "string" || shape === undefined) return undefined;
  const known = shape.map((dim) => (dim < 0 ? rows : dim));
  return tensorToProto(tensor(dtype, known, allocate(dtype, sizeOf(known))));
}

/** 数だけを受けるシグネチャへの要求。文字列(たいてい tf.Example)の中身は作れないので undefined。 */
function synthesise(signature: Signature, model: string, rows: number): LogInit | undefined {
  const inputs: Record<string, ReturnType<typeof tensorToProto>> = {};
  for (const [alias, info] of signature.inputs) {
    const value = zeros(info, rows);
    if (value === undefined) return undefined;
    inputs[alias] = value;
  }
  if (signature.outputs.size === 0 || signature.inputs.size === 0) return undefined;
  const modelSpec = { name: model, signatureName: signature.key };
  return { logType: { case: "predictLog", value: { request: { modelSpec, inputs } } } };
}

async function synthesiseAll(
  directory: string,
  tags: readonly string[],
  model: string,
  rows: number,
): Promise<LogInit[]> {
  const { readSavedModel } = await import("../savedmodel/saved_model.ts");
  await using bundle = await readSavedModel(diskStorage, directory, tags);
  return [...bundle.signatures.values()].flatMap((signature) => {
    const log = synthesise(signature, model, rows);
    if (log === undefined) console.error(`skipped ${signature.key}: its inputs cannot be made up`);
    return log ?? [];
  });
}

/** 要求の記録(TFRecord)か、1 行 1 件の PredictionLog(protobuf の JSON 形)。答えは捨てる。 */
async function readLogs(path: string): Promise<LogInit[]> {
  const bytes = await Bun.file(path).bytes();
  // JSON の行は「{」か空白で始まる。TFRecord は 1 件目の長さで始まり、5 から 8 バイト目が 0 になる。
  if (bytes.length >= 8 && bytes.subarray(4, 8).every((byte) => byte === 0)) {
    return Array.from(readRecords(bytes), (record) => withoutAnswer(fromBinary(PredictionLogSchema, record)));
  }
  const { readJsonLog } = await import("./json_log.ts");
  const lines = new TextDecoder().decode(bytes).split("\n");
  return lines.flatMap((line, index) => {
    if (line.trim() === "") return [];
    try {
      return readJsonLog(line);
    } catch (error) {
      throw new UsageError(`${path}:${index + 1}: ${error instanceof Error ? error.message : String(error)}`);
    }
  });
}

/** warm-up に要るのは要求だけ。 */
function withoutAnswer({ logType }: PredictionLog): LogInit {
  if (logType.case === undefined) return {};
  return { logType: { case: logType.case, value: { request: logType.value.request } } } as LogInit;
}

const flags = {
  requests: {
    type: "string",
    hint: "FILE",
    help: "captured requests (TFRecord), or a PredictionLog as JSON per line",
    completes: "file",
  },
  rows: { type: "string", default: "1", hint: "N", help: "size of the dimensions that are not known" },
  model: { type: "string", default: "default", hint: "NAME", help: "model name written in the records" },
  tag_set: {
    type: "string",
    default: "serve",
    hint: "TAGS",
    help: "comma-separated tags of the MetaGraph to read",
  },
} as const satisfies CommandFlags;

export const warmupCommand: Command = {
  name: "warmup",
  summary: "make the warm-up file of a model version",
  synopsis: "record VERSION_DIRECTORY",
  examples: [
    ["iris-serving warmup record /models/m/1", "zeros for every signature that takes numbers"],
    ["iris-serving warmup record /models/m/1 --rows=32", "the same with 32 rows"],
    ["iris-serving warmup record /models/m/1 --requests=logs.jsonl", "requests of your own"],
    ["iris-serving warmup record /models/m/1 --requests=m-….tfrecord", "requests that a server captured"],
  ],
  notes: `A line of logs.jsonl:
  {"predictLog": {"request": {"modelSpec": {"name": "m"},
   "inputs": {"x": {"dtype": "DT_FLOAT", "tensorShape": {"dim": [{"size": "1"}]}, "floatVal": [1]}}}}}

Writes VERSION_DIRECTORY/assets.extra/tf_serving_warmup_requests, which this server and TensorFlow Serving replay
before the version is served.`,
  flags,
  completes: ["record"],
  exitCodes: [
    [0, "written"],
    [1, "the model cannot be read or the file cannot be written"],
  ],
  async run(args) {
    const { values, positionals } = parseFlags(flags, args);
    const [action, directory, ...rest] = positionals;
    if (action !== "record" || directory === undefined || rest.length > 0) {
      throw new UsageError("warmup takes the word record and one version directory");
    }
    const rows = readNumber("rows", values.rows, 1, true);
    try {
      const tags = values.tag_set.split(",").filter((tag) => tag !== "");
      const logs =
        values.requests === undefined
          ? await synthesiseAll(directory, tags, values.model, rows)
          : await readLogs(values.requests);
      if (logs.length === 0 || logs.length > MAX_RECORDS) {
        throw new UsageError(`a warm-up file holds 1 to ${MAX_RECORDS} requests, not ${logs.length}`);
      }
      const file = join(directory, WARMUP_FILE);
      await mkdir(dirname(file), { recursive: true });
      const records = logs.map((log) =>
        encodeRecord(toBinary(PredictionLogSchema, create(PredictionLogSchema, log))),
      );
      await writeFile(file, Buffer.concat(records));
      console.log(`${file}: ${logs.length} requests`);
      return 0;
    } catch (thrown) {
      if (thrown instanceof UsageError) throw thrown;
      return printFailure(thrown);
    }
  },
};
